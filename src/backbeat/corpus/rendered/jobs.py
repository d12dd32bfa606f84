"""Making the tracks of a corpus in parallel, so that an interrupted run goes on where it stopped.

Each finished track is kept in a partial folder beside the corpus, named by a fingerprint of everything that decides
the result (parameters, code, soundfonts, kits), so what an older configuration left is never mixed in. The corpus
appears under its name only when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

from backbeat.corpus.contract import ANNOTATIONS, Corpus, Track, check_target, read_corpus, write_annotations
from backbeat.errors import CorpusError
from backbeat.files import atomic_path, sha256_file


class Job(Protocol):
    """One track to make: whatever the maker needs, with the id that the track will have."""

    @property
    def id(self) -> str:
        """The track's id."""
        ...


_AnyJob = TypeVar("_AnyJob", bound=Job)
#: What making a job gives: the row of its track, or those of several.
Made = Track | tuple[Track, ...]


def fingerprint(params: dict[str, Any], files: Iterable[Path], folders: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits that change with anything that decides a corpus.

    Parameters
    ----------
    params
        Parameters as plain values.
    files
        Hashed by their bytes, with the code that composes and renders.
    folders
        Hashed by the names and sizes of their files, which are many.
    """
    digest = sha256(json.dumps(params, sort_keys=True).encode())
    package = Path(__file__).parents[2]
    folders_of_code = ("corpus", "corpus/rendered", "music", "audio")
    code = [path for folder in folders_of_code for path in package.glob(f"{folder}/*.py")]
    for path in (*sorted(code), *files):
        digest.update(sha256_file(path).encode())
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder).as_posix()}:{path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def make_corpus(
    root: Path,
    jobs: Sequence[_AnyJob],
    make: Callable[[_AnyJob, Path], Made],
    mark: str,
    *,
    workers: int | None = None,
    progress: bool = True,
    finish: Callable[[Path], None] | None = None,
) -> Corpus:
    """Make every track and then the corpus.

    Parameters
    ----------
    root
        Where the corpus will appear; a corpus that is there is replaced.
    jobs
        The tracks; they and `make` must pickle.
    make
        Writes one track, or several that belong together, under a folder and returns the rows.
    mark
        The fingerprint: tracks are taken from an interrupted run of the same mark only.
    workers
        Processes; as many as there are processors when left out, none but this one for 1.
    progress
        Whether to show how far it is, on standard error.
    finish
        Called with the folder of the whole corpus before it appears under its name, to add to it.

    Raises
    ------
    CorpusError
        If `root` is there and is no corpus, or a worker died.
    """
    check_target(root)
    partial = root.parent / f".{root.name}.partial-{mark}"
    (partial / "rows").mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if not (_row_folder(partial, job) / ANNOTATIONS).is_file()]
    with _progress(len(jobs), len(jobs) - len(waiting), progress) as advance:
        for _ in _run(waiting, make, partial, _workers(workers, len(waiting))):
            advance()
    rows = [track for job in jobs for track in read_corpus(_row_folder(partial, job)).tracks]
    shutil.rmtree(partial / "rows")
    write_annotations(partial, rows)
    if finish is not None:
        finish(partial)
    with atomic_path(root) as whole:
        partial.rename(whole)
        if root.is_dir() and not any(root.iterdir()):
            root.rmdir()
    for stale in root.parent.glob(f".{root.name}.partial-*"):
        shutil.rmtree(stale)
    return read_corpus(root)


def _workers(asked: int | None, jobs: int) -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(asked or available, jobs))


def _row_folder(partial: Path, job: Job) -> Path:
    return partial / "rows" / job.id


def _make_one(job: _AnyJob, make: Callable[[_AnyJob, Path], Made], partial: Path) -> None:
    made = make(job, partial)
    # The row is written last: a track without one was interrupted and is made again.
    write_annotations(_row_folder(partial, job), [made] if isinstance(made, Track) else made)


def _run(jobs: Sequence[_AnyJob], make: Callable[[_AnyJob, Path], Made], partial: Path, workers: int) -> Iterator[None]:
    if workers == 1:
        for job in jobs:
            _make_one(job, make, partial)
            yield
        return
    from concurrent.futures.process import BrokenProcessPool

    # Processes are spawned, not forked: a fork of a process with threads (PyTorch's, a logger's) may hang.
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_make_one, job, make, partial) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except BrokenProcessPool:
            raise CorpusError(
                "a rendering process died (out of memory?); run again to go on, with fewer workers"
            ) from None
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let the processes that are started meanwhile compute with one thread each: they share the processors already."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _progress(total: int, done: int, shown: bool) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, a line for every tenth elsewhere; yield what to call after each track."""
    if not shown:
        yield lambda: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("Rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("Rendering", total=total, completed=done)
            yield lambda: bar.advance(task)
        return
    state = {"done": done}

    def advance() -> None:
        state["done"] += 1
        if state["done"] * 10 // total > (state["done"] - 1) * 10 // total:
            sys.stderr.write(f"rendered {state['done']} of {total} tracks\n")
            sys.stderr.flush()

    yield advance
