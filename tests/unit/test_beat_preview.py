"""Beats in another time and key: strokes stay what they are and fall where they should, and mixes never clip."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backbeat.analysis.result import Analysis, BeatEvent, GenreGuess, OnsetEvent
from backbeat.audio import decode, encode
from backbeat.audio.loudness import loudness_lufs
from backbeat.audio.stretching import TimeMap, split, stretch
from backbeat.errors import ConfigError, UnsupportedAudioError
from backbeat.recommend.beats.preview import PEAK, Pulse, mixed, pulse_of, under_take, write_preview

RATE_HZ = 44100


def tone(frequency_hz: float, seconds: float) -> NDArray[np.float32]:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.tile(0.3 * np.sin(2 * np.pi * frequency_hz * times).astype(np.float32), (2, 1))


def strokes(times_s: NDArray[np.float64], seconds: float) -> NDArray[np.float32]:
    """Noise that dies away within 50 ms, the same at every stroke."""
    length = round(0.15 * RATE_HZ)
    noise = np.random.default_rng(0).normal(size=length) * np.exp(-np.arange(length) / (0.02 * RATE_HZ))
    out = np.zeros(round(seconds * RATE_HZ) + length, np.float32)
    for time_s in times_s:
        first = round(time_s * RATE_HZ)
        out[first : first + length] += 0.2 * noise.astype(np.float32)
    return np.tile(out[: round(seconds * RATE_HZ)], (2, 1))


def attacks_s(samples: NDArray[np.float32], least: float = 0.1) -> NDArray[np.float64]:
    """Times at which sound sets in after 50 ms of hardly any."""
    loud = np.flatnonzero(np.abs(samples[0]) > least)
    return loud[np.concatenate([[True], np.diff(loud) > 0.05 * RATE_HZ])] / RATE_HZ


def pulse(bpm: float, start_s: float, bars: int, bar: int = 4) -> Pulse:
    counts = bar * np.arange(bars + 1.0)
    return Pulse(counts, start_s + counts * 60 / bpm, bar)


def analysis(bpm: float, start_s: float, seconds: float, jitter_s: float = 0.0) -> Analysis:
    times_s = np.arange(start_s, seconds, 60 / bpm)
    times_s = times_s + np.random.default_rng(0).uniform(-jitter_s, jitter_s, times_s.size)
    beats = tuple(BeatEvent(float(time_s), 1 + number % 4) for number, time_s in enumerate(times_s))
    onsets = tuple(OnsetEvent(float(time_s), 1.0) for time_s in times_s)
    return Analysis("x", seconds, RATE_HZ, bpm, "4/4", beats, onsets, (), GenreGuess("", {}, True), None, -14.0, {})


def test_the_parts_add_up_and_are_told_apart() -> None:
    ringing, struck = tone(440, 3.0), strokes(np.arange(0.25, 3, 0.5), 3.0)
    harmonic, percussive = split(ringing + struck, RATE_HZ)
    assert np.abs(harmonic + percussive - ringing - struck).max() < 1e-5
    inside = slice(RATE_HZ // 4, -RATE_HZ // 4)
    assert np.square(harmonic - ringing)[:, inside].sum() < 0.1 * np.square(ringing)[:, inside].sum()
    assert np.square(percussive - struck)[:, inside].sum() < 0.3 * np.square(struck)[:, inside].sum()


@pytest.mark.parametrize("faster", [0.87, 0.97, 1.0, 1.04, 1.15])
def test_strokes_are_copied_to_where_they_belong(faster: float) -> None:
    at_s = np.arange(0.2, 3.8, 0.25)
    music = strokes(at_s, 4.0)
    length = round(4 * RATE_HZ / faster)
    times = TimeMap(np.array([0.0, length]), np.array([0.0, 4.0 * RATE_HZ]))
    out = stretch(np.zeros_like(music), music, RATE_HZ, times, length, onsets=at_s * RATE_HZ)
    assert out.shape == (2, length)
    for time_s in at_s:
        first, there = round(time_s * RATE_HZ), round(time_s / faster * RATE_HZ)
        taken, original = out[0, there : there + 1300], music[0, first : first + 1300]
        # Within one sample, and the very same waveform.
        apart = [np.abs(np.roll(taken, shift)[2:-2] - original[2:-2]).max() for shift in (-1, 0, 1)]
        assert min(apart) < 1e-4
    assert attacks_s(out).size == at_s.size


@pytest.mark.parametrize(("faster", "semitones"), [(0.9, 0), (1.1, 0), (1.0, 2), (0.95, -2)])
def test_tones_keep_or_change_their_pitch_and_their_strength(faster: float, semitones: int) -> None:
    ringing = tone(440, 4.0)
    length = round(4 * RATE_HZ / faster)
    times = TimeMap(np.array([0.0, length]), np.array([0.0, 4.0 * RATE_HZ]))
    out = stretch(ringing, np.zeros_like(ringing), RATE_HZ, times, length, semitones=semitones)
    middle = out[0, RATE_HZ // 2 : RATE_HZ // 2 + 2 * RATE_HZ]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
    wanted_hz = 440 * 2 ** (semitones / 12)
    assert np.argmax(spectrum) / 2 == pytest.approx(wanted_hz, abs=0.5)
    loudness = np.sqrt(np.square(middle[: middle.size // 4410 * 4410]).reshape(-1, 4410).mean(axis=1))
    assert loudness == pytest.approx(np.full(loudness.size, 0.3 / np.sqrt(2)), rel=0.03)


def test_absurd_stretching_is_refused() -> None:
    silence = np.zeros((2, 100), np.float32)
    times = TimeMap(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    with pytest.raises(ConfigError, match="backwards"):
        TimeMap(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    with pytest.raises(ConfigError, match="semitones"):
        stretch(silence, silence, RATE_HZ, times, 10, semitones=13)
    with pytest.raises(ConfigError, match="samples"):
        stretch(silence[:, :0], silence[:, :0], RATE_HZ, times, 10)


@pytest.mark.parametrize(
    ("take_bpm", "beat_bpm", "level", "expected_bpm"),
    [(100.0, 92.0, 1.0, 100.0), (70.0, 138.0, 2.0, 140.0), (140.0, 71.0, 0.5, 70.0)],
)
def test_the_beat_is_looped_on_the_take(take_bpm: float, beat_bpm: float, level: float, expected_bpm: float) -> None:
    begin_s, bars = 0.35, 2
    at_s = begin_s + np.arange(4 * bars) * 60 / beat_bpm
    music = strokes(at_s, begin_s + 4 * bars * 60 / beat_bpm + 0.2)
    take = pulse(take_bpm, 0.5, 4)
    length = round(10 * RATE_HZ)
    out = under_take(music, RATE_HZ, length, take, pulse(beat_bpm, begin_s, bars), level=level, onsets_s=at_s)
    found = attacks_s(out[:, : length - RATE_HZ // 10])
    period_s = 60 / expected_bpm
    expected = np.arange(0.5 - np.floor(0.5 / period_s) * period_s, 9.85, period_s)
    assert found == pytest.approx(expected, abs=0.002)


def test_a_take_or_a_beat_without_a_pulse_keeps_the_tempo() -> None:
    at_s = 0.2 + np.arange(8) * 0.5
    music = strokes(at_s, 4.2)
    out = under_take(music, RATE_HZ, 6 * RATE_HZ, None, pulse(120.0, 0.2, 2), onsets_s=at_s)
    assert attacks_s(out)[:8] == pytest.approx(0.03 + np.arange(8) * 0.5, abs=0.002)
    assert under_take(music, RATE_HZ, 6 * RATE_HZ, pulse(90.0, 0.0, 2), None).shape == (2, 6 * RATE_HZ)


def test_pulse_of_a_click_is_a_line_and_of_a_player_his_bars() -> None:
    steady = pulse_of(analysis(90.0, 0.4, 20.0, jitter_s=0.01))
    assert steady is not None
    assert steady.tempo_bpm == pytest.approx(90.0, abs=0.05)
    assert np.diff(steady.times_s) == pytest.approx(np.full(steady.counts.size - 1, 240 / 90), abs=1e-3 * 3)
    loose = pulse_of(analysis(90.0, 0.4, 20.0, jitter_s=0.08))
    assert loose is not None
    assert np.ptp(np.diff(loose.times_s)) > 0.02
    assert pulse_of(analysis(90.0, 0.4, 1.5)) is None


def test_a_loop_may_end_where_its_next_bar_begins() -> None:
    found = pulse_of(analysis(120.0, 0.0, 4.0))
    assert found is not None
    assert found.counts.tolist() == [0, 4, 8]


def test_mixes_are_balanced_and_never_clip() -> None:
    take, beat = tone(330, 4.0), 3 * strokes(np.arange(0, 4, 0.25), 4.0)
    both = mixed(take, beat, RATE_HZ)
    assert np.abs(both).max() <= PEAK + 1e-6
    quiet = mixed(0.1 * take, beat, RATE_HZ)
    under = quiet - 0.1 * take
    ours, theirs = loudness_lufs(0.1 * take, RATE_HZ), loudness_lufs(under, RATE_HZ)
    assert ours is not None
    assert theirs == pytest.approx(ours, abs=0.5)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    take, beat = tmp_path / "take.wav", tmp_path / "beat.wav"
    encode(take, 2 * tone(220, 6.0), RATE_HZ)
    encode(beat, strokes(0.1 + np.arange(16) * 0.25, 4.4), RATE_HZ)
    return take, beat


class Ears:
    """Knows both files: the take has 108 beats a minute, the beat 120."""

    def analyze(self, path: Path, limits: Any = None) -> Analysis:
        return analysis(108.0, 0.2, 6.0) if path.name == "take.wav" else analysis(120.0, 0.1, 4.4)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_a_preview_is_written(files: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    told: list[tuple[float, str]] = []
    out = tmp_path / f"mix{suffix}"
    answer: Any = SimpleNamespace(level=1.0, transpose_semitones=1)
    ears: Any = Ears()
    write_preview(*files, answer, out, analyzer=ears, progress=lambda share, step: told.append((share, step)))
    audio = decode(out)
    assert audio.samples.shape[0] == 2
    assert audio.samples.shape[1] == pytest.approx(6 * RATE_HZ, abs=2500)
    assert np.abs(audio.samples).max() < 1
    assert [share for share, _ in told] == [0.0, 0.3, 0.9, 1.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["beat.wav", "take.wav", out.name])


def test_a_preview_does_not_replace_what_it_is_made_of(files: tuple[Path, Path]) -> None:
    answer: Any = SimpleNamespace(level=1.0, transpose_semitones=0)
    with pytest.raises(ConfigError, match="name another file"):
        write_preview(*files, answer, files[0])


def test_a_format_that_is_none_leaves_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    answer: Any = SimpleNamespace(level=1.0, transpose_semitones=0)
    ears: Any = Ears()
    with pytest.raises(UnsupportedAudioError):
        write_preview(*files, answer, tmp_path / "mix.xyz", analyzer=ears)
    assert not (tmp_path / "mix.xyz").exists()
