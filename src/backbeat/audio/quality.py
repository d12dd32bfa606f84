"""In what state a recording is: clipped, noisy, cut off in the treble, offset, out of phase, silent; in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.bandwidth import band_of
from backbeat.errors import ConfigError

#: Frames are as near to this length as a power of two comes.
_FRAME_S = 0.045
#: Full scale, less what rounding to 16 bits may take, and how many samples stay there when a wave is cut off: the top
#: of a sine of 200 Hz that just reaches it is shorter.
_FULL_SCALE = 1 - 1.5 / 32768
_RUN_SAMPLES = 3
#: Below is silence.
_SILENT_DBFS = -60.0
#: What 16 bits without dither leave is at -98 dBFS; below that, silence is of numbers, and tells of no noise.
_DIGITAL_DBFS = -100.0
#: Moments are quiet that are so much below the loud ones (the 95th percentile of levels), and the quietest are those at
#: the 5th percentile.
_QUIET_DB = -30.0
_LOUD_PERCENTILE, _QUIET_PERCENTILE = 95.0, 5.0
#: Noise is there all the time: quietest moments whose levels differ by more are the ends of notes.
_STEADY_DB = 2.0
_STEADY_PERCENTILES = (1.0, 8.0)

_CLIPPED_SHARE, _NOISY_DBFS, _OFFSET, _OUT_OF_PHASE, _MOSTLY_SILENT = 1e-4, -55.0, 0.01, -0.3, 0.5


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


class QualityMeter:
    """Measures the quality of audio that arrives in blocks.

    Parameters
    ----------
    sample_rate_hz, channels
        Of the audio.
    codec
        Of its file, as `AudioInfo` has it; empty where it is not known.
    """

    def __init__(self, sample_rate_hz: int, channels: int, codec: str = "") -> None:
        self._rate_hz, self._codec = sample_rate_hz, codec
        self._frame = 1 << max(4, round(np.log2(_FRAME_S * sample_rate_hz)))
        self._window = np.hanning(self._frame + 1)[:-1].astype(np.float32)
        self._waiting = np.zeros((channels, 0), np.float32)
        self._samples = 0
        self._sum = np.zeros(channels)
        self._products = np.zeros((channels, channels))
        self._levels: list[NDArray[np.float64]] = []
        self._power = np.zeros(self._frame // 2 + 1)
        self._frames = 0
        self._clipping = [_Runs() for _ in range(channels)]

    def add(self, samples: NDArray[np.floating]) -> None:
        """Take the next samples, shape (channels, samples), full scale ±1."""
        block = samples.astype(np.float32, copy=False)
        if block.ndim != 2 or block.shape[0] != self._sum.size:
            raise ConfigError(f"a block of shape {block.shape} does not have {self._sum.size} channels")
        self._samples += block.shape[1]
        self._sum += block.sum(axis=1, dtype=np.float64)
        self._products += np.einsum("an,bn->ab", block, block)
        for runs, channel in zip(self._clipping, block, strict=True):
            runs.add(channel)
        joined = np.concatenate([self._waiting, block], axis=1)
        whole = joined.shape[1] // self._frame
        if whole:
            self._add_frames(joined[:, : whole * self._frame].reshape(joined.shape[0], whole, self._frame))
        self._waiting = joined[:, whole * self._frame :]

    def _add_frames(self, frames: NDArray[np.float32]) -> None:
        """Take whole frames, shape (channels, frames, samples)."""
        from scipy.fft import rfft

        mean = frames.mean(axis=2)
        square = np.einsum("cfn,cfn->cf", frames, frames) / self._frame
        # What is offset is not heard.
        self._levels.append(np.max(square - np.square(mean), axis=0).astype(np.float64))
        # The channels in turn: as telling as all of them, and quicker.
        count = frames.shape[1]
        turns = (self._frames + np.arange(count)) % frames.shape[0]
        spectrum = rfft(frames[turns, np.arange(count)] * self._window, axis=1)
        self._power += (np.square(spectrum.real) + np.square(spectrum.imag)).sum(axis=0)
        self._frames += count

    def quality(self) -> Quality:
        """Return the quality of all that was added; ConfigError where that was nothing."""
        if not self._samples:
            raise ConfigError("there are no samples to judge the quality of")
        if not self._frames:  # shorter than one: its end is silence
            short = np.pad(self._waiting, ((0, 0), (0, self._frame - self._waiting.shape[1])))
            self._add_frames(short[:, np.newaxis])
        levels_db = 10 * np.log10(np.maximum(np.concatenate(self._levels), 1e-20))
        # The power of a full-scale sine is 0 dB in its bin.
        power = self._power / self._frames / (self._window.sum() / 2) ** 2
        band = band_of(10 * np.log10(np.maximum(power, 1e-20)), self._rate_hz, self._codec)
        clipped = sum(runs.clipped() for runs in self._clipping) / (self._samples * self._sum.size)
        offset = self._sum / self._samples
        worst = float(offset[np.argmax(np.abs(offset))])
        floor_dbfs, is_steady = _noise_floor(levels_db)
        found = Quality(
            clipped_share=round(clipped, 7),
            noise_floor_dbfs=floor_dbfs,
            bandwidth_hz=round(band.edge_hz),
            lossy=band.history,
            dc_offset=round(worst, 6),
            phase_correlation=self._phase_correlation(),
            silence_share=round(float(np.mean(levels_db < _SILENT_DBFS)), 4),
        )
        return Quality(**{**vars(found), "problems": problems(found, is_steady)})

    def _phase_correlation(self) -> float | None:
        if self._sum.size != 2:
            return None
        power = self._products[0, 0] * self._products[1, 1]
        return round(float(self._products[0, 1] / np.sqrt(power)), 4) if power > 0 else None


class _Runs:
    """Counts the samples of one channel that lie in runs at full scale, across blocks."""

    def __init__(self) -> None:
        self._clipped = 0
        self._open = 0  # length of the run that the last block ended in, its sign with it

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples, shape (samples,)."""
        if not samples.size:
            return
        if samples.max() < _FULL_SCALE and samples.min() > -_FULL_SCALE:
            self._close()
            return
        state = (samples >= _FULL_SCALE).astype(np.int8) - (samples <= -_FULL_SCALE)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(state)) + 1])
        lengths = np.diff(np.concatenate([starts, [state.size]])) * state[starts].astype(np.int64)
        if self._open and np.sign(self._open) == np.sign(lengths[0]):
            lengths[0] += self._open
        else:
            self._close()
        self._open = int(lengths[-1])
        whole = np.abs(lengths[:-1])
        self._clipped += int(whole[whole >= _RUN_SAMPLES].sum())

    def _close(self) -> None:
        if abs(self._open) >= _RUN_SAMPLES:
            self._clipped += abs(self._open)
        self._open = 0

    def clipped(self) -> int:
        """Return how many there are, once all were added."""
        self._close()
        return self._clipped


def _noise_floor(levels_db: NDArray[np.float64]) -> tuple[float | None, bool]:
    """Return the level of the quietest moments that hold more than nothing, and whether it is steady as noise is.

    None where none is quiet.
    """
    sounding = levels_db[levels_db > _DIGITAL_DBFS]
    if sounding.size == 0:
        return None, False
    percentiles = (_QUIET_PERCENTILE, _LOUD_PERCENTILE, *_STEADY_PERCENTILES)
    quiet, loud, low, high = np.percentile(sounding, percentiles)
    if quiet >= loud + _QUIET_DB:
        return None, False
    return round(float(quiet), 1), bool(high - low < _STEADY_DB)


def problems(quality: Quality, noise_is_steady: bool) -> tuple[str, ...]:
    """Say in words what stands out of measures that were taken; what is not steady is no noise."""
    said: list[str] = []
    if quality.clipped_share > _CLIPPED_SHARE:
        said.append(f"clipped: {100 * quality.clipped_share:.2g} % of the samples stay at full scale")
    floor_dbfs = quality.noise_floor_dbfs
    if floor_dbfs is not None and floor_dbfs > _NOISY_DBFS and noise_is_steady:
        said.append(f"noisy: the quietest moments are at {floor_dbfs:.0f} dBFS")
    if quality.lossy != "none":
        said.append(
            f"cut off at {quality.bandwidth_hz / 1000:.1f} kHz, as {quality.lossy} or a lower sampling rate would"
        )
    if abs(quality.dc_offset) > _OFFSET:
        said.append(f"offset by {100 * quality.dc_offset:+.1f} % of full scale")
    if quality.phase_correlation is not None and quality.phase_correlation < _OUT_OF_PHASE:
        said.append(f"out of phase: left and right correlate by {quality.phase_correlation:.2f}, and mono loses sound")
    if quality.silence_share > _MOSTLY_SILENT:
        said.append(f"silent for {100 * quality.silence_share:.0f} % of the time")
    return tuple(said)


def measure_quality(samples: NDArray[np.floating], sample_rate_hz: int) -> Quality:
    """Return the quality of samples, shape (channels, samples) or (samples,), full scale ±1."""
    samples = np.atleast_2d(samples)
    meter = QualityMeter(sample_rate_hz, samples.shape[0])
    meter.add(samples)
    return meter.quality()
