"""What a file holds, decided by its first bytes and never by its name.

The names of formats are the ones that `AudioInfo.container` carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from backbeat.audio.mpeg import find_adts, find_mpeg, id3_length

_AUDIO_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"caff", "caf"),
    (0, b".snd", "au"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (4, b"ftyp", "mp4"),
    (4, b"moov", "mp4"),
    (4, b"mdat", "mp4"),
    (4, b"wide", "mp4"),
    (0, b"FLV\x01", "flv"),
    (0, b"wvpk", "wv"),
    (0, b"MAC ", "ape"),
    (0, b"TTA1", "tta"),
    (0, b"DSD ", "dsf"),
    (0, b"MPCK", "mpc8"),
    (0, b"MP+", "mpc"),
    (0, b"#!AMR", "amr"),
)

_OTHER_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MThd", "a MIDI file, notes without sound"),
    (8, b"sfbk", "a soundfont"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"SQLite format 3", "a database"),
    (0, b"version https://git-lfs", "a Git LFS pointer, the audio itself was not fetched"),
)


@dataclass(frozen=True)
class Content:
    """What the first bytes say: an audio container, or in words what else it is."""

    container: str | None
    what: str


def identify(stream: BinaryIO) -> Content:
    """Tell what `stream` holds by its content."""
    stream.seek(0)
    head = stream.read(4096)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return Content("wav", "WAV audio")
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return Content("avi", "an AVI film")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Content("aiff", "AIFF audio")
    for at, magic, name in _AUDIO_MAGIC:
        if head[at : at + len(magic)] == magic:
            return Content(name, f"{name} audio")
    start = id3_length(head)
    stream.seek(start)
    if stream.read(4) == b"fLaC":
        return Content("flac", "flac audio")
    for at, magic, what in _OTHER_MAGIC:
        if head[at : at + len(magic)] == magic:
            return Content(None, what)
    if find_mpeg(stream) is not None:
        return Content("mp3", "MPEG audio")
    if find_adts(stream) is not None:
        return Content("aac", "AAC audio")
    if start:
        return Content(None, "an ID3 tag with no MPEG audio behind it")
    if len(head) > 565 and all(head[i : i + 1] == b"G" for i in (0, 188, 376, 564)):
        return Content("mpegts", "an MPEG transport stream")
    if _is_text(head):
        return Content(None, "text")
    return Content(None, "no known audio format")


def _is_text(head: bytes) -> bool:
    """Tell whether bytes are readable text."""
    try:
        text = head[:1024].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < min(len(head), 1024) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char.isspace() for char in text)
