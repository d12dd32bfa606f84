"""`backbeat recommend`: the beat that fits a take."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backbeat.cli.bars import file_bar
from backbeat.cli.recommending_tracks import EPILOG as TRACKS_EPILOG
from backbeat.cli.recommending_tracks import tracks
from backbeat.errors import AudioNotFoundError, CatalogueError, ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backbeat.analysis.analyzer import Analyzer
    from backbeat.analysis.describing import Described
    from backbeat.pairing.model import PairingModel
    from backbeat.recommend.beats.selecting import BeatAnswer
    from backbeat.recommend.items import Item

BEAT_EPILOG = """[bold]Examples[/bold]

backbeat catalogue starter                                            (makes beats to choose from)

backbeat recommend beat take.wav

backbeat recommend beat take.wav --label trap --label "Boom Bap" --count 10

backbeat recommend beat take.wav --preview mix.mp3                    (the best one under the take, to listen to)

backbeat recommend beat take.wav --preview mix.wav --choose 3         (the third)

backbeat recommend beat take.wav --tempo-range 80-100 --max-stretch 5 --json
"""

recommend_app = typer.Typer(
    no_args_is_help=True, help="Find what goes with music: the beat under a take, the next track."
)


@recommend_app.callback()
def _recommend() -> None:
    """Find what goes with music: the beat under a take, the next track."""


@recommend_app.command("beat", epilog=BEAT_EPILOG)
def beat(
    take: Annotated[
        Path | None, typer.Argument(metavar="TAKE", help="A recording: vocals, a loop or a song.", show_default=False)
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="ITEM", help="An item of the catalogue in place of a recording.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many beats.")] = 5,
    label: Annotated[
        list[str] | None, typer.Option(help="Only beats of this style. May be given several times.", show_default=False)
    ] = None,
    tempo_range: Annotated[
        str | None,
        typer.Option(metavar="LOW-HIGH", help="Only beats of such a tempo, beats a minute.", show_default=False),
    ] = None,
    max_stretch: Annotated[
        float, typer.Option(metavar="PERCENT", help="Only beats that need not be played faster or slower by more.")
    ] = 15.0,
    max_transpose: Annotated[
        int, typer.Option(metavar="SEMITONES", help="Only beats that need not be transposed by more.")
    ] = 12,
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the take with a beat under it (.wav, .flac, .mp3): in its tempo, bar on bar, in its key.",
            show_default=False,
        ),
    ] = None,
    choose: Annotated[int, typer.Option(metavar="N", help="Which answer to hear in the preview.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    catalogue: Annotated[
        str | None, typer.Option(metavar="FOLDER|URL", help="The catalogue; else the usual one.", show_default=False)
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="By rules of music alone, without the pairing model.")] = False,
    pairing: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Use this pairing model.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=FOLDER", help="Use this model for beat, onset or genre. May be given for each."),
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Refuse longer takes.", show_default=False)] = None,
) -> None:
    """Find the beats of the catalogue that fit a take, with how sure that is and why.

    Tempo (also at half and double time), key, style and metre are weighed together with a model that has
    learned which beats belong under which music. "Fits" is the probability that the two belong together, of a pair that
    does or does not at even odds.
    """
    from backbeat.recommend.beats.filtering import BeatFilters

    if (take is None) == (like is None):
        both = "not both" if take is not None else "backbeat recommend beat take.wav"
        raise ConfigError(f"name a recording, or an item with --like: {both}")
    if preview is not None:
        _check_preview(preview, choose, count)
    filters = BeatFilters(
        labels=tuple(label or ()),
        tempo_range=None if tempo_range is None else parse_tempo_range(tempo_range),
        max_stretch=max_stretch / 100,
        max_transpose=max_transpose,
    )
    from backbeat.audio import AudioLimits
    from backbeat.recommend.catalogue import Catalogue

    limits = AudioLimits() if max_seconds is None else AudioLimits(max_seconds=max_seconds)
    opened = Catalogue.open(catalogue)
    try:
        with file_bar(str(take or like)) as show:
            show(0.0, "loading")
            analyzer, paired = _models(model or [], pairing, rules)
            if like is not None:
                query: Described | Item = opened.get(like)
            else:
                from backbeat.analysis.describing import Describer

                show(0.1, "listening")
                query = Describer(analyzer, paired, fingerprints=False).describe(str(take), limits)
            show(0.5, "choosing")
            from backbeat.recommend.beats.selecting import BeatSelector

            answers = BeatSelector(opened, paired).select(query, count=count, filters=filters)
            missing: AudioNotFoundError | None = None
            if preview is not None:
                try:
                    _preview(
                        query,
                        answers,
                        choose,
                        preview,
                        analyzer,
                        limits,
                        lambda share, step: show(0.5 + share / 2, step),
                    )
                except AudioNotFoundError as error:
                    missing = error
    finally:
        opened.close()
    _tell(query, answers, preview if missing is None else None, choose, as_json)
    if missing is not None:
        hint = "--choose another, or add beats with --keep-audio"
        raise AudioNotFoundError(missing.path, f"{missing.cause}, so there is no preview; {hint}")


recommend_app.command("tracks", epilog=TRACKS_EPILOG)(tracks)


def parse_tempo_range(text: str) -> tuple[float, float]:
    """Read "80-100"; ConfigError for anything else."""
    low, separator, high = text.partition("-")
    try:
        if not separator:
            raise ValueError
        return float(low), float(high)
    except ValueError:
        raise ConfigError(f"--tempo-range {text}: give two tempi in beats a minute, such as 80-100") from None


def _check_preview(preview: Path, choose: int, count: int) -> None:
    """Refuse, before anything long is done, a preview that could not be written at its end."""
    from backbeat.audio.encode import SUFFIX_CODECS

    if preview.suffix.lower() not in SUFFIX_CODECS:
        raise ConfigError(f"--preview {preview}: name a file such as mix.wav, mix.flac or mix.mp3")
    if preview.is_dir():
        raise ConfigError(f"--preview {preview}: is a folder; name a file")
    if not 1 <= choose <= count:
        raise ConfigError(f"--choose {choose}: there are {count} answers, counted from 1")


def _models(model: list[str], pairing: Path | None, rules: bool) -> tuple[Analyzer, PairingModel | None]:
    """Load the models that listen, and the one for pairing: the one that is named, or the one that ships."""
    import torch

    from backbeat.analysis.analyzer import Analyzer
    from backbeat.analysis.describing import shipped_pairing
    from backbeat.cli.analyzing import parse_models

    if rules and pairing is not None:
        raise ConfigError("--rules and --pairing exclude each other")
    torch.set_num_threads(1)  # `Analyzer` says why
    analyzer = Analyzer.load(parse_models(model))
    folder = None if rules else pairing or shipped_pairing()
    if folder is None:
        return analyzer, None
    from backbeat.pairing.model import PairingModel

    return analyzer, PairingModel.from_folder(folder)


def _preview(
    query: Described | Item,
    answers: Sequence[BeatAnswer],
    choose: int,
    preview: Path,
    analyzer: Analyzer,
    limits: Any,
    progress: Any,
) -> None:
    """Write the mix of the take and the chosen beat."""
    from backbeat.recommend.beats.preview import write_preview
    from backbeat.recommend.items import Item

    if choose > len(answers):
        raise ConfigError(f"--choose {choose}: only {len(answers)} beats fit")
    answer = answers[choose - 1]
    heard = None if isinstance(query, Item) else query.analysis
    take = query.path if isinstance(query, Item) else query.analysis.path
    for path, name in ((take, "the take"), (answer.item.path, f"the beat {answer.item.id}")):
        if not path:
            raise CatalogueError(f"{name} cannot be heard: its audio was not kept; add it with its audio")
    write_preview(
        Path(take),
        Path(answer.item.path),
        answer,
        preview,
        analyzer=analyzer,
        take_analysis=heard,
        limits=limits,
        progress=progress,
    )


def _tell(
    query: Described | Item, answers: Sequence[BeatAnswer], preview: Path | None, choose: int, as_json: bool
) -> None:
    from backbeat.recommend.items import Item

    take = query.id if isinstance(query, Item) else query.analysis.path
    if as_json:
        value = {
            "take": take,
            "descriptors": query.descriptors.to_dict(),
            "answers": [answer.to_dict() for answer in answers],
            "preview": None if preview is None else {"path": str(preview), "answer": choose},
        }
        sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
        return
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    console.print(told(take, answers))
    if preview is not None:
        console.print(f"{preview}: {take} with {answers[choose - 1].item.id} under it", markup=False)


def told(take: str, answers: Sequence[BeatAnswer]) -> RenderableType:
    """Return answers as people read them in a terminal: a table, and why below it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("beat", style="bold", overflow="fold")
    table.add_column("style")
    for name in ("fits", "bpm", "stretch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("key", no_wrap=True)
    why = Table.grid(padding=(0, 2, 0, 0))
    why.add_column(justify="right", style="dim")
    why.add_column()
    for number, answer in enumerate(answers, start=1):
        tempo_bpm = answer.item.descriptors.tempo_bpm
        table.add_row(
            str(number),
            Text(answer.item.title or answer.item.id),
            Text(answer.item.label.replace("_", " ") or "–"),
            f"{answer.confidence:.0%}",
            "–" if tempo_bpm is None else f"{tempo_bpm:.1f}",
            _tempo(answer),
            _key(answer),
        )
        why.add_row(str(number), Text(answer.reason))
    return Group(Text(f"Beats for {take}", style="bold"), table, why)


def _tempo(answer: BeatAnswer) -> str:
    level = {1.0: "", 2.0: "double ", 0.5: "half ", 1.5: "3:2 "}.get(answer.level, "2:3 ")
    return f"{level}{answer.stretch - 1:+.1%}"


def _key(answer: BeatAnswer) -> str:
    key = answer.item.descriptors.key
    if key is None:
        return "–"
    moved = f" {answer.transpose_semitones:+d}" if answer.transpose_semitones else ""
    return f"{key.tonic} {key.mode}{moved}"
