"""The music that a chart is played to, and a taste of it.

Sample 0 of what is written is sample 0 of what `backbeat.audio.decode` hears in the source, at the source's own rate:
encoder delays are off on both sides, so the times of a chart hold for its music to the sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbeat.audio import AudioLimits, decode, probe
from backbeat.audio.encode import AudioWriter
from backbeat.audio.mixing import stereo_weights
from backbeat.charts.chart import Chart
from backbeat.errors import ConfigError

#: Ogg Vorbis goes to 200 kHz; what is above is resampled to this.
_HIGHEST_RATE_HZ, _INSTEAD_HZ = 200_000, 48_000
#: A louder mix is brought down to this peak, -1 dB: what a lossy codec adds then stays below full scale, where some
#: players clip and others wrap (AES TD1004, on the loudness of streams, asks for as much).
_PEAK = 10 ** (-1 / 20)
_BLOCK_SAMPLES = 1 << 17

PREVIEW_S = 20.0
_FADE_IN_S, _FADE_OUT_S = 0.5, 2.0
_STEP_S = 0.1


@dataclass(frozen=True, eq=False)
class Mix:
    """Decoded parts that sound together.

    Parameters
    ----------
    parts
        Of each part its samples, shape (channels, samples), and its weights in the stereo mix, shape (2, channels).
        Parts may differ in length; the mix is as long as the longest.
    sample_rate_hz
        Of all of them.
    gain
        What the sum is multiplied by.
    """

    parts: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    sample_rate_hz: int
    gain: float = 1.0

    @property
    def length(self) -> int:
        """Samples of the longest part."""
        return max(int(samples.shape[1]) for samples, _ in self.parts)

    @property
    def duration_s(self) -> float:
        """Seconds of the longest part."""
        return self.length / self.sample_rate_hz

    def read(self, first: int, last: int) -> NDArray[np.float32]:
        """Return the mix from one sample to another, shape (2, samples), both within its length."""
        mixed = np.zeros((2, last - first), np.float32)
        for samples, weights in self.parts:
            piece = samples[:, first:last]
            mixed[:, : piece.shape[1]] += weights @ piece
        mixed *= np.float32(self.gain)
        return mixed

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Give the whole mix in blocks, so that memory stays flat where the parts are mapped from a file."""
        for first in range(0, self.length, _BLOCK_SAMPLES):
            yield self.read(first, min(first + _BLOCK_SAMPLES, self.length))


def mixed(parts: Sequence[Path], *, limits: AudioLimits | None = None, spool: Path | None = None) -> Mix:
    """Decode a song, or the stems that make one up, to what is heard of them together.

    The mix is stereo: one channel goes to both sides, surround is mixed as ITU-R BS.775 says. It is at the rate of the
    first part, to which others are resampled. Where its peak is above -1 dB of full scale, all is turned down to that.

    Parameters
    ----------
    parts
        Files, at least one; they begin together.
    limits
        For each of them.
    spool
        A folder for nameless temporary files in which the samples are kept instead of in memory: for hours of audio.

    Raises
    ------
    ConfigError
        If there are no parts.
    AudioError
        If one cannot be heard, or is over the limits; silence is music too.
    """
    if not parts:
        raise ConfigError("there is nothing to mix: name a song or its stems")
    limits = AudioLimits() if limits is None else limits
    rate_hz = probe(parts[0]).sample_rate_hz
    rate_hz = rate_hz if rate_hz <= _HIGHEST_RATE_HZ else _INSTEAD_HZ
    heard = [decode(path, sample_rate_hz=rate_hz, limits=limits, allow_silence=True, spool=spool) for path in parts]
    mix = Mix(tuple((audio.samples, stereo_weights(audio.info.channel_names)) for audio in heard), rate_hz)
    peak = max((float(np.abs(block).max()) for block in mix.blocks()), default=0.0)
    return mix if peak <= _PEAK else Mix(mix.parts, rate_hz, _PEAK / peak)


def write_backing(path: Path, mix: Mix) -> None:
    """Write the whole mix, atomically; the suffix of `path` chooses the format, `.ogg` being Ogg Vorbis."""
    with AudioWriter(path, 2, mix.sample_rate_hz) as writer:
        for block in mix.blocks():
            writer.write(block)


def write_preview(path: Path, mix: Mix, chart: Chart, length_s: float = PREVIEW_S) -> float:
    """Write a stretch of the mix that shows the song at its fullest, faded in and out, atomically.

    Returns
    -------
    Where it begins in the song, seconds, as `preview_start_s` chooses.
    """
    start_s = preview_start_s(mix, chart, length_s)
    first = round(start_s * mix.sample_rate_hz)
    stretch = mix.read(first, min(mix.length, first + round(length_s * mix.sample_rate_hz)))
    with AudioWriter(path, 2, mix.sample_rate_hz) as writer:
        writer.write(stretch * _fades(stretch.shape[1], mix.sample_rate_hz))
    return start_s


def preview_start_s(mix: Mix, chart: Chart, length_s: float = PREVIEW_S) -> float:
    """Return where the preview begins, seconds.

    Of the stretches that begin with a bar, it is the one with the greatest sum of two shares: its strokes against those
    of the stretch with most, and its power against that of the loudest. The earliest wins where several are alike; a
    song that is no longer than the preview is heard from its start.
    """
    starts_s = chart.starts_s[:-1]
    starts_s = starts_s[starts_s <= mix.duration_s - length_s]
    if starts_s.size == 0:
        return 0.0
    times_s = chart.strokes().times_s
    strokes = np.searchsorted(times_s, starts_s + length_s) - np.searchsorted(times_s, starts_s)
    passed = _energy(mix)
    first = np.round(starts_s / _STEP_S).astype(np.int64)
    last = np.minimum(first + round(length_s / _STEP_S), passed.size - 1)
    power = passed[last] - passed[first]
    score = strokes / max(1, int(strokes.max())) + power / max(float(power.max()), 1e-12)
    return float(starts_s[int(np.argmax(np.round(score, 6)))])


def _energy(mix: Mix) -> NDArray[np.float64]:
    """Return the energy up to each step of `_STEP_S`, shape (steps + 1,)."""
    step = max(1, round(_STEP_S * mix.sample_rate_hz))
    edges = range(0, mix.length, step)
    energies = [float(np.square(mix.read(first, min(first + step, mix.length))).sum()) for first in edges]
    return np.concatenate([[0.0], np.cumsum(energies)])


def _fades(length: int, rate_hz: int) -> NDArray[np.float32]:
    """Return the gain of each sample of a preview: raised cosines at both ends, shape (length,)."""
    gains = np.ones(length)
    for fade_s, backwards in ((_FADE_IN_S, False), (_FADE_OUT_S, True)):
        count = min(round(fade_s * rate_hz), length // 2)
        ramp = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, count))
        if backwards:
            gains[length - count :] *= ramp[::-1]
        else:
            gains[:count] *= ramp
    return gains.astype(np.float32)
