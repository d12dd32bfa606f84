"""Every format at many rates, depths and channels: what was written is heard, at its pitch, level and time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from backbeat.audio import decode, encode, probe
from backbeat.errors import ConfigError, UnsupportedAudioError

SECONDS = 2.0
CLICKS_S = (0.5, 1.25)
TONE_HZ = 1000.0
TONE_PEAK = 0.25

#: suffix, options of `encode`, codec and container as probed, bit depth
LOSSLESS = [
    (".wav", {}, "pcm", "wav", 16),
    (".wav", {"bit_depth": 24}, "pcm", "wav", 24),
    (".wav", {"bit_depth": 32}, "pcm", "wav", 32),
    (".wav", {"bit_depth": 32, "floating": True}, "float", "wav", 32),
    (".wav", {"bit_depth": 64, "floating": True}, "float", "wav", 64),
    (".flac", {}, "flac", "flac", 16),
    (".flac", {"bit_depth": 24}, "flac", "flac", 24),
    (".aiff", {}, "pcm", "aiff", 16),
    (".aif", {"bit_depth": 24}, "pcm", "aiff", 24),
    (".m4a", {"codec": "alac"}, "alac", "mp4", 16),
    (".m4a", {"codec": "alac", "bit_depth": 24}, "alac", "mp4", 24),
]
LOSSY = [
    (".mp3", {}, "mp3", "mp3"),
    (".ogg", {}, "vorbis", "ogg"),
    (".ogg", {"codec": "opus"}, "opus", "ogg"),
    (".opus", {}, "opus", "ogg"),
    (".webm", {}, "opus", "matroska"),
    (".m4a", {}, "aac", "mp4"),
    (".mp4", {}, "aac", "mp4"),
    (".aac", {}, "aac", "aac"),
    (".wma", {}, "wmav2", "asf"),
]


def tone(rate_hz: int, channels: int) -> NDArray[np.float32]:
    """Return a sine, quieter in each further channel."""
    time_s = np.arange(round(SECONDS * rate_hz)) / rate_hz
    levels = TONE_PEAK / np.arange(1, channels + 1)
    return (levels[:, np.newaxis] * np.sin(2 * np.pi * TONE_HZ * time_s)).astype(np.float32)


def clicks(rate_hz: int, channels: int = 1) -> NDArray[np.float32]:
    """Return single samples of 0.9 at CLICKS_S over faint noise."""
    out = 0.001 * np.random.default_rng(0).standard_normal((channels, round(SECONDS * rate_hz)))
    for time_s in CLICKS_S:
        out[:, round(time_s * rate_hz)] = 0.9
    return out.astype(np.float32)


def click_errors_s(samples: NDArray[np.float32], rate_hz: int) -> list[float]:
    """Return how late each click of `clicks` is."""
    errors = []
    for time_s in CLICKS_S:
        start = round((time_s - 0.3) * rate_hz)
        errors.append(
            (start + int(np.argmax(np.abs(samples[start : start + round(0.6 * rate_hz)])))) / rate_hz - time_s
        )
    return errors


def pitch_and_peak(samples: NDArray[np.float32], rate_hz: int) -> tuple[float, float]:
    """Return frequency and amplitude of the strongest sine in the middle second."""
    part = samples[rate_hz // 2 : rate_hz // 2 + rate_hz]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)))) * 4 / len(part)
    at = int(np.argmax(spectrum))
    return at * rate_hz / len(part), float(spectrum[at])


@pytest.mark.parametrize(("suffix", "options", "codec", "container", "bits"), LOSSLESS)
@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (44100, 2), (96000, 6), (192000, 2)])
def test_lossless_comes_back(
    tmp_path: Path, suffix: str, options: dict, codec: str, container: str, bits: int, rate_hz: int, channels: int
) -> None:
    path = tmp_path / f"sound{suffix}"
    samples = tone(rate_hz, channels)
    encode(path, samples, rate_hz, **options)
    info = probe(path)
    assert (info.codec, info.container, info.bit_depth) == (codec, container, bits)
    assert (info.sample_rate_hz, info.channels, info.duration_s) == (rate_hz, channels, SECONDS)
    assert info.size_bytes == path.stat().st_size
    audio = decode(path)
    assert audio.warnings == ()
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == samples.shape
    step = 2.0 ** -(min(bits, 24) - 1)
    np.testing.assert_allclose(audio.samples, samples, rtol=0, atol=step)


@pytest.mark.parametrize(("suffix", "options", "codec", "container"), LOSSY)
@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (22050, 2), (48000, 1), (44100, 2)])
def test_lossy_keeps_pitch_level_and_time(
    tmp_path: Path, suffix: str, options: dict, codec: str, container: str, rate_hz: int, channels: int
) -> None:
    path = tmp_path / f"sound{suffix}"
    encode(path, tone(rate_hz, channels), rate_hz, **options)
    info = probe(path)
    stored_hz = 48000 if codec == "opus" else rate_hz
    assert (info.codec, info.container, info.bit_depth) == (codec, container, None)
    assert (info.sample_rate_hz, info.channels) == (stored_hz, channels)
    # Raw AAC and WMA end with a whole frame; the others say where the sound ends.
    slack_s = 2100 / rate_hz if suffix in (".aac", ".wma") else 0.002
    assert info.duration_s == pytest.approx(SECONDS, abs=slack_s)
    audio = decode(path)
    assert audio.warnings == ()
    assert audio.duration_s == pytest.approx(SECONDS, abs=slack_s)
    for channel in range(channels):
        hz, peak = pitch_and_peak(audio.samples[channel], stored_hz)
        assert hz == pytest.approx(TONE_HZ, abs=1.5)
        assert peak == pytest.approx(TONE_PEAK / (channel + 1), rel=0.06)

    encode(path, clicks(rate_hz, channels), rate_hz, **options)
    audio = decode(path)
    for channel in range(channels):
        assert click_errors_s(audio.samples[channel], stored_hz) == pytest.approx([0, 0], abs=0.001)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".m4a", ".aac"])
def test_seven_point_one_in_order(tmp_path: Path, suffix: str) -> None:
    rate_hz = 48000
    path = tmp_path / f"surround{suffix}"
    time_s = np.arange(rate_hz) / rate_hz
    # The LFE channel holds nothing high in AAC.
    pitches_hz = [400.0, 600.0, 800.0, 60.0, 1200.0, 1400.0, 1600.0, 1800.0]
    encode(path, np.stack([0.1 * np.sin(2 * np.pi * hz * time_s) for hz in pitches_hz]), rate_hz, bitrate=None)
    audio = decode(path)
    heard = [
        float(np.argmax(np.abs(np.fft.rfft(row[:rate_hz]))) * rate_hz / len(row[:rate_hz])) for row in audio.samples
    ]
    assert heard == pytest.approx(pitches_hz, abs=2)
    assert audio.info.channel_names == ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR")


@pytest.mark.parametrize("kind", ["WAVEX", "RF64", "W64", "CAF", "AU"])
def test_relatives_of_wav(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sound.bin"
    samples = tone(32000, 2)
    soundfile.write(path, samples.T, 32000, "PCM_24", format=kind)
    audio = decode(path)
    np.testing.assert_allclose(audio.samples, samples, rtol=0, atol=2**-23)
    assert (audio.info.codec, audio.info.bit_depth, audio.info.duration_s) == ("pcm", 24, SECONDS)


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wma", ".wav"])
def test_tags(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tagged{suffix}"
    encode(path, tone(44100, 1), 44100, tags={"title": "Lied für Üb", "artist": "Somebody"})
    tags = probe(path).tags
    assert tags["title"] == "Lied für Üb"
    assert tags["artist"] == "Somebody"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a", ".opus", ".webm", ".wma"])
def test_files_are_the_same_every_time(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        encode(tmp_path / f"{name}{suffix}", tone(44100, 2), 44100)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "cause"),
    [
        ("a.mp3", 192000, 2, "MP3 holds the usual rates of 8000 to 48000 Hz, not 192000 Hz: choose one of these"),
        ("a.mp3", 44100, 6, "MP3 holds 2 channels, not 6"),
        ("a.aac", 192000, 2, "AAC holds"),
        ("a.wma", 96000, 2, "WMA holds"),
        ("a.flac", 44100, 9, ".flac holds 8 channels, not 9"),
        ("a.xyz", 44100, 1, ".xyz is none of"),
        ("a", 44100, 1, "no suffix is none of"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, rate_hz: int, channels: int, cause: str) -> None:
    with pytest.raises(UnsupportedAudioError) as caught:
        encode(tmp_path / name, np.zeros((channels, 1000)) + 0.1, rate_hz)
    assert cause in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        (np.full((1, 10), np.nan), {}),
        (np.zeros((1, 0)), {}),
        (np.zeros((1, 10), np.int16), {}),
        (np.zeros((1, 2, 10)), {}),
        (np.zeros((1, 10)), {"bit_depth": 20}),
        (np.zeros((1, 10)), {"bitrate": 128}),
        (np.zeros((44100, 2)), {}),
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, samples: NDArray, options: dict) -> None:
    with pytest.raises(ConfigError):
        encode(tmp_path / "a.wav", samples, 44100, **options)
    assert list(tmp_path.iterdir()) == []


def test_integer_formats_clip(tmp_path: Path) -> None:
    loud = 3 * tone(44100, 1) / TONE_PEAK
    for name, codec in (("a.wav", None), ("a.m4a", "alac")):
        encode(tmp_path / name, loud, 44100, codec=codec)
        np.testing.assert_allclose(decode(tmp_path / name).samples, np.clip(loud, -1, 1), atol=1e-4)
