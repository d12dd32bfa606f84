"""`backbeat corpus`: make corpora of other people's music and annotations, and check them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from backbeat.corpus.splits import Shares

_EXAMPLE = "[bold]backbeat corpus import folder ~/music data/mine[/bold]"
corpus_app = typer.Typer(
    no_args_is_help=True,
    help="Make and check corpora: audio with annotations.",
    epilog=f"Examples: {_EXAMPLE}; [bold]backbeat corpus validate data/mine[/bold]",
)
import_app = typer.Typer(no_args_is_help=True, help="Make a corpus from what you have.", epilog=f"Example: {_EXAMPLE}")
corpus_app.add_typer(import_app, name="import")

_Target = Annotated[Path, typer.Argument(metavar="CORPUS", help="The corpus folder to make.")]
_Copy = Annotated[bool, typer.Option("--copy", help="Copy the audio, rather than link to it where that can be done.")]
_Seed = Annotated[int, typer.Option(help="Of the division into splits.")]


@corpus_app.command(
    epilog="Examples: [bold]backbeat corpus validate data/mine[/bold]; "
    "[bold]backbeat corpus validate data/mine --html report.html[/bold]"
)
def validate(
    folder: Annotated[Path, typer.Argument(metavar="CORPUS", help="A corpus, or the folder it is to be made from.")],
    audio: Annotated[bool, typer.Option(help="Open and hash the audio too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page.")] = None,
) -> None:
    """Look for everything that is wrong with a corpus; the exit code is 1 where something must be mended."""
    from backbeat.corpus.validate import validate_folder

    report = validate_folder(folder, check_audio=audio)
    if html is not None:
        from backbeat.corpus.validation_report import report_html
        from backbeat.files import write_text

        write_text(html, report_html(report))
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    else:
        from backbeat.corpus.validation_report import verdict

        for problem in report.problems:
            typer.echo(f"{problem.level}: {problem}")
        typer.echo(f"{folder}: {report.counts['tracks']} tracks. {verdict(report)}")
    if not report.ok:
        raise typer.Exit(1)


@import_app.command(
    "folder",
    epilog="Examples: [bold]backbeat corpus import folder ~/music data/mine[/bold] (music/genre/file, with .beats, "
    ".onsets or .jams beside); [bold]backbeat corpus import folder ~/sets data/mine --group '^([^_]+)_'[/bold] "
    "(what stands before the first _ is never divided between splits)",
)
def import_from_folder(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Your audio, with annotations beside it.")],
    target: _Target,
    shares: Annotated[str, typer.Option(help="Parts for train, valid and test.")] = "0.7,0.15,0.15",
    seed: _Seed = 0,
    group: Annotated[str, typer.Option(metavar="PATTERN", help="What in a file's name tells its source.")] = "",
    genres: Annotated[bool, typer.Option(help="Whether folders are genres.")] = True,
    licence: Annotated[str, typer.Option(help="Written to every row that names none.")] = "",
    copy: _Copy = False,
) -> None:
    """Make a corpus of your own audio: annotations.csv, .beats and .onsets files, JAMS, or a genre/file tree."""
    from backbeat.corpus.folder import import_folder

    corpus = import_folder(
        source,
        target,
        shares=parse_shares(shares),
        seed=seed,
        group_pattern=group,
        genre_folders=genres,
        licence=licence,
        copy="copy" if copy else "link",
    )
    _done(len(corpus.tracks), target)


@import_app.command("mdb-drums", epilog="Example: [bold]backbeat corpus import mdb-drums ~/MDBDrums data/mdb[/bold]")
def import_from_mdb_drums(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder of MDB Drums.")],
    target: _Target,
    mix: Annotated[bool, typer.Option("--mix", help="Take the full mixes instead of the drums alone.")] = False,
    copy: _Copy = False,
) -> None:
    """Make a corpus of MDB Drums: drum hits by their technique, and beats."""
    from backbeat.corpus.annotated import store
    from backbeat.corpus.mdb_drums import read_mdb_drums

    corpus = store(target, read_mdb_drums(source, mix=mix), copy="copy" if copy else "link")
    _done(len(corpus.tracks), target)


@import_app.command(
    "mirdata",
    epilog="Examples: [bold]backbeat corpus import mirdata ballroom ~/mir/ballroom data/ballroom --download[/bold]; "
    "[bold]backbeat corpus import mirdata gtzan_genre ~/mir/gtzan data/gtzan --partial[/bold]",
)
def import_from_mirdata(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As mirdata calls it: gtzan_genre, ballroom, beatles...")],
    home: Annotated[Path, typer.Argument(metavar="HOME", help="Where the data set lies, or is to be put.")],
    target: _Target,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch what is missing, where there is a network.")
    ] = False,
    version: Annotated[str, typer.Option(help="Of the data set, as mirdata names them.")] = "default",
    partial: Annotated[bool, typer.Option("--partial", help="Leave out tracks whose files are not all there.")] = False,
    shares: Annotated[str, typer.Option(help="Parts for train, valid and test.")] = "0.7,0.15,0.15",
    seed: _Seed = 0,
    copy: _Copy = False,
) -> None:
    """Make a corpus of a public data set, by way of mirdata."""
    from backbeat.corpus.mirdata_source import import_mirdata

    corpus = import_mirdata(
        name,
        target,
        home,
        download=download,
        version=version,
        partial=partial,
        shares=parse_shares(shares),
        seed=seed,
        copy="copy" if copy else "link",
    )
    _done(len(corpus.tracks), target)


def parse_shares(text: str) -> Shares:
    """Read "0.7,0.15,0.15" as the parts of train, valid and test; ConfigError unless they are three that add to 1."""
    from backbeat.corpus.splits import Shares

    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3:
        raise ConfigError(f"--shares {text}: give three numbers, such as 0.7,0.15,0.15")
    return Shares(*values)


def _done(tracks: int, target: Path) -> None:
    sys.stderr.write(f"{target}: {tracks} tracks. Check them with: backbeat corpus validate {target}\n")
