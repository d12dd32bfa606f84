"""Fingerprints as bytes: four a peak, after a header that tells the version.

Layout, little-endian: the magic, a byte of version, three of zero, the duration in steps of time (uint32); then for
each peak the steps since the one before and the frequency in steps (uint16 each). Frequency 0 is no peak and only lets
time go by, where the next peak is further away than 16 bits can say.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.fingerprint.peaks import Peaks, find_peaks
from backbeat.errors import CatalogueError

MAGIC = b"BBfp"
#: Grows with every change of what peaks are or how they are written.
VERSION = 1
_HEADER = struct.Struct("<4sB3xI")
_STEPS_PER_FRAME = 8
_STEPS_PER_BIN = 64
_LONGEST = 0xFFFF


def fingerprint(mono: NDArray[np.float32], sample_rate_hz: int) -> bytes:
    """Return what a recording is known again by, some 80 bytes a second.

    Parameters
    ----------
    mono
        Shape (samples,); any level. `audio.decode` with ``mono=True`` gives it.
    sample_rate_hz
        Of `mono`, 8 kHz or more.

    Raises
    ------
    ConfigError
        If the samples are not one channel of finite numbers, or the rate is too low.
    """
    return to_bytes(find_peaks(mono, sample_rate_hz))


def to_bytes(peaks: Peaks) -> bytes:
    """Write peaks as bytes, rounded to 2 ms and 0.12 Hz."""
    steps = np.round(peaks.frames * _STEPS_PER_FRAME).astype(np.int64)
    waits = np.diff(steps, prepend=0)
    rests = np.maximum(waits - 1, 0) // _LONGEST
    rows = np.zeros((waits.size + int(rests.sum()), 2), dtype="<u2")
    rows[:, 0] = _LONGEST
    at = np.arange(waits.size) + np.cumsum(rests)
    rows[at, 0] = waits - rests * _LONGEST
    rows[at, 1] = np.round(peaks.bins * _STEPS_PER_BIN)
    header = _HEADER.pack(MAGIC, VERSION, round(peaks.duration_frames * _STEPS_PER_FRAME))
    return header + rows.tobytes()


def from_bytes(data: bytes | memoryview) -> Peaks:
    """Read what `to_bytes` wrote.

    Raises
    ------
    CatalogueError
        If it is no fingerprint, is damaged, or was made by another version.
    """
    if len(data) < _HEADER.size or bytes(data[:4]) != MAGIC:
        raise CatalogueError("this is no acoustic fingerprint: make it again with `backbeat maintenance reindex`")
    _, version, duration = _HEADER.unpack_from(data)
    if version != VERSION:
        raise CatalogueError(
            f"a fingerprint of version {version}, where this program makes version {VERSION}: "
            "make it again with `backbeat maintenance reindex`"
        )
    if (len(data) - _HEADER.size) % 4:
        raise CatalogueError("a damaged acoustic fingerprint: make it again with `backbeat maintenance reindex`")
    rows = np.frombuffer(data, dtype="<u2", offset=_HEADER.size).reshape(-1, 2)
    steps = np.cumsum(rows[:, 0], dtype=np.int64)
    real = rows[:, 1] > 0
    frames = steps[real] / _STEPS_PER_FRAME
    return Peaks(frames, rows[real, 1] / _STEPS_PER_BIN, duration / _STEPS_PER_FRAME)
