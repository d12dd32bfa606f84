"""`backbeat separate`: songs into stems."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbeat.errors import BackbeatError, ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from backbeat.separation.files import SeparationOptions

EPILOG = """[bold]Examples[/bold]

backbeat models pull spleeter:4stems                                  (once)

backbeat separate song.mp3 -m spleeter:4stems -o out/                 (out/song/vocals.wav, drums.wav...)

backbeat separate album/ -o out/ --stems vocals --format flac         (a folder; what is done already is left out)
"""


def separate(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files, or folders of them.")],
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="spleeter:2stems, spleeter:4stems, spleeter:5stems or a model folder.",
        ),
    ] = "spleeter:2stems",
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where a folder a song goes.")] = Path(
        "separated"
    ),
    stems: Annotated[
        str | None, typer.Option(metavar="A,B", help="The stems to write; all when left out.", show_default=False)
    ] = None,
    suffix: Annotated[str, typer.Option("--format", metavar="NAME", help="wav, flac, mp3, ogg, m4a, opus...")] = "wav",
    bits: Annotated[int, typer.Option(help="16, 24 or 32, where the format has depths; flac has no 32.")] = 16,
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
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Songs at once; two leave no core idle.")] = 1,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Let `backbeat worker` processes do it that wait at this Redis, on as many machines as there are.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="With --queue: whether to wait until all is done.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Do again what is done already.")] = False,
    progress: Annotated[bool, typer.Option(help="Whether to show a progress bar.")] = True,
) -> None:
    """Separate songs into stems: a file for each of voice, drums, bass...

    Stems are as long as the song, to the sample. A file that cannot be heard is named, and the others are done. What
    was broken off goes on where it was when the same command is given again. Files that were there are never replaced
    without --force, and stems made earlier are not taken for songs.
    """
    from backbeat.audio import find_audio
    from backbeat.separation.files import Preparation, SeparationOptions, StemFormat, is_stem, song_folders
    from backbeat.separation.store import OFFICIAL, locate, parse_name, read_spec
    from backbeat.settings import listed

    names = None if stems is None else listed(stems)
    how = StemFormat(suffix.lower().lstrip("."), bits, None if bitrate is None else 1000 * bitrate, rate)
    options = SeparationOptions(names, how, Preparation(highpass, loudness, denoise, silence), force)
    if queue is None:
        options.check(read_spec(locate(model)).network.instruments)
    else:
        if cache is not None or workers != 1 or device != "auto":
            raise ConfigError("with --queue, --cache and --device are for `backbeat worker`; start as many as you like")
        if Path(model).is_dir():
            raise ConfigError(f"{model}: a queue takes models by their names, spleeter:4stems say, which workers pull")
        options.check(OFFICIAL[parse_name(model)[0]].params.instruments)
    songs = {song.absolute(): song for song in find_audio(paths) if song in paths or not is_stem(song)}
    if not songs:
        raise ConfigError(f"{', '.join(str(path) for path in paths)}: no audio in it that is not a stem already")
    chosen = list(songs.values())
    with _Board(len(songs), shown=progress and sys.stderr.isatty(), queued=queue is not None) as board:
        if queue is not None:
            folders = [out / name for name in song_folders(chosen)]
            _by_queue(queue, list(zip(chosen, folders, strict=True)), model, options, wait, board)
        else:
            asyncio.run(_here(chosen, model, out, options, device, cache, workers, board))
    if board.failed:
        raise typer.Exit(1)


async def _here(
    songs: list[Path],
    model: str,
    out: Path,
    options: SeparationOptions,
    device: str,
    cache: Path | None,
    workers: int,
    board: _Board,
) -> None:
    from backbeat.separation.allocator import keep_freed_memory
    from backbeat.separation.cache import StemCache
    from backbeat.separation.engine import Outcome, SeparationEngine

    def finished(outcome: Outcome) -> None:
        done = outcome.separated
        if done is None:
            told = (
                str(outcome.error) if isinstance(outcome.error, BackbeatError) else f"{outcome.path}: {outcome.error!r}"
            )
            board.tell(outcome.path, None, error=told)
        else:
            folder = next(iter(done.stems.values())).parent
            board.tell(outcome.path, folder, list(done.stems), done.warnings, skipped=done.skipped)

    keep_freed_memory()
    kept = None if cache is None else StemCache(cache)
    async with SeparationEngine(concurrency=workers, device=device, cache=kept) as engine:
        await engine.initialize(model)
        await engine.batch_separate(songs, model, out, options, progress=board.advance, finished=finished)
    if kept is not None:
        kept.close()


def _by_queue(
    url: str, songs: list[tuple[Path, Path]], model: str, options: SeparationOptions, wait: bool, board: _Board
) -> None:
    from backbeat.separation.queue import answers, celery_app, enqueue, gather

    app = celery_app(url)
    jobs = enqueue(app, songs, model, options)
    if not wait:
        typer.echo(f"{len(jobs)} in the queue at {app.connection().as_uri()}")
        return
    if not answers(app):
        typer.echo("No worker answers: they are all at work, or `backbeat worker` is to be started. Waiting.", err=True)
    for song, folder, said in gather(app, jobs):
        if "error" in said:
            board.tell(song, None, error=said["error"])
        else:
            board.tell(song, folder, said["stems"], tuple(said["warnings"]), skipped=said["skipped"])


class _Board:
    """What the terminal shows: a bar for all songs and one for each at work, and a line for each that is done."""

    def __init__(self, count: int, *, shown: bool, queued: bool) -> None:
        self.count, self.done, self.failed, self.queued = count, 0, 0, queued
        self.bar = _progress() if shown else None
        self._all = self.bar.add_task(f"0/{count}", total=count) if self.bar and count > 1 else None
        self._songs: dict[Path, TaskID] = {}

    def __enter__(self) -> _Board:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.bar:
            self.bar.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            rest = "the others stay in the queue" if self.queued else "the same command goes on"
            typer.echo(f"stopped: {self.done} of {self.count} are done; {rest}", err=True)

    def advance(self, song: Path, done_s: float, total_s: float) -> None:
        """Move the bar of a song; called from its thread."""
        if self.bar is None:
            return
        if song not in self._songs:
            self._songs[song] = self.bar.add_task(song.name, total=total_s)
        self.bar.update(self._songs[song], completed=done_s)

    def tell(
        self,
        song: Path,
        folder: Path | None,
        stems: Sequence[str] = (),
        warnings: Sequence[str] = (),
        *,
        error: str = "",
        skipped: bool = False,
    ) -> None:
        """Say what came of a song."""
        self.done += 1
        if self.bar and song in self._songs:
            self.bar.remove_task(self._songs.pop(song))
        if self.bar and self._all is not None:
            self.bar.update(self._all, completed=self.done, description=f"{self.done}/{self.count}")
        if error:
            self.failed += 1
            typer.echo(f"backbeat: error: {error}", err=True)
            return
        for warning in warnings:
            typer.echo(f"{song}: warning: {warning}", err=True)
        typer.echo(f"{folder}: {'is there already' if skipped else ', '.join(stems)}")


def _progress() -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, transient=True)


WORKER_EPILOG = """[bold]Examples[/bold]

backbeat worker redis://queue:6379/0 --root /music                  (on each machine, once for each GPU or socket)

backbeat separate /music/new -o /music/stems --queue redis://queue:6379/0
"""


def worker(
    url: Annotated[str, typer.Argument(metavar="URL", help="The Redis at which songs wait: redis://HOST:PORT/DB.")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Songs and stems must lie in here.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep stems here, and look here first.", show_default=False)
    ] = None,
    cache_redis: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With --cache: a Redis that the caches of all machines share."),
    ] = None,
    name: Annotated[str, typer.Option(help="What the queue calls this worker; of this machine, once.")] = "worker",
) -> None:
    r"""Separate songs from a queue until stopped; needs pip install 'backbeat\[queue]'.

    Every worker must see songs and stems under the same paths, and have the models pulled. Ctrl-C lets the song at hand
    be finished.
    """
    from backbeat.separation.allocator import keep_freed_memory
    from backbeat.separation.cache import StemCache
    from backbeat.separation.engine import SeparationEngine
    from backbeat.separation.queue import celery_app, register, run_worker

    if not root.is_dir():
        raise ConfigError(f"{root}: is not a folder")
    if cache is None and cache_redis is not None:
        raise ConfigError("--cache-redis needs --cache: what comes from Redis is kept on disk as well")
    app = celery_app(url)
    keep_freed_memory()
    kept = None if cache is None else StemCache(cache, redis_url=cache_redis)
    register(app, SeparationEngine(device=device, cache=kept), root)
    run_worker(app, name)
