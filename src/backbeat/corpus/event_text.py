"""Beat and onset annotations as other people write them: text in the forms that public data sets have.

The contract's own files (`contract.read_beats`, `contract.read_onsets`) are strict. These readers serve imports: cells
parted by tabs, spaces, commas or semicolons; a header line; and for beats "time", "time position", "time position bar"
or "time bar.beat"; for onsets "time", "time class", "time class velocity", the class being one of the ten drums, a
General MIDI percussion note, a technique of MDB Drums or an abbreviation in use; velocities up to 1, or MIDI's 1..127.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from backbeat.corpus.mdb_drums import SUBCLASSES
from backbeat.errors import AnnotationError
from backbeat.music import GENERAL_MIDI_DRUMS, NOTE, ONSET_CLASSES, Beats, Onsets

#: Names that data sets (ENST-Drums, IDMT-SMT-Drums, MDB Drums) and people give to the classes, in lower case.
CLASS_NAMES: dict[str, str] = {
    **{name: name for name in ONSET_CLASSES},
    **{code.lower(): name for code, name in SUBCLASSES.items()},
    "bd": "kick",
    "bass": "kick",
    "sn": "snare",
    "rim": "snare",
    "hh": "hihat_closed",
    "hihat": "hihat_closed",
    "ht": "tom_high",
    "mt": "tom_mid",
    "lt": "tom_low",
    "cr": "crash",
    "rd": "ride",
    "onset": NOTE,
}

_CELLS = re.compile(r"\s*[,;\t]\s*|\s+")
_BAR_AND_BEAT = re.compile(r"\d+\.[1-9]\d?")


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Split a file into (line number, cells), without blank lines, comments and a header line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationError("is not text in UTF-8", path) from None
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}", path) from None
    rows: list[tuple[int, list[str]]] = []
    may_be_header = True
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip().rstrip(",;")
        if not stripped or stripped[0] in "#%":
            continue
        cells = [cell.strip("\"'") for cell in _CELLS.split(stripped)]
        if not (may_be_header and _float(cells[0]) is None):
            rows.append((number, cells))
        may_be_header = False
    if not rows and not may_be_header:
        raise AnnotationError("holds no times", path, 1)
    return rows


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _time(cell: str, before_s: float, path: Path, line: int, *, strictly: bool) -> float:
    time_s = _float(cell)
    if time_s is None:
        raise AnnotationError(f"{cell!r} is not a time in seconds", path, line)
    if time_s < 0:
        raise AnnotationError(f"time {time_s:g} s is negative", path, line)
    if time_s < before_s or (strictly and time_s == before_s):
        raise AnnotationError(f"times do not increase: {time_s:g} s follows {before_s:g} s", path, line)
    return time_s


def read_beat_text(path: Path) -> Beats:
    """Read beats in any of the forms above.

    Raises
    ------
    AnnotationError
        Naming file and line: unreadable, not numbers, out of order, or positions on some lines only.
    """
    rows = _rows(path)
    dotted = bool(rows) and all(len(cells) > 1 and _BAR_AND_BEAT.fullmatch(cells[1]) for _, cells in rows)
    times_s: list[float] = []
    positions: list[int] = []
    for line, cells in rows:
        times_s.append(_time(cells[0], times_s[-1] if times_s else -1.0, path, line, strictly=True))
        if len(cells) > 1:
            position = _float(cells[1].partition(".")[2] if dotted else cells[1])
            if position is None or position != int(position) or position < 1:
                raise AnnotationError(f"{cells[1]!r} is not a position in the bar", path, line)
            positions.append(int(position))
        if positions and len(positions) != len(times_s):
            raise AnnotationError("some beats have a position in the bar and others have none", path, line)
    return Beats(np.array(times_s), np.array(positions) if positions else None)


def onset_class(cell: str) -> str | None:
    """Return the onset class that `cell` names: a name, an abbreviation or a MIDI note; None for an unknown one."""
    if cell.isdecimal():
        return GENERAL_MIDI_DRUMS.get(int(cell), NOTE) if int(cell) < 128 else None
    return CLASS_NAMES.get(cell.lower())


def read_onset_text(path: Path) -> Onsets:
    """Read onsets in any of the forms above; times may be in any order, as some data sets list drum by drum.

    Raises
    ------
    AnnotationError
        Naming file and line: unreadable, not numbers, an unknown class, or an impossible velocity.
    """
    events: list[tuple[float, str, float]] = []
    for line, cells in _rows(path):
        time_s = _time(cells[0], 0.0, path, line, strictly=False)
        name = onset_class(cells[1]) if len(cells) > 1 else NOTE
        if name is None:
            raise AnnotationError(f"unknown onset class {cells[1]!r}", path, line)
        velocity = _float(cells[2]) if len(cells) > 2 else 1.0
        if velocity is None or not 0 < velocity <= 127:
            raise AnnotationError(f"velocity {cells[2]!r} is neither in (0, 1] nor MIDI's 1 to 127", path, line)
        events.append((time_s, name, velocity))
    loudest = max((velocity for _, _, velocity in events), default=1.0)
    scale = 127.0 if loudest > 1 else 1.0
    events.sort()
    return Onsets(
        np.array([time_s for time_s, _, _ in events]),
        [name for _, name, _ in events],
        np.array([velocity / scale for _, _, velocity in events]),
    )


def guess_kind(path: Path) -> str | None:
    """Tell whether a plain .txt or .csv beside audio holds "beats" or "onsets"; None when it is something else.

    Beats are lines of numbers, onsets lines of a time and a drum's name; a licence or lyrics are neither.
    """
    try:
        rows = _rows(path)
    except AnnotationError:
        return None
    if not rows or _float(rows[0][1][0]) is None:
        return None
    cells = rows[0][1]
    if len(cells) == 1 or _float(cells[1]) is not None:
        # A second number above any bar's length is a MIDI note.
        numbers = [_float(row[1]) or 0 for _, row in rows if len(row) > 1]
        return "onsets" if numbers and min(numbers) >= 22 else "beats"
    return "onsets" if onset_class(cells[1]) else None
