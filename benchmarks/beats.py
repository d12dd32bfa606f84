"""Does a take find its own beat among others? By chance, by the rules, by the pairing model, and by both together.

`python benchmarks/beats.py --pairs FOLDER --pairing weights/pairing` describes the takes and beats of the test split of
a corpus of pairs, rendered from `CORPUS` where FOLDER is not there yet (ten minutes on two cores). It prints, in
Markdown, recall at 1 and 5 and the mean reciprocal rank among 100 beats with 95 % intervals over takes, the differences
between the ways with paired tests, and how far the confidence is from the truth. No beat is filtered out: how far one
would have to be stretched counts in the rules alone.

`--fit FILE` fits the weights on the validation split instead, with beats' true styles and with those that are heard,
and writes them: that is how `src/backbeat/recommend/beats/fitted.json` was made. `--real FOLDER` adds recordings that
nobody rendered, for evaluation only: the drum tracks of MDB Drums under their own full mixes (drums/), and voices of
MIR-1K over the accompaniments of all songs, one clip a song (vocals/). `--speed` measures choosing among 100,000 beats.
`--cache FOLDER` keeps what was described for the next time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.stats import wilcoxon

from backbeat.analysis.analyzer import Analyzer
from backbeat.analysis.descriptors import Descriptors, Mood, Quality, Spectrum
from backbeat.analysis.result import KeyGuess
from backbeat.audio import decode, encode
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.pairs import PairsParams, render_pairs
from backbeat.corpus.rendered.render import AudioFormat
from backbeat.corpus.splits import Shares
from backbeat.errors import BackbeatError
from backbeat.files import sha256_file, write_json
from backbeat.pairing.model import PairingModel
from backbeat.recommend.beats.confidence import calibration_error
from backbeat.recommend.beats.fitting import Choice
from backbeat.recommend.beats.judging import WAYS, Ear, Question, choices, fitted_on, rendered, scores, table_of_ways
from backbeat.recommend.beats.scoring import LEARNED, Weights, read_weights
from backbeat.recommend.beats.selecting import BeatSelector
from backbeat.recommend.items import Item, ItemTable
from backbeat.statistics import bootstrap_interval, holm, paired_bootstrap

#: Songs that no pairing model was trained on: another seed than that of the pipeline.
CORPUS = PairsParams(
    seed=77,
    tracks=420,
    duration_s=30.0,
    shares=Shares(train=0.02, valid=0.36, test=0.62),
    kit_variety=1.0,
    modelled_share=0.2,
    side_stick_share=0.08,
    tambourine_share=0.08,
    backing_share=0.4,
    effects=EffectsParams(strength=1.0, drums=1.0),
    audio=AudioFormat(sample_rate_hz=24000),
)
BEATS = 100_000
MEASURES = {"found_1": "recall@1", "found_5": "recall@5", "reciprocal_rank": "MRR"}


def real_drums(folder: Path, ear: Ear) -> Question:
    """Return the question of full mixes for their own drums among all drum tracks."""
    beats = sorted((folder / "drum_only").glob("*.flac"))
    takes = sorted((folder / "full_mix").glob("*.flac"))
    truths = tuple([beat.name for beat in beats].index(take.name) for take in takes)
    return Question(
        "real drums (MDB)", tuple(ear(path, path.stem) for path in takes), tuple(ear(p, p.stem) for p in beats), truths
    )


def real_voices(folder: Path, ear: Ear) -> Question:
    """Return the question of sung clips for their own accompaniment, one clip a song."""
    songs: dict[str, Path] = {}
    for path in sorted(folder.glob("*.flac")):
        songs.setdefault(path.stem.rpartition("_")[0], path)
    takes, beats = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for song, path in songs.items():
            audio = decode(path)
            for channel, told in ((1, takes), (0, beats)):
                side = Path(scratch) / f"{song}-{channel}.wav"
                encode(side, audio.samples[channel], audio.sample_rate_hz)
                told.append(ear(side, song))
    return Question("real voices (MIR-1K)", tuple(takes), tuple(beats), tuple(range(len(takes))))


def print_question(question: Question, weights: Mapping[str, Weights], ways: Sequence[str]) -> None:
    """Print how each way does, and how they differ."""
    asked = list(choices(question, "model" in ways))
    table = table_of_ways(question, weights, ways)
    rows = {way: table[table["way"] == way] for way in ways}
    among = table["candidates"].max()
    print(f"\n{question.name}: {len(asked)} takes, among {among:.0f} beats\n")
    print("| | " + " | ".join(MEASURES.values()) + " | confidence off by |")
    print("| --- " * (len(MEASURES) + 2) + "|")
    for way in ways:
        cells = [str(bootstrap_interval(rows[way][name].to_numpy())) for name in MEASURES]
        print(f"| {way} | {' | '.join(cells)} | {_off(asked, way, weights)} |")
    pairs = [(one, other) for place, one in enumerate(ways) for other in ways[:place] if other != "chance"]
    found = []
    for one, other in pairs:
        ours, theirs = (rows[way]["reciprocal_rank"].to_numpy() for way in (one, other))
        same = np.allclose(ours, theirs)
        found.append((paired_bootstrap(ours, theirs), 1.0 if same else float(wilcoxon(ours, theirs).pvalue)))
    print("\n| difference of MRR | | p (Wilcoxon, Holm) |\n| --- | --- | --- |")
    for (one, other), (difference, _), p in zip(pairs, found, holm([p for _, p in found]), strict=True):
        print(f"| {one} over {other} | {difference} | {p:.2g} |")


def _off(asked: Sequence[Choice], way: str, weights: Mapping[str, Weights]) -> str:
    """Return the calibration error of a way that has a confidence, of pairs that belong together and others."""
    if way not in ("rules", "rules and model"):
        return "–"
    found = [scores(choice, way, weights) for choice in asked]
    confidence = weights["rules" if way == "rules" else "model"].confidence(np.concatenate(found))
    together = np.concatenate(
        [np.arange(score.size) == choice.truth for score, choice in zip(found, asked, strict=True)]
    )
    return f"{calibration_error(confidence, together):.3f}"


def print_speed(weights: Mapping[str, Weights]) -> None:
    """Print how long choosing among 100,000 beats takes, of invented numbers."""
    random = np.random.default_rng(0)
    ids = tuple(f"beat-{number:06d}" for number in range(BEATS))
    table = ItemTable(
        ids=ids,
        labels=random.choice(np.array(["trap", "house", "boom_bap", "jazz", "afro"]), BEATS),
        artists=np.full(BEATS, ""),
        tempo_bpm=random.uniform(60, 180, BEATS),
        energy=random.random(BEATS),
        loudness_lufs=random.uniform(-20, -8, BEATS),
        pulse_clarity=random.random(BEATS),
        duration_s=np.full(BEATS, 30.0),
        key=random.integers(-1, 24, BEATS),
        key_confidence=random.random(BEATS),
        beats_per_bar=random.choice([3, 4, 6], BEATS),
        added_at=np.zeros(BEATS),
    )
    vectors = random.normal(size=(BEATS, 128)).astype(np.float32)
    descriptors = Descriptors(
        92.4, "4/4", KeyGuess("C", "major", 0.8), "8B", 0.6, -12.0, 5.0, -1.0, 0.7, 0.5, Mood(0, 0, "cues"),
        Spectrum(*[(1.0, 1.0)] * 8), Quality(0.0, None, 2e4, "none", 0.0, None, 0.0),
    )  # fmt: skip
    beat = Item("beat-000000", "beat", "", "", "trap", "", "", 30.0, "", "", 0.0, descriptors)
    catalogue: Any = SimpleNamespace(
        table=lambda _: table, vectors=lambda *_: (ids, vectors), get=lambda name: replace(beat, id=name)
    )
    genre = SimpleNamespace(probabilities={"trap": 0.7, "house": 0.3})
    take: Any = SimpleNamespace(
        descriptors=descriptors, take_vector=vectors[7], analysis=SimpleNamespace(path="", genre=genre)
    )
    for way, pairing in (("rules", None), ("rules and model", SimpleNamespace(space="pairing:none"))):
        if "model" not in weights and pairing is not None:
            continue
        selector = BeatSelector(catalogue, pairing, weights)  # type: ignore[arg-type]
        taken_ms = []
        for _ in range(200):
            began = time.perf_counter(), time.thread_time()
            selector.select(take)
            taken_ms.append([1000 * (time.perf_counter() - began[0]), 1000 * (time.thread_time() - began[1])])
        middle, high = np.percentile(taken_ms, [50, 95], axis=0)
        print(
            f"\n{way}, among {BEATS:,}: {middle[0]:.1f} ms (p50), {high[0]:.1f} ms (p95); "
            f"of the processor {middle[1]:.1f} ms"
        )


def main() -> None:
    """Fit, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="a corpus of pairs")
    parser.add_argument("--pairing", type=Path, help="a folder with a pairing model; none: rules alone")
    parser.add_argument("--real", type=Path, help="with drums/ and vocals/")
    parser.add_argument("--fit", type=Path, metavar="FILE", help="fit on the validation split, and write the weights")
    parser.add_argument("--weights", type=Path, help="read the weights here; else those that ship")
    parser.add_argument("--heard", action="store_true", help="beats have the styles that are heard, not their own")
    parser.add_argument("--speed", action="store_true", help="measure choosing among 100,000 beats")
    parser.add_argument("--cache", type=Path, help="a folder for what was described")
    given = parser.parse_args()
    try:
        pairing = None if given.pairing is None else PairingModel.from_folder(given.pairing)
        if given.pairs is not None and not given.pairs.exists():
            render_pairs(given.pairs, CORPUS)
        torch.set_num_threads(1)  # `Analyzer` says why
        ear = Ear(Analyzer.load(), pairing, given.cache)
        if given.fit is not None:
            _fit(given, ear, pairing)
        else:
            _report(given, ear, pairing)
    except BackbeatError as error:
        raise SystemExit(f"error: {error}") from None


def _fit(given: argparse.Namespace, ear: Ear, pairing: PairingModel | None) -> None:
    # Catalogues hold both: beats whose style somebody wrote down, and beats whose style is only heard.
    questions = [one for labelled in (True, False) for one in rendered(given.pairs, "valid", ear, labelled=labelled)]
    origin = {
        "corpus": f"CORPUS of benchmarks/beats.py, seed {CORPUS.seed}",
        "split": "valid, with true styles and with those that are heard",
        "annotations_sha256": sha256_file(given.pairs / "annotations.csv"),
        "pairing": "" if pairing is None else pairing.space,
    }
    found = fitted_on(questions, origin, pairing is not None)
    write_json(given.fit, {name: weights.to_dict() for name, weights in found.items()})
    for name, weights in found.items():
        told = ", ".join(
            f"{part} {weight:.2f}" for part, weight in weights.weights.items() if part != LEARNED or weight
        )
        print(f"{name}: {told}; confidence = logistic({weights.slope:.2f} score + {weights.offset:.2f})")


def _report(given: argparse.Namespace, ear: Ear, pairing: PairingModel | None) -> None:
    from backbeat.recommend.beats.scoring import FITTED

    weights = read_weights(given.weights or FITTED)
    ways = WAYS if pairing is not None else WAYS[:3]
    questions = [] if given.pairs is None else rendered(given.pairs, "test", ear, labelled=not given.heard)
    if given.real is not None:
        questions += [real_drums(given.real / "drums", ear), real_voices(given.real / "vocals", ear)]
    for question in questions:
        print_question(question, weights, ways)
    if given.speed:
        print_speed(weights)


if __name__ == "__main__":
    main()
