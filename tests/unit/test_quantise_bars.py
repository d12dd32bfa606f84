"""Bars of charts: meters, pick-ups, breaks and ends, with what was asked for and without positions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backbeat.charts.chart import Chart, Strokes, strokes_of
from backbeat.charts.quantising.quantise import QuantiseOptions, quantise
from backbeat.charts.quantising.quantise_report import QuantiseReport
from backbeat.errors import ConfigError
from backbeat.music import Beats, TimeSignature

NONE = strokes_of([], [], [])


def steady(
    count: int,
    beat_s: float,
    size: int,
    *,
    start_s: float = 0.4,
    first: int = 1,
    seed: int = 1,
    jitter_s: float = 0.003,
) -> Beats:
    """Return beats of bars of `size`, the first at `start_s` and position `first`."""
    rng = np.random.default_rng(seed)
    times_s = start_s + beat_s * np.arange(count) + np.clip(rng.normal(0, jitter_s, count), -0.01, 0.01)
    return Beats(times_s, (np.arange(count) + first - 1) % size + 1)


def bars_of(
    beats: Beats,
    duration_s: float,
    onsets_s: NDArray[np.float64] | None = None,
    strokes: Strokes = NONE,
    **options: object,
) -> tuple[Chart, QuantiseReport]:
    onsets = np.empty(0) if onsets_s is None else onsets_s
    return quantise(strokes, beats, onsets, duration_s, QuantiseOptions(**options))  # type: ignore[arg-type]


def off_bar_lines_s(chart: Chart, downbeats_s: NDArray[np.float64]) -> float:
    """Return how far the furthest downbeat is from the nearest bar line."""
    return float(np.max(np.min(np.abs(chart.starts_s[None, :] - downbeats_s[:, None]), axis=1)))


@pytest.mark.parametrize("start_s", [0.0, 0.003, 0.4, 1.99, 2.0, 7.7])
@pytest.mark.parametrize("first", [1, 2, 4])
def test_bar_lines_fall_on_downbeats_and_the_chart_begins_with_the_audio(start_s: float, first: int) -> None:
    beats = steady(400, 0.5, 4, start_s=start_s + 0.01, first=first)
    chart, report = bars_of(beats, 210.0)
    exact_s = start_s + 0.01 + 0.5 * np.arange(400)
    assert off_bar_lines_s(chart, exact_s[beats.positions == 1]) < 0.002
    assert chart.starts_s[0] == 0
    assert chart.duration_s >= 210.0
    assert [tempo.bpm for tempo in report.tempi] == pytest.approx([120.0], abs=0.01)
    assert all(bar.length == 1 for bar in chart.bars[1:])
    assert chart.bars[0].length < 1.07
    assert report.meters[0].signature == "4/4"


@pytest.mark.parametrize(
    ("size", "beat_s", "signature", "length", "bpm"),
    [
        (3, 0.5, "3/4", 0.75, 120.0),
        (5, 0.4, "5/4", 1.25, 150.0),
        (7, 0.3, "7/8", 0.875, 100.0),
        (6, 0.25, "6/8", 0.75, 120.0),
        (2, 0.5, "2/4", 0.5, 120.0),
    ],
)
def test_meters_are_named_with_their_length_and_tempo(
    size: int, beat_s: float, signature: str, length: float, bpm: float
) -> None:
    chart, report = bars_of(steady(420, beat_s, size), 420 * beat_s)
    assert [meter.signature for meter in report.meters] == [signature]
    assert {bar.length for bar in chart.bars[1:]} == {length}
    assert report.tempi[0].bpm == pytest.approx(bpm, abs=0.02)


def test_two_beats_in_three_parts_each_are_six_eight() -> None:
    beats = steady(200, 0.75, 2)
    onsets_s = np.sort(np.concatenate([beats.times_s + part * 0.25 for part in range(3)]))
    chart, report = bars_of(beats, 150.0, onsets_s)
    assert [meter.signature for meter in report.meters] == ["6/8"]
    assert chart.bars[5].length == 0.75
    assert report.tempi[0].bpm == pytest.approx(120.0, abs=0.02)


def test_a_change_of_meter_and_tempo_is_followed() -> None:
    first = 0.4 + 0.5 * np.arange(80)
    second = first[-1] + 0.5 + 0.25 * np.arange(7 * 20)
    third = second[-1] + 0.25 + 0.4 * np.arange(3 * 30)
    positions = np.concatenate([np.arange(80) % 4, np.arange(140) % 7, np.arange(90) % 3]) + 1
    beats = Beats(np.concatenate([first, second, third]), positions)
    chart, report = bars_of(beats, 120.0)
    assert [meter.signature for meter in report.meters] == ["4/4", "7/8", "3/4"]
    assert [tempo.bpm for tempo in report.tempi] == [120.0, 150.0]
    assert off_bar_lines_s(chart, beats.downbeats_s) < 0.001


def test_a_bar_of_another_length_within_a_song_keeps_its_unit() -> None:
    sizes = [4] * 20 + [2] + [4] * 10 + [6] + [4] * 20
    positions = np.concatenate([np.arange(size) + 1 for size in sizes])
    beats = Beats(0.3 + 0.5 * np.arange(positions.size), positions)
    chart, report = bars_of(beats, 105.0)
    assert [meter.signature for meter in report.meters] == ["4/4", "2/4", "4/4", "6/4", "4/4"]
    assert off_bar_lines_s(chart, beats.downbeats_s) < 0.001
    assert len(report.tempi) == 1


def test_a_downbeat_that_was_missed_makes_no_long_bar() -> None:
    positions = np.tile(np.arange(4) + 1, 40)
    positions[80] = 5  # counted on, or anyhow
    chart, report = bars_of(Beats(0.3 + 0.5 * np.arange(160), positions), 80.0)
    assert [meter.signature for meter in report.meters] == ["4/4"]
    assert off_bar_lines_s(chart, 0.3 + 2.0 * np.arange(40)) < 0.001


@pytest.mark.parametrize("gone", [slice(100, 101), slice(101, 103), slice(90, 120), slice(0, 40), slice(300, 400)])
def test_missing_beats_are_filled_in(gone: slice) -> None:
    whole = steady(400, 0.5, 4)
    kept = np.ones(400, dtype=bool)
    kept[gone] = False
    assert whole.positions is not None
    chart, report = bars_of(Beats(whole.times_s[kept], whole.positions[kept]), 201.0)
    exact_s = 0.4 + 0.5 * np.arange(400)
    assert off_bar_lines_s(chart, exact_s[whole.positions == 1]) < 0.004
    assert len(report.tempi) == 1
    assert [meter.signature for meter in report.meters] == ["4/4"]


def test_a_break_that_is_no_whole_number_of_bars_is_followed() -> None:
    first, second = steady(100, 0.5, 4), steady(101, 0.5, 4, start_s=0.4 + 50 + 5.2, seed=2)
    assert first.positions is not None
    assert second.positions is not None
    times_s = np.concatenate([first.times_s, second.times_s])
    chart, _ = bars_of(Beats(times_s, np.concatenate([first.positions, second.positions])), 110.0)
    assert off_bar_lines_s(chart, 0.4 + 2.0 * np.arange(25)) < 0.006
    assert off_bar_lines_s(chart, 55.6 + 2.0 * np.arange(25)) < 0.006


def test_without_positions_kick_and_snare_say_where_the_bar_is() -> None:
    times_s = 0.6 + 0.5 * np.arange(201)
    for phase in range(4):
        place = (np.arange(201) - phase) % 4
        kicks, snares = times_s[place == 0], times_s[place % 2 == 1]
        strokes = strokes_of(
            np.concatenate([kicks, snares]),
            ["kick"] * kicks.size + ["snare"] * snares.size,
            np.full(kicks.size + snares.size, 0.8),
        )
        chart, report = bars_of(Beats(times_s), 101.0, strokes=strokes)
        assert [meter.signature for meter in report.meters] == ["4/4"]
        assert off_bar_lines_s(chart, kicks) < 0.002


@pytest.mark.parametrize(
    ("text", "beat_s", "length_s"),
    [("3/4", 0.5, 1.5), ("6/8", 0.75, 1.5), ("6/8", 0.25, 1.5), ("7/8", 0.5, 1.75), ("7/8", 0.25, 1.75)],
)
def test_a_meter_that_is_asked_for_is_laid_on_the_beats(text: str, beat_s: float, length_s: float) -> None:
    count = int(120 / beat_s)
    chart, report = bars_of(steady(count, beat_s, 4), 120.0, time_signature=TimeSignature.parse(text))
    assert [meter.signature for meter in report.meters] == [text]
    assert np.diff(chart.starts_s)[2:-2] == pytest.approx(np.full(len(chart.bars) - 4, length_s), abs=0.002)
    assert any("4/4 was heard" in warning for warning in report.warnings)


def test_a_meter_that_is_asked_for_keeps_the_downbeats_heard() -> None:
    beats = steady(200, 0.5, 4, first=3)
    chart, report = bars_of(beats, 100.0, time_signature=TimeSignature(4, 4))
    assert off_bar_lines_s(chart, beats.downbeats_s) < 0.012
    assert report.warnings == ()


def test_a_tempo_that_is_asked_for_is_the_only_one() -> None:
    beats = steady(400, 60 / 121, 4, start_s=0.7, jitter_s=0.008)
    chart, report = bars_of(beats, 200.0, bpm=121.0)
    assert [tempo.bpm for tempo in report.tempi] == [121.0]
    assert off_bar_lines_s(chart, 0.7 + 4 * 60 / 121 * np.arange(100)) < 0.003
    assert report.warnings == ()


def test_a_tempo_that_was_not_heard_is_said() -> None:
    _, report = bars_of(steady(400, 0.5, 4), 200.0, bpm=127.0)
    assert [tempo.bpm for tempo in report.tempi] == [127.0]
    assert len(report.warnings) == 1
    assert "127 BPM as asked for, though beats were heard at 120.0" in report.warnings[0]
    assert bars_of(steady(400, 0.5, 4), 200.0, bpm=60.0)[1].warnings == ()  # every other beat is none


def test_no_beats_need_a_tempo() -> None:
    nothing = Beats(np.empty(0))
    strokes = strokes_of(1.3 + 0.5 * np.arange(40), ["kick"] * 40, np.full(40, 0.5))
    with pytest.raises(ConfigError, match="give the tempo, with --bpm"):
        bars_of(nothing, 30.0, strokes=strokes)
    with pytest.raises(ConfigError, match="give the tempo, with --bpm"):
        bars_of(Beats(np.array([1.0])), 30.0)
    chart, report = bars_of(nothing, 30.0, strokes=strokes, bpm=120.0)
    assert len(chart.notes) == 40
    assert report.moved_by.max_ms < 1
    assert report.warnings == ("no beats were heard; bars begin with the first stroke",)
    assert len(bars_of(nothing, 30.0, bpm=90.0)[0].bars) == 12


def test_beats_faster_than_music_are_dropped() -> None:
    whole = steady(100, 0.5, 4)
    times_s = np.sort(np.concatenate([whole.times_s, whole.times_s[10:20] + 0.04]))
    chart, report = bars_of(Beats(times_s), 50.0)
    assert len(report.tempi) == 1
    assert all(bar.tempi[0].bpm < 300 for bar in chart.bars)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), float("inf")])
def test_audio_without_length_is_refused(duration_s: float) -> None:
    with pytest.raises(ConfigError, match="has no bars"):
        bars_of(steady(10, 0.5, 4), duration_s)


@pytest.mark.parametrize("options", [{"bpm": 5.0}, {"bpm": 999.0}, {"tolerance_s": 0.5}, {"tolerance_s": 0.001}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"give 20 to 400|must lie in"):
        QuantiseOptions(**options)  # type: ignore[arg-type]
