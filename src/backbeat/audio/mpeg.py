"""Frames of MPEG audio (MP1, MP2, MP3) and of raw AAC (ADTS), and the tags around them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

#: How far to look for the first MPEG frame behind junk.
SEARCH_BYTES = 256 * 1024


def id3_length(head: bytes) -> int:
    """Return the length in bytes of the ID3v2 tag at the start of `head`; 0 without one."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if head[5] & 0x10 else 10)


_MPEG_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class MpegFrame:
    """One header of MPEG-1, -2 or -2.5 audio (ISO/IEC 11172-3 2.4.1.3)."""

    layer: int
    sample_rate_hz: int
    channels: int
    samples: int
    length: int  # bytes, header included
    side_bytes: int  # header and side information, before which no tag can lie

    @property
    def stream_key(self) -> tuple[int, int, int]:
        """What stays the same from frame to frame."""
        return (self.layer, self.sample_rate_hz, self.samples)


def mpeg_frame(head: bytes) -> MpegFrame | None:
    """Read the four bytes of an MPEG audio frame header; None when they are none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer_bits = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version_bits == 1 or layer_bits == 0 or rate_index == 3 or bitrate_index in (0, 15):
        return None
    layer = 4 - layer_bits
    low = version_bits != 3  # MPEG-2 and 2.5, the half and quarter rates
    rate = (44100, 48000, 32000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version_bits]
    bits = _MPEG_KBPS[(2 if low else 1, layer)][bitrate_index] * 1000
    channels = 1 if head[3] >> 6 == 3 else 2
    if layer == 1:
        return MpegFrame(1, rate, channels, 384, (12 * bits // rate + padding) * 4, 4)
    samples = 576 if layer == 3 and low else 1152
    side = 4 if layer == 2 else 4 + ((17 if channels == 2 else 9) if low else (32 if channels == 2 else 17))
    return MpegFrame(layer, rate, channels, samples, samples // 8 * bits // rate + padding, side)


def _mpeg_length(head: bytes) -> tuple[int, object] | None:
    """Return the length of an MPEG frame, and what stays the same in a stream, or None."""
    frame = mpeg_frame(head)
    return None if frame is None else (frame.length, frame.stream_key)


def adts_length(head: bytes) -> tuple[int, object] | None:
    """Return the length of the ADTS frame whose header is `head`, and what stays the same in a stream, or None."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return (length, (head[1], head[2] & 0xFC)) if length > 7 else None


def _find_frames(stream: BinaryIO, read_length: Callable[[bytes], tuple[int, object] | None]) -> int | None:
    """Return where the first run of three frames starts (fewer where the file ends), behind an ID3 tag or junk."""
    stream.seek(0)
    start = id3_length(stream.read(10))
    stream.seek(start)
    data = stream.read(SEARCH_BYTES + 8192)
    at = data.find(b"\xff")
    while 0 <= at < SEARCH_BYTES:
        position, run, key = at, 0, None
        while run < 3:
            found = read_length(data[position : position + 8])
            if found is None or (key is not None and found[1] != key):
                break
            position, key, run = position + found[0], found[1], run + 1
            if position >= len(data):
                break
        # A very short file may hold one or two frames, but then they have to end with it (a 128-byte ID3v1 tag aside).
        if run == 3 or (run and (position == len(data) or data[position : position + 3] == b"TAG")):
            return start + at
        if run == 2 and position > len(data) and at == 0:
            return start + at
        at = data.find(b"\xff", at + 1)
    return None


def find_mpeg(stream: BinaryIO) -> int | None:
    """Return the byte where MPEG audio frames start in `stream`; None when there are none."""
    return _find_frames(stream, _mpeg_length)


def find_adts(stream: BinaryIO) -> int | None:
    """Return the byte where ADTS frames start in `stream`; None when there are none."""
    return _find_frames(stream, adts_length)


def mpeg_declared_samples(stream: BinaryIO) -> tuple[int, int] | None:
    """Return (samples after the encoder's delay and padding, rate in Hz) that the first MPEG frame declares.

    The frame count is that of the Xing/Info header; delay and padding are those of the LAME tag. None without one.
    """
    start = find_mpeg(stream)
    if start is None:
        return None
    stream.seek(start)
    data = stream.read(512)
    frame = mpeg_frame(data)
    if frame is None or frame.layer != 3 or data[frame.side_bytes :][:4] not in (b"Xing", b"Info"):
        return None
    tag = data[frame.side_bytes :]
    (flags,) = struct.unpack(">I", tag[4:8])
    if not flags & 1:
        return None
    samples = struct.unpack(">I", tag[8:12])[0] * frame.samples
    lame = 8 + 4 * bin(flags & 3).count("1") + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    if tag[lame : lame + 4] in (b"LAME", b"Lavf", b"Lavc", b"L3.9"):
        packed = int.from_bytes(tag[lame + 21 : lame + 24], "big")
        samples -= (packed >> 12) + (packed & 0xFFF)
    return max(samples, 0), frame.sample_rate_hz
