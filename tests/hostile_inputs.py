"""What a service on the open internet is sent: files that lie, made from a fixed seed, each with its right answer.

`tests/hostile.py` has files that people meet; these are made by somebody who means harm.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from hostile import music

from backbeat.audio.encode import encode

RATE_HZ = 22050
SECONDS = 1.5

#: Status and code of an answer; code None where there is no error.
Answer = tuple[int, str | None]
HEARD: Answer = (200, None)
LARGE: Answer = (413, "too_large")
FOREIGN: Answer = (415, "unsupported_audio")
DAMAGED: Answer = (422, "unheard_audio")

Bodies = Iterator[tuple[str, bytes, Answer]]


def good_files(folder: Path) -> dict[str, bytes]:
    """Return the same sound in every format, by suffix without its dot."""
    files = {}
    for suffix in ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aac", "wma", "aiff", "webm"):
        encode(folder / f"good.{suffix}", music(SECONDS, RATE_HZ, 1), RATE_HZ)
        files[suffix] = (folder / f"good.{suffix}").read_bytes()
    return files


def pcm(count: int = round(SECONDS * RATE_HZ)) -> bytes:
    """Return 16-bit samples that are music."""
    return (music(count / RATE_HZ, RATE_HZ, 1)[0] * 20000).astype("<i2").tobytes()


def chunk(name: bytes, content: bytes, length: int | None = None, order: str = "<") -> bytes:
    """Return a chunk of RIFF or IFF, whose length may be a lie."""
    told = len(content) if length is None else length
    return name + struct.pack(f"{order}I", told) + content + b"\0" * (len(content) % 2)


def fmt(
    tag: int = 1, channels: int = 1, rate: int = RATE_HZ, bits: int = 16, align: int | None = None, more: bytes = b""
) -> bytes:
    """Return a chunk `fmt ` of WAV."""
    block = channels * bits // 8 & 0xFFFF if align is None else align
    fields = struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    return chunk(b"fmt ", fields + more)


def wav(*chunks: bytes, size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    """Return a WAV of chunks."""
    content = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(content) if size is None else size) + content


def floats(*values: float, dtype: str = "<f4") -> bytes:
    """Return float samples with some values in the middle."""
    samples = music(SECONDS, RATE_HZ, 1)[0].astype(dtype)
    samples[5000 : 5000 + len(values)] = values
    return samples.tobytes()


def wav_lies() -> Bodies:
    """WAV and its relatives."""
    data = chunk(b"data", pcm())
    guid = struct.pack("<HHI", 22, 16, 4) + b"\1\0" + bytes.fromhex("000000001000800000aa00389b71")
    junk_guid = struct.pack("<HHI", 22, 16, 4) + bytes(range(16))
    yield "wav plain", wav(fmt(), data), HEARD
    yield "wav no channels", wav(fmt(channels=0), data), DAMAGED
    yield "wav 65535 channels", wav(fmt(channels=65535), data), DAMAGED
    yield "wav 1024 channels", wav(fmt(channels=1024), data), HEARD
    yield "wav 1025 channels", wav(fmt(channels=1025), data), DAMAGED
    yield "wav rate 0", wav(fmt(rate=0), data), DAMAGED
    yield "wav rate 100", wav(fmt(rate=100), chunk(b"data", pcm(200))), HEARD
    yield "wav rate 3999", wav(fmt(rate=3999), data), HEARD
    yield "wav rate 1", wav(fmt(rate=1), chunk(b"data", pcm(60))), DAMAGED
    yield "wav rate 1 for hours", wav(fmt(rate=1), data), DAMAGED
    yield "wav rate 4 GHz", wav(fmt(rate=4_000_000_000), data), DAMAGED
    yield "wav rate 2 GHz", wav(fmt(rate=2_000_000_000), data), DAMAGED
    yield "wav rate max", wav(fmt(rate=0xFFFFFFFF), data), DAMAGED
    for bits, answer in ((0, FOREIGN), (1, HEARD), (7, HEARD), (65535, FOREIGN)):
        yield f"wav {bits} bits", wav(fmt(bits=bits), data), answer
    yield "wav align 0", wav(fmt(align=0), data), HEARD
    yield "wav align 65535", wav(fmt(align=65535), data), HEARD
    for tag in (2, 0x11, 0x31, 0x55, 0x2000, 0xF1AC):
        yield f"wav tag {tag:#x}", wav(fmt(tag), data), DAMAGED
    for tag in (0, 0x674F, 0xFFFF):
        yield f"wav tag {tag:#x}", wav(fmt(tag), data), FOREIGN
    yield "wav of WMA that is none", wav(fmt(0x160), data), HEARD
    yield "wav adpcm without blocks", wav(fmt(0x11, bits=4, align=0), data), HEARD
    yield "wav extensible", wav(fmt(0xFFFE, more=guid), data), HEARD
    yield "wav extensible of junk", wav(fmt(0xFFFE, more=junk_guid), data), FOREIGN
    yield "wav extensible cut", wav(fmt(0xFFFE, more=guid[:6]), data), FOREIGN
    yield "wav NaN", wav(fmt(3, bits=32), chunk(b"data", floats(np.nan))), DAMAGED
    yield "wav infinity", wav(fmt(3, bits=32), chunk(b"data", floats(-np.inf))), DAMAGED
    yield "wav absurd", wav(fmt(3, bits=32), chunk(b"data", floats(3e38))), DAMAGED
    yield "wav tiny", wav(fmt(3, bits=32), chunk(b"data", floats(1e-45, -1e-45))), HEARD
    yield "wav all NaN", wav(fmt(3, bits=64), chunk(b"data", b"\xff" * 80000)), DAMAGED
    yield "wav double beyond float", wav(fmt(3, bits=64), chunk(b"data", floats(1e308, dtype="<f8"))), DAMAGED
    yield "wav data beyond the file", wav(fmt(), chunk(b"data", pcm(), 0x7FFFF000 - 2)), HEARD
    yield "wav data of no length", wav(fmt(), chunk(b"data", pcm(), 0)), HEARD
    yield "wav data of all length", wav(fmt(), chunk(b"data", pcm(), 0xFFFFFFFF)), HEARD
    yield "wav RIFF 0", wav(fmt(), data, size=0), HEARD
    yield "wav RIFF max", wav(fmt(), data, size=0xFFFFFFFF), HEARD
    yield "wav without fmt", wav(data), DAMAGED
    yield "wav without data", wav(fmt()), DAMAGED
    yield "wav data before fmt", wav(data, fmt()), HEARD
    yield "wav fmt short", wav(chunk(b"fmt ", bytes(4)), data), DAMAGED
    yield "wav fmt endless", wav(chunk(b"fmt ", fmt()[8:], 0xFFFFFFFF), data), DAMAGED
    yield "wav fmt twice", wav(fmt(), fmt(channels=2, rate=8000), data), HEARD
    yield "wav fmt 65535 channels then right", wav(fmt(channels=65535), fmt(), data), DAMAGED
    yield "wav odd chunk", wav(chunk(b"LIST", b"INFOx"), fmt(), data), HEARD
    yield "wav chunk endless", wav(fmt(), chunk(b"junk", b"", 0xFFFFFFFF), data), DAMAGED
    yield "wav chunk back to itself", wav(fmt(), chunk(b"junk", b"", 0xFFFFFFF8), data), DAMAGED
    yield "wav ten thousand chunks", wav(fmt(), chunk(b"junk", b"") * 10000, data), HEARD
    yield "wav in wav", wav(fmt(), chunk(b"LIST", wav(fmt(), data)), data), HEARD
    nested = b""
    for _ in range(2000):
        nested = chunk(b"LIST", b"INFO" + nested)
    yield "wav lists in lists", wav(fmt(), nested, data), HEARD
    yield "wav bext of junk", wav(chunk(b"bext", bytes(range(256)) * 4), fmt(), data), HEARD
    yield "wav cue of millions", wav(fmt(), chunk(b"cue ", struct.pack("<I", 0xFFFFFFFF)), data), HEARD
    yield "wav smpl of millions", wav(fmt(), chunk(b"smpl", b"\xff" * 36), data), HEARD
    yield "wav fact lies", wav(fmt(), chunk(b"fact", b"\xff" * 4), data), HEARD
    yield "wav id3 of junk", wav(fmt(), chunk(b"id3 ", b"ID3\4\0\0\x7f\x7f\x7f\x7f"), data), HEARD
    yield "wav silence", wav(fmt(), chunk(b"data", bytes(40000))), DAMAGED
    yield "wav one sample", wav(fmt(), chunk(b"data", b"\1\1")), DAMAGED
    yield "wav half a sample", wav(fmt(), chunk(b"data", b"\1")), DAMAGED
    yield "wav big-endian", b"RIFX" + wav(fmt(), data)[4:], FOREIGN
    yield "rf64 without ds64", wav(fmt(), chunk(b"data", pcm(), 0xFFFFFFFF), magic=b"RF64", size=0xFFFFFFFF), DAMAGED
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 1 << 63, 1 << 63, 1 << 63, 0xFFFFFFFF))
    yield "rf64 ds64 lies", wav(ds64, fmt(), chunk(b"data", pcm(), 0xFFFFFFFF), magic=b"RF64"), DAMAGED
    w64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
    wave = b"wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    junk = b"fmt \xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    for size in (0, 1, 23, 1 << 63, (1 << 64) - 1):
        lie = struct.pack("<Q", size)
        yield f"w64 chunk of {size:#x}", w64 + lie + wave + junk + lie + fmt()[8:] + bytes(4000), DAMAGED


def aiff_lies() -> Bodies:
    """AIFF."""
    rate = bytes.fromhex("400dac44000000000000")  # 44100 as an 80-bit float

    def aiff(comm: bytes, ssnd: bytes, kind: bytes = b"AIFF") -> bytes:
        content = kind + comm + ssnd
        return b"FORM" + struct.pack(">I", len(content)) + content

    def comm(channels: int = 1, frames: int = 33075, bits: int = 16, hz: bytes = rate, more: bytes = b"") -> bytes:
        return chunk(b"COMM", struct.pack(">HIH", channels, frames, bits) + hz + more, order=">")

    def ssnd(offset: int = 0, length: int | None = None) -> bytes:
        return chunk(b"SSND", struct.pack(">II", offset, 0) + pcm(), length, ">")

    yield "aiff plain", aiff(comm(), ssnd()), HEARD
    yield "aiff no channels", aiff(comm(0), ssnd()), DAMAGED
    yield "aiff 65535 channels", aiff(comm(65535), ssnd()), DAMAGED
    yield "aiff no bits", aiff(comm(bits=0), ssnd()), HEARD
    yield "aiff 65535 bits", aiff(comm(bits=65535), ssnd()), DAMAGED
    yield "aiff frames without end", aiff(comm(frames=0xFFFFFFFF), ssnd()), HEARD
    yield "aiff rate NaN", aiff(comm(hz=b"\x7f\xff" + b"\xff" * 8), ssnd()), DAMAGED
    yield "aiff rate 0", aiff(comm(hz=bytes(10)), ssnd()), DAMAGED
    yield "aiff rate below 0", aiff(comm(hz=b"\xc0\x0d\xac\x44" + bytes(6)), ssnd()), DAMAGED
    yield "aiff rate beyond", aiff(comm(hz=b"\x7f\xfe" + b"\xff" * 8), ssnd()), DAMAGED
    yield "aiff offset beyond", aiff(comm(), ssnd(0xFFFFFFF0)), DAMAGED
    yield "aiff sound beyond", aiff(comm(), ssnd(length=0x7FFFFFF0)), HEARD
    yield "aiff without COMM", aiff(b"", ssnd()), DAMAGED
    yield "aiff without SSND", aiff(comm(), b""), DAMAGED
    yield "aifc of junk", aiff(comm(more=b"JUNK\0\0"), ssnd(), b"AIFC"), DAMAGED
    yield "aifc name without end", aiff(comm(more=b"NONE\xff"), ssnd(), b"AIFC"), HEARD
    yield "au without end", b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, 3, 22050, 1) + pcm(), HEARD
    yield "au header beyond", b".snd" + struct.pack(">IIIII", 0xFFFFFFFF, 0, 3, 22050, 1) + pcm(), DAMAGED
    yield "au no channels", b".snd" + struct.pack(">IIIII", 24, 0, 3, 22050, 0) + pcm(), DAMAGED
    yield "caf chunk below 0", b"caff\0\1\0\0desc" + b"\xff" * 8 + bytes(4000), DAMAGED
    yield "caf without data", b"caff\0\1\0\0desc" + struct.pack(">Q", 32) + bytes(32), DAMAGED


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value


def _crc_table(polynomial: int, bits: int) -> list[int]:
    return [_crc(bytes([byte]), polynomial, bits) for byte in range(256)]


_CRC8, _CRC16, _CRC32 = _crc_table(7, 8), _crc_table(0x8005, 16), _crc_table(0x04C11DB7, 32)


def streaminfo(rate: int = RATE_HZ, channels: int = 1, total: int = 0, block: int = 65535) -> bytes:
    """Return the content of a FLAC's STREAMINFO."""
    packed = rate << 44 | (channels - 1 & 7) << 41 | 15 << 36 | total
    return struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)


def flac(info: bytes, rest: bytes = b"") -> bytes:
    """Return a FLAC with one block of metadata."""
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + rest


def flac_silence(seconds: float, rate: int = RATE_HZ, told: int | None = None) -> bytes:
    """Return hours in kilobytes: frames of 65535 samples, all the same, of 13 bytes or so."""
    frames = bytearray()
    for number in range(round(seconds * rate) // 65535):
        head = b"\xff\xf8\x70\x08" + chr(number).encode("utf-8", "surrogatepass") + b"\xff\xfe"
        crc = 0
        for byte in head:
            crc = _CRC8[crc ^ byte]
        frame = head + bytes([crc]) + b"\0\0\0"
        crc = 0
        for byte in frame:
            crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
        frames += frame + struct.pack(">H", crc)
    return flac(streaminfo(rate, total=round(seconds * rate) if told is None else told), bytes(frames))


def flac_lies(good: bytes) -> Bodies:
    """FLAC."""
    body = good[42:]
    yield "flac rate 0", flac(streaminfo(0), body), HEARD
    yield "flac 8 channels of one", flac(streaminfo(channels=8), body), DAMAGED
    yield "flac total beyond", good[:21] + b"\xff" * 5 + good[26:], LARGE
    yield "flac blocks of 0", good[:8] + bytes(4) + good[12:], HEARD
    yield "flac info short", flac(bytes(10), body), DAMAGED
    yield "flac only info", flac(streaminfo()), DAMAGED
    yield "flac metadata beyond", b"fLaC\x04\xff\xff\xff" + bytes(100), DAMAGED
    yield "flac picture beyond", good[:4] + b"\0" + good[5:42] + b"\x86\0\1\0" + b"\xff" * 256 + body, HEARD
    yield "flac seektable of junk", good[:4] + b"\0" + good[5:42] + b"\x83\0\0\x12" + b"\xff" * 18 + body, HEARD
    yield "flac metadata without end", good[:4] + b"\0" + good[5:42] + b"\1\0\0\0" * 50000, DAMAGED
    yield "flac comments of millions", good[:4] + b"\0" + good[5:42] + b"\x84\0\0\x08" + b"\xff" * 8 + body, HEARD
    yield "flac behind ID3 of itself", b"ID3\4\0\0\0\0\0\0" + good, HEARD
    yield "flac 8 hours", flac_silence(8 * 3600), LARGE
    yield "flac 8 hours untold", flac_silence(8 * 3600, told=0), LARGE
    yield "flac 8 hours told as a second", flac_silence(8 * 3600, told=RATE_HZ), DAMAGED
    yield "flac minute of 655350 Hz", flac_silence(60, 655350, told=0), DAMAGED


def ogg_page(content: bytes, flags: int = 0, granule: int = 0, number: int = 0, serial: int = 1) -> bytes:
    """Return a page with one packet of up to 64 kB, or with what `content` has in packets of equal lengths."""
    return ogg_packets([content], flags, granule, number, serial)


def ogg_packets(packets: list[bytes], flags: int = 0, granule: int = 0, number: int = 0, serial: int = 1) -> bytes:
    """Return a page of packets."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, number, 0, len(lacing))
    page = bytearray(head + lacing + b"".join(packets))
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC32[crc >> 24 ^ byte]
    page[22:26] = struct.pack("<I", crc)
    return bytes(page)


def opus_head(channels: int = 1, family: int = 0, version: int = 1, more: bytes = b"", skip: int = 0) -> bytes:
    """Return the first packet of Opus."""
    return b"OpusHead" + struct.pack("<BBHIhB", version, channels, skip, 48000, 0, family) + more


_TAGS = b"OpusTags" + struct.pack("<II", 0, 0)


def opus_silence(seconds: float, told: bool = True) -> bytes:
    """Return Opus of packets of 2 bytes, each of them 120 ms of nothing."""
    pages = [ogg_page(opus_head(), 2), ogg_page(_TAGS, number=1)]
    packet = bytes([0x1B, 0x02])  # two frames of 60 ms, both empty
    count = round(seconds / 0.12 / 255)
    for number in range(count):
        granule = (number + 1) * 255 * 5760 if told else 1000 + number
        pages.append(ogg_packets([packet] * 255, 4 if number == count - 1 else 0, granule, number + 2))
    return b"".join(pages)


def ogg_lies(opus: bytes, vorbis: bytes) -> Bodies:
    """Ogg with Vorbis, Opus and what is neither."""

    def file(head: bytes, *packets: bytes) -> bytes:
        first = ogg_page(head, 2)
        return first + b"".join(ogg_page(packet, 0, -1, at + 1) for at, packet in enumerate(packets))

    def vorbis_head(channels: int = 1, rate: int = RATE_HZ, blocks: int = 0xB8) -> bytes:
        return b"\1vorbis" + struct.pack("<IBIiiiBB", 0, channels, rate, 0, 0, 0, blocks, 1)

    comment = b"\3vorbis" + struct.pack("<II", 0, 0) + b"\1"
    noise = np.random.default_rng(21).bytes(3000)
    yield "ogg empty pages", ogg_page(b"", 2) * 2000, DAMAGED
    yield "ogg page of one byte too few", opus[:-1], DAMAGED
    yield "ogg only lacing", b"OggS" + bytes(22) + b"\xff" * 256, DAMAGED
    yield "ogg of noise", file(noise, noise), DAMAGED
    yield "ogg theora", file(b"\x80theora\3\2\1" + bytes(33), noise), FOREIGN
    yield "ogg speex of junk", file(b"Speex   " + b"\xff" * 72, noise), DAMAGED
    yield "ogg skeleton", file(b"fishead\0" + bytes(56), noise), DAMAGED
    yield "ogg flac of junk", file(b"\x7fFLAC\1\0\0\1fLaC" + b"\xff" * 38, noise), DAMAGED
    yield "vorbis no channels", file(vorbis_head(0), comment, noise), DAMAGED
    yield "vorbis rate 0", file(vorbis_head(rate=0), comment, noise), DAMAGED
    yield "vorbis rate max", file(vorbis_head(rate=0xFFFFFFFF), comment, noise), DAMAGED
    yield "vorbis blocks", file(vorbis_head(blocks=0xFF), comment, noise), DAMAGED
    yield "vorbis setup of noise", file(vorbis_head(), comment, b"\5vorbis" + noise), DAMAGED
    yield "vorbis comments of millions", file(vorbis_head(), b"\3vorbis" + b"\xff" * 40, noise), DAMAGED
    yield "vorbis no setup", file(vorbis_head(), comment), DAMAGED
    yield "vorbis head thrice", file(vorbis_head(), vorbis_head(), vorbis_head()), DAMAGED
    yield "vorbis then itself", vorbis + vorbis, HEARD
    yield "opus then itself", opus + opus, HEARD
    yield "opus no channels", file(opus_head(0), _TAGS, noise[:1200]), DAMAGED
    yield "opus 255 channels", file(opus_head(255, 255, more=bytes([255, 0]) + bytes(255)), _TAGS, noise[:99]), DAMAGED
    yield "opus family unknown", file(opus_head(2, 200), _TAGS, noise[:1200]), DAMAGED
    yield "opus version 99", file(opus_head(version=99), _TAGS, noise[:1200]), DAMAGED
    yield "opus head cut", file(b"OpusHead\1", _TAGS, noise[:1200]), DAMAGED
    yield "opus skips all", file(opus_head(skip=65535), _TAGS, bytes([0x1B, 2])), DAMAGED
    yield "opus tags of millions", file(opus_head(), b"OpusTags" + b"\xff" * 8, noise[:1200]), DAMAGED
    yield (
        "opus packets of noise",
        file(opus_head(), _TAGS, *(noise[at : at + 99] for at in range(0, 2970, 99))),
        DAMAGED,
    )
    yield "opus granule below 0", file(opus_head(), _TAGS) + ogg_page(bytes([0x1B, 2]), 4, -(1 << 62), 2), DAMAGED
    yield "opus granule beyond", file(opus_head(), _TAGS) + ogg_page(bytes([0x1B, 2]), 4, (1 << 63) - 1, 2), LARGE
    yield "opus 8 hours", opus_silence(8 * 3600), LARGE
    yield "opus 8 hours told as nothing", opus_silence(8 * 3600, told=False), LARGE


def _id3(size: int, content: bytes = b"", flags: int = 0, version: int = 3) -> bytes:
    return b"ID3" + bytes([version, 0, flags, *(size >> shift & 0x7F for shift in (21, 14, 7, 0))]) + content


def mp3_lies(good: bytes) -> Bodies:
    """MP3, ID3 and ADTS."""
    at = good.find(b"Info") if b"Info" in good[:200] else good.find(b"Xing")
    begin = good.find(b"\xff\xfb") if good.find(b"\xff\xfb") >= 0 else good.find(b"\xff\xf3")

    def told(frames: int, size: int = 1 << 20) -> bytes:
        return good[: at + 4] + struct.pack(">III", 3, frames, size) + good[at + 16 :]

    apic = b"APIC\xff\xff\xff\xff\0\0\0image/png\0\3\0"
    frame = b"\xff\xe3\x18\xc4" + bytes(68)  # MPEG-2.5, 8 kbit/s, 8 kHz, one channel: 72 ms in 72 bytes
    yield "mp3 plain", good, HEARD
    yield "mp3 frames without end", told(0xFFFFFFFF, 0xFFFFFFFF), LARGE
    yield "mp3 frames of an hour", told(3600 * 40), LARGE
    yield "mp3 frames none", told(0), HEARD
    yield "mp3 frames one", told(1), HEARD
    yield "mp3 delay max", good[: at + 141] + b"\xff\xff\xff" + good[at + 144 :], HEARD
    yield "mp3 tag of all bytes", good[:at] + b"Xing" + b"\xff" * 116 + good[at + 120 :], LARGE
    yield "mp3 only its first frame", good[begin : begin + 209], FOREIGN
    yield "id3 beyond the file", _id3((1 << 28) - 1) + good, FOREIGN
    yield "id3 of nothing else", _id3(5000, bytes(5000)), FOREIGN
    yield "id3 of text", _id3(20, b"TIT2\0\0\0\5\0\0\0abcd") + b"words, only words " * 99, FOREIGN
    yield "id3 picture beyond", _id3(200, apic.ljust(200, b"\0")) + good[begin:], HEARD
    yield "id3 frames below 0", _id3(60, b"TXXX\x80\0\0\0\0\0".ljust(60, b"\xff")) + good[begin:], HEARD
    yield "id3 unsynchronised", _id3(60, b"\xff\0" * 30, 0x80, 4) + good[begin:], HEARD
    yield "id3 extended header lies", _id3(60, b"\xff\xff\xff\xff".ljust(60, b"\0"), 0x40) + good[begin:], HEARD
    yield "id3 version 255", _id3(60, bytes(60), version=255) + good[begin:], HEARD
    yield "id3 a hundred times", _id3(10, bytes(10)) * 100 + good[begin:], HEARD
    yield "mp3 half an hour and more in 2 MB", frame * 27000, LARGE
    yield "mp3 frames of zeros", b"\xff\xfb\x90\xc4" * 3000, FOREIGN
    yield "mp3 free format", b"\xff\xfb\x00\xc4" + bytes(400) + good[begin:], HEARD
    yield "mp3 syncs only", b"\xff" * 20000, FOREIGN
    yield "adts of no length", b"\xff\xf1\x50\x80\0\x1f\xfc" * 3000, FOREIGN
    yield "adts of headers", b"\xff\xf1\x50\x80\1\x1f\xfc\0" * 3000, DAMAGED
    yield (
        "adts of noise",
        b"".join(b"\xff\xf1\x50\x80\x08\x1f\xfc" + good[i : i + 57] for i in range(400, 2400, 57)),
        DAMAGED,
    )


def box(name: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    """Return a box of MP4, whose size may be a lie."""
    return struct.pack(">I", 8 + len(content) if size is None else size) + name + content


def mp4_lies(good: bytes, address: str) -> Bodies:
    """MP4."""

    def field(name: bytes, at: int, value: bytes) -> bytes:
        found = good.find(name) + 4 + at
        return good[:found] + value + good[found + len(value) :]

    ftyp = box(b"ftyp", b"M4A \0\0\0\0M4A isom")
    full = b"\xff\xff\xff\xff"
    deep = b""
    for _ in range(3000):
        deep = box(b"moov", deep)
    traks = b""
    for _ in range(1000):
        traks = box(b"trak", traks)
    yield "mp4 only its type", ftyp, DAMAGED
    yield "mp4 without index", ftyp + box(b"mdat", bytes(5000)), DAMAGED
    yield "mp4 box of 1 byte", ftyp + box(b"moov", size=1) + bytes(100), DAMAGED
    yield "mp4 box of 7 bytes", ftyp + box(b"moov", size=7) + bytes(100), DAMAGED
    yield "mp4 box to the end", ftyp + box(b"moov", bytes(5000), size=0), FOREIGN
    yield "mp4 box of 4 GB", ftyp + box(b"moov", bytes(5000), size=0xFFFFFFFF), FOREIGN
    yield "mp4 box of 16 EB", ftyp + box(b"moov", b"\xff" * 8 + bytes(5000), size=1), DAMAGED
    yield "mp4 wide box of 0", ftyp + box(b"moov", bytes(5000), size=1), DAMAGED
    yield "mp4 boxes in boxes", ftyp + deep, DAMAGED
    yield "mp4 tracks in tracks", ftyp + box(b"moov", traks), FOREIGN
    yield "mp4 ten thousand empty tracks", ftyp + box(b"moov", box(b"trak") * 10000), DAMAGED
    yield "mp4 ten thousand empty indexes", ftyp + box(b"moov") * 10000, FOREIGN
    yield "mp4 boxes of zeros", ftyp + bytes(100_000), DAMAGED
    yield "mp4 film timescale 0", field(b"mvhd", 12, bytes(4)), HEARD
    yield "mp4 timescale 0", field(b"mdhd", 12, bytes(4)), DAMAGED
    yield "mp4 timescale max", field(b"mdhd", 12, full), DAMAGED
    yield "mp4 lasts for ever", field(b"mdhd", 16, full), HEARD
    yield "mp4 lasts no time", field(b"mdhd", 16, bytes(4)), HEARD
    yield "mp4 no channels", field(b"mp4a", 16, bytes(2)), HEARD
    yield "mp4 65535 channels", field(b"mp4a", 16, b"\xff\xff"), HEARD
    yield "mp4 rate 0", field(b"mp4a", 24, bytes(4)), HEARD
    yield "mp4 codec unknown", field(b"mp4a", -4, b"zzzz"), HEARD
    yield "mp4 protected", field(b"mp4a", -4, b"drms"), FOREIGN
    yield "mp4 encrypted", field(b"mp4a", -4, b"enca"), FOREIGN
    yield "mp4 entries of millions", field(b"stsd", 4, full), DAMAGED
    yield "mp4 times of millions", field(b"stts", 4, full), DAMAGED
    yield "mp4 time steps max", field(b"stts", 12, full), HEARD
    yield "mp4 samples of millions", field(b"stsz", 8, full), DAMAGED
    yield "mp4 samples of 2 GB", field(b"stsz", 4, b"\x7f\xff\xff\xff"), DAMAGED
    yield "mp4 chunks of millions", field(b"stco", 4, full), HEARD
    yield "mp4 chunks beyond", field(b"stco", 8, full), DAMAGED
    yield "mp4 chunk of all samples", field(b"stsc", 12, full), DAMAGED
    yield "mp4 codec private cut", field(b"esds", 4, b"\3\xff\xff\xff\x7f"), HEARD
    far = box(b"dref", bytes(4) + struct.pack(">I", 1) + box(b"url ", bytes(4) + f"{address}/far.m4a".encode() + b"\0"))
    near = good.find(b"dref") - 4
    length = struct.unpack(">I", good[near : near + 4])[0]
    assert len(far) != length
    grown = good[:near] + far + good[near + length :]
    yield "mp4 data elsewhere", grown, FOREIGN
    rdrf = box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", 40) + f"{address}/film.mov".encode().ljust(40, b"\0"))
    yield "mov that names another", box(b"moov", box(b"rmra", box(b"rmda", rdrf))), FOREIGN


def wma_lies(good: bytes) -> Bodies:
    """WMA."""
    yield "asf header alone", good[:30], DAMAGED
    yield "asf header beyond", good[:16] + b"\xff" * 8 + good[24:], HEARD
    yield "asf header of 0", good[:16] + bytes(8) + good[24:], HEARD
    yield "asf objects of millions", good[:24] + b"\xff" * 4 + good[28:], HEARD
    yield "asf object of 0", good[:46] + bytes(8) + good[54:], DAMAGED
    yield "asf object beyond", good[:46] + b"\xff" * 7 + b"\x7f" + good[54:], HEARD
    yield "asf of zeros", good[:16] + bytes(5000), DAMAGED
    yield "asf of ones", good[:16] + b"\xff" * 5000, DAMAGED


def ebml(name: bytes, content: bytes = b"", size: bytes | None = None) -> bytes:
    """Return an element of Matroska, whose size may be a lie."""
    return name + ((1 << 56) + len(content)).to_bytes(8, "big") * (size is None) + (size or b"") + content


def matroska_lies(good: bytes) -> Bodies:
    """Matroska and WebM."""
    head = ebml(b"\x1a\x45\xdf\xa3", ebml(b"\x42\x82", b"webm"))
    segment = b"\x18\x53\x80\x67"
    unknown = b"\x01" + b"\xff" * 7
    nested = b""
    for _ in range(2000):
        nested = ebml(b"\xae", nested)
    yield "webm head alone", head, DAMAGED
    yield "webm type unknown", ebml(b"\x1a\x45\xdf\xa3", ebml(b"\x42\x82", b"words")) + good[40:], HEARD
    yield "webm version 255", head[:-7] + ebml(b"\x42\x85", b"\xff"), DAMAGED
    yield "webm segment without end", head + ebml(segment, bytes(5000), unknown), DAMAGED
    yield "webm segment beyond", head + ebml(segment, bytes(5000), b"\x01\x7f" + b"\xff" * 6), DAMAGED
    yield "webm tracks in tracks", head + ebml(segment, ebml(b"\x16\x54\xae\x6b", nested)), DAMAGED
    yield "webm void beyond", head + ebml(segment, ebml(b"\xec", b"", b"\x01\x7f" + b"\xff" * 6)), DAMAGED
    yield "webm element of no length", head + ebml(segment, b"\xec\x80" * 20000), DAMAGED
    yield "webm segments in segments", head + ebml(segment, size=unknown) * 2000, DAMAGED
    yield "webm size of 0 bytes", head + segment + bytes(3000), DAMAGED
    entry = (
        ebml(b"\xd7", b"\1")
        + ebml(b"\x83", b"\2")
        + ebml(b"\x86", b"A_OPUS")
        + ebml(b"\xe1", ebml(b"\xb5", b"\xff" * 8))
    )
    yield "webm rate NaN", head + ebml(segment, ebml(b"\x16\x54\xae\x6b", ebml(b"\xae", entry))), DAMAGED
    at = good.find(b"OpusHead")
    yield "webm opus no channels", good[: at + 9] + b"\0" + good[at + 10 :], DAMAGED


def other_lies() -> Bodies:
    """Formats that libav would take, of which there is only the beginning."""
    noise = np.random.default_rng(22).bytes(6000)
    yield "flv of noise", b"FLV\1\5\0\0\0\x09\0\0\0\0\x08\xff\xff\xff" + noise, LARGE
    yield "amr of noise", b"#!AMR\n" + noise, HEARD
    yield "amr-wb of noise", b"#!AMR-WB\n" + noise, HEARD
    for name, magic in (
        ("avi", b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrlavih"),
        ("flv", b"FLV\1\5\0\0\0\x09\0\0\0\0\x08\xff\xff\xff"),
        ("wavpack", b"wvpk\xff\xff\xff\xff\x10\4"),
        ("ape", b"MAC \x96\x0f\0\0"),
        ("tta", b"TTA1\1\0\xff\xff\xff\xff"),
        ("dsf", b"DSD \x1c\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("musepack 8", b"MPCKSH\xff\xff\xff\xff"),
        ("musepack 7", b"MP+\7\xff\xff\xff\xff"),
        ("amr", b"#!AMR\n"),
        ("amr-wb", b"#!AMR-WB\n"),
    ):
        if name not in ("flv", "amr", "amr-wb"):
            yield f"{name} of noise", magic + noise, DAMAGED
        yield f"{name} alone", magic, DAMAGED
    yield "ts of noise", b"".join(b"G" + noise[at : at + 187] for at in range(0, 5000, 188)), DAMAGED
    yield "ts of padding", (b"G\x1f\xff\x10" + b"\xff" * 184) * 200, DAMAGED


def no_audio(address: str, song: Path) -> Bodies:
    """Files that are no audio at all; some name audio elsewhere, which nobody must fetch."""
    far, near = f"{address}/far.wav", f"file://{song}"

    def zipped(*entries: tuple[str, bytes]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return out.getvalue()

    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("../../etc/passwd")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"root"))

    class Bad:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (print, (far,))

    port = address.rpartition(":")[2]
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
    text = {
        "words": "These are words, and no music.\n" * 40,
        "html": f"<!doctype html><html><body><audio src='{far}'></audio></body></html>",
        "json": json.dumps({"file": far}),
        "xml entities": f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "{near}">]><a>&b;</a>',
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{far}"/></svg>',
        "m3u": f"{far}\n{song}\n",
        "m3u with head": f"#EXTM3U\n#EXTINF:1,x\n{far}\n",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{far}\n#EXTINF:9,\n{near}\n#EXT-X-ENDLIST\n",
        "hls with key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{far}"\n#EXTINF:9,\n{near}\n#EXT-X-ENDLIST\n',
        "hls of a byte range": f"#EXTM3U\n#EXTINF:9,\nconcat:{song}|{far}\n#EXT-X-ENDLIST\n",
        "pls": f"[playlist]\nFile1={far}\nFile2={near}\nNumberOfEntries=2\nVersion=2\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{song}'\nfile '{far}'\n",
        "sdp": sdp,
        "asx": f'<asx version="3.0"><entry><ref href="{far}"/></entry></asx>',
        "asf redirect": f"[Reference]\nRef1={far}?MSWMExt=.asf\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{far}</BaseURL></MPD>',
        "smil": f"<smil><body><audio src='{far}'/></body></smil>",
        "ffmetadata": ";FFMETADATA1\ntitle=x\n",
        "address": far,
        "path": str(song),
        "data address": "data:audio/wav;base64,UklGRg==",
        "script": "#!/bin/sh\ncurl " + far,
        "avisynth": f'WavSource("{song}")',
        "subtitles": "1\n00:00:00,000 --> 00:00:01,000\nla la la\n",
    }
    for name, content in text.items():
        yield name, content.encode(), FOREIGN
    yield "hls behind an ID3 tag", _id3(10, bytes(10)) + text["hls"].encode(), FOREIGN
    yield "hls behind a byte order mark", b"\xef\xbb\xbf" + text["hls"].encode(), FOREIGN
    yield "hls in UTF-16", text["hls"].encode("utf-16"), FOREIGN
    yield "zip", zipped(("song.wav", b"RIFF")), FOREIGN
    yield "zip of ten megabytes", zipped(("song.wav", bytes(10_000_000))), FOREIGN
    yield "zip in zip in zip", zipped(("a.zip", zipped(("b.zip", zipped(("c", bytes(1_000_000))))))), FOREIGN
    yield "zip that climbs", zipped(("../../../tmp/x.wav", b"RIFF")), FOREIGN
    yield "gzip of silence", gzip.compress(wav(fmt(), chunk(b"data", bytes(9_000_000))), mtime=0), FOREIGN
    yield "tar", tar.getvalue(), FOREIGN
    yield "pickle", pickle.dumps(Bad()), FOREIGN
    yield "pickle of old", b"cos\nsystem\n(S'true'\ntR.", FOREIGN
    yield "pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n", FOREIGN
    yield "elf", b"\x7fELF\2\1\1" + bytes(500), FOREIGN
    yield "exe", b"MZ\x90\0" + bytes(500), FOREIGN
    yield "wasm", b"\0asm\1\0\0\0", FOREIGN
    yield "png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\xff" * 100, FOREIGN
    yield "jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(100), FOREIGN
    yield "midi", b"MThd\0\0\0\6\0\1\xff\xff\0\x60", FOREIGN
    yield "numpy", b"\x93NUMPY\1\0v\0{'descr': '|O', 'shape': (9999999999,)}", FOREIGN
    yield "sqlite", b"SQLite format 3\0" + bytes(100), FOREIGN
    yield "java", pickle.PROTO + b"\xca\xfe\xba\xbe" + bytes(60), FOREIGN
    for byte in (0, 10, 35, 82, 79, 102, 255):
        yield f"one byte {byte}", bytes([byte]), FOREIGN
    for magic in (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b"\xff\xfb", b"\x1a\x45\xdf\xa3"):
        yield f"only {magic!r}", magic, FOREIGN if magic in (b"RIFF", b"ID3", b"FORM", b"\xff\xfb") else DAMAGED
    yield "zeros", bytes(200_000), FOREIGN
    yield "ones", b"\xff" * 200_000, FOREIGN
    yield "noise", np.random.default_rng(23).bytes(300_000), FOREIGN
    yield "newlines", b"\n" * 100_000, FOREIGN
    yield "NUL and text", b"\0" + b"words " * 1000, FOREIGN


#: What comes of each format when it is cut at five places, and when bits are flipped in it, five times: H for heard,
#: D for damaged, F for foreign, L for too large.
FATES = {
    "wav": "DDDHH/DFHHH",
    "flac": "DDDHH/HDHHH",
    "mp3": "FDDHH/HHHHH",
    "ogg": "DDDHH/DDDDD",
    "opus": "DDDDD/DDDDD",
    "m4a": "DDDDH/HDFFH",
    "aac": "FFDHH/DHHHH",
    "wma": "DDDHH/FDDHH",
    "aiff": "DDDHH/FDDHH",
    "webm": "DDDHH/DFHHF",
}
LETTERS = {"H": HEARD, "D": DAMAGED, "F": FOREIGN, "L": LARGE}


def damaged(good: dict[str, bytes]) -> Bodies:
    """Each format cut and with bits flipped, at places from a seed."""
    for number, (suffix, fates) in enumerate(FATES.items()):
        data = good[suffix]
        rng = np.random.default_rng(100 + number)
        cuts, flips = fates.split("/")
        for letter, share in zip(cuts, (0.005, 0.03, 0.25, 0.9, 0.999), strict=True):
            yield f"{suffix} cut at {share}", data[: max(5, round(len(data) * share))], LETTERS[letter]
        for at, letter in enumerate(flips):
            flipped = bytearray(data)
            # In the headers first, then anywhere.
            for place in rng.integers(0, (64, 256, 1024, len(data), len(data))[at], 4 + 8 * at):
                flipped[place] ^= 1 << int(rng.integers(8))
            yield f"{suffix} flipped {at}", bytes(flipped), LETTERS[letter]


def bodies(good: dict[str, bytes], address: str, song: Path) -> list[tuple[str, bytes, Answer]]:
    """Return all of them, by name, with the answer that each should get.

    `address` is one of this machine where somebody notes who comes, `song` a file that a playlist may name.
    """
    return [
        *wav_lies(),
        *aiff_lies(),
        *flac_lies(good["flac"]),
        *ogg_lies(good["opus"], good["ogg"]),
        *mp3_lies(good["mp3"]),
        *mp4_lies(good["m4a"], address),
        *wma_lies(good["wma"]),
        *matroska_lies(good["webm"]),
        *other_lies(),
        *no_audio(address, song),
        *damaged(good),
    ]
