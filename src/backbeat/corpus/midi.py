"""The note-ons of a standard MIDI file, and nothing else.

General MIDI libraries make an object of every message; reading drums by the hundred needs only the strokes, and this is
several times as fast. The format is that of the "Standard MIDI Files 1.0" specification (MIDI Manufacturers
Association, 1996).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import AnnotationError

_DEFAULT_TEMPO_US = 500_000
_META, _TEMPO, _SYSEX = 0xFF, 0x51, (0xF0, 0xF7)


def read_note_ons(path: Path) -> NDArray[np.float64]:
    """Return the note-ons of all tracks and channels in order of time, shape (notes, 3): seconds, note, velocity.

    Raises
    ------
    AnnotationError
        If there is no such file, or it is not a MIDI file with ticks a quarter note, or it is cut short.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"cannot be read ({error.strerror})", path) from None
    if data[:4] != b"MThd" or len(data) < 14:
        raise AnnotationError("is not a MIDI file", path)
    division = int.from_bytes(data[12:14], "big")
    if division == 0 or division & 0x8000:
        raise AnnotationError("is a MIDI file in SMPTE time, which has no beats", path)
    notes: list[tuple[int, int, int]] = []
    tempi: list[tuple[int, int]] = [(0, _DEFAULT_TEMPO_US)]
    at = 8 + int.from_bytes(data[4:8], "big")
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        if at + 8 + size > len(data):
            raise AnnotationError("is a MIDI file cut short", path)
        if data[at : at + 4] == b"MTrk":
            try:
                _read_track(data[at + 8 : at + 8 + size], notes, tempi)
            except (IndexError, ValueError):
                raise AnnotationError("is a damaged MIDI file", path) from None
        at += 8 + size
    table = np.array(sorted(notes), dtype=np.float64).reshape(-1, 3)
    table[:, 0] = _seconds(table[:, 0], sorted(tempi, key=lambda change: change[0]), division)
    return table


def _read_track(track: bytes, notes: list[tuple[int, int, int]], tempi: list[tuple[int, int]]) -> None:
    """Append (tick, note, velocity) and (tick, microseconds a quarter) of one track; IndexError where it breaks off."""
    at = tick = status = 0
    while at < len(track):
        delta, at = _variable(track, at)
        tick += delta
        if track[at] & 0x80:
            status = track[at]
            at += 1
        if status == _META:
            kind = track[at]
            size, at = _variable(track, at + 1)
            if kind == _TEMPO:
                tempi.append((tick, int.from_bytes(track[at : at + 3], "big")))
            at += size
        elif status in _SYSEX:
            size, at = _variable(track, at)
            at += size
        elif status < 0x80:
            raise ValueError("data before any status")
        elif status & 0xF0 in (0xC0, 0xD0):
            at += 1
        else:
            if status & 0xF0 == 0x90 and track[at + 1]:
                notes.append((tick, track[at], track[at + 1]))
            at += 2


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length; return it and where it ends."""
    value = 0
    while True:
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at


def _seconds(ticks: NDArray[np.float64], tempi: list[tuple[int, int]], division: int) -> NDArray[np.float64]:
    changes = np.array([tick for tick, _ in tempi], dtype=np.float64)
    rates = np.array([tempo for _, tempo in tempi], dtype=np.float64) / 1e6 / division
    starts_s = np.concatenate(([0.0], np.cumsum(np.diff(changes) * rates[:-1])))
    # The last change at a tick is the one in force.
    index = np.searchsorted(changes, ticks, side="right") - 1
    return np.asarray(starts_s[index] + (ticks - changes[index]) * rates[index])
