"""From a recording to what can be judged of it: one decode, one spectrogram for all models, the key, the loudness.

What is here needs no model, only the front end that the models share; so it can be done in another process.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from backbeat.analysis.descriptors import Spectrum
    from backbeat.analysis.key import KeyEstimate
    from backbeat.audio import AudioLimits
    from backbeat.audio.metering import Mastering
    from backbeat.features import LogMel

#: Points of the waveform's outline, enough to look closely at seconds of a track of minutes.
OUTLINE_POINTS = 40000


@dataclass(frozen=True)
class Sound:
    """What descriptors need of a recording beside what the models hear.

    Parameters
    ----------
    mastering
        Of all channels at the file's own rate.
    spectrum
        Of the mono mix at the rate of the front end, so that it can be compared between files of any rate.
    fingerprint
        By which the recording is known again (`backbeat.audio.fingerprint`); empty where it was not asked for.
    """

    mastering: Mastering
    spectrum: Spectrum
    fingerprint: bytes = b""


@dataclass(frozen=True, eq=False)
class Heard:
    """A recording before any model has judged it.

    Parameters
    ----------
    path
        As it was named.
    duration_s, sample_rate_hz
        Of the recording.
    spectrogram
        Shape (frames, mel_bands), as the front end makes it.
    outline
        Shape (2, points): lowest and highest sample of equal stretches of the mono mix.
    key
        None where nothing tonal sounds.
    loudness_lufs
        Integrated loudness (BS.1770-4), None where it is not defined.
    warnings
        What was wrong with a file that could still be heard.
    codec
        Of the file, "mp3" say; empty for samples.
    sound
        Where descriptors were asked for.
    """

    path: str
    duration_s: float
    sample_rate_hz: int
    spectrogram: NDArray[np.float32]
    outline: NDArray[np.float32]
    key: KeyEstimate | None
    loudness_lufs: float | None
    warnings: tuple[str, ...] = ()
    codec: str = ""
    sound: Sound | None = None


def hear(
    path: Path | str,
    front_end: LogMel,
    limits: AudioLimits | None = None,
    *,
    outline_points: int = OUTLINE_POINTS,
    describe: bool = False,
    fingerprints: bool = False,
) -> Heard:
    """Decode a file, and make of it what the models hear.

    Parameters
    ----------
    path, limits
        The file, and how large and long it may be.
    front_end
        Of the models.
    outline_points
        The most that an outline of the waveform has.
    describe, fingerprints
        Whether to measure what descriptors need, and with it to take the fingerprint.

    Raises
    ------
    AudioError
        If it cannot be heard, or is over the limits.
    """
    from backbeat.audio import AudioLimits, decode

    audio = decode(
        Path(path),
        sample_rate_hz=front_end.params.sample_rate_hz,
        mono=True,
        limits=AudioLimits() if limits is None else limits,
        measure_loudness=True,
        measure_mastering=describe,
    )
    info = audio.info
    sound = None if audio.mastering is None else partial(_sound, audio.mastering, fingerprints)
    heard = _heard(audio.mono, front_end, str(path), info.sample_rate_hz, audio.loudness_lufs, outline_points, sound)
    return replace(heard, warnings=audio.warnings, codec=info.codec)


def _sound(mastering: Mastering, fingerprints: bool, mono: NDArray[np.float32], sample_rate_hz: int) -> Sound:
    """Put together what descriptors need of mono samples, shape (samples,)."""
    from backbeat.analysis.spectrum import measure_spectrum

    taken = b""
    if fingerprints:
        from backbeat.audio.fingerprint import fingerprint

        taken = fingerprint(mono, sample_rate_hz)
    return Sound(mastering, measure_spectrum(mono, sample_rate_hz), taken)


def hear_samples(
    samples: NDArray[np.float32], sample_rate_hz: int, front_end: LogMel, path: str = "", *, describe: bool = False
) -> Heard:
    """Make what the models hear, and what descriptors need, of samples, (channels, samples) or (samples,) within ±1.

    Raises
    ------
    ConfigError
        If there are no samples, or some are not finite.
    """
    from backbeat.audio import resample
    from backbeat.audio.metering import Meters
    from backbeat.audio.mixing import DEFAULT_LAYOUTS, mono_weights

    samples = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if samples.ndim != 2 or samples.size == 0:
        raise ConfigError(f"samples of shape {samples.shape} hold no audio")
    if not np.isfinite(samples).all():
        raise ConfigError("the samples hold NaN or infinity")
    channels = samples.shape[0]
    layout = DEFAULT_LAYOUTS.get(channels, ("FC",) * channels)
    rate_hz = front_end.params.sample_rate_hz
    mono = resample((mono_weights(layout) @ samples)[np.newaxis], sample_rate_hz, rate_hz)[0]
    meters = Meters(sample_rate_hz, layout, "", mastering=describe)
    meters.add(samples)
    mastering = meters.mastering()
    sound = None if mastering is None else partial(_sound, mastering, False)
    return _heard(mono, front_end, path, sample_rate_hz, meters.loudness_lufs(), OUTLINE_POINTS, sound)


def _heard(
    mono: NDArray[np.float32],
    front_end: LogMel,
    path: str,
    sample_rate_hz: int,
    lufs: float | None,
    outline_points: int,
    measure: Callable[[NDArray[np.float32], int], Sound] | None,
) -> Heard:
    """Put together what is known of mono samples at the rate of the front end, shape (samples,)."""
    from backbeat.analysis.key import estimate_key
    from backbeat.features import log_mel

    rate_hz = front_end.params.sample_rate_hz
    with ThreadPoolExecutor(1, "backbeat-key") as beside:
        key = beside.submit(estimate_key, mono, rate_hz)
        sound = None if measure is None else beside.submit(measure, mono, rate_hz)
        return Heard(
            path=path,
            duration_s=mono.size / rate_hz,
            sample_rate_hz=sample_rate_hz,
            spectrogram=log_mel(mono, front_end),
            outline=waveform_outline(mono, outline_points),
            key=key.result(),
            loudness_lufs=lufs,
            sound=None if sound is None else sound.result(),
        )


def waveform_outline(mono: NDArray[np.float32], points: int) -> NDArray[np.float32]:
    """Return the lowest and highest sample of up to `points` equal stretches, shape (2, points)."""
    edges = np.linspace(0, mono.size, min(points, max(mono.size, 1)), endpoint=False).astype(np.int64)
    return np.stack([np.minimum.reduceat(mono, edges), np.maximum.reduceat(mono, edges)])
