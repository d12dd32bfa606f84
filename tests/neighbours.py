"""What the service stands beside, as real programs on this machine: Redis, clamd, PostgreSQL, MLflow, all stoppable."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from services import free_port

#: What clamd finds, by a signature of ours: no database is fetched.
VIRUS = b"backbeat-test-signature"


@dataclass
class Neighbour:
    """A program that can be stopped and started again in the same place."""

    command: list[str]
    answers: Callable[[], bool]
    log: Path
    how: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=subprocess.STDOUT, **self.how)
        until = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(by)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def redis(folder: Path) -> Iterator[tuple[Neighbour, str]]:
    """Run a Redis of nothing; give it and its address."""
    program = shutil.which("redis-server")
    assert program
    folder.mkdir()
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    one = Neighbour(command, lambda: _listens(port), folder / "log")
    one.start()
    try:
        yield one, f"redis://127.0.0.1:{port}/0"
    finally:
        one.stop()


def clamd_program() -> str | None:
    return shutil.which("clamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def clamd(folder: Path) -> Iterator[tuple[Neighbour, Path]]:
    """Run a clamd that knows one signature; give it and its socket."""
    program = clamd_program()
    assert program
    (folder / "database").mkdir(parents=True)
    (folder / "database" / "ours.ndb").write_text(f"Backbeat.Test:0:*:{VIRUS.hex()}\n")
    # The path of a socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="clamd-") as short:
        place = Path(short) / "s"
        settings = {
            "LocalSocket": place,
            "FixStaleSocket": "yes",
            "DatabaseDirectory": folder / "database",
            "Foreground": "yes",
            "User": pwd.getpwuid(os.getuid()).pw_name,
        }
        (folder / "conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))

        def answers() -> bool:
            with socket.socket(socket.AF_UNIX) as wire, suppress(OSError):
                wire.settimeout(1)
                wire.connect(str(place))
                wire.sendall(b"zPING\0")
                return wire.recv(10) == b"PONG\0"
            return False

        one = Neighbour([program, "--config-file", str(folder / "conf")], answers, folder / "log")
        one.start()
        try:
            yield one, place
        finally:
            one.stop()


def postgres_programs() -> Path | None:
    """Return the folder of initdb and postgres, the latest there is."""
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else Path(found).resolve().parent if found else None


@contextmanager
def postgres() -> Iterator[tuple[Neighbour, str]]:
    """Run a PostgreSQL of one empty database; give it and its address."""
    programs = postgres_programs()
    assert programs
    # It refuses to be root, and must reach its folder as whoever it is instead.
    who = _somebody() if os.getuid() == 0 else None
    if os.getuid() == 0 and who is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
    with tempfile.TemporaryDirectory(prefix="postgres-") as short:
        folder, port = Path(short), free_port()
        how: dict[str, Any] = {"cwd": folder}
        if who is not None:
            os.chown(folder, who.pw_uid, who.pw_gid)
            how |= {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        data = str(folder / "data")
        made = [programs / "initdb", "-D", data, "-U", "backbeat", "-A", "trust", "-E", "UTF8", "--no-sync"]
        ran = subprocess.run(made, capture_output=True, text=True, check=False, **how)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        settings = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-k", str(folder), "-p", str(port)]
        ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        one = Neighbour(
            [str(programs / "postgres"), "-D", data, *settings],
            lambda: subprocess.run(ready, check=False).returncode == 0,
            folder / "log",
            how,
        )
        one.start()
        try:
            yield one, f"postgresql+psycopg://backbeat@127.0.0.1:{port}/postgres"
        finally:
            one.stop(signal.SIGINT)


def _somebody() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[tuple[Neighbour, str]]:
    """Run an MLflow server over a database, its artifacts in a folder that only it has; give it and its address."""
    folder.mkdir()
    port = free_port()
    places = ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    one = Neighbour(
        [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), *places],
        lambda: _listens(port),
        folder / "log",
        {"cwd": folder, "env": {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}},
    )
    one.start()
    try:
        yield one, f"http://127.0.0.1:{port}"
    finally:
        one.stop()
