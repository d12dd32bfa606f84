"""Measures that descriptors are made of: of the spectrum, the pulse, swing, detachment, energy and mood."""

from dataclasses import replace
from itertools import pairwise

import librosa
import numpy as np
import pytest

from backbeat.analysis.descriptors import KeyGuess
from backbeat.analysis.energy import EnergyCues, energy_of
from backbeat.analysis.mood import MoodCues, mood_by_cues
from backbeat.analysis.pulse import detachment, onset_curve, pulse_clarity, snapped, swing_of
from backbeat.analysis.spectrum import HOP_SAMPLES, WINDOW_SAMPLES, measure_spectrum
from backbeat.errors import ConfigError
from backbeat.music import Key
from backbeat.music.theory import MODES, TONICS

RATE_HZ = 24000
FRAMES_HZ = 100.0


def mixture(seconds: float = 5.0) -> np.ndarray:
    """Return a gliding tone in noise that comes and goes, never far down."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * (200 * time_s + 150 * time_s**2))
    hiss = 0.02 * np.random.default_rng(3).standard_normal(time_s.size)
    return ((tone + hiss) * (0.6 + 0.4 * np.sin(2 * np.pi * 1.5 * time_s))).astype(np.float32)


def test_the_spectrum_is_that_of_librosa():
    samples = mixture()
    told = measure_spectrum(samples, RATE_HZ)
    S = np.abs(librosa.stft(samples, n_fft=WINDOW_SAMPLES, hop_length=HOP_SAMPLES, center=False))
    feature = librosa.feature
    for pair, rows, tolerance in (
        (told.centroid_hz, feature.spectral_centroid(S=S, sr=RATE_HZ), 1e-3),
        (told.bandwidth_hz, feature.spectral_bandwidth(S=S, sr=RATE_HZ), 1e-3),
        (told.rolloff_hz, feature.spectral_rolloff(S=S, sr=RATE_HZ, roll_percent=0.85), 1e-2),
        (told.flatness, feature.spectral_flatness(S=S), 1e-3),
    ):
        assert pair == pytest.approx((rows.mean(), rows.std()), rel=tolerance)
    contrast = feature.spectral_contrast(S=S, sr=RATE_HZ)
    np.testing.assert_allclose(told.contrast_db, contrast.mean(axis=1), atol=0.3)
    mel = feature.melspectrogram(S=S**2, sr=RATE_HZ, n_mels=128)
    mfcc = feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=20)
    np.testing.assert_allclose(told.mfcc_mean, mfcc.mean(axis=1), rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(told.mfcc_std, mfcc.std(axis=1), rtol=1e-3, atol=0.02)


def test_silence_between_sounds_changes_nothing_but_the_edges():
    samples = mixture(8.0)
    gap = np.zeros(30 * HOP_SAMPLES, np.float32)
    whole, parted = measure_spectrum(samples, RATE_HZ), measure_spectrum(np.concatenate([gap, samples, gap]), RATE_HZ)
    assert parted.centroid_hz[0] == pytest.approx(whole.centroid_hz[0], rel=0.03)
    assert parted.mfcc_mean[0] == pytest.approx(whole.mfcc_mean[0], rel=0.05)


def test_flux_is_of_change():
    steady = np.sin(2 * np.pi * 440 * np.arange(4 * RATE_HZ) / RATE_HZ).astype(np.float32)
    assert measure_spectrum(steady, RATE_HZ).flux[0] < 0.01
    bursts = steady * (np.arange(steady.size) // 3000 % 2)
    assert measure_spectrum(bursts.astype(np.float32), RATE_HZ).flux[0] > 0.2


@pytest.mark.parametrize("count", [1, 100, 2047, 2049])
def test_very_short_sounds_have_a_spectrum(count):
    told = measure_spectrum(np.full(count, 0.1, np.float32), RATE_HZ)
    assert np.isfinite([*told.centroid_hz, *told.flux, *told.contrast_db, *told.mfcc_mean, *told.mfcc_std]).all()
    silent = measure_spectrum(np.zeros(count, np.float32), RATE_HZ)
    assert np.isfinite([*silent.centroid_hz, *silent.flatness, *silent.flux, *silent.mfcc_mean]).all()
    with pytest.raises(ConfigError, match="no samples"):
        measure_spectrum(np.zeros(0, np.float32), RATE_HZ)


def struck(times_s: np.ndarray, seconds: float = 30.0) -> np.ndarray:
    curve = np.zeros(round(seconds * FRAMES_HZ), np.float32)
    curve[np.round(times_s * FRAMES_HZ).astype(int).clip(0, curve.size - 1)] = 1
    return np.convolve(curve, [0.3, 1, 0.6, 0.2], "same").astype(np.float32)


def test_the_clarity_of_a_pulse_falls_as_players_stray():
    rng = np.random.default_rng(4)
    beats_s = np.arange(0.2, 29.5, 0.5)
    clear = [
        pulse_clarity(struck(beats_s + rng.normal(0, spread_s, beats_s.size)), FRAMES_HZ)
        for spread_s in (0.0, 0.01, 0.03, 0.08)
    ]
    assert clear[0] > 0.9
    assert clear == sorted(clear, reverse=True)
    at_random = pulse_clarity(struck(np.sort(rng.uniform(0, 30, 60))), FRAMES_HZ)
    assert at_random < 0.35 < clear[1]


def test_a_pulse_that_drifts_is_still_clear():
    drifting = np.cumsum(np.linspace(0.6, 0.5, 52))
    assert pulse_clarity(struck(drifting), FRAMES_HZ) > 0.6
    assert pulse_clarity(np.zeros(500), FRAMES_HZ) == 0
    assert pulse_clarity(np.zeros(1), FRAMES_HZ) == 0
    loud = struck(np.arange(0.2, 29.5, 0.5))
    assert pulse_clarity(7 * loud, FRAMES_HZ) == pytest.approx(pulse_clarity(loud, FRAMES_HZ))


def test_the_onset_curve_rises_with_what_begins():
    log_mel = np.zeros((50, 4), np.float32)
    log_mel[20:30] = 2.0
    curve = onset_curve(log_mel)
    assert (curve.argmax(), curve[20], np.count_nonzero(curve)) == (20, 2.0, 1)
    assert onset_curve(log_mel[:1]).tolist() == [0]


@pytest.mark.parametrize("place", [0.5, 0.58, 0.64, 0.667])
def test_swing_is_where_the_second_half_of_a_beat_is(place):
    rng = np.random.default_rng(5)
    beats_s = np.arange(1.0, 41.0, 0.5) + rng.normal(0, 0.003, 80)
    halves_s = beats_s[:-1] + place * np.diff(beats_s) + rng.normal(0, 0.004, 79)
    onsets_s = np.sort(np.concatenate([beats_s, halves_s, beats_s[::4] + 0.375]))  # a sixteenth now and then
    told = swing_of(beats_s + 0.015, onsets_s, np.ones(onsets_s.size))  # a model that is late
    assert told == pytest.approx(place, abs=0.015)


def test_no_swing_is_told_of_what_is_not_halved():
    beats_s = np.arange(0.0, 20.0, 0.5)
    assert swing_of(beats_s, beats_s, np.ones(40)) is None
    assert swing_of(beats_s, np.sort([*beats_s, 0.25, 1.25, 2.25]), np.ones(43)) is None
    assert swing_of(np.empty(0), beats_s, np.ones(40)) is None
    assert swing_of(beats_s, np.empty(0), np.empty(0)) is None


def test_beats_move_to_onsets_that_are_near():
    assert snapped(np.array([1.0, 2.0]), np.array([1.04, 2.5])).tolist() == [1.04, 2.0]
    # Never past each other.
    assert snapped(np.array([1.0, 1.05]), np.array([1.02])).tolist() == [1.0, 1.05]


def test_detachment_is_how_far_the_sound_falls():
    frames = np.arange(1000)
    onsets_s = np.arange(0, 10, 0.5)
    for falling, expected in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)):
        level = 1 - falling * (frames % 50 >= 20)
        log_mel = np.tile(level[:, np.newaxis], (1, 3))
        assert detachment(log_mel, onsets_s, FRAMES_HZ) == pytest.approx(expected)
    assert detachment(np.zeros((10, 3)), onsets_s[:1], FRAMES_HZ) == 0
    assert detachment(np.zeros((10, 3)), onsets_s, FRAMES_HZ) == 0


CUES = EnergyCues(loudness_lufs=-18.0, onsets_per_s=4.0, centroid_hz=1800.0, flux=0.25)


@pytest.mark.parametrize(
    ("cue", "values"),
    [
        ("loudness_lufs", (None, -60, -30, -20, -10, -5)),
        ("onsets_per_s", (0, 1, 4, 8, 16)),
        ("centroid_hz", (0, 300, 1000, 3000, 8000)),
        ("flux", (0.0, 0.1, 0.3, 0.6)),
    ],
)
def test_energy_rises_with_every_cue(cue, values):
    told = [energy_of(replace(CUES, **{cue: value})) for value in values]
    assert all(below < above for below, above in pairwise(told))
    assert 0 <= told[0] < told[-1] <= 1


MOOD = MoodCues(KeyGuess("C", "major", 0.7), 110.0, -16.0, 3.5, 1500.0, 0.45)


def test_mood_goes_by_cues():
    plain = mood_by_cues(MOOD)
    assert (plain.source, plain.arousal) == ("cues", 0.0)
    assert plain.valence > 0.4
    assert mood_by_cues(replace(MOOD, key=KeyGuess("C", "minor", 0.7))).valence == -plain.valence
    assert mood_by_cues(replace(MOOD, key=None)).valence == 0
    for faster in (replace(MOOD, tempo_bpm=160.0), replace(MOOD, detachment=0.9)):
        assert mood_by_cues(faster).valence > plain.valence
        assert mood_by_cues(faster).arousal > plain.arousal
    for cue in ({"loudness_lufs": -9.0}, {"onsets_per_s": 8.0}, {"centroid_hz": 3000.0}):
        assert mood_by_cues(replace(MOOD, **cue)).arousal > plain.arousal
    nothing = mood_by_cues(MoodCues(None, None, None, 0.0, 0.0, 0.0))
    assert -1 <= nothing.arousal < 0


def test_camelot_codes():
    wheel = {"C major": "8B", "A minor": "8A", "G major": "9B", "F major": "7B", "E major": "12B", "B major": "1B"}
    wheel |= {
        "F# major": "2B",
        "Db major": "3B",
        "Eb minor": "2A",
        "G# minor": "1A",
        "C# minor": "12A",
        "D minor": "7A",
    }
    assert {name: Key.parse(name).camelot for name in wheel} == wheel
    assert len({Key(tonic, mode).camelot for tonic in TONICS for mode in MODES}) == 24
