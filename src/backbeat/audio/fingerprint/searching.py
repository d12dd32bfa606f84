"""Looking a question up in one part of an index."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backbeat.audio.fingerprint.aligning import Alignment, align, densest
from backbeat.audio.fingerprint.landmarks import asked_landmarks
from backbeat.audio.fingerprint.part import Part
from backbeat.audio.fingerprint.peaks import Peaks

#: Votes at most, those of the rarest landmarks: a common one says little, and there are very many of it.
_MOST_VOTES = 2_000_000
#: Offsets that are looked at peak by peak.
_CANDIDATES = 48


def search(part: Part, asked: Peaks, without: Collection[int] = (), speed: float = 1.0) -> dict[int, Alignment]:
    """Return where the question may be found: the best alignment of every recording that is a candidate.

    Parameters
    ----------
    part
        Where to look.
    asked
        Peaks of the question.
    without
        Rows of the part that are passed over.
    speed
        How fast the question may be playing.
    """
    scaled = Peaks(asked.frames * speed, asked.bins / speed, asked.duration_frames * speed)
    votes = _votes(*asked_landmarks(scaled), part.keys, part.begins, part.frames, _MOST_VOTES)
    votes.sort()
    places, counts = densest(votes, _CANDIDATES)
    found: dict[int, Alignment] = {}
    for place in places[counts > 0].tolist():
        # The middle of what was asked, not its beginning, which may lie before the recording's.
        row = int(np.searchsorted(part.starts, place + asked.duration_frames / 2, side="right")) - 1
        if not 0 <= row < len(part) or row in without:
            continue
        made = align(asked, part.peaks_of(row), place - int(part.starts[row]) + 1.0, speed)
        if row not in found or made.matched > found[row].matched:
            found[row] = made
    return found


@njit(cache=True, nogil=True)
def _votes(
    asked_keys: NDArray[np.uint32],
    asked_frames: NDArray[np.uint32],
    keys: NDArray[np.uint32],
    begins: NDArray[np.int64],
    frames: NDArray[np.uint32],
    most: int,
) -> NDArray[np.int64]:
    """Return for every equal landmark the frame of the part at which the question would begin."""
    places = np.searchsorted(keys, asked_keys)
    lengths = np.zeros(asked_keys.size, np.int64)
    for i in range(asked_keys.size):
        place = places[i]
        if place < keys.size and keys[place] == asked_keys[i]:
            lengths[i] = begins[place + 1] - begins[place]
    votes = np.empty(min(lengths.sum(), most), np.int64)
    count = 0
    for i in np.argsort(lengths):
        if lengths[i] == 0:
            continue
        if count + lengths[i] > votes.size:
            break
        begin = begins[places[i]]
        for j in range(begin, begin + lengths[i]):
            votes[count] = np.int64(frames[j]) - np.int64(asked_frames[i])
            count += 1
    return votes[:count]
