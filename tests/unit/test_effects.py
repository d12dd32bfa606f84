"""Effects: every event stays where it was, levels stay within bounds, and each effect does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from backbeat.corpus.rendered import noises
from backbeat.corpus.rendered.effects import (
    EffectsParams,
    biquad,
    chorus,
    compress,
    equalise,
    limit,
    pump,
    random_tone,
    reverberate,
    room,
    saturate,
    tremolo,
    widen,
)
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Samples
from backbeat.corpus.rendered.mixing import MIX_PEAK, master, mix
from backbeat.errors import ConfigError

CLICKS = (4410, 30000, 61234)


def clicks(count: int = 2 * SYNTHESIS_RATE_HZ, channels: int = 1) -> Samples:
    """Short strokes, 2 ms of decaying noise, that begin at full level."""
    out = np.zeros((channels, count), dtype=np.float32)
    stroke = np.exp(-np.arange(400) / 60) * np.random.default_rng(7).choice([-1, 1], 400)
    for place in CLICKS:
        out[:, place : place + stroke.size] += 0.8 * stroke
    return out


def first_moments(samples: Samples, share: float = 0.25) -> list[int]:
    """Where each stroke first reaches a share of its own peak, relative to where it was put."""
    found = []
    for place in CLICKS:
        window = np.abs(samples[0, place - 1500 : place + 1500])
        found.append(int(np.argmax(window >= share * window.max())) - 1500)
    return found


def tone(frequency_hz: float, length_s: float = 1.0, level: float = 0.5, channels: int = 1) -> Samples:
    time_s = np.arange(int(length_s * SYNTHESIS_RATE_HZ)) / SYNTHESIS_RATE_HZ
    return np.tile(level * np.sin(2 * np.pi * frequency_hz * time_s), (channels, 1)).astype(np.float32)


def gain_db(section: np.ndarray, frequency_hz: float) -> float:
    played = tone(frequency_hz)
    settled = slice(SYNTHESIS_RATE_HZ // 2, None)
    out = equalise(played, [section])
    return float(20 * np.log10(np.std(out[0, settled]) / np.std(played[0, settled])))


def test_filters_have_the_gains_of_their_kind() -> None:
    assert gain_db(biquad("peak", 1000, 6, 1), 1000) == pytest.approx(6, abs=0.05)
    assert gain_db(biquad("peak", 1000, 6, 1), 8000) == pytest.approx(0, abs=0.2)
    assert gain_db(biquad("low_shelf", 300, -8), 30) == pytest.approx(-8, abs=0.2)
    assert gain_db(biquad("low_shelf", 300, -8), 8000) == pytest.approx(0, abs=0.1)
    assert gain_db(biquad("high_shelf", 3000, 5), 16000) == pytest.approx(5, abs=0.2)
    assert gain_db(biquad("high_shelf", 3000, 5), 100) == pytest.approx(0, abs=0.1)
    assert gain_db(biquad("low_pass", 1000), 1000) == pytest.approx(-3, abs=0.1)
    assert gain_db(biquad("low_pass", 1000), 8000) < -34
    assert gain_db(biquad("high_pass", 1000), 100) < -38
    with pytest.raises(ConfigError, match="no filter is called 'notch'"):
        biquad("notch", 100)


def test_effects_alone_keep_times() -> None:
    rng = np.random.default_rng(0)
    played = clicks()
    treated = {
        "tone": equalise(played, random_tone(rng, 1.0)),
        "compress": compress(played, threshold_db=-30, ratio=10, attack_s=0.001, release_s=0.1),
        "limit": limit(4 * played),
        "saturate": saturate(played, 12),
        "chorus": chorus(played, 0.7, 0.004, 0.8),
        "tremolo": tremolo(played, 5, 0.7),
        "room": played + reverberate(played, 0.3 * room(rng, 1.0, 0.005, 4000, 1)),
    }
    for name, out in treated.items():
        assert out.dtype == np.float32, name
        assert out.shape == played.shape, name
        assert max(map(abs, first_moments(out))) <= 1, name


def test_a_compressor_lowers_what_is_loud_by_its_ratio() -> None:
    loud = tone(200, level=1.0)
    out = compress(loud, threshold_db=-12, ratio=4, attack_s=0.001, release_s=0.05)
    assert 20 * np.log10(np.abs(out[0, 22050:]).max()) == pytest.approx(-9, abs=1)
    soft = tone(200, level=0.1)
    assert np.array_equal(compress(soft, threshold_db=-12, ratio=4, attack_s=0.001, release_s=0.05), soft)


def test_a_limiter_holds_its_ceiling_and_leaves_the_rest() -> None:
    out = limit(3 * clicks(), 0.9)
    assert np.abs(out).max() <= np.float32(0.9)
    soft = tone(300, level=0.3)
    assert np.array_equal(limit(soft), soft)


def test_pumping_ducks_after_each_kick_and_recovers() -> None:
    out = pump(np.ones((1, 2 * SYNTHESIS_RATE_HZ), np.float32), [0.5, 5.0], 0.8, 0.1)
    assert np.all(out[0, :22050] == 1)
    assert 0.2 < out[0].min() < 0.35
    assert 0.5 < np.argmin(out[0]) / SYNTHESIS_RATE_HZ < 0.53
    assert out[0, -1] == pytest.approx(1, abs=1e-3)


def test_a_room_starts_after_its_predelay_and_dies_in_its_time() -> None:
    response = room(np.random.default_rng(0), 0.8, 0.02, 5000, 2)
    assert response.shape == (2, int(0.8 * SYNTHESIS_RATE_HZ) + 882)
    assert not response[:, :882].any()
    assert np.square(response).sum() / 2 == pytest.approx(1, rel=1e-3)
    energy = np.cumsum(np.square(response[0, ::-1]))[::-1]
    fall_db = 10 * np.log10(energy[882 + 17640] / energy[882])
    assert -50 < fall_db < -20  # after 0.4 s of 0.8 s: about half of 60 dB, more where highs are lost first


def test_width_scales_the_side_only() -> None:
    stereo = np.array([[1.0, 0.5], [0.0, 0.5]], dtype=np.float32)
    assert np.array_equal(widen(stereo, 0.0), np.full((2, 2), 0.5, np.float32))
    assert np.array_equal(widen(stereo, 1.0), stereo)
    assert widen(stereo[:1], 0.0) is not None
    assert np.array_equal(widen(stereo[:1], 0.0), stereo[:1])


@pytest.mark.parametrize("draw", [noises.hiss, noises.hum, noises.voice, noises.babble])
@pytest.mark.parametrize("count", [44100, 100_001])
def test_noises_have_their_length_and_unit_level(draw: object, count: int) -> None:
    assert callable(draw)
    for seed in range(3):
        sound = draw(np.random.default_rng(seed), count)
        assert sound.shape == (count,)
        assert sound.dtype == np.float32
        assert np.std(sound) == pytest.approx(1, abs=0.2)
    assert np.array_equal(draw(np.random.default_rng(1), count), draw(np.random.default_rng(1), count))


def test_crackle_is_sparse() -> None:
    sound = noises.crackle(np.random.default_rng(0), 5 * SYNTHESIS_RATE_HZ)
    assert np.mean(np.abs(sound) > 0.1) < 0.01
    assert np.abs(sound).max() <= 1


def stems(channels: int) -> dict[str, Samples]:
    length_s = 2.0
    return {
        "drums": clicks(channels=channels),
        "bass": tone(60, length_s, 0.1, channels),
        "other": tone(440, length_s, 0.05, channels),
    }


@pytest.mark.parametrize("channels", [1, 2])
def test_kept_stems_sum_to_the_mixture(channels: int) -> None:
    for seed in range(12):
        mixture, kept = mix(
            stems(channels), [0.1], np.random.default_rng(seed), EffectsParams(), pumping=True, keep_stems=True
        )
        assert set(kept) == {"drums", "bass", "other"}
        assert np.abs(sum(kept.values()) - mixture).max() < 2e-6
        assert np.abs(mixture).max() == pytest.approx(MIX_PEAK, rel=1e-5)
        again, none = mix(
            stems(channels), [0.1], np.random.default_rng(seed), EffectsParams(), pumping=True, keep_stems=False
        )
        assert none == {}
        assert np.abs(again - mixture).max() < 1e-4


def test_the_whole_chain_keeps_times_and_bounds() -> None:
    params = EffectsParams(noise=0.0, distractors=0.0, codec=0.0)
    silent = np.zeros((1, 2 * SYNTHESIS_RATE_HZ), np.float32)
    worst: list[int] = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        mixture, _ = mix({"drums": clicks(), "bass": silent, "other": silent}, [], rng, params)
        out = master(mixture, rng, params)
        assert np.all(np.isfinite(out))
        assert np.abs(out).max() <= 1
        assert np.abs(out).max() > 0.01
        worst.append(max(map(abs, first_moments(out, 0.15))))
    # Low-pass filters of 3 kHz round an attack off over a few samples, a resampled 8 kHz one over its own sample.
    assert np.median(worst) <= 1
    assert max(worst) <= 8


@pytest.mark.parametrize("codec", ["mp3", "aac", "opus", "vorbis"])
def test_codecs_keep_times(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from backbeat.corpus.rendered import mixing

    monkeypatch.setattr(mixing, "_CODECS", (codec,))
    out = mixing._coded(0.5 * clicks(), np.random.default_rng(0), (128_000, 128_000))
    assert out.shape == clicks().shape
    assert max(map(abs, first_moments(out, 0.5))) <= 8


def test_everything_at_once_is_finite_bounded_and_the_same_for_a_seed() -> None:
    params = EffectsParams(reverb=1, dynamics=1, noise=1, distractors=1, band_limit=1, codec=0)
    for seed in range(6):
        outs = []
        for _ in range(2):
            rng = np.random.default_rng(seed)
            mixture, _ = mix(stems(2), [0.1, 0.6], rng, params, pumping=True)
            outs.append(master(mixture, rng, params))
        assert np.all(np.isfinite(outs[0]))
        assert np.abs(outs[0]).max() <= 1
        assert np.array_equal(outs[0], outs[1])


def test_strength_zero_changes_nothing_but_level() -> None:
    params = EffectsParams(strength=0.0)
    rng = np.random.default_rng(3)
    mixture, _ = mix(stems(1), [0.1], rng, params, pumping=True)
    out = master(mixture, rng, params)
    plain = sum(stems(1).values())
    assert np.allclose(out / np.abs(out).max(), plain / np.abs(plain).max(), atol=1e-6)


def test_silence_stays_silence() -> None:
    silent = {name: np.zeros((1, 44100), np.float32) for name in ("drums", "bass", "other")}
    params = EffectsParams(noise=0.0, distractors=0.0, codec=0.0)
    for seed in range(5):
        mixture, _ = mix(silent, [], np.random.default_rng(seed), params)
        assert not master(mixture, np.random.default_rng(seed), params).any()


@pytest.mark.parametrize("bad", [{"strength": 1.5}, {"codec": -0.1}, {"codec_bitrates_bps": (64_000, 32_000)}])
def test_impossible_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        EffectsParams(**bad)  # type: ignore[arg-type]
