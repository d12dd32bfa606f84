"""What descriptors cost beside an analysis, and what they tell of known music.

`python benchmarks/descriptors.py SONG` analyses and describes a recording in turns and gives the medians of processor
time and of time, each beside those of the analysis alone. `--styles 2` renders so many pieces of every style too, and
prints what they are told to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from backbeat.analysis import Analyzer, Descriptors
from backbeat.analysis.cues import descriptors_of
from backbeat.analysis.describing import Describer
from backbeat.analysis.hearing import hear_samples
from backbeat.corpus.rendered.compose import STYLES, ComposeParams, compose
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.render import render_score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont

_RATE_HZ = 44100
_SEED = 5000


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the medians of processor time and of time of each way, in seconds, taken in turns after one to warm up."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.process_time(), time.perf_counter()
            way()
            spent[name].append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    medians = {name: np.median(taken, axis=0) for name, taken in spent.items()}
    return {name: (float(median[0]), float(median[1])) for name, median in medians.items()}


def described(style: str, seed: int, analyzer: Analyzer) -> Descriptors:
    """Render a piece of a style and describe it."""
    score = compose(f"{style}-{seed}", seed, ComposeParams(duration_s=25.0, style=style))
    sources = Sources(soundfonts=(default_soundfont(),))
    sound = render_score(score, np.random.SeedSequence(seed), sources, EffectsParams(strength=0.0))
    heard = hear_samples(sound.audio, _RATE_HZ, analyzer.front_end, describe=True)
    return descriptors_of(heard, *analyzer.judge(heard))


def _row(told: Descriptors) -> tuple[float, ...]:
    mood, lufs, swing = told.mood, told.loudness_lufs, told.swing
    known = tuple(np.nan if value is None else value for value in (lufs, told.spectrum.centroid_hz[0], swing))
    return (told.energy, told.pulse_clarity, mood.valence, mood.arousal, *known)


def styles_table(pieces: int, analyzer: Analyzer) -> Table:
    """Tabulate the means of what pieces of each style are told to be."""
    columns = ("energy", "pulse clarity", "valence", "arousal", "loudness LUFS", "centroid Hz", "swing")
    table = Table("style", *columns, title=f"means of {pieces} rendered pieces of each style")
    rows = []
    for style in STYLES:
        told = [described(style, _SEED + number, analyzer) for number in range(pieces)]
        values = [_row(one) for one in told]
        rows.append((style, np.mean(values, axis=0)))
    for style, means in sorted(rows, key=lambda row: row[1][0]):
        table.add_row(
            style,
            *(
                f"{value:.0f}" if name == "centroid Hz" else f"{value:.2f}"
                for name, value in zip(columns, means, strict=True)
            ),
        )
    return table


def main(
    song: Annotated[Path, typer.Argument(help="A recording of some minutes.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often each way is taken.")] = 7,
    styles: Annotated[int, typer.Option(min=0, help="Pieces of every style to describe.")] = 0,
) -> None:
    """Time descriptors beside an analysis."""
    torch.set_num_threads(1)
    analyzer = Analyzer.load()
    plain, whole = Describer(analyzer, fingerprints=False), Describer.load()
    ways: dict[str, Callable[[], object]] = {
        "analysis": lambda: analyzer.analyze(song),
        "with descriptors": lambda: plain.describe(song),
        "with fingerprint, and pairing if there is a model": lambda: whole.describe(song),
    }
    table = Table("", "processor s", "of the analysis", "s", "of the analysis")
    taken = timed(ways, rounds)
    base = taken["analysis"]
    for name, (processor_s, clock_s) in taken.items():
        table.add_row(
            name, f"{processor_s:.2f}", f"{processor_s / base[0]:.0%}", f"{clock_s:.2f}", f"{clock_s / base[1]:.0%}"
        )
    console = Console()
    console.print(table)
    if styles:
        console.print(styles_table(styles, analyzer))


if __name__ == "__main__":
    typer.run(main)
