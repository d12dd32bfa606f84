"""`backbeat remote`: files to a service, and what it says of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from backbeat.cli.bars import file_bar
from backbeat.cli.remote_catalogue import catalogue_app, recommend_app
from backbeat.cli.service import HERE, Key, Url
from backbeat.errors import BackbeatError

remote_app = typer.Typer(no_args_is_help=True, help="Let a service do it: analyze, separate, chart, recommend...")

remote_app.add_typer(recommend_app)
remote_app.add_typer(catalogue_app, name="catalogue")


@remote_app.command(
    "analyze",
    epilog="Example: [bold]backbeat remote analyze song.mp3 --url https://music.example --fields tempo_bpm,key[/bold]",
)
def analyze(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files, or folders of them.")],
    url: Url = HERE,
    key: Key = None,
    fields: Annotated[
        str | None, typer.Option(metavar="A,B", help="Fields to give; all when left out.", show_default=False)
    ] = None,
) -> None:
    """Analyse files; prints a JSON object a line. One that is refused is named, and the others go on."""
    from backbeat.audio import find_audio
    from backbeat.client import Client
    from backbeat.settings import listed

    failed = False
    chosen = listed(fields or "")
    with Client(url, key) as client:
        for path in find_audio(paths):
            try:
                told = client.analyze_fields(path, chosen) if chosen else client.analyze(path).to_dict()
            except BackbeatError as error:
                failed = True
                where = "" if str(path) in str(error) else f"{path}: "
                sys.stderr.write(f"backbeat: error: {where}{error}\n")
            else:
                found = {**told, "path": str(path), "request_id": client.request_id}
                typer.echo(json.dumps(found, ensure_ascii=False))
    if failed:
        raise typer.Exit(1)


@remote_app.command(
    "correct",
    epilog="Examples: [bold]backbeat remote correct 3f2a9c51d0b84f6e song.mp3 --genre jazz --licence CC0-1.0[/bold]; "
    "[bold]backbeat remote correct 3f2a9c51d0b84f6e song.mp3 --beats song.beats[/bold]",
)
def correct(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Of the answer; `remote analyze` prints it.")],
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The file that was analysed, unless the service still has it."),
    ] = None,
    genre: Annotated[str | None, typer.Option(help="The right genre.", show_default=False)] = None,
    beats: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The right beats, a .beats file.", show_default=False)
    ] = None,
    licence: Annotated[str, typer.Option(help="Under which the recording may be trained on.")] = "",
    item: Annotated[int, typer.Option(help="Which file of a batch, from 0.")] = 0,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Say what is right of an answer: the genre or the beats. The next training learns from it."""
    from backbeat.client import Client
    from backbeat.corpus.contract import read_beats
    from backbeat.errors import ConfigError

    if (genre is None) == (beats is None):
        raise ConfigError("name what is right: --genre or --beats, one of them")
    right = None
    if beats is not None:
        found = read_beats(beats)
        times_s = found.times_s.tolist()
        right = times_s if found.positions is None else list(zip(times_s, found.positions.tolist(), strict=True))
    with Client(url, key) as client:
        told = client.correct(request_id, path, genre=genre, beats=right, licence=licence, item=item)
    typer.echo(f"correction {told['id']}: {'kept' if told['new'] else 'was here already'}")
    if told["note"]:
        typer.echo(f"note: {told['note']}", err=True)


@remote_app.command(
    "separate",
    epilog="Example: [bold]backbeat remote separate song.mp3 -m spleeter:4stems -o stems --format flac[/bold]",
)
def separate(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the stems go.")],
    model: Annotated[str, typer.Option("-m", "--model", help="spleeter:2stems, 4stems or 5stems.")] = "spleeter:2stems",
    suffix: Annotated[str, typer.Option("--format", metavar="NAME", help="wav, flac, mp3...")] = "wav",
    stems: Annotated[
        str | None, typer.Option(metavar="A,B", help="The stems to make; all when left out.", show_default=False)
    ] = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Separate a file: gives the service a job, waits for it, and fetches the stems."""
    from backbeat.client import Client

    options = {"format": suffix, **({} if stems is None else {"stems": stems})}
    with Client(url, key) as client, file_bar(path.name) as progress:
        made = client.separate(path, out, model=model, options=options, progress=progress)
    typer.echo(f"{out}: {', '.join(made)}")


@remote_app.command(
    "chart",
    epilog="Example: [bold]backbeat remote chart song.mp3 -o output/ --title 'My song'[/bold] (into output/song/)",
)
def chart(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the song's folder goes.")] = Path(
        "output"
    ),
    title: Annotated[
        str | None, typer.Option(help="Title; else that of the file's tags, or its name.", show_default=False)
    ] = None,
    artist: Annotated[
        str | None, typer.Option(help="Artist; else that of the file's tags.", show_default=False)
    ] = None,
    difficulty: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="basic, advanced, extreme; all when left out.", show_default=False),
    ] = None,
    time_signature: Annotated[
        str | None, typer.Option(metavar="N/D", help="Count bars in this; else as they are heard.", show_default=False)
    ] = None,
    bpm: Annotated[
        float | None, typer.Option(help="Quarter notes a minute; else as they are heard.", show_default=False)
    ] = None,
    expressive: Annotated[bool, typer.Option("--expressive", help="Keep the player's timing.")] = False,
    separation: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="auto, none or spleeter:4stems; what the service has.", show_default=False),
    ] = None,
    rock: Annotated[bool, typer.Option("--rock", help="Expect drumming as in rock and pop.")] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Let several hearings of the song vote.")] = False,
    multi_scale: Annotated[bool, typer.Option("--multi-scale", help="Hear at several resolutions.")] = False,
    advanced_features: Annotated[
        bool, typer.Option("--advanced-features", help="Tell drums apart a second time.")
    ] = False,
    plot: Annotated[bool, typer.Option(help="Whether to draw a picture of the chart.")] = True,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Make drum charts of a song: gives the service a job, waits for it, and fetches the folder."""
    from backbeat.cli.analyzing import unique_names
    from backbeat.cli.charting import told
    from backbeat.client import Client

    asked = {
        "title": title,
        "artist": artist,
        "tiers": difficulty,
        "time_signature": time_signature,
        "bpm": bpm,
        "expressive": expressive,
        "rock": rock,
        "ensemble": ensemble,
        "multi_scale": multi_scale,
        "advanced_features": advanced_features,
        "separation": separation,
        "plot": plot,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    folder = output / unique_names([path])[path]
    with Client(url, key) as client, file_bar(path.name) as progress:
        report = client.chart(path, folder, options=options, progress=progress)
    for warning in report["warnings"]:
        sys.stderr.write(f"backbeat: warning: {path}: {warning}\n")
    typer.echo(told(folder, report))


@remote_app.command("models", epilog="Example: [bold]backbeat remote models --url https://music.example[/bold]")
def models(url: Url = HERE, key: Key = None) -> None:
    """List the models that a service uses, as JSON."""
    from backbeat.client import Client

    with Client(url, key) as client:
        typer.echo(json.dumps(client.models(), indent=2))
