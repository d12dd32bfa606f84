"""`backbeat bench`: ours and other programs on annotated recordings, side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """[bold]Examples[/bold]

backbeat bench recordings/

backbeat bench recordings/ --plot bench.png --output bench.json
"""


def bench(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Annotated recordings: a corpus, a genre tree, audio with .beats..."),
    ],
    models: Annotated[
        Path | None, typer.Option(help="A folder of model folders; the models in the package when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the JSON here as well.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture (.png, .svg, .pdf).")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Compare with librosa, and with essentia and aubio where they are installed: scores, speed and memory in one run.

    Every program hears the same files in a process of its own; its time includes decoding and excludes loading.
    """
    from backbeat.analysis.analyzer import shipped_models
    from backbeat.corpus.sources import evaluation_sets
    from backbeat.errors import ConfigError
    from backbeat.evaluation.bench import bench as run
    from backbeat.evaluation.bench import draw
    from backbeat.evaluation.scoring import EvaluationSettings
    from backbeat.files import write_text
    from backbeat.look import PICTURE_SUFFIXES

    if plot is not None and plot.suffix.lower() not in PICTURE_SUFFIXES:
        raise ConfigError(f"--plot {plot}: a picture is one of {', '.join(PICTURE_SUFFIXES)}")
    settings = EvaluationSettings(0.95, 2000, 7, pictures=0)
    where = next(iter(shipped_models().values())).parent if models is None else models
    results = run(evaluation_sets(folder), where, settings, threads=threads, told=_tell)
    text = json.dumps([result.to_dict() for result in results], ensure_ascii=False, indent=2, allow_nan=False)
    if output is not None:
        write_text(output, text + "\n")
    if plot is not None:
        draw(plot, results, settings.confidence)
    if as_json:
        typer.echo(text)
        return
    from rich.console import Console

    from backbeat.evaluation.tables import print_bench

    print_bench(Console(highlight=False), results, settings.confidence)


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"{what}\n")
