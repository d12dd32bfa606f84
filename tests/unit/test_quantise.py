"""Strokes on their places: divisions by evidence, nothing moved too far, nothing lost."""

from __future__ import annotations

import json
import time
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from backbeat.charts.chart import BAR_TICKS, LANES, Chart, Strokes, strokes_of
from backbeat.charts.quantising.quantise import QuantiseOptions, quantise
from backbeat.charts.quantising.quantise_report import QuantiseReport
from backbeat.music import Beats

BEAT_S, START_S = 0.5, 0.25
#: Where the second and third sounding of a beat stand when it is swung, in tests.
BARS = 40


def beats_of(bars: int = BARS, beat_s: float = BEAT_S, jitter_s: float = 0.003, size: int = 4) -> Beats:
    rng = np.random.default_rng(9)
    count = bars * size
    off_s = np.clip(rng.normal(0, jitter_s, count), -2 * jitter_s, 2 * jitter_s)
    return Beats(START_S + beat_s * np.arange(count) + off_s, np.arange(count) % size + 1)


def played(
    places: NDArray[np.float64], *, jitter_s: float = 0.004, lane: str = "hihat_closed", seed: int = 3
) -> Strokes:
    """Strokes at places in beats from the first downbeat, off by a Gaussian."""
    rng = np.random.default_rng(seed)
    times_s = START_S + BEAT_S * np.sort(places) + np.clip(rng.normal(0, jitter_s, places.size), -0.012, 0.012)
    return strokes_of(times_s, [lane] * places.size, rng.uniform(0.3, 1, places.size))


def in_each_beat(*parts: float, beats: int = BARS * 4) -> NDArray[np.float64]:
    return np.sort(np.concatenate([np.arange(beats) + part for part in parts]))


def chart_of(strokes: Strokes, beats: Beats | None = None, **options: object) -> tuple[Chart, QuantiseReport]:
    beats = beats_of() if beats is None else beats
    end_s = float(beats.times_s[-1]) + 1
    return quantise(strokes, beats, strokes.times_s, end_s, QuantiseOptions(**options))  # type: ignore[arg-type]


def ticks_of(chart: Chart) -> Counter[int]:
    return Counter(note.tick for note in chart.notes if note.bar > 0)


def main_division(report: QuantiseReport) -> str:
    name, count = max(report.divisions.items(), key=lambda item: item[1])
    assert count >= 0.95 * (report.bars - 1)
    return name


@pytest.mark.parametrize(
    ("parts", "division", "places"),
    [
        ((0.0,), "straight", (0,)),
        ((0.0, 0.5), "straight", (0, 48)),
        ((0.0, 0.25, 0.5, 0.75), "straight", (0, 24, 48, 72)),
        (tuple(k / 8 for k in range(8)), "straight", tuple(12 * k for k in range(8))),
        ((0.0, 1 / 3, 2 / 3), "triplet", (0, 32, 64)),
        (tuple(k / 6 for k in range(6)), "triplet", tuple(16 * k for k in range(6))),
        ((0.0, 2 / 3), "swing", (0, 64)),
        ((0.0, 0.6), "swing", (0, 58)),
        ((0.0, 0.29, 0.5, 0.79), "swing", (0, 28, 48, 76)),
    ],
)
def test_beats_are_divided_as_they_are_played(parts: tuple[float, ...], division: str, places: tuple[int, ...]) -> None:
    strokes = played(in_each_beat(*parts))
    chart, report = chart_of(strokes)
    assert main_division(report) == division
    expected = {beat * 96 + place for beat in range(4) for place in places}
    found = ticks_of(chart)
    near = {min(expected, key=lambda place: abs(place - tick)) for tick in found}
    assert near == expected
    assert all(min(abs(tick - place) for place in expected) <= 1 for tick in found)
    assert report.notes == len(strokes)
    assert report.finer == 0
    assert report.moved_by.median_ms < 4
    assert len(report.tempi) == 1


def test_the_ratio_of_swing_is_what_is_played() -> None:
    _, report = chart_of(played(in_each_beat(0.0, 0.6)))
    assert len(report.swing) == 1
    assert report.swing[0] == pytest.approx(0.6, abs=0.006)
    _, report = chart_of(played(in_each_beat(0.0, 0.66)))
    assert report.swing == (pytest.approx(2 / 3, abs=0.001),)


def test_a_fill_in_triplets_leaves_its_neighbours_straight() -> None:
    straight = in_each_beat(0.0, 0.25, 0.5, 0.75)
    fill = (straight >= 78) & (straight < 80)
    places = np.concatenate([straight[~fill], 78 + np.arange(6) / 3])
    chart, report = chart_of(played(places))
    assert report.finer == 0
    bar = next(index for index, start_s in enumerate(chart.starts_s) if start_s > START_S + 76 * BEAT_S - 0.01)
    assert [note.tick for note in chart.notes if note.bar == bar] == [*range(0, 192, 24), 192, 224, 256, 288, 320, 352]
    assert report.divisions["straight"] >= BARS - 1


def test_divisions_change_where_the_playing_does() -> None:
    places = np.concatenate([in_each_beat(0.0, 0.5, beats=80), 80 + in_each_beat(0.0, 1 / 3, 2 / 3, beats=80)])
    chart, report = chart_of(played(places))
    divisions = [bar.division for bar in chart.bars[1:]]
    assert divisions[:20] == ["straight"] * 20
    assert divisions[20:40] == ["triplet"] * 20
    assert report.finer == 0


def test_six_eight_in_sixteenths_is_straight() -> None:
    beats = beats_of(beat_s=0.75, size=2)
    times_s = np.sort(np.concatenate([START_S + 0.75 * (np.arange(80) + part / 6) for part in (0, 1, 2, 4, 5)]))
    strokes = strokes_of(times_s, ["hihat_closed"] * times_s.size, np.full(times_s.size, 0.6))
    chart, report = chart_of(strokes, beats)
    assert report.meters[-1].signature == "6/8"
    assert main_division(report) == "straight"
    assert set(ticks_of(chart)) == set(range(0, 384, 32)) - {96, 288}


def test_a_flam_stays_two_strokes_apart_as_it_was_played() -> None:
    mains = played(np.arange(0, 160, 2.0), lane="snare", jitter_s=0.003)
    loud = Strokes(mains.times_s, mains.lanes, np.full(len(mains), 0.9))
    graces = loud.times_s[1:] - 0.030
    both = strokes_of(
        np.concatenate([loud.times_s, graces]),
        ["snare"] * (len(loud) + graces.size),
        np.r_[loud.velocities, np.full(graces.size, 0.3)],
    )
    chart, report = chart_of(both)
    assert report.notes == report.strokes == len(both)
    assert report.merged == 0
    notes = chart.strokes()
    grace_s, main_s = notes.times_s[notes.velocities < 0.5], notes.times_s[notes.velocities > 0.5][1:]
    assert main_s - grace_s == pytest.approx(np.full(grace_s.size, 0.030), abs=0.019)
    assert np.all(main_s > grace_s)
    assert report.moved_by.max_ms <= 15


def test_two_strokes_in_one_place_are_taken_apart_by_their_distance() -> None:
    # 12 ms apart and both near to the beat: the softer keeps its distance from the louder.
    times_s = np.sort(np.concatenate([START_S + BEAT_S * np.arange(160), [START_S + 40.012]]))
    loud = np.full(times_s.size, 0.9)
    loud[81] = 0.4
    chart, report = chart_of(strokes_of(times_s, ["snare"] * times_s.size, loud))
    assert (report.moved, report.merged) == (1, 0)
    crowded = [note for note in chart.notes if abs(note.heard_s - START_S - 40) < 0.05]
    assert [round(note.tick / 2) for note in crowded] == [0, 1]
    assert [note.velocity for note in crowded] == [0.9, 0.4]


def test_strokes_nearer_than_a_tick_become_one_and_that_is_said() -> None:
    times_s = np.sort(np.concatenate([START_S + BEAT_S * np.arange(160), [START_S + 40.002]]))
    loud = np.full(times_s.size, 0.5)
    loud[81] = 0.8
    chart, report = chart_of(strokes_of(times_s, ["kick"] * times_s.size, loud))
    assert report.merged == 1
    assert report.merged_at == ((40.25, "kick"),)
    assert report.strokes - report.notes == 1
    assert max(note.velocity for note in chart.notes) == 0.8


def test_other_drums_share_a_place() -> None:
    times_s = np.repeat(START_S + BEAT_S * np.arange(160), 3)
    chart, report = chart_of(strokes_of(times_s, ["kick", "hihat_closed", "crash_left"] * 160, np.full(480, 0.5)))
    assert (report.moved, report.merged, len(chart.notes)) == (0, 0, 480)
    assert set(ticks_of(chart)) == {0, 96, 192, 288}


def test_expressive_notes_keep_their_timing_to_a_tick() -> None:
    strokes = played(in_each_beat(0.0, 0.25, 0.5, 0.75), jitter_s=0.008)
    plain, _ = chart_of(strokes)
    chart, report = chart_of(strokes, expressive=True)
    tick_s = 2.0 / BAR_TICKS
    assert report.moved_by.max_ms <= 1000 * tick_s / 2 + 0.01
    assert chart.bars[1].tempi == plain.bars[1].tempi
    assert len(ticks_of(chart)) > 40 > len(ticks_of(plain))


def test_places_follow_the_drums_rather_than_beats_that_are_late() -> None:
    beats = beats_of()
    late = Beats(beats.times_s + 0.011, beats.positions)
    _, report = chart_of(played(in_each_beat(0.0, 0.5)), late)
    assert report.from_grid.median_ms < 4


def test_a_snare_that_is_laid_back_is_no_change_of_tempo() -> None:
    beats = beats_of()
    late = Beats(beats.times_s + 0.018 * (np.arange(160) % 4 == 3), beats.positions)
    places = in_each_beat(0.0, 0.5)
    strokes = played(places)
    times_s = strokes.times_s + 0.012 * (places % 4 == 3)
    chart, report = chart_of(strokes_of(times_s, strokes.lanes, strokes.velocities), late)
    assert [tempo.bpm for tempo in report.tempi] == [pytest.approx(120, abs=0.01)]
    assert np.abs(np.diff(chart.starts_s)[1:] - 2).max() < 0.001


def test_jitter_of_beats_does_not_reach_the_notes() -> None:
    exact = in_each_beat(0.0, 0.25, 0.5, 0.75)
    chart, report = chart_of(played(exact), beats_of(jitter_s=0.010))
    assert len(report.tempi) == 1
    assert np.abs(chart.strokes().times_s - (START_S + BEAT_S * exact)).max() < 0.004  # half a tick and a little


def test_strokes_without_a_place_get_one_of_their_own_and_the_bar_is_free() -> None:
    rng = np.random.default_rng(4)
    straight = in_each_beat(0.0, 0.5)
    odd = np.sort(rng.uniform(80, 84, 23))
    places = np.concatenate([straight[(straight < 80) | (straight >= 84)], odd])
    strokes = played(places, jitter_s=0.0)
    chart, report = chart_of(strokes)
    assert report.divisions["free"] == 1
    assert report.finer >= 8
    assert report.moved_by.max_ms <= 15
    assert len(chart.notes) + report.merged == len(strokes)


def test_no_strokes_give_bars_and_one_stroke_gives_one_note() -> None:
    nothing, report = chart_of(strokes_of([], [], []))
    assert nothing.notes == ()
    assert report.bars == len(nothing.bars) >= BARS
    assert report.moved_by.max_ms == 0
    one, _ = chart_of(strokes_of([10.26], ["crash_right"], [1.0]))
    assert [(note.lane, note.tick) for note in one.notes] == [("crash_right", 0)]


def test_the_report_is_a_json_object() -> None:
    _, report = chart_of(played(in_each_beat(0.0, 0.6)))
    value = json.loads(json.dumps(report.to_dict()))
    assert value["notes"] == report.notes
    assert value["tempi"] == [{"start_s": 0.0, "bpm": 120.0}]
    assert value["divisions"]["swing"] >= 38
    assert set(value["from_grid"]) == {"median_ms", "p95_ms", "max_ms"}


def random_song(rng: np.random.Generator) -> tuple[Strokes, Beats, float]:
    """Strokes anywhere, in crowds and on the beat, over beats that drift, jump and stop."""
    count = int(rng.integers(2, 300))
    beat_s = float(rng.uniform(0.28, 1.0))
    intervals_s = beat_s * np.exp(rng.normal(0, rng.choice([0.002, 0.02, 0.1]), count))
    intervals_s[rng.random(count) < 0.01] *= 7.3
    times_s = rng.uniform(0, 9) + np.cumsum(intervals_s)
    size = int(rng.choice([2, 3, 4, 5, 6, 7]))
    positions = (np.arange(count) + int(rng.integers(0, 7))) % size + 1
    if rng.random() < 0.3:
        positions = rng.integers(1, 8, count)
    beats = Beats(times_s, positions if rng.random() < 0.8 else None)
    end_s = float(times_s[-1]) + float(rng.uniform(0.1, 12))
    hits = int(rng.integers(0, 400))
    on_beat_s = rng.choice(times_s, hits) + rng.normal(0, 0.01, hits)
    anywhere_s = np.concatenate([rng.uniform(0, end_s, hits // 2), rng.uniform(5, 5.2, hits // 4)])
    strokes_s = np.clip(np.concatenate([on_beat_s, anywhere_s]), 0, end_s)
    lanes = [str(lane) for lane in rng.choice(LANES[: int(rng.integers(1, 12))], strokes_s.size)]
    return strokes_of(strokes_s, lanes, rng.uniform(0.01, 1, strokes_s.size)), beats, end_s


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_played_nothing_is_lost_and_nothing_moved_too_far(seed: int) -> None:
    rng = np.random.default_rng([31, seed])
    strokes, beats, end_s = random_song(rng)
    options = QuantiseOptions(
        expressive=bool(rng.random() < 0.2),
        bpm=float(rng.uniform(60, 200)) if rng.random() < 0.2 else None,
        tolerance_s=float(rng.choice([0.01, 0.015, 0.03])),
    )
    chart, report = quantise(strokes, beats, strokes.times_s, end_s, options)
    assert report.notes == len(chart.notes)
    assert len(chart.notes) + report.merged == len(strokes)
    places = [(note.bar, note.tick, LANES.index(note.lane)) for note in chart.notes]
    assert places == sorted(places)
    heard = Counter(strokes.lanes)
    assert all(count <= heard[lane] for lane, count in Counter(note.lane for note in chart.notes).items())
    assert chart.duration_s >= end_s - 0.002
    longest_tick_s = max(
        float(np.diff([bar.seconds(tick) for tick in (0, *range(1, 385))]).max()) for bar in chart.bars
    )
    moved_s = max((abs(chart.time_s(note.bar, note.tick) - note.heard_s) for note in chart.notes), default=0.0)
    assert moved_s <= max(options.tolerance_s, longest_tick_s) + 1e-6
    assert 1000 * moved_s == pytest.approx(report.moved_by.max_ms, abs=0.01)


def test_two_hours_are_quick() -> None:
    beats = beats_of(bars=3600)
    strokes = played(in_each_beat(0.0, 0.5, 0.75, beats=14400))
    chart_of(played(in_each_beat(0.0)))  # compiled functions are read from their cache
    began = time.perf_counter()
    _, report = chart_of(strokes, beats)
    assert time.perf_counter() - began < 8  # about 1 s where nothing else runs
    assert [tempo.bpm for tempo in report.tempi] == [120.0]
    assert report.notes == 43200
