"""A started service, as users have it: `bentoml serve` in processes of its own, asked over HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
RATE_HZ = 44100


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """A service that runs: its address, its process, its state and what it printed."""

    url: str
    process: subprocess.Popen[bytes]
    state: Path
    log: Path

    def client(self, **how: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, **how)  # type: ignore[arg-type]

    def wait(self, seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())


@contextmanager
def serving(folder: Path, models: Path | None = None, **settings: str) -> Iterator[Service]:
    """Run the service with settings, as variables without their prefix: `limits__max_bytes="1000"`.

    `models` is where separation models were pulled to; the state in `folder` is kept for the next.
    """
    port = free_port()
    short = tempfile.mkdtemp(prefix="bb-")
    log = folder / "log.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    variables = {f"BACKBEAT_SERVING__{name.upper()}": value for name, value in settings.items()}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BACKBEAT_")},
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "BACKBEAT_MODELS": str(models or folder / "models"),
        "BACKBEAT_SERVING__STATE": str(folder / "state"),
        "TMPDIR": short,
        **variables,
    }
    # Sockets lie there, whose paths must be short; found under `folder` all the same.
    (folder / "tmp").unlink(missing_ok=True)
    (folder / "tmp").symlink_to(short)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Backbeat", "--port", str(port)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    service = Service(f"http://127.0.0.1:{port}", process, folder / "state", log)
    try:
        service.wait()
        yield service
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(short, ignore_errors=True)


@contextmanager
def http_server(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with a handler, in threads; give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line, empty where it ended since it was listed."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too, until its parent has asked after it
        return []


def answering(service: Service) -> psutil.Process:
    """Return the process of a service that answers requests."""
    lines = {child: words_of(child) for child in psutil.Process(service.process.pid).children(recursive=True)}
    (found,) = (
        child
        for child, words in lines.items()
        if any("worker.service" in word for word in words) and "backbeat-backstage" not in words
    )
    return found


def backstage(service: Service) -> psutil.Process:
    """Return the process of a service that does jobs."""
    children = psutil.Process(service.process.pid).children(recursive=True)
    return next(child for child in children if "backbeat-backstage" in words_of(child))


def decoders(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes that decode for one that answers: forked from a child of its."""
    servers = [child for child in process.children() if "forkserver" in " ".join(words_of(child))]
    return [child for server in servers for child in server.children()]


def clicks(seconds: float = 6.0, bpm: float = 120.0, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """A beat that any tracker finds, in stereo."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    since = time_s % (60 / bpm)
    sound = 0.5 * np.sin(2 * np.pi * 1000 * since) * np.exp(-since / 0.02) + 0.02 * np.sin(2 * np.pi * 220 * time_s)
    return np.stack([sound, sound]).astype(np.float32)
