"""From activations to the strokes of each drum: peaks, doubled detections taken out, flams and rolls left in.

A drummer has two hands: of more strokes of the hands at one moment the two surest are kept. Toms sound alike, so of
several at once only the surest is kept.

Two strokes of one drum that are heard close together are a flam or a roll, or one stroke that was detected twice: its
stick and its room, say. What tells them apart, on rendered music with known strokes:

* nobody plays two strokes within `FASTEST_S` on a cymbal or with one foot; on snare and toms a flam's grace note comes
  so soon before the stroke, and is softer than it;
* between two strokes the activation falls nearly to nothing, since each has an attack of its own;
* a stroke that follows a harder one is heard about as surely as that; what only follows from it is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.music import DRUMS, Onsets

if TYPE_CHECKING:
    from backbeat.charts.transcription.transcribe import Modes
    from backbeat.music import Beats
    from backbeat.onset.detector import OnsetDetector

_DRUM_COLUMNS = slice(1, 1 + len(DRUMS))
_HIHATS = [DRUMS.index(name) for name in ("hihat_closed", "hihat_open", "hihat_pedal")]

#: What is struck with the hands, and the toms among it.
HANDS: frozenset[str] = frozenset(DRUMS) - {"kick", "hihat_pedal"}
TOMS: frozenset[str] = frozenset({"tom_high", "tom_mid", "tom_low"})
#: Strokes within this of the first are struck at once, seconds.
AT_ONCE_S = 0.02

#: Two strokes of one drum that are nearer than this are looked at twice, seconds.
CLOSE_S = 0.065
#: No two strokes on what has no flams are nearer than this, seconds.
FASTEST_S = 0.04
FLAMMED: frozenset[str] = frozenset({"snare", "tom_high", "tom_mid", "tom_low"})
#: The first of two on a drum with flams is a grace note if its velocity is at most this share of the second's.
GRACE_SHARE = 0.85
#: Between two strokes the activation falls to this share of the lower one, or to the other one after a grace note.
VALLEY_SHARE = 0.25
GRACE_VALLEY_SHARE = 0.85
#: A stroke that is no harder than the one before it has at least this share of its activation.
SURE_SHARE = 0.84


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
    from backbeat.charts.transcription.modes import MULTI_SCALE_THRESHOLDS
    from backbeat.onset.decode import decode_onsets
    from backbeat.onset.detector import split_outputs

    rate_hz = detector.frame_rate_hz
    if modes.advanced_features:
        hits = _judged(activations, spectrogram, rate_hz, beats if modes.rock else None)
    else:
        if modes.rock:
            activations = _swayed(activations, rate_hz, beats)
        decoding = detector.decoding
        if modes.multi_scale:
            scaled = {name: share * MULTI_SCALE_THRESHOLDS for name, share in decoding.thresholds.items()}
            decoding = replace(decoding, thresholds=scaled)
        _, hits = decode_onsets(*split_outputs(activations), rate_hz, decoding)
    probabilities = activations[:, _DRUM_COLUMNS]
    hits = without_doubles(hits, probabilities, rate_hz)
    thresholds = np.array([detector.decoding.thresholds[name] for name in DRUMS])
    return in_two_hands(hits, probabilities / thresholds, rate_hz)


def _swayed(activations: NDArray[np.float32], rate_hz: float, beats: Beats) -> NDArray[np.float32]:
    from backbeat.charts.transcription.modes_rock import leaned

    swayed = activations.copy()
    swayed[:, _DRUM_COLUMNS] = leaned(activations[:, _DRUM_COLUMNS], np.arange(len(activations)) / rate_hz, beats)
    return swayed


def _judged(
    activations: NDArray[np.float32], spectrogram: NDArray[np.float32], rate_hz: float, beats: Beats | None
) -> Onsets:
    """Let the stroke classifier say what is struck at each moment; beats are for a rock drummer's habits."""
    from backbeat.charts.transcription.classify import (
        describe,
        moments_of,
        shipped_classifier,
        stroke_times_s,
        velocities_at,
    )
    from backbeat.charts.transcription.modes_rock import leaned

    moments = moments_of(activations)
    if moments.size == 0:
        return Onsets(np.empty(0))
    classifier = shipped_classifier()
    likely = classifier.probabilities(describe(spectrogram, activations, moments))
    if beats is not None:
        likely = leaned(likely, moments / rate_hz, beats)
    return struck(
        likely,
        np.array([classifier.spec.thresholds[name] for name in DRUMS]),
        stroke_times_s(activations, moments, rate_hz),
        velocities_at(activations, moments),
    )


def struck(
    likely: NDArray[np.floating],
    thresholds: NDArray[np.floating],
    times_s: NDArray[np.float64],
    velocities: NDArray[np.floating],
) -> Onsets:
    """Return the drums that are likely enough; of a moment's hi-hats only the surest, since one pair sounds at a time.

    All but the thresholds, shape (drums,), are of shape (moments, drums).
    """
    certainty = likely / thresholds
    chosen = certainty >= 1
    surest = certainty[:, _HIHATS].argmax(axis=1)
    chosen[:, _HIHATS] &= np.arange(len(_HIHATS)) == surest[:, None]
    moments, drums = np.nonzero(chosen)
    order = np.lexsort((drums, times_s[moments, drums]))
    moments, drums = moments[order], drums[order]
    return Onsets(
        times_s[moments, drums],
        [DRUMS[number] for number in drums],
        np.clip(velocities[moments, drums], 1e-3, 1.0).astype(np.float64),
    )


def hits_within(hits: Onsets, duration_s: float) -> Onsets:
    """Leave out what refinement has put past the end of the audio."""
    inside = hits.times_s <= duration_s
    return _those(hits, inside)


def in_two_hands(hits: Onsets, sureness: NDArray[np.floating], frame_rate_hz: float) -> Onsets:
    """Keep what two hands can strike at once.

    Parameters
    ----------
    hits
        In order of time.
    sureness
        Shape (frames, drums), in the order of `DRUMS`: the greater, the surer is a stroke.
    frame_rate_hz
        Frames a second.
    """
    kept = np.ones(len(hits), dtype=bool)
    by_hand = [index for index, name in enumerate(hits.classes) if name in HANDS]
    frames = np.clip(np.round(hits.times_s * frame_rate_hz).astype(np.int64), 0, len(sureness) - 1)

    def how_sure(index: int) -> float:
        around = sureness[max(0, frames[index] - 1) : frames[index] + 2, DRUMS.index(hits.classes[index])]
        return float(around.max())

    times_s = hits.times_s[by_hand]
    first = 0
    while first < len(by_hand):
        last = int(np.searchsorted(times_s, times_s[first] + AT_ONCE_S, side="right"))
        together, first = by_hand[first:last], last
        if len(together) < 2:
            continue
        surest = sorted(together, key=how_sure, reverse=True)
        toms = [index for index in surest if hits.classes[index] in TOMS]
        played = [index for index in surest if index not in toms[1:]][:2]
        kept[[index for index in together if index not in played]] = False
    return _those(hits, kept)


def without_doubles(hits: Onsets, drum_probabilities: NDArray[np.floating], frame_rate_hz: float) -> Onsets:
    """Take out the less sure one of two detections of one stroke.

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
        frames = np.round(hits.times_s[strokes] * frame_rate_hz).astype(np.int64)
        frames = np.clip(frames, 0, len(drum_probabilities) - 1)
        before = 0
        for number in range(1, strokes.size):
            pair = [before, number]
            moments_s, velocities = hits.times_s[strokes[pair]], hits.velocities[strokes[pair]]
            activation = drum_probabilities[frames[before] : frames[number] + 1, column]
            if moments_s[1] - moments_s[0] >= CLOSE_S or _are_two(name, moments_s, velocities, activation):
                before = number
                continue
            kept[strokes[before if activation[-1] > activation[0] else number]] = False
            before = number if activation[-1] > activation[0] else before
    return _those(hits, kept)


def _are_two(
    drum: str, moments_s: NDArray[np.float64], velocities: NDArray[np.float64], activation: NDArray[np.floating]
) -> bool:
    """Whether two close detections of a drum are two strokes; `activation` is that from the one to the other."""
    if drum not in FLAMMED and moments_s[1] - moments_s[0] < FASTEST_S:
        return False
    first, second = float(activation[0]), float(activation[-1])
    valley = float(activation.min()) / max(min(first, second), 1e-9)
    if velocities[0] < velocities[1]:
        is_grace = drum in FLAMMED and velocities[0] <= GRACE_SHARE * velocities[1]
        return valley <= (GRACE_VALLEY_SHARE if is_grace else VALLEY_SHARE)
    return valley <= VALLEY_SHARE and second >= SURE_SHARE * first


def _those(hits: Onsets, chosen: NDArray[np.bool_]) -> Onsets:
    names = [name for name, wanted in zip(hits.classes, chosen, strict=True) if wanted]
    return Onsets(hits.times_s[chosen], names, hits.velocities[chosen])
