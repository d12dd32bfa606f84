"""Descriptors of a recording, put together of what was measured of its sound and what the models heard in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backbeat.analysis.descriptors import Descriptors
from backbeat.analysis.energy import EnergyCues, energy_of
from backbeat.analysis.mood import MoodCues, mood_by_cues
from backbeat.analysis.pulse import detachment, onset_curve, pulse_clarity, swing_of
from backbeat.errors import ConfigError
from backbeat.music import Key

if TYPE_CHECKING:
    from backbeat.analysis.analyzer import Evidence
    from backbeat.analysis.hearing import Heard
    from backbeat.analysis.mood_model import MoodModel
    from backbeat.analysis.result import Analysis


def descriptors_of(
    heard: Heard, analysis: Analysis, evidence: Evidence, mood_model: MoodModel | None = None
) -> Descriptors:
    """Put together the descriptors of a recording that was heard with `describe`, and judged.

    The mood is told by a model where one is given, or else by rules.

    Raises
    ------
    ConfigError
        If it was heard without.
    """
    if heard.sound is None:
        raise ConfigError("what was heard was not measured for descriptors: hear it with describe=True")
    mastering, spectrum = heard.sound.mastering, heard.sound.spectrum
    rate_hz = evidence.onset_rate_hz
    onsets_s = np.array([onset.time_s for onset in analysis.onsets])
    strengths = np.array([onset.strength for onset in analysis.onsets])
    beats_s = np.array([beat.time_s for beat in analysis.beats])
    onsets_per_s = onsets_s.size / analysis.duration_s
    centroid_hz, key = spectrum.centroid_hz[0], analysis.key
    detached = detachment(heard.spectrogram, onsets_s, rate_hz)
    energy = energy_of(EnergyCues(analysis.loudness_lufs, onsets_per_s, centroid_hz, spectrum.flux[0]))
    mood = mood_by_cues(MoodCues(key, analysis.tempo_bpm, analysis.loudness_lufs, onsets_per_s, centroid_hz, detached))
    found = Descriptors(
        tempo_bpm=analysis.tempo_bpm,
        time_signature=analysis.time_signature,
        key=key,
        camelot=None if key is None else Key(key.tonic, key.mode).camelot,
        energy=round(energy, 4),
        loudness_lufs=analysis.loudness_lufs,
        loudness_range_lu=_rounded(mastering.loudness_range_lu),
        true_peak_dbtp=_rounded(mastering.true_peak_dbtp),
        pulse_clarity=round(pulse_clarity(onset_curve(heard.spectrogram), rate_hz), 4),
        swing=swing_of(beats_s, onsets_s, strengths),
        mood=mood,
        spectrum=spectrum,
        quality=mastering.quality,
    )
    return found if mood_model is None else replace(found, mood=mood_model.mood(found, evidence.embedding))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
