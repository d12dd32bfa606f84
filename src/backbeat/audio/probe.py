"""What a file says of itself, read from its headers without decoding the audio."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from backbeat.audio import containers, mpeg, sniff
from backbeat.audio.mixing import DEFAULT_LAYOUTS
from backbeat.audio.opening import open_av, open_file, sndfile_handle
from backbeat.errors import AudioError, DamagedAudioError, UnsupportedAudioError

#: What libsndfile reads first. MP3 is not among them: its decoder there writes complaints to stderr and loses the rest
#: of a damaged file, and Opus is read more exactly (pre-skip, end) by libav.
_SNDFILE_CONTAINERS = frozenset({"wav", "w64", "aiff", "flac", "caf", "au"})

#: A header that says less or more lies: below is no pitch, and DSD, the quickest there is, has 22.6 MHz.
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 100, 25_000_000

_PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
_PCM_BITS |= {"ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32}
_CODED_BITS = {"ULAW": 8, "ALAW": 8, "IMA_ADPCM": 4, "MS_ADPCM": 4}
_LOSSLESS = frozenset({"flac", "alac", "wavpack", "ape", "tta", "wmalossless"})
_TECHNICAL_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "handler_name", "vendor_id", "creation_time"}
    | {"language", "duration"}
)
_SNDFILE_TAGS = ("title", "artist", "album", "date", "genre", "tracknumber", "comment", "copyright", "license")


@dataclass(frozen=True)
class AudioInfo:
    """What the headers of an audio file say.

    Attributes
    ----------
    path
        The file as it was named.
    codec
        `pcm`, `float`, `flac`, `vorbis`, `opus`, `mp3`, `aac`, `alac`, `wmav2`, …
    container
        `wav`, `flac`, `ogg`, `mp3`, `mp4`, `aac` (ADTS), `matroska` (also WebM), `asf` (WMA), `aiff`, …
    sample_rate_hz, channels
        As stored; Opus always decodes at 48000 Hz.
    bit_depth
        Bits a sample; None for lossy codecs.
    duration_s
        Seconds of sound, without the encoder's delay and padding; None when only decoding can tell.
    tags
        Title, artist and so on, by lower-case names.
    size_bytes
        The length of the file.
    channel_names
        `FL`, `FR`, `FC`, `LFE`, `BL`, … one a channel.
    """

    path: Path
    codec: str
    container: str
    sample_rate_hz: int
    bit_depth: int | None
    channels: int
    duration_s: float | None
    tags: dict[str, str] = field(repr=False)
    size_bytes: int
    channel_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """An opened file, ready to be decoded.

    `declared_s` is the length that a reliable header promises (None when it does not), to notice truncation by;
    `readers` are the decoders to try, best first; `cut` says in words that the end is known to be missing.
    """

    info: AudioInfo
    stream: BinaryIO
    readers: tuple[str, ...]
    declared_s: float | None
    cut: bool = False


def probe(path: Path | str) -> AudioInfo:
    """Read the headers of `path`.

    Raises
    ------
    AudioNotFoundError
        If it is missing, a folder, a pipe or a device, or may not be read.
    UnsupportedAudioError
        If it is not audio, is DRM-protected, or is in a codec that nothing here decodes.
    DamagedAudioError
        If it is empty, or its headers cannot be read.
    """
    with open_file(path) as (stream, size):
        return inspect(Path(path), stream, size).info


def inspect(path: Path, stream: BinaryIO, size: int) -> Source:
    """Identify the content of an open file and read its headers; errors as for `probe`."""
    source = _inspect(path, stream, size)
    rate = source.info.sample_rate_hz
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        raise DamagedAudioError(path, f"is damaged: no sound is sampled at {rate} Hz, as its header says")
    return source


def _inspect(path: Path, stream: BinaryIO, size: int) -> Source:
    content = sniff.identify(stream)
    container = content.container
    if container is None:
        if content.what in ("text", "no known audio format"):
            raise UnsupportedAudioError(path, f"is not audio: it holds {content.what}")
        raise UnsupportedAudioError(path, f"is not audio: it is {content.what}")
    _refuse_protected(path, stream, container)
    by_sndfile = container in _SNDFILE_CONTAINERS or (
        container == "ogg" and containers.ogg_codec(stream) in ("vorbis", "flac")
    )
    source = _from_sndfile(path, stream, size, container) if by_sndfile else None
    if source is None or source.info.channels > 2:
        # libav names the channels of surround, and puts those of Vorbis and AIFF in the usual order.
        try:
            other = _from_av(path, stream, size, container)
        except AudioError:
            if source is None:
                raise
            return source
        return other if source is None else _merge(source, other)
    return source


def _merge(source: Source, other: Source) -> Source:
    """Take layout and decoder of `other`, and all else of what libsndfile says."""
    info = replace(source.info, channel_names=other.info.channel_names)
    return replace(source, info=info, readers=("av", "sndfile"))


def _refuse_protected(path: Path, stream: BinaryIO, container: str) -> None:
    """Raise if the file is encrypted, or an MP4 without its index."""
    if container == "mp4":
        entries = containers.mp4_entries(stream)
        if entries is None:
            raise DamagedAudioError(path, "is truncated: its index (moov) is missing, nothing can be decoded")
        if any(entry in (b"drms", b"drmi", b"drmt", b"enca", b"encv") for entry in entries):
            raise UnsupportedAudioError(path, "is DRM-protected: it can be decoded only by the shop's own player")
    if container == "asf" and containers.asf_is_encrypted(stream):
        raise UnsupportedAudioError(path, "is DRM-protected: it can be decoded only by the shop's own player")


def _from_sndfile(path: Path, stream: BinaryIO, size: int, container: str) -> Source | None:
    """Read the headers with libsndfile; None when it cannot."""
    import soundfile

    try:
        with soundfile.SoundFile(sndfile_handle(stream), closefd=False) as file:
            rate, channels, frames, subtype = file.samplerate, file.channels, file.frames, file.subtype
            tags = _sndfile_tags(file)
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    if rate <= 0 or channels <= 0:
        return None
    if frames == 0 and container == "wav":
        return None  # written by what could not seek back to say how much it is: libav reads to the end then
    # A streamed FLAC does not know its length: libsndfile then says 0 or the largest number.
    known = 0 <= frames < 1 << 53 and not (frames == 0 and container == "flac")
    duration = frames / rate if known else None
    declared = duration
    if duration is not None and container in ("wav", "aiff"):
        lost = containers.missing_bytes(stream, container)
        bits = _PCM_BITS.get(subtype) or _CODED_BITS.get(subtype, 16)
        declared = duration + lost / (rate * channels * bits / 8)
    codec = {"FLOAT": "float", "DOUBLE": "float", "VORBIS": "vorbis"}.get(subtype, subtype.lower())
    if codec.startswith("pcm"):
        codec = "flac" if container in ("flac", "ogg") else "pcm"
    if codec.startswith("alac"):
        codec = "alac"
    if container == "flac" or (container == "ogg" and codec == "flac"):
        codec = "flac"
    info = AudioInfo(
        path=path,
        codec=codec,
        container=container,
        sample_rate_hz=rate,
        bit_depth=_PCM_BITS.get(subtype),
        channels=channels,
        duration_s=duration,
        tags=tags,
        size_bytes=size,
        channel_names=DEFAULT_LAYOUTS.get(channels, tuple(f"C{n}" for n in range(channels))),
    )
    return Source(info, stream, ("sndfile", "av"), declared, cut=container == "ogg" and containers.ogg_is_cut(stream))


def _sndfile_tags(file: Any) -> dict[str, str]:
    """Return the tags that libsndfile knows; those that are not UTF-8 are left out."""
    tags = {}
    for name in _SNDFILE_TAGS:
        try:
            value = getattr(file, name)
        except UnicodeDecodeError:
            continue
        if value:
            tags[name] = value
    return tags


def _from_av(path: Path, stream: BinaryIO, size: int, container: str) -> Source:
    """Read the headers with libav."""
    with open_av(path, stream) as media:
        if not media.streams.audio:
            kind = "only video" if media.streams.video else "no audio track"
            raise UnsupportedAudioError(path, f"holds {kind}, nothing to hear")
        track = media.streams.audio[0]
        codec = track.codec_context
        if codec is None:
            raise UnsupportedAudioError(path, "is in a codec that cannot be decoded here")
        name = {"mp3float": "mp3", "mp2float": "mp2", "libopus": "opus", "libvorbis": "vorbis"}.get(
            codec.name, codec.name
        )
        rate, channels = int(codec.sample_rate or 0), int(codec.channels or 0)
        if rate <= 0 or channels <= 0:
            raise DamagedAudioError(path, f"is damaged: its {container} header gives no sample rate or channels")
        names = tuple(channel.name for channel in codec.layout.channels)
        if name == "aac":
            rate, names = _first_frame(media, track) or (rate, names)
            channels = len(names)
        if len(names) != channels or any(name in ("NONE", "UNK", "UNSD") for name in names):
            names = DEFAULT_LAYOUTS.get(channels, tuple(f"C{n}" for n in range(channels)))
        tags = {**media.metadata, **track.metadata}
        duration = _stream_seconds(media, track)
        bits = _bit_depth(name, codec)
        skipped = _opus_pre_skip(codec) if name == "opus" else 0
    declared: float | None
    if container in ("mp3", "aac"):
        # libav guesses their length from size and bit rate: the header is better, and counting frames is sure.
        exact = mpeg.mpeg_declared_samples(stream) if container == "mp3" else None
        declared = exact[0] / exact[1] if exact else None
        duration = declared if exact else _counted_seconds(path, stream)
        if container == "aac" and duration:
            duration -= 1024 / rate  # the first frame is the encoder's delay
    else:
        if duration is None:
            duration = _counted_seconds(path, stream)
        duration = max(0.0, duration - skipped / 48000) if duration is not None else None
        declared = duration
    info = AudioInfo(
        path=path,
        codec="pcm" if name.startswith("pcm_") and "f" not in name else "float" if name.startswith("pcm_f") else name,
        container=container,
        sample_rate_hz=rate,
        bit_depth=bits,
        channels=channels,
        duration_s=duration,
        tags={key.lower(): str(value) for key, value in tags.items() if key.lower() not in _TECHNICAL_TAGS},
        size_bytes=size,
        channel_names=names,
    )
    readers = ("av", "sndfile") if container in _SNDFILE_CONTAINERS else ("av",)
    return Source(info, stream, readers, declared, cut=container == "ogg" and containers.ogg_is_cut(stream))


def _first_frame(media: Any, track: Any) -> tuple[int, tuple[str, ...]] | None:
    """Return rate and channel names of the first frame of sound; None when the first packets hold none.

    High-efficiency AAC may announce half its rate, and one channel where it has two: only the sound itself is sure.
    """
    import av

    try:
        for _, packet in zip(range(8), media.demux(track), strict=False):
            for frame in packet.decode():
                return int(frame.sample_rate), tuple(channel.name for channel in frame.layout.channels)
    except av.error.FFmpegError:
        pass  # the decoder will say what is wrong with it
    return None


def _stream_seconds(media: Any, track: Any) -> float | None:
    """Return the length in seconds that container or track declare; None when neither does."""
    if track.duration:
        return float(track.duration * track.time_base)
    return media.duration / 1e6 if media.duration else None


def _counted_seconds(path: Path, stream: BinaryIO) -> float | None:
    """Return the seconds of sound by adding up packets, undecoded; None when their length is not given."""
    import av

    end_s = 0.0
    with open_av(path, stream) as media:
        track = media.streams.audio[0]
        try:
            for packet in media.demux(track):
                if packet.pts is not None and packet.duration:
                    end_s = max(end_s, float((packet.pts + packet.duration) * packet.time_base))
        except av.error.FFmpegError:
            pass  # what could be counted up to the damage stands
    return end_s or None


def _bit_depth(codec: str, context: Any) -> int | None:
    """Return the bits a sample of a lossless codec; None for a lossy one."""
    digits = "".join(filter(str.isdigit, codec)) if codec.startswith("pcm_") else ""
    if digits:
        return int(digits)
    if codec == "alac" and context.extradata and len(context.extradata) > 17:
        return int(context.extradata[17])  # ALACSpecificConfig.bitDepth, behind the box header
    if codec in _LOSSLESS and context.format is not None:  # a header may name a codec and nothing of its samples
        return int(context.format.bits)
    return None


def _opus_pre_skip(context: Any) -> int:
    """Return the samples at 48 kHz that an Opus stream starts with and that are not sound (RFC 7845, section 5.1)."""
    head = context.extradata or b""
    return int.from_bytes(head[10:12], "little") if head[:8] == b"OpusHead" else 0
