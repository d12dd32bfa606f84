"""`backbeat maintenance`: keep the catalogue, caches and models in order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.cli.bars import file_bar
from backbeat.errors import CatalogueError, ModelError

if TYPE_CHECKING:
    from backbeat.analysis.describing import Describer
    from backbeat.listening.factors import FactorSettings
    from backbeat.recommend.catalogue import Catalogue
    from backbeat.recommend.maintenance import Step

maintenance_app = typer.Typer(
    no_args_is_help=True,
    help="Keep the catalogue, caches and models in order.",
    epilog="Examples: [bold]backbeat maintenance prune --dry-run[/bold] (only tells what it would do); "
    "[bold]backbeat maintenance verify[/bold]",
)

#: The models by which what a catalogue keeps is made.
_MADE_BY = ("genre", "pairing", "listening")

_Dry = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]
_Where = Annotated[
    str | None,
    typer.Option(
        "--catalogue",
        metavar="FOLDER|URL",
        help="Its folder, or a database's URL. That of conf/catalogue or BACKBEAT_CATALOGUE__FOLDER when left out.",
        show_default=False,
    ),
]
_State = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="The service's state; that of conf/monitoring when left out.", show_default=False
    ),
]


@maintenance_app.command(
    "reindex",
    epilog="Examples: [bold]backbeat maintenance reindex --dry-run[/bold]; "
    "[bold]backbeat maintenance reindex --model genre=models/genre --model listening=models/listening[/bold]",
)
def reindex(
    dry_run: _Dry = False,
    catalogue: _Where = None,
    state: _State = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=FOLDER",
            help=f"A model of yours in the place of the one in use: {', '.join(_MADE_BY)}. Again for another.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Bring the catalogue to the models as they are now: vectors, indexes, what is learned of interactions.

    After a new model, what the catalogue knows of the old one's vectors stays until `prune`.
    """
    from backbeat.cli.analyzing import parse_models
    from backbeat.model import load_spec
    from backbeat.recommend import maintenance
    from backbeat.recommend.catalogue import Catalogue

    given = parse_models(model or [], _MADE_BY)
    for task, folder in given.items():
        load_spec(folder, task)
    models = maintenance.models_in_use(_shipped(), _state(state)) | given
    with Catalogue.open(catalogue) as opened:
        spaces = maintenance.spaces_of(models)
        _run(maintenance.reindex(opened, spaces, lambda: _describer(models), lambda: _factors(models)), dry_run)


@maintenance_app.command("vacuum", epilog="Example: [bold]backbeat maintenance vacuum[/bold]")
def vacuum(dry_run: _Dry = False, catalogue: _Where = None) -> None:
    """Write the catalogue anew, smaller, with no trace of removed items and users in its files."""
    from backbeat.recommend import maintenance
    from backbeat.recommend.catalogue import Catalogue

    with Catalogue.open(catalogue) as opened:
        _run(maintenance.vacuum(opened), dry_run)


@maintenance_app.command(
    "prune",
    epilog="Examples: [bold]backbeat maintenance prune --dry-run[/bold]; "
    "[bold]backbeat maintenance prune --folder data/corpora --folder models[/bold]",
)
def prune(
    dry_run: _Dry = False,
    folder: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Where corpora and models are made: what was broken off there goes."),
    ] = None,
    catalogue: _Where = None,
    state: _State = None,
) -> None:
    """Throw out what nobody needs: outdated stems, versions fetched before, vectors of models before, leftovers.

    What is younger than a day stays: somebody may be at work on it.
    """
    from backbeat.recommend import maintenance

    opened = _if_there(catalogue)
    try:
        place = _state(state)
        spaces = maintenance.spaces_needed(maintenance.models_in_use(_shipped(), place))
        folders = [Path("data"), Path("data/corpora"), Path("models")] if folder is None else folder
        _run(maintenance.prune(opened, spaces, place, folders), dry_run)
    finally:
        if opened is not None:
            opened.close()


@maintenance_app.command("verify", epilog="Example: [bold]backbeat maintenance verify[/bold]")
def verify(dry_run: _Dry = False, state: _State = None) -> None:
    """Check that the weights of models are what they were as they came; the exit code is 1 where some are not."""
    from backbeat.recommend import maintenance

    wrong = 0
    for checked in maintenance.verify(_shipped(), _state(state), look=not dry_run):
        told = checked.problem or ("would be checked" if dry_run else "as it came")
        typer.echo(f"{checked.what}: {told}", err=bool(checked.problem))
        wrong += bool(checked.problem)
    if wrong:
        raise ModelError(f"{wrong} models are not what they were: get them again")


def _run(steps: Iterable[Step], dry_run: bool) -> None:
    """Tell each step, and do it unless that is all that was asked."""
    planned = list(steps)
    for step in planned:
        if dry_run:
            typer.echo(f"would {step.what}")
            continue
        with file_bar(step.what) as show:
            done = step.do(show)
        typer.echo(f"{step.what}: {done}")
    if not planned:
        typer.echo("nothing to do")


def _if_there(where: str | None) -> Catalogue | None:
    """Return the catalogue; None where none was named and there is none in the usual place."""
    from backbeat.recommend.catalogue import Catalogue

    try:
        return Catalogue.open(where)
    except CatalogueError:
        if where is not None:
            raise
        return None


def _shipped() -> Path:
    from backbeat.analysis.analyzer import shipped_models

    return next(iter(shipped_models().values())).parent


def _state(state: Path | None) -> Path:
    from backbeat.monitoring.settings import load_monitoring

    return Path(load_monitoring().state) if state is None else state


def _describer(models: dict[str, Path]) -> Describer:
    import torch

    from backbeat.analysis.describing import Describer
    from backbeat.analysis.result import TASKS

    torch.set_num_threads(1)  # `Analyzer` says why
    return Describer.load({task: models[task] for task in (*TASKS, "pairing") if task in models})


def _factors(models: dict[str, Path]) -> FactorSettings | None:
    """Return how the listening model's blend was learnt; None where there is no such model."""
    if "listening" not in models:
        return None
    from backbeat.listening.model import ListeningModel

    return ListeningModel.from_folder(models["listening"]).factors
