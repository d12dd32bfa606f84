"""`backbeat probe` and `backbeat models`: what a file is, and which models there are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from backbeat.audio import AudioInfo

PROBE_EPILOG = "Example: [bold]backbeat probe song.m4a --json[/bold]"


def probe(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what an audio file is, by its headers alone: codec, rate, depth, channels, length, tags."""
    from backbeat.audio import probe as probe_file

    info = probe_file(path)
    if as_json:
        value = asdict(info) | {"path": str(path), "channel_names": list(info.channel_names)}
        typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
        return
    from rich.console import Console

    Console(highlight=False).print(_table(_facts(info)))


def _facts(info: AudioInfo) -> list[tuple[str, str]]:
    from backbeat.analysis.plots import clock

    names = f" ({' '.join(info.channel_names)})" if info.channel_names else ""
    length = (
        "not known before decoding"
        if info.duration_s is None
        else f"{clock(info.duration_s)} ({info.duration_s:.3f} s)"
    )
    facts = [
        ("file", str(info.path)),
        ("codec", f"{info.codec} in {info.container}"),
        ("rate", f"{info.sample_rate_hz:,} Hz" + ("" if info.bit_depth is None else f", {info.bit_depth} bits")),
        ("channels", f"{info.channels}{names}"),
        ("length", length),
        ("size", f"{info.size_bytes:,} bytes"),
    ]
    return facts + sorted(info.tags.items())


def _table(rows: list[tuple[str, str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


models_app = typer.Typer(no_args_is_help=True, help="The models that come with Backbeat, or that you trained.")


@models_app.command("list", epilog="Example: [bold]backbeat models list models/[/bold]")
def list_models(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="A folder of model folders; the models in the package when left out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole specifications as JSON.")] = False,
) -> None:
    """List models: version, the data they learned from, the run that made them, and their scores."""
    from backbeat.analysis.analyzer import shipped_models
    from backbeat.errors import ModelError
    from backbeat.model import SPEC, load_spec

    if folder is None:
        candidates = list(shipped_models().values())
    else:
        candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    folders = [candidate for candidate in candidates if (candidate / SPEC).is_file()]
    if not folders:
        where = "the package" if folder is None else folder
        raise ModelError(f"{where}: holds no models; train them with `dvc repro`")
    specs = [load_spec(one) for one in folders]
    if as_json:
        typer.echo(json.dumps([spec.to_dict() for spec in specs], ensure_ascii=False, indent=2))
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
        console.print(_table(rows))
