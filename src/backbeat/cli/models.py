"""`backbeat models`: which models there are, and bringing those that separate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.cli.probing import facts_table

if TYPE_CHECKING:
    from backbeat.download import Progress

models_app = typer.Typer(
    no_args_is_help=True, help="The models that come with Backbeat, that you trained, or that separate."
)

_NAME_OR_FOLDER = Annotated[str, typer.Argument(metavar="MODEL", help="spleeter:4stems, say, or a model folder.")]
_NAME = Annotated[str, typer.Argument(metavar="MODEL", help="spleeter:2stems, spleeter:4stems or spleeter:5stems.")]


@models_app.command("list", epilog="Example: [bold]backbeat models list models/[/bold]")
def list_models(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]", help="A folder of model folders; when left out, the package's and those pulled."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole specifications as JSON.")] = False,
) -> None:
    """List models: version, the data they learned from, the run that made them, and their scores."""
    from backbeat.analysis.analyzer import shipped_models
    from backbeat.errors import ModelError
    from backbeat.model import SPEC, load_spec, task_of
    from backbeat.separation.store import TASK as SEPARATION
    from backbeat.separation.store import installed, read_spec

    if folder is None:
        candidates = list(shipped_models().values())
    else:
        candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    folders = [candidate for candidate in candidates if (candidate / SPEC).is_file()]
    if not folders:
        where = "the package" if folder is None else folder
        raise ModelError(f"{where}: holds no models; train them with `dvc repro`")
    separators = installed() if folder is None else [one for one in folders if task_of(one) == SEPARATION]
    folders = [one for one in folders if one not in separators]
    specs = [load_spec(one) for one in folders]
    if as_json:
        told = [spec.to_dict() for spec in specs] + [read_spec(one).to_dict() for one in separators]
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for number, (spec, where_found) in enumerate(zip(specs, folders, strict=True)):
        scores = "  ".join(f"{name} {value:.3f}" for name, value in spec.metrics.items())
        rows = [("model", f"{spec.name} {spec.version}"), ("task", spec.task), ("folder", str(where_found))]
        rows += [("data", spec.data_hash or "not recorded"), ("run", spec.run or "not tracked")]
        rows += [("commit", spec.commit or "not recorded"), ("licence", spec.licence or "not stated")]
        rows += [("scores", f"{scores}  (validation)" if scores else "none")]
        if number:
            console.print()
        console.print(facts_table(rows))
    for one in separators:
        console.print()
        try:
            spec_of = read_spec(one)
        except ModelError as error:
            console.print(facts_table([("model", "damaged"), ("folder", str(one)), ("cause", str(error))]))
            continue
        rows = [("model", f"{spec_of.name} {spec_of.version}"), ("task", "separation"), ("folder", str(one))]
        rows += [("stems", ", ".join(spec_of.network.instruments)), ("licence", spec_of.licence or "not stated")]
        if spec_of.run or spec_of.data_hash:
            rows += [("data", spec_of.data_hash), ("run", spec_of.run or "not tracked"), ("commit", spec_of.commit)]
        rows += [(f"{name} (validation)", f"{value:.2f}") for name, value in spec_of.metrics.items()]
        console.print(facts_table([*rows, *spec_of.provenance.items()]))


@models_app.command(
    "pull",
    epilog="Examples: [bold]backbeat models pull spleeter:4stems[/bold]; "
    "[bold]backbeat models pull spleeter:2stems --from 2stems.tar.gz[/bold]",
)
def pull_model(
    name: _NAME,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="PATH", help="An archive or checkpoint folder that is here already."),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the archives are, in place of Spleeter's release page. BACKBEAT_SPLEETER_URL when left out.",
            show_default=False,
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The hash of the checkpoint's data, where it is not the official model's."),
    ] = None,
    progress: Annotated[bool, typer.Option(help="Whether to show a progress bar.")] = True,
) -> None:
    """Bring the weights of a Spleeter model: download, check and import them.

    A download that broke off goes on where it was. Proxies are taken from HTTPS_PROXY.
    """
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    from backbeat.separation.store import pull

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), transient=True, disable=not (progress and sys.stderr.isatty())) as bar:
        task = bar.add_task(name, total=None)
        told: Progress = lambda _, have, total: bar.update(task, completed=have, total=total)  # noqa: E731
        folder = pull(name, source=source, mirror=mirror, sha256=sha256, progress=told)
    typer.echo(f"{name}: {folder.name} in {folder}")


@models_app.command("validate", epilog="Example: [bold]backbeat models validate spleeter:4stems[/bold]")
def validate_model(name: _NAME_OR_FOLDER) -> None:
    """Check that the weights of a model are those that were imported, and that they load."""
    from backbeat.separation.store import locate, validate

    spec = validate(locate(name))
    typer.echo(f"{spec.name} {spec.version}: whole, as imported")


@models_app.command("remove", epilog="Example: [bold]backbeat models remove spleeter:4stems@1.4.0-3823e0ef[/bold]")
def remove_model(name: _NAME) -> None:
    """Remove a model that was pulled; with @VERSION that one, else the latest."""
    from backbeat.separation.store import find, remove

    folder = find(name)
    remove(folder)
    typer.echo(f"{name}: {folder.name} is removed")
