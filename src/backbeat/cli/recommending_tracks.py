"""`backbeat recommend tracks`: what to hear next."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backbeat.recommend.tracks import TrackAnswer

EPILOG = """[bold]Examples[/bold]

backbeat recommend tracks --like night-drive --like blue-hour

backbeat recommend tracks --user anna --count 20

backbeat recommend tracks --user anna --label house --tempo-range 118-128 --diversity 0.3

backbeat recommend tracks --user anna --method hybrid --model models/listening --json
"""


def tracks(
    user: Annotated[
        str | None, typer.Option(help="A listener of whom the catalogue has interactions.", show_default=False)
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="ITEM", help="A track that is liked. May be given several times.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many tracks.")] = 10,
    method: Annotated[
        str,
        typer.Option(
            help="Who recommends: popularity, content, collaborative, poisson, deep, hybrid, or auto for the best that "
            "what is known allows."
        ),
    ] = "auto",
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only tracks of this style. May be given several times.", show_default=False),
    ] = None,
    tempo_range: Annotated[
        str | None,
        typer.Option(metavar="LOW-HIGH", help="Only tracks of such a tempo, beats a minute.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="ITEM", help="A track to leave out. May be given several times.", show_default=False),
    ] = None,
    heard: Annotated[bool, typer.Option("--heard", help="Also tracks that the listener knows.")] = False,
    diversity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="0: the likeliest; 1: as unlike each other as can be.")
    ] = 0.0,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A trained listening model, such as models/listening.", show_default=False),
    ] = None,
    catalogue: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Of the catalogue: a folder, or postgresql://...", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recommend the next tracks for a listener, or for what somebody likes.

    Without a model, which `dvc repro` trains, the choice goes by what others heard, by sound or by popularity; each
    answer says by which.
    """
    from backbeat.cli.recommending import parse_tempo_range
    from backbeat.recommend.catalogue import Catalogue
    from backbeat.recommend.tracks import TrackFilters, TrackRecommender

    if user is None and not like and method not in ("auto", "popularity"):
        raise ConfigError(f"{method} goes by what a listener likes: give --user or --like")
    filters = TrackFilters(
        labels=tuple(label or ()),
        tempo_range=None if tempo_range is None else parse_tempo_range(tempo_range),
        exclude=tuple(exclude or ()),
        heard=heard,
    )
    loaded = None
    if model is not None:
        from backbeat.listening.model import ListeningModel

        loaded = ListeningModel.from_folder(model)
    with Catalogue.open(catalogue) as opened:
        answers = TrackRecommender(opened, loaded).recommend(
            user=user, likes=tuple(like or ()), count=count, method=method, filters=filters, diversity=diversity
        )
    if as_json:
        value = {"user": user, "likes": like or [], "answers": [answer.to_dict() for answer in answers]}
        sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
        return
    from rich.console import Console

    Console(file=sys.stdout, highlight=False).print(told(answers))


def told(answers: Sequence[TrackAnswer]) -> RenderableType:
    """Return answers as people read them in a terminal: a table, and why below it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("track", style="bold", overflow="fold")
    for name in ("artist", "style"):
        table.add_column(name)
    table.add_column("bpm", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    why = Table.grid(padding=(0, 2, 0, 0))
    why.add_column(justify="right", style="dim")
    for number, answer in enumerate(answers, 1):
        item, tempo = answer.item, answer.item.descriptors.tempo_bpm
        shown = (str(number), item.title or item.id, item.artist, item.label)
        bpm = "" if tempo is None else f"{tempo:.0f}"
        table.add_row(*(Text(one) for one in shown), Text(bpm), Text(f"{answer.score:.2f}"))
        why.add_row(str(number), Text(answer.reason))
    return Group(Text(f"by {answers[0].method}"), table, why)
