"""Recordings are known again by their sound, and pieces of the same instruments are told apart."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from backbeat.audio.fingerprint import FingerprintIndex, fingerprint
from backbeat.audio.fingerprint import peaks as peaks_module
from backbeat.audio.fingerprint.aligning import align
from backbeat.audio.fingerprint.coding import VERSION, from_bytes, to_bytes
from backbeat.audio.fingerprint.peaks import FRAMES_PER_S, HOP_SAMPLES, RATE_HZ, WINDOW_SAMPLES, Peaks, find_peaks
from backbeat.audio.mixing import resample
from backbeat.audio.roundtrip import codec_roundtrip
from backbeat.corpus.rendered.compose import ComposeParams, compose
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.render import render_score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont
from backbeat.errors import CatalogueError, ConfigError

RATE = 44100
START_S = 3.123
STYLES = ("rock", "house", "jazz")


def piece(style: str, seed: int) -> np.ndarray:
    """Return 14 s of stereo, shape (2, samples)."""
    score = compose(f"{style}-{seed}", seed, ComposeParams(duration_s=14.0, style=style))
    sources = Sources(soundfonts=(default_soundfont(),))
    made = render_score(score, np.random.SeedSequence(seed), sources, EffectsParams(strength=0.0), channels=2)
    return made.audio.astype(np.float32)


def mono(samples: np.ndarray) -> np.ndarray:
    return samples.mean(axis=0, dtype=np.float32)


@pytest.fixture(scope="module")
def pieces() -> dict[str, np.ndarray]:
    return {f"{style}-{seed}": piece(style, seed) for style in STYLES for seed in (51, 52)}


@pytest.fixture(scope="module")
def index(pieces: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> FingerprintIndex:
    prints = ((name, fingerprint(mono(samples), RATE)) for name, samples in pieces.items() if name.endswith("-51"))
    return FingerprintIndex.build(tmp_path_factory.mktemp("fingerprints"), prints)


def excerpt(samples: np.ndarray, seconds: float = 10.0) -> np.ndarray:
    begin = round(START_S * RATE)
    return samples[:, begin : begin + round(seconds * RATE)]


def noisy(samples: np.ndarray) -> np.ndarray:
    level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-15 / 20)
    return samples + np.random.default_rng(3).normal(0, level, samples.size).astype(np.float32)


CHANGES: dict[str, Callable[[np.ndarray], tuple[np.ndarray, int]]] = {
    "as it is": lambda cut: (mono(cut), RATE),
    "MP3 at 96 kbit/s": lambda cut: (mono(codec_roundtrip(cut, RATE, "mp3", 96_000)), RATE),
    "22.05 kHz": lambda cut: (resample(mono(cut)[np.newaxis], RATE, 22050)[0], 22050),
    "48 kHz": lambda cut: (resample(mono(cut)[np.newaxis], RATE, 48000)[0], 48000),
    "quieter": lambda cut: (mono(cut) * np.float32(0.02), RATE),
    "noise": lambda cut: (noisy(mono(cut)), RATE),
    "five seconds": lambda cut: (mono(cut[:, : 5 * RATE]), RATE),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_excerpt_finds_its_recording_and_its_place(
    index: FingerprintIndex, pieces: dict[str, np.ndarray], change: str
) -> None:
    for name in index.ids:
        found = index.find(fingerprint(*CHANGES[change](excerpt(pieces[name]))))
        assert [match.id for match in found] == [name]
        assert found[0].offset_s == pytest.approx(START_S, abs=0.01)
        assert found[0].speed == pytest.approx(1.0, abs=0.002)
        assert 0.3 < found[0].score <= 1.0


@pytest.mark.parametrize("speed", [0.99, 1.005, 1.01])
def test_another_speed_is_found_and_told(index: FingerprintIndex, pieces: dict[str, np.ndarray], speed: float) -> None:
    for name in index.ids:
        found = index.find(fingerprint(mono(excerpt(pieces[name])), round(RATE * speed)))
        assert [match.id for match in found] == [name]
        assert found[0].speed == pytest.approx(speed, abs=0.002)
        assert found[0].offset_s == pytest.approx(START_S, abs=0.03)


def test_other_pieces_of_the_same_instruments_are_not_found(
    index: FingerprintIndex, pieces: dict[str, np.ndarray]
) -> None:
    for name in pieces.keys() - set(index.ids):
        cut = fingerprint(mono(excerpt(pieces[name])), RATE)
        assert index.find(cut) == []
        assert all(match.matched <= 13 for match in index.find(cut, least=0.0, least_matched=1, least_s=0.0))


def test_a_fingerprint_is_small_and_always_the_same(pieces: dict[str, np.ndarray]) -> None:
    samples = mono(pieces["rock-51"])
    made = fingerprint(samples, RATE)
    assert made == fingerprint(samples, RATE)
    assert 20 < len(made) / 14.0 < 160
    peaks = from_bytes(made)
    assert to_bytes(peaks) == made
    assert peaks.duration_s == pytest.approx(14.0, abs=0.01)
    assert np.all(np.diff(peaks.frames) >= 0)


def test_a_tone_lies_where_it_sounds() -> None:
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    tone = np.where((time_s > 1.5) & (time_s < 2.5), np.sin(2 * np.pi * 1003.3 * time_s), 0) * np.hanning(time_s.size)
    peaks = find_peaks(tone.astype(np.float32), RATE_HZ)
    strongest = int(np.argmin(np.abs(peaks.frames / FRAMES_PER_S - 2.0)))
    assert peaks.frames[strongest] / FRAMES_PER_S == pytest.approx(2.0, abs=0.05)
    assert peaks.bins[strongest] * RATE_HZ / WINDOW_SAMPLES == pytest.approx(1003.3, abs=1.0)


def test_where_long_audio_is_cut_for_working_leaves_no_trace(
    pieces: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = mono(pieces["jazz-51"])
    whole = fingerprint(samples, RATE)
    monkeypatch.setattr(peaks_module, "_PIECE_FRAMES", 150)
    assert fingerprint(samples, RATE) == whole


def test_silence_and_next_to_nothing_have_no_peaks() -> None:
    for samples in (np.zeros(3 * RATE), np.full(RATE, 0.25), np.zeros(0), np.ones(1)):
        made = fingerprint(samples.astype(np.float32), RATE)
        assert len(from_bytes(made)) <= 2
        assert from_bytes(made).duration_s == pytest.approx(samples.size / RATE, abs=0.01)


@pytest.mark.parametrize(
    ("samples", "rate"),
    [(np.zeros((2, 9000)), RATE), (np.array([0.0, np.nan]), RATE), (np.zeros(9000), 4000)],
)
def test_what_cannot_be_heard_is_refused(samples: np.ndarray, rate: int) -> None:
    with pytest.raises(ConfigError, match="a fingerprint"):
        fingerprint(samples.astype(np.float32), rate)


def test_long_silences_are_kept() -> None:
    frames = np.array([10.0, 10.5, 30_000.125, 90_000.25])
    peaks = Peaks(frames, np.array([100.0, 200.25, 300.5, 20.0]), 100_000.0)
    again = from_bytes(to_bytes(peaks))
    np.testing.assert_array_equal(again.frames, frames)
    np.testing.assert_array_equal(again.bins, peaks.bins)
    assert again.duration_s == pytest.approx(100_000 * HOP_SAMPLES / RATE_HZ)


def test_damaged_and_older_fingerprints_are_refused() -> None:
    good = to_bytes(Peaks(np.array([1.0]), np.array([50.0]), 9.0))
    older = good[:4] + bytes([VERSION + 1]) + good[5:]
    for bad, words in ((b"", "no acoustic"), (b"x" * 40, "no acoustic"), (good[:-1], "damaged"), (older, "version")):
        with pytest.raises(CatalogueError, match=words) as caught:
            from_bytes(bad)
        assert "backbeat maintenance reindex" in str(caught.value)


def test_offset_and_speed_are_refined() -> None:
    random = np.random.default_rng(4)
    own = Peaks(np.sort(random.uniform(0, 1800, 600)), random.uniform(20, 470, 600), 1800.0)
    inside = (own.frames > 400) & (own.frames < 1000)
    asked = Peaks((own.frames[inside] - 400) / 1.004, own.bins[inside] * 1.004, 600 / 1.004)
    made = align(asked, own, 401.4)
    assert made.offset_frames == pytest.approx(400, abs=0.3)
    assert made.speed == pytest.approx(1.004, abs=5e-4)
    assert made.score > 0.95
    assert made.overlap_s == pytest.approx(600 / FRAMES_PER_S, abs=0.1)
    assert align(replace(asked, bins=asked.bins[::-1].copy()), own, 401.4).score < 0.15
