import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chart_music import bar_of, chart_of, random_chart
from numpy.typing import NDArray
from PIL import Image

from backbeat.charts.chart import LANES, Bar, Chart, Tempo
from backbeat.charts.picture.page import Page, labels_of
from backbeat.charts.picture.plots import LOOKS, headline, plot_chart
from backbeat.charts.picture.systems import bar_numbers, systems_of
from backbeat.errors import ConfigError
from backbeat.look import DRUM_COLOURS
from backbeat.music import TimeSignature

ROCK = {"crash_left": "x.......", "hihat_closed": "xxxxxxxx", "snare": "..x...x.", "kick": "x...x..."}
LEAD = Bar(0.25, (Tempo(0, 120.0),), TimeSignature(4, 4))


def page_of(chart: Chart, whole_notes: float = 8.0) -> Page:
    return Page(chart, systems_of(chart, whole_notes), 12)


def wave(points: int = 4000) -> NDArray[np.float64]:
    high = np.random.default_rng(0).uniform(0.1, 0.5, points)
    return np.stack([-high, high])


def pixels(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


@pytest.mark.parametrize("seed", range(6))
def test_every_bar_stands_in_one_system_and_rows_end_together(seed: int) -> None:
    chart = random_chart(seed, 60)
    systems = systems_of(chart, 8.0)
    assert list(itertools.chain(*(system.bars for system in systems))) == list(range(60))
    for system in systems:
        assert system.edges[0] == 0
        assert np.all(np.diff(system.edges) > 0)
        assert system.edges[-1] <= 1 + 1e-9
    assert all(system.edges[-1] == pytest.approx(1) for system in systems[:-1])


def test_bars_are_as_wide_as_they_are_long() -> None:
    chart = Chart((bar_of("4/4"), bar_of("3/4"), bar_of("6/8"), bar_of("7/8")), ())
    widths = np.diff(systems_of(chart, 8.0)[0].edges)
    assert widths * 8 == pytest.approx([1, 0.75, 0.75, 0.875])
    endless = Chart((replace(LEAD, length=30.0), bar_of()), ())
    assert np.diff(systems_of(endless, 8.0)[0].edges) * 8 == pytest.approx([2, 1])


def test_eight_bars_of_common_time_fill_a_system_behind_a_short_lead() -> None:
    chart = Chart((LEAD, *[bar_of()] * 16), ())
    assert [len(system.bars) for system in systems_of(chart, 8.0)] == [9, 8]


def test_places_and_times_agree_where_the_tempo_changes_within_a_bar() -> None:
    slowing = replace(bar_of(), tempi=(Tempo(0, 120.0), Tempo(192, 60.0)))
    chart = Chart((bar_of(), slowing, bar_of()), ())
    system = systems_of(chart, 8.0)[0]
    ticks = np.arange(0, 384, 24)
    for bar in range(3):
        places = np.array([system.place(bar, tick) for tick in ticks])
        assert system.times_s(chart, places) == pytest.approx([chart.time_s(bar, tick) for tick in ticks], abs=1e-9)


def test_numbers_count_from_the_first_whole_bar() -> None:
    assert bar_numbers(Chart((LEAD, bar_of(), bar_of()), ())) == [0, 1, 2]
    assert bar_numbers(Chart((bar_of(), bar_of()), ())) == [1, 2]
    assert bar_numbers(Chart((replace(LEAD, length=1.01), bar_of()), ())) == [1, 2]


def test_meters_and_tempi_stand_where_they_change() -> None:
    bars = [LEAD, *[bar_of()] * 9, *[bar_of("7/8")] * 2, *[bar_of("6/8", bpm=90.0)] * 3, *[bar_of(bpm=120.5)] * 12]
    news = [(label.number, label.news) for label in labels_of(page_of(Chart(tuple(bars), ()))) if label.news]
    assert news == [
        ("1", "4/4   \N{QUARTER NOTE} = 120.0"),
        ("10", "7/8"),
        ("12", "6/8   \N{QUARTER NOTE}. = 60.0"),
        ("15", "4/4   \N{QUARTER NOTE} = 120.5"),
    ]


def test_a_drifting_tempo_is_told_at_the_left() -> None:
    bars = [bar_of(bpm=120 + 0.05 * index) for index in range(32)]
    news = [(label.number, label.news) for label in labels_of(page_of(Chart(tuple(bars), ()))) if label.news]
    assert [number for number, _ in news] == ["1", "9", "17", "25"]
    assert news[-1][1] == "\N{QUARTER NOTE} = 121.2"


@pytest.mark.parametrize("seed", range(6))
def test_labels_do_not_overlap(seed: int) -> None:
    page = page_of(random_chart(seed, 80), 12.0)
    labels = labels_of(page)
    assert len(labels) > 30
    for one, other in itertools.pairwise(labels):
        assert one.row < other.row or one.end_x < other.x


def test_every_lane_has_a_look_of_its_own_line() -> None:
    assert sorted(look.lane for look in LOOKS) == sorted(LANES)
    assert {look.drum for look in LOOKS} <= set(DRUM_COLOURS)
    assert len({look.name for look in LOOKS}) == len(LANES)


def test_the_headline_says_what_the_chart_is() -> None:
    assert headline(chart_of(ROCK, 60)) == "120.0 BPM  ·  4/4  ·  60 bars  ·  780 notes  ·  level 3.22  ·  2:00"
    mixed = Chart((bar_of(bpm=100.0), bar_of("3/4", bpm=140.0)), ())
    assert headline(mixed).startswith("102 to 138 BPM  ·  4/4, 3/4  ·  2 bars  ·  0 notes  ·  level 0.00")


def test_a_picture_shows_notes_in_their_places_and_colours(tmp_path: Path) -> None:
    chart = chart_of(ROCK, 8)
    plot_chart(tmp_path / "chart.png", chart, wave(), 17.0, "Rock")
    image = pixels(tmp_path / "chart.png")
    lanes = [look.lane for look in LOOKS if look.lane in ROCK]
    page = Page(chart, systems_of(chart, 8.0), len(lanes))
    assert image.shape[1] == 2400
    assert abs(image.shape[0] - 150 * page.height) <= 1

    def colour_at(bar: int, tick: int, lane: str) -> list[int]:
        x = round(float(page.x(page.systems[0].place(bar, tick))) * 150)
        return [int(value) for value in image[round(page.lane_y(0, lanes.index(lane)) * 150), x]]

    red = [int(DRUM_COLOURS["kick"][at : at + 2], 16) for at in (1, 3, 5)]
    assert colour_at(3, 0, "kick") == red
    assert colour_at(3, 192, "kick") == red
    assert colour_at(3, 96, "kick") != red
    assert (image[:, :10] == 255).all()
    assert (image[:, -10:] == 255).all()


def test_louder_notes_are_larger(tmp_path: Path) -> None:
    def inked(letter: str) -> int:
        plot_chart(tmp_path / "chart.png", chart_of({"kick": letter}, 8), wave(), 16.0, "Kick")
        image = pixels(tmp_path / "chart.png")
        return int((np.abs(image - [0xD1, 0x49, 0x5B]).sum(axis=2) < 30).sum())

    assert inked("X") > 1.5 * inked("g")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_pictures_are_the_same_from_run_to_run(tmp_path: Path, suffix: str) -> None:
    for name in ("one", "two"):
        plot_chart(tmp_path / f"{name}{suffix}", chart_of(ROCK, 2), wave(), 4.0, "Rock")
    first = (tmp_path / f"one{suffix}").read_bytes()
    assert first == (tmp_path / f"two{suffix}").read_bytes()
    assert first.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])


def test_titles_of_any_kind_stay_in_their_line(tmp_path: Path) -> None:
    for title in ("", "月の行進 🥁", "a\nb\x00\x1b[31m", "$x^2_{", "\N{RIGHT-TO-LEFT OVERRIDE}abc", "z" * 10_000):
        plot_chart(tmp_path / "chart.svg", chart_of(ROCK, 1), wave(), 2.0, title, title)
        text = (tmp_path / "chart.svg").read_text()
        assert "z" * 181 not in text
        assert "\x1b" not in text


def test_charts_without_notes_audio_or_much_music_are_drawn(tmp_path: Path) -> None:
    nothing = Chart((bar_of(),), ())
    plot_chart(tmp_path / "none.png", nothing, np.zeros((2, 0)), 0.0, "Nothing")
    plot_chart(tmp_path / "silent.png", nothing, np.zeros((2, 1)), 0.5, "Silence")
    plot_chart(tmp_path / "long.png", nothing, wave(10), 500.0, "More audio than bars")
    odd = Chart((replace(LEAD, length=32.0), *[bar_of("1/16", bpm=300.0)] * 9), ())
    plot_chart(tmp_path / "odd.png", odd, wave(), 3.0, "More bars than audio")
    assert all(pixels(path).shape[1] == 2400 for path in tmp_path.iterdir())


def test_hours_make_one_picture_that_says_what_is_left_out(tmp_path: Path) -> None:
    plot_chart(tmp_path / "hours.svg", chart_of({"kick": "x"}, 3600), wave(), 7200.0, "Two hours")
    text = (tmp_path / "hours.svg").read_text()
    assert "Bars 545 to 3,600 are not drawn (18:08 to 2:00:00)." in text
    plot_chart(tmp_path / "minutes.svg", chart_of({"kick": "x"}, 400), wave(), 800.0, "Thirteen minutes")
    assert "not drawn" not in (tmp_path / "minutes.svg").read_text()


def test_a_wide_title_stays_on_the_page(tmp_path: Path) -> None:
    plot_chart(tmp_path / "chart.png", chart_of(ROCK, 1), wave(), 2.0, "W" * 200, "W" * 400)
    image = pixels(tmp_path / "chart.png")
    assert (image[:, -60:] == 255).all()


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a picture is one of"):
        plot_chart(tmp_path / "chart.gif", chart_of(ROCK, 1), wave(), 2.0, "Rock")
    assert not list(tmp_path.iterdir())
