"""A drum chart, before it is written in any format: bars with their tempi, and notes on a grid in them.

A bar has `BAR_TICKS` places whatever its length, as in DTX; a note's time follows from the lengths and tempi of the
bars before it and from nothing else, so what every format says of a note is the same to rounding. The first bar begins
where the audio begins.

Tempi are in quarter notes a minute and lengths in whole notes, as DTX and MIDI have them: a bar of 6/8 is 0.75 long,
and at 60 dotted quarters a minute its tempo is 90.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.errors import AnnotationError
from backbeat.music import TimeSignature

#: Places in a bar.
BAR_TICKS = 384
#: What is struck, in the order in which a chart shows it from left to right.
LANES: tuple[str, ...] = (
    "crash_left",
    "hihat_closed",
    "hihat_open",
    "hihat_pedal",
    "snare",
    "tom_high",
    "kick",
    "tom_mid",
    "tom_low",
    "crash_right",
    "ride",
    "ride_bell",
)
#: The longest bar, in whole notes, and the tempi that a chart may have.
LONGEST_BAR = 32.0
LOWEST_BPM, HIGHEST_BPM = 1.0, 1000.0
#: Decimals of tempi and lengths: what is written is what the times follow from.
BPM_DECIMALS, LENGTH_DECIMALS = 4, 6

#: How the beats of a bar are divided; "free" where no division fits.
DIVISIONS: tuple[str, ...] = ("straight", "triplet", "swing", "free")


@dataclass(frozen=True, eq=False)
class Strokes:
    """Strokes as they were heard, or played.

    Parameters
    ----------
    times_s
        Shape (strokes,), seconds from the start of the audio, not decreasing.
    lanes
        One of `LANES` for each.
    velocities
        Shape (strokes,), in (0, 1].

    Raises
    ------
    AnnotationError
        If times are negative, not finite or decreasing, a lane is unknown, or a velocity is out of range.
    """

    times_s: NDArray[np.float64]
    lanes: Sequence[str]
    velocities: NDArray[np.float64]

    def __post_init__(self) -> None:
        times_s = np.asarray(self.times_s, dtype=np.float64)
        velocities = np.asarray(self.velocities, dtype=np.float64)
        lanes = tuple(self.lanes)
        if times_s.ndim != 1 or velocities.shape != times_s.shape or len(lanes) != times_s.size:
            raise AnnotationError(f"{times_s.size} strokes have {len(lanes)} lanes and {velocities.size} velocities")
        if not np.all(np.isfinite(times_s)) or np.any(times_s < 0) or np.any(np.diff(times_s) < 0):
            raise AnnotationError("the times of strokes are negative, not finite, or decrease")
        if unknown := sorted(set(lanes) - set(LANES)):
            raise AnnotationError(f"unknown lane {unknown[0]!r}; the lanes are {', '.join(LANES)}")
        if not np.all((velocities > 0) & (velocities <= 1)):
            raise AnnotationError("the velocity of a stroke lies outside (0, 1]")
        object.__setattr__(self, "times_s", times_s)
        object.__setattr__(self, "velocities", velocities)
        object.__setattr__(self, "lanes", lanes)

    def __len__(self) -> int:
        return int(self.times_s.size)

    def of(self, *lanes: str) -> Strokes:
        """Return only the strokes in these lanes."""
        chosen = np.array([lane in lanes for lane in self.lanes], dtype=bool)
        names = [lane for lane in self.lanes if lane in lanes]
        return Strokes(self.times_s[chosen], names, self.velocities[chosen])


def strokes_of(times_s: ArrayLike, lanes: Sequence[str], velocities: ArrayLike) -> Strokes:
    """Return strokes in the order of time, and of `LANES` where they are struck at once; errors as `Strokes`."""
    times, loud = np.asarray(times_s, dtype=np.float64), np.asarray(velocities, dtype=np.float64)
    ranks = np.array([LANES.index(lane) if lane in LANES else -1 for lane in lanes], dtype=np.int64)
    order = np.lexsort((ranks, times))
    return Strokes(times[order], [lanes[index] for index in order], loud[order])


@dataclass(frozen=True)
class Tempo:
    """A tempo from a tick of a bar on: quarter notes a minute."""

    tick: int
    bpm: float


@dataclass(frozen=True)
class Bar:
    """A bar.

    Parameters
    ----------
    length
        In whole notes: that of the signature, but for a first bar that only leads in, or one that is cut.
    tempi
        The first at tick 0, the others later.
    signature
        The meter it is counted in.
    division
        One of `DIVISIONS`: how its beats are divided.

    Raises
    ------
    AnnotationError
        If there is no tempo at tick 0, tempi are out of order or range, or the length is.
    """

    length: float
    tempi: tuple[Tempo, ...]
    signature: TimeSignature
    division: str = "straight"

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", round(float(self.length), LENGTH_DECIMALS))
        tempi = tuple(Tempo(int(tempo.tick), round(float(tempo.bpm), BPM_DECIMALS)) for tempo in self.tempi)
        object.__setattr__(self, "tempi", tempi)
        if not 0 < self.length <= LONGEST_BAR:
            raise AnnotationError(
                f"a bar of {self.length:g} whole notes: it must be above 0 and at most {LONGEST_BAR:g}"
            )
        ticks = [tempo.tick for tempo in tempi]
        if not ticks or ticks[0] != 0 or ticks != sorted(set(ticks)) or ticks[-1] >= BAR_TICKS:
            raise AnnotationError(f"tempi of a bar at ticks {ticks}: the first must be at 0, all below {BAR_TICKS}")
        if not all(LOWEST_BPM <= tempo.bpm <= HIGHEST_BPM for tempo in tempi):
            raise AnnotationError(f"a tempo lies outside {LOWEST_BPM:g} to {HIGHEST_BPM:g} BPM")
        if self.division not in DIVISIONS:
            raise AnnotationError(f"division {self.division!r} is none of {', '.join(DIVISIONS)}")

    def seconds(self, tick: float) -> float:
        """Return the time from the bar's start to a tick, which may lie between two."""
        passed = 0.0
        for tempo, following in zip(self.tempi, (*(tempo.tick for tempo in self.tempi[1:]), np.inf), strict=True):
            span = min(tick, following) - tempo.tick
            if span <= 0:
                break
            passed += span / BAR_TICKS * self.length * 240.0 / tempo.bpm
        return passed

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.seconds(BAR_TICKS)


@dataclass(frozen=True)
class ChartNote:
    """A note of a chart.

    Parameters
    ----------
    bar, tick
        Where it stands: bars count from 0, ticks from 0 to `BAR_TICKS` - 1.
    lane
        One of `LANES`.
    velocity
        In (0, 1].
    heard_s
        When it was heard, seconds from the start of the audio.
    """

    bar: int
    tick: int
    lane: str
    velocity: float
    heard_s: float


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart: contiguous bars from the start of the audio, and notes in them.

    Parameters
    ----------
    bars
        At least one.
    notes
        In the order of bar, tick and lane; never two in one place of a lane.

    Raises
    ------
    AnnotationError
        If a note lies outside the bars, or two lie in one place.
    """

    bars: tuple[Bar, ...]
    notes: tuple[ChartNote, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.bars:
            raise AnnotationError("a chart without bars")
        order = {lane: rank for rank, lane in enumerate(LANES)}
        if unknown := sorted({note.lane for note in self.notes} - set(LANES)):
            raise AnnotationError(f"unknown lane {unknown[0]!r}; the lanes are {', '.join(LANES)}")
        notes = tuple(sorted(self.notes, key=lambda note: (note.bar, note.tick, order[note.lane])))
        places = [(note.bar, note.tick, note.lane) for note in notes]
        if len(set(places)) < len(places):
            raise AnnotationError("two notes of one lane stand in one place")
        for note in notes:
            if not (0 <= note.bar < len(self.bars) and 0 <= note.tick < BAR_TICKS):
                raise AnnotationError(f"a note in bar {note.bar} at tick {note.tick}: the chart has no such place")
            if not 0 < note.velocity <= 1:
                raise AnnotationError(f"a note's velocity {note.velocity:g} lies outside (0, 1]")
        object.__setattr__(self, "bars", tuple(self.bars))
        object.__setattr__(self, "notes", notes)

    @cached_property
    def starts_s(self) -> NDArray[np.float64]:
        """Shape (bars + 1,): when each bar begins, and when the last ends, seconds."""
        starts_s: NDArray[np.float64] = np.cumsum([0.0, *(bar.duration_s for bar in self.bars)])
        return starts_s

    @property
    def duration_s(self) -> float:
        """When the last bar ends, seconds."""
        return float(self.starts_s[-1])

    def time_s(self, bar: int, tick: float) -> float:
        """Return when a place in a bar sounds, seconds."""
        return float(self.starts_s[bar]) + self.bars[bar].seconds(tick)

    def strokes(self) -> Strokes:
        """Return the notes as strokes, at the times at which the chart has them."""
        return strokes_of(
            [self.time_s(note.bar, note.tick) for note in self.notes],
            [note.lane for note in self.notes],
            [note.velocity for note in self.notes],
        )
