"""Charts to test with, written as patterns: one string a lane, a letter for each equal part of a bar."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backbeat.charts.chart import BAR_TICKS, LANES, Bar, Chart, ChartNote, Tempo
from backbeat.music import TimeSignature

VELOCITIES = {"x": 0.8, "X": 1.0, "g": 0.25}


def bar_of(signature: str = "4/4", bpm: float = 120.0, division: str = "straight") -> Bar:
    meter = TimeSignature.parse(signature)
    return Bar(meter.numerator / meter.denominator, (Tempo(0, bpm),), meter, division)


def chart_of(
    pattern: Mapping[str, str], bars: int = 8, signature: str = "4/4", bpm: float = 120.0, division: str = "straight"
) -> Chart:
    notes = [
        ChartNote(bar, index * BAR_TICKS // len(line), lane, VELOCITIES[letter], 0.0)
        for bar in range(bars)
        for lane, line in pattern.items()
        for index, letter in enumerate(line)
        if letter != "."
    ]
    return Chart((bar_of(signature, bpm, division),) * bars, tuple(notes))


def pattern_of(chart: Chart, bar: int, lane: str, parts: int = 16) -> str:
    ticks = {note.tick for note in chart.notes if (note.bar, note.lane) == (bar, lane)}
    return "".join("x" if index * BAR_TICKS // parts in ticks else "." for index in range(parts))


def random_chart(seed: int, bars: int = 12) -> Chart:
    """A chart of bars in mixed meters, tempi and divisions, with a lead, and with notes anywhere."""
    rng = np.random.default_rng(seed)
    made, bpm = [], float(rng.uniform(60, 220))
    for index in range(bars):
        meter = TimeSignature.parse(str(rng.choice(["4/4", "4/4", "3/4", "6/8", "7/8", "5/4", "12/8"])))
        if rng.random() < 0.2:
            bpm = float(rng.uniform(60, 220))
        length = meter.numerator / meter.denominator
        length *= float(rng.uniform(0.1, 1.5)) if index == 0 else 1.0
        tempi = [Tempo(0, bpm * float(rng.uniform(0.98, 1.02)))]
        if rng.random() < 0.2:
            tempi.append(Tempo(BAR_TICKS // 2, bpm * float(rng.uniform(0.9, 1.1))))
        made.append(Bar(length, tuple(tempi), meter, str(rng.choice(["straight", "triplet", "swing", "free"]))))
    steps = rng.choice([1, 8, 12, 16, 24, 32, 48], size=bars)
    notes = {
        (bar, int(tick), str(lane)): float(rng.uniform(0.05, 1))
        for bar in range(bars)
        for lane in LANES
        for tick in range(0, BAR_TICKS, int(steps[bar]))
        if rng.random() < 0.3 * min(1.0, steps[bar] / 16)
    }
    return Chart(tuple(made), tuple(ChartNote(*place, velocity, 0.0) for place, velocity in notes.items()))
