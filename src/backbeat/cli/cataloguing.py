"""`backbeat catalogue`: the tracks and beats that are chosen from."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backbeat.cli.bars import file_bar
from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from backbeat.recommend.catalogue import Catalogue
    from backbeat.recommend.catalogue.adding import Added, Progress
    from backbeat.recommend.items import Item, Kind

#: Clocks differ by so much.
_AHEAD_S = 86400.0
_EXAMPLE = "[bold]backbeat catalogue add ~/beats --kind beat --label trap[/bold]"
catalogue_app = typer.Typer(
    no_args_is_help=True,
    help="Keep the tracks and beats that `backbeat recommend` chooses from.",
    epilog=f"Examples: [bold]backbeat catalogue starter[/bold]; {_EXAMPLE}",
)

_Where = Annotated[
    str | None,
    typer.Option(
        "--catalogue",
        metavar="FOLDER|URL",
        help="Its folder, or a database's URL. That of conf/catalogue or BACKBEAT_CATALOGUE__FOLDER when left out.",
        show_default=False,
    ),
]
_Kind = Annotated[str, typer.Option(help="track: music to listen to; beat: something to put under a take.")]
_Keep = Annotated[bool, typer.Option("--keep-audio", help="Keep a copy of the audio in the catalogue's folder.")]
_Duplicates = Annotated[
    str, typer.Option("--on-duplicate", metavar="WHAT", help="With a recording that is there: skip, add, or error.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@catalogue_app.command(
    "add",
    epilog=f"Examples: {_EXAMPLE}; [bold]backbeat catalogue add song.mp3 album/[/bold] (tracks; labels by the genre "
    "model)",
)
def add(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files, or folders of them.")],
    kind: _Kind = "track",
    label: Annotated[
        str | None, typer.Option(help="Style of all; the genre model's when left out.", show_default=False)
    ] = None,
    keep_audio: _Keep = False,
    on_duplicate: _Duplicates = "skip",
    catalogue: _Where = None,
) -> None:
    """Describe recordings and keep them: descriptors, vectors and fingerprints; the audio stays where it is.

    A recording that is there already, in whatever format, is left out. Files that cannot be heard are named on stderr
    and the others still added; the exit code is then 1. What was done stays when it is broken off.
    """
    from backbeat.audio import find_audio
    from backbeat.recommend.catalogue.adding import add_files

    checked, duplicates = _kind(kind), _on_duplicate(on_duplicate)
    files = find_audio(paths)
    if not files:
        raise ConfigError(f"{', '.join(map(str, paths))}: no audio files in it")
    with _opened(catalogue, make=True) as opened, _bar(len(files)) as progress:
        added = add_files(
            opened,
            files,
            _describer(),
            kind=checked,
            label=label,
            keep_audio=keep_audio,
            on_duplicate=duplicates,
            progress=progress,
        )
    _report(added)


@catalogue_app.command(
    "import",
    epilog="Examples: [bold]backbeat catalogue import data/corpora/mine[/bold]; "
    "[bold]backbeat catalogue import items.csv[/bold]; [bold]backbeat catalogue import plays.parquet[/bold]",
)
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="CORPUS|TABLE", help="A corpus folder, or a table of items or interactions.")
    ],
    kind: _Kind = "track",
    keep_audio: _Keep = False,
    on_duplicate: _Duplicates = "skip",
    replace: Annotated[bool, typer.Option("--replace", help="Replace items of the same id (CSV).")] = False,
    catalogue: _Where = None,
) -> None:
    """Take in a corpus, whose annotations go before what is heard, items described elsewhere, or interactions.

    A CSV file has the columns id, kind, duration_s and descriptors (JSON, as `backbeat catalogue show --json` prints
    them), and may have title, artist, label, path, sha256, source, licence, added_at and vector:SPACE (a JSON list).
    Interactions, in CSV or Parquet, have user, item, kind (play, like, save, skip, dislike) and at (seconds since 1970,
    or a date); what is there already is not taken twice.
    """
    from backbeat.corpus.contract import read_corpus
    from backbeat.recommend.catalogue.importing import add_corpus, is_of_interactions, read_items
    from backbeat.recommend.interactions import read_interactions

    checked, duplicates = _kind(kind), _on_duplicate(on_duplicate)
    if source.is_dir():
        count = len(read_corpus(source).tracks)
        with _opened(catalogue, make=True) as opened, _bar(count) as progress:
            added = add_corpus(
                opened,
                source,
                _describer(),
                kind=checked,
                keep_audio=keep_audio,
                on_duplicate=duplicates,
                progress=progress,
            )
        _report(added)
        return
    # All of it is read before anything is kept.
    if is_of_interactions(source):
        interactions = read_interactions(source, latest=time.time() + _AHEAD_S)
        with _opened(catalogue) as opened:
            typer.echo(f"{opened.add_interactions(interactions)} of {len(interactions)} interactions added")
        return
    additions = list(read_items(source))
    with _opened(catalogue, make=True) as opened:
        typer.echo(f"{opened.add_many(additions, replace=replace)} added")


@catalogue_app.command("starter", epilog="Example: [bold]backbeat catalogue starter --count 60[/bold]")
def starter(
    count: Annotated[int, typer.Option(min=1, max=5000, help="How many beats.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Beats of the same seed are the same.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one a core when left out.", show_default=False)
    ] = None,
    catalogue: _Where = None,
) -> None:
    """Make a catalogue to begin with: beats of all styles, composed and rendered here, free of anyone's rights.

    Those of an earlier call that are there already stay as they are.
    """
    from backbeat.recommend.catalogue.importing import add_starter

    with _opened(catalogue, make=True) as opened, _bar(count) as progress:
        typer.echo(f"rendering {count} beats...", err=True)
        added = add_starter(opened, _describer(), count=count, seed=seed, workers=workers, progress=progress)
    _report(added)


@catalogue_app.command(
    "list",
    epilog="Examples: [bold]backbeat catalogue list --kind beat[/bold]; [bold]backbeat catalogue list --json[/bold]",
)
def list_(
    kind: Annotated[str | None, typer.Option(help="track or beat; both when left out.", show_default=False)] = None,
    label: Annotated[str | None, typer.Option(help="Only of this style.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON an item, descriptors and all.")] = False,
    catalogue: _Where = None,
) -> None:
    """List what is in the catalogue, in the order of ids."""
    with _opened(catalogue) as opened:
        found = _some(opened, None if kind is None else _kind(kind), label, limit)
        if as_json:
            for item in found:
                typer.echo(json.dumps(item.to_dict(), ensure_ascii=False, allow_nan=False))
            return
        from rich.console import Console

        items = list(found)
        Console(highlight=False).print(_table(items))
        typer.echo(f"{len(items)} listed of {opened.count('track')} tracks and {opened.count('beat')} beats")


@catalogue_app.command("show", epilog="Example: [bold]backbeat catalogue show boom-bap-1 --json[/bold]")
def show(
    item: Annotated[str, typer.Argument(metavar="ID", help="As `backbeat catalogue list` tells it.")],
    as_json: _Json = False,
    catalogue: _Where = None,
) -> None:
    """Show all that is known of an item."""
    with _opened(catalogue) as opened:
        found = opened.get(item)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2, allow_nan=False))
        return
    from rich.console import Console

    from backbeat.cli.probing import facts_table

    Console(highlight=False).print(facts_table(_facts(found)))


@catalogue_app.command(
    "remove",
    epilog="Example: [bold]backbeat catalogue remove boom-bap-1 trap-2[/bold] (`backbeat maintenance vacuum` "
    "then leaves no trace in the database's file)",
)
def remove(
    items: Annotated[list[str], typer.Argument(metavar="ID...", help="As `backbeat catalogue list` tells them.")],
    catalogue: _Where = None,
) -> None:
    """Remove items everywhere: vectors, fingerprints, what listeners did with them, and audio that was kept."""
    from backbeat.errors import UnknownItemError

    with _opened(catalogue) as opened:
        for item in items:
            if not opened.has(item):
                raise UnknownItemError(f"there is no item {item[:140]!r} in the catalogue: nothing is removed")
        for item in items:
            gone = ", ".join(f"{count} {name}" for name, count in opened.remove(item).items() if count)
            typer.echo(f"{item}: removed ({gone})")


@catalogue_app.command("forget", epilog="Example: [bold]backbeat catalogue forget ann[/bold]")
def forget(
    users: Annotated[list[str], typer.Argument(metavar="USER...", help="As interactions name them.")],
    catalogue: _Where = None,
) -> None:
    """Remove users: all that they did. What was learned of it goes with the next `backbeat maintenance reindex`."""
    with _opened(catalogue) as opened:
        for user in users:
            typer.echo(f"{user}: removed ({opened.forget_user(user)['interactions']} interactions)")


@catalogue_app.command("export", epilog="Example: [bold]backbeat catalogue export data/listeners/export[/bold]")
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; an export that is there is replaced.")],
    model: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The genre model whose vectors go out; the one that ships.")
    ] = None,
    catalogue: _Where = None,
) -> None:
    """Write what listeners did, with the tracks as they sound, for the pipeline to learn from (conf/listeners)."""
    from backbeat.analysis.analyzer import shipped_models
    from backbeat.files import sha256_file
    from backbeat.model import WEIGHTS, load_spec, space_of
    from backbeat.recommend.exporting import export_listeners

    genre = model or shipped_models()["genre"]
    features = load_spec(genre, "genre").features
    with _opened(catalogue) as opened:
        version = export_listeners(opened, folder, space_of("genre", sha256_file(genre / WEIGHTS)), features)
    typer.echo(f"{folder}: version {version}")


@catalogue_app.command("duplicates", epilog="Example: [bold]backbeat catalogue duplicates --json[/bold]")
def duplicates(as_json: _Json = False, catalogue: _Where = None) -> None:
    """List the items that are the same recording, or one a part of the other, by their fingerprints."""
    with _opened(catalogue) as opened, _counting() as progress:
        pairs = opened.recordings.pairs(progress)
    if as_json:
        typer.echo(json.dumps([pair.to_dict() for pair in pairs], ensure_ascii=False, indent=2))
        return
    for pair in pairs:
        typer.echo(f"{pair.one}  {pair.other}  {'the same' if pair.whole else 'a part'} ({pair.overlap_s:.0f} s agree)")
    typer.echo(f"{len(pairs)} pairs", err=True)


@contextmanager
def _opened(where: str | None, *, make: bool = False) -> Iterator[Catalogue]:
    from backbeat.recommend.catalogue import Catalogue

    with Catalogue.open(where, make=make) as catalogue:
        yield catalogue


def _describer() -> Any:
    import torch

    from backbeat.analysis.describing import Describer

    torch.set_num_threads(1)  # `Analyzer` says why
    return Describer.load()


def _kind(text: str) -> Kind:
    from backbeat.recommend.items import KINDS

    found = next((kind for kind in KINDS if kind == text), None)
    if found is None:
        raise ConfigError(f"--kind {text}: is one of {', '.join(KINDS)}")
    return found


def _on_duplicate(text: str) -> Any:
    if text not in ("skip", "error", "add"):
        raise ConfigError(f"--on-duplicate {text}: is one of skip, error, add")
    return text


def _some(catalogue: Catalogue, kind: Kind | None, label: str | None, limit: int) -> Iterator[Item]:
    """Give items a page at a time."""
    after, count = "", 0
    while page := catalogue.items(kind, after, 500):
        for item in page:
            if label is None or item.label == label:
                yield item
                count += 1
                if count == limit:
                    return
        after = page[-1].id


@contextmanager
def _counting() -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how many items are done, where there is a terminal."""
    with file_bar("fingerprints") as show:
        yield lambda done, of: show(done / of if of else 1.0)


@contextmanager
def _bar(count: int) -> Iterator[Progress]:
    """Show on stderr how many files are done, where there is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=count)
        yield lambda path, done: progress.update(task, completed=done, description=escape(path.name))


def _report(added: Added) -> None:
    """Tell what became of files; end with 1 where some failed."""
    for item in added.items:
        typer.echo(f"{item.id}: {item.title} ({item.label or 'no label'})")
    for duplicate in added.duplicates:
        typer.echo(f"{duplicate.path}: is there already, as {duplicate.id} ({duplicate.reason})", err=True)
    for path, cause in added.failed:
        typer.echo(f"backbeat: error: {path}: {cause}", err=True)
    typer.echo(f"{len(added.items)} added, {len(added.duplicates)} there already, {len(added.failed)} failed")
    if added.failed:
        raise typer.Exit(1)


def _table(items: list[Item]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("kind", "label", "bpm", "key", "seconds"):
        table.add_column(name, justify="right" if name in ("bpm", "seconds") else "left", no_wrap=True)
    # Last and whole, since it is what other commands are told.
    table.add_column("id", overflow="fold")
    for item in items:
        told = item.descriptors
        tempo = "" if told.tempo_bpm is None else f"{told.tempo_bpm:.1f}"
        key = "" if told.key is None else f"{told.key.tonic} {told.key.mode}"
        cells = (item.kind, item.label, tempo, key, f"{item.duration_s:.1f}", item.id)
        table.add_row(*map(Text, cells))
    return table


def _facts(item: Item) -> list[tuple[str, str]]:
    told = item.descriptors
    rows = [("id", item.id), ("kind", item.kind), ("title", item.title), ("artist", item.artist), ("label", item.label)]
    rows += [("path", item.path), ("sha256", item.sha256), ("length", f"{item.duration_s:.3f} s")]
    rows += [("source", item.source), ("licence", item.licence)]
    if told.tempo_bpm is not None:
        rows.append(("tempo", f"{told.tempo_bpm:.2f} bpm"))
    if told.time_signature is not None:
        rows.append(("meter", told.time_signature))
    if told.key is not None:
        rows.append(("key", f"{told.key.tonic} {told.key.mode} ({told.camelot}), sure by {told.key.confidence:.2f}"))
    if told.loudness_lufs is not None:
        rows.append(("loudness", f"{told.loudness_lufs:.1f} LUFS"))
    rows += [("energy", f"{told.energy:.2f}"), ("pulse clarity", f"{told.pulse_clarity:.2f}")]
    rows.append(("mood", f"valence {told.mood.valence:+.2f}, arousal {told.mood.arousal:+.2f} (by {told.mood.source})"))
    rows += [("problem", problem) for problem in told.quality.problems]
    return [(name, value) for name, value in rows if value]
