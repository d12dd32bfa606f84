"""`backbeat trace`: from an answer of the service back to its models, their runs, their code and their data."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.cli.probing import facts_table

if TYPE_CHECKING:
    from backbeat.monitoring.trace import Answer

EPILOG = (
    "Examples: [bold]backbeat trace 3f2a9c51d0b84f6e[/bold]; "
    "[bold]backbeat trace 3f2a9c51d0b84f6e --database postgresql+psycopg://... --registry http://mlflow:5000[/bold]"
)


def trace(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The header X-Request-ID of the answer.")],
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="BACKBEAT_MONITORING__DATABASE",
            help="The service's monitoring database; SQLite in --state when left out.",
            show_default=False,
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            envvar="BACKBEAT_MONITORING__STATE",
            help="The service's folder of state; state/ here when left out.",
            show_default=False,
        ),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow's registry, which tells the parameters; mlflow.db here, if there is one, when left out.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell where an answer comes from: model, version, run, commit, parameters, data and its licences.

    BACKBEAT_MONITORING names the file of settings of `backbeat monitor`, where there is one.
    """
    from backbeat.monitoring.settings import load_monitoring
    from backbeat.monitoring.trace import trace as find
    from backbeat.registry import Registry

    known = load_monitoring()
    settings = replace(known, database=database or known.database, state=str(state or known.state))
    uri = registry or ("sqlite:///mlflow.db" if Path("mlflow.db").is_file() else None)
    with closing(settings.open_store(make=False)) as store:
        answers = find(store, request_id, Registry(uri, make=False) if uri else None)
    if as_json:
        told = [{**asdict(answer), "at": answer.at.isoformat()} for answer in answers]
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    _show(answers)


def _show(answers: list[Answer]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for answer in answers:
        console.print(
            facts_table(
                [
                    ("request", f"{answer.request_id}, file {answer.item}, {answer.route}"),
                    ("answered", f"{answer.at:%Y-%m-%d %H:%M:%S} UTC"),
                    ("recording", f"sha256 {answer.sha256}" if answer.sha256 else "not known"),
                ]
            )
        )
        for origin in answer.origins:
            console.print()
            rows = [
                (origin.task, f"{origin.name} {origin.version}, from the {origin.source}"),
                ("run", origin.run or "not tracked"),
                ("commit", origin.commit or "not recorded"),
                *(("data", f"{corpus} {digest}") for corpus, digest in origin.data.items()),
                ("licence", origin.licence or "not stated"),
                ("parameters", f"told by {origin.parameters_of}"),
                *((f"  {name}", value) for name, value in sorted(origin.parameters.items())),
            ]
            console.print(facts_table(rows))
