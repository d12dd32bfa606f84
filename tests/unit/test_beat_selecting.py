"""Choosing beats: order, filters, reasons, the model's part, and refusals that say what to do."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from beat_choices import SPACE, Beats, Take, beat, both_weights, descriptors

from backbeat.errors import CatalogueError, ConfigError, ModelError, SilentAudioError
from backbeat.recommend.beats.filtering import BeatFilters
from backbeat.recommend.beats.scoring import PARTS, fitted
from backbeat.recommend.beats.selecting import BeatAnswer, BeatSelector
from backbeat.recommend.items import Item

PAIRING: Any = SimpleNamespace(space=SPACE)
BEATS = [
    beat("far", tempo_bpm=104.0),
    beat("near", tempo_bpm=92.3),
    beat("double", label="house", tempo_bpm=184.0),
    beat("shifted", tempo_bpm=92.3, key="C# major"),
    beat("drums", tempo_bpm=92.0, key=None),
]


def choose(query: Any, beats: Beats, pairing: Any = None, **asked: Any) -> tuple[BeatAnswer, ...]:
    return BeatSelector(beats, pairing, both_weights()).select(query, **asked)


def test_the_nearest_in_tempo_and_key_comes_first() -> None:
    answers = choose(Take(descriptors()), Beats(BEATS))
    assert [answer.item.id for answer in answers] == ["near", "shifted", "drums", "double", "far"]
    best = answers[0]
    assert best.method == "rules"
    assert best.stretch == pytest.approx(92 / 92.3, abs=1e-4)
    assert best.score == pytest.approx(sum(best.parts.values()), abs=1e-3)
    assert best.confidence == pytest.approx(1 / (1 + np.exp(-2 * best.score)), abs=1e-3)
    assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)
    shifted = next(answer for answer in answers if answer.item.id == "shifted")
    assert shifted.transpose_semitones == -1
    assert next(answer for answer in answers if answer.item.id == "double").level == 2.0


def test_reasons_are_words_and_numbers() -> None:
    told = {answer.item.id: answer.reason for answer in choose(Take(descriptors()), Beats(BEATS))}
    assert told["near"].startswith("Its 92.3 bpm is your take's 92.0 (stretch 0.3%); C major (8B) fits C major (8B)")
    assert "it is trap, and your take sounds like that by 70%" in told["near"]
    assert "both in 4/4" in told["near"]
    assert told["near"].endswith("the rules speak alone, without a model.")
    assert "once transposed by -1 semitone;" in told["shifted"]
    assert "the beat has no key, as percussion has none" in told["drums"]
    assert "Its 184.0 bpm is your take's 92.0 in double time (stretch 0.0%)" in told["double"]
    assert "Its 104.0 bpm plays 11.5% slower for your take's 92.0" in told["far"]


def test_what_is_unknown_is_said() -> None:
    (answer,) = choose(Take(descriptors(tempo_bpm=None, key=None)), Beats(BEATS[:1]))
    assert answer.stretch == 1
    assert answer.reason.startswith("No tempo was found in your take, so nothing is stretched; your take has no key")
    assert answer.parts["tempo"] == answer.parts["key"] == 0


def test_equal_beats_come_by_id_and_always_the_same() -> None:
    beats = Beats([beat(f"b{n:03d}") for n in np.random.default_rng(0).permutation(200)])
    for count in (1, 7, 200):
        chosen = [answer.item.id for answer in choose(Take(descriptors()), beats, count=count)]
        assert chosen == [f"b{n:03d}" for n in range(count)]


def test_many_beats_are_judged_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    many = [beat(f"b{n:03d}", tempo_bpm=float(random.uniform(60, 180))) for n in range(300)]
    whole = choose(Take(descriptors()), Beats(many), count=20)
    monkeypatch.setattr("backbeat.recommend.beats.selecting._BEATS_AT_ONCE", 7)
    assert [one.to_dict() for one in choose(Take(descriptors()), Beats(many), count=20)] == [
        one.to_dict() for one in whole
    ]


def test_the_model_has_its_part() -> None:
    vectors = np.array([[0, 1], [1, 0], [0, 1]], np.float32)
    same = [beat(name) for name in ("a", "b", "c")]
    take = Take(descriptors(), np.array([1, 0], np.float32))
    answers = choose(take, Beats(same, vectors, ("a", "b", "c")), PAIRING)
    assert [answer.item.id for answer in answers] == ["b", "a", "c"]
    assert answers[0].method == "rules and model"
    assert answers[0].parts["learned"] == pytest.approx(2.5)
    assert answers[0].reason.endswith("to the model it is nearer than 67% of the beats (similarity 1.00).")


def test_beats_without_a_vector_are_judged_by_rules() -> None:
    beats = Beats([beat("a"), beat("b"), beat("c")], np.array([[1, 0], [-1, 0]], np.float32), ("c", "b"))
    answers = choose(Take(descriptors(), np.array([1, 0], np.float32)), beats, PAIRING)
    assert [(one.item.id, one.method) for one in answers] == [
        ("c", "rules and model"),
        ("a", "rules"),
        ("b", "rules and model"),
    ]
    assert "learned" not in answers[1].parts


@pytest.mark.parametrize("vector", [None, np.array([1, 0], np.float32)])
def test_without_vectors_the_rules_choose_and_say_so(vector: Any) -> None:
    (answer,) = choose(Take(descriptors(), vector), Beats(BEATS[:1]), PAIRING)
    assert answer.method == "rules"


def test_an_item_asks_for_others_like_it() -> None:
    answers = choose(beat("near", tempo_bpm=92.3, label="house"), Beats(BEATS))
    assert "near" not in {answer.item.id for answer in answers}
    assert next(one for one in answers if one.item.id == "double").parts["style"] > 0


def test_an_answer_is_plain_json() -> None:
    (answer,) = choose(Take(descriptors()), Beats(BEATS), count=1)
    value = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert Item.from_dict(value["item"]) == answer.item
    assert set(value["parts"]) == set(PARTS) - {"learned"}


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (BeatFilters(labels=("House",)), ["double"]),
        (BeatFilters(tempo_range=(100, 200)), ["double", "far"]),
        (BeatFilters(max_stretch=0.05, exclude=("near", "drums")), ["shifted", "double"]),
        (BeatFilters(max_transpose=0, max_stretch=0.01), ["near", "drums", "double"]),
    ],
)
def test_filters(filters: BeatFilters, ids: list[str]) -> None:
    assert [answer.item.id for answer in choose(Take(descriptors()), Beats(BEATS), filters=filters)] == ids


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (BeatFilters(labels=("gabber",)), "none is labelled gabber; the catalogue's labels are house, trap"),
        (BeatFilters(tempo_range=(10, 20)), "none has a tempo of 10 to 20 bpm"),
        (BeatFilters(labels=("trap",), tempo_range=(180, 190)), "of the 4 that pass the filters before, none has a t"),
        (BeatFilters(exclude=tuple(one.id for one in BEATS)), "all are excluded"),
    ],
)
def test_the_filter_that_leaves_nothing_is_named(filters: BeatFilters, message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        choose(Take(descriptors()), Beats(BEATS), filters=filters)


def test_too_little_stretch_says_how_much_is_needed() -> None:
    with pytest.raises(CatalogueError, match=r"within a stretch of 5.0%, the nearest of them needs 11.5%"):
        choose(Take(descriptors()), Beats(BEATS[:1]), filters=BeatFilters(max_stretch=0.05))


@pytest.mark.parametrize(
    "absurd",
    [
        {"tempo_range": (100.0, 80.0)},
        {"tempo_range": (float("nan"), 80.0)},
        {"tempo_range": (-5.0, 80.0)},
        {"max_stretch": 3.0},
        {"max_stretch": -0.1},
        {"max_stretch": float("nan")},
        {"max_transpose": 13},
        {"labels": (" ",)},
    ],
)
def test_absurd_filters_are_refused(absurd: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        BeatFilters(**absurd)


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_absurd_counts_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="1 to 1000"):
        choose(Take(descriptors()), Beats(BEATS), count=count)


def test_an_empty_catalogue_says_what_to_do() -> None:
    with pytest.raises(CatalogueError, match="`backbeat catalogue starter`"):
        choose(Take(descriptors()), Beats([]))


def test_a_silent_take_is_refused() -> None:
    with pytest.raises(SilentAudioError, match=r"take.wav: is silent"):
        choose(Take(descriptors(silence=1.0)), Beats(BEATS))


def test_the_weights_that_ship() -> None:
    assert fitted()["rules"].weights["learned"] == 0
    for found in fitted().values():
        assert all(weight >= 0 for weight in found.weights.values())
        assert found.slope > 0
        assert found.origin["takes"] > 50


def test_a_model_without_weights_is_refused() -> None:
    beats = Beats(BEATS[:1], np.ones((1, 2), np.float32), ("far",))
    selector = BeatSelector(beats, PAIRING, {"rules": both_weights()["rules"]})
    with pytest.raises(ModelError, match="fit them with"):
        selector.select(Take(descriptors(), np.ones(2, np.float32)))  # type: ignore[arg-type]
