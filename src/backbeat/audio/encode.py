"""Waveforms to files, in every format that `decode` is expected to read."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.mixing import StreamResampler
from backbeat.errors import ConfigError, UnsupportedAudioError
from backbeat.files import atomic_path

#: The codec that a suffix means when none is named.
SUFFIX_CODECS = {
    ".wav": "pcm", ".aif": "pcm", ".aiff": "pcm", ".flac": "flac", ".ogg": "vorbis", ".oga": "vorbis", ".opus": "opus",
    ".webm": "opus", ".mp3": "mp3", ".m4a": "aac", ".mp4": "aac", ".aac": "aac", ".wma": "wmav2",
}  # fmt: skip
_SNDFILE_FORMATS = {".wav": "WAV", ".aif": "AIFF", ".aiff": "AIFF", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG"}
_AV_FORMATS = {
    ".mp3": "mp3", ".m4a": "ipod", ".mp4": "mp4", ".aac": "adts", ".wma": "asf", ".opus": "ogg", ".ogg": "ogg",
    ".oga": "ogg", ".webm": "webm",
}  # fmt: skip

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
# With less than this left, a disk that could not be written to was full.
_LITTLE_BYTES = 1 << 18
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
#: libVorbis's nominal bits a second of one channel at 44.1 kHz, at quality 0.0, 0.1, … 1.0 (half of stereo).
_VORBIS_BPS = (32000, 40000, 48000, 56000, 64000, 80000, 96000, 112000, 128000, 160000, 250000)
#: Where Vorbis puts the channels of surround, by their usual places (Vorbis I specification, section 4.3.9).
_VORBIS_ORDER = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 4, 5, 3],
    7: [0, 2, 1, 5, 6, 4, 3],
    8: [0, 2, 1, 6, 7, 4, 5, 3],
}


@dataclass(frozen=True)
class _Lossy:
    """What one encoder of libav takes."""

    encoder: str
    rates_hz: tuple[int, ...] | None  # None: any up to 48 kHz
    max_channels: int
    sample_format: str
    bps_per_channel: int
    label: str
    stereo_bps: tuple[int, int]  # what it can do at 44.1 kHz


_LOSSY = {
    "mp3": _Lossy("libmp3lame", _MP3_RATES, 2, "fltp", 96000, "MP3", (32000, 320_000)),
    "aac": _Lossy("aac", _AAC_RATES, 8, "fltp", 96000, "AAC", (24000, 384_000)),
    "opus": _Lossy("libopus", (48000,), 8, "flt", 64000, "Opus", (6000, 510_000)),
    "wmav2": _Lossy("wmav2", None, 2, "fltp", 96000, "WMA", (24000, 640_000)),
    "alac": _Lossy("alac", tuple(range(1, 384001)), 6, "s32p", 0, "ALAC", (0, 0)),
}


def encode(
    path: Path | str,
    samples: NDArray[np.floating],
    sample_rate_hz: int,
    *,
    bit_depth: int = 16,
    floating: bool = False,
    codec: str | None = None,
    bitrate: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write samples to `path`, atomically; the suffix chooses the format.

    Parameters
    ----------
    path
        `.wav`, `.aiff`, `.flac`, `.ogg`, `.opus`, `.webm`, `.mp3`, `.m4a`, `.mp4`, `.aac` or `.wma`.
    samples
        Shape (channels, samples) or (samples,), full scale ±1; integer formats clip what is beyond.
    sample_rate_hz
        Of `samples`. Opus is resampled to its 48 kHz; other formats refuse a rate that they do not have.
    bit_depth
        16, 24 or 32 for WAV and AIFF, 16 or 24 for FLAC and ALAC, 32 or 64 with `floating`; lossy codecs ignore it.
    floating
        Float samples in WAV and AIFF.
    codec
        `alac` in `.m4a`, `opus` in `.ogg`; None takes the usual one of the suffix.
    bitrate
        Bits a second of lossy codecs; None is a good quality.
    tags
        `title`, `artist`, `album`, `genre`, …; formats without a place for one drop it.

    Raises
    ------
    UnsupportedAudioError
        If the format is unknown or cannot hold the rate or the channels.
    ConfigError
        If samples, bit depth or bit rate make no sense.
    """
    samples = checked_samples(samples, sample_rate_hz, bitrate)
    with AudioWriter(
        path,
        samples.shape[0],
        sample_rate_hz,
        bit_depth=bit_depth,
        floating=floating,
        codec=codec,
        bitrate=bitrate,
        tags=tags,
    ) as writer:
        writer.write(samples)


class AudioWriter:
    """A file that is written block by block, and appears when all is written; parameters as of `encode`.

    Used as a context: where that ends in an error there is no file, and one that was there stays.
    """

    def __init__(
        self,
        path: Path | str,
        channels: int,
        sample_rate_hz: int,
        *,
        bit_depth: int = 16,
        floating: bool = False,
        codec: str | None = None,
        bitrate: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.channels = channels
        check_numbers(sample_rate_hz, bitrate)
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIX_CODECS:
            known = " ".join(sorted(SUFFIX_CODECS))
            raise UnsupportedAudioError(self.path, f"cannot be written: {suffix or 'no suffix'} is none of {known}")
        codec = codec or SUFFIX_CODECS[suffix]
        _check_pair(self.path, suffix, codec)
        self._open: Callable[[ExitStack, Path], _SndfileWriter | _AvWriter]
        if codec in ("pcm", "flac", "vorbis"):
            subtype = "VORBIS" if codec == "vorbis" else _subtype(suffix, bit_depth, floating)
            refuse_shape(self.path, suffix, channels, sample_rate_hz)
            self._open = lambda _, target: _SndfileWriter(
                target, _SNDFILE_FORMATS[suffix], subtype, channels, sample_rate_hz, bitrate, tags
            )
        else:
            if codec == "alac" and (bit_depth not in (16, 24) or floating):
                raise ConfigError(f"ALAC is written with 16 or 24 bits, not {bit_depth}")
            layout = lossy_layout(self.path, codec, channels, sample_rate_hz)
            self._open = lambda stack, target: _AvWriter(
                stack.enter_context(target.open("wb+")),
                _AV_FORMATS[suffix],
                codec,
                channels,
                sample_rate_hz,
                layout,
                bitrate,
                tags,
                bit_depth,
            )
        self._stack = ExitStack()
        self._writer: _SndfileWriter | _AvWriter | None = None

    def __enter__(self) -> AudioWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._writer = self._open(stack, temporary)
            stack.push(self._writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, samples: NDArray[np.floating]) -> None:
        """Append finite samples of shape (channels, n), full scale ±1."""
        if samples.ndim != 2 or samples.shape[0] != self.channels:
            raise ConfigError(f"{self.path}: takes samples of shape ({self.channels}, n), not {samples.shape}")
        if self._writer is None:
            raise ConfigError(f"{self.path}: is not open for writing")
        self._writer.write(samples)


def checked_samples(samples: NDArray[np.floating], sample_rate_hz: int, bitrate: int | None) -> NDArray[np.float64]:
    """Return finite float samples of shape (channels, samples), or raise ConfigError."""
    array = np.atleast_2d(np.asarray(samples))
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise ConfigError(f"samples to encode are floats (channels, samples), not {array.dtype} {array.shape}")
    if array.shape[0] > array.shape[1] and array.shape[0] > 64:
        raise ConfigError(f"samples to encode have shape (channels, samples), {array.shape} looks transposed")
    if not np.isfinite(array).all():
        raise ConfigError("samples to encode hold NaN or infinity")
    check_numbers(sample_rate_hz, bitrate)
    return array


def check_numbers(sample_rate_hz: int, bitrate: int | None) -> None:
    """Raise ConfigError for a rate or bit rate that makes no sense."""
    if sample_rate_hz <= 0:
        raise ConfigError(f"a sample rate of {sample_rate_hz} Hz makes no sense")
    if bitrate is not None and not 4000 <= bitrate <= 3_000_000:
        raise ConfigError(f"a bit rate of {bitrate} makes no sense: it is in bits a second")


def stereo_bitrates(suffix: str) -> tuple[int, int] | None:
    """Return the least and most bits a second of two channels in a format, ".mp3" say; None where it has no choice."""
    codec = SUFFIX_CODECS[suffix]
    if codec == "vorbis":
        return 2 * _VORBIS_BPS[0], 2 * _VORBIS_BPS[-1]
    return _LOSSY[codec].stereo_bps if codec in _LOSSY else None


def _check_pair(path: Path, suffix: str, codec: str) -> None:
    """Refuse a codec that the container does not hold."""
    others = {".m4a": {"alac"}, ".mp4": {"alac"}, ".ogg": {"opus"}, ".oga": {"opus"}}
    if codec != SUFFIX_CODECS[suffix] and codec not in others.get(suffix, set()):
        raise UnsupportedAudioError(path, f"cannot be written: {suffix} files do not hold {codec}")


def _subtype(suffix: str, bit_depth: int, floating: bool) -> str:
    """Return libsndfile's name for the sample format, or raise ConfigError."""
    if floating:
        names = {32: "FLOAT", 64: "DOUBLE"} if suffix != ".flac" else {}
    else:
        names = {16: "PCM_16", 24: "PCM_24"} | ({32: "PCM_32"} if suffix != ".flac" else {})
    if bit_depth not in names:
        raise ConfigError(f"{suffix} files do not hold {bit_depth}-bit {'float' if floating else 'integer'} samples")
    return names[bit_depth]


def refuse_shape(path: Path, suffix: str, channels: int, sample_rate_hz: int) -> None:
    """Raise when a format of libsndfile cannot hold the rate or the channels."""
    most = {".flac": 8, ".ogg": 8, ".oga": 8}.get(suffix, 64)
    top_hz = {".flac": 655350, ".ogg": 200000, ".oga": 200000}.get(suffix, 768000)
    if channels > most:
        raise UnsupportedAudioError(path, f"cannot be written: {suffix} holds {most} channels, not {channels}")
    if sample_rate_hz > top_hz:
        raise UnsupportedAudioError(path, f"cannot be written: {suffix} goes to {top_hz} Hz, not {sample_rate_hz}")


def lossy_layout(path: Path | str, codec: str, channels: int, sample_rate_hz: int) -> str:
    """Return the channel layout for libav, or raise when the codec cannot hold the rate or the channels."""
    spec = _LOSSY[codec]
    if channels > spec.max_channels:
        text = f"cannot be written: {spec.label} holds {spec.max_channels} channels, not {channels}"
        raise UnsupportedAudioError(path, text)
    rates = spec.rates_hz
    if codec != "opus" and (sample_rate_hz not in rates if rates else not 8000 <= sample_rate_hz <= 48000):
        text = f"{min(rates)} to {max(rates)}" if rates else "8000 to 48000"
        cause = f"cannot be written: {spec.label} holds the usual rates of {text} Hz, not {sample_rate_hz} Hz"
        raise UnsupportedAudioError(path, f"{cause}: choose one of these")
    return _LAYOUTS[channels]


def _vorbis_quality(bitrate: int, channels: int, sample_rate_hz: int) -> float:
    """Return the Vorbis quality in 0..1 whose nominal rate is nearest to `bitrate`."""
    per_channel = bitrate / channels * (44100 / sample_rate_hz if sample_rate_hz < 44100 else 1.0)
    return float(np.interp(per_channel, _VORBIS_BPS, np.linspace(0, 1, len(_VORBIS_BPS))))


def write_sndfile(
    target: Path | BinaryIO,
    kind: str,
    subtype: str,
    samples: NDArray,
    sample_rate_hz: int,
    bitrate: int | None,
    tags: Mapping[str, str] | None,
) -> None:
    """Write with libsndfile."""
    with _SndfileWriter(target, kind, subtype, samples.shape[0], sample_rate_hz, bitrate, tags) as writer:
        writer.write(samples)


def write_av(
    stream: Any,
    container: str,
    codec: str,
    samples: NDArray,
    sample_rate_hz: int,
    layout: str,
    bitrate: int | None,
    tags: Mapping[str, str] | None,
    bit_depth: int = 16,
) -> None:
    """Write with libav, without time stamps or random numbers in the file."""
    channels = samples.shape[0]
    with _AvWriter(stream, container, codec, channels, sample_rate_hz, layout, bitrate, tags, bit_depth) as writer:
        writer.write(samples)


class _SndfileWriter:
    """A file that libsndfile writes, block by block."""

    def __init__(
        self,
        target: Path | BinaryIO,
        kind: str,
        subtype: str,
        channels: int,
        sample_rate_hz: int,
        bitrate: int | None,
        tags: Mapping[str, str] | None,
    ) -> None:
        import soundfile

        level = None
        self._order: list[int] | slice = slice(None)
        if subtype == "VORBIS":
            self._order = _VORBIS_ORDER.get(channels, slice(None))
            level = 1.0 - _vorbis_quality(bitrate or 80000 * channels, channels, sample_rate_hz)
        if isinstance(target, Path) and os.name == "posix":
            target = os.fsencode(target)  # type: ignore[assignment] # a name that is no text has no other form here
        self._where = Path(os.fsdecode(target)).parent if isinstance(target, Path | bytes) else None
        with self._as_system_error():
            self._file = soundfile.SoundFile(
                target, "w", sample_rate_hz, channels, subtype, format=kind, compression_level=level
            )
        for name, value in (tags or {}).items():
            if name in ("title", "artist", "album", "date", "genre", "tracknumber", "comment", "copyright", "license"):
                setattr(self._file, name, value)

    def __enter__(self) -> _SndfileWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with self._as_system_error():
            self._file.close()

    def write(self, samples: NDArray) -> None:
        """Append samples of shape (channels, n)."""
        # In pieces: libVorbis takes stack for all that it gets at once.
        with self._as_system_error():
            for at in range(0, samples.shape[1], 16384):
                self._file.write(np.ascontiguousarray(samples[self._order, at : at + 16384].T))

    @contextmanager
    def _as_system_error(self) -> Iterator[None]:
        """Raise what libsndfile says of the system as OSError: that the disk is full, it does not say itself."""
        import soundfile

        try:
            yield
        except soundfile.LibsndfileError as error:
            full = self._where is not None and shutil.disk_usage(self._where).free < _LITTLE_BYTES
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, os.strerror(number) if full else str(error)) from None


class _AvWriter:
    """A file that libav writes, block by block: whole frames as they come, and the rest at the end."""

    def __init__(
        self,
        stream: Any,
        container: str,
        codec: str,
        channels: int,
        sample_rate_hz: int,
        layout: str,
        bitrate: int | None,
        tags: Mapping[str, str] | None,
        bit_depth: int,
    ) -> None:
        import av

        spec = _LOSSY[codec]
        self._rate = 48000 if codec == "opus" else sample_rate_hz
        self._format = "s16p" if codec == "alac" and bit_depth == 16 else spec.sample_format
        self._layout = layout
        self._resampler = None if self._rate == sample_rate_hz else StreamResampler(sample_rate_hz, self._rate)
        self._waiting = np.zeros((channels, 0), np.float32)
        self._given = 0
        self._media = av.open(stream, "w", format=container, options={"fflags": "+bitexact"})
        self._media.metadata.update(tags or {})
        self._track = self._media.add_stream(spec.encoder, rate=self._rate, layout=layout)
        self._track.codec_context.format = self._format
        self._track.codec_context.thread_count = 1
        if codec != "alac":
            self._track.bit_rate = bitrate or _default_bitrate(spec, self._rate, channels)
        try:
            self._track.codec_context.open(strict=False)
        except av.error.FFmpegError:
            how = f"{self._rate} Hz with {self._track.bit_rate / 1000:g} kilobits a second"
            raise ConfigError(f"{spec.label} is not written at {how}") from None

    def __enter__(self) -> _AvWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                if self._resampler is not None:
                    self._take(self._resampler.end())
                self._encode(self._waiting)
                self._media.mux(self._track.encode(None))
        finally:
            self._media.close()

    def write(self, samples: NDArray) -> None:
        """Append samples of shape (channels, n)."""
        self._take(samples if self._resampler is None else self._resampler.push(samples))

    def _take(self, samples: NDArray) -> None:
        joined = np.concatenate([self._waiting, samples], axis=1) if self._waiting.shape[1] else samples
        step = self._step
        whole = joined.shape[1] // step * step
        self._encode(joined[:, :whole])
        self._waiting = joined[:, whole:].copy()

    @property
    def _step(self) -> int:
        return int(self._track.codec_context.frame_size) or 4096

    def _encode(self, samples: NDArray) -> None:
        import av

        step = self._step
        for at in range(0, samples.shape[1], step):
            planes = _as_format(samples[:, at : at + step], self._format)
            frame = av.AudioFrame(self._format, self._layout, min(step, samples.shape[1] - at))
            for plane, values in zip(frame.planes, planes, strict=False):  # PyAV 18 counts a ninth plane in 7.1
                plane.update(values.tobytes().ljust(plane.buffer_size, b"\0"))
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._given, Fraction(1, self._rate)
            self._given += frame.samples
            self._media.mux(self._track.encode(frame))


def _default_bitrate(spec: _Lossy, rate: int, channels: int) -> int:
    """Return bits a second of good quality: less at low rates, where there is less to code."""
    return round(spec.bps_per_channel * channels * math.sqrt(min(1.0, rate / 44100)))


def _as_format(block: NDArray, sample_format: str) -> NDArray:
    """Return (channels, n) floats as the array that libav wants for a sample format."""
    if sample_format in ("s16p", "s32p"):
        # 24 bits are the upper ones of 32.
        scale, dtype = (2.0**15, np.int16) if sample_format == "s16p" else (2.0**23, np.int32)
        whole = np.clip(np.rint(block.astype(np.float64) * scale), -scale, scale - 1).astype(dtype)
        return np.ascontiguousarray(whole * (1 if dtype is np.int16 else 256))
    if sample_format == "flt":
        return np.ascontiguousarray(block.T, dtype=np.float32).reshape(1, -1)
    return np.ascontiguousarray(block, dtype=np.float32)
