"""From a recording to its descriptors, the vectors by which it is found, and its fingerprint.

`describe` puts descriptors together of what was heard and judged; `Describer` takes a file all the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.analyzer import Analyzer, Evidence
from backbeat.analysis.descriptors import Descriptors
from backbeat.analysis.energy import EnergyCues, energy_of
from backbeat.analysis.hearing import Heard, hear
from backbeat.analysis.mood import MoodCues, mood_by_cues
from backbeat.analysis.pulse import detachment, onset_curve, pulse_clarity, swing_of
from backbeat.analysis.result import Analysis
from backbeat.errors import ConfigError
from backbeat.files import sha256_file
from backbeat.music import Key

if TYPE_CHECKING:
    from backbeat.audio import AudioLimits
    from backbeat.pairing.model import PairingModel


@dataclass(frozen=True, eq=False)
class Described:
    """All that a catalogue keeps of a recording.

    Parameters
    ----------
    analysis
        Of the recording; its `descriptors` are those below.
    descriptors
        What was measured of it.
    vectors
        By space: "genre:HASH", and "pairing:HASH", as a beat, where there is a model for pairing.
    take_vector
        The vector of pairing as a take, shape (length,); None without a model for pairing.
    fingerprint
        By which the recording is known again; empty where it was not asked for.
    sha256
        Of the file, in hexadecimal.
    """

    analysis: Analysis
    descriptors: Descriptors
    vectors: Mapping[str, NDArray[np.float32]]
    take_vector: NDArray[np.float32] | None
    fingerprint: bytes
    sha256: str


class Describer:
    """Describes recordings.

    Parameters
    ----------
    analyzer
        Its models listen; the genre model's embedding is a vector.
    pairing
        The model that finds beats to takes; None for none.
    fingerprints
        Whether to take fingerprints.

    Raises
    ------
    ModelError
        If the model for pairing was trained on another front end.
    """

    def __init__(self, analyzer: Analyzer, pairing: PairingModel | None = None, fingerprints: bool = True) -> None:
        analyzer.check_front_end(*([] if pairing is None else [pairing.spec]))
        self._analyzer, self._pairing, self._fingerprints = analyzer, pairing, fingerprints

    @classmethod
    def load(cls, models: Mapping[str, Path] | None = None) -> Describer:
        """Load models: folders by task, "pairing" among them; those that ship where none is given.

        Raises
        ------
        ConfigError
            If a task is unknown.
        ModelError
            If a model is missing, damaged or made for something else.
        """
        folders = dict(models or {})
        pairing = folders.pop("pairing", None) or shipped_pairing()
        analyzer = Analyzer.load(folders)
        if pairing is None:
            return cls(analyzer)
        from backbeat.pairing.model import PairingModel

        return cls(analyzer, PairingModel.from_folder(Path(pairing)))

    def describe(self, path: Path | str, limits: AudioLimits | None = None) -> Described:
        """Describe a file.

        Raises
        ------
        AudioError
            If it cannot be heard, or is over the limits.
        """
        heard = hear(path, self._analyzer.front_end, limits, describe=True, fingerprints=self._fingerprints)
        analysis, evidence = self._analyzer.judge(heard)
        descriptors = describe(heard, analysis, evidence)
        vectors = {self._analyzer.space: evidence.embedding}
        take = None
        if self._pairing is not None:
            vectors[self._pairing.space] = self._pairing.embed_beat(heard.spectrogram)
            take = self._pairing.embed_take(heard.spectrogram)
        return Described(
            analysis=replace(analysis, descriptors=descriptors),
            descriptors=descriptors,
            vectors=vectors,
            take_vector=take,
            fingerprint=heard.sound.fingerprint if heard.sound else b"",
            sha256=sha256_file(Path(path)),
        )


def shipped_pairing() -> Path | None:
    """Return the folder of the model for pairing that comes with the package; None where none does."""
    folder = Path(__file__).resolve().parent.parent / "weights" / "pairing"
    return folder if folder.is_dir() else None


def describe(heard: Heard, analysis: Analysis, evidence: Evidence) -> Descriptors:
    """Put together the descriptors of a recording that was heard with `describe`, and judged.

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
    return Descriptors(
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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
