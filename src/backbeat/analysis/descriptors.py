"""What can be measured of a recording beside its beats, drums and genre, in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from backbeat.analysis.result import KeyGuess
from backbeat.errors import AnnotationError


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
class Quality:
    """In what state a recording is.

    Parameters
    ----------
    clipped_share
        Share of the samples that lie in runs at full scale, 0 to 1.
    noise_floor_dbfs
        RMS of the quietest moments; None where the recording has none that are quiet.
    bandwidth_hz
        Up to where there is sound.
    lossy
        What the edge of the band says of the past: "none" that shows, or a guess such as "mp3 128 kbit/s".
    dc_offset
        Mean of the samples of the worst channel, full scale ±1.
    phase_correlation
        Of left and right, -1 to 1; None for other than two channels.
    silence_share
        Share of the time below -60 dBFS, 0 to 1.
    problems
        What stands out, in words; empty where nothing does.
    """

    clipped_share: float
    noise_floor_dbfs: float | None
    bandwidth_hz: float
    lossy: str
    dc_offset: float
    phase_correlation: float | None
    silence_share: float
    problems: tuple[str, ...] = ()


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
