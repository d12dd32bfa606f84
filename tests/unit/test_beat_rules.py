"""What theory says of beats: tempo, key, style and metre, beat by beat, and what is not known."""

import math

import numpy as np
import pytest
from beat_choices import Beats, Take, beat, descriptors
from numpy.typing import NDArray

from backbeat.music.theory import Key
from backbeat.recommend.beats.rules import RULES, RuleFits, columns_of, fits, key_tables, plain_label
from backbeat.recommend.beats.selecting import facts_of
from backbeat.recommend.items import Item, key_number


def judged(take: Take, *beats: Item) -> RuleFits:
    columns = columns_of(Beats(list(beats)).table("beat"))
    return fits(facts_of(take, columns), columns)


def row(found: RuleFits, name: str) -> NDArray[np.float32]:
    return found.values[RULES.index(name)]


def trust(found: RuleFits, name: str) -> NDArray[np.float32]:
    return found.trust[RULES.index(name)]


@pytest.mark.parametrize(
    ("take_bpm", "beat_bpm", "level", "stretch"),
    [
        (92.0, 92.0, 1.0, 1.0),
        (92.0, 100.0, 1.0, 0.92),
        (70.0, 140.0, 2.0, 1.0),
        (140.0, 72.0, 0.5, 140 / 144),
        (90.0, 135.0, 2.0, 180 / 135),
        (100.0, 139.0, 1.0, 100 / 139),
    ],
)
def test_a_beat_plays_at_the_level_that_stretches_it_least(
    take_bpm: float, beat_bpm: float, level: float, stretch: float
) -> None:
    found = judged(Take(descriptors(tempo_bpm=take_bpm)), beat("b", tempo_bpm=beat_bpm))
    assert found.level[0] == level
    assert found.stretch[0] == pytest.approx(stretch, abs=1e-4)


def test_three_to_two_only_where_there_are_triplets() -> None:
    straight = judged(Take(descriptors(tempo_bpm=80.0)), beat("b", tempo_bpm=120.0))
    swung = judged(Take(descriptors(tempo_bpm=80.0, swing=0.66)), beat("b", tempo_bpm=120.0))
    compound = judged(Take(descriptors(tempo_bpm=80.0)), beat("b", tempo_bpm=120.0, signature="6/8"))
    assert straight.level[0] != 1.5
    assert swung.level[0] == compound.level[0] == 1.5
    assert swung.stretch[0] == pytest.approx(1.0)


def test_same_tempo_counts_within_what_listeners_notice() -> None:
    found = judged(Take(descriptors(tempo_bpm=100.0)), *(beat(f"b{n}", tempo_bpm=100.0 + n) for n in (0, 1, 3, 8)))
    tempo, near = row(found, "tempo"), row(found, "stretch")
    assert tempo[0] == 1
    assert tempo[1] > 0.75
    assert tempo[2] < 0.2
    assert (np.diff(near) < 0).all()
    assert near[3] == pytest.approx(1 - math.log(1.08) / (math.log(2) / 2), abs=1e-5)


@pytest.mark.parametrize(
    ("take", "other", "semitones"),
    [
        ("C major", "C major", 0),
        ("C major", "A minor", 0),
        ("C major", "G major", 0),
        ("C major", "E minor", 0),
        ("C major", "C# major", -1),
        ("C major", "B major", 1),
        ("C major", "D major", -2),
        ("C major", "F# major", -1),
        ("A minor", "Bb minor", -1),
        ("A minor", "C minor", 2),
    ],
)
def test_the_fewest_semitones_that_bring_keys_together(take: str, other: str, semitones: int) -> None:
    found = judged(Take(descriptors(key=take)), beat("b", key=other))
    assert found.semitones[0] == semitones


def test_keys_that_were_transposed_share_six_notes_at_least() -> None:
    major = {0, 2, 4, 5, 7, 9, 11}

    def notes(number: int, shift: int) -> set[int]:
        tonic = number % 12 + (3 if number >= 12 else 0) + shift
        return {(tonic + step) % 12 for step in major}

    near, semitones = key_tables()
    for one in range(24):
        for other in range(24):
            shift = int(semitones[one, other])
            assert abs(shift) <= 2
            assert len(notes(one, 0) & notes(other, shift)) >= 6
            if near[one, other] >= near[0, key_number(Key("E", "minor"))]:
                assert shift == 0
    assert (np.diag(near) == 1).all()
    assert np.array_equal(near, near.T)


def test_unsure_or_missing_keys_are_neutral() -> None:
    found = judged(Take(descriptors()), beat("a", key=None), beat("b", key="F# major", confidence=0.2))
    assert found.semitones.tolist() == [0, 0]
    assert trust(found, "key").tolist() == pytest.approx([0.0, 0.16])
    nothing = judged(Take(descriptors(key=None)), beat("a", key="F# major"))
    assert trust(nothing, "key").tolist() == [0.0]
    assert nothing.semitones.tolist() == [0]


def test_unknown_tempo_metre_and_style_are_neutral() -> None:
    found = judged(Take(descriptors(tempo_bpm=None, signature=None)), beat("a", label="gabber"), beat("b"))
    assert found.stretch.tolist() == [1, 1]
    for name in ("tempo", "stretch", "level", "metre"):
        assert not trust(found, name).any()
    assert trust(found, "style").tolist() == [0, 1]


def test_style_is_likelier_than_chance_or_not() -> None:
    take = Take(descriptors(), genre={"trap": 1 / 3, "house": 2 / 3, "boom_bap": 0.0})
    found = judged(take, beat("a", label="trap"), beat("b", label="House"), beat("c", label="Boom-Bap"))
    assert row(found, "style").tolist() == pytest.approx([0.5, 2 / 3, 0.0])


def test_metre() -> None:
    take = Take(descriptors(signature="4/4"))
    found = judged(take, *(beat(name, signature=told) for name, told in (("a", "4/4"), ("b", "3/4"), ("c", "2/4"))))
    assert row(found, "metre").tolist() == [1, 0, 0.5]


def test_labels_are_compared_plainly() -> None:
    assert {plain_label(text) for text in ("Boom Bap", "boom-bap", " BOOM_bap ")} == {"boom_bap"}


def test_an_empty_table_gives_empty_answers() -> None:
    assert judged(Take(descriptors())).values.shape == (len(RULES), 0)
