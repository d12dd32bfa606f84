"""`backbeat models`, as far as it asks the registry: registering, promoting, going back, and what became of it all."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from backbeat.registry import Event, Registry, Version

registered_app = typer.Typer()

_REGISTRY = Annotated[
    str,
    typer.Option(metavar="URI", envvar="MLFLOW_TRACKING_URI", help="MLflow's tracking URI, where versions are kept."),
]
_TASK = Annotated[str, typer.Argument(help="beat, onset, genre, pairing or listening.")]
_WHY = Annotated[str, typer.Option("--why", metavar="TEXT", help="In a few words; kept in the history.")]
_INSTEAD_OF = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION",
        help="The champion that you know of, or `none`: refused if it is another by now. When left out, whichever.",
        show_default=False,
    ),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DEFAULT = "sqlite:///mlflow.db"


@registered_app.command(
    "register",
    epilog="Examples: [bold]backbeat models register models/beat[/bold]; "
    "[bold]backbeat models register models/genre --promote --registry http://localhost:5000[/bold]",
)
def register_models(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders of trained models.")],
    promote: Annotated[bool, typer.Option("--promote", help="Make each the champion of its task.")] = False,
    why: _WHY = "registered with --promote",
    registry: _REGISTRY = _DEFAULT,
) -> None:
    """Register trained models, by the runs that made them: each becomes the next version of its task.

    What was registered before stays the version that it is.
    """
    from backbeat.registry import Registry

    versions = Registry(registry)
    for folder in folders:
        made = versions.register(folder)
        if promote and (now := versions.standing(made.task)) != made.version:
            versions.promote(made, instead_of=now, why=why)
        typer.echo(f"{folder}: {made.name}{', the champion' if promote else ''} of {registry}")


@registered_app.command("versions", epilog="Example: [bold]backbeat models versions beat[/bold]")
def list_versions(task: _TASK, as_json: _JSON = False, registry: _REGISTRY = _DEFAULT) -> None:
    """List the registered versions of a task, newest first, and which is champion and challenger."""
    versions = _opened(registry)
    found = versions.versions(task)
    challenger = versions.challenger(task)
    roles = {challenger.version: "challenger"} if challenger else {}
    if champion := versions.standing(task):
        roles[champion] = "champion"
    if as_json:
        told = [
            {**asdict(one), "registered": one.registered.isoformat(), "role": roles.get(one.version)} for one in found
        ]
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    table = _table("version", "", "registered", "commit", "trained by", "scores (validation)")
    for one in found:
        scores = "\n".join(f"{name} {value:.3f}" for name, value in one.metrics.items())
        when = f"{one.registered:%Y-%m-%d %H:%M}"
        table.add_row(one.version, roles.get(one.version, ""), when, one.commit[:8], one.trained_by[:8], scores)
    if found:
        _print(table)
    else:
        typer.echo(f"no version of {task} is registered: `backbeat models register FOLDER`")


@registered_app.command(
    "promote",
    epilog='Examples: [bold]backbeat models promote beat 3 --why "better on live drums"[/bold]; '
    '[bold]backbeat models promote beat 3 --instead-of 2 --why "won against 2"[/bold]',
)
def promote_model(
    task: _TASK,
    version: Annotated[str, typer.Argument(help="The number that the registry gave.")],
    why: _WHY,
    instead_of: _INSTEAD_OF = None,
    registry: _REGISTRY = _DEFAULT,
) -> None:
    """Make a registered version the champion of its task: services that follow the registry take it up in seconds."""
    versions = _opened(registry)
    made = versions.get(task, version)
    known = versions.standing(task) if instead_of is None else None if instead_of == "none" else instead_of
    _say(versions.promote(made, instead_of=known, why=why))


@registered_app.command(
    "rollback", epilog='Example: [bold]backbeat models rollback beat --why "too many octave errors"[/bold]'
)
def roll_back(task: _TASK, why: _WHY, instead_of: _INSTEAD_OF = None, registry: _REGISTRY = _DEFAULT) -> None:
    """Make the champion before the present one champion again; once more goes back further."""
    _say(_opened(registry).rollback(task, why=why, instead_of=instead_of))


@registered_app.command("history", epilog="Example: [bold]backbeat models history beat[/bold]")
def show_history(task: _TASK, as_json: _JSON = False, registry: _REGISTRY = _DEFAULT) -> None:
    """Tell what was decided of a task's champions, newest first: what, when, by whom and why.

    MLflow's alias `champion` follows this history; where it was moved by hand, it is set back.
    """
    versions = _opened(registry)
    events, champion = versions.history(task), versions.standing(task)
    if as_json:
        typer.echo(json.dumps([event.to_dict() for event in events], ensure_ascii=False, indent=2))
    elif events:
        _print(_events(events))
    changes = [event for event in events if event.action != "refuse"]
    before = changes[-1].instead_of if changes else champion
    if before and not as_json:
        typer.echo(f"{task} {before} was made the champion before there was a history")
    elif not events and not as_json:
        typer.echo(f"{task} has had no champion: `backbeat models promote {task} VERSION --why TEXT` makes one")
    strayed = versions.settle(task)
    if strayed is not None:
        typer.echo(
            f"the alias `champion` was at {strayed or 'nothing'}, moved by hand or left there by a promotion that was "
            f"stopped: it is at {champion} again; only `backbeat models promote {task} VERSION --why TEXT` promotes",
            err=True,
        )


@registered_app.command(
    "diff",
    epilog="Examples: [bold]backbeat models diff beat 2 3[/bold]; "
    "[bold]backbeat models diff beat champion challenger --json[/bold]",
)
def show_difference(
    task: _TASK,
    first: Annotated[str, typer.Argument(metavar="A", help="A version, or `champion`, or `challenger`.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The one to compare it with.")],
    as_json: _JSON = False,
    registry: _REGISTRY = _DEFAULT,
) -> None:
    """Tell in what two versions differ: scores, commit, licence, data and parameters."""
    versions = _opened(registry)
    one, other = (_resolved(versions, task, word) for word in (first, second))
    found = versions.diff(one, other)
    if as_json:
        told = {"a": one.version, "b": other.version, "differences": [asdict(row) for row in found]}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    table = _table("", "", one.name, other.name, "change")
    for row in found:
        change = "" if row.change is None else f"{row.change:+.3g}"
        table.add_row(row.kind, row.name, row.before or "", row.after or "", change)
    if found:
        _print(table)
    else:
        typer.echo(f"{one.name} and {other.name} do not differ in what is registered of them")


def _opened(uri: str) -> Registry:
    """Open a registry that is there: to ask one that is not would leave an empty one behind."""
    from backbeat.registry import Registry

    return Registry(uri, make=False)


def _resolved(versions: Registry, task: str, word: str) -> Version:
    from backbeat.errors import RegistryError

    if word not in ("champion", "challenger"):
        return versions.get(task, word)
    found = versions.champion(task) if word == "champion" else versions.challenger(task)
    if found is None:
        raise RegistryError(f"{task} has no {word}: `backbeat models versions {task}` lists its versions")
    return found


def _say(event: Event) -> None:
    before = f", in place of {event.instead_of}" if event.instead_of else ""
    typer.echo(f"backbeat-{event.task} {event.version} is the champion{before}")


def _events(events: list[Event]) -> Table:
    """Lay events out, each reason below its facts: it is a sentence, which columns beside it would squeeze."""
    table = _table("", "when (UTC)", "what")
    for event in events:
        instead = f", in place of {event.instead_of}" if event.instead_of else ""
        lines = [f"{event.action} {event.version}{instead}, by {event.who}", event.why]
        lines += [f"evidence: run {event.evidence}"] if event.evidence else []
        table.add_row(str(event.number), f"{event.at:%Y-%m-%d %H:%M}", "\n".join(lines))
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    # What somebody wrote as a reason is text, whatever brackets are in it.
    Console(highlight=False, markup=False, emoji=False).print(table)


def _table(*columns: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        # What is too wide goes on in the next line, or half a hash would be lost in a narrow terminal.
        table.add_column(Text(name), overflow="fold")
    return table
