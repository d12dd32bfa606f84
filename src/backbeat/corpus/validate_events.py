"""What can be wrong with the event files of one track: times, intervals, bars, classes, and what its row says of them.

Each check yields every problem with the line it is in. `contract.read_beats` stops at the first; here a file is read
line by line, and what is left of it, if that is coherent, is returned for counting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from backbeat.corpus.contract import Track, event_lines
from backbeat.corpus.problems import ERROR, WARNING, Level, Problem
from backbeat.errors import AnnotationError
from backbeat.music import NOTE, ONSET_CLASSES, Beats, Onsets, TimeSignature

#: Closer beats than this are one beat twice: 600 BPM.
IMPOSSIBLE_INTERVAL_S = 0.1

#: Closer beats than this are more likely a subdivision than a beat: 400 BPM.
SHORT_INTERVAL_S = 0.15

#: Beats further apart than this are more likely a pause or beats left out: 20 BPM.
LONG_INTERVAL_S = 3.0

#: An interval that is this many times the one before it, or this part of it, is nearly double or half.
JUMP_RATIO = 1.8

#: How far past the end an event may be: durations of compressed files are known to a few codec frames only.
END_TOLERANCE_S = 0.1

#: Stated tempi may differ this much from that of the beats.
TEMPO_TOLERANCE = 0.08

#: How many warnings of one kind a file gets before they are summed up.
SHOWN = 5


class _Found:
    """Collects the problems of one file; of warnings alike it keeps a few and sums up the rest."""

    def __init__(self, path: Path, track_id: str) -> None:
        self.path = str(path)
        self.track_id = track_id
        self.problems: list[Problem] = []
        self._alike: dict[str, list[int]] = {}

    def error(self, line: int | None, message: str) -> None:
        self.problems.append(Problem(ERROR, self.path, message, line, self.track_id))

    def warn(self, line: int, kind: str, message: str) -> None:
        lines = self._alike.setdefault(kind, [])
        lines.append(line)
        if len(lines) <= SHOWN:
            self.problems.append(Problem(WARNING, self.path, message, line, self.track_id))

    def close(self) -> list[Problem]:
        for kind, lines in self._alike.items():
            if len(lines) > SHOWN:
                message = f"{len(lines) - SHOWN} more of: {kind}"
                self.problems.append(Problem(WARNING, self.path, message, lines[SHOWN], self.track_id))
        return self.problems


def _read_times(path: Path, found: _Found) -> list[tuple[int, float, list[str]]]:
    """Return (line, time, further cells) of the lines that begin with a possible time."""
    try:
        lines = event_lines(path)
    except AnnotationError as error:
        found.error(error.line, error.problem)
        return []
    rows: list[tuple[int, float, list[str]]] = []
    for line, words in lines:
        try:
            time_s = float(words[0])
        except ValueError:
            time_s = math.nan
        if not math.isfinite(time_s):
            found.error(line, f"{words[0]!r} is not a time in seconds")
        elif time_s < 0:
            found.error(line, f"time {time_s:g} s is negative")
        else:
            rows.append((line, time_s, words[1:]))
    return rows


def _check_end(rows: list[tuple[int, float, list[str]]], what: str, duration_s: float | None, found: _Found) -> None:
    if duration_s is None:
        return
    for line, time_s, _ in rows:
        if time_s > duration_s + END_TOLERANCE_S:
            found.error(line, f"{what} at {time_s:g} s lies after the end of the audio at {duration_s:.3f} s")


def check_beats(path: Path, track_id: str, duration_s: float | None) -> tuple[Beats | None, list[Problem]]:
    """Check a `.beats` file.

    Parameters
    ----------
    path
        The file; nothing is wrong with one that is not there.
    track_id
        To name in problems.
    duration_s
        Of the audio, or None where it is not known.

    Returns
    -------
    beats
        None where there is no file or it does not make a sequence of beats.
    problems
        All that is wrong, in the order of the lines.
    """
    if not path.exists():
        return None, []
    found = _Found(path, track_id)
    rows = _read_times(path, found)
    if not rows and not found.problems:
        found.warn(1, "empty", "holds no beats; a track without annotation has no file")
    _check_end(rows, "beat", duration_s, found)
    _check_intervals(rows, found)
    positions = _read_positions(rows, found)
    if positions is not None:
        _check_bars([line for line, _, _ in rows], positions, found)
    beats = None
    if _in_order(rows):
        beats = Beats(np.array([time_s for _, time_s, _ in rows]), np.array(positions) if positions else None)
    return beats, found.close()


def _in_order(rows: list[tuple[int, float, list[str]]]) -> bool:
    return all(after[1] > before[1] for before, after in pairwise(rows))


def _check_intervals(rows: list[tuple[int, float, list[str]]], found: _Found) -> None:
    before_s: float | None = None
    for (_, start_s, _), (line, end_s, _) in pairwise(rows):
        interval_s = end_s - start_s
        if interval_s == 0:
            found.error(line, f"beat at {end_s:g} s appears twice")
        elif interval_s < 0:
            found.error(line, f"beats are not in order: {end_s:g} s follows {start_s:g} s")
        elif interval_s < IMPOSSIBLE_INTERVAL_S:
            found.error(
                line, f"impossible interval: {interval_s:.3f} s after the beat before, {60 / interval_s:.0f} BPM"
            )
        elif interval_s < SHORT_INTERVAL_S:
            message = f"{interval_s:.3f} s after the beat before, {60 / interval_s:.0f} BPM: a subdivision?"
            found.warn(line, "intervals too short for beats", message)
        elif interval_s > LONG_INTERVAL_S:
            message = (
                f"{interval_s:.3f} s after the beat before, {60 / interval_s:.0f} BPM: a pause, or beats left out?"
            )
            found.warn(line, "intervals too long for beats", message)
        elif before_s is not None and not 1 / JUMP_RATIO < interval_s / before_s < JUMP_RATIO:
            change = "doubles" if interval_s > before_s else "halves"
            message = f"the interval suddenly {change}, from {before_s:.3f} to {interval_s:.3f} s"
            found.warn(line, "sudden doubling or halving of the interval", message)
        before_s = interval_s if interval_s > 0 else None


def _read_positions(rows: list[tuple[int, float, list[str]]], found: _Found) -> list[int] | None:
    """Return the positions in the bar; None where there are none, or some are missing or impossible."""
    having = sum(bool(words) for _, _, words in rows)
    if not having:
        return None
    positions: list[int] = []
    for line, _, words in rows:
        if not words:
            found.error(line, "has no position in the bar, though other beats have one")
            continue
        try:
            position = float(words[0])
        except ValueError:
            position = math.nan
        if not (math.isfinite(position) and position == int(position) and position >= 1):
            found.error(line, f"{words[0]!r} is not a position in the bar")
        else:
            positions.append(int(position))
    return positions if len(positions) == len(rows) else None


def _check_bars(lines: list[int], positions: list[int], found: _Found) -> None:
    """Count the bars through: each position is one more than the last, or 1 where a bar begins."""
    bar_length = 0
    # The first bar may be a pick-up, and after a jump nothing is known: only bars that began with 1 have a length.
    whole = positions[:1] == [1]
    for index in range(1, len(positions)):
        line, before, now = lines[index], positions[index - 1], positions[index]
        if now == before + 1:
            continue
        if now != 1:
            found.error(line, f"bar count jumps from {before} to {now}")
            whole, bar_length = False, 0
            continue
        if not whole:
            whole = True
            continue
        if before == 1:
            found.warn(line, "bars of a single beat", "a bar of a single beat: two downbeats in a row")
        elif bar_length and before != bar_length:
            message = f"the bar before has {before} beats, the one before that {bar_length}"
            found.warn(line, "bar length changes", message)
        bar_length = before


def check_onsets(path: Path, track_id: str, duration_s: float | None) -> tuple[Onsets | None, list[Problem]]:
    """Check an `.onsets` file; parameters and results as for `check_beats`."""
    if not path.exists():
        return None, []
    found = _Found(path, track_id)
    rows = _read_times(path, found)
    _check_end(rows, "onset", duration_s, found)
    good: list[tuple[float, str, float]] = []
    seen: set[tuple[float, str]] = set()
    before_s = 0.0
    for line, time_s, words in rows:
        if time_s < before_s:
            found.error(line, f"onsets are not in order: {time_s:g} s follows {before_s:g} s")
        before_s = max(before_s, time_s)
        name = words[0] if words else NOTE
        velocity = _velocity(words[1] if len(words) > 1 else "1")
        if name not in ONSET_CLASSES:
            found.error(line, f"unknown onset class {name!r}; the classes are {', '.join(ONSET_CLASSES)}")
        elif velocity is None:
            found.error(line, f"velocity {words[1]!r} lies outside (0, 1]")
        else:
            good.append((time_s, name, velocity))
        if (time_s, name) in seen:
            found.warn(line, "onsets given twice", f"{name} at {time_s:g} s appears twice")
        seen.add((time_s, name))
    good.sort(key=lambda event: event[0])
    onsets = Onsets(
        np.array([time_s for time_s, _, _ in good]),
        [name for _, name, _ in good],
        np.array([velocity for _, _, velocity in good]),
    )
    return onsets, found.close()


def _velocity(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if 0 < value <= 1 else None


def check_row_against_beats(track: Track, beats: Beats, path: str, line: int | None) -> Iterator[Problem]:
    """Check the tempo and time signature of a row against its beats; `path` and `line` say where the row is."""
    heard_bpm = beats.tempo_bpm
    if track.tempo_bpm is not None and heard_bpm is not None:
        ratio = track.tempo_bpm / heard_bpm
        if abs(ratio - 1) > TEMPO_TOLERANCE:
            message = f"tempo_bpm is {track.tempo_bpm:g}, but the beats go at {heard_bpm:.1f}{_octave(ratio)}"
            yield Problem(WARNING, path, message, line, track.id)
    counted = beats.beats_per_bar
    if track.time_signature is not None and counted is not None:
        problem = _meter_problem(track.time_signature, counted)
        if problem:
            yield Problem(problem[0], path, problem[1], line, track.id)


def _octave(ratio: float) -> str:
    """Say which simple multiple of the beats' tempo the stated one is, if it is one."""
    names = {
        2: "twice",
        1 / 2: "half",
        3: "three times",
        1 / 3: "a third of",
        1.5: "three halves of",
        2 / 3: "two thirds of",
    }
    for factor, name in names.items():
        if abs(ratio / factor - 1) <= TEMPO_TOLERANCE:
            return f": it is {name} the tempo of the beats, another metrical level"
    return ""


def _meter_problem(time_signature: TimeSignature, counted: int) -> tuple[Level, str] | None:
    if counted == time_signature.beats_per_bar:
        return None
    if counted == time_signature.numerator:
        expected = f"{time_signature.beats_per_bar} dotted beats"
        return WARNING, f"time_signature is {time_signature}, but its bars are counted in {counted}, not in {expected}"
    expected = f"{time_signature.beats_per_bar}"
    return ERROR, f"time_signature is {time_signature}, {expected} beats to a bar, but most bars have {counted}"
