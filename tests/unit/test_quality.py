import numpy as np
import pytest

from backbeat.audio import codec_roundtrip, decode, encode, resample
from backbeat.audio.bandwidth import band_of
from backbeat.audio.quality import QualityMeter, measure_quality
from backbeat.errors import ConfigError

RATE_HZ = 44100


def noise(seconds: float = 4.0, level: float = 0.05, channels: int = 2, seed: int = 0) -> np.ndarray:
    shape = (channels, round(seconds * RATE_HZ))
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("codec", "kilobits", "told"),
    [
        ("mp3", 64, "mp3 64 kbit/s"),
        ("mp3", 96, "mp3 96 kbit/s"),
        ("mp3", 128, "mp3 128 kbit/s"),
        ("mp3", 160, "mp3 160 kbit/s"),
        ("mp3", 192, "mp3 192 kbit/s"),
        ("mp3", 256, "mp3 256 kbit/s"),
        ("mp3", 320, "mp3 320 kbit/s"),
        # Nobody can tell whose filter it was.
        ("aac", 96, "mp3 128 kbit/s"),
        ("aac", 128, "mp3 160 kbit/s"),
        ("aac", 192, "mp3 256 kbit/s"),
        # These keep all there is.
        ("aac", 320, "none"),
        ("vorbis", 256, "none"),
    ],
)
def test_what_was_encoded_once_is_told_by_its_edge(tmp_path, codec, kilobits, told):
    path = tmp_path / "again.flac"  # what was decoded is kept as if it were the original
    encode(path, codec_roundtrip(noise(), RATE_HZ, codec, 1000 * kilobits), RATE_HZ)
    quality = decode(path, measure_mastering=True).mastering.quality
    assert quality.lossy == told
    if told == "none":
        assert quality.bandwidth_hz > 21000
        assert quality.problems == ()
    else:
        assert quality.bandwidth_hz < 20500
        assert f"as {told} or a lower sampling rate would" in quality.problems[0]


@pytest.mark.parametrize(
    ("suffix", "kilobits", "told"),
    [
        (".mp3", 128, "mp3 128 kbit/s"),
        (".m4a", 128, "aac 128 kbit/s"),
        (".m4a", 64, "aac 64 kbit/s"),
        (".opus", 96, "opus"),
    ],
)
def test_a_lossy_file_cut_off_its_own_band(tmp_path, suffix, kilobits, told):
    path = tmp_path / f"song{suffix}"
    encode(path, noise(), RATE_HZ, bitrate=1000 * kilobits)
    assert decode(path, measure_mastering=True).mastering.quality.lossy == told


def test_an_upper_rate_does_not_hide_a_lower_one():
    once = codec_roundtrip(noise(), RATE_HZ, "mp3", 128_000)
    twice = codec_roundtrip(once, RATE_HZ, "mp3", 320_000)
    assert measure_quality(twice, RATE_HZ).lossy == "mp3 128 kbit/s"


def test_converters_and_resamplers_are_no_codecs():
    for rate_hz in (16000, 22050, 48000, 96000):
        there = measure_quality(resample(noise(), RATE_HZ, rate_hz), rate_hz)
        assert there.lossy == "none"
        assert there.bandwidth_hz == pytest.approx(min(rate_hz, RATE_HZ) / 2, rel=0.1)
    back = measure_quality(resample(resample(noise(), RATE_HZ, 48000), 48000, RATE_HZ), RATE_HZ)
    assert back.lossy == "none"


def test_slow_roll_offs_are_no_edges():
    frequency_hz = np.linspace(0, RATE_HZ / 2, 1025)
    falling_db = -40 - 18 * np.log2(np.maximum(frequency_hz, 100) / 100)
    band = band_of(falling_db, RATE_HZ)
    assert band.history == "none"
    # 18 dB an octave reach the noise of 16 bits here.
    assert band.edge_hz == pytest.approx(100 * 2 ** ((118 - 40) / 18), rel=0.02)
    assert band_of(np.full(1025, -200.0), RATE_HZ).edge_hz == 0


@pytest.mark.parametrize("block", [1000, 4097, 10**6])
def test_clipping_is_counted_in_runs_across_blocks(block):
    samples = noise(1.0, 0.01)
    samples[0, 990:1010] = 1.0  # over the boundary of a block
    samples[1, 5000:5004] = -1.0
    samples[1, 7000:7002] = 1.0  # a peak, not a run
    samples[0, 9000:9003], samples[0, 9003:9005] = 1.0, -1.0
    meter = QualityMeter(RATE_HZ, 2)
    for start in range(0, samples.shape[1], block):
        meter.add(samples[:, start : start + block])
    quality = meter.quality()
    assert quality.clipped_share == pytest.approx((20 + 4 + 3) / samples.size, abs=1e-7)
    assert quality == measure_quality(samples, RATE_HZ)


def test_clipping_is_said_where_it_is_heard():
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert measure_quality(sine, RATE_HZ).clipped_share == 0
    cut = measure_quality(np.clip(1.2 * sine, -1, 1), RATE_HZ)
    assert cut.clipped_share == pytest.approx(1 - 2 * np.arcsin(1 / 1.2) / np.pi, abs=0.02)
    assert cut.problems[0].startswith("clipped: 37 % of the samples")


def test_the_noise_floor_is_that_of_the_pauses():
    rng = np.random.default_rng(1)
    music = np.concatenate([noise(4.0, 0.2, 1), np.zeros((1, RATE_HZ), np.float32)], axis=1)
    for level_db in (-70.0, -50.0):
        hissing = music + 10 ** (level_db / 20) * rng.standard_normal(music.shape)
        quality = measure_quality(hissing, RATE_HZ)
        assert quality.noise_floor_dbfs == pytest.approx(level_db, abs=0.5)
        assert [problem for problem in quality.problems if "noisy" in problem] == (
            ["noisy: the quietest moments are at -50 dBFS"] if level_db == -50 else []
        )
    # Silence of numbers is no noise, and music without a pause has no floor.
    assert measure_quality(music, RATE_HZ).noise_floor_dbfs is None
    assert measure_quality(music, RATE_HZ).silence_share == pytest.approx(0.2, abs=0.02)
    assert measure_quality(noise(), RATE_HZ).noise_floor_dbfs is None


def test_the_end_of_a_note_is_no_noise():
    fading = noise(4.0, 0.3) * np.exp(-np.linspace(0, 4, 4 * RATE_HZ)).astype(np.float32)
    quality = measure_quality(fading, RATE_HZ)
    assert -45 < quality.noise_floor_dbfs < -40
    assert quality.problems == ()


def test_offset_phase_and_silence():
    one = noise(2.0, channels=1)
    assert measure_quality(np.vstack([one, one]), RATE_HZ).phase_correlation == pytest.approx(1, abs=1e-3)
    against = measure_quality(np.vstack([one, -0.5 * one]), RATE_HZ)
    assert against.phase_correlation == pytest.approx(-1, abs=1e-3)
    assert "out of phase: left and right correlate by -1.00" in against.problems[0]
    assert measure_quality(one, RATE_HZ).phase_correlation is None
    assert measure_quality(np.zeros((2, 9000)), RATE_HZ).phase_correlation is None
    aside = measure_quality(np.vstack([one, one - 0.05]), RATE_HZ)
    assert aside.dc_offset == pytest.approx(-0.05, abs=1e-3)
    assert "offset by -5.0 % of full scale" in aside.problems
    mostly = np.pad(one, ((0, 0), (0, 3 * one.shape[1])))
    assert measure_quality(mostly, RATE_HZ).silence_share == pytest.approx(0.75, abs=0.02)
    assert any(problem.startswith("silent for 7") for problem in measure_quality(mostly, RATE_HZ).problems)


def test_offset_alone_is_silence():
    assert measure_quality(np.full((1, RATE_HZ), 0.5), RATE_HZ).silence_share == 1


@pytest.mark.parametrize(("count", "rate_hz"), [(1, 44100), (100, 8000), (700, 100)])
def test_very_short_sounds_have_a_quality(count, rate_hz):
    quality = measure_quality(np.random.default_rng(2).normal(0, 0.1, (2, count)), rate_hz)
    assert np.isfinite([quality.bandwidth_hz, quality.dc_offset, quality.clipped_share]).all()


def test_refuses_what_it_cannot_judge():
    with pytest.raises(ConfigError, match="no samples"):
        QualityMeter(RATE_HZ, 1).quality()
    with pytest.raises(ConfigError, match="does not have 2 channels"):
        QualityMeter(RATE_HZ, 2).add(np.zeros((1, 10)))
