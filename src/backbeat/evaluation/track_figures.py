"""Activations with the truth: what a model heard in one track, what it made of it, and what is really there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.beat import score as beat_score
from backbeat.evaluation.measures import DRUM_LABELS
from backbeat.look import BEAT, DOWNBEAT, DRUM_COLOURS, FAINT, INK, ONSET, SOFT, drawing, plain_axes, title
from backbeat.music import DRUMS, Beats, Onsets
from backbeat.onset import score as onset_score
from backbeat.onset.decode import merged_times_s

#: Hit, missed and false differ in colour and in shape, for whoever does not see the colours.
HIT, MISSED, FALSE, UNSCORED = "#2e9e6b", "#e08e2b", "#c2185b", "#a9b4c0"
#: The stretch of a track in which marks can be told apart, seconds.
BEAT_STRETCH_S, ONSET_STRETCH_S = 20.0, 8.0
_DPI = 125


@dataclass(frozen=True, eq=False)
class Heard:
    """A track as a model heard it.

    Parameters
    ----------
    name, subtitle
        Of the picture: the track and its style; its scores.
    log_mel
        Shape (frames, mel_bands).
    frame_rate_hz
        Of `log_mel`.
    activations
        Shape (frames, outputs), probabilities.
    activation_rate_hz
        Of `activations`.
    """

    name: str
    subtitle: str
    log_mel: NDArray[np.float32]
    frame_rate_hz: float
    activations: NDArray[np.float32]
    activation_rate_hz: float

    @property
    def duration_s(self) -> float:
        """Length of the track, seconds."""
        return float(self.log_mel.shape[0] / self.frame_rate_hz)


@dataclass(frozen=True, eq=False)
class Marks:
    """True and found events of one kind, each with whether it has its match.

    Parameters
    ----------
    true_s, found_s
        Sorted times, seconds.
    true_hit, found_hit
        Of the same shapes, booleans.
    """

    true_s: NDArray[np.float64]
    found_s: NDArray[np.float64]
    true_hit: NDArray[np.bool_]
    found_hit: NDArray[np.bool_]

    @property
    def errors_s(self) -> NDArray[np.float64]:
        """Times of what was missed and of what was found though it is not there, sorted."""
        wrong: NDArray[np.float64] = np.sort(
            np.concatenate([self.true_s[~self.true_hit], self.found_s[~self.found_hit]])
        )
        return wrong

    def within(self, start_s: float, end_s: float) -> bool:
        """Whether any event lies between the two times."""
        every_s = np.concatenate([self.true_s, self.found_s])
        return bool(np.any((every_s >= start_s) & (every_s <= end_s)))


def compare(true_s: NDArray[np.float64], found_s: NDArray[np.float64], window_s: float) -> Marks:
    """Match found events with true ones within `window_s`, as the scores do (mir_eval's bipartite matching)."""
    true_hit, found_hit = np.zeros(true_s.size, dtype=bool), np.zeros(found_s.size, dtype=bool)
    if true_s.size and found_s.size:
        import mir_eval

        pairs = np.array(mir_eval.util.match_events(true_s, found_s, window_s), dtype=np.int64).reshape(-1, 2)
        true_hit[pairs[:, 0]] = True
        found_hit[pairs[:, 1]] = True
    return Marks(true_s, found_s, true_hit, found_hit)


def worst_stretch_s(errors_s: NDArray[np.float64], duration_s: float, length_s: float) -> tuple[float, float]:
    """Choose the stretch of `length_s` that holds most errors, with them in its middle where there is room."""
    if duration_s <= 1.25 * length_s:
        return 0.0, duration_s
    starts_s = np.append(np.arange(0.0, duration_s - length_s, length_s / 8), duration_s - length_s)
    ordered = np.sort(errors_s)
    counts = np.searchsorted(ordered, starts_s + length_s) - np.searchsorted(ordered, starts_s)
    if counts.max() == 0:
        return 0.0, length_s
    first = int(np.argmax(counts))
    run = int(np.argmin(np.append(counts[first:] == counts[first], False)))
    start_s = float(starts_s[first + run // 2])
    return start_s, start_s + length_s


def draw_beats(path: Path, heard: Heard, truth: Beats, found: Beats) -> None:
    """Draw a track's spectrogram, beat and downbeat activations, and the true and found beats and downbeats.

    `heard.activations` has shape (frames, 2). Where the truth knows no bars, only found downbeats are marked, grey.
    """
    beats = compare(truth.times_s, found.times_s, beat_score.WINDOW_S)
    downbeats = compare(truth.downbeats_s, found.downbeats_s, beat_score.WINDOW_S)
    bars_known = truth.positions is not None
    wrong_s = np.concatenate([beats.errors_s, downbeats.errors_s if bars_known else np.empty(0)])
    span_s = worst_stretch_s(wrong_s[wrong_s >= beat_score.TRIM_S], heard.duration_s, BEAT_STRETCH_S)
    with drawing(path, 9.6, 3.9, _DPI) as figure:
        rows = figure.add_gridspec(2, 1, height_ratios=[1, 2.5], hspace=0.02)
        strip = figure.add_subplot(rows[0])
        lanes = figure.add_subplot(rows[1], sharex=strip)
        _strip(strip, heard, span_s)
        _titles(strip, heard, span_s)
        scored = (beat_score.TRIM_S, math.inf)
        _lane(lanes, 1.0, heard, 0, BEAT, beats, span_s, scored)
        _lane(lanes, 0.0, heard, 1, DOWNBEAT, downbeats, span_s, scored if bars_known else (math.inf, math.inf))
        if span_s[0] < beat_score.TRIM_S:
            lanes.axvspan(span_s[0], beat_score.TRIM_S, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
        _finish(lanes, ["downbeats", "beats"], span_s)
        _legend(lanes, unscored=span_s[0] < beat_score.TRIM_S or not bars_known)


def draw_onsets(path: Path, heard: Heard, truth: Onsets, onsets: Onsets, drums: Onsets) -> None:
    """Draw a track's spectrogram and a lane for onsets and for each drum that is there or was found.

    `heard.activations` has shape (frames, 1 + drums or more): onset, then each drum of `backbeat.music.DRUMS`.
    """
    window_s, combine_s = onset_score.WINDOW_S, onset_score.COMBINE_S
    marks = {
        "onset": compare(merged_times_s(truth.times_s, combine_s), merged_times_s(onsets.times_s, combine_s), window_s)
    }
    for name in DRUMS:
        true, hit = truth.of(name), drums.of(name)
        if len(true) or len(hit):
            same_s = onset_score.SAME_STROKE_S
            marks[name] = compare(merged_times_s(true.times_s, same_s), merged_times_s(hit.times_s, same_s), window_s)
    drum_marks = [found for name, found in marks.items() if name != "onset"] or list(marks.values())
    wrong_s = np.concatenate([found.errors_s for found in drum_marks])
    span_s = worst_stretch_s(wrong_s, heard.duration_s, ONSET_STRETCH_S)
    marks = {name: found for name, found in marks.items() if name == "onset" or found.within(*span_s)}
    with drawing(path, 9.6, 2.3 + 0.46 * len(marks), _DPI) as figure:
        rows = figure.add_gridspec(2, 1, height_ratios=[1, 0.5 + 0.5 * len(marks)], hspace=0.02)
        strip = figure.add_subplot(rows[0])
        lanes = figure.add_subplot(rows[1], sharex=strip)
        _strip(strip, heard, span_s)
        _titles(strip, heard, span_s)
        order = [name for name in ("onset", *reversed(DRUMS)) if name in marks]
        for row, name in enumerate(reversed(order)):
            column, colour = (0, ONSET) if name == "onset" else (1 + DRUMS.index(name), DRUM_COLOURS[name])
            _lane(lanes, float(row), heard, column, colour, marks[name], span_s, (0.0, math.inf))
        _finish(lanes, [{"onset": "any onset", **DRUM_LABELS}[name] for name in reversed(order)], span_s)
        _legend(lanes, unscored=False)


def _strip(axes: Any, heard: Heard, span_s: tuple[float, float]) -> None:
    first, last = (round(second * heard.frame_rate_hz) for second in span_s)
    piece = heard.log_mel[first:last].T.astype(np.float32)
    import matplotlib as mpl

    # Few shades and no smoothing keep the file small; there is nothing to read in finer ones.
    axes.imshow(
        piece,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=mpl.colormaps["bone_r"].resampled(14),
        extent=(*span_s, 0, piece.shape[0]),
    )
    plain_axes(axes)
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)
    axes.set_ylabel("log-mel", rotation=0, ha="right", va="center", fontsize=8.5)


def _titles(axes: Any, heard: Heard, span_s: tuple[float, float]) -> None:
    part = "" if span_s[1] - span_s[0] >= heard.duration_s else f"  ·  seconds {span_s[0]:.0f} to {span_s[1]:.0f}"
    title(axes, heard.name, f"{heard.subtitle}{part}")


def _lane(
    axes: Any,
    base: float,
    heard: Heard,
    column: int,
    colour: str,
    marks: Marks,
    span_s: tuple[float, float],
    scored_s: tuple[float, float],
) -> None:
    """Draw one lane, from `base` to `base + 1`: found marks below the activation, true marks above it."""
    rate_hz = heard.activation_rate_hz
    first, last = int(span_s[0] * rate_hz), math.ceil(span_s[1] * rate_hz) + 1
    values = heard.activations[first:last, column]
    times_s = (first + np.arange(values.size)) / rate_hz
    floor = base + 0.26
    axes.fill_between(times_s, floor, floor + 0.46 * values, color=colour, alpha=0.3, linewidth=0)
    axes.plot(times_s, floor + 0.46 * values, color=colour, linewidth=0.7)
    axes.axhline(base, color=FAINT, linewidth=0.6)
    for events_s, hit, height, kind in (
        (marks.true_s, marks.true_hit, base + 0.86, "missed"),
        (marks.found_s, marks.found_hit, base + 0.13, "false"),
    ):
        inside = (events_s >= span_s[0]) & (events_s <= span_s[1])
        counts = (events_s >= scored_s[0]) & (events_s <= scored_s[1])
        for chosen, name in (
            (inside & ~counts, "unscored"),
            (inside & counts & hit, "hit"),
            (inside & counts & ~hit, kind),
        ):
            axes.scatter(events_s[chosen], np.full(int(chosen.sum()), height), zorder=3, **_MARK[name])


_MARK: dict[str, dict[str, Any]] = {
    "hit": {"marker": "|", "color": HIT, "s": 34, "linewidths": 2.2},
    "missed": {"marker": "v", "facecolors": "none", "edgecolors": MISSED, "s": 24, "linewidths": 1.4},
    "false": {"marker": "x", "color": FALSE, "s": 22, "linewidths": 1.6},
    "unscored": {"marker": "|", "color": UNSCORED, "s": 30, "linewidths": 1.4},
}


def _finish(axes: Any, labels: Sequence[str], span_s: tuple[float, float]) -> None:
    plain_axes(axes)
    axes.set_ylim(0, len(labels))
    axes.set_yticks([row + 0.5 for row in range(len(labels))], labels, color=INK)
    axes.set_xlim(*span_s)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")


def _legend(axes: Any, unscored: bool) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], linestyle="none", label="truth above, found below:"),
        Line2D([], [], linestyle="none", marker="|", color=HIT, markersize=8, markeredgewidth=2.2, label="found"),
        Line2D([], [], linestyle="none", marker="v", color=MISSED, markerfacecolor="none", label="missed"),
        Line2D([], [], linestyle="none", marker="x", color=FALSE, markeredgewidth=1.7, label="not there"),
    ]
    if unscored:
        entries.append(Line2D([], [], linestyle="none", marker="|", color=UNSCORED, markersize=8, label="not scored"))
    axes.legend(
        handles=entries,
        loc="upper right",
        bbox_to_anchor=(1.0, 0.0),
        bbox_transform=axes.transAxes,
        ncols=len(entries),
        frameon=False,
        fontsize=8.5,
        labelcolor=SOFT,
        handletextpad=0.1,
        columnspacing=1.2,
        borderaxespad=2.2,
    )
