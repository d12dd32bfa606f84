"""Scores as tables in a terminal: a row a set of recordings, the interval under each score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backbeat.evaluation.measures import NARROW, limits, measure
from backbeat.statistics import Interval

if TYPE_CHECKING:
    from backbeat.evaluation.bench import Result
    from backbeat.evaluation.benchmark import SetScores

TITLES = {
    "beat": "Beats and bars",
    "onset": "Onsets and drums",
    "genre": "Genre",
    "pairing": "Which beat fits",
    "listening": "What to hear next",
    "separation": "Separation",
}


@dataclass(frozen=True)
class Row:
    """One row of scores.

    Parameters
    ----------
    label, tracks
        What was scored: the set's name and how many of its tracks.
    scores
        By measure.
    peer
        Whether these are another program's, set beside ours.
    """

    label: str
    tracks: int
    scores: Mapping[str, Interval] = field(default_factory=dict)
    peer: bool = False


def rows_of(scored: Sequence[SetScores]) -> list[Row]:
    """Give the rows of one task's sets: the model's, and under it the peer's where it competes."""
    from backbeat.evaluation.benchmark import PEER

    rows = []
    for found in scored:
        rows.append(Row(found.name, found.known, found.groups["all"]))
        if found.peer:
            rows.append(Row(PEER, found.known, found.peer, peer=True))
    return rows


def score_table(task: str, rows: Sequence[Row]) -> Table:
    """Tabulate one task's scores, each with its interval under it; measures that no row has are left out."""
    shown = [name for name in NARROW[task] if any(name in row.scores for row in rows)]
    table = Table(
        title=TITLES[task],
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    table.add_column("")
    table.add_column("tracks", justify="right", vertical="top")
    for name in shown:
        table.add_column(measure(name).short, justify="right", vertical="bottom")
    for row in rows:
        cells = [_cell(name, row.scores.get(name), row.peer) for name in shown]
        label = Text(f"  {row.label}", style="dim") if row.peer else Text(row.label, style="bold")
        table.add_row(label, "" if row.peer else str(row.tracks), *cells)
    return table


def print_bench(console: Console, results: Sequence[Result], confidence: float) -> None:
    """Print a benchmark: a table a kind and set, scores with speed and memory beside them; the whole analysis last."""
    versions = ", ".join(f"{name} {version}" for name, version in {one.program: one.version for one in results}.items())
    console.print(f"[dim]{versions}; under each score its {confidence:.0%} interval over recordings", soft_wrap=True)
    for kind, set_name in dict.fromkeys((result.kind, result.set) for result in results):
        chosen = [result for result in results if (result.kind, result.set) == (kind, set_name)]
        length = f"{chosen[0].tracks} recordings, {chosen[0].audio_s / 60:.0f} minutes"
        heading = "Everything" if kind == "analysis" else f"{TITLES[kind]}: {set_name}"
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column("")
        shown = [name for name in NARROW.get(kind, ()) if any(name in result.scores for result in chosen)]
        for name in shown:
            table.add_column(measure(name).short, justify="right", vertical="bottom")
        table.add_column("s per s", justify="right", vertical="bottom")
        table.add_column("MiB", justify="right", vertical="bottom")
        for result in chosen:
            ours = result.program == "backbeat"
            cells = [_cell(name, result.scores.get(name), not ours) for name in shown]
            label = Text(result.program, style="bold" if ours else "dim")
            table.add_row(label, *cells, f"{result.real_time_factor:.4f}", f"{result.peak_bytes / 2**20:.0f}")
        console.print(f"[bold]{heading}[/bold] [dim]({length})")
        console.print(table)
        console.print()


def print_scores(console: Console, scored: Sequence[SetScores], confidence: float) -> None:
    """Print a table a task, with what to know when reading it."""
    console.print(f"[dim]under each score: its {confidence:.0%} interval over tracks")
    for task in dict.fromkeys(found.task for found in scored):
        sets = [found for found in scored if found.task == task]
        console.print(score_table(task, rows_of(sets)))
        for found in sets:
            if found.note:
                console.print(Text(f"{found.name}: {found.note}", style="dim"))
        console.print()


def _cell(name: str, found: Interval | None, peer: bool) -> Text:
    if found is None or found.value != found.value:
        return Text("–\n", style="dim")
    value = Text(measure(name).written(found.value), style="" if peer else "bold")
    return value.append(f"\n{limits(found, measure(name).decibels)}", style="dim not bold")
