"""Where everything stands on the page of a chart, in inches from its top left, and what is written above its bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backbeat.charts.chart import Chart
from backbeat.charts.picture.systems import System, bar_numbers

#: Measures of the page, inches.
WIDTH, LEFT, RIGHT, _TOP, _BOTTOM = 16.0, 1.15, 0.45, 1.15, 0.55
#: Of a system: the line of numbers and tempi, the waveform, room under it, a lane, room to the next system.
_NUMBERS, WAVE_HEIGHT, _GAP, LANE_HEIGHT, _BETWEEN = 0.18, 0.38, 0.06, 0.135, 0.30
#: A tempo is written again where it differs by this share from the one written last; at the left by as much in BPM.
_OTHER_TEMPO, _DRIFT_BPM = 0.01, 0.1
#: A first bar that leads in and is no longer than this, whole notes, goes without a number.
_SHORT_LEAD = 0.6


@dataclass(frozen=True, eq=False)
class Page:
    """Where everything stands, inches from the top left.

    Parameters
    ----------
    chart
        What is drawn.
    systems
        Its rows, or the first of them.
    lanes
        How many lines of notes a system has.
    """

    chart: Chart
    systems: list[System]
    lanes: int

    @property
    def step(self) -> float:
        """From one system to the next."""
        return _NUMBERS + WAVE_HEIGHT + _GAP + LANE_HEIGHT * self.lanes + _BETWEEN

    @property
    def height(self) -> float:
        """Of the whole page."""
        return _TOP + self.step * len(self.systems) - _BETWEEN + _BOTTOM

    @property
    def last_bar(self) -> int:
        """Index of the last bar on it."""
        return self.systems[-1].bars[-1]

    def x(self, place: ArrayLike) -> Any:
        """Return where a place of a system, 0..1, lies; shape as of `place`."""
        return LEFT + (WIDTH - LEFT - RIGHT) * np.asarray(place)

    def wave_y(self, row: int) -> float:
        """Return the middle of a system's waveform."""
        return _TOP + self.step * row + _NUMBERS + WAVE_HEIGHT / 2

    def lane_y(self, row: int, lane: int) -> float:
        """Return the middle of a lane."""
        return self.wave_y(row) + WAVE_HEIGHT / 2 + _GAP + LANE_HEIGHT * (lane + 0.5)


@dataclass(frozen=True)
class Label:
    """What stands above a system at `x`, inches: the number of a bar, and what is new there."""

    row: int
    x: float
    number: str
    news: str

    @property
    def news_x(self) -> float:
        """Where the news begins, right of the number."""
        return self.x + (0.08 * len(self.number) + 0.1 if self.number else 0.0)

    @property
    def end_x(self) -> float:
        """Where the label ends, about."""
        return self.news_x + 0.066 * len(self.news)


def labels_of(page: Page) -> list[Label]:
    """Return numbers of bars, with meters and tempi where they change, at the left of a system by however little.

    What has no room beside the label before it is left out, and a change then stands where next there is some.
    """
    numbers = bar_numbers(page.chart)
    labels: list[Label] = []
    meter, bpm = "", 0.0
    for row, system in enumerate(page.systems):
        free, is_due = 0.0, True
        for bar in system.bars:
            one = page.chart.bars[bar]
            if numbers[bar] == 0 and one.length < _SHORT_LEAD and len(system.bars) > 1:
                continue
            for tempo in one.tempi:
                number = str(numbers[bar]) if tempo.tick == 0 else ""
                is_other = abs(tempo.bpm - bpm) > (_DRIFT_BPM if is_due else _OTHER_TEMPO * bpm)
                signature = str(one.signature) if str(one.signature) != meter else ""
                new_tempo = _tempo(tempo.bpm, one.signature.is_compound) if is_other else ""
                label = Label(
                    row,
                    float(page.x(system.place(bar, tempo.tick))),
                    number,
                    "   ".join(filter(None, (signature, new_tempo))),
                )
                if label.x < free or label.end_x > WIDTH - 0.1 or not (label.number or label.news):
                    continue
                labels.append(label)
                free = label.end_x + 0.08
                meter, is_due = str(one.signature), False
                bpm = tempo.bpm if is_other else bpm
    return labels


def _tempo(bpm: float, is_compound: bool) -> str:
    """Write a tempo in beats a minute, with the note that a beat is."""
    return f"\N{QUARTER NOTE}. = {bpm / 1.5:.1f}" if is_compound else f"\N{QUARTER NOTE} = {bpm:.1f}"
