"""How a bar divides, and the small tools with which every player writes: events, weighted choice, step strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np

from backbeat.music import TimeSignature

T = TypeVar("T")


class Event(NamedTuple):
    """Something to be played.

    Beats from the start, length in beats, MIDI pitches, velocity, and the seconds from one pitch to the next.
    """

    beat: float
    length: float
    pitches: tuple[int, ...]
    velocity: float
    strum_s: float = 0.0


@dataclass(frozen=True)
class Meter:
    """A time signature as players feel it.

    Parameters
    ----------
    signature
        As written.
    pulses
        Beats within the bar that carry weight: every beat, but 0, 2, 4 (say) of the seven in 7/8.
    """

    signature: TimeSignature
    pulses: tuple[float, ...]

    @property
    def beats(self) -> int:
        """Counted beats in a bar."""
        return self.signature.beats_per_bar

    @property
    def step(self) -> float:
        """Length of a sixteenth note in counted beats."""
        if self.signature.is_compound:
            return 1 / 6
        return 0.25 if self.signature.denominator == 4 else 0.5

    @property
    def steps(self) -> int:
        """Sixteenth notes in a bar."""
        return round(self.beats / self.step)


@cache
def make_meter(text: str, grouping: int = 0) -> Meter:
    """Make the meter of "7/8"; `grouping` chooses between ways to divide a bar of seven or five."""
    signature = TimeSignature.parse(text)
    beats = signature.beats_per_bar
    if text == "7/8":
        return Meter(signature, ((0.0, 2.0, 4.0), (0.0, 3.0, 5.0))[grouping % 2])
    return Meter(signature, tuple(float(beat) for beat in range(beats)))


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """Choose one of `items`, all alike."""
    return items[int(rng.random() * len(items))]


def weighted(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Choose a name by its weight."""
    mark = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        mark -= weight
        if mark < 0:
            return name
    return list(weights)[-1]


@cache
def steps_of(pattern: str, meter: Meter, written_in: str = "4/4") -> tuple[tuple[float, str], ...]:
    """Return (beat within the bar, character) of each sounding step of one bar's string.

    A string in another meter than `meter` is cut, or continued from its start, to the bar's length in sixteenths.
    """
    if written_in == str(meter.signature):
        size = meter.beats / len(pattern)
        return tuple((index * size, char) for index, char in enumerate(pattern) if char != ".")
    own = make_meter(written_in)
    size = meter.step * own.steps / len(pattern)
    count = round(meter.beats / size)
    chars = (pattern[index % len(pattern)] for index in range(count))
    return tuple((index * size, char) for index, char in enumerate(chars) if char != ".")
