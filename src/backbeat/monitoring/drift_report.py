"""The report of a check for drift: the verdict, a picture of each column that has drifted, then the table of all."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbeat.files import atomic_path, write_json, write_text
from backbeat.look import BEAT, FAINT, WAVE, data_uri, drawing, plain_axes, title
from backbeat.monitoring.comparing import METHODS, Sample, evidently_run, quiet_evidently
from backbeat.monitoring.drift import distinct
from backbeat.monitoring.judging import asked
from backbeat.pages import render

if TYPE_CHECKING:
    import pandas as pd

    from backbeat.monitoring.reference import Reference
    from backbeat.monitoring.verdict import ColumnDrift, Verdict
    from backbeat.statistics import Interval

PAGE, VERDICT, EVIDENTLY = "drift.html", "drift.json", "evidently.html"
#: Pictures of so many columns at most, those that are furthest first.
_MOST_PICTURES = 12
#: Names on a picture at most; the others stand together.
_MOST_NAMES = 12
_ESTIMATES = {"genre_accuracy": "genres right", "beat_f": "beats F"}
_TESTS = {"number": "Kolmogorov-Smirnov, Wasserstein", "name": "chi-square, Jensen-Shannon"}


def plain(verdict: Verdict, estimated: Mapping[str, Interval]) -> dict[str, Any]:
    """Return what a check found as JSON has it, with what the models' confidence lets expect ("estimated")."""
    return {**verdict.to_dict(), "estimated": {name: one.to_dict() for name, one in estimated.items()}}


def write_report(
    verdict: Verdict,
    estimated: Mapping[str, Interval],
    rows: pd.DataFrame,
    reference: Reference,
    folder: Path,
    *,
    evidently: bool = False,
) -> Path:
    """Write drift.html and drift.json of a verdict into `folder`, and return the page.

    Parameters
    ----------
    verdict, estimated
        Of `drift.check` and `performance.estimate`.
    rows, reference
        What both were found in.
    folder
        Made where there is none.
    evidently
        Whether to write Evidently's own page as well, evidently.html (4 MB), of what was judged; the page links it.
    """
    now, before = asked(distinct(rows), reference.runs), asked(reference.table, None)
    samples = {
        column.name: Sample(column.kind, now[column.name].values, before[column.name].values)
        for column in verdict.columns
        if column.p is not None
    }
    drifted = [column for column in verdict.columns if column.drift and column.name in samples]
    drifted.sort(key=lambda column: -(column.distance or 0))
    write_json(folder / VERDICT, plain(verdict, estimated))
    if evidently and samples:
        _write_evidently(folder / EVIDENTLY, samples, verdict)
    page = render(
        "backbeat.monitoring",
        PAGE,
        verdict=verdict,
        headline=_headline(verdict),
        expected=[
            {"label": _ESTIMATES[name], "value": str(one)}
            for name, one in estimated.items()
            if not math.isnan(one.value)
        ],
        pictures=[_picture(column, samples[column.name]) for column in drifted[:_MOST_PICTURES]],
        columns=[_line(column) for column in verdict.columns],
        facts=_facts(verdict, reference),
        evidently=EVIDENTLY if evidently and samples else None,
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _headline(verdict: Verdict) -> str:
    return {True: "Drift", False: "No drift", None: "Not judged"}[verdict.drift]


def _line(column: ColumnDrift) -> dict[str, str]:
    """Return a column's row of the table, as text."""
    return {
        "name": column.name,
        "group": column.group,
        "test": _TESTS[column.kind],
        "p": _number(column.p, "{:.2g}"),
        "distance": _number(column.distance, "{:.3f}"),
        "missing": _number(column.missing_distance, "{:.3f}"),
        "count": f"{column.now} / {column.before}",
        "state": {True: "drifted", False: "", None: "not judged"}[column.drift],
        "reason": column.reason,
    }


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _facts(verdict: Verdict, reference: Reference) -> list[tuple[str, str]]:
    """Return what is to be known of both sides, as names and texts."""

    def moment(at: float) -> str:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) + " UTC"

    facts = [("judged", moment(verdict.at))]
    if verdict.rows:
        facts.append(("traffic", f"{verdict.rows} files, {moment(verdict.window[0])} to {moment(verdict.window[1])}"))
    corpora = ", ".join(
        f"{name} ({told['tracks']} tracks)" for name, told in reference.about.get("corpora", {}).items()
    )
    facts.append(("reference", f"{len(reference.table)} tracks" + (f": {corpora}" if corpora else "")))
    for task, thread in reference.about.get("models", {}).items():
        facts.append((task, f"{thread['name']} {thread['version']}, run {thread['run'] or 'not tracked'}"))
    if verdict.settings is not None:
        meant = "the chance of drift being called where there is none, at most"
        facts.append(("level", f"{verdict.settings.level:g}: {meant}"))
    return facts


def _picture(column: ColumnDrift, sample: Sample) -> dict[str, str]:
    """Draw how a column is spread on both sides."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "column.svg"
        with drawing(path, 4.6, 2.3) as figure:
            axes = figure.add_subplot()
            (_bars if column.kind == "name" else _histograms)(axes, sample)
            plain_axes(axes)
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.set_ylabel("share of files", fontsize=8)
            axes.legend(frameon=False, fontsize=8)
            title(axes, column.name)
        uri = data_uri(path)
    far = f"{METHODS[column.kind].distance} {_number(column.distance, '{:.2f}')}"
    caption = f"{column.reason} changed: {far}, p {_number(column.p, '{:.1g}')}"
    return {"uri": uri, "caption": caption, "name": column.name}


def _histograms(axes: Any, sample: Sample) -> None:
    low, high = np.quantile(np.concatenate([sample.before, sample.now]), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 31)
    for values, label, colour in ((sample.before, "reference", WAVE), (sample.now, "now", BEAT)):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values.clip(edges[0], edges[-1]), bins=edges, weights=weights, alpha=0.6, color=colour, label=label)


def _bars(axes: Any, sample: Sample) -> None:
    names, shares = _shares(sample)
    places = np.arange(len(names))
    for side, (label, colour) in enumerate((("reference", WAVE), ("now", BEAT))):
        axes.bar(places + 0.4 * side - 0.2, shares[side], 0.4, color=colour, label=label)
    axes.set_xticks(places, names, rotation=35 if len(names) > 3 else 0, ha="right" if len(names) > 3 else "center")


def _shares(sample: Sample) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names that are most common on either side, and their shares there, shape (2, names)."""
    known = [_counted(values) for values in (sample.before, sample.now)]
    names = sorted({*known[0], *known[1]}, key=lambda name: -max(side.get(name, 0.0) for side in known))
    shown, rest = names[:_MOST_NAMES], names[_MOST_NAMES:]
    shares = [[side.get(name, 0.0) for name in shown] for side in known]
    if rest:
        shown = [*shown, "others"]
        for line, side in zip(shares, known, strict=True):
            line.append(sum(side.get(name, 0.0) for name in rest))
    return shown, np.array(shares)


def _counted(values: NDArray[Any]) -> dict[str, float]:
    """Return the share of each name."""
    names, counts = np.unique(values, return_counts=True)
    return {str(name): float(count) / len(values) for name, count in zip(names, counts, strict=True)}


def _write_evidently(path: Path, samples: dict[str, Sample], verdict: Verdict) -> None:
    settings = verdict.settings
    if settings is None:
        return
    least = {kind: settings.least(kind) for kind in METHODS}
    run = evidently_run(samples, settings.level / 2, least)
    with quiet_evidently(), atomic_path(path) as temporary:
        run.save_html(str(temporary))
