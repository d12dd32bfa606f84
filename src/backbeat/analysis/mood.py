"""How music feels, by rules from the literature on musical cues; a model trained on labels knows more.

Eerola, Friberg and Bresin ("Emotional expression in music: contribution, linearity, and additivity of primary musical
cues", Frontiers in Psychology 4:487, 2013) varied six cues independently and found their effects to be nearly linear
and additive, mode and tempo counting most; Juslin and Laukka ("Communication of emotions in vocal expression and music
performance", Psychological Bulletin 129, 2003, table 7) list the cues of performances. Pleasant: major, fast, detached.
Excited: fast, loud, dense, bright, detached. The order of the weights follows them, their size is a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, tanh

from backbeat.analysis.descriptors import KeyGuess, Mood

_MIDDLE_BPM, _MIDDLE_LUFS, _MIDDLE_HZ, _MIDDLE_ONSETS, _MIDDLE_DETACHED = 110.0, -16.0, 1500.0, 3.5, 0.45


@dataclass(frozen=True)
class MoodCues:
    """What mood is told by where no model tells it.

    Parameters
    ----------
    key
        With its confidence; None where nothing tonal sounds.
    tempo_bpm
        None without beats.
    loudness_lufs
        None where it is not defined.
    onsets_per_s
        Onsets a second.
    centroid_hz
        Mean of the spectral centroid.
    detachment
        0 (legato) to 1 (staccato).
    """

    key: KeyGuess | None
    tempo_bpm: float | None
    loudness_lufs: float | None
    onsets_per_s: float
    centroid_hz: float
    detachment: float


def mood_by_cues(cues: MoodCues) -> Mood:
    """Return valence and arousal by rules; a cue that is not known says nothing."""
    key = cues.key
    mode = 0.0 if key is None else key.confidence * (1.0 if key.mode == "major" else -1.0)
    tempo = 0.0 if cues.tempo_bpm is None else log2(cues.tempo_bpm / _MIDDLE_BPM)
    loudness = 0.0 if cues.loudness_lufs is None else (cues.loudness_lufs - _MIDDLE_LUFS) / 10
    brightness = log2(max(cues.centroid_hz, 1.0) / _MIDDLE_HZ)
    density = (cues.onsets_per_s - _MIDDLE_ONSETS) / 4
    detached = (cues.detachment - _MIDDLE_DETACHED) / 0.25
    valence = tanh(0.9 * mode + 0.5 * tempo + 0.15 * detached)
    arousal = tanh(0.6 * tempo + 0.55 * loudness + 0.35 * density + 0.25 * brightness + 0.15 * detached)
    return Mood(round(valence, 3), round(arousal, 3), "cues")
