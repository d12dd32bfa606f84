"""The groove corpus: beats of the click, strokes where they were played, performers never divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from backbeat.corpus.groove import GrooveParams, arranged_score, make_groove_corpus, performance_score
from backbeat.corpus.performances import load_performances
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.errors import ConfigError, CorpusError

HEAD = "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split\n"
BPM = 120


def write_performance(folder: Path, performer: str, beats: np.ndarray, signature: str = "4-4") -> str:
    """Eighths on the hi-hat, kick and snare in turn on the beats; return the row of info.csv."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=BPM)
    kit = pretty_midi.Instrument(0, is_drum=True)
    for index, beat in enumerate(beats):
        start_s = beat * 60 / BPM
        for pitch in (42,) if index % 2 else (42, (36, 38)[index // 2 % 2]):
            kit.notes.append(pretty_midi.Note(100, pitch, start_s, start_s + 0.1))
    midi.instruments.append(kit)
    name = f"{performer}/1.mid"
    (folder / performer).mkdir(parents=True)
    midi.write(str(folder / name))
    return f"{performer},s,{performer}/1,funk/groove1,{BPM},beat,{signature},{name},,{beats[-1] * 60 / BPM:.3f},train\n"


@pytest.fixture
def played(tmp_path: Path) -> Path:
    folder = tmp_path / "played"
    rows = [write_performance(folder, f"drummer{number}", np.arange(0, 24, 0.5)) for number in range(1, 5)]
    (folder / "info.csv").write_text(HEAD + "".join(rows))
    return folder


def test_excerpts_keep_strokes_on_the_beats_of_the_click(played: Path) -> None:
    performance = load_performances(played)[0]
    for seed in range(5):
        score = performance_score("a", performance, 6.0, np.random.default_rng(seed))
        assert score.tempo_bpm == 120
        assert score.duration_s == 6.0
        assert score.style == "funk"
        assert score.source == "groove-drummer1"
        assert np.allclose(np.diff(score.beats.times_s), 0.5)
        onsets = score.onsets()
        on_beats = onsets.of("kick", "snare").times_s
        distance_s = np.abs(on_beats[:, None] - score.beats.times_s).min(axis=1)
        assert distance_s.max() < 0.003
        downbeat_s = score.beats.downbeats_s
        assert np.abs(onsets.of("kick").times_s[:, None] - downbeat_s).min(axis=0).max() < 0.003


def test_performances_become_a_corpus_divided_by_performer(played: Path, tmp_path: Path) -> None:
    params = GrooveParams(tracks=6, duration_s=5.0, effects=EffectsParams(codec=0.0))
    corpus = make_groove_corpus(tmp_path / "groove", played, params, workers=1, progress=False)
    assert len(corpus.tracks) == 6
    splits: dict[str, set[str]] = {}
    for track in corpus.tracks:
        splits.setdefault(track.source, set()).add(track.split)
        assert (track.genre, track.licence, str(track.time_signature)) == ("funk", "CC-BY-4.0", "4/4")
    assert all(len(one) == 1 for one in splits.values())
    assert {split for one in splits.values() for split in one} >= {"train", "test"}
    assert len({track.sha256 for track in corpus.tracks}) == 6


def test_a_performance_can_be_played_inside_a_piece(played: Path) -> None:
    performance = load_performances(played)[1]
    scores = [arranged_score("a", performance, 8.0, np.random.SeedSequence(seed)) for seed in range(6)]
    made = [score for score in scores if score is not None]
    assert made
    for score in made:
        assert (score.style, score.source, score.licence) == ("funk", "groove-drummer2", "CC-BY-4.0")
        assert any(part.name == "drums" for part in score.parts)
    assert any(len(score.parts) > 1 for score in made)


def test_what_cannot_be_made_is_refused(played: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too short"):
        GrooveParams(duration_s=1.0)
    rows = (played / "info.csv").read_text().replace(",beat,", ",fill,")
    (played / "info.csv").write_text(rows)
    with pytest.raises(CorpusError, match="no performance of 5 s or more"):
        make_groove_corpus(tmp_path / "groove", played, GrooveParams(), progress=False)
