"""Strokes out of activations: flams and rolls stay, what was detected twice does not."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from backbeat.analysis.analyzer import shipped_models
from backbeat.charts.transcription.hits import in_two_hands, struck, without_doubles
from backbeat.corpus.rendered.acoustic import acoustic_kit
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Kit, strike
from backbeat.corpus.rendered.score import Note
from backbeat.corpus.rendered.synthesise import SoundfontKit, default_soundfont, load_soundfont
from backbeat.features import LogMel, log_mel
from backbeat.music import DRUMS, Onsets
from backbeat.onset.detector import OnsetDetector

RATE_HZ = 100.0
SNARE, RIDE, KICK = (DRUMS.index(name) for name in ("snare", "ride", "kick"))


def activation(drum: int, peaks: dict[int, float], valley: float = 0.0, frames: int = 60) -> np.ndarray:
    """Return probabilities of one drum with peaks at frames, and `valley` between them."""
    drums = np.zeros((frames, len(DRUMS)))
    drums[min(peaks) : max(peaks) + 1, drum] = valley
    for frame, height in peaks.items():
        drums[frame, drum] = height
    return drums


def pair(drum: int, gap: int, heights: tuple[float, float], velocities: tuple[float, float], valley: float) -> Onsets:
    hits = Onsets([0.2, 0.2 + gap / RATE_HZ], [DRUMS[drum]] * 2, velocities)
    return without_doubles(hits, activation(drum, {20: heights[0], 20 + gap: heights[1]}, valley), RATE_HZ)


@pytest.mark.parametrize(
    ("what", "drum", "gap", "heights", "velocities", "valley", "left"),
    [
        ("a flam", SNARE, 3, (0.8, 1.0), (0.5, 0.85), 0.5, 2),
        ("a ripple before the peak", SNARE, 3, (0.8, 1.0), (0.5, 0.85), 0.75, 1),
        ("no grace note, as hard as the stroke", SNARE, 3, (0.9, 1.0), (0.8, 0.85), 0.5, 1),
        ("a roll", SNARE, 6, (0.95, 0.93), (0.7, 0.66), 0.01, 2),
        ("the room after a stroke", SNARE, 5, (1.0, 0.7), (0.8, 0.5), 0.01, 1),
        ("a second peak of one ride", RIDE, 3, (0.7, 0.5), (0.6, 0.65), 0.05, 1),
        ("two rides", RIDE, 6, (0.8, 0.78), (0.6, 0.58), 0.02, 2),
        ("two kicks of one foot in 30 ms", KICK, 3, (1.0, 1.0), (0.6, 0.9), 0.0, 1),
        ("double bass", KICK, 6, (0.97, 0.98), (0.7, 0.7), 0.0, 2),
        ("far apart", RIDE, 7, (1.0, 0.3), (0.9, 0.2), 0.9, 2),
    ],
)
def test_close_strokes(
    what: str,
    drum: int,
    gap: int,
    heights: tuple[float, float],
    velocities: tuple[float, float],
    valley: float,
    left: int,
) -> None:
    assert len(pair(drum, gap, heights, velocities, valley)) == left, what


def test_of_a_doubled_detection_the_surer_one_stays() -> None:
    assert pair(RIDE, 3, (0.4, 0.9), (0.5, 0.5), 0.3).times_s == pytest.approx([0.23])
    assert pair(RIDE, 3, (0.9, 0.4), (0.5, 0.5), 0.3).times_s == pytest.approx([0.2])


def test_drums_do_not_disturb_each_other() -> None:
    hits = Onsets([0.2, 0.22, 0.23], ["kick", "ride", "snare"], [0.9, 0.5, 0.8])
    drums = activation(KICK, {20: 1.0}) + activation(RIDE, {22: 0.8}) + activation(SNARE, {23: 0.9})
    assert without_doubles(hits, drums, RATE_HZ).classes == ("kick", "ride", "snare")
    assert len(without_doubles(Onsets(np.empty(0)), drums, RATE_HZ)) == 0


def test_struck_takes_the_surest_hihat_in_order_of_time() -> None:
    likely = np.zeros((2, len(DRUMS)))
    closed, opened = DRUMS.index("hihat_closed"), DRUMS.index("hihat_open")
    likely[0, [closed, opened, KICK]] = 0.6, 0.55, 0.9
    likely[1, [opened, KICK]] = 0.3, 0.2
    thresholds = np.full(len(DRUMS), 0.5)
    thresholds[opened] = 0.4
    times_s = np.tile([[1.0], [0.5]], (1, len(DRUMS)))
    times_s[0, KICK] = 0.99
    hits = struck(likely, thresholds, times_s, np.full(likely.shape, 0.7))
    assert hits.classes == ("kick", "hihat_open")
    assert hits.times_s == pytest.approx([0.99, 1.0])


@pytest.mark.skipif(not (shipped_models()["onset"] / "spec.json").is_file(), reason="no weights ship")
@pytest.mark.parametrize(
    ("kit_name", "gap_s", "grace", "wanted"),
    [
        ("soundfont", 0.0, 0, 1),
        ("soundfont", 0.035, 70, 2),
        ("soundfont", 0.05, 40, 2),
        ("soundfont", 0.08, 40, 2),
        ("modelled", 0.0, 0, 1),
        ("modelled", 0.04, 70, 2),
        ("modelled", 0.05, 70, 2),
        ("modelled", 0.08, 40, 2),
    ],
)
def test_flams_of_played_drums_are_heard_as_two(kit_name: str, gap_s: float, grace: int, wanted: int) -> None:
    kit: Kit = acoustic_kit(np.random.default_rng(2))
    if kit_name == "soundfont":
        kit = SoundfontKit(load_soundfont(default_soundfont()), 0)
    times_s = 0.5 + 0.5 * np.arange(8)
    notes = [Note(float(time_s), 0.1, 38, 105) for time_s in times_s]
    if gap_s:
        notes += [Note(float(time_s) - gap_s, 0.1, 38, grace) for time_s in times_s]
    notes.sort(key=lambda note: note.start_s)
    samples = strike([kit], notes, 5 * SYNTHESIS_RATE_HZ, np.random.default_rng(0))[0]
    detector = OnsetDetector.from_folder(shipped_models()["onset"])
    front_end = LogMel(detector.spec.features)
    rate_hz = front_end.params.sample_rate_hz
    mono = soxr.resample(0.7 * samples / np.abs(samples).max(), SYNTHESIS_RATE_HZ, rate_hz).astype(np.float32)
    activations = detector.activations(log_mel(mono, front_end))
    _, hits = detector.decode(activations)
    snares = without_doubles(hits, activations[:, 1 : 1 + len(DRUMS)], detector.frame_rate_hz).of("snare")
    near = [np.flatnonzero(np.abs(snares.times_s - time_s) < 0.1) for time_s in times_s]
    assert np.mean([found.size == wanted for found in near]) >= 0.85
    if wanted == 2:
        graces = [snares.velocities[found] for found in near if found.size == 2]
        assert np.mean([first < second for first, second in graces]) >= 0.85


def test_two_hands_strike_two_things_at_once() -> None:
    names = ["kick", "tom_high", "tom_mid", "crash", "snare", "hihat_pedal", "tom_low"]
    times_s = [1.0, 1.0, 1.005, 1.01, 1.015, 1.018, 1.5]
    sureness = np.zeros((200, len(DRUMS)))
    for name, value in (("tom_high", 1.2), ("tom_mid", 1.5), ("crash", 1.1), ("snare", 1.4)):
        sureness[100:103, DRUMS.index(name)] = value
    kept = in_two_hands(Onsets(np.array(times_s), names), sureness, 100.0)
    # The surer tom and the snare stay; feet have nothing to do with it, nor has what comes later.
    assert kept.classes == ("kick", "tom_mid", "snare", "hihat_pedal", "tom_low")


def test_a_flam_is_played_with_two_hands() -> None:
    hits = Onsets(np.array([1.0, 1.03, 1.03]), ["snare", "snare", "tom_low"])
    assert len(in_two_hands(hits, np.ones((200, len(DRUMS))), 100.0)) == 3
