"""How well two recordings lie on each other: candidates by votes of landmarks, then peak against peak.

Equal landmarks alone prove little. Pieces share drum machines, instruments and tempi, and a single stroke of one drum
gives several equal landmarks. So votes only propose where to look. What counts is how many of the question's peaks the
recording has too, at one offset that holds for all of them, second after second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backbeat.audio.fingerprint.peaks import FRAMES_PER_S, Peaks

#: In how many bits of a vote the frame of the question is told.
ASKED_BITS = 24
#: Votes within so many frames are for one offset.
_VOTE_FRAMES = 3
#: Two peaks are the same within so many frames and bins, …
_NEAR = (1.0, 0.7)
#: … or so many while offset and speed are still being found.
_ROUGHLY_NEAR = ((2.5, 1.2), (1.5, 0.9))
#: A second of the question speaks for a match if this share of its peaks is in the recording.
_SECOND_SHARE = 0.35


@dataclass(frozen=True)
class Alignment:
    """A question laid on a recording.

    Parameters
    ----------
    offset_frames
        Where in the recording the question begins; negative if before it.
    speed
        How fast the question plays in relation to the recording.
    matched, compared
        Peaks of the question that the recording has at this offset, and those that lie within it.
    overlap_s
        Seconds for which the two lie on each other and enough of the peaks are the same.
    """

    offset_frames: float
    speed: float
    matched: int
    compared: int
    overlap_s: float

    @property
    def score(self) -> float:
        """Share of the question's peaks that the recording has, 0 to 1."""
        return self.matched / self.compared if self.compared else 0.0


@njit(cache=True, nogil=True)
def densest(votes: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the offsets for which most votes are, the most first.

    Parameters
    ----------
    votes
        Shape (votes,), increasing: offsets in frames, times 2 to the power of `ASKED_BITS`, plus the frame of the
        question at which the landmark begins.
    most
        How many offsets, which keep `_VOTE_FRAMES` from each other.

    Returns
    -------
    Offsets in frames, frames of the question at which one of their landmarks begins, and how many votes there are;
    shape (most,) each, 0 votes where there are no more.
    """
    offsets = np.zeros(most, np.int64)
    asked = np.zeros(most, np.int64)
    counts = np.zeros(most, np.int64)
    first = 0
    for last in range(votes.size):
        while (votes[last] >> ASKED_BITS) - (votes[first] >> ASKED_BITS) >= _VOTE_FRAMES:
            first += 1
        count = last - first + 1
        if count < 2 or count <= counts[most - 1]:
            continue
        offset = votes[first] >> ASKED_BITS
        slot = most - 1
        for i in range(most):
            if counts[i] > 0 and abs(offsets[i] - offset) < _VOTE_FRAMES:
                slot = -1 if counts[i] >= count else i
                break
        if slot < 0:
            continue
        while slot > 0 and counts[slot - 1] < count:
            offsets[slot], asked[slot], counts[slot] = offsets[slot - 1], asked[slot - 1], counts[slot - 1]
            slot -= 1
        offsets[slot], asked[slot], counts[slot] = offset, votes[last] & ((1 << ASKED_BITS) - 1), count
    return offsets, asked, counts


@njit(cache=True, nogil=True)
def _partners(
    frames: NDArray[np.float64],
    bins: NDArray[np.float64],
    own_frames: NDArray[np.float64],
    own_bins: NDArray[np.float64],
    near_frames: float,
    near_bins: float,
) -> NDArray[np.int64]:
    """Return for each asked peak the nearest of the recording's, -1 where none is near; both are in order of time."""
    partner = np.full(frames.size, -1, np.int64)
    for i in range(frames.size):
        nearest = 1e9
        j = np.searchsorted(own_frames, frames[i] - near_frames)
        while j < own_frames.size and own_frames[j] <= frames[i] + near_frames:
            away_bins = abs(own_bins[j] - bins[i])
            away = abs(own_frames[j] - frames[i]) / near_frames + away_bins / near_bins
            if away_bins <= near_bins and away < nearest:
                nearest = away
                partner[i] = j
            j += 1
    return partner


def align(asked: Peaks, own: Peaks, offset_frames: float, speed: float = 1.0) -> Alignment:
    """Lay a question on a recording and count what is the same.

    Parameters
    ----------
    asked, own
        Peaks of the question and of the recording.
    offset_frames
        About where in the recording the question begins, within the first of `_ROUGHLY_NEAR`.
    speed
        About how fast the question plays, 1.01 for one percent faster: its times are multiplied by it, its frequencies
        divided.
    """
    for near in _ROUGHLY_NEAR:
        partner = _partners(asked.frames * speed + offset_frames, asked.bins / speed, own.frames, own.bins, *near)
        if (partner < 0).all():
            break
        offset_frames, slope = _refined(asked.frames * speed, own.frames[partner], partner >= 0)
        speed *= 1 + slope
    placed = asked.frames * speed + offset_frames
    partner = _partners(placed, asked.bins / speed, own.frames, own.bins, *_NEAR)
    within = (placed >= 0) & (placed <= own.duration_frames)
    matched = (partner >= 0) & within
    seconds = np.floor(asked.frames[within] / FRAMES_PER_S).astype(np.int64)
    heard, same = np.bincount(seconds), np.bincount(seconds, weights=matched[within])
    agreeing = (heard > 0) & (same >= _SECOND_SHARE * heard)
    span_frames = min(asked.duration_frames * speed + offset_frames, own.duration_frames) - max(offset_frames, 0.0)
    # Seconds without any peak, rests say, are taken to be as the others are.
    share = float(agreeing.sum()) / max(1, int((heard > 0).sum()))
    return Alignment(
        offset_frames=float(offset_frames),
        speed=float(speed),
        matched=int(matched.sum()),
        compared=int(within.sum()),
        overlap_s=share * max(span_frames, 0.0) / FRAMES_PER_S,
    )


def _refined(frames: NDArray[np.float64], found: NDArray[np.float64], known: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the offset and the further change of speed by which most peaks lie on theirs (least absolute errors)."""
    times, shifts = frames[known], (found - frames)[known]
    offset = float(np.median(shifts))
    if times.size < 8 or np.ptp(times) < 2 * FRAMES_PER_S:
        return offset, 0.0
    # Theil-Sen (Sen, JASA 63, 1968) between the two halves: outliers do not tilt it.
    half = times.size // 2
    slope = float(
        np.median((shifts[half : 2 * half] - shifts[:half]) / np.maximum(times[half : 2 * half] - times[:half], 1.0))
    )
    return float(np.median(shifts - slope * times)), slope
