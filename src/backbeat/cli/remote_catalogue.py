"""`backbeat remote recommend-beat`, `catalogue add` and the like: a service's catalogue, and what it recommends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from backbeat.cli.service import HERE, Key, Url

recommend_app = typer.Typer()
catalogue_app = typer.Typer(no_args_is_help=True, help="The catalogue of a service: list, show, similar, add, remove.")

_ITEM = Annotated[str, typer.Argument(metavar="ITEM", help="Its id in the catalogue.")]
_COUNT = Annotated[int, typer.Option(help="How many.")]
_KIND = Annotated[str | None, typer.Option(metavar="KIND", help="track or beat.", show_default=False)]
_WORDS = Annotated[str, typer.Option(metavar="TEXT", show_default=False)]


@recommend_app.command(
    "recommend-beat",
    epilog="Examples: [bold]backbeat remote recommend-beat take.wav --label house[/bold]; "
    "[bold]backbeat remote recommend-beat --like night-drive[/bold]",
)
def recommend_beat(
    path: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A take, a loop or a song.")] = None,
    like: Annotated[
        str | None, typer.Option(metavar="ITEM", help="An item of the catalogue, in place of a file.")
    ] = None,
    count: _COUNT = 5,
    label: Annotated[list[str] | None, typer.Option(help="A style to choose from; several may be given.")] = None,
    tempo_min: Annotated[float | None, typer.Option(help="Beats a minute.", show_default=False)] = None,
    tempo_max: Annotated[float | None, typer.Option(help="Beats a minute.", show_default=False)] = None,
    max_stretch: Annotated[float | None, typer.Option(help="0.1 is 10 %.", show_default=False)] = None,
    max_transpose: Annotated[int | None, typer.Option(help="Semitones.", show_default=False)] = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Choose the beats that fit a take: a JSON object a line, the best first."""
    from backbeat.client import Client

    asked = {
        "labels": ",".join(label) if label else None,
        "tempo_min": tempo_min,
        "tempo_max": tempo_max,
        "max_stretch": max_stretch,
        "max_transpose": max_transpose,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    with Client(url, key) as client:
        _print(client.recommend_beat(path, like=like, count=count, options=options)["answers"])


@recommend_app.command(
    "recommend-tracks",
    epilog="Examples: [bold]backbeat remote recommend-tracks --user anna[/bold]; "
    "[bold]backbeat remote recommend-tracks --like night-drive --like dawn --diversity 0.3[/bold]",
)
def recommend_tracks(
    user: Annotated[str | None, typer.Option(help="Whose interactions are known.", show_default=False)] = None,
    like: Annotated[list[str] | None, typer.Option(metavar="ITEM", help="Liked; several may be given.")] = None,
    count: _COUNT = 10,
    method: Annotated[
        str, typer.Option(help="auto, hybrid, content, collaborative, poisson, deep, popularity.")
    ] = "auto",
    label: Annotated[list[str] | None, typer.Option(help="A genre to choose from; several may be given.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="ITEM", help="Not this one; several.")] = None,
    diversity: Annotated[float, typer.Option(help="0: the likeliest; 1: as different as can be.")] = 0.0,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Recommend tracks to a user, or to whoever likes some: a JSON object a line, the best first."""
    from backbeat.client import Client

    filters = {"labels": label or [], "exclude": exclude or []}
    options = {"method": method, "filters": filters, "diversity": diversity}
    with Client(url, key) as client:
        _print(client.recommend_tracks(user=user, likes=like or (), count=count, options=options)["answers"])


@recommend_app.command(
    "interactions", epilog="Example: [bold]backbeat remote interactions plays.csv --url https://music.example[/bold]"
)
def interactions(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet: user, item, kind, at.")],
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Tell what listeners did: plays, likes, skips, dislikes, saves."""
    from backbeat.client import Client
    from backbeat.recommend.interactions import read_interactions

    told = [{"user": row.user, "item": row.item, "kind": row.kind, "at": row.at} for row in read_interactions(path)]
    with Client(url, key) as client:
        new = client.tell(told)
    typer.echo(f"{path}: {len(told)} interactions, {new} new")


@recommend_app.command("forget", epilog="Example: [bold]backbeat remote forget anna[/bold]")
def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="As interactions name them.")],
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Have a user forgotten: all that they did is removed."""
    from backbeat.client import Client

    with Client(url, key) as client:
        removed = client.forget_user(user)
    typer.echo(f"{user}: forgotten ({_rows(removed)})")


@catalogue_app.command("list", epilog="Example: [bold]backbeat remote catalogue list --kind beat[/bold]")
def list_items(kind: _KIND = None, url: Url = HERE, key: Key = None) -> None:
    """List the items: a JSON object a line."""
    from backbeat.client import Client

    with Client(url, key) as client:
        _print(client.catalogue_items(kind))


@catalogue_app.command("show", epilog="Example: [bold]backbeat remote catalogue show night-drive[/bold]")
def show(item: _ITEM, url: Url = HERE, key: Key = None) -> None:
    """Show an item with all that was measured of it, as JSON."""
    from backbeat.client import Client

    with Client(url, key) as client:
        typer.echo(json.dumps(client.catalogue_item(item), ensure_ascii=False, indent=2))


@catalogue_app.command("similar", epilog="Example: [bold]backbeat remote catalogue similar night-drive[/bold]")
def similar(item: _ITEM, count: _COUNT = 10, kind: _KIND = None, url: Url = HERE, key: Key = None) -> None:
    """List what sounds most like an item: a JSON object a line."""
    from backbeat.client import Client

    with Client(url, key) as client:
        _print(client.similar(item, count=count, kind=kind))


@catalogue_app.command(
    "add", epilog="Example: [bold]backbeat remote catalogue add loop.wav --kind beat --label house[/bold]"
)
def add(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file.")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="track or beat.")],
    identity: Annotated[
        str | None, typer.Option("--id", help="Made of the title or the file's name when left out.", show_default=False)
    ] = None,
    title: _WORDS = "",
    artist: _WORDS = "",
    label: Annotated[
        str | None, typer.Option(help="Style or genre; as the genre model has it when left out.", show_default=False)
    ] = None,
    source: _WORDS = "",
    licence: _WORDS = "",
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Add a file: the service hears it and describes it."""
    from backbeat.client import Client

    told = {"id": identity, "title": title, "artist": artist, "label": label, "source": source, "licence": licence}
    with Client(url, key) as client:
        added = client.add_to_catalogue(path, kind, about={name: word for name, word in told.items() if word})
    typer.echo(f"{path}: is {added['kind']} {added['id']}")


@catalogue_app.command("remove", epilog="Example: [bold]backbeat remote catalogue remove night-drive[/bold]")
def remove(item: _ITEM, url: Url = HERE, key: Key = None) -> None:
    """Remove an item everywhere."""
    from backbeat.client import Client

    with Client(url, key) as client:
        removed = client.remove_from_catalogue(item)
    typer.echo(f"{item}: removed ({_rows(removed)})")


def _print(answers: Iterable[dict[str, Any]]) -> None:
    for answer in answers:
        typer.echo(json.dumps(answer, ensure_ascii=False))


def _rows(removed: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(removed.items()) if count) or "nothing else"
