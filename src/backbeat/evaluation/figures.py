"""The evaluation's charts: learning curves, scores by style, genres confused, confidence against truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.evaluation.measures import measure, style_name
from backbeat.genre.score import CALIBRATION_BINS, GenreScore
from backbeat.look import BEAT, DOWNBEAT, FAINT, INK, SOFT, WAVE, drawing, plain_axes, title
from backbeat.statistics import Interval

_COLOURS = (BEAT, DOWNBEAT, "#2e9e6b", "#e08e2b")
_MARKERS = ("o", "D", "s", "^")


def learning_curves(path: Path, task: str, curves: pd.DataFrame) -> None:
    """Draw the training and validation loss of each epoch, and mark the epoch whose weights were kept.

    Parameters
    ----------
    curves
        Columns ``epoch`` (from 0), ``train_loss`` and ``valid_loss``, as training writes them.

    Raises
    ------
    ConfigError
        If a column is missing or there is no epoch.
    """
    missing = {"epoch", "train_loss", "valid_loss"} - set(curves.columns)
    if missing or curves.empty:
        raise ConfigError(f"learning curves of {task}: no {min(missing) if missing else 'epoch'}")
    losses = curves["valid_loss"].to_numpy(dtype=np.float64)
    best = int(np.nanargmin(losses))
    kept, epoch = losses[best], int(curves["epoch"].to_numpy()[best]) + 1
    with drawing(path, 6.4, 3.0) as figure:
        axes = figure.add_subplot()
        epochs = curves["epoch"] + 1
        for name, label, colour in (("train_loss", "training", WAVE), ("valid_loss", "validation", BEAT)):
            axes.plot(epochs, curves[name], color=colour, linewidth=1.8, marker="o", markersize=3, label=label)
        axes.plot([epoch], [kept], "o", markersize=9, markerfacecolor="none", markeredgecolor=DOWNBEAT, label="kept")
        plain_axes(axes)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch", fontsize=8.5)
        axes.set_ylabel("loss", fontsize=8.5)
        axes.legend(frameon=False, fontsize=8.5, loc="upper right")
        title(axes, f"Learning curve, {task}", f"validation loss {kept:.3f} at epoch {epoch} of {len(curves)}")


def scores_by_style(
    path: Path, task: str, groups: Mapping[str, Mapping[str, Interval]], measures: Sequence[str], confidence: float
) -> None:
    """Draw each style's scores with their confidence intervals, best style on top, the whole set above all.

    Parameters
    ----------
    groups
        As `scoring.summary` gives them.
    measures
        Which to draw, at most four; styles are ordered by the first.
    confidence
        Of the intervals, for the title.
    """
    known = [name for name in measures if name in groups["all"]][: len(_COLOURS)]
    if not known:
        raise ConfigError(f"{task} has none of the measures {', '.join(measures)}")
    styles = [name for name in groups if name != "all"]
    styles.sort(key=lambda name: (groups[name][known[0]].value if known[0] in groups[name] else math.inf, name))
    rows = [*styles, "all"]
    with drawing(path, 6.8, 1.3 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        spread = 0.44 / len(known)
        for number, shown in enumerate(known):
            colour, marker = _COLOURS[number], _MARKERS[number]
            for row, name in enumerate(rows):
                if shown not in groups[name]:
                    continue
                found = groups[name][shown]
                height = row - spread * (number - (len(known) - 1) / 2)
                if not math.isnan(found.low):
                    axes.plot([found.low, found.high], [height] * 2, color=colour, linewidth=1.8, alpha=0.45)
                label = measure(shown).label if name == "all" else None
                axes.plot([found.value], [height], marker, color=colour, markersize=5, label=label, linestyle="none")
        plain_axes(axes)
        axes.axhspan(len(rows) - 1.5, len(rows) - 0.5, color=FAINT, alpha=0.45, linewidth=0)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        if not measure(known[0]).decibels:
            axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.6, len(rows) - 0.5)
        counts = [max(found.count for found in groups[name].values()) for name in rows]
        axes.set_yticks(
            range(len(rows)),
            [f"{style_name(name)}  ({count})" for name, count in zip(rows, counts, strict=True)],
            color=INK,
        )
        figure.legend(frameon=False, fontsize=8.5, loc="outside lower center", ncols=len(known))
        title(axes, f"Scores by style, {task}", f"{confidence:.0%} intervals over tracks; tracks in brackets")


def confusion_matrix(path: Path, score: GenreScore) -> None:
    """Draw which genre was taken for which: tracks, shaded by the share of the true genre's row."""
    names, counts = [style_name(name) for name in score.classes], score.confusion
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    side = 2.2 + 0.34 * len(names)
    with drawing(path, side + 0.4, side) as figure:
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="equal")
        for row, column in np.argwhere(counts):
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[row, column] > 0.6 else INK,
                fontweight="bold" if row == column else "normal",
            )
        plain_axes(axes)
        axes.spines["bottom"].set_visible(False)
        ticks = range(len(names))
        axes.set_xticks(ticks, names, rotation=50, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, names)
        axes.set_xticks(np.arange(-0.5, len(names)), minor=True)
        axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
        axes.grid(which="minor", color=FAINT, linewidth=0.6)
        axes.tick_params(which="minor", length=0)
        axes.set_xlabel("answer", fontsize=8.5)
        axes.set_ylabel("truth", fontsize=8.5)
        right = int(np.trace(counts))
        title(axes, "Genres confused", f"{right} of {int(counts.sum())} tracks right, accuracy {score.accuracy:.3f}")


def reliability_bins(
    confidences: NDArray[np.float64], correct: NDArray[np.float64], bins: int = CALIBRATION_BINS
) -> pd.DataFrame:
    """Gather answers by stated confidence, in the bins of the calibration error.

    Returns
    -------
    Columns ``bin`` (from 0), ``count``, ``confidence`` and ``accuracy`` (means), for the bins that hold any answer.
    """
    place = np.clip(np.ceil(np.asarray(confidences) * bins).astype(np.int64) - 1, 0, bins - 1)
    answers = pd.DataFrame({"bin": place, "confidence": confidences, "accuracy": correct})
    table = answers.groupby("bin").agg(
        count=("confidence", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    return table.reset_index()


def reliability(
    path: Path, confidences: NDArray[np.float64], correct: NDArray[np.float64], calibration_error: float
) -> None:
    """Draw the share of right answers against the stated confidence, and how many answers there are of each.

    Parameters
    ----------
    confidences, correct
        Shape (answers,): stated confidence in [0, 1], and 1 where the answer was right.
    calibration_error
        For the title.
    """
    table = reliability_bins(confidences, correct)
    width = 1 / CALIBRATION_BINS
    middles = (table["bin"] + 0.5) * width
    with drawing(path, 4.4, 4.4) as figure:
        rows = figure.add_gridspec(2, 1, height_ratios=[3.4, 1], hspace=0.04)
        upper = figure.add_subplot(rows[0])
        lower = figure.add_subplot(rows[1], sharex=upper)
        for axes in (upper, lower):
            plain_axes(axes)
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
        upper.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)), label="as it should be")
        upper.bar(middles, table["accuracy"], width=0.9 * width, color=BEAT, alpha=0.3)
        upper.plot(table["confidence"], table["accuracy"], "o", color=BEAT, markersize=5, label="the model")
        upper.set_xlim(0, 1)
        upper.set_ylim(0, 1.05)
        upper.tick_params(labelbottom=False)
        upper.set_ylabel("share of right answers", fontsize=8.5)
        upper.legend(frameon=False, fontsize=8.5, loc="upper left")
        lower.bar(middles, table["count"], width=0.9 * width, color=WAVE)
        lower.set_ylabel("answers", fontsize=8.5)
        lower.set_xlabel("stated confidence", fontsize=8.5)
        title(
            upper,
            "Can its confidence be believed?",
            f"calibration error {calibration_error:.3f}, {len(correct)} answers",
        )


def found_within(path: Path, ranks: NDArray[np.float64], candidates: int) -> None:
    """Draw the share of takes whose own beat is among the first so many, and what guessing finds.

    Parameters
    ----------
    ranks
        Shape (takes,): the place of each take's own beat, from 1.
    candidates
        Among how many.
    """
    places = np.arange(1, candidates + 1)
    found = np.searchsorted(np.sort(ranks), places, side="right") / max(ranks.size, 1)
    with drawing(path, 4.8, 3.4) as figure:
        axes = figure.add_subplot()
        axes.plot(places, found, color=BEAT, linewidth=1.8, drawstyle="steps-post", label="the model")
        axes.plot(places, places / candidates, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), label="guessing")
        plain_axes(axes)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        if candidates > 1:
            axes.set_xscale("log")
            axes.set_xlim(1, candidates)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("answers looked at", fontsize=8.5)
        axes.set_ylabel("share of takes", fontsize=8.5)
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")
        title(axes, "How soon does a take find its beat?", f"{ranks.size} takes, {candidates} beats each")
