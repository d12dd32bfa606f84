"""Other programs that a retraining runs: what they say goes to a log, and they end with the run that began them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from backbeat.errors import RetrainingBusyError, RetrainingError

#: In the environment of every program that a retraining runs, the checkout that it works for.
MARK = "BACKBEAT_RETRAINING"
_TOLD = 15


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold the lock of the retrainings of one checkout; end what a killed one has left running.

    Raises
    ------
    RetrainingBusyError
        If another holds it.
    """
    place.mkdir(parents=True, exist_ok=True)
    # Opened to append, so that whoever does not get it leaves the other's number alone.
    with (place / "lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            who = stream.read().strip() or "unknown"
            raise RetrainingBusyError(f"another retraining is at work here (process {who}); nothing was done") from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        end_leftovers(place)
        yield


def end_leftovers(place: Path) -> None:
    """End the programs that a retraining of `place` began, and that outlive it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(place):
                process.kill()
                found.append(process)
    psutil.wait_procs(found, timeout=10)


def environment(place: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of the programs of a retraining: the interpreter's programs come first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, MARK: str(place), "GIT_TERMINAL_PROMPT": "0", **(more or {})}


def ask(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program that answers at once; return what it says.

    Raises
    ------
    RetrainingError
        If it fails, with what it said last.
    """
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RetrainingError(f"`{' '.join(command)}` failed: {said[-1] if said else f'code {done.returncode}'}")
    return done.stdout.rstrip("\n")


def agrees(command: Sequence[str], folder: Path) -> bool:
    """Tell whether a program ends with code 0."""
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    return done.returncode == 0


def work(
    command: Sequence[str],
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    seen: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a program that takes its time; what it says goes to `log`, behind what is there, and line by line to `seen`.

    Raises
    ------
    RetrainingError
        If it fails, with what it said last and where the rest is.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    last: list[str] = []
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                for line in process.stdout or ():
                    out.write(line)
                    out.flush()
                    last = [*last[1 - _TOLD :], line.rstrip()]
                    seen(line.rstrip())
            except BaseException:
                _end(process.pid)
                raise
        code = process.returncode
    if code:
        said = next((line for line in reversed(last) if "error" in line.lower()), last[-1] if last else "")
        raise RetrainingError(f"`{' '.join(command)}` failed with code {code}: {said.strip()} (all of it: {log})")


def _end(pid: int) -> None:
    """Kill a process and all that it began."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), process]:
            with suppress(psutil.Error):
                one.kill()
