"""Makers of files that a program meets in the wild and must not choke on."""

from __future__ import annotations

import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from backbeat.audio import encode
from backbeat.errors import (
    AudioError,
    AudioNotFoundError,
    DamagedAudioError,
    SilentAudioError,
    UnsupportedAudioError,
)

RATE_HZ = 22050
SECONDS = 6.0


@dataclass(frozen=True)
class Expectation:
    """What has to happen: this error with this in its message, or (error None) a result whose warnings hold it."""

    error: type[AudioError] | None
    text: str = ""


def music(seconds: float = SECONDS, rate_hz: int = RATE_HZ, channels: int = 2) -> NDArray[np.float32]:
    """Return (channels, samples) of noise bursts twice a second over a chord, never silent."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    chord = sum(0.1 * np.sin(2 * np.pi * hz * time_s) for hz in (220.0, 277.2, 329.6))
    noise = np.random.default_rng(7).standard_normal((channels, len(time_s)))
    return (chord + 0.3 * noise * np.exp(-(time_s % 0.5) / 0.03)).astype(np.float32)


def _patched(source: Path, target: Path, at: float, junk: bytes) -> Path:
    data = bytearray(source.read_bytes())
    start = int(len(data) * at)
    data[start : start + len(junk)] = junk
    target.write_bytes(data)
    return target


def _cut(source: Path, target: Path, share: float) -> Path:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def _film(path: Path) -> Path:
    """Write an MP4 with a picture track and no sound."""
    import av

    with av.open(str(path), "w") as media:
        track = media.add_stream("mpeg4", rate=10)
        track.width = track.height = 64
        track.pix_fmt = "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), index, np.uint8), format="rgb24")
            media.mux(track.encode(frame))
        media.mux(track.encode(None))
    return path


def make_hostile_files(folder: Path) -> dict[str, tuple[Path, Expectation]]:
    """Write the files into `folder`; return by name the path and what reading it has to do.

    Whatever is not a regular file, or needs rights that root ignores, is left to the tests that need it, except the
    pipe, which is made where the system has pipes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sound = music()
    good = {}
    for suffix in (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aiff"):
        good[suffix] = folder / f"good{suffix}"
        encode(good[suffix], sound, RATE_HZ)
    junk = np.random.default_rng(3).bytes(1500)
    files: dict[str, tuple[Path, Expectation]] = {}

    def add(name: str, path: Path, error: type[AudioError] | None, text: str = "") -> None:
        files[name] = (path, Expectation(error, text))

    def write(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    add("missing", folder / "missing.wav", AudioNotFoundError, "does not exist")
    (folder / "folder.wav").mkdir(exist_ok=True)
    add("folder", folder / "folder.wav", AudioNotFoundError, "folder")
    if hasattr(os, "mkfifo"):
        if not (folder / "pipe.wav").exists():
            os.mkfifo(folder / "pipe.wav")
        add("pipe", folder / "pipe.wav", AudioNotFoundError, "pipe")
        add("device", Path("/dev/zero"), AudioNotFoundError, "device")
    for suffix in (".wav", ".mp3", ".flac", ".m4a"):
        add(f"empty{suffix}", write(f"empty{suffix}", b""), DamagedAudioError, "is empty")

    add("text", write("text.mp3", b"These are words, and no music.\n" * 50), UnsupportedAudioError, "text")
    add("picture", write("cover.flac", b"\x89PNG\r\n\x1a\n" + junk), UnsupportedAudioError, "PNG")
    with zipfile.ZipFile(folder / "songs.wav", "w") as archive:
        archive.writestr("song.txt", "la la la")
    add("zip", folder / "songs.wav", UnsupportedAudioError, "ZIP")
    add("random", write("random.mp3", np.random.default_rng(5).bytes(300_000)), UnsupportedAudioError, "not audio")
    add("zeros", write("zeros.wav", bytes(100_000)), UnsupportedAudioError, "not audio")
    add("midi", write("song.mid", b"MThd\0\0\0\6\0\1\0\1\0\x60"), UnsupportedAudioError, "MIDI")
    add("playlist", write("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"), UnsupportedAudioError, "text")
    add("film", _film(folder / "film.mp4"), UnsupportedAudioError, "only video")

    data = good[".m4a"].read_bytes()
    add("drm_m4p", write("shop.m4p", data.replace(b"mp4a", b"drms", 1)), UnsupportedAudioError, "DRM")
    data = bytearray(good[".wma"].read_bytes())
    guid = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    size, count = struct.unpack_from("<QI", data, 16)
    struct.pack_into("<QI", data, 16, size + 40, count + 1)
    data[30:30] = guid + struct.pack("<Q", 40) + bytes(16)
    add("drm_wma", write("shop.wma", bytes(data)), UnsupportedAudioError, "DRM")

    for suffix in (".wav", ".flac", ".mp3", ".ogg", ".aiff"):
        path = folder / f"header{suffix}"
        path.write_bytes(good[suffix].read_bytes()[: 44 if suffix == ".wav" else 40])
        error = UnsupportedAudioError if suffix == ".mp3" else DamagedAudioError
        add(f"header{suffix}", path, error)
    soundfile.write(folder / "no_samples.wav", np.zeros((0, 2)), RATE_HZ)
    add("no_samples.wav", folder / "no_samples.wav", DamagedAudioError, "no sound")

    for suffix in (".wav", ".flac", ".mp3", ".aiff"):
        path = _cut(good[suffix], folder / f"cut{suffix}", 0.5)
        add(f"cut{suffix}", path, None, "s of 6.0 s decoded")
    add("cut.ogg", _cut(good[".ogg"], folder / "cut.ogg", 0.5), None, "truncated")
    add("cut.opus", _cut(good[".opus"], folder / "cut.opus", 0.5), None, "truncated")
    add("cut.wma", _cut(good[".wma"], folder / "cut.wma", 0.5), None, "truncated")
    add("cut.aac", _cut(good[".aac"], folder / "cut.aac", 0.5), None)
    add("cut.m4a", _cut(good[".m4a"], folder / "cut.m4a", 0.5), DamagedAudioError, "truncated")
    add(
        "stump.wav", _cut(good[".wav"], folder / "stump.wav", 0.05), DamagedAudioError, "truncated: only 0.3 s of 6.0 s"
    )
    add("stump.mp3", _cut(good[".mp3"], folder / "stump.mp3", 0.05), DamagedAudioError, "truncated")

    for suffix in (".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma"):
        add(f"corrupt{suffix}", _patched(good[suffix], folder / f"corrupt{suffix}", 0.5, junk), None)
    add("corrupt.wav", _patched(good[".wav"], folder / "corrupt.wav", 0.5, junk), None)

    silence = np.zeros((2, RATE_HZ * 2), np.float32)
    for suffix in (".wav", ".flac", ".mp3", ".ogg", ".m4a"):
        encode(folder / f"silent{suffix}", silence, RATE_HZ)
        add(f"silent{suffix}", folder / f"silent{suffix}", SilentAudioError, "is silent")
    encode(folder / "offset.wav", silence + 0.25, RATE_HZ)
    add("offset.wav", folder / "offset.wav", SilentAudioError, "is silent")

    for name, value in (("nan", np.nan), ("infinity", np.inf)):
        broken = sound.copy()
        broken[1, RATE_HZ * 2] = value
        soundfile.write(folder / f"{name}.wav", broken.T, RATE_HZ, subtype="FLOAT")
        add(f"{name}.wav", folder / f"{name}.wav", DamagedAudioError, "at 2.000 s")
    absurd = np.random.default_rng(9).integers(0, 2**31 - 2**24, RATE_HZ, dtype=np.int32).view(np.float32)
    soundfile.write(folder / "absurd.wav", absurd, RATE_HZ, subtype="FLOAT")
    add("absurd.wav", folder / "absurd.wav", DamagedAudioError)

    for suffix, name in (
        (".mp3", "mp3_as.wav"),
        (".flac", "flac_as.mp3"),
        (".m4a", "m4a_as.ogg"),
        (".wav", "wav_as.txt"),
    ):
        add(name, write(name, good[suffix].read_bytes()), None)
    add("colon", write("file:with colon, “ä”.mp3", good[".mp3"].read_bytes()), None)
    add("tagged.mp3", write("tagged.mp3", _id3(40_000) + good[".mp3"].read_bytes() + b"TAG" + bytes(125)), None)
    add("junk_before.mp3", write("junk_before.mp3", b"\0" * 3000 + junk + good[".mp3"].read_bytes()), None)
    data = bytearray(good[".wav"].read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    add("streamed.wav", write("streamed.wav", bytes(data)), None)
    return files


def _id3(size: int) -> bytes:
    """Return an ID3v2 tag of `size` bytes of padding."""
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)
