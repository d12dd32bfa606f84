"""`backbeat evaluate`: trained models on annotated recordings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

EPILOG = """[bold]Examples[/bold]

backbeat evaluate recordings/ --models models/

backbeat evaluate recordings/ --task beat --tracks beats.csv --json
"""


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Annotated recordings: a corpus, a genre tree, audio with .beats..."),
    ],
    models: Annotated[
        Path | None, typer.Option(help="A folder of model folders; the models in the package when left out.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only beat, onset or genre. May be given for each.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: an array of one object a task and set.")] = False,
    tracks: Annotated[Path | None, typer.Option(help="Write the scores of each track as a table (.csv).")] = None,
    peer: Annotated[bool, typer.Option(help="Set librosa's detectors beside ours.")] = True,
    confidence: Annotated[float, typer.Option(help="Of the intervals, between 0 and 1.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Draws of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 7,
) -> None:
    """Score models on annotated recordings, with confidence intervals."""
    from backbeat.analysis.analyzer import shipped_models
    from backbeat.corpus.sources import evaluation_sets
    from backbeat.dataset import TASKS
    from backbeat.errors import ConfigError
    from backbeat.evaluation.benchmark import load_models, score_sets
    from backbeat.evaluation.scoring import EvaluationSettings

    if tracks is not None and tracks.suffix.lower() != ".csv":
        raise ConfigError(f"--tracks {tracks}: a table is a .csv")
    settings = EvaluationSettings(confidence, resamples, seed, pictures=0)
    where = next(iter(shipped_models().values())).parent if models is None else models
    loaded = load_models(where, task or TASKS)
    scored = score_sets(loaded, evaluation_sets(folder), settings, peer=peer, progress=_progress)
    if not scored:
        raise ConfigError(f"{folder}: holds nothing annotated for {' or '.join(loaded)} in a way the models know")
    if tracks is not None:
        import pandas as pd

        from backbeat.files import write_text

        table = pd.concat([found.table.assign(task=found.task) for found in scored], ignore_index=True)
        table.insert(0, "task", table.pop("task"))
        write_text(tracks, table.to_csv(index=False, float_format="%.6g"))
    if as_json:
        typer.echo(json.dumps([found.to_dict() for found in scored], ensure_ascii=False, indent=2, allow_nan=False))
        return
    from rich.console import Console

    from backbeat.evaluation.tables import print_scores

    print_scores(Console(highlight=False), scored, confidence)


def _progress(items: Sequence[Any], what: str) -> Iterable[Any]:
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description=what, transient=True, console=Console(stderr=True))
