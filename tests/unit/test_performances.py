"""Human performances: read true to the click, divided by performer, and laid over scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from backbeat.corpus.midi import read_note_ons
from backbeat.corpus.performances import (
    Performance,
    load_performances,
    performances_for_split,
    performer_splits,
)
from backbeat.corpus.rendered.compose import ComposeParams, compose
from backbeat.errors import AnnotationError, CorpusError

COLUMNS = "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split"
GROOVE = Path(__file__).parents[3] / "shared" / "data" / "groove"
EARLY_BEATS = 0.03


def write_midi(path: Path, bpm: float, strokes: list[tuple[float, int, int]]) -> None:
    midi = pretty_midi.PrettyMIDI(initial_tempo=bpm)
    drums = pretty_midi.Instrument(0, is_drum=True)
    for beat, note, velocity in strokes:
        start_s = beat * 60 / bpm
        drums.notes.append(pretty_midi.Note(velocity, note, start_s, start_s + 0.05))
    midi.instruments.append(drums)
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(str(path))


def rock(bars: int, swing: float = 0.5) -> list[tuple[float, int, int]]:
    strokes: list[tuple[float, int, int]] = []
    for bar in range(bars):
        for beat in range(4):
            at = 4 * bar + beat
            strokes += [(at, 42, 90), (at + swing, 42, 60), (at, 36 if beat % 2 == 0 else 40, 110)]
    return [(max(0.0, at - EARLY_BEATS), note, velocity) for at, note, velocity in strokes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [COLUMNS]
    for drummer, style, bpm, bars, swing in (
        ("drummer1", "rock", 120, 40, 0.5),
        ("drummer2", "rock/shuffle", 104, 16, 2 / 3),
        ("drummer3", "rock", 132, 12, 0.5),
        ("drummer3", "funk/groove1", 100, 8, 0.5),
    ):
        name = f"{drummer}/session1/{len(rows)}.mid"
        write_midi(tmp_path / name, bpm, rock(bars, swing))
        duration_s = bars * 4 * 60 / bpm
        rows.append(
            f"{drummer},{drummer}/session1,{name[:-4]},{style},{bpm},beat,4-4,{name},,{duration_s:.3f},validation"
        )
    (tmp_path / "info.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_table_is_read_without_its_midi_files(folder: Path) -> None:
    performances = load_performances(folder)
    second = performances[1]
    assert [one.performer for one in performances] == ["drummer1", "drummer2", "drummer3", "drummer3"]
    assert (second.style, second.substyle, second.bpm, str(second.time_signature)) == ("rock", "shuffle", 104, "4/4")
    assert (second.bars, second.is_fill, second.dataset_split, second.source) == (16, False, "valid", "groove-drummer2")
    assert "notes" not in vars(second)


def test_notes_are_in_beats_and_general_midi(folder: Path) -> None:
    performance = load_performances(folder)[0]
    notes = performance.notes
    assert len(notes) == 40 * 12
    assert set(notes.pitches.tolist()) == {36, 38, 42}
    snare = notes.beats[notes.pitches == 38]
    assert snare[:3] == pytest.approx([0.97, 2.97, 4.97], abs=0.005)
    assert set(notes.velocities.tolist()) == {60, 90, 110}


def test_the_constant_lead_and_the_swing_are_measured(folder: Path) -> None:
    straight, shuffled, *_ = load_performances(folder)
    assert straight.advance_beats == pytest.approx(EARLY_BEATS, abs=0.004)
    assert straight.grid_fit > 0.95
    assert straight.swing == 0.5
    assert straight.downbeat_share == 1.0
    assert shuffled.swing == pytest.approx(2 / 3, abs=0.01)
    assert shuffled.grid_fit > 0.95


def test_no_performer_is_in_two_splits(folder: Path) -> None:
    performances = load_performances(folder)
    dealt = performer_splits(performances)
    assert dealt == {"drummer1": "train", "drummer3": "test", "drummer2": "valid"}
    parts = {split: performances_for_split(performances, split) for split in ("train", "valid", "test")}
    assert sum(len(part) for part in parts.values()) == 4
    assert {one.performer for one in parts["valid"]} == {"drummer2"}
    assert performer_splits(performances[::-1]) == dealt
    with pytest.raises(CorpusError, match="holdout"):
        performances_for_split(performances, "holdout")


def human_scores(performances: tuple[Performance, ...]) -> list:
    params = ComposeParams(style="rock", performance_share=1.0, drumless_share=0.0)
    scores = [compose("a", seed, params, performances) for seed in range(25)]
    return [score for score in scores if score.source.startswith("groove-")]


def test_scores_take_over_human_timing_and_say_whose(folder: Path) -> None:
    performances = load_performances(folder)[:1]
    scores = human_scores(performances)
    assert len(scores) >= 12
    for score in scores:
        assert (score.source, score.licence) == ("groove-drummer1", "CC-BY-4.0")
        assert 108 <= score.tempo_bpm <= 132
        drums = next(part for part in score.parts if part.name == "drums")
        snare = np.array([note.start_s for note in drums.notes if note.pitch == 38 and note.velocity == 110])
        backbeats_s = score.beats.times_s[np.isin(score.beats.positions, (2, 4))]
        near = np.abs(snare[:, None] - backbeats_s).min(axis=1)
        # The lead that all strokes share is taken out, so that they lie on the beat again.
        assert np.mean(near < 0.006) > 0.95


def test_without_a_performance_that_fits_the_seed_is_the_source(folder: Path) -> None:
    params = ComposeParams(style="waltz", performance_share=1.0)
    assert compose("a", 4, params, load_performances(folder)).source == "seed-4"
    loose = ComposeParams(style="rock", performance_share=0.0)
    assert compose("a", 4, loose, load_performances(folder)).licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("d,s,i,rock,fast,beat,4-4,a.mid,,3,train", "tempo"),
        ("d,s,i,rock,100,loop,4-4,a.mid,,3,train", "loop"),
        ("d,s,i,rock,100,beat,four,a.mid,,3,train", "time signature"),
        ("d,s,i,rock,100,beat,4-4,a.mid,,long,train", "seconds"),
    ],
)
def test_rows_that_cannot_be_true_are_named(tmp_path: Path, row: str, word: str) -> None:
    (tmp_path / "info.csv").write_text(f"{COLUMNS}\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"info\.csv:2: .*{word}"):
        load_performances(tmp_path)


def test_folders_that_are_no_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no info\.csv"):
        load_performances(tmp_path)
    (tmp_path / "info.csv").write_text("drummer,id\n")
    with pytest.raises(CorpusError, match="'beat_type' is missing"):
        load_performances(tmp_path)
    (tmp_path / "info.csv").write_text(COLUMNS + "\n")
    with pytest.raises(CorpusError, match="no performances"):
        load_performances(tmp_path)


def test_midi_is_read_across_tempo_changes_and_other_messages(tmp_path: Path) -> None:
    track = bytes.fromhex(
        "00 FF5103 07A120"  # 120 quarters a minute
        "8360 99 24 64"  # after 480 ticks: note 36
        "00 F0 04 010203F7"  # a system exclusive message
        "00 C9 03"  # a program change
        "8170 FF5103 0F4240"  # after 240 ticks: 60 quarters a minute
        "00 99 24 00"  # a note-on of velocity 0 is a note-off
        "8170 26 07"  # after 240 ticks, running status: note 38
        "00 FF2F00"
    )
    header = b"MThd" + bytes.fromhex("00000006 0000 0001 01E0")
    path = tmp_path / "tempo.mid"
    path.write_bytes(header + b"MTrk" + len(track).to_bytes(4, "big") + track)
    assert read_note_ons(path) == pytest.approx(np.array([[0.5, 36, 100], [1.25, 38, 7]]))


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "not a MIDI"), (b"RIFF" + bytes(40), "not a MIDI"), (None, "cut short")]
)
def test_damaged_midi_is_refused(tmp_path: Path, content: bytes | None, word: str) -> None:
    path = tmp_path / "bad.mid"
    if content is None:
        write_midi(path, 120, rock(2))
        content = path.read_bytes()[:-30]
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=word):
        read_note_ons(path)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_note_ons(tmp_path / "absent.mid")


@pytest.mark.skipif(not (GROOVE / "info.csv").is_file(), reason="the Groove MIDI Dataset is not beside the repository")
def test_the_groove_midi_dataset_keeps_to_its_click() -> None:
    performances = load_performances(GROOVE)
    assert len(performances) == 1150
    dealt = performer_splits(performances)
    assert dealt["drummer7"] == "test"
    assert {dealt[name] for name in ("drummer2", "drummer3", "drummer6")} == {"valid"}
    beats = [one for one in performances if not one.is_fill][::10]
    assert np.mean([one.grid_fit >= 0.3 for one in beats]) > 0.85
    assert abs(np.median([one.advance_beats * 60 / one.bpm for one in beats])) < 0.03
    scores = human_scores(performances_for_split(performances, "test"))
    assert {score.source for score in scores} <= {"groove-drummer7", "groove-drummer4"}
    near = [
        np.abs(score.beats.downbeats_s[:, None] - score.onsets().of("kick", "crash").times_s).min(axis=1) < 0.05
        for score in scores[:10]
    ]
    assert np.mean(np.concatenate(near)) > 0.6
