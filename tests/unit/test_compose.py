"""Composing: every style yields a score that is true to its beats, its meter and its seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from backbeat.corpus.rendered.compose import (
    HEARABLE_SHARE,
    HIGHEST_BPM,
    LOWEST_BPM,
    STYLES,
    ComposeParams,
    compose,
    hearable_share,
)
from backbeat.corpus.rendered.grooves import GROOVES, VELOCITIES
from backbeat.corpus.rendered.harmony import parse_chord, parse_progression, scale_pitches, voice
from backbeat.corpus.rendered.meter import make_meter, steps_of
from backbeat.corpus.rendered.playing import BASS_FIGURES, CHORD_FIGURES
from backbeat.corpus.rendered.score import Score
from backbeat.corpus.rendered.tempo import TEMPO_KINDS, make_tempo_map
from backbeat.corpus.rendered.timing import swung
from backbeat.errors import ConfigError, CorpusError

SEEDS = range(6)


def pieces(style: str, count: int, **settings: float) -> list[Score]:
    params = ComposeParams(style=style, **settings)
    return [compose(f"{style}-{seed}", np.random.SeedSequence([11, seed]), params) for seed in range(count)]


@pytest.fixture(scope="module")
def scores() -> dict[str, list[Score]]:
    return {style: pieces(style, len(SEEDS)) for style in STYLES}


@pytest.mark.parametrize("style", STYLES)
def test_every_style_composes_a_possible_score(style: str, scores: dict[str, list[Score]]) -> None:
    for score in scores[style]:
        assert score.style == style
        assert len(score.onsets()) >= 20
        beats = score.beats
        assert beats.positions is not None
        assert beats.times_s[0] >= 0
        assert beats.times_s[-1] < score.duration_s
        size = score.time_signature.beats_per_bar
        # Positions count up round the bar from wherever they begin.
        assert np.array_equal(np.diff(beats.positions) % size, np.ones(len(beats) - 1) % size)
        assert beats.positions.max() <= size
        local_bpm = 60 / np.diff(beats.times_s)
        assert local_bpm.min() > 0.5 * LOWEST_BPM
        assert local_bpm.max() < 1.4 * HIGHEST_BPM
        assert 0.8 * LOWEST_BPM <= score.tempo_bpm <= 1.2 * HIGHEST_BPM
        assert np.median(local_bpm) == pytest.approx(score.tempo_bpm, rel=0.02)
        for part in score.parts:
            starts_s = [note.start_s for note in part.notes]
            assert starts_s == sorted(starts_s)
            assert all(0 <= note.start_s < score.duration_s for note in part.notes)
            assert all(1 <= note.velocity <= 127 for note in part.notes)
            assert all(0.02 < note.duration_s <= score.duration_s for note in part.notes)
            if part.is_drums:
                assert all(35 <= note.pitch <= 82 for note in part.notes)
                assert part.stem == "drums"
            assert 0 <= part.program <= 127
            assert -1 <= part.pan <= 1


@pytest.mark.parametrize("style", ["classical", "waltz"])
def test_textures_without_drums(style: str, scores: dict[str, list[Score]]) -> None:
    assert not any(part.is_drums for score in scores[style] for part in score.parts)
    if style == "waltz":
        assert {str(score.time_signature) for score in scores[style]} == {"3/4"}


def test_the_seed_decides_everything() -> None:
    params = ComposeParams(duration_s=12)
    first = [compose("a", seed, params) for seed in range(8)]
    again = [compose("a", seed, params) for seed in reversed(range(8))][::-1]
    for one, other in zip(first, again, strict=True):
        assert one.parts == other.parts
        assert np.array_equal(one.beats.times_s, other.beats.times_s)
        assert (one.style, one.source, one.key) == (other.style, other.source, other.key)
    assert len({score.parts for score in first}) == 8
    assert compose("a", np.random.SeedSequence(3), params).parts == first[3].parts
    assert first[3].source == "seed-3"
    assert compose("a", np.random.SeedSequence([3, 5]), params).source == "seed-3-5"
    assert first[3].licence == "CC0-1.0"


def test_styles_are_drawn_by_weight() -> None:
    params = ComposeParams(duration_s=4, style_weights={"rock": 3, "jazz": 1})
    drawn = Counter(compose("a", seed, params).style for seed in range(200))
    assert set(drawn) == {"rock", "jazz"}
    assert 125 <= drawn["rock"] <= 175


def test_most_rock_is_in_four_and_some_is_not() -> None:
    meters = Counter(str(score.time_signature) for score in pieces("rock", 120, duration_s=4))
    assert 0.75 <= meters["4/4"] / 120 <= 0.97
    assert len(meters) >= 3


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"style": "polka"}, "polka"),
        ({"duration_s": 0.5}, "too short"),
        ({"duration_s": float("nan")}, "too short"),
        ({"excerpt_share": 1.5}, "excerpt_share"),
        ({"style_weights": {"rock": 0.0}}, "add up"),
    ],
)
def test_senseless_parameters_are_refused(settings: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        ComposeParams(**settings)  # type: ignore[arg-type]


def strokes(score: Score, *notes: int) -> np.ndarray:
    return np.array([n.start_s for p in score.parts if p.name == "drums" for n in p.notes if n.pitch in notes])


def test_rock_puts_the_kick_on_one_and_the_snare_on_two_and_four() -> None:
    on_one, on_back, bars = 0, 0, 0
    for score in pieces("rock", 30, excerpt_share=1.0, drumless_share=0.0):
        kick, snare = strokes(score, 35, 36), strokes(score, 38)
        if str(score.time_signature) != "4/4" or snare.size < 20:
            continue
        for time_s, position in zip(score.beats.times_s, score.beats.positions, strict=True):
            on_one += position == 1 and bool(np.any(np.abs(kick - time_s) < 0.05))
            on_back += position in (2, 4) and bool(np.any(np.abs(snare - time_s) < 0.05))
            bars += position == 1
    assert bars > 150
    assert on_one / bars > 0.75
    assert on_back / (2 * bars) > 0.6


def test_house_has_a_kick_on_every_beat_where_it_is_full() -> None:
    shares = []
    for score in pieces("house", 12, drumless_share=0.0, ending_share=0.0):
        kick = strokes(score, 36)
        if kick.size > 40:
            near = np.abs(score.beats.times_s[:, None] - kick).min(axis=1) < 0.01
            shares.append(near.mean())
    assert len(shares) >= 6
    assert np.median(shares) > 0.7


def test_chords_change_on_bar_lines() -> None:
    near, total = 0, 0
    for score in pieces("ballad", 20):
        downbeats_s = score.beats.downbeats_s
        for part in score.parts:
            if part.name == "pad":
                starts_s = np.array(sorted({note.start_s for note in part.notes if note.start_s > 1}))
                starts_s = starts_s[(starts_s > downbeats_s[0] - 0.1) & (starts_s < downbeats_s[-1] + 0.1)]
                near += int(np.sum(np.abs(starts_s[:, None] - downbeats_s).min(axis=1) < 0.06))
                total += starts_s.size
    assert total > 60
    assert near / total > 0.85


def test_beats_can_be_heard_at_both_ends_and_without_drums() -> None:
    for style in ("jazz", "house", "waltz", "ballad"):
        for score in pieces(style, 10, drumless_share=1.0):
            onsets_s = score.onsets().times_s
            assert not any(part.name == "drums" for part in score.parts)
            assert score.beats.times_s[0] > onsets_s[0] - 0.1
            assert onsets_s[0] < 3


def test_a_piece_may_end_before_the_audio() -> None:
    for score in pieces("rock", 10, ending_share=1.0):
        assert score.beats.times_s[-1] < 0.99 * score.duration_s
        assert score.beats.positions is not None
        assert score.beats.positions[-1] == 1
        last_s = max(note.start_s for part in score.parts for note in part.notes)
        assert last_s < score.beats.times_s[-1] + 0.3


def test_excerpts_start_anywhere_in_the_bar() -> None:
    first = Counter(int(score.beats.positions[0]) for score in pieces("funk", 60, duration_s=5, excerpt_share=1.0))  # type: ignore[index]
    assert set(first) == {1, 2, 3, 4}


def test_drums_alone_have_no_key() -> None:
    scores = [compose("a", seed, ComposeParams(duration_s=8, style="drum_and_bass")) for seed in range(80)]
    alone = [score for score in scores if all(part.is_drums for part in score.parts)]
    assert alone
    assert all((score.key is None) == (score in alone) for score in scores)


def test_swing_moves_off_beats_and_leaves_triplets() -> None:
    beats = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 4 / 3, 5 / 3, 2.5])
    expected = [0.0, 1 / 3, 2 / 3, 5 / 6, 1.0, 4 / 3, 5 / 3, 2 + 2 / 3]
    assert swung(beats, 2 / 3, 0.5) == pytest.approx(expected)
    assert swung(np.array([0.25, 0.5, 0.75]), 0.5, 0.6) == pytest.approx([0.3, 0.5, 0.8])
    assert swung(beats, 0.5, 0.5) is beats


@pytest.mark.parametrize("kind", TEMPO_KINDS)
def test_tempo_maps_increase_and_keep_their_tempo(kind: str) -> None:
    rng = np.random.default_rng(5)
    tempo = make_tempo_map(rng, kind, 120, 400, beats_per_bar=4, bar_pushes=np.zeros(100))
    periods_s = np.diff(tempo.times_s)
    assert periods_s.min() > 0.3
    assert np.median(periods_s) == pytest.approx(0.5, rel=0.12)
    spread = periods_s.std() / periods_s.mean()
    if kind == "steady":
        assert periods_s == pytest.approx(0.5)
    if kind == "rubato":
        assert spread > 0.015
    assert tempo.seconds([0, 0.5, 1]) == pytest.approx([0, periods_s[0] / 2, periods_s[0]])
    assert tempo.seconds(401.0) == pytest.approx(tempo.times_s[-1] + periods_s[-1])


def test_tempo_maps_refuse_nonsense() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(CorpusError, match="wobble"):
        make_tempo_map(rng, "wobble", 120, 8, beats_per_bar=4, bar_pushes=np.zeros(2))
    with pytest.raises(CorpusError, match="two beats"):
        make_tempo_map(rng, "steady", 120, 1, beats_per_bar=4, bar_pushes=np.zeros(2))


def test_roman_numerals() -> None:
    assert parse_chord("V7").pitch_classes(0) == (7, 11, 2, 5)
    assert parse_chord("ii7").intervals == (0, 3, 7, 10)
    assert parse_chord("bVImaj7").root == 8
    assert parse_chord("i5").intervals == (0, 7, 12)
    assert parse_chord("iim7b5").intervals == (0, 3, 6, 10)
    assert [len(bar) for bar in parse_progression("I vi/ii7 V")] == [1, 2, 1]
    for wrong in ("H7", "Vflat", "", "IIII"):
        with pytest.raises(CorpusError):
            parse_chord(wrong)


def test_voices_move_little() -> None:
    tonic = voice((0, 4, 7), 60)
    assert tonic == (55, 60, 64)
    subdominant = voice((5, 9, 0), 60, tonic)
    assert sum(min(abs(a - b) for b in tonic) for a in subdominant) <= 3
    assert scale_pitches(9, "minor", 57, 69) == [57, 59, 60, 62, 64, 65, 67, 69]


def test_figures_and_progressions_of_all_styles_are_well_formed() -> None:
    for name, grooves in GROOVES.items():
        for groove in grooves:
            bar = make_meter(groove.meter)
            for string in (groove.time, groove.snare, groove.kick, *groove.others.values()):
                assert len(string) == bar.steps, (name, string)
                assert set(string) <= {".", *VELOCITIES}, (name, string)
    for name, style in STYLES.items():
        assert set(style.bass) <= {*BASS_FIGURES, "none", "root_kick"}, name
        assert set(style.chords) <= {*CHORD_FIGURES, "none"}, name
        assert all(parse_progression(text) for text in style.progressions)
        assert set(style.tempo_kinds) <= set(TEMPO_KINDS)
        assert all(LOWEST_BPM <= low < high <= HIGHEST_BPM for low, high, _ in style.tempi)


def test_steps_are_cut_and_continued_to_other_meters() -> None:
    backbeat = "....X.......X..."
    assert steps_of(backbeat, make_meter("4/4")) == ((1.0, "X"), (3.0, "X"))
    assert steps_of(backbeat, make_meter("3/4")) == ((1.0, "X"),)
    assert steps_of(backbeat, make_meter("7/8")) == ((2.0, "X"), (6.0, "X"))
    assert steps_of("X.......X.......", make_meter("5/4")) == ((0.0, "X"), (2.0, "X"), (4.0, "X"))
    assert steps_of("x.....x.....", make_meter("6/8"), "6/8") == ((0.0, "x"), (1.0, "x"))
    assert make_meter("7/8", 1).pulses == (0.0, 3.0, 5.0)


@pytest.mark.parametrize("style", STYLES)
def test_the_beat_of_every_piece_can_be_heard(style: str, scores: dict[str, list[Score]]) -> None:
    for score in scores[style]:
        played_s = score.onsets().times_s
        near = [np.abs(played_s - beat_s).min() <= 0.05 for beat_s in score.beats.times_s]
        assert hearable_share(score) == pytest.approx(np.mean(near))
        assert np.mean(near) >= HEARABLE_SHARE


def test_drums_play_alone_where_that_is_asked_for() -> None:
    scores = pieces("rock", 10, drums_alone_share=1.0, drumless_share=0.0)
    with_drums = [score for score in scores if any(part.stem == "drums" for part in score.parts)]
    assert len(with_drums) >= 5
    for score in with_drums:
        assert not {part.name for part in score.parts} & {"bass", "chords", "pad", "melody"}
