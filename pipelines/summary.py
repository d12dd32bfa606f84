"""What `make demo` ends with: the scores on the rendered test split, then on real recordings, then what to look at.

`python -m pipelines.summary --real ../recordings`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import track

from backbeat.dataset import PIPELINE_TASKS
from backbeat.errors import ConfigError
from backbeat.evaluation.results import SUMMARY, read_results
from backbeat.evaluation.scoring import EvaluationSettings
from backbeat.evaluation.tables import Row, print_scores, score_table
from pipelines.errors import errors_in_a_line
from pipelines.settings import CONF

_NEXT = (
    ("{reports}/index.html", "the report: every score by style, and pictures of what was heard"),
    ("dvc metrics show", "the scores, and `dvc metrics diff` after a change"),
    ("dvc plots show", "learning curves, scores by style, genres confused"),
    ("mlflow ui", "every run with its parameters, data and pictures"),
    ("backbeat analyze song.mp3", "what the models that come with the package hear in a song"),
    ("backbeat catalogue starter", "beats to choose from, and then: backbeat recommend beat take.wav"),
    ("backbeat analyze song.mp3 --model beat={models}/beat", "the same with a model that you have trained"),
)


def main(
    real: Annotated[Path | None, typer.Option(help="A folder of annotated recordings to score as well.")] = None,
    models: Annotated[Path, typer.Option(help="The trained models.")] = Path("models"),
    reports: Annotated[Path, typer.Option(help="What `dvc repro` wrote.")] = Path("reports"),
) -> None:
    """Print the scores of the trained models, and what to look at next."""
    console = Console(highlight=False)
    with errors_in_a_line():
        _print(console, real, models, reports)


def _print(console: Console, real: Path | None, models: Path, reports: Path) -> None:
    folders = [reports / task for task in PIPELINE_TASKS if (reports / task / SUMMARY).is_file()]
    if not folders:
        raise ConfigError(f"{reports}: holds no scores; `dvc repro` makes them")
    results = [read_results(folder) for folder in folders]
    console.rule("[bold]The test split of the pipeline's own corpora", align="left")
    console.print(f"[dim]under each score: its {results[0].confidence:.0%} interval over tracks")
    for found in results:
        tracks = sum(facts["tracks"]["test"] for facts in found.corpora.values())
        row = Row("+".join(found.corpora), tracks, found.groups["all"])
        console.print(score_table(found.task, [row]), "")
    if real is not None:
        from backbeat.corpus.sources import evaluation_sets
        from backbeat.evaluation.benchmark import load_models, score_sets

        console.rule(f"[bold]Real recordings in {real}", align="left")
        settings = evaluation_settings()
        loaded = load_models(models)
        scored = score_sets(loaded, evaluation_sets(real), settings, progress=progress)
        print_scores(console, scored, settings.confidence)
    console.rule("[bold]What to look at next", align="left")
    for command, meaning in _NEXT:
        console.print(f"[bold]{command.format(reports=reports, models=models)}[/bold]\n  {meaning}", soft_wrap=True)


def evaluation_settings() -> EvaluationSettings:
    """Return the settings that the pipeline evaluates with."""
    return EvaluationSettings(**yaml.safe_load((Path(CONF) / "evaluation/default.yaml").read_text(encoding="utf-8")))


def progress(items: Sequence[Any], what: str) -> Iterable[Any]:
    """Show a bar on a terminal while items are worked through."""
    console = Console(stderr=True)
    return track(items, description=what, transient=True, console=console, disable=not console.is_terminal)


if __name__ == "__main__":
    typer.run(main)
