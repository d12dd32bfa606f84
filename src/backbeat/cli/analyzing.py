"""`backbeat analyze`: files and folders in; summaries, JSON, JAMS, tables and pictures out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from backbeat.errors import AudioError, AudioNotFoundError, BackbeatError, ConfigError

if TYPE_CHECKING:
    from backbeat.analysis import Analysis, Evidence
    from backbeat.audio import AudioLimits

    _Analyse = Callable[[Path], tuple[Analysis, Evidence]]

EPILOG = """[bold]Examples[/bold]

backbeat analyze song.mp3

backbeat analyze song.mp3 --plot song.png

backbeat analyze album/ --json > album.json

backbeat analyze a.wav b.flac --csv tables/ --jams jams/

backbeat analyze song.mp3 --descriptors

backbeat analyze song.mp3 --model beat=models/beat
"""


@dataclass
class _Outputs:
    """Where the results of a run go. With several files, `jams`, `csv` and `plot` are folders."""

    several: bool
    as_json: bool
    stream: TextIO
    jams: Path | None
    csv: Path | None
    plot: Path | None
    written: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def target(self, where: Path, name: str, suffix: str) -> Path:
        """Return the file to write: `where` itself for one file, one within it for several."""
        return where / f"{name}{suffix}" if self.several else where


def analyze(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Audio files, or folders to look for them in.")
    ],
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON: an object for one file; an array for several, or for a folder."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the summary or the JSON here instead of to stdout.")
    ] = None,
    jams: Annotated[Path | None, typer.Option(help="Write JAMS: a file, or for several files a folder.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write tables: the events of one file, or for several files a folder with a summary.csv."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw a picture (.png, .svg, .pdf), or for several files a folder of them.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=FOLDER", help="Use this model for beat, onset or genre. May be given for each."),
    ] = None,
    descriptors: Annotated[
        bool, typer.Option("--descriptors", help="Measure energy, mood, pulse, spectrum and the state of the file too.")
    ] = False,
    mood: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Let this model tell the mood, with --descriptors.")
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Refuse longer files.", show_default=False)] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Refuse larger files.", show_default=False)] = None,
) -> None:
    """Hear what is in recordings: tempo, meter, beats, drums, genre, key and loudness.

    Files that cannot be heard are named on stderr and the others still analysed; the exit code is then 1.
    """
    several = len(paths) > 1 or paths[0].is_dir()
    limits = _limits(max_seconds, max_bytes)
    models = parse_models(model or [])
    _check_outputs(several, jams, csv, plot)
    if mood is not None and not descriptors:
        raise ConfigError("--mood tells nothing without --descriptors")
    files = list(_expand(paths))

    import torch

    torch.set_num_threads(1)  # `Analyzer` says why
    analyse = _analyse_by(models, limits, descriptors, mood)
    with _opened(output) as stream:
        outputs = _Outputs(several, as_json, stream, jams, csv, plot)
        failed = _run(files, analyse, outputs)
    if failed:
        raise typer.Exit(1)


def _analyse_by(models: Mapping[str, Path], limits: AudioLimits, descriptors: bool, mood: Path | None) -> _Analyse:
    """Load models, and return what analyses a file by them."""
    from backbeat.analysis import Analyzer

    analyzer = Analyzer.load(models)
    if not descriptors:
        return partial(analyzer.analyze_with_evidence, limits=limits)
    from backbeat.analysis.describing import Describer
    from backbeat.analysis.mood_model import MoodModel

    mood_model = None if mood is None else MoodModel.from_folder(mood)
    describer = Describer(analyzer, fingerprints=False, mood=mood_model)

    def analyse(path: Path) -> tuple[Analysis, Evidence]:
        described, evidence = describer.describe_with_evidence(path, limits)
        return described.analysis, evidence

    return analyse


def parse_models(values: list[str], tasks: Collection[str] = ()) -> dict[str, Path]:
    """Read `task=folder` options; of the tasks of an analysis unless others are given.

    Raises
    ------
    ConfigError
        If one is of another form, or names a task that does not exist or was named before.
    """
    from backbeat.analysis.result import check_task

    models: dict[str, Path] = {}
    for value in values:
        task, separator, folder = value.partition("=")
        if not separator or not folder:
            raise ConfigError(f"--model {value}: give a task and a folder, such as beat=models/beat")
        if tasks and task not in tasks:
            raise ConfigError(f"--model {value}: {task!r} is not a task here; the tasks are {', '.join(tasks)}")
        if (task if tasks else check_task(task)) in models:
            raise ConfigError(f"--model {value}: {task} has a model already")
        models[task] = Path(folder)
    return models


def _limits(max_seconds: float | None, max_bytes: int | None) -> AudioLimits:
    from backbeat.audio import AudioLimits

    given: dict[str, Any] = {"max_seconds": max_seconds, "max_bytes": max_bytes}
    return AudioLimits(**{name: value for name, value in given.items() if value is not None})


def _check_outputs(several: bool, jams: Path | None, csv: Path | None, plot: Path | None) -> None:
    """Refuse, before anything long is done, outputs that could not be written at its end."""
    for option, path in (("--jams", jams), ("--csv", csv), ("--plot", plot)):
        if path is None:
            continue
        if several and path.exists() and not path.is_dir():
            raise ConfigError(f"{option} {path}: several files need a folder, and this is a file")
        if not several and path.is_dir():
            raise ConfigError(f"{option} {path}: one file needs a file name, and this is a folder")
    if plot is not None and not several:
        from backbeat.look import PICTURE_SUFFIXES

        if plot.suffix.lower() not in PICTURE_SUFFIXES:
            raise ConfigError(f"--plot {plot}: a picture is one of {', '.join(PICTURE_SUFFIXES)}")


def _expand(paths: list[Path]) -> Iterator[Path | AudioError]:
    """Give the files that were named, or the error of a path that leads to none, in the order given."""
    from backbeat.audio import find_audio

    for path in paths:
        try:
            found = find_audio([path])
        except AudioError as error:
            yield error
            continue
        yield from found
        if not found:
            yield AudioNotFoundError(path, "is a folder without audio files")


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    from backbeat.files import atomic_path

    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yield stream


def _run(files: list[Path | AudioError], analyse: _Analyse, outputs: _Outputs) -> int:
    """Analyse one after another and write as results come; return how many failed."""
    names = unique_names([file for file in files if isinstance(file, Path)])
    failed = 0
    if outputs.as_json and outputs.several:
        outputs.stream.write("[")
    with _progress(len(files)) as advance:
        for file in files:
            path = str(file) if isinstance(file, Path) else file.path
            advance(Path(path).name)
            try:
                if isinstance(file, AudioError):
                    raise file
                _one(file, names[file], analyse, outputs)
            except BackbeatError as error:
                failed += 1
                # An error about the audio names the file itself; others, such as a model's, do not.
                cause = error.cause if isinstance(error, AudioError) else str(error)
                sys.stderr.write(f"backbeat: error: {path}: {cause}\n")
                outputs.rows.append({"path": path, "error": cause})
                if outputs.as_json:
                    _write_json(outputs, {"path": path, "error": cause})
    if outputs.as_json:
        outputs.stream.write("\n]\n" if outputs.several else "\n")
    if outputs.csv is not None and outputs.several:
        from backbeat.analysis.export import write_summary_csv

        write_summary_csv(outputs.csv / "summary.csv", outputs.rows)
    return failed


def _one(path: Path, name: str, analyse: _Analyse, outputs: _Outputs) -> None:
    from backbeat.analysis import export

    analysis, evidence = analyse(path)
    for warning in analysis.warnings:
        sys.stderr.write(f"backbeat: warning: {path}: {warning}\n")
    if outputs.as_json:
        _write_json(outputs, analysis.to_dict())
    else:
        _write_summary(outputs, analysis)
    if outputs.jams is not None:
        export.write_jams(outputs.target(outputs.jams, name, ".jams"), analysis)
    if outputs.csv is not None:
        outputs.rows.append(export.summary_row(analysis))
        export.write_events_csv(outputs.target(outputs.csv, name, ".csv"), analysis)
    if outputs.plot is not None:
        from backbeat.analysis.plots import plot_analysis

        plot_analysis(outputs.target(outputs.plot, name, ".png"), analysis, evidence)


def _write_json(outputs: _Outputs, value: dict[str, Any]) -> None:
    if outputs.several:
        outputs.stream.write(",\n" if outputs.written else "\n")
    outputs.written += 1
    outputs.stream.write(json.dumps(value, ensure_ascii=False, allow_nan=False))
    outputs.stream.flush()


def _write_summary(outputs: _Outputs, analysis: Analysis) -> None:
    from rich.console import Console

    from backbeat.cli.summary import summary

    Console(file=outputs.stream, highlight=False).print(summary(analysis))


def unique_names(paths: list[Path]) -> dict[Path, str]:
    """Name the results of each file by its stem; where two files share one, by its parts from where they differ."""
    names: dict[Path, str] = {}
    taken: set[str] = {"summary"}
    for path in paths:
        if path in names:
            continue
        parts = [part for part in path.with_suffix("").parts if part not in (path.anchor, "..", ".")]
        candidates = ["_".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        candidates.append(candidates[-1] + path.suffix.replace(".", "_"))
        number = 2
        while all(candidate.lower() in taken for candidate in candidates):
            candidates.append(f"{candidates[0]}_{number}")
            number += 1
        name = next(candidate for candidate in candidates if candidate.lower() not in taken)
        taken.add(name.lower())
        names[path] = name
    return names


@contextmanager
def _progress(count: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on stderr for several files, where there is a terminal; give what names the next file."""
    if count < 2 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=count)
        started = 0

        def advance(name: str) -> None:
            nonlocal started
            progress.update(task, completed=started, description=name.replace("[", r"\["))
            started += 1

        yield advance
