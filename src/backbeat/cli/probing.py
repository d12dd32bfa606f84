"""`backbeat probe`: what a file is."""

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

    Console(highlight=False).print(facts_table(_facts(info)))


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


def facts_table(rows: list[tuple[str, str]]) -> Any:
    """Lay names and values out in two columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table
