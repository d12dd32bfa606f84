"""Waveforms to files, in every format that `decode` is expected to read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.mixing import resample
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


_LOSSY = {
    "mp3": _Lossy("libmp3lame", _MP3_RATES, 2, "fltp", 96000, "MP3"),
    "aac": _Lossy("aac", _AAC_RATES, 8, "fltp", 96000, "AAC"),
    "opus": _Lossy("libopus", (48000,), 8, "flt", 64000, "Opus"),
    "wmav2": _Lossy("wmav2", None, 2, "fltp", 96000, "WMA"),
    "alac": _Lossy("alac", tuple(range(1, 384001)), 6, "s32p", 0, "ALAC"),
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
    path = Path(path)
    samples = checked_samples(samples, sample_rate_hz, bitrate)
    suffix = path.suffix.lower()
    if suffix not in SUFFIX_CODECS:
        known = " ".join(sorted(SUFFIX_CODECS))
        raise UnsupportedAudioError(path, f"cannot be written: {suffix or 'no suffix'} is none of {known}")
    codec = codec or SUFFIX_CODECS[suffix]
    _check_pair(path, suffix, codec)
    with atomic_path(path) as temporary:
        if codec in ("pcm", "flac", "vorbis"):
            subtype = "VORBIS" if codec == "vorbis" else _subtype(suffix, bit_depth, floating)
            refuse_shape(path, suffix, samples, sample_rate_hz)
            write_sndfile(temporary, _SNDFILE_FORMATS[suffix], subtype, samples, sample_rate_hz, bitrate, tags)
        else:
            if codec == "alac" and (bit_depth not in (16, 24) or floating):
                raise ConfigError(f"ALAC is written with 16 or 24 bits, not {bit_depth}")
            layout = lossy_layout(path, codec, samples, sample_rate_hz)
            with temporary.open("wb+") as stream:
                write_av(stream, _AV_FORMATS[suffix], codec, samples, sample_rate_hz, layout, bitrate, tags, bit_depth)


def checked_samples(samples: NDArray[np.floating], sample_rate_hz: int, bitrate: int | None) -> NDArray[np.float64]:
    """Return finite float samples of shape (channels, samples), or raise ConfigError."""
    array = np.atleast_2d(np.asarray(samples))
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise ConfigError(f"samples to encode are floats (channels, samples), not {array.dtype} {array.shape}")
    if array.shape[0] > array.shape[1] and array.shape[0] > 64:
        raise ConfigError(f"samples to encode have shape (channels, samples), {array.shape} looks transposed")
    if not np.isfinite(array).all():
        raise ConfigError("samples to encode hold NaN or infinity")
    if sample_rate_hz <= 0:
        raise ConfigError(f"a sample rate of {sample_rate_hz} Hz makes no sense")
    if bitrate is not None and not 4000 <= bitrate <= 3_000_000:
        raise ConfigError(f"a bit rate of {bitrate} makes no sense: it is in bits a second")
    return array


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


def refuse_shape(path: Path, suffix: str, samples: NDArray, sample_rate_hz: int) -> None:
    """Raise when a format of libsndfile cannot hold the rate or the channels."""
    most = {".flac": 8, ".ogg": 8, ".oga": 8}.get(suffix, 64)
    top_hz = {".flac": 655350, ".ogg": 200000, ".oga": 200000}.get(suffix, 768000)
    if samples.shape[0] > most:
        raise UnsupportedAudioError(path, f"cannot be written: {suffix} holds {most} channels, not {samples.shape[0]}")
    if sample_rate_hz > top_hz:
        raise UnsupportedAudioError(path, f"cannot be written: {suffix} goes to {top_hz} Hz, not {sample_rate_hz}")


def lossy_layout(path: Path | str, codec: str, samples: NDArray, sample_rate_hz: int) -> str:
    """Return the channel layout for libav, or raise when the codec cannot hold the rate or the channels."""
    spec = _LOSSY[codec]
    channels = samples.shape[0]
    if channels > spec.max_channels:
        text = f"cannot be written: {spec.label} holds {spec.max_channels} channels, not {channels}"
        raise UnsupportedAudioError(path, text)
    rates = spec.rates_hz
    if codec != "opus" and (sample_rate_hz not in rates if rates else not 8000 <= sample_rate_hz <= 48000):
        text = f"{min(rates)} to {max(rates)}" if rates else "8000 to 48000"
        cause = (
            f"cannot be written: {spec.label} holds the usual rates of {text} Hz, not {sample_rate_hz} Hz: resample it"
        )
        raise UnsupportedAudioError(path, cause)
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
    import soundfile

    level = None
    if subtype == "VORBIS":
        wanted = bitrate or 80000 * samples.shape[0]
        samples = samples[_VORBIS_ORDER.get(samples.shape[0], slice(None))]
        level = 1.0 - _vorbis_quality(wanted, samples.shape[0], sample_rate_hz)
    with soundfile.SoundFile(
        target, "w", sample_rate_hz, samples.shape[0], subtype, format=kind, compression_level=level
    ) as file:
        for name, value in (tags or {}).items():
            if name in ("title", "artist", "album", "date", "genre", "tracknumber", "comment", "copyright", "license"):
                setattr(file, name, value)
        # In pieces: libVorbis takes stack for all that it gets at once.
        for at in range(0, samples.shape[1], 16384):
            file.write(np.ascontiguousarray(samples[:, at : at + 16384].T))


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
    import av

    spec = _LOSSY[codec]
    rate = 48000 if codec == "opus" else sample_rate_hz
    data = resample(samples.astype(np.float32), sample_rate_hz, rate) if rate != sample_rate_hz else samples
    sample_format = "s16p" if codec == "alac" and bit_depth == 16 else spec.sample_format
    with av.open(stream, "w", format=container, options={"fflags": "+bitexact"}) as media:
        media.metadata.update(tags or {})
        track = media.add_stream(spec.encoder, rate=rate, layout=layout)
        track.codec_context.format = sample_format
        track.codec_context.thread_count = 1
        if codec != "alac":
            track.bit_rate = bitrate or _default_bitrate(spec, rate, data.shape[0])
        track.codec_context.open(strict=False)
        step = track.codec_context.frame_size or 4096
        for at in range(0, data.shape[1], step):
            planes = _as_format(data[:, at : at + step], sample_format)
            frame = av.AudioFrame(sample_format, layout, min(step, data.shape[1] - at))
            for plane, values in zip(frame.planes, planes, strict=False):  # PyAV 18 counts a ninth plane in 7.1
                plane.update(values.tobytes().ljust(plane.buffer_size, b"\0"))
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            media.mux(track.encode(frame))
        media.mux(track.encode(None))


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
