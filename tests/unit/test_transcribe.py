"""Songs to strokes: whole transcriptions with the shipped models, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import save_tiny_models

from backbeat.analysis.analyzer import shipped_models
from backbeat.audio import AudioLimits
from backbeat.beat.tracker import BeatTracker
from backbeat.charts.transcription.transcribe import DRUMS_FROM_STEM, Modes, Transcriber, Transcription
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, DrumSetup, Kit, strike
from backbeat.corpus.rendered.score import Note
from backbeat.corpus.rendered.synthesise import SoundfontKit, default_soundfont, load_soundfont
from backbeat.errors import AudioLimitError, AudioNotFoundError, ConfigError, ModelError, SilentAudioError
from backbeat.features import FeatureParams
from backbeat.music import DRUMS
from backbeat.onset.detector import OnsetDetector
from backbeat.onset.matching import count_matches

KICK, SNARE, HIHAT, CRASH = 36, 38, 42, 49

pytestmark = pytest.mark.skipif(
    not all((folder / "spec.json").is_file() for folder in shipped_models().values()),
    reason="no weights ship with this checkout",
)


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return Transcriber.load()


def kit() -> Kit:
    return SoundfontKit(load_soundfont(default_soundfont()), 0)


def beat(bars: int, bpm: float = 120.0, first_s: float = 0.5) -> list[Note]:
    """Return a rock beat: eighths of hi-hat, kick on 1 and 3, snare on 2 and 4."""
    eighth_s = 30.0 / bpm
    notes = []
    for eighth in range(8 * bars):
        start_s = first_s + eighth * eighth_s
        notes.append(Note(start_s, 0.1, HIHAT, 90))
        if eighth % 2 == 0:
            notes.append(Note(start_s, 0.1, (KICK, SNARE)[eighth // 2 % 2], 110))
    return sorted(notes, key=lambda note: note.start_s)


def played(path: Path, notes: Sequence[Note], duration_s: float, setup: DrumSetup | None = None) -> Path:
    """Write drums as audio; in stereo where they are placed."""
    count = round(duration_s * SYNTHESIS_RATE_HZ)
    rng = np.random.default_rng(1)
    samples = strike([kit()], notes, count, rng, setup=setup, channels=1 if setup is None else 2)
    soundfile.write(path, 0.7 * samples.T / np.abs(samples).max(), SYNTHESIS_RATE_HZ)
    return path


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("song") / "song.wav", beat(6), 13.0)


def f_measure(notes: Sequence[Note], pitch: int, found: Transcription, *lanes: str, window_s: float = 0.02) -> float:
    true_s = np.array([note.start_s for note in notes if note.pitch == pitch])
    heard_s = found.strokes.of(*lanes).times_s
    return 2 * count_matches(true_s, heard_s, window_s) / (true_s.size + heard_s.size)


def test_a_beat_is_transcribed_within_20_ms(transcriber: Transcriber, song: Path) -> None:
    found = transcriber.transcribe(song)
    assert f_measure(beat(6), KICK, found, "kick") >= 0.98
    assert f_measure(beat(6), SNARE, found, "snare") >= 0.98
    assert f_measure(beat(6), HIHAT, found, "hihat_closed") >= 0.95
    assert found.duration_s == pytest.approx(13.0, abs=0.001)
    assert found.beats.tempo_bpm == pytest.approx(120, rel=0.02)
    assert found.outline.shape[0] == 2
    assert set(found.sources) == set(DRUMS)
    assert set(found.sources.values()) == {"mix"}
    assert set(found.models) == {"beat", "onset"}
    assert found.warnings == ()
    assert np.all(found.onsets_s <= found.duration_s)
    assert found.onsets_s.size >= 45
    assert np.all(found.strokes.times_s <= found.duration_s)


def test_louder_strokes_have_higher_velocities(transcriber: Transcriber, tmp_path: Path) -> None:
    notes = [Note(0.5 + 0.2 * number, 0.1, SNARE, 120 if number % 2 else 40) for number in range(16)]
    found = transcriber.transcribe(played(tmp_path / "snare.wav", notes, 4.0)).strokes.of("snare")
    loud = np.round((found.times_s - 0.5) / 0.2) % 2 == 1
    assert len(found) == 16
    assert found.velocities[loud].mean() > found.velocities[~loud].mean() + 0.2


def test_drums_come_from_the_stem_and_beats_from_the_song(transcriber: Transcriber, song: Path, tmp_path: Path) -> None:
    stem = played(tmp_path / "stem.wav", [note for note in beat(6) if note.pitch == KICK], 12.0)
    found = transcriber.transcribe(song, drums=stem)
    assert len(found.strokes.of("snare")) == 0
    assert f_measure(beat(6), KICK, found, "kick") >= 0.98
    assert {name for name, source in found.sources.items() if source == "drums"} == DRUMS_FROM_STEM
    assert found.beats.tempo_bpm == pytest.approx(120, rel=0.02)


def test_a_silent_stem_has_no_drums_and_a_silent_song_is_refused(
    transcriber: Transcriber, song: Path, tmp_path: Path
) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(44100 * 6), 44100)
    assert len(transcriber.transcribe(song, drums=silence).strokes) == 0
    with pytest.raises(SilentAudioError):
        transcriber.transcribe(silence)


def test_a_tone_has_no_drums(transcriber: Transcriber, tmp_path: Path) -> None:
    time_s = np.arange(44100 * 6) / 44100
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time_s) * np.minimum(time_s, 1), 44100)
    assert len(transcriber.transcribe(tmp_path / "tone.wav").strokes) == 0


@pytest.mark.parametrize("duration_s", [0.2, 1.3, 5.0])
def test_short_files_are_transcribed(transcriber: Transcriber, tmp_path: Path, duration_s: float) -> None:
    notes = [note for note in beat(2, first_s=0.1) if note.start_s < duration_s]
    found = transcriber.transcribe(played(tmp_path / "short.wav", notes, duration_s), modes=Modes(rock=True))
    assert found.duration_s == pytest.approx(duration_s, abs=0.001)
    assert np.all(found.strokes.times_s <= duration_s)


@pytest.mark.parametrize(
    "modes",
    [Modes(rock=True), Modes(ensemble=True), Modes(multi_scale=True), Modes(advanced_features=True)],
    ids=["rock", "ensemble", "multi-scale", "advanced"],
)
def test_every_mode_hears_a_plain_beat(transcriber: Transcriber, song: Path, modes: Modes) -> None:
    found = transcriber.transcribe(song, modes=modes)
    assert f_measure(beat(6), KICK, found, "kick") >= 0.95
    assert f_measure(beat(6), SNARE, found, "snare") >= 0.95
    assert f_measure(beat(6), HIHAT, found, "hihat_closed") >= 0.85


def test_all_modes_go_together_and_give_the_same_twice(transcriber: Transcriber, song: Path) -> None:
    modes = Modes(rock=True, ensemble=True, multi_scale=True, advanced_features=True)
    once, again = (transcriber.transcribe(song, modes=modes).strokes for _ in range(2))
    assert once.lanes == again.lanes
    np.testing.assert_array_equal(once.times_s, again.times_s)


def test_crashes_on_two_sides_have_two_lanes(transcriber: Transcriber, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times_s = 0.5 + 1.5 * np.arange(10)
    count = round(16.5 * SYNTHESIS_RATE_HZ)
    sides = [
        strike(
            [kit()],
            [Note(float(time_s), 0.1, CRASH, 110)],
            count,
            rng,
            setup=DrumSetup({}, {}, {}, {"crash": pan}),
            channels=2,
        )
        for time_s, pan in zip(times_s, [-0.6, 0.6] * 5, strict=True)
    ]
    samples = np.sum(sides, axis=0)
    soundfile.write(tmp_path / "crashes.wav", 0.7 * samples.T / np.abs(samples).max(), SYNTHESIS_RATE_HZ)
    found = transcriber.transcribe(tmp_path / "crashes.wav").strokes
    left, right = found.of("crash_left").times_s, found.of("crash_right").times_s
    assert count_matches(times_s[::2], left, 0.05) >= 4
    assert count_matches(times_s[1::2], right, 0.05) >= 4
    assert count_matches(times_s[::2], right, 0.05) == 0
    assert count_matches(times_s[1::2], left, 0.05) == 0


def test_what_cannot_be_heard_is_refused(transcriber: Transcriber, song: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioNotFoundError):
        transcriber.transcribe(tmp_path / "nothing.wav")
    with pytest.raises(AudioLimitError):
        transcriber.transcribe(song, limits=AudioLimits(max_seconds=5))


def test_models_must_exist_and_share_a_spectrogram(tmp_path: Path) -> None:
    tiny = save_tiny_models(tmp_path / "tiny")
    loaded = Transcriber.load(tiny)
    assert loaded.models_of(Modes())["onset"].name == "tiny-onset"
    with pytest.raises(ModelError, match="different spectrograms"):
        Transcriber(
            BeatTracker.from_folder(tiny["beat"]),
            OnsetDetector.from_folder(save_tiny_models(tmp_path / "other", FeatureParams(mel_bands=64))["onset"]),
        )
    with pytest.raises(ModelError, match="no model"):
        Transcriber.load({"beat": tmp_path / "missing"})
    with pytest.raises(ConfigError):
        Transcriber.load({"drums": tmp_path})
