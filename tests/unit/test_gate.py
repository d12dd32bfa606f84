"""The gate: worse challengers are refused, each for its own reason; better ones are promoted; chance is kept small."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from backbeat.analysis.analyzer import shipped_models
from backbeat.corpus.contract import Corpus, Track, write_annotations
from backbeat.dataset import LabelledTrack, write_features
from backbeat.errors import ConfigError, CorpusError, ModelError, RegistryError
from backbeat.evaluation.scoring import Example
from backbeat.features import FeatureParams, LogMel, log_mel
from backbeat.files import write_json, write_text
from backbeat.gate import Decision, GateSettings, TestSet, decide, read_decision, write_decision
from backbeat.gate import deciding as deciding_module
from backbeat.gate.checks import same_sets
from backbeat.gate.flow import ARTIFACTS, GatePlaces, decide_and_record, sources_of
from backbeat.gate.golden import GoldenTrack, made_by_code
from backbeat.gate.paired import fall_probability, gather, limits
from backbeat.gate.sides import digest, name_sets, paired_scores
from backbeat.genre.classifier import GenreClassifier, GenreResult
from backbeat.model import SPEC, WEIGHTS, ModelSpec, load_spec
from backbeat.music import Beats
from backbeat.registry import Version
from backbeat.tracking import Tracking, logged_run, tracked_run
from benchmarks.gate import settings, simulate

PARAMS = FeatureParams(mel_bands=4)
CLASSES = ("house", "jazz", "rock")
NO_TRACKING = Tracking("", "test")


class Clock:
    """Time that goes on only while a model hears."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Scripted(GenreClassifier):
    """A genre model that answers what it is told to; a spectrogram's first number is the track's."""

    def __init__(
        self,
        right: Mapping[int, bool],
        *,
        classes: Sequence[str] = CLASSES,
        confidence: float = 0.8,
        cost_s: float = 0.01,
        clock: Clock | None = None,
        params: FeatureParams = PARAMS,
        broken: bool = False,
    ) -> None:
        self.network = torch.nn.Linear(1, 1)  # type: ignore[assignment]
        self.spec = ModelSpec("genre", "scripted", f"{id(self) % 1000}", {}, params, tuple(classes))
        self.right, self.confidence, self.cost_s, self.clock, self.broken = right, confidence, cost_s, clock, broken

    def classify(self, log_mel: np.ndarray) -> GenreResult:
        if self.broken:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        if self.clock:
            self.clock.now_s += self.cost_s
        number = int(log_mel[0, 0])
        true = CLASSES[number % 3]
        others = [name for name in self.spec.classes if name != true]
        answer = true if self.right[number] and true in self.spec.classes else others[0]
        rest = (1 - self.confidence) / (len(self.spec.classes) - 1)
        shares = {name: self.confidence if name == answer else rest for name in self.spec.classes}
        return GenreResult(answer, shares, np.zeros(2, np.float32))


def example(number: int, corpus: str = "old") -> Example:
    spectrogram = np.full((40, 4), number, dtype=np.float32)
    return Example(corpus, f"t{number}", CLASSES[number % 3], lambda: spectrogram, CLASSES[number % 3])


@dataclass
class Stage:
    """Two scripted models in folders of their own, and what they meet on."""

    folder: Path
    models: dict[str, GenreClassifier]
    clock: Clock = field(default_factory=Clock)
    golden: tuple[int, ...] = ()

    def decide(self, examples: Sequence[Example], gate: GateSettings, first: bool = False, **more: Any) -> Decision:
        champion = None if first else self.folder / "champion"
        return decide("genre", champion, self.folder / "challenger", examples, gate, timer=self.clock, **more)


TRACKS = 120
EXAMPLES = [example(number) for number in range(TRACKS)]


def rights(share: float, seed: int = 0, count: int = TRACKS + 20) -> dict[int, bool]:
    return {number: bool(hit) for number, hit in enumerate(np.random.default_rng(seed).random(count) < share)}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    def make(
        champion: Mapping[int, bool],
        challenger: Mapping[int, bool],
        *,
        sizes: tuple[int, int] = (1000, 1000),
        golden: tuple[int, ...] = (),
        old: Mapping[str, Any] | None = None,
        **new: Any,
    ) -> Stage:
        clock = Clock()
        models: dict[str, GenreClassifier] = {
            "champion": Scripted(champion, clock=clock, **(old or {})),
            "challenger": Scripted(challenger, clock=clock, **new),
        }
        for name, count in zip(models, sizes, strict=True):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / WEIGHTS).write_bytes(b"0" * count)
        tracks = [GoldenTrack(example(number, "(golden)"), "correct", 1.0) for number in golden]
        monkeypatch.setattr(deciding_module, "load", lambda task, folder: models[folder.name])
        monkeypatch.setattr(deciding_module, "made_by_code", lambda task, params: tracks)
        return Stage(tmp_path, models, clock)

    return make


GAIN = settings(resamples=800)
LOSS = settings(resamples=800, evidence="no_loss")


def failed(decision: Decision) -> set[str]:
    assert decision.promoted == (not any(check.passed is False for check in decision.checks))
    return {check.name for check in decision.checks if check.passed is False}


def test_a_better_challenger_is_promoted_and_everything_is_told(stage: Callable[..., Stage], tmp_path: Path) -> None:
    before = rights(0.7)
    after = {number: hit or number % 4 == 0 for number, hit in before.items()}
    play = stage(before, after, golden=(0, 1, 2))
    decision = play.decide(EXAMPLES, GAIN)
    assert failed(decision) == set()
    assert decision.promoted
    assert decision.sentence.startswith("Promoted: It is better over all tracks, by at least 0.0")
    change = np.mean([after[n] - before[n] for n in range(TRACKS)])
    overall = decision.check("overall")
    assert overall.value == pytest.approx(change)
    assert overall.low is not None
    assert 0 < overall.low < change
    assert {(one.corpus, one.tracks, one.sources) for one in decision.sets} == {("old", TRACKS, TRACKS)}
    assert {(group.kind, group.name) for group in decision.groups} == {
        ("all", "all"),
        ("corpus", "old"),
        *(("style", name) for name in CLASSES),
    }
    assert len(decision.tracks) == TRACKS
    # A report that says the same, to programs and to people.
    write_decision(decision, tmp_path / "report")
    assert read_decision(tmp_path / "report") == Decision.from_dict(json.loads(json.dumps(decision.to_dict())))
    assert read_decision(tmp_path / "report").to_dict() == decision.to_dict()
    page = (tmp_path / "report/decision.html").read_text()
    assert page.index("Promoted") < page.index("data:image/svg+xml") < page.index("The checks")
    assert decision.sets[0].sha256 in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    # Nothing in it is drawn anew.
    assert play.decide(EXAMPLES, GAIN) == decision
    for damage, told in (("{", "is damaged"), ("{}", "the decision is damaged"), (None, "is missing")):
        path = tmp_path / "report/decision.json"
        path.unlink() if damage is None else path.write_text(damage)
        with pytest.raises(CorpusError, match=told):
            read_decision(tmp_path / "report")


def test_an_equal_one_is_refused_for_gain_and_passes_for_no_loss(stage: Callable[..., Stage]) -> None:
    play = stage(rights(0.7), rights(0.7), golden=(0, 1))
    assert failed(play.decide(EXAMPLES, GAIN)) == {"evidence"}
    assert failed(play.decide(EXAMPLES, LOSS)) == set()
    with pytest.raises(ConfigError, match="no measure 'charm'"):
        play.decide(EXAMPLES, replace(GAIN, measure={"genre": "charm"}))


@pytest.mark.parametrize("seed", range(10))
def test_a_worse_one_is_refused_every_time(stage: Callable[..., Stage], seed: int) -> None:
    before = rights(0.8, seed)
    spoilt = rights(0.85, seed + 100)
    play = stage(before, {number: hit and spoilt[number] for number, hit in before.items()})
    for gate in (GAIN, LOSS):
        assert {"overall", "evidence"} <= failed(play.decide(EXAMPLES, gate))


def test_answers_in_disorder_are_refused(stage: Callable[..., Stage]) -> None:
    before = rights(0.9)
    shuffled = dict(zip(before, np.random.default_rng(3).permutation(list(rights(1 / 3).values())), strict=True))
    assert {"overall", "groups"} <= failed(stage(before, shuffled).decide(EXAMPLES, LOSS))


def test_one_corpus_that_falls_refuses_what_gains_on_the_whole(stage: Callable[..., Stage]) -> None:
    examples = [*EXAMPLES[:100], *(example(number, "live") for number in range(100, TRACKS))]
    before = rights(0.5) | dict.fromkeys(range(100, TRACKS), True)
    after = {number: number < 100 or number % 2 == 0 for number in before}
    decision = stage(before, after).decide(examples, GAIN)
    assert decision.check("evidence").passed
    assert failed(decision) == {"groups"}
    fell = [group for group in decision.groups if group.verdict == "fell"]
    assert [(group.kind, group.name) for group in fell] == [("corpus", "live")]
    assert "corpus live by 0.500" in decision.sentence


def test_groups_too_small_are_said_not_to_be_judged(stage: Callable[..., Stage]) -> None:
    examples = [*EXAMPLES[:115], *(example(number, "tiny") for number in range(115, TRACKS))]
    after = rights(0.7) | dict.fromkeys(range(115, TRACKS), False)
    decision = stage(rights(0.7) | dict.fromkeys(range(115, TRACKS), True), after).decide(examples, LOSS)
    assert "Not judged, with fewer than 8: corpus tiny (5)" in decision.check("groups").sentence
    tiny = next(group for group in decision.groups if group.name == "tiny")
    assert (tiny.verdict, tiny.chance) == ("not judged", None)
    assert np.isnan(tiny.difference.low)


def test_slower_or_larger_ones_are_refused(stage: Callable[..., Stage]) -> None:
    after = rights(0.7) | dict.fromkeys(range(0, TRACKS, 3), True)
    slow = stage(rights(0.7), after, cost_s=0.014).decide(EXAMPLES, GAIN)
    assert failed(slow) == {"latency"}
    assert slow.check("latency").value == pytest.approx(1.4)
    assert not failed(stage(rights(0.7), after, cost_s=0.012).decide(EXAMPLES, GAIN))
    large = stage(rights(0.7), after, sizes=(1000, 1600)).decide(EXAMPLES, GAIN)
    assert failed(large) == {"size"}
    assert large.check("size").value == 1.6


def test_confidence_that_no_longer_means_anything_is_refused(stage: Callable[..., Stage]) -> None:
    before = rights(0.8)
    decision = stage(before, before, old={"confidence": 0.8}, confidence=0.999).decide(EXAMPLES, LOSS)
    assert failed(decision) == {"calibration"}
    check = decision.check("calibration")
    share = np.mean([before[number] for number in range(TRACKS)])
    assert check.value == pytest.approx(0.999 - share - abs(0.8 - share))
    assert check.low is not None
    assert check.high is not None
    assert check.low - 1e-9 <= check.value <= check.high + 1e-9


def test_a_golden_track_lost_refuses(stage: Callable[..., Stage]) -> None:
    before = rights(0.6) | {130: True, 131: False}
    after = dict.fromkeys(before, True) | {130: False}
    decision = stage(before, after, golden=(130, 131)).decide(EXAMPLES, GAIN)
    assert failed(decision) == {"golden"}
    assert "Lost: t130" in decision.check("golden").sentence
    # One that neither gets right, or that only the challenger does, refuses nothing.
    assert not failed(stage(before, after, golden=(131,)).decide(EXAMPLES, GAIN))
    named = replace(GAIN, golden={"genre": ("old/t7",)})
    play = stage({**before, 7: True}, {**after, 7: False})
    assert failed(play.decide(EXAMPLES, named)) == {"golden"}
    gone = play.decide(EXAMPLES, replace(GAIN, golden={"genre": ("old/none",)}))
    assert "names old/none, which is not in the test sets" in gone.check("golden").sentence


def test_genres_that_one_side_does_not_know_are_wrong_for_it(stage: Callable[..., Stage]) -> None:
    right = dict.fromkeys(range(TRACKS), True)
    lost = stage(right, right, classes=("house", "jazz")).decide(EXAMPLES, LOSS)
    assert {"classes", "overall", "groups"} <= failed(lost)
    assert lost.check("overall").value == pytest.approx(-1 / 3)
    assert "does not know rock" in lost.check("classes").sentence
    assert "0 for the champion, 40 for the challenger" in lost.check("classes").sentence
    # Never a track of it in the test sets: it is refused all the same.
    without = [one for one in EXAMPLES if one.truth != "rock"]
    few = replace(LOSS, least_tracks=50)
    assert failed(stage(right, right, classes=("house", "jazz")).decide(without, few)) == {"classes"}
    gained = stage(right, right, old={"classes": ("house", "jazz"), "confidence": 0.99}, confidence=0.99)
    gained = gained.decide(EXAMPLES, GAIN)
    assert not failed(gained)
    assert "knows rock besides" in gained.check("classes").sentence


def test_what_cannot_be_compared_is_refused_with_the_reason(stage: Callable[..., Stage]) -> None:
    right = rights(0.7)
    broken = stage(right, right, broken=True).decide(EXAMPLES, LOSS)
    assert failed(broken) == {"comparison"}
    assert "fails on track old/t0: mat1 and mat2 shapes" in broken.sentence
    other = stage(right, right, params=FeatureParams(mel_bands=8)).decide(EXAMPLES, LOSS, features=PARAMS)
    assert "hears another front end" in other.sentence
    assert "no test track" in stage(right, right).decide([], LOSS).sentence
    few = stage(right, right).decide(EXAMPLES[:20], LOSS)
    assert "tracks" in failed(few)

    def unreadable() -> np.ndarray:
        raise CorpusError("data/features/old: has no features of track t1")

    missing = stage(right, right).decide([EXAMPLES[0], replace(EXAMPLES[1], log_mel=unreadable)], LOSS)
    assert "has no features of track t1" in missing.sentence
    nan = stage(right, right)
    with torch.no_grad():
        nan.models["challenger"].network.weight.fill_(np.nan)  # type: ignore[operator, union-attr]
    assert "its weights hold NaN or infinity (weight)" in nan.decide(EXAMPLES, LOSS).sentence


def test_tracks_of_one_source_count_together(stage: Callable[..., Stage]) -> None:
    before = dict.fromkeys(range(TRACKS), False)
    # Twenty songs of which one alone, with many takes, got better.
    after = {number: number < 24 for number in before}
    sources = {("old", f"t{number}"): "hit" if number < 24 else f"song {number % 19}" for number in before}
    play = stage(before, after)
    assert play.decide(EXAMPLES, GAIN).check("evidence").passed
    together = play.decide(EXAMPLES, replace(GAIN, least_tracks=10), sources=sources)
    assert not together.check("evidence").passed
    assert together.sets[0].sources == 20
    assert "tracks" in failed(play.decide(EXAMPLES, GAIN, sources=sources))


def test_a_gain_on_the_focus_counts_where_nothing_is_lost(stage: Callable[..., Stage]) -> None:
    examples = [*(example(n) for n in range(100)), *(example(n, "mine") for n in range(100, TRACKS))]
    before = dict.fromkeys(range(100), True) | dict.fromkeys(range(100, TRACKS), False)
    after = {number: number not in range(10) for number in before} | {
        number: number < 112 for number in range(100, 120)
    }
    play = stage(before, after)
    gate = replace(GAIN, margin={"genre": 0.09}, group_margin={"genre": 0.2})
    assert failed(play.decide(examples, gate)) == {"evidence"}
    focused = play.decide(examples, replace(gate, focus=("corpus:mine",)))
    assert failed(focused) == set()
    assert "It is better on corpus mine" in focused.check("evidence").sentence
    absent = play.decide(examples, replace(gate, focus=("corpus:absent",)))
    assert "Not judged, for want of tracks: corpus:absent" in absent.check("evidence").sentence
    assert failed(absent) == {"evidence"}


def test_a_first_champion_does_better_than_answers_without_hearing(stage: Callable[..., Stage]) -> None:
    decision = stage({}, rights(0.7), golden=(0, 1, 2)).decide(EXAMPLES, GAIN, first=True)
    assert failed(decision) == set()
    assert decision.champion == ""
    assert decision.check("chance").passed
    assert "no champion yet: it was held against answers without hearing" in decision.check("champion").sentence
    deaf = {number: number % 3 == 0 for number in range(TRACKS)}
    assert failed(stage({}, deaf, golden=(1, 2)).decide(EXAMPLES, GAIN, first=True)) == {"chance", "golden"}


def test_sets_are_named_by_what_is_in_them() -> None:
    def named(examples: Sequence[Example]) -> tuple[TestSet, ...]:
        hashes = [digest(one, one.log_mel()) for one in examples]
        return name_sets(examples, hashes, [one.id for one in examples])

    sets = named(EXAMPLES)
    assert named(EXAMPLES[::-1]) == sets
    changed = [replace(EXAMPLES[0], truth="jazz"), *EXAMPLES[1:]]
    louder = [replace(EXAMPLES[0], log_mel=lambda: np.ones((40, 4), np.float32)), *EXAMPLES[1:]]
    for other in (changed, louder, EXAMPLES[1:]):
        assert named(other)[0].sha256 != sets[0].sha256
    assert "not known" in same_sets(sets, None).sentence
    assert "These are the frozen sets" in same_sets(sets, sets).sentence
    assert "changed: old" in same_sets(sets, named(changed)).sentence
    mine = TestSet("mine", 1, 1, "0")
    assert "new: mine" in same_sets((*sets, mine), sets).sentence
    beats = [Beats(np.array([0.5, 1.0]), np.array(places)) for places in ([1, 2], [2, 1])]
    first, second = (digest(replace(EXAMPLES[0], truth=one), np.zeros((2, 2), np.float32)) for one in beats)
    assert first != second


def test_false_alarms_where_there_is_nothing_to_find_are_not_dropped() -> None:
    nan = np.nan
    tables = (pd.DataFrame({"beat_f": scores}) for scores in ([0.5, nan, nan, 0.0], [0.6, nan, 0.0, nan]))
    first, second = paired_scores(*tables, "beat_f")
    np.testing.assert_array_equal(first, [0.5, nan, 1.0, 0.0])
    np.testing.assert_array_equal(second, [0.6, nan, 0.0, 1.0])


def test_limits_lie_about_the_mean() -> None:
    values = np.random.default_rng(0).normal(0.1, 0.2, 60)
    found = gather(values, [str(number) for number in range(60)])
    low, high = limits(found, 0.05, 2000, 0)
    reach = 1.78 * values.std(ddof=1) / np.sqrt(60)
    assert low == pytest.approx(values.mean() - reach, abs=0.012)
    assert high == pytest.approx(values.mean() + reach, abs=0.012)
    skewed = gather(-(values**2), [str(number) for number in range(60)])
    assert limits(skewed, 0.05, 500, 1) != limits(skewed, 0.05, 500, 0)
    paired = gather(np.repeat(values, 2), [str(number) for number in range(60) for _ in range(2)])
    assert limits(paired, 0.05, 2000, 0) == pytest.approx((low, high))
    assert limits(gather(np.array([0.1]), ["a"]), 0.05, 2000, 0) == (-np.inf, np.inf)
    same = gather(np.zeros(40), [str(number) for number in range(40)])
    assert limits(same, 0.05, 2000, 0) == (0.0, 0.0)
    assert fall_probability(same) == 1.0
    assert fall_probability(gather(np.full(9, -0.1), list("abcdefghi"))) == 0.0
    assert fall_probability(gather(-values, [str(number) for number in range(60)])) < 0.001


@pytest.mark.parametrize("tracks", [50, 100])
@pytest.mark.parametrize("kind", ["fine-tuned", "trained anew", "right or wrong", "by source"])
def test_false_promotions_are_rarer_than_stated(kind: str, tracks: int) -> None:
    """A smaller run of benchmarks/gate.py, whose numbers are in docs/gate.md."""
    task = "genre" if kind == "right or wrong" else "beat"
    found = simulate(kind, tracks, 0.0, GAIN, task, simulations=1500)
    assert found.promoted.value < GAIN.alpha
    margin = LOSS.margin[task]
    worse = simulate(kind, tracks, -margin, LOSS, task, simulations=1500)
    assert worse.promoted.value < LOSS.alpha
    assert simulate(kind, 300, 0.1, GAIN, task, simulations=250).promoted.value > 0.9


def test_groups_seldom_fall_by_chance() -> None:
    assert simulate("fine-tuned", 200, 0.0, GAIN, "beat", simulations=300, groups=10).refused_by_groups.value < 0.05


def clicks(number: int) -> Example:
    """A click on every beat, twelve seconds, each track of another tempo, in a little noise."""
    random = np.random.default_rng(number)
    params = load_spec(shipped_models()["beat"]).features
    times_s = np.arange(0.4, 11.5, 60 / (80 + 9 * number))
    samples = 0.001 * random.standard_normal(12 * params.sample_rate_hz)
    burst = random.standard_normal(1200) * np.exp(-np.arange(1200) / 200)
    for time_s in times_s:
        start = round(time_s * params.sample_rate_hz)
        samples[start : start + 1200] += 0.4 * burst[: samples.size - start]
    spectrogram = log_mel(samples.astype(np.float32), LogMel(params))
    return Example("clicks", f"c{number}", "", lambda: spectrogram, Beats(times_s))


@pytest.fixture
def one_thread() -> Iterator[None]:
    # Small convolutions by several threads are slow where other tests run beside.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def damaged(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    shutil.copytree(shipped_models()["beat"], folder)
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    change(weights)
    safetensors.torch.save_file(weights, folder / WEIGHTS)
    return folder


SMALL = settings(resamples=800, least_tracks=8, timed_tracks=2, timing_rounds=2, latency_ratio=5.0, kept={})


@pytest.mark.usefixtures("one_thread")
def test_the_shipped_beat_model_stands_against_damaged_copies_of_itself(tmp_path: Path) -> None:
    beats = [clicks(number) for number in range(8)]
    champion = shipped_models()["beat"]
    same = decide("beat", champion, champion, beats, replace(SMALL, evidence="no_loss"))
    assert failed(same) == set()
    assert same.check("overall").value == 0
    assert same.check("golden").sentence == "Of 13 golden tracks the champion gets 13 right, the challenger 13."
    assert same.check("calibration").passed is None
    assert same.groups[0].champion > 0.9

    def noisy(weights: dict[str, torch.Tensor]) -> None:
        torch.manual_seed(0)
        for value in weights.values():
            if value.is_floating_point() and value.dim() > 1:
                value.add_(3 * value.std() * torch.randn_like(value))

    spoilt = decide("beat", champion, damaged(tmp_path / "noisy", noisy), beats, replace(SMALL, evidence="no_loss"))
    assert {"overall", "golden"} <= failed(spoilt)

    def not_numbers(weights: dict[str, torch.Tensor]) -> None:
        next(value for value in weights.values() if value.dim() > 1).fill_(float("nan"))

    assert "NaN" in decide("beat", champion, damaged(tmp_path / "nan", not_numbers), beats, SMALL).sentence
    cut = damaged(tmp_path / "cut", lambda _: None)
    (cut / WEIGHTS).write_bytes((cut / WEIGHTS).read_bytes()[:5000])
    assert "the challenger cannot be used" in decide("beat", champion, cut, beats, SMALL).sentence
    assert "the champion cannot be used" in decide("beat", cut, champion, beats, SMALL).sentence
    odd = damaged(tmp_path / "odd", lambda _: None)
    spec = load_spec(odd)
    write_json(odd / SPEC, replace(spec, network={**spec.network, "colour": "red"}).to_dict())
    assert "colour" in decide("beat", champion, odd, beats, SMALL).sentence
    genre = decide("beat", champion, shipped_models()["genre"], beats, SMALL)
    assert "is a model for genre, not for beat" in genre.sentence
    assert decide("beat", None, champion, beats, SMALL).promoted
    with pytest.raises(ConfigError, match="no gate for 'separation'"):
        decide("separation", champion, champion, beats, SMALL)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("task", ["onset", "genre"])
def test_golden_tracks_made_by_code_are_heard_by_the_models_that_ship(task: str) -> None:
    from backbeat.evaluation.scoring import load
    from backbeat.gate.sides import Contender

    contender = Contender(load(task, shipped_models()[task]))
    tracks = made_by_code(task, contender.model.spec.features)
    assert len(tracks) >= 8
    assert [track.name for track in tracks if not track.right(contender)] == []


class Registered:
    """What the gate asks of a registry, kept in memory."""

    def __init__(self, folders: Mapping[str, Path], champion: str | None, challenger: str | None) -> None:
        self.folders, self.now, self.next = folders, champion, challenger
        self.events: list[tuple[str, str, str | None, str, str]] = []
        self.runs = dict.fromkeys(folders, "")

    def version(self, number: str) -> Version:
        return Version("genre", number, self.runs[number], "abc", "mine=sha256:1", "CC0-1.0", datetime.now(UTC))

    def champion(self, task: str) -> Version | None:
        return self.version(self.now) if self.now else None

    def challenger(self, task: str) -> Version | None:
        return self.version(self.next) if self.next else None

    def get(self, task: str, version: str) -> Version:
        return self.version(version)

    def fetch(self, version: Version, places: Path) -> Path:
        if not self.folders[version.version].is_dir():
            raise ModelError(f"{version.name}: what the registry keeps is no model")
        return self.folders[version.version]

    def promote(self, version: Version, *, instead_of: str | None, why: str, who: str = "", evidence: str = "") -> None:
        self.events.append(("promote", version.version, instead_of, why, evidence))
        self.now, self.next = version.version, None

    def refuse(self, version: Version, *, why: str, who: str = "", evidence: str = "") -> None:
        self.events.append(("refuse", version.version, None, why, evidence))


@pytest.fixture
def places(tmp_path: Path) -> GatePlaces:
    """Labels, features and a corpus as the pipeline leaves them, of scripted spectrograms."""
    data = tmp_path / "data"
    found = GatePlaces(
        data / "labels",
        data / "features",
        data / "listening",
        data / "corpora",
        tmp_path / "reports",
        tmp_path / "models",
    )
    lines = [
        {"id": f"t{number}", "split": "test", "genre": CLASSES[number % 3], "licence": "CC0-1.0"}
        for number in range(TRACKS)
    ]
    write_text(found.labels / "genre" / "old.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    mels = ((f"t{number}", np.full((40, 4), number, np.float32)) for number in range(TRACKS))
    write_features(found.features / "old", PARAMS, mels)
    return found


def test_sources_are_read_from_the_corpora_that_are_there(tmp_path: Path) -> None:
    tracks = [Track("a", "audio/a.wav", source="song"), Track("b", "audio/b.wav")]
    write_annotations(Corpus(tmp_path / "mine", tuple(tracks)).root, tracks)
    labelled = [LabelledTrack(corpus, "a", "test", "", "", {}) for corpus in ("mine", "gone")]
    assert sources_of(tmp_path, labelled) == {("mine", "a"): "song", ("mine", "b"): "b"}


def test_a_decision_is_written_and_the_registry_told(stage: Callable[..., Stage], places: GatePlaces) -> None:
    before = rights(0.6)
    play = stage(before, {number: hit or number % 3 == 0 for number, hit in before.items()})
    folders = {"1": play.folder / "champion", "2": play.folder / "challenger", "3": play.folder / "none"}
    registry = Registered(folders, "1", "2")
    gate = replace(GAIN, latency_ratio=100.0)
    decision = decide_and_record(registry, "genre", gate, places, NO_TRACKING)
    assert decision.promoted
    assert registry.events == [("promote", "2", "1", decision.sentence, "")]
    assert read_decision(places.reports / "gate/genre").to_dict() == decision.to_dict()
    with pytest.raises(ConfigError, match="has no challenger"):
        decide_and_record(registry, "genre", gate, places, NO_TRACKING)
    with pytest.raises(RegistryError, match="is the champion already"):
        decide_and_record(registry, "genre", gate, places, NO_TRACKING, challenger=registry.version("2"))
    # The old champion does not come back by this way, and one that cannot be fetched does not come in.
    for number in ("1", "3"):
        again = decide_and_record(registry, "genre", gate, places, NO_TRACKING, challenger=registry.version(number))
        assert not again.promoted
        assert registry.events[-1] == ("refuse", number, None, again.sentence, "")
    assert "no model" in again.sentence
    first = Registered(folders, None, "2")
    assert decide_and_record(first, "genre", gate, places, NO_TRACKING).promoted
    assert first.events[0][:3] == ("promote", "2", None)


def test_the_run_keeps_the_report_and_tells_the_sets_later(
    stage: Callable[..., Stage], places: GatePlaces, mlflow_uri: str
) -> None:
    tracking = Tracking(mlflow_uri, "gate")
    play = stage(rights(0.6), rights(0.9))
    registry = Registered({"1": play.folder / "champion", "2": play.folder / "challenger"}, None, "2")
    with tracked_run(tracking, "training", {}) as run:
        registry.runs["2"] = run.run_id
    gate = replace(LOSS, latency_ratio=100.0, golden={})
    decision = decide_and_record(registry, "genre", gate, places, tracking)
    assert registry.events[0][-1] == run.run_id
    found = logged_run(tracking, run.run_id)
    assert found is not None
    logged = found.text(f"{ARTIFACTS}/decision.json")
    assert logged is not None
    assert json.loads(logged)["sets"][0]["sha256"] == decision.sets[0].sha256
    assert found.text("gate/none.json") is None
    assert logged_run(tracking, "0" * 32) is None
    registry.folders = {**registry.folders, "1": play.folder / "challenger"}
    later = decide_and_record(registry, "genre", gate, places, tracking, challenger=registry.version("1"))
    assert "These are the frozen sets" in later.check("sets").sentence


def test_the_command_ends_with_3_for_a_refusal(
    stage: Callable[..., Stage],
    places: GatePlaces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pipelines import promote

    play = stage(rights(0.6), rights(0.3))
    registry = Registered({"1": play.folder / "champion", "2": play.folder / "challenger"}, "1", "2")
    monkeypatch.setattr(promote, "Registry", lambda uri: registry)
    monkeypatch.chdir(tmp_path)
    given = [f"paths.{name}={getattr(places, name)}" for name in ("labels", "features", "corpora", "reports", "models")]
    command = ["promote", "task=genre", "tracking=none", "trainer.progress=false", "gate.resamples=800", *given]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        promote.main()
    assert end.value.code == promote.REFUSED == 3
    assert "Refused, for overall" in capsys.readouterr().out
    registry.folders = {"1": play.folder / "challenger", "2": play.folder / "champion"}
    monkeypatch.setattr(sys, "argv", [*command, "+version=2", "gate.latency_ratio=100"])
    promote.main()
    assert registry.now == "2"


def test_settings_make_sense_or_are_refused() -> None:
    assert GAIN.ways == 1
    assert replace(GAIN, resamples=4000, focus=("corpus:a", "style:b")).level == pytest.approx(0.05 / 3)
    for change, told in (
        ({"alpha": 0.7}, "alpha"),
        ({"evidence": "hope"}, "evidence"),
        ({"focus": ["mine"]}, "focus"),
        ({"least_tracks": 1}, "least_tracks"),
        ({"resamples": 100}, "resamples"),
        ({"margin": {"beat": 2.0}}, "margins"),
        ({"size_ratio": 0.0}, "ratios"),
        ({"alhpa": 0.1}, "alhpa"),
    ):
        with pytest.raises(ConfigError, match=told):
            settings(**change)
    with pytest.raises(ConfigError, match="says nothing of genre"):
        decide("genre", None, Path("none"), [], settings(margin={"beat": 0.02}))
