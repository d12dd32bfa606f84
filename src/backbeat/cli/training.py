"""`backbeat train`: a model of one's own, from a folder of annotated audio."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from backbeat.corpus.problems import Problem

EPILOG = """[bold]Examples[/bold]

backbeat train genre ~/music --out models/mine            (music/<genre>/<file>; forty recordings are enough)

backbeat analyze song.mp3 --model genre=models/mine

backbeat train beat ~/annotated --out models/beat         (song.beats beside song.wav; goes on from the shipped model)

backbeat train onset ~/drums --out models/drums --from none --epochs 60
"""

#: What `--from` takes besides a folder.
SHIPPED, NONE = "shipped", "none"


def train(
    task: Annotated[str, typer.Argument(metavar="TASK", help="beat, onset or genre.")],
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS", help="Annotated audio: a corpus, a genre tree, audio with .beats...")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write.")],
    start: Annotated[
        str, typer.Option("--from", metavar="MODEL", help="What to begin with: shipped, none, or a model folder.")
    ] = SHIPPED,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="How long to train; a genre head needs none.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, windows and divisions.")] = 20,
    tracking: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Where MLflow keeps the run; empty for nowhere. MLFLOW_TRACKING_URI or mlflow.db when left out.",
            show_default=False,
        ),
    ] = None,
    progress: Annotated[bool, typer.Option(help="Whether to show progress bars.")] = True,
) -> None:
    """Train a model on your own annotated audio, and score it on what it was not shown.

    Begun from the shipped model, a genre model learns your genres in seconds, and a beat or onset model goes on
    learning in minutes. An interrupted training goes on where it was when the same command is given again.
    """
    from backbeat.analysis.analyzer import shipped_models
    from backbeat.dataset import TASKS
    from backbeat.evaluation.scoring import EvaluationSettings
    from backbeat.own_data import learn
    from backbeat.tracking import Tracking
    from backbeat.training import TrainerSettings

    if task not in TASKS:
        raise ConfigError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    if out.exists() and not (out / "spec.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is there and is no model, so it is not replaced; choose another folder")
    if not corpus.is_dir():
        raise ConfigError(f"{corpus}: is not a folder")
    begin = None if start == NONE else shipped_models()[task] if start == SHIPPED else Path(start)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db") if tracking is None else tracking
    lesson = learn(
        task,
        corpus,
        out,
        start=begin,
        trainer=TrainerSettings(seed, "auto", "auto", "32-true", _threads(), progress and sys.stderr.isatty()),
        tracking=Tracking(uri, "backbeat"),
        evaluation=EvaluationSettings(0.95, 2000, 7, pictures=0),
        epochs=epochs,
        report=_report,
    )
    from rich.console import Console

    from backbeat.evaluation.tables import Row, score_table

    console = Console(highlight=False)
    rows = [Row("before", lesson.tracks, lesson.before)] if lesson.before else []
    console.print(score_table(task, [*rows, Row("after", lesson.tracks, lesson.after)]))
    console.print(f"[dim]scored on {lesson.held_out}; under each score its 95% interval over tracks")
    console.print(f"{out}: use it with [bold]backbeat analyze SONG --model {task}={out}[/bold]")


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _report(problem: Problem) -> None:
    typer.echo(f"{problem.level}: {problem}", err=True)
