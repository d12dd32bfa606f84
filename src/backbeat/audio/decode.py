"""Files to waveforms: one call that hears anything, or says in one line why it cannot."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.limits import AudioLimits
from backbeat.audio.metering import Mastering, Meters
from backbeat.audio.mixing import CANCELLED_DB, StreamResampler, mono_weights
from backbeat.audio.opening import open_file
from backbeat.audio.probe import AudioInfo, Source, inspect
from backbeat.audio.readers import read_blocks
from backbeat.errors import ConfigError, DamagedAudioError, SilentAudioError

#: Below this peak, in dB of full scale and around its mean, a file is silent: one bit of 16 is -90.3 dB.
SILENCE_DB = -90.0
#: What is left of a truncated file is worth hearing from here on.
MIN_HEARD_S = 1.0
#: How much shorter than its header a file may be: one frame, since some encoders count theirs wrong, …
TRUNCATED_S = 0.03
#: … and more where a header gives only the time at which playing ends.
TRUNCATED_LOOSE_S = 0.15
LOOSE_CONTAINERS = frozenset({"asf", "matroska", "flv", "avi", "mpegts"})
#: No sample of real audio is this far above full scale; such numbers are random bytes read as floats.
ABSURD_PEAK = 1e6


@dataclass(frozen=True, eq=False)
class Audio:
    """A decoded file.

    Attributes
    ----------
    samples
        float32, shape (channels, samples), full scale ±1; float files may go beyond.
    sample_rate_hz
        Of `samples`.
    info
        What the file's headers say.
    warnings
        What was wrong with a file that could still be heard.
    loudness_lufs
        Integrated loudness of the file (BS.1770-4), where it was asked for and is defined (it is not below 4 kHz).
    mastering
        What else is told of all channels at the file's own rate, where it was asked for.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    info: AudioInfo
    warnings: tuple[str, ...] = ()
    loudness_lufs: float | None = None
    mastering: Mastering | None = None

    @property
    def mono(self) -> NDArray[np.float32]:
        """The samples of one-channel audio, shape (samples,); for more channels decode with `mono=True`."""
        if self.samples.shape[0] != 1:
            raise ConfigError(f"audio of {self.samples.shape[0]} channels is not mono: decode it with mono=True")
        first: NDArray[np.float32] = self.samples[0]
        return first

    @property
    def duration_s(self) -> float:
        """Seconds of decoded sound."""
        return int(self.samples.shape[1]) / self.sample_rate_hz


def decode(
    path: Path | str,
    *,
    sample_rate_hz: int | None = None,
    mono: bool = False,
    limits: AudioLimits = AudioLimits(),  # noqa: B008 (frozen)
    allow_silence: bool = False,
    measure_loudness: bool = False,
    measure_mastering: bool = False,
    spool: Path | None = None,
) -> Audio:
    """Decode a file of any format that libsndfile or libav know; its content decides which, not its name.

    Sample 0 is time 0 of the music: the delay that MP3, AAC, Opus, Vorbis and WMA encoders add is taken off. The file
    is streamed, so memory holds only what is returned.

    Parameters
    ----------
    path
        The file.
    sample_rate_hz
        Resample to this rate with soxr's high quality; None keeps the file's.
    mono
        Mix down as `mono_weights` says. If the channels cancel almost wholly (CANCELLED_DB), as when one side has its
        polarity flipped, the loudest channel is taken, because the music can be heard in the file and must be here.
    limits
        Bytes, seconds and memory allowed.
    allow_silence
        Accept a file in which nothing is above SILENCE_DB.
    measure_loudness
        Measure the loudness on the way, of all channels at the file's own rate.
    measure_mastering
        Measure the loudness, and loudness range, true peak and quality too.
    spool
        A folder for a nameless temporary file in which the samples are kept instead of in memory: for hours of audio.
        The array is then mapped from it.

    Returns
    -------
    Audio
        With `warnings` when the file is damaged but can be heard for at least MIN_HEARD_S.

    Raises
    ------
    AudioNotFoundError, UnsupportedAudioError, DamagedAudioError
        As for `probe`, and DamagedAudioError if nothing can be decoded or samples are not numbers.
    SilentAudioError
        If there is nothing to hear.
    AudioLimitError
        If the file is larger or longer than `limits`.
    ConfigError
        If `sample_rate_hz` is not positive.
    """
    if sample_rate_hz is not None and sample_rate_hz <= 0:
        raise ConfigError(f"a sample rate of {sample_rate_hz} Hz makes no sense")
    path = Path(path)
    with open_file(path) as (stream, size):
        limits.check_bytes(path, size)
        source = inspect(path, stream, size)
        limits.check_seconds(path, source.info.duration_s)
        info = source.info
        meters = None
        if measure_loudness or measure_mastering:
            meters = partial(Meters, info.sample_rate_hz, info.channel_names, info.codec, measure_mastering)
        return _decode_source(source, sample_rate_hz, mono, limits, allow_silence, meters, spool)


def _decode_source(
    source: Source,
    sample_rate_hz: int | None,
    mono: bool,
    limits: AudioLimits,
    allow_silence: bool,
    meters: Callable[[], Meters] | None,
    spool: Path | None,
) -> Audio:
    """Decode an inspected file, with a second decoder when the first one stops early."""
    info = source.info
    weights = mono_weights(info.channel_names) if mono else None
    best = _Pass(source, source.readers[0], sample_rate_hz, weights, limits, meters, spool)
    for reader in source.readers[1:]:
        if best.notes or best.is_short(source.declared_s):
            other = _Pass(source, reader, sample_rate_hz, weights, limits, meters, spool)
            best = max(best, other, key=lambda done: done.heard)
    warnings = _judge(source, best)
    if not allow_silence and best.peak <= 10 ** (SILENCE_DB / 20):
        raise SilentAudioError(info.path, f"is silent: nothing in it is above {SILENCE_DB:.0f} dB of full scale")
    measured = best.meters
    if mono and info.channels > 1 and best.has_cancelled:
        one = np.zeros(info.channels, np.float32)
        one[best.loudest] = 1.0
        best = _Pass(source, best.reader, sample_rate_hz, one, limits, spool=spool)
        warnings.append("the channels cancel each other: the louder one is used instead of their mix")
    return Audio(
        best.samples(source),
        sample_rate_hz or info.sample_rate_hz,
        info,
        tuple(warnings),
        None if measured is None else measured.loudness_lufs(),
        None if measured is None else measured.mastering(),
    )


def _judge(source: Source, done: _Pass) -> list[str]:
    """Return warnings on what was decoded, or raise DamagedAudioError when too little was."""
    info, declared = source.info, source.declared_s
    warnings = list(dict.fromkeys(done.notes))
    if done.total == 0:
        if declared and declared > 0:
            cause = f"is damaged: none of its {declared:.1f} s can be decoded"
        elif info.size_bytes > 4096:
            cause = "is damaged: none of it can be decoded"
        else:
            cause = "holds a header and no sound"
        raise DamagedAudioError(info.path, cause)
    if done.is_short(declared) and declared is not None:
        text = f"{done.decoded_s:.1f} s of {declared:.1f} s decoded"
        if done.decoded_s < MIN_HEARD_S:
            raise DamagedAudioError(info.path, f"is truncated: only {text}")
        # Little is missing and something failed on the way: then it is missing there, not at the end.
        inside = warnings and done.decoded_s > 0.9 * declared
        warnings.append(f"damaged: only {text}" if inside else f"truncated: {text}")
    elif source.cut:
        warnings.append(f"truncated: {done.decoded_s:.1f} s decoded, the end of the stream is missing")
    if warnings and done.decoded_s < MIN_HEARD_S:
        raise DamagedAudioError(info.path, f"is damaged: only {done.decoded_s:.1f} s decoded ({warnings[0]})")
    return warnings


class _Pass:
    """One decoding of a file from start to end, mixed and resampled on the way."""

    def __init__(
        self,
        source: Source,
        reader: str,
        sample_rate_hz: int | None,
        weights: NDArray[np.float32] | None,
        limits: AudioLimits,
        meters: Callable[[], Meters] | None = None,
        spool: Path | None = None,
    ) -> None:
        info = source.info
        self.reader = reader
        self.meters = None if meters is None else meters()
        self._metering: Future[None] | None = None
        self.notes: list[str] = []
        self.rate = info.sample_rate_hz
        self._slack_s = TRUNCATED_LOOSE_S if info.container in LOOSE_CONTAINERS else TRUNCATED_S
        self.total = 0  # samples a channel, at the rate of the file
        self.heard = 0  # of them, those in blocks with sound
        self._weights = weights
        self._kept = _Kept(1 if weights is not None else info.channels, spool)
        self._low = np.full(info.channels, np.inf)
        self._high = np.full(info.channels, -np.inf)
        self._energy = np.zeros(info.channels)
        self._mix_energy = 0.0
        self._to_rate = sample_rate_hz or self.rate
        self._resampler = StreamResampler(self.rate, self._to_rate)
        kept = 0
        # Measuring takes as long as reading does, and lets other threads run meanwhile.
        with ThreadPoolExecutor(1, "backbeat-metering") as beside:
            for block in read_blocks(source, reader, self.notes):
                self._measure(info.path, block, beside)
                kept += self._keep(block)
                limits.check_decoded(info.path, self.decoded_s, kept)
            self._keep(np.zeros((info.channels, 0), np.float32), last=True)
            self._wait_for_meters()

    @property
    def decoded_s(self) -> float:
        """Seconds decoded."""
        return self.total / self.rate

    @property
    def peak(self) -> float:
        """Half of the widest swing of any channel, so that a constant offset counts as the silence that it is."""
        return float(np.max(self._high - self._low, initial=0.0)) / 2 if self.total else 0.0

    @property
    def loudest(self) -> int:
        """The channel with the most energy."""
        return int(np.argmax(self._energy))

    @property
    def has_cancelled(self) -> bool:
        """Whether the mix is far below its loudest channel."""
        return self._mix_energy < 10 ** (CANCELLED_DB / 10) * float(self._energy.max())

    def is_short(self, declared_s: float | None) -> bool:
        """Tell whether less was decoded than the header promises."""
        return declared_s is not None and self.decoded_s < declared_s - self._slack_s

    def _wait_for_meters(self) -> None:
        if self._metering is not None:
            self._metering.result()

    def _measure(self, path: Path, block: NDArray[np.float32], beside: Executor) -> None:
        """Add one block to the sums; raise DamagedAudioError at the first sample that is not a number."""
        low, high = block.min(axis=1), block.max(axis=1)  # NaN and infinity reach both
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            at = int(np.argmin(np.isfinite(block).all(axis=0)))
            kind = "NaN" if np.isnan(block[:, at]).any() else "infinity"
            raise DamagedAudioError(path, f"holds {kind} at {(self.total + at) / self.rate:.3f} s")
        if max(-low.min(), high.max()) > ABSURD_PEAK:
            raise DamagedAudioError(
                path, f"is damaged: samples reach {max(-low.min(), high.max()):.0e} times full scale"
            )
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._energy += np.einsum("cn,cn->c", block, block, dtype=np.float64)
        if self.meters is not None:
            self._wait_for_meters()  # one block at a time, so that memory stays flat
            self._metering = beside.submit(self.meters.add, block)
        self.total += block.shape[1]
        self.heard += block.shape[1] if high.max() > low.min() else 0

    def _keep(self, block: NDArray[np.float32], last: bool = False) -> int:
        """Mix, resample and store one block; return the bytes stored."""
        if self._weights is not None:
            block = (self._weights @ block)[np.newaxis]
            self._mix_energy += float(np.einsum("cn,cn->", block, block, dtype=np.float64))
        if self._to_rate != self.rate:
            block = self._resampler.push(block, last=last)
        return self._kept.add(block)

    def samples(self, source: Source) -> NDArray[np.float32]:
        """Return all samples, shape (channels, samples), without the padding that MP4 declares."""
        joined = self._kept.joined()
        if source.info.container == "mp4" and source.declared_s:
            end = round(source.declared_s * self._to_rate)
            if end < joined.shape[1] < end + TRUNCATED_LOOSE_S * self._to_rate:
                joined = joined[:, :end]
        return joined if isinstance(joined, np.memmap) else np.ascontiguousarray(joined)


class _Kept:
    """Blocks of samples until they are joined: in memory, or in a nameless file."""

    def __init__(self, channels: int, spool: Path | None) -> None:
        self.channels = channels
        self._parts: list[NDArray[np.float32]] = []
        self._file: Any = None
        if spool is not None:
            self._file = tempfile.TemporaryFile(dir=spool)  # noqa: SIM115 (closed with this object)
            weakref.finalize(self, self._file.close)

    def add(self, block: NDArray[np.float32]) -> int:
        """Append (channels, n); return the bytes of memory that it takes."""
        if block.shape[1] == 0:
            return 0
        if self._file is not None:
            self._file.write(np.ascontiguousarray(block.T).tobytes())
            return 0
        self._parts.append(block)
        return block.nbytes

    def joined(self) -> NDArray[np.float32]:
        """Return all, shape (channels, samples)."""
        if self._file is not None:
            self._file.flush()
            count = self._file.tell() // (4 * self.channels)
            if count:
                return np.memmap(self._file, np.float32, "r", shape=(count, self.channels)).T
        parts, self._parts = self._parts, []
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.channels, 0), np.float32)
