"""How often drift is called where there is none, and how soon where there is: by simulation, and on real sound.

`python benchmarks/drift.py --pool pool.parquet --corpora data/corpora --real ../recordings`

The pool is a reference with many held-out tracks (`python -m pipelines.reference drift.reference.held_out=2000`). Each
simulation deals it out anew: some rows are the reference, others the traffic. Statistics are SciPy's, many times faster
than a run of Evidently; the first of each are run through Evidently too, and must agree.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
import yaml

from backbeat.analysis.analyzer import shipped_models
from backbeat.audio import decode, encode
from backbeat.audio.mixing import resample
from backbeat.corpus.contract import read_corpus
from backbeat.dataset import TASKS
from backbeat.files import sha256_file, write_json
from backbeat.monitoring.comparing import compared, direct
from backbeat.monitoring.drift import DriftSettings, Verdict, check
from backbeat.monitoring.reference import Reference
from backbeat.monitoring.reference_making import Wanted, measure, table_from
from backbeat.settings import read_settings
from backbeat.statistics import proportion_interval

#: Recordings of real/music that are no music of the kind that the models were made for.
NO_MUSIC = {
    "speech": ("198-209-0000", "3436-172162-0000", "5703-47212-0000"),
    "birds and whales": ("456440__inspectorj__bird-whistling-robin-single-13", "glacier-bay-humpback"),
}
OTHER_GENRES = ("classical", "ballad", "waltz", "jazz")
# Most of these recordings are short: clips are too, and overlap.
CLIP_S, MUSIC_HOP_S, OTHER_HOP_S = 5.0, 2.5, 0.3
STEP, LONGEST = 50, 400
PARTS = ("alarms", "agreement", "detection", "real")


def main(
    pool: Annotated[Path, typer.Option(help="A reference with many held-out tracks.")],
    corpora: Annotated[Path, typer.Option(help="The corpora that it was made of.")],
    real: Annotated[Path | None, typer.Option(help="Folders beats, genre and music of real recordings.")] = None,
    output: Annotated[Path, typer.Option(help="For results, changed audio and its rows.")] = Path("build/drift"),
    part: Annotated[list[str] | None, typer.Option(help=f"Only this: {', '.join(PARTS)}.")] = None,
    simulations: Annotated[int, typer.Option(help="Of each size of window.")] = 500,
    streams: Annotated[int, typer.Option(help="Of each change and share.")] = 8,
    workers: int = 2,
) -> None:
    """Measure false alarms, time to detection, and verdicts on real sound."""
    settings = read_settings(DriftSettings, yaml.safe_load(Path("conf/monitoring/drift.yaml").read_text())["check"])
    held = Reference.read(pool)
    judged = held.table[held.table["judged"].astype(bool)].reset_index(drop=True)
    print(f"{len(judged)} rows; {settings}", flush=True)
    wanted = part or list(PARTS)
    if "alarms" in wanted:
        write_json(output / "alarms.json", false_alarms(judged, settings, simulations))
    if "real" in wanted and real is not None:
        write_json(output / "real.json", real_sound(judged, real, output, settings, workers))
    if {"agreement", "detection"} & {*wanted}:
        changed = changes(judged, corpora, real, output, workers)
        if "agreement" in wanted:
            write_json(output / "agreement.json", agreement(judged, changed, settings))
        if "detection" in wanted:
            write_json(output / "detection.json", detection(judged, changed, settings, streams))


def as_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of a reference as rows of traffic."""
    kept = table.drop(columns=["genre_truth", "genre_right", "beat_f"])
    return kept.assign(at=1.0, **{f"{task}_version": "1" for task in TASKS}).astype(object).reset_index(drop=True)


def reference_of(table: pd.DataFrame) -> Reference:
    """Return some rows as a reference."""
    return Reference(table.reset_index(drop=True), {"models": {}})


def judge(rows: pd.DataFrame, before: pd.DataFrame, settings: DriftSettings, statistics: Any = direct) -> Verdict:
    """Judge rows of traffic against rows of a reference."""
    return check(as_rows(rows), reference_of(before), settings, statistics)


# ---- rows of changed sound


def changes(
    judged: pd.DataFrame, corpora: Path, real: Path | None, build: Path, workers: int
) -> dict[str, pd.DataFrame]:
    """Return rows of changed traffic by the kind of change; they are kept in `build`."""
    ids = set(judged["id"])
    tracks = [
        (corpus.audio_path(found), found)
        for name in sorted(judged["corpus"].unique())
        for corpus in [read_corpus(corpora / name)]
        for found in corpus.tracks
        if found.id in ids
    ][::12]

    def file(suffix: str, change: Callable[[Any, int], tuple[Any, int, dict[str, Any]]], name: str) -> list[Wanted]:
        wanted = []
        for path, found in tracks:
            target = build / name / f"{found.id}{suffix}"
            if not target.is_file():
                audio = decode(path)
                samples, rate_hz, how = change(audio.samples, audio.sample_rate_hz)
                encode(target, samples, rate_hz, **how)
            wanted.append(Wanted(name, found.id, "test", target, sha256_file(target), True, found.genre))
        return wanted

    kinds: dict[str, Callable[[], list[Wanted]]] = {
        "mp3": lambda: file(".mp3", lambda x, hz: (x, hz, {"bitrate": 128_000}), "mp3"),
        "8 kHz mp3": lambda: file(".mp3", lambda x, hz: (resample(x, hz, 8000), 8000, {"bitrate": 16_000}), "8k"),
        "12 dB quieter": lambda: file(".flac", lambda x, hz: (x * 0.25, hz, {}), "quiet"),
    }
    rows = {
        kind: kept(build / f"{kind.replace(' ', '-').replace(',', '')}.parquet", make, workers)
        for kind, make in kinds.items()
    }
    if real is not None:
        rows["speech, birds, whales"] = pd.concat(no_music(real, build, workers).values(), ignore_index=True)
    return rows | {"other genres": judged[judged["genre_truth"].isin(OTHER_GENRES)]}


def no_music(real: Path, build: Path, workers: int) -> dict[str, pd.DataFrame]:
    """Return rows of speech, birds and whales."""
    return {
        kind: kept(
            build / f"real-{kind.replace(' ', '-')}.parquet",
            lambda names=names, kind=kind: [
                item
                for name in names
                for item in clips(real / "music" / f"{name}.ogg", kind, build / "clips", OTHER_HOP_S)
            ],
            workers,
        )
        for kind, names in NO_MUSIC.items()
    }


def clips(path: Path, kind: str, folder: Path, hop_s: float) -> list[Wanted]:
    """Cut a recording to clips of `CLIP_S`, one each `hop_s`."""
    audio = decode(path)
    made = []
    length, hop = round(CLIP_S * audio.sample_rate_hz), round(hop_s * audio.sample_rate_hz)
    for number, start in enumerate(range(0, max(audio.samples.shape[1] - length, 0) + 1, hop)):
        target = folder / kind / f"{path.stem}-{number:03d}.flac"
        if not target.is_file():
            encode(target, audio.samples[:, start : start + length], audio.sample_rate_hz)
        made.append(Wanted(kind, path.stem, "test", target, sha256_file(target), True))
    return made


def kept(path: Path, make: Callable[[], list[Wanted]], workers: int) -> pd.DataFrame:
    """Return measured rows, from `path` where they are kept."""
    if not path.is_file():
        table = table_from(list(measure(make(), shipped_models(), workers)))
        Reference(table, {"models": {}}).write(path)
    table = Reference.read(path).table
    print(f"{path.stem}: {len(table)} rows", flush=True)
    return table


# ---- simulations


def agreement(judged: pd.DataFrame, changed: dict[str, pd.DataFrame], settings: DriftSettings) -> dict[str, Any]:
    """Hold SciPy's verdicts to Evidently's, column by column."""
    random = np.random.default_rng(1)
    same, seconds = [], []
    for traffic in (judged, judged, judged, *changed.values()):
        order = random.permutation(len(judged))
        before = judged.iloc[order[:600]]
        rows = (
            judged.iloc[order[600:750]] if traffic is judged else traffic.iloc[random.permutation(len(traffic))[:150]]
        )
        started = time.perf_counter()
        slow = judge(rows, before, settings, compared)
        seconds.append(time.perf_counter() - started)
        quick = judge(rows, before, settings)
        pairs = zip(slow.columns, quick.columns, strict=True)
        same.append(
            slow.drift == quick.drift
            and slow.reason == quick.reason
            and all(one.drift == two.drift and math.isclose(one.p or 0, two.p or 0, rel_tol=1e-9) for one, two in pairs)
        )
    told = {"checks": len(same), "identical": sum(same), "evidently_s": round(float(np.median(seconds)), 2)}
    print(told, flush=True)
    return told


def false_alarms(judged: pd.DataFrame, settings: DriftSettings, simulations: int) -> list[dict[str, Any]]:
    """Return how often traffic of the reference's own source is called drift, by the sizes of both."""
    found = []
    for before, rows in ((600, 80), (600, 300)):
        lenient = replace(
            settings, min_rows=min(settings.min_rows, rows), min_values=min(settings.min_values, rows // 2)
        )
        random = np.random.default_rng([before, rows])
        alarms, columns = [], []
        for _ in range(simulations):
            order = random.permutation(len(judged))
            verdict = judge(judged.iloc[order[before : before + rows]], judged.iloc[order[:before]], lenient)
            alarms.append(bool(verdict.drift))
            columns.append(any(column.drift for column in verdict.columns))
        told = {"reference": before, "window": rows, "drift": interval(alarms), "any column": interval(columns)}
        print(told, flush=True)
        found.append(told)
    return found


def interval(hits: Sequence[bool]) -> list[float]:
    """Return a share and its 95 % limits."""
    made = proportion_interval(hits)
    return [round(made.value, 4), round(made.low, 4), round(made.high, 4)]


def detection(
    judged: pd.DataFrame, changed: dict[str, pd.DataFrame], settings: DriftSettings, streams: int
) -> list[dict[str, Any]]:
    """Return after how many requests drift is called, by the kind of change and the share of requests it touches.

    The window is the latest 300 rows, full of traffic as it was when the change begins; each 25 requests it is judged.
    """
    found = []
    for kind, other in changed.items():
        # Of another codec alone it is asked whether it is called drift at all.
        for share in (1.0,) if kind == "mp3" else (0.1, 0.25, 0.5, 1.0):
            random = np.random.default_rng([len(kind), int(100 * share)])
            taken = [stream(judged, other, share, settings, random) for _ in range(streams)]
            caught = [requests for requests in taken if requests is not None]
            told = {
                "change": kind,
                "share": share,
                "found": len(caught) / streams,
                "requests": [float(value) for value in np.quantile(caught, [0.5, 0.9])] if caught else None,
            }
            print(told, flush=True)
            found.append(told)
    return found


def stream(
    judged: pd.DataFrame, other: pd.DataFrame, share: float, settings: DriftSettings, random: np.random.Generator
) -> int | None:
    """Return after how many requests of changed traffic drift is called; None if not within `LONGEST`."""
    order = random.permutation(len(judged))
    before, clean = judged.iloc[order[:600]], judged.iloc[order[600:]]
    window = clean.iloc[random.integers(0, len(clean), 300)]
    for requests in range(STEP, LONGEST + 1, STEP):
        touched = int(random.binomial(STEP, share))
        new = [
            other.iloc[random.integers(0, len(other), touched)],
            clean.iloc[random.integers(0, len(clean), STEP - touched)],
        ]
        window = pd.concat([window, *new]).iloc[-300:]
        # Rows are drawn again and again here: each is taken for a file of its own.
        if judge(window.assign(sha256=""), before, settings).drift:
            return requests
    return None


# ---- real sound


def real_sound(judged: pd.DataFrame, real: Path, build: Path, settings: DriftSettings, workers: int) -> dict[str, Any]:
    """Return verdicts of real music against real music, of no music against it, and of both against the pool."""
    recordings = [*sorted((real / "genre").glob("*/*.flac")), *sorted((real / "beats").glob("*.flac"))]
    music = kept(
        build / "real-music.parquet",
        lambda: [item for path in recordings for item in clips(path, path.parent.name, build / "clips", MUSIC_HOP_S)],
        workers,
    )
    other = no_music(real, build, workers)
    random = np.random.default_rng(3)
    halves: list[tuple[bool, str]] = []
    against: dict[str, list[bool]] = {kind: [] for kind in other}
    for number in range(60):
        # Recordings are divided, not clips; within each folder.
        first: set[str] = set()
        for _, group in music.groupby("corpus"):
            names = random.permutation(group["id"].unique())
            first |= set(names[: (len(names) + random.integers(0, 2)) // 2])
        mine = music["id"].isin(first)
        verdict = judge(music[~mine], music[mine], settings)
        halves.append((bool(verdict.drift), verdict.reason))
        for kind, rows in other.items() if number < 10 else ():
            against[kind].append(bool(judge(rows, music[mine], settings).drift))
    told = {
        "clips": {"music": len(music), **{kind: len(rows) for kind, rows in other.items()}},
        "music against music": interval([drift for drift, _ in halves]),
        "reasons": sorted({reason for drift, reason in halves if drift})[:5],
        **{f"{kind} against music": interval(found) for kind, found in against.items()},
        "against the pool": {
            kind: judge(rows, judged, settings).reason for kind, rows in {"music": music, **other}.items()
        },
    }
    print(json.dumps(told, indent=1), flush=True)
    return told


if __name__ == "__main__":
    typer.run(main)
