"""`backbeat separate`: songs into stems."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.errors import BackbeatError, ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EPILOG = """[bold]Examples[/bold]

backbeat models pull spleeter:4stems                                  (once)

backbeat separate song.mp3 -m spleeter:4stems -o out/                 (out/song/vocals.wav, drums.wav...)

backbeat separate album/ -o out/ --stems vocals --format flac         (a folder; what is done already is left out)
"""


def separate(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files, or folders of them.")],
    model: Annotated[
        str,
        typer.Option("-m", "--model", metavar="MODEL", help="spleeter:2stems, 4stems, 5stems or a model folder."),
    ] = "spleeter:2stems",
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where a folder a song goes.")] = Path(
        "separated"
    ),
    stems: Annotated[
        str | None, typer.Option(metavar="A,B", help="The stems to write; all when left out.", show_default=False)
    ] = None,
    suffix: Annotated[str, typer.Option("--format", metavar="NAME", help="wav, flac, mp3, ogg, m4a, opus...")] = "wav",
    bits: Annotated[int, typer.Option(help="16, 24 or 32, where the format has depths.")] = 16,
    bitrate: Annotated[
        int | None, typer.Option(metavar="KBIT", help="Kilobits a second of lossy formats.", show_default=False)
    ] = None,
    rate: Annotated[
        int | None, typer.Option(metavar="HZ", help="Sample rate; the source's when left out.", show_default=False)
    ] = None,
    highpass: Annotated[
        float | None, typer.Option(metavar="HZ", help="Take away what is below, rumble say.", show_default=False)
    ] = None,
    loudness: Annotated[
        float | None,
        typer.Option(
            metavar="LUFS",
            help="Let the network hear the song at this loudness; stems keep the song's level.",
            show_default=False,
        ),
    ] = None,
    denoise: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Take away steady noise, hiss say, as it sounds where the song is quietest: 0.8 is most of it.",
            show_default=False,
        ),
    ] = None,
    silence: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Spare the network where nothing is above this, -70 say.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep stems here, and look here first; none when left out.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do again what is done already.")] = False,
    progress: Annotated[bool, typer.Option(help="Whether to show a progress bar.")] = True,
) -> None:
    """Separate songs into stems: a file for each of voice, drums, bass...

    Stems are as long as the song, to the sample. A file that cannot be heard is named, and the others are done.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from backbeat.audio import find_audio
    from backbeat.separation.allocator import keep_freed_memory
    from backbeat.separation.cache import StemCache
    from backbeat.separation.engine import USUAL_SEGMENTS, chosen_device
    from backbeat.separation.files import Preparation, StemFormat, separate_file, song_folders
    from backbeat.separation.store import find, load_network, read_spec

    how = StemFormat(suffix.lower().lstrip("."), bits, None if bitrate is None else 1000 * bitrate, rate)
    before = Preparation(highpass, loudness, denoise, silence)
    place = chosen_device(device)
    folder = Path(model) if Path(model).is_dir() else find(model)
    spec = read_spec(folder)
    keep_freed_memory()
    network = load_network(folder).to(place)
    songs = find_audio(paths)
    if not songs:
        raise ConfigError(f"{', '.join(str(path) for path in paths)}: no audio in it")
    names = song_folders(songs)
    kept = None if cache is None else StemCache(cache)
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not (progress and sys.stderr.isatty())) as bar:
        for number, (song, name) in enumerate(zip(songs, names, strict=True), 1):
            task = bar.add_task(f"{number}/{len(songs)} {song.name}", total=1.0)
            try:
                done = separate_file(
                    song,
                    out / name,
                    network,
                    spec.label,
                    stems=None if stems is None else [part.strip() for part in stems.split(",") if part.strip()],
                    how=how,
                    before=before,
                    again=force,
                    segments_at_once=USUAL_SEGMENTS[place],
                    cache=kept,
                    progress=partial(_advance, bar, task),
                )
            except ConfigError:
                raise
            except BackbeatError as error:
                failed += 1
                typer.echo(f"backbeat: error: {error}", err=True)
                continue
            finally:
                bar.remove_task(task)
            for warning in done.warnings:
                typer.echo(f"{song}: warning: {warning}", err=True)
            typer.echo(f"{out / name}: {'is there already' if done.skipped else ', '.join(done.stems)}")
    if kept is not None:
        kept.close()
    if failed:
        raise typer.Exit(1)


def _advance(bar: Progress, task: TaskID, done_s: float, total_s: float) -> None:
    bar.update(task, completed=done_s, total=total_s)
