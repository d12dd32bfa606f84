"""Charts as MIDI, read by pretty_midi and by Backbeat's own reader of note-ons."""

from __future__ import annotations

import mido
import numpy as np
import pretty_midi
import pytest
from charting import bar, note, random_chart

from backbeat.charts.chart import LANES, Chart
from backbeat.charts.midi import MIDI_NOTES, write_midi
from backbeat.corpus.midi import read_note_ons
from backbeat.errors import AnnotationError
from backbeat.music import GENERAL_MIDI_DRUMS


def test_each_lane_is_its_drum_in_general_midi():
    assert set(MIDI_NOTES) == set(LANES)
    assert len(set(MIDI_NOTES.values())) == len(LANES)
    same = {"crash_left": "crash", "crash_right": "crash", "ride_bell": "ride"}
    assert all(GENERAL_MIDI_DRUMS[pitch] == same.get(lane, lane) for lane, pitch in MIDI_NOTES.items())


@pytest.mark.parametrize("seed", range(3))
def test_notes_come_back_to_the_millisecond(tmp_path, seed):
    chart = random_chart(seed, 160)
    path = tmp_path / "chart.mid"
    write_midi(path, chart, "夜明け")
    drums = pretty_midi.PrettyMIDI(str(path)).instruments
    assert [(each.is_drum, each.name) for each in drums] == [(True, "Drums")]
    strokes = chart.strokes()
    for lane, pitch in MIDI_NOTES.items():
        found = sorted((each.start, each.velocity) for each in drums[0].notes if each.pitch == pitch)
        meant = strokes.of(lane)
        assert len(found) == len(meant)
        np.testing.assert_allclose([start for start, _ in found], meant.times_s, rtol=0, atol=5e-4)
        np.testing.assert_allclose([loud / 127 for _, loud in found], meant.velocities, rtol=0, atol=0.5 / 127 + 1e-9)
    np.testing.assert_allclose(read_note_ons(path)[:, 0], strokes.times_s, rtol=0, atol=5e-4)


def test_a_constant_tempo_of_two_hours_does_not_drift(tmp_path):
    chart = Chart(tuple(bar(bpm=127.3456) for _ in range(3600)), tuple(note(number, 7) for number in range(3600)))
    path = tmp_path / "chart.mid"
    write_midi(path, chart, "Long")
    assert chart.duration_s > 6700
    np.testing.assert_allclose(read_note_ons(path)[:, 0], chart.strokes().times_s, rtol=0, atol=5e-4)


def test_meters_and_tempi_are_mapped(tmp_path):
    bars = (bar(length=0.3), bar(), bar("6/8", 90), bar("6/8", 90, later=((192, 80),)), bar("7/8", 80), bar("7/8", 80))
    path = tmp_path / "chart.mid"
    write_midi(path, Chart(bars, (note(0, 0, "kick"),)), "Title;\x00 🎵")
    file = mido.MidiFile(path, charset="utf-8")
    assert (file.type, file.ticks_per_beat) == (1, 3072)
    assert [track.name for track in file.tracks] == ["Title; 🎵", "Drums"]
    now, meters, tempi = 0, [], []
    for message in file.tracks[0]:
        now += message.time
        if message.type == "time_signature":
            meters.append((now / 12288, message.numerator, message.denominator, message.clocks_per_click))
        elif message.type == "set_tempo":
            tempi.append((now / 12288, round(6e7 / message.tempo, 2)))
    lead = round(0.3 * 12288) / 12288
    # After the lead-in, which is no whole bar, bars are counted anew.
    expected = [(0, 4, 4, 24), (lead, 4, 4, 24), (lead + 1, 6, 8, 36), (lead + 2.5, 7, 8, 12)]
    np.testing.assert_allclose(meters, expected, atol=1e-4)
    np.testing.assert_allclose(tempi, [(0, 120), (lead + 1, 90), (lead + 2.125, 80)], atol=1e-4)
    downbeats = pretty_midi.PrettyMIDI(str(path)).get_downbeats()
    starts_s = Chart(bars).starts_s
    assert all(np.min(np.abs(downbeats - start)) < 1e-3 for start in starts_s[1:5] if start < downbeats[-1])


def test_a_stroke_is_let_go_before_the_next_of_its_drum(tmp_path):
    path = tmp_path / "chart.mid"
    write_midi(path, Chart((bar(),), (note(0, 0), note(0, 1), note(0, 383, velocity=0.001))), "Roll")
    notes = pretty_midi.PrettyMIDI(str(path)).instruments[0].notes
    np.testing.assert_allclose([each.start for each in notes], [0, 2 / 384, 2 * 383 / 384], atol=1e-6)
    assert notes[0].end == pytest.approx(notes[1].start)
    assert notes[1].end == pytest.approx(notes[1].start + 0.0625)
    assert [each.velocity for each in notes] == [127, 127, 1]


def test_a_tempo_too_slow_for_midi_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="MIDI has no tempo below"):
        write_midi(tmp_path / "chart.mid", Chart((bar(bpm=2),)), "Slow")
    assert list(tmp_path.iterdir()) == []
