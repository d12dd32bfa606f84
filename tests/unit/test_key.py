import numpy as np
import pytest

from backbeat.analysis.key import chroma_profile, estimate_key, key_correlations
from backbeat.music.theory import MODES, TONICS

RATE_HZ = 24000


def tone(note: float, seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hz = 440 * 2 ** ((note - 69) / 12)
    partials = [np.sin(2 * np.pi * hz * k * time_s) / k**1.2 for k in range(1, 9) if hz * k < RATE_HZ / 2]
    return np.sum(partials, axis=0) * np.exp(-2 * time_s)


def cadence(tonic: int, mode: str, cents: float = 0.0) -> np.ndarray:
    """Play I-IV-V-I, in minor with the major dominant of the harmonic scale."""
    chords = []
    for step, quality in ((0, mode), (5, mode), (7, "major"), (0, mode)):
        root = 48 + tonic + step + cents / 100
        third = root + (4 if quality == "major" else 3)
        chords.append(sum(tone(note, 0.8) for note in (root - 12, root, third, root + 7, root + 12)))
    return (0.1 * np.concatenate(chords)).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tonic", range(12))
def test_hears_the_key_of_a_cadence(tonic, mode):
    estimate = estimate_key(cadence(tonic, mode), RATE_HZ)
    assert (estimate.key.tonic, estimate.key.mode) == (TONICS[tonic], mode)
    assert estimate.confidence > 0.5


@pytest.mark.parametrize("cents", [-45.0, -20.0, 35.0])
def test_finds_the_tuning_first(cents):
    estimate = estimate_key(cadence(3, "major", cents), RATE_HZ)
    assert str(estimate.key) == "Eb major"
    assert estimate.tuning_cents == pytest.approx(cents, abs=3)


def test_hears_through_drums_and_noise():
    rng = np.random.default_rng(0)
    music = cadence(9, "minor")
    bursts = rng.normal(0, 0.2, music.size) * np.exp(-(np.arange(music.size) % 12000) / 800)
    assert str(estimate_key((music + bursts).astype(np.float32), RATE_HZ).key) == "A minor"


def test_level_and_rate_do_not_matter():
    music = cadence(2, "minor")
    quiet = estimate_key(music * 1e-3, RATE_HZ)
    assert quiet.confidence == pytest.approx(estimate_key(music, RATE_HZ).confidence, abs=0.02)
    assert str(estimate_key(music[::3], RATE_HZ // 3).key) == "D minor"


def test_noise_is_trusted_less_than_music():
    noise = np.random.default_rng(1).normal(0, 0.1, RATE_HZ * 10).astype(np.float32)
    assert estimate_key(noise, RATE_HZ).confidence < 0.2 < estimate_key(cadence(0, "major"), RATE_HZ).confidence


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1), np.zeros(30000)])
def test_silence_has_no_key(samples):
    assert estimate_key(samples.astype(np.float32), RATE_HZ) is None


def test_chroma_of_one_note_is_that_note():
    profile, cents = chroma_profile((0.1 * tone(69, 2)).astype(np.float32), RATE_HZ)
    assert profile.sum() == pytest.approx(1)
    assert TONICS[int(np.argmax(profile))] == "A"
    assert abs(cents) < 2


def test_correlations_turn_with_the_tonic():
    profile = np.array([5.0, 0, 3, 0, 4, 3, 0, 5, 0, 2, 0, 2])
    for shift in range(12):
        np.testing.assert_allclose(
            key_correlations(np.roll(profile, shift)), np.roll(key_correlations(profile), shift, 1)
        )
    assert np.argmax(key_correlations(profile)) == 0
