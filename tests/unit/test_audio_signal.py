"""Downmix, resampling and codecs in memory, in numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile import music
from numpy.typing import NDArray

from backbeat.audio import codec_roundtrip, decode, encode, resample
from backbeat.audio.mixing import mono_weights
from backbeat.errors import ConfigError, UnsupportedAudioError


def sine(hz: float, rate_hz: int, seconds: float = 2.0, peak: float = 0.5) -> NDArray[np.float64]:
    return peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)[np.newaxis]


def level_db(samples: NDArray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples[..., 2000:-2000], dtype=np.float64)) + 1e-20))


def test_weights_of_surround() -> None:
    np.testing.assert_allclose(mono_weights(("FL", "FR")), [0.5, 0.5])
    weights = mono_weights(("FL", "FR", "FC", "LFE", "BL", "BR"))
    total = 2 + 2**0.5 + 2 * 0.5**0.5
    np.testing.assert_allclose(weights * total, [1, 1, 2**0.5, 0, 0.5**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(mono_weights(tuple(f"C{n}" for n in range(12))), np.full(12, 1 / 12), rtol=1e-6)


def test_mono_is_the_mean(tmp_path: Path) -> None:
    both = music(2.0, 44100)
    encode(tmp_path / "a.wav", both, 44100, bit_depth=32, floating=True)
    audio = decode(tmp_path / "a.wav", mono=True)
    assert audio.samples.shape == (1, 88200)
    np.testing.assert_allclose(audio.mono, both.mean(axis=0), atol=1e-6)
    with pytest.raises(ConfigError, match="mono=True"):
        _ = decode(tmp_path / "a.wav").mono


@pytest.mark.parametrize("faint", [0.0, 0.05])
def test_opposite_polarity_stays_audible(tmp_path: Path, faint: float) -> None:
    left = music(2.0, 44100, 1)[0]
    right = -0.95 * left + faint * np.random.default_rng(1).standard_normal(left.shape) * 0.1
    encode(tmp_path / "a.wav", np.stack([left, right]), 44100, bit_depth=32, floating=True)
    audio = decode(tmp_path / "a.wav", mono=True)
    np.testing.assert_allclose(audio.mono, left, atol=1e-6)
    assert "cancel" in audio.warnings[0]


def test_one_sided_stereo_is_not_taken_for_cancelled(tmp_path: Path) -> None:
    left = music(1.0, 44100, 1)[0]
    encode(tmp_path / "a.wav", np.stack([left, 0 * left]), 44100, bit_depth=32, floating=True)
    audio = decode(tmp_path / "a.wav", mono=True)
    assert audio.warnings == ()
    np.testing.assert_allclose(audio.mono, left / 2, atol=1e-6)


@pytest.mark.parametrize("channel", range(8))
def test_every_channel_of_surround_is_heard(tmp_path: Path, channel: int) -> None:
    samples = np.zeros((8, 48000))
    samples[channel] = sine(100.0, 48000, 1.0)[0]
    encode(tmp_path / "a.wav", samples, 48000, bit_depth=24)
    audio = decode(tmp_path / "a.wav", mono=True)
    assert level_db(audio.samples) > -9.03 - 20


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 24000), (192000, 24000), (8000, 24000), (48000, 44100)])
def test_resampling(tmp_path: Path, from_hz: int, to_hz: int) -> None:
    tone = sine(1000.0, from_hz, 3.0)
    encode(tmp_path / "tone.wav", tone, from_hz, bit_depth=32, floating=True)
    audio = decode(tmp_path / "tone.wav", sample_rate_hz=to_hz)
    assert audio.sample_rate_hz == to_hz
    assert audio.info.sample_rate_hz == from_hz
    assert audio.samples.shape[1] == 3 * to_hz
    wanted = sine(1000.0, to_hz, 3.0)
    # Same level, same phase: the error is more than 80 dB below the tone.
    assert level_db(audio.samples - wanted) < level_db(wanted) - 80
    np.testing.assert_allclose(audio.samples, resample(tone.astype(np.float32), from_hz, to_hz), atol=2e-5)


def test_no_aliases(tmp_path: Path) -> None:
    encode(tmp_path / "high.wav", sine(15000.0, 44100), 44100, bit_depth=32, floating=True)
    audio = decode(tmp_path / "high.wav", sample_rate_hz=24000, allow_silence=True)
    assert level_db(audio.samples) < level_db(sine(15000.0, 44100)) - 90


def test_a_rate_that_makes_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        decode(tmp_path / "any.wav", sample_rate_hz=0)
    with pytest.raises(ConfigError):
        resample(np.zeros((1, 10), np.float32), 44100, -1)


@pytest.mark.parametrize("codec", ["mp3", "aac", "opus", "vorbis"])
@pytest.mark.parametrize(("rate_hz", "bitrate_bps"), [(44100, 128000), (22050, 48000), (48000, 64000)])
def test_codec_roundtrip(codec: str, rate_hz: int, bitrate_bps: int) -> None:
    samples = music(2.0, rate_hz)[:, : 2 * rate_hz - 77]
    out = codec_roundtrip(samples, rate_hz, codec, bitrate_bps)
    assert out.shape == samples.shape
    assert out.dtype == np.float32
    size = 1 << 18
    spectra = np.fft.rfft(out[0], size) * np.conj(np.fft.rfft(samples[0], size))
    lag = int(np.argmax(np.fft.irfft(spectra)))
    assert min(lag, size - lag) <= 2
    assert level_db(out) == pytest.approx(level_db(samples), abs=1.5)
    assert level_db(out - samples) > level_db(samples) - 60  # it did pass through the codec
    np.testing.assert_array_equal(out, codec_roundtrip(samples, rate_hz, codec, bitrate_bps))


def test_bitrate_matters() -> None:
    samples = music(2.0, 44100)
    for codec in ("mp3", "aac", "opus", "vorbis"):
        errors = [level_db(codec_roundtrip(samples, 44100, codec, bps) - samples) for bps in (64000, 256000)]
        assert errors[0] > errors[1] + 3


def test_codec_roundtrip_refuses() -> None:
    with pytest.raises(UnsupportedAudioError, match="in memory"):
        codec_roundtrip(music(1.0, 96000), 96000, "mp3", 128000)
    with pytest.raises(ConfigError, match="choose among"):
        codec_roundtrip(music(1.0, 44100), 44100, "midi", 128000)


def test_import_loads_no_decoder() -> None:
    code = "import sys, backbeat.audio; print([m for m in ('av', 'soundfile', 'soxr', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
