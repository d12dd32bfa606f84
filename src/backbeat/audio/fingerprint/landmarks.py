"""Landmarks: pairs of peaks near each other, as numbers by which an index finds them.

A key is made of the first peak's frequency, the second's distance from it in frequency, and in time. What is indexed
has few pairs a peak. A question has more of them, and takes a neighbouring key too where a number lies close to the
border of its cell, so that a peak which a codec adds, drops or moves a little costs few of the keys.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backbeat.audio.fingerprint.peaks import WINDOW_SAMPLES, Peaks

#: Pairs a peak begins, indexed and asked for.
_INDEXED_PAIRS, _ASKED_PAIRS = 3, 5
#: The second peak is this many frames later …
_NEAREST_FRAMES, _FURTHEST_FRAMES = 4.0, 64.0
#: … and at most so many bins higher or lower.
_FURTHEST_BINS = 61.0
_FRAMES_PER_CELL = 2.0
#: Nearer to the border of a cell than this share of it, a question takes the next cell too.
_BORDER = 0.2
_CELLS_OF_TIME = 33
_CELLS_OF_DISTANCE = 129
#: No key is as high.
MOST_KEYS = WINDOW_SAMPLES // 2 * _CELLS_OF_DISTANCE * _CELLS_OF_TIME


def indexed_landmarks(peaks: Peaks) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the keys of a recording, shape (n,), and the frames at which their pairs begin."""
    return _landmarks(peaks.frames, peaks.bins, _INDEXED_PAIRS, 0.0)  # type: ignore[no-any-return]


def asked_landmarks(peaks: Peaks) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the keys to look up for a question, shape (n,), and the frames at which their pairs begin."""
    return _landmarks(peaks.frames, peaks.bins, _ASKED_PAIRS, _BORDER)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _cells(value: float, border: float) -> tuple[int, int]:
    """Return the cell of a value and the neighbour to take too: the same one where it is not near."""
    cell = int(np.floor(value))
    inside = value - cell
    if inside < border:
        return cell, cell - 1
    if inside > 1.0 - border:
        return cell, cell + 1
    return cell, cell


@njit(cache=True, nogil=True)
def _landmarks(
    frames: NDArray[np.float64], bins: NDArray[np.float64], most: int, border: float
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    space = frames.size * most * (8 if border > 0.0 else 1)
    keys = np.empty(space, np.uint32)
    begins = np.empty(space, np.uint32)
    count = 0
    for i in range(frames.size):
        pairs = 0
        for j in range(i + 1, frames.size):
            wait = frames[j] - frames[i]
            if wait >= _FURTHEST_FRAMES or pairs == most:
                break
            distance = bins[j] - bins[i]
            if wait < _NEAREST_FRAMES or abs(distance) > _FURTHEST_BINS:
                continue
            pairs += 1
            begin = np.uint32(np.round(frames[i]))
            # Cells of both frequencies, not of one and the distance: one rounding less to go wrong.
            lows, highs = _cells(bins[i], border), _cells(bins[j], border)
            gaps = _cells(wait / _FRAMES_PER_CELL, border)
            for a in range(2 if lows[0] != lows[1] else 1):
                for b in range(2 if highs[0] != highs[1] else 1):
                    for c in range(2 if gaps[0] != gaps[1] else 1):
                        distance_cells = highs[b] - lows[a] + _CELLS_OF_DISTANCE // 2
                        keys[count] = (lows[a] * _CELLS_OF_DISTANCE + distance_cells) * _CELLS_OF_TIME + gaps[c]
                        begins[count] = begin
                        count += 1
    return keys[:count], begins[:count]
