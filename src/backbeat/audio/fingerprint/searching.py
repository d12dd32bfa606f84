"""Looking a question up in one part of an index."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backbeat.audio.fingerprint.aligning import ASKED_BITS, Alignment, align, densest
from backbeat.audio.fingerprint.landmarks import asked_landmarks, indexed_landmarks
from backbeat.audio.fingerprint.part import Part
from backbeat.audio.fingerprint.peaks import Peaks

#: Votes at most, those of the rarest landmarks: a common one says little, and there are very many of it.
_MOST_VOTES = 1_000_000
#: Offsets that are looked at peak by peak.
_CANDIDATES = 32
#: Of the landmarks of a whole recording so many are enough to find another of it: those whose scattered keys are low.
_SAMPLED = 1 / 4


@dataclass(frozen=True, eq=False)
class Question:
    """What is looked for.

    Parameters
    ----------
    peaks
        Of the question as it is.
    speed
        How fast it may be playing: its landmarks are those it would have at the recording's own speed.
    keys, frames
        Shape (landmarks,): keys and the frames at which their pairs begin.
    """

    peaks: Peaks
    speed: float
    keys: NDArray[np.uint32]
    frames: NDArray[np.uint32]

    @classmethod
    def at_speed(cls, peaks: Peaks, speed: float) -> Question:
        """Ask for what may play at another speed."""
        scaled = Peaks(peaks.frames * speed, peaks.bins / speed, peaks.duration_frames * speed)
        return cls(peaks, speed, *asked_landmarks(scaled))

    @classmethod
    def sampled(cls, peaks: Peaks) -> Question:
        """Ask for other copies of a whole recording, by a part of its landmarks."""
        keys, frames = indexed_landmarks(peaks)
        scattered = keys * np.uint32(2654435761)  # Knuth, The Art of Computer Programming 3, section 6.4
        chosen = scattered < np.uint32(_SAMPLED * 2**32)
        return cls(peaks, 1.0, keys[chosen], frames[chosen])


def search(
    part: Part, question: Question, without: Collection[int] = (), itself: int | None = None
) -> dict[int, Alignment]:
    """Return where the question may be found: the best alignment of every recording that is a candidate.

    Parameters
    ----------
    part
        Where to look.
    question
        What for.
    without
        Rows of the part that are passed over.
    itself
        The row of the recording that asks, if it is in the part: it gives no votes, which would drown all others.
    """
    own = (0, 0) if itself is None else (int(part.starts[itself]), int(part.starts[itself + 1]))
    votes = _votes(question.keys, question.frames, part.keys, part.begins, part.frames, own, _MOST_VOTES)
    votes.sort()
    offsets, asked, counts = densest(votes, _CANDIDATES)
    voted = counts > 0
    rows = np.clip(part.rows_at((offsets + asked)[voted]), 0, len(part) - 1)
    found: dict[int, Alignment] = {}
    for offset, row in zip(offsets[voted].tolist(), rows.tolist(), strict=True):
        if row in without:
            continue
        made = align(question.peaks, part.peaks_of(row), offset - int(part.starts[row]) + 1.0, question.speed)
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
    without: tuple[int, int],
    most: int,
) -> NDArray[np.int64]:
    """Return for every equal landmark at which frame of the part the question would begin, as `densest` takes it."""
    places = np.searchsorted(keys, asked_keys)
    lengths = np.zeros(asked_keys.size, np.int64)
    for i in range(asked_keys.size):
        place = places[i]
        if place < keys.size and keys[place] == asked_keys[i] and asked_frames[i] < 1 << ASKED_BITS:
            lengths[i] = begins[place + 1] - begins[place]
    votes = np.empty(min(lengths.sum(), most), np.int64)
    count = 0
    for i in np.argsort(lengths):
        if count + lengths[i] > votes.size:
            break
        begin = begins[places[i]] if lengths[i] > 0 else 0
        for j in range(begin, begin + lengths[i]):
            frame = np.int64(frames[j])
            if not without[0] <= frame < without[1]:
                asked = np.int64(asked_frames[i])
                votes[count] = ((frame - asked) << ASKED_BITS) + asked
                count += 1
    return votes[:count]
