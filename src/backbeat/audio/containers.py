"""What the headers of containers promise: lengths, encryption, codecs. Nothing is decoded here."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

# Objects of an ASF header that only encrypted files have: content encryption, its extended and its advanced form
# (Microsoft, Advanced Systems Format specification, sections 3.14, 3.15 and 4.9).
_ASF_ENCRYPTION = (
    bytes.fromhex("fbb31122 23bd d211 b4b7 00a0c955fc6e"),
    bytes.fromhex("14e68a29 2226 174c b935 dae07ee9289c"),
    bytes.fromhex("33850543 8169 e649 9b74 ad12cb86d58c"),
)


def missing_bytes(stream: BinaryIO, container: str) -> int:
    """Return how many bytes of sample data a WAV or AIFF header promises beyond the end of the file.

    Lengths of zero or all ones are what programs write that stream without seeking back: nothing is promised then.
    """
    size = stream.seek(0, os.SEEK_END)
    order = ">" if container == "aiff" else "<"
    stream.seek(0)
    is_rf64 = stream.read(4) == b"RF64"
    at = 12
    long_size: int | None = None
    while at + 8 <= size:
        stream.seek(at)
        name, length = struct.unpack(f"{order}4sI", stream.read(8))
        if name == b"ds64":
            long_size = int.from_bytes(stream.read(16)[8:], "little")
        if name in (b"data", b"SSND"):
            if is_rf64 and length == 0xFFFFFFFF and long_size is not None:
                length = long_size
            elif length in (0, 0xFFFFFFFF) or length >= 0x7FFFF000:
                return 0
            promised: int = at + 8 + length
            return max(0, promised - size)
        at += 8 + length + length % 2
    return 0


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of content, end) of the ISO base media boxes between two positions."""
    at = start
    while at + 8 <= end:
        stream.seek(at)
        length, name = struct.unpack(">I4s", stream.read(8))
        content = at + 8
        if length == 1:
            wide = stream.read(8)
            if len(wide) < 8:
                return
            (length,) = struct.unpack(">Q", wide)
            content = at + 16
        elif length == 0:
            length = end - at
        if length < content - at:
            return
        yield name, content, at + length
        at += length


def mp4_entries(stream: BinaryIO) -> list[bytes] | None:
    """Return the sample entry types of all tracks (`mp4a`, `drms`, `avc1`); None when there is no index (`moov`).

    Paths: moov/trak/mdia/minf/stbl/stsd of ISO/IEC 14496-12.
    """
    size = stream.seek(0, os.SEEK_END)
    spans = [(0, size)]
    for level, wanted in enumerate((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")):
        spans = [
            (at, min(end, size)) for low, high in spans for name, at, end in _boxes(stream, low, high) if name == wanted
        ]
        if level == 0 and not spans:
            return None
    return [name for low, high in spans for name, _, _ in _boxes(stream, low + 8, high)]


def asf_is_encrypted(stream: BinaryIO) -> bool:
    """Tell whether the header of an ASF file (WMA, WMV) announces encryption."""
    stream.seek(16)
    (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))
    stream.seek(0)
    header = stream.read(min(length, 1 << 20))
    return any(guid in header for guid in _ASF_ENCRYPTION)


def ogg_codec(stream: BinaryIO) -> str:
    """Return the codec of the first stream in an Ogg file: vorbis, opus, flac, speex, or `unknown`."""
    stream.seek(0)
    head = stream.read(512)
    for magic, codec in ((b"\x01vorbis", "vorbis"), (b"OpusHead", "opus"), (b"\x7fFLAC", "flac"), (b"Speex", "speex")):
        if magic in head[:64]:
            return codec
    return "unknown"


def ogg_is_cut(stream: BinaryIO) -> bool:
    """Tell whether the end of an Ogg file is missing: no last page marked so, or half of one (RFC 3533, section 6)."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - 65536 * 2)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return True
    segments = tail[at + 26]
    length = 27 + segments + sum(tail[at + 27 : at + 27 + segments])
    return at + length > len(tail) or not tail[at + 5] & 4
