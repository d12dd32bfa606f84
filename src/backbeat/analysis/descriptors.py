"""What can be measured of a recording beside its beats, drums and genre, in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from backbeat.analysis.schema import NUMBER, SHARE, TEXT, nullable, numbers, object_of
from backbeat.audio.quality import Quality
from backbeat.errors import AnnotationError
from backbeat.music.theory import MODES, TONICS

__all__ = ["KEY_SCHEMA", "Descriptors", "KeyGuess", "Mood", "Quality", "Spectrum", "descriptors_schema"]


@dataclass(frozen=True)
class KeyGuess:
    """A key and the probability that `backbeat.analysis.key` gives it."""

    tonic: str
    mode: str
    confidence: float


@dataclass(frozen=True)
class Spectrum:
    """Mean and standard deviation over time of measures of the spectrum of the mono mix.

    Parameters
    ----------
    centroid_hz, bandwidth_hz, rolloff_hz
        Pairs; the roll-off is where 85 % of the magnitude lies below.
    flatness
        Pair, 0 (a tone) to 1 (noise).
    flux
        Pair, the rise of the magnitude spectrum from frame to frame, relative to its sum.
    contrast_db
        Peaks over valleys in octave bands from 200 Hz down and up: means, one a band.
    mfcc_mean, mfcc_std
        Of 20 mel-frequency cepstral coefficients.
    """

    centroid_hz: tuple[float, float]
    bandwidth_hz: tuple[float, float]
    rolloff_hz: tuple[float, float]
    flatness: tuple[float, float]
    flux: tuple[float, float]
    contrast_db: tuple[float, ...]
    mfcc_mean: tuple[float, ...]
    mfcc_std: tuple[float, ...]


@dataclass(frozen=True)
class Mood:
    """How music feels: pleasant or not, excited or calm, each -1 to 1.

    `source` says who tells: "model", one that was trained on labels, or "cues", rules from the literature on musical
    cues (mode, tempo, loudness, brightness), which know less.
    """

    valence: float
    arousal: float
    source: Literal["model", "cues"]


@dataclass(frozen=True)
class Descriptors:
    """What was measured of one recording.

    Parameters
    ----------
    tempo_bpm, time_signature, key
        As in `Analysis`.
    camelot
        The key's place on the circle of fifths as disc jockeys write it, "8A" for A minor; None without a key.
    energy
        How energetic it is, 0 to 1.
    loudness_lufs, loudness_range_lu, true_peak_dbtp
        ITU-R BS.1770-4 and EBU Tech 3342; None where they are not defined.
    pulse_clarity
        How clear and steady the pulse is, as one could dance to it, 0 to 1.
    swing
        Where the second of two halves of a beat falls, 0.5 even to 0.67 triplets; None where it cannot be told.
    mood, spectrum, quality
        See there.
    """

    tempo_bpm: float | None
    time_signature: str | None
    key: KeyGuess | None
    camelot: str | None
    energy: float
    loudness_lufs: float | None
    loudness_range_lu: float | None
    true_peak_dbtp: float | None
    pulse_clarity: float
    swing: float | None
    mood: Mood
    spectrum: Spectrum
    quality: Quality

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain values for JSON."""
        found: dict[str, Any] = _lists(asdict(self))
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Descriptors:
        """Read what `to_dict` gave; AnnotationError where something is missing or malformed."""
        try:
            key, found = values["key"], dict(values)
            found["key"] = None if key is None else KeyGuess(**key)
            found["mood"] = Mood(**values["mood"])
            found["spectrum"] = Spectrum(**{name: tuple(value) for name, value in values["spectrum"].items()})
            quality = dict(values["quality"])
            found["quality"] = Quality(**{**quality, "problems": tuple(quality["problems"])})
            return cls(**found)
        except (KeyError, TypeError, AttributeError) as error:
            raise AnnotationError(f"malformed descriptors: {error}") from None


def _lists(value: Any) -> Any:
    """Return nested values with lists in place of tuples, as JSON has them."""
    if isinstance(value, dict):
        return {name: _lists(one) for name, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, tuple | list) else value


#: JSON Schema of `KeyGuess`.
KEY_SCHEMA = object_of({"tonic": {"enum": list(TONICS)}, "mode": {"enum": list(MODES)}, "confidence": SHARE})


def descriptors_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `Descriptors.to_dict`."""
    feeling = {"type": "number", "minimum": -1, "maximum": 1}
    pair = numbers(2)
    spectrum = dict.fromkeys(("centroid_hz", "bandwidth_hz", "rolloff_hz", "flatness", "flux"), pair)
    quality = {
        "clipped_share": SHARE,
        "noise_floor_dbfs": nullable(NUMBER),
        "bandwidth_hz": {"type": "number", "minimum": 0},
        "lossy": TEXT,
        "dc_offset": NUMBER,
        "phase_correlation": nullable(feeling),
        "silence_share": SHARE,
        "problems": {"type": "array", "items": TEXT},
    }
    return object_of(
        {
            "tempo_bpm": nullable({"type": "number", "exclusiveMinimum": 0}),
            "time_signature": nullable(TEXT),
            "key": nullable(KEY_SCHEMA),
            "camelot": nullable({"type": "string", "pattern": "^([1-9]|1[0-2])[AB]$"}),
            "energy": SHARE,
            "loudness_lufs": nullable(NUMBER),
            "loudness_range_lu": nullable({"type": "number", "minimum": 0, "description": "EBU Tech 3342"}),
            "true_peak_dbtp": nullable({"type": "number", "description": "ITU-R BS.1770-4, annex 2"}),
            "pulse_clarity": SHARE,
            "swing": nullable({**SHARE, "description": "where the second half of a beat falls; 0.5 is even"}),
            "mood": object_of({"valence": feeling, "arousal": feeling, "source": {"enum": ["model", "cues"]}}),
            "spectrum": object_of(
                {**spectrum, "contrast_db": numbers(1, 16), "mfcc_mean": numbers(20), "mfcc_std": numbers(20)}
            ),
            "quality": object_of(quality),
        }
    )
