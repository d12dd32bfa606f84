"""A picture of a chart: lanes against bars, in systems as in a score, with the waveform along them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.analysis.plots import clock
from backbeat.charts.chart import BAR_TICKS, Chart
from backbeat.charts.levels import estimate_level
from backbeat.charts.picture.page import LANE_HEIGHT, LEFT, RIGHT, WAVE_HEIGHT, WIDTH, Page, labels_of
from backbeat.charts.picture.systems import bar_numbers, systems_of
from backbeat.look import DRUM_COLOURS, FAINT, INK, SOFT, WAVE, drawing

_DPI = 150
#: Whole notes in a system; longer songs get more, until they do not fit at all.
_FEWEST, _MOST, _MOST_SYSTEMS = 8.0, 16.0, 32
#: Beats nearer than this share of one to a bar line are that line.
_NEAR = 0.05

_LONGEST_TITLE = 90
#: Inches that the legend of velocities takes.
_LEGEND = 1.8
_BARLINE = "#aab4bf"


@dataclass(frozen=True)
class Look:
    """How the notes of a lane are drawn."""

    lane: str
    name: str
    drum: str
    marker: str
    scale: float = 1.0
    is_hollow: bool = False

    @property
    def colour(self) -> str:
        """Of its drum."""
        return DRUM_COLOURS[self.drum]


#: Lanes from the top, as in a score.
LOOKS: tuple[Look, ...] = (
    Look("crash_left", "crash left", "crash", "*", 2.2),
    Look("crash_right", "crash right", "crash", "*", 2.2),
    Look("ride_bell", "ride bell", "ride", "^", 1.1),
    Look("ride", "ride", "ride", "D", 0.7),
    Look("hihat_open", "hi-hat open", "hihat_open", "o", 0.9, is_hollow=True),
    Look("hihat_closed", "hi-hat", "hihat_closed", "x", 0.8),
    Look("tom_high", "tom high", "tom_high", "o"),
    Look("tom_mid", "tom mid", "tom_mid", "o"),
    Look("snare", "snare", "snare", "o"),
    Look("tom_low", "tom low", "tom_low", "o"),
    Look("kick", "kick", "kick", "o"),
    Look("hihat_pedal", "hi-hat pedal", "hihat_pedal", "x", 0.8),
)


def tempo_text(chart: Chart) -> str:
    """Return the tempo that a chart keeps, or between which it moves, but for a twentieth at either end."""
    bpm = np.array([tempo.bpm for bar in chart.bars for tempo in bar.tempi])
    low, high = np.percentile(bpm, [5, 95])
    return f"{np.median(bpm):.1f} BPM" if high < 1.03 * low else f"{low:.0f} to {high:.0f} BPM"


def headline(chart: Chart) -> str:
    """Return the chart in one line: tempo, meters, bars, notes, level, length."""
    meters = list(dict.fromkeys(str(bar.signature) for bar in chart.bars))
    parts = [
        tempo_text(chart),
        ", ".join(meters[:4]) + (" …" if len(meters) > 4 else ""),
        f"{len(chart.bars):,} bars",
        f"{len(chart.notes):,} notes",
        f"level {estimate_level(chart):.2f}",
        clock(chart.duration_s),
    ]
    return "  ·  ".join(parts)


def plot_chart(
    path: Path, chart: Chart, outline: ArrayLike, duration_s: float, title: str, subtitle: str | None = None
) -> None:
    """Draw a chart, atomically; the suffix of `path` chooses PNG, SVG or PDF.

    Each lane that has notes is a line; a note is the larger the louder. Bars are numbered, tempi and meters stand where
    they change, and the clock at the left of each row. Where a song is too long for one picture, its beginning is
    drawn and the picture says so.

    Parameters
    ----------
    path
        Where to.
    chart
        What is drawn.
    outline
        Shape (2, points): lowest and highest sample of equal stretches of the audio, full scale ±1.
    duration_s
        Of the audio.
    title
        Of the song, in any script; what is longer than a line is cut.
    subtitle
        A line under the title; None for the chart's `headline`.

    Raises
    ------
    ConfigError
        If the suffix is another one.
    """
    length = sum(bar.length for bar in chart.bars)
    whole_notes = float(np.clip(length / _MOST_SYSTEMS, _FEWEST, _MOST))
    systems = systems_of(chart, whole_notes)
    shown = systems[:_MOST_SYSTEMS]
    struck = {note.lane for note in chart.notes} or {"snare", "kick", "hihat_closed"}
    looks = [look for look in LOOKS if look.lane in struck]
    page = Page(chart, shown, len(looks))
    with drawing(path, WIDTH, page.height, _DPI) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(page.height, 0)
        _draw_head(axes, title, headline(chart) if subtitle is None else subtitle)
        _draw_waves(axes, page, np.asarray(outline, dtype=np.float64), duration_s)
        _draw_grid(axes, page)
        _draw_names(axes, page, looks)
        _draw_labels(axes, page)
        _draw_notes(axes, page, looks, _FEWEST / whole_notes)
        if len(shown) < len(systems):
            _draw_rest(axes, page)


def _one_line(text: str, longest: int) -> str:
    """Return the text without line breaks and control characters, cut where it is too long."""
    plain = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _draw_head(axes: Any, title: str, subtitle: str) -> None:
    lines = (
        (_one_line(title, _LONGEST_TITLE) or "untitled", 0.58, {"fontsize": 17, "fontweight": "bold"}, 0.0),
        (_one_line(subtitle, 2 * _LONGEST_TITLE), 0.84, {"fontsize": 10.5, "color": SOFT}, _LEGEND),
    )
    for words, y, look, taken in lines:
        text = axes.text(LEFT, y, words, va="baseline", **look)
        width = text.get_window_extent().width / axes.figure.dpi
        text.set_fontsize(text.get_fontsize() * min(1.0, (WIDTH - LEFT - RIGHT - taken) / max(width, 0.1)))
    velocities = np.linspace(0.15, 1, 5)
    places = WIDTH - RIGHT - 0.42 - 0.12 * np.arange(5)[::-1]
    axes.scatter(places, np.full(5, 0.805), s=_sizes(velocities, 1.0), color=SOFT, linewidths=0)
    axes.text(places[0] - 0.12, 0.84, "soft", fontsize=8.5, color=SOFT, ha="right", va="baseline")
    axes.text(places[-1] + 0.12, 0.84, "loud", fontsize=8.5, color=SOFT, ha="left", va="baseline")


def _draw_waves(axes: Any, page: Page, outline: NDArray[np.float64], duration_s: float) -> None:
    if outline.size == 0 or duration_s <= 0:
        return
    scale = 0.5 * WAVE_HEIGHT / max(float(np.abs(outline).max()), 1e-4)
    for row, system in enumerate(page.systems):
        columns = max(2, round(float(page.x(system.edges[-1]) - page.x(0)) * _DPI))
        places = np.linspace(0, float(system.edges[-1]), columns + 1)
        points = system.times_s(page.chart, places) / duration_s * outline.shape[1]
        inside = points[:-1] < outline.shape[1]
        if not inside.any():
            continue
        edges = np.floor(points[:-1][inside]).astype(np.int64)
        end = int(np.clip(np.ceil(points[inside.sum()]), edges[-1] + 1, outline.shape[1]))
        low = np.minimum.reduceat(outline[0, :end], edges)
        high = np.maximum.reduceat(outline[1, :end], edges)
        middle = (page.x(places[:-1]) + page.x(places[1:]))[inside] / 2
        y = page.wave_y(row)
        axes.fill_between(middle, y - scale * high, y - scale * low, color=WAVE, linewidth=0.3, zorder=2)


def _draw_grid(axes: Any, page: Page) -> None:
    """Draw lanes, bar lines and beats."""
    from matplotlib.collections import LineCollection

    lanes, barlines, beats = [], [], []
    for row, system in enumerate(page.systems):
        top, bottom = page.wave_y(row) - WAVE_HEIGHT / 2, page.lane_y(row, page.lanes) - LANE_HEIGHT / 2
        first, last = page.x(system.edges[[0, -1]])
        lanes += [[(first, page.lane_y(row, lane)), (last, page.lane_y(row, lane))] for lane in range(page.lanes)]
        barlines += [[(x, top), (x, bottom)] for x in page.x(system.edges)]
        for bar in system.bars:
            beats += [[(x, top), (x, bottom)] for x in page.x([system.place(bar, tick) for tick in _beats(page, bar)])]
    axes.add_collection(LineCollection(lanes, colors=FAINT, linewidths=0.6, zorder=0), autolim=False)
    axes.add_collection(LineCollection(beats, colors=FAINT, linewidths=0.6, zorder=0), autolim=False)
    axes.add_collection(LineCollection(barlines, colors=_BARLINE, linewidths=1.1, zorder=1), autolim=False)


def _beats(page: Page, bar: int) -> Iterable[float]:
    """Give the ticks of the beats within a bar; those of a first bar that leads in count from its end."""
    one = page.chart.bars[bar]
    beat = (3 if one.signature.is_compound else 1) / one.signature.denominator
    place = one.length % beat if bar == 0 else beat
    while place < one.length - _NEAR * beat:
        if place > _NEAR * beat:
            yield place / one.length * BAR_TICKS
        place += beat


def _draw_names(axes: Any, page: Page, looks: Sequence[Look]) -> None:
    """Draw the lanes' names, and the clock."""
    for row, system in enumerate(page.systems):
        for lane, look in enumerate(looks):
            where = (LEFT - 0.1, page.lane_y(row, lane))
            axes.text(*where, look.name, fontsize=6.6, color=look.colour, ha="right", va="center_baseline")
        begins = clock(float(page.chart.starts_s[system.first]))
        axes.text(LEFT - 0.1, page.wave_y(row), begins, fontsize=9, fontweight="bold", ha="right", va="center_baseline")


def _draw_labels(axes: Any, page: Page) -> None:
    for label in labels_of(page):
        y = page.wave_y(label.row) - WAVE_HEIGHT / 2 - 0.05
        axes.text(label.x, y, label.number, fontsize=7, color=SOFT, ha="left", va="baseline")
        axes.text(label.news_x, y, label.news, fontsize=8, color=INK, fontweight="bold", ha="left", va="baseline")


def _sizes(velocities: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Return areas of markers, square points: the square root of loudness is seen as loudness."""
    return np.asarray(size * (2.0 + 4.4 * np.sqrt(velocities)) ** 2)


def _draw_notes(axes: Any, page: Page, looks: Sequence[Look], size: float) -> None:
    rows = {bar: row for row, system in enumerate(page.systems) for bar in system.bars}
    for lane, look in enumerate(looks):
        notes = [note for note in page.chart.notes if note.lane == look.lane and note.bar in rows]
        x = page.x([page.systems[rows[note.bar]].place(note.bar, note.tick) for note in notes])
        y = [page.lane_y(rows[note.bar], lane) for note in notes]
        sizes = look.scale * _sizes(np.array([note.velocity for note in notes]), size)
        is_line = look.marker == "x"
        axes.scatter(
            x,
            y,
            s=sizes,
            marker=look.marker,
            facecolors="white" if look.is_hollow else look.colour,
            edgecolors=None if is_line else look.colour if look.is_hollow else "white",
            linewidths=1.2 if is_line or look.is_hollow else 0.4,
            zorder=3,
        )


def _draw_rest(axes: Any, page: Page) -> None:
    numbers = bar_numbers(page.chart)
    rest = (
        f"Bars {numbers[page.last_bar + 1]:,} to {numbers[-1]:,} are not drawn "
        f"({clock(float(page.chart.starts_s[page.last_bar + 1]))} to {clock(page.chart.duration_s)})."
    )
    axes.text(LEFT, page.height - 0.25, rest, fontsize=9, color=SOFT, va="baseline")
