"""A metronome that is heard: on the beats to the sample, beside the piece or alone."""

import numpy as np

from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ
from backbeat.corpus.rendered.metronome import BELL, CLICK, METRONOME, metronome_kit, with_metronome
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont, synthesise
from backbeat.music import Beats, TimeSignature

BEATS_S = np.array([0.25, 0.75, 1.25, 1.75, 2.25])
PIANO = Part("chords", "other", 0, (Note(0.5, 0.2, 60, 90),))


def score() -> Score:
    beats = Beats(BEATS_S, np.array([1, 2, 3, 1, 2]))
    return Score("x-0", "rock", 3.0, beats, 120.0, TimeSignature(3, 4), None, (PIANO,), "seed-0")


def test_clicks_are_notes_on_the_beats() -> None:
    assert with_metronome(score(), np.random.default_rng(0), 0.0).parts == (PIANO,)
    seen = set()
    for seed in range(40):
        made = with_metronome(score(), np.random.default_rng(seed), 1.0)
        part = made.parts[-1]
        assert part.name == METRONOME
        assert [note.start_s for note in part.notes] == BEATS_S.tolist()
        pitches = tuple(note.pitch for note in part.notes)
        assert pitches in {(CLICK,) * 5, (BELL, CLICK, CLICK, BELL, CLICK)}
        seen.add((len(made.parts), pitches[0]))
        onsets = made.onsets()
        assert set(onsets.classes) == {"note"}
        assert set(BEATS_S) <= set(onsets.times_s)
    assert len(seen) == 4


def test_a_click_begins_on_its_sample_and_is_short() -> None:
    for seed in range(30):
        kit = metronome_kit(np.random.default_rng(seed))
        for note in (CLICK, BELL):
            (hit,) = kit.alternatives(note, 100)
            assert hit.attack <= 22
            assert hit.samples.size < 0.25 * SYNTHESIS_RATE_HZ
            assert np.isfinite(hit.samples).all()
    drawn = (with_metronome(score(), np.random.default_rng(seed), 1.0) for seed in range(40))
    alone = next(made for made in drawn if len(made.parts) == 1)
    stems = synthesise(alone, np.random.default_rng(3), Sources((default_soundfont(),)))
    sound = np.abs(stems.samples["other"][0])
    for time_s in BEATS_S:
        place = round(time_s * SYNTHESIS_RATE_HZ)
        assert sound[place - 2000 : place - 22].max() == 0
        assert sound[place : place + 200].max() > 0.01
