"""`backbeat chart`: songs into drum charts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backbeat.cli.bars import file_bar
from backbeat.errors import AudioError, AudioNotFoundError, BackbeatError, ConfigError

if TYPE_CHECKING:
    from backbeat.charts.making import ChartOptions

EPILOG = """[bold]Examples[/bold]

backbeat chart song.mp3                                               (output/song/: three charts, music, sounds)

backbeat chart song.mp3 --batch --title "Vibe Ace" --artist "Kevin MacLeod" -o songs/

backbeat chart album/ --batch --difficulty extreme --no-plot          (a folder; what is done already is left out)

backbeat chart waltz.ogg --time-signature 3/4 --bpm 96.5              (where you know better than the beat tracker)

backbeat chart song.mp3 --separation spleeter:4stems                  (hear the drums alone; play along without them)
"""


def chart(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Audio files, or folders of them.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where a folder a song goes.")] = Path(
        "output"
    ),
    input_: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="DIR",
            help="Look here for files that are not where they are named; without PATH, take all that is here.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Ask nothing: titles and artists are those of the files' tags, or names.")
    ] = False,
    title: Annotated[str | None, typer.Option(help="Title; for one song only.", show_default=False)] = None,
    artist: Annotated[str | None, typer.Option(help="Artist.", show_default=False)] = None,
    difficulty: Annotated[
        str, typer.Option(metavar="A,B", help="The charts to write: basic, advanced, extreme.")
    ] = "basic,advanced,extreme",
    time_signature: Annotated[
        str | None, typer.Option(metavar="N/D", help="Count bars in this; else as they are heard.", show_default=False)
    ] = None,
    bpm: Annotated[
        float | None,
        typer.Option(help="Quarter notes a minute, all through; else as it is heard.", show_default=False),
    ] = None,
    expressive: Annotated[
        bool, typer.Option("--expressive", help="Keep the player's timing, to 1/384 of a bar, instead of a grid.")
    ] = False,
    separation: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Hear the drums alone by this model (spleeter:4stems, or a folder); none: hear the song as it is; "
            "auto: by one that is installed, if any.",
        ),
    ] = "auto",
    rock: Annotated[bool, typer.Option("--rock", help="Expect drumming as in rock and pop.")] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Let several hearings of the song vote.")] = False,
    multi_scale: Annotated[bool, typer.Option("--multi-scale", help="Hear at several resolutions.")] = False,
    advanced_features: Annotated[
        bool, typer.Option("--advanced-features", help="Tell drums apart a second time, by the sound of each stroke.")
    ] = False,
    plot: Annotated[bool, typer.Option(help="Whether to draw a picture of the chart.")] = True,
    soundfont: Annotated[
        Path | None,
        typer.Option(metavar="SF2", help="Make the sounds of the drums from this soundfont.", show_default=False),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=FOLDER", help="Use this model for beat or onset. May be given for each."),
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Refuse longer files.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Make again, and replace, what is there already.")] = False,
) -> None:
    """Write playable drum charts for songs: DTX of three difficulties, MIDI, JSON, music, drum sounds and a picture.

    Files that cannot be charted are named on stderr and the others still made; the exit code is then 1. What each of
    the four modes (--rock, --ensemble, --multi-scale, --advanced-features) does to the score is in docs/charts.md.
    """
    from backbeat.charts.making import ChartMaker, ChartOptions
    from backbeat.charts.transcription.transcribe import Modes
    from backbeat.cli.analyzing import parse_models
    from backbeat.music import TimeSignature
    from backbeat.settings import listed

    options = ChartOptions(
        title=title,
        artist=artist,
        tiers=listed(difficulty),
        time_signature=None if time_signature is None else TimeSignature.parse(time_signature),
        bpm=bpm,
        expressive=expressive,
        modes=Modes(rock, ensemble, multi_scale, advanced_features),
        separation=separation,
        plot=plot,
    )
    models = parse_models(model or [])
    files = list(_songs(paths or [], input_))
    songs = [file for file in files if isinstance(file, Path)]
    if title is not None and len(songs) > 1:
        raise ConfigError("--title is for one song; the others would have it too")
    asked = _ask(songs, options, batch)

    from backbeat.audio import AudioLimits
    from backbeat.cli.analyzing import unique_names

    limits = AudioLimits() if max_seconds is None else AudioLimits(max_seconds=max_seconds)
    maker = ChartMaker.load(models, limits=limits, soundfont=soundfont)
    names = unique_names(songs)
    failed = 0
    for number, file in enumerate(files, start=1):
        try:
            if isinstance(file, AudioError):
                raise file
            which = f"{number}/{len(files)} {file.name}" if len(files) > 1 else file.name
            with file_bar(which) as show:
                made = maker.make(
                    file,
                    output / names[file],
                    asked[file],
                    replace=force,
                    progress=lambda step, share: show(share, step),
                )
        except BackbeatError as error:
            failed += 1
            sys.stderr.write(f"backbeat: error: {error}\n")
            continue
        for warning in made.warnings:
            sys.stderr.write(f"backbeat: warning: {file}: {warning}\n")
        typer.echo(f"{made.folder}: made already" if made.skipped else told(made.folder, made.report))
    if failed:
        raise typer.Exit(1)


def _songs(paths: list[Path], folder: Path | None) -> Iterator[Path | AudioError]:
    """Give the files that were named, or the error of a path that leads to none; no file twice."""
    from backbeat.audio import find_audio

    if not paths and folder is None:
        raise ConfigError("name a song, or a folder of songs: backbeat chart song.mp3")
    if folder is not None and not paths and not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder: make it, and put songs in it")
    found: dict[Path, None] = {}
    for path in paths or [folder or Path()]:
        near = folder / path if folder is not None and not path.exists() and (folder / path).exists() else path
        try:
            songs = find_audio([near])
        except AudioError as error:
            yield error
            continue
        if not songs:
            yield AudioNotFoundError(near, "is a folder without audio files")
        yield from (song for song in songs if song not in found)
        found.update(dict.fromkeys(songs))


def _ask(songs: list[Path], options: ChartOptions, batch: bool) -> dict[Path, ChartOptions]:
    """Ask for the titles and artists that were not given, where somebody is there to answer."""
    if batch or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return dict.fromkeys(songs, options)
    from backbeat.charts.making import labels_of

    asked = {}
    for song in songs:
        title, artist = labels_of(song, options)
        typer.echo(f"{song}", err=True)
        if options.title is None:
            title = typer.prompt("  title", default=title, err=True)
        if options.artist is None:
            artist = typer.prompt("  artist", default=artist, show_default=bool(artist), err=True)
        asked[song] = replace(options, title=title, artist=artist)
    return asked


def told(folder: Path, report: Mapping[str, Any]) -> str:
    """Return a line that says what a chart is like, by what its maker reports."""
    quantised = report["quantising"]
    levels = ", ".join(f"{tier} {level:.2f}" for tier, level in report["levels"].items())
    return (
        f"{folder}: {quantised['notes']} notes in {quantised['bars']} bars of "
        f"{', '.join(dict.fromkeys(segment['signature'] for segment in quantised['meters']))} at "
        f"{report['tempo']}, "
        f"{quantised['from_grid']['median_ms']:.0f} ms from the grid; level: {levels}"
    )
