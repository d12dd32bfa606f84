"""From activations to the strokes of each drum: peaks, doubled detections taken out, flams and rolls left in.

Two strokes of one drum that are heard close together are a flam or a roll, or one stroke that was detected twice: its
stick and its room, say. What tells them apart: the first stroke of a flam is the softer one, whereas what follows a
stroke of its own is softer than it; and between two strokes of a roll the activation falls, since each has an attack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.music import DRUMS, Onsets

if TYPE_CHECKING:
    from backbeat.charts.transcribe import Modes
    from backbeat.music import Beats
    from backbeat.onset.detector import OnsetDetector

#: Two strokes of one drum that are nearer than this are looked at twice, seconds.
CLOSE_S = 0.065
#: The first of two is a grace note if its velocity is at most this share of the second's.
GRACE_SHARE = 0.95
#: Else both are strokes if the activation between them falls to this share of the lower one.
VALLEY_SHARE = 0.5


def hits_of(
    activations: NDArray[np.float32],
    spectrogram: NDArray[np.float32],
    detector: OnsetDetector,
    beats: Beats,
    modes: Modes,
) -> Onsets:
    """Find the drum hits.

    Parameters
    ----------
    activations
        Shape (frames, 21), as `OnsetDetector.activations` gives them.
    spectrogram
        Shape (frames, mel_bands): what the drums were heard in.
    detector
        Its decoder picks the peaks.
    beats
        Of the song, for `modes.rock`.
    modes
        How to judge.
    """
    _, hits = detector.decode(activations)
    return without_doubles(hits, activations[:, 1 : 1 + len(DRUMS)], detector.frame_rate_hz)


def hits_within(hits: Onsets, duration_s: float) -> Onsets:
    """Leave out what refinement has put past the end of the audio."""
    inside = hits.times_s <= duration_s
    names = [name for name, kept in zip(hits.classes, inside, strict=True) if kept]
    return Onsets(hits.times_s[inside], names, hits.velocities[inside])


def without_doubles(hits: Onsets, drum_probabilities: NDArray[np.floating], frame_rate_hz: float) -> Onsets:
    """Take out the softer of two detections of one stroke.

    Parameters
    ----------
    hits
        In order of time.
    drum_probabilities
        Shape (frames, drums), in the order of `DRUMS`.
    frame_rate_hz
        Frames a second.
    """
    kept = np.ones(len(hits), dtype=bool)
    classes = np.array(hits.classes)
    for column, name in enumerate(DRUMS):
        strokes = np.flatnonzero(classes == name)
        before: int | None = None
        for stroke in strokes.tolist():
            if before is not None and hits.times_s[stroke] - hits.times_s[before] < CLOSE_S:
                frames = np.round(hits.times_s[[before, stroke]] * frame_rate_hz).astype(np.int64)
                if not _are_two(hits.velocities[[before, stroke]], drum_probabilities[:, column], frames):
                    kept[stroke] = False
                    continue
            before = stroke
    names = [name for name, stays in zip(hits.classes, kept, strict=True) if stays]
    return Onsets(hits.times_s[kept], names, hits.velocities[kept])


def _are_two(velocities: NDArray[np.float64], probability: NDArray[np.floating], frames: NDArray[np.int64]) -> bool:
    """Whether two close detections of a drum, at two frames, are two strokes."""
    if velocities[0] <= GRACE_SHARE * velocities[1]:
        return True
    last = probability.size - 1
    between = probability[frames[0] : frames[1] + 1]
    tops = probability[np.clip(frames, 0, last)]
    return bool(between.size and between.min() <= VALLEY_SHARE * tops.min())
