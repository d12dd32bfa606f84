"""Easier charts out of a full one: notes are taken away, none is moved or added.

What goes is decided by where a note stands in its bar and by what is struck, never by chance, so that a bar and its
repetition lose the same notes. Notes are taken in, the most needed first, wherever a player of the tier has a limb and
the time for them. Most needed are the kick, the snare and the crashes on the beats; then what stands on strong places
(`backbeat.charts.metre`). So hi-hats in sixteenths become eighths and then quarters, off-beats stay where nothing
stronger is near them, fast double kicks become single ones, and the grace note of a flam gives way to its stroke.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from backbeat.charts.chart import LANES, Chart
from backbeat.charts.metre import BEAT_LEVEL, places, steady_clock
from backbeat.errors import ConfigError

#: From the easiest to the full chart.
TIERS: tuple[str, ...] = ("basic", "advanced", "extreme")

FEET: frozenset[str] = frozenset({"kick", "hihat_pedal"})
#: What one hand does by turns: keep time, play the drums, crash.
_ROLES: dict[str, str] = {
    **dict.fromkeys(("hihat_closed", "hihat_open", "ride", "ride_bell"), "time"),
    **dict.fromkeys(("snare", "tom_high", "tom_mid", "tom_low"), "drums"),
    **dict.fromkeys(("crash_left", "crash_right"), "crash"),
    "kick": "kick",
    "hihat_pedal": "pedal",
}
#: Where two places are alike, what is needed more comes first.
_NEEDS: dict[str, float] = {"crash": 0.0, "kick": 0.02, "drums": 0.04, "time": 0.5, "pedal": 1.5}
#: Strokes this close are meant to sound at once, and times that differ by less are the same.
_AT_ONCE_S, _SAME_S = 0.02, 1e-6
#: With fewer strokes of the snare on beats, all of them tell how loud it usually is.
_ENOUGH_SNARES = 4


@dataclass(frozen=True)
class TierRules:
    """What a player of a tier can do.

    Parameters
    ----------
    step_s
        By role ("time", "drums", "crash", "kick", "pedal"), the least seconds from one stroke to the next.
    hands_s
        The least seconds between strokes of both hands together, unless they fall at once.
    limbs
        How many strokes may fall at once; never more than two of them are the hands'.
    ghost
        Strokes of the snare between the beats that are softer than this share of the usual go, …
    soft
        … and those on beats that are softer than this.
    pedal_level
        The weakest metrical level at which the hi-hat's pedal stays, -1 for none.
    notes_per_s
        The most notes a second, over a bar.
    """

    step_s: dict[str, float]
    hands_s: float
    limbs: int
    ghost: float
    soft: float
    pedal_level: int
    notes_per_s: float


RULES: dict[str, TierRules] = {
    "advanced": TierRules(
        {"time": 0.15, "drums": 0.12, "crash": 0.25, "kick": 0.15, "pedal": 0.15}, 0.10, 3, 0.5, 0.3, BEAT_LEVEL, 12.0
    ),
    "basic": TierRules(
        {"time": 0.30, "drums": 0.24, "crash": 0.45, "kick": 0.30, "pedal": 0.30}, 0.17, 2, 0.8, 0.5, -1, 6.0
    ),
}


def thin(chart: Chart, tier: str) -> Chart:
    """Return the chart with the notes of a tier: all in "extreme", some of those in "advanced", fewer in "basic".

    Raises
    ------
    ConfigError
        If the tier is none of `TIERS`.
    """
    if tier not in TIERS:
        raise ConfigError(f"tier {tier!r} is none of {', '.join(TIERS)}")
    # Each tier is made of the next harder one, and so holds nothing that it lacks.
    for harder in reversed(TIERS[TIERS.index(tier) : -1]):
        chart = _thinned(chart, RULES[harder])
    return chart


@dataclass(frozen=True)
class _Candidate:
    """A note with what decides on it; the less `need`, the more it is needed."""

    index: int
    bar: int
    lane: str
    clock_s: float
    level: int
    velocity: float
    need: float

    @property
    def is_backbone(self) -> bool:
        return self.need < 1


def _thinned(chart: Chart, rules: TierRules) -> Chart:
    candidates = [one for one in _candidates(chart) if _is_wanted(one, rules)]
    usual = _usual_velocity(candidates)
    candidates = [one for one in candidates if not _is_ghost(one, usual, rules)]
    player = _Player(rules)
    order = sorted(candidates, key=lambda one: (one.need, one.clock_s, -one.velocity, LANES.index(one.lane)))
    taken = [one for one in order if player.takes(one)]
    steady_s = steady_clock(chart)[1]
    rooms = {index: rules.notes_per_s * steady_s[index] * bar.length for index, bar in enumerate(chart.bars)}
    kept = _within(taken, rooms)
    return Chart(chart.bars, tuple(note for index, note in enumerate(chart.notes) if index in kept))


def _candidates(chart: Chart) -> list[_Candidate]:
    starts_s, steady_s = steady_clock(chart)
    return [
        _Candidate(
            index,
            note.bar,
            note.lane,
            round(float(starts_s[note.bar] + place.position * steady_s[note.bar]), 6),
            place.level,
            note.velocity,
            _need(note.lane, place.level),
        )
        for index, (note, place) in enumerate(zip(chart.notes, places(chart), strict=True))
    ]


def _need(lane: str, level: int) -> float:
    """Return how soon a note may be missed: below 1 what a groove stands on, from 1 on the rest."""
    role = _ROLES[lane]
    if level > BEAT_LEVEL or not (lane == "snare" or role in ("kick", "crash")):
        return 1.0 + level + _NEEDS[role]
    # A backbeat is the snare's before it is anything else.
    is_backbeat = lane == "snare" and level == BEAT_LEVEL
    return 0.1 * level + (0.0 if is_backbeat else 0.01 + _NEEDS[role])


def _is_wanted(one: _Candidate, rules: TierRules) -> bool:
    return one.lane != "hihat_pedal" or one.level <= rules.pedal_level


def _usual_velocity(candidates: Iterable[_Candidate]) -> float:
    """Return the upper quartile of the snare's velocities on beats, or of all where those are few; 0 without any."""
    snares = [one for one in candidates if one.lane == "snare"]
    on_beats = [one.velocity for one in snares if one.level <= BEAT_LEVEL]
    heard = on_beats if len(on_beats) >= _ENOUGH_SNARES else [one.velocity for one in snares]
    return float(np.quantile(heard, 0.75)) if heard else 0.0


def _is_ghost(one: _Candidate, usual: float, rules: TierRules) -> bool:
    share = rules.ghost if one.level > BEAT_LEVEL else rules.soft
    return one.lane == "snare" and one.velocity < share * usual


@dataclass
class _Player:
    """A player who takes notes in, in any order, as far as the limbs go."""

    rules: TierRules
    strokes_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def takes(self, one: _Candidate) -> bool:
        """Tell whether the note can be played beside those taken so far, and take it if so."""
        role, at_s = _ROLES[one.lane], one.clock_s
        is_hand = one.lane not in FEET
        if self._near(one.lane, at_s, self.rules.step_s[role]) or self._near(role, at_s, self.rules.step_s[role], True):
            return False
        if is_hand and (self._near("hands", at_s, self.rules.hands_s, True) or self._at_once("hands", at_s) >= 2):
            return False
        if self._at_once("limbs", at_s) >= self.rules.limbs:
            return False
        for name in {one.lane, role, "limbs", *(("hands",) if is_hand else ())}:
            insort(self.strokes_s[name], at_s)
        return True

    def _near(self, name: str, at_s: float, step_s: float, beside: bool = False) -> bool:
        """Whether a stroke lies closer than `step_s`; `beside` leaves out those that fall at once."""
        times_s = self.strokes_s[name]
        between = bisect_left(times_s, at_s + step_s - _SAME_S) - bisect_left(times_s, at_s - step_s + _SAME_S)
        return between > (self._at_once(name, at_s) if beside else 0)

    def _at_once(self, name: str, at_s: float) -> int:
        times_s = self.strokes_s[name]
        return bisect_left(times_s, at_s + _AT_ONCE_S) - bisect_left(times_s, at_s - _AT_ONCE_S)


def _within(taken: Sequence[_Candidate], rooms: dict[int, float]) -> set[int]:
    """Return the indices of the notes that stay where bars hold no more than `rooms`; the backbone stays in any case.

    The least needed go first: of notes that are needed alike every second one, then the others, and never only some of
    these, since a pattern with a hole is harder than one without the notes.
    """
    by_bar: dict[int, list[_Candidate]] = defaultdict(list)
    for one in taken:
        by_bar[one.bar].append(one)
    kept: set[int] = set()
    for bar, notes in by_bar.items():
        alike: dict[float, list[_Candidate]] = defaultdict(list)
        for one in sorted(notes, key=lambda one: one.clock_s):
            if not one.is_backbone:
                alike[one.need].append(one)
        excess = len(notes) - rooms[bar] - _SAME_S
        leaving: list[_Candidate] = []
        for need in sorted(alike, reverse=True):
            for part in (alike[need][1::2], alike[need][::2]):
                if len(leaving) < excess:
                    leaving += part
        kept |= {one.index for one in notes} - {one.index for one in leaving}
    return kept
