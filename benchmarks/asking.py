"""A service that is measured: started as users start it, asked over plain connections."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def running(service: str, folder: Path, **settings: str) -> Iterator[tuple[int, psutil.Process, float]]:
    """Start a service; give its port, its process, and the seconds until it was ready; end it as an operator would."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ,
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "BACKBEAT_SERVING__STATE": str(folder / "state"),
        **{f"BACKBEAT_SERVING__{name.upper()}": value for name, value in settings.items()},
    }
    begun = time.monotonic()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "bentoml", "serve", service, "--port", str(port), "--host", "127.0.0.1"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        head = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        while True:
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            with suppress(OSError, asyncio.IncompleteReadError):
                if asyncio.run(status_once(port, head)) == 200:
                    break
            time.sleep(0.1)
        yield port, psutil.Process(process.pid), time.monotonic() - begun
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def request(path: str, body: bytes, kind: str) -> bytes:
    """Return a request as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read an answer: its status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:") + 15
    body = await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
    return int(head[9:12]), body


async def status_once(port: int, asked: bytes) -> int:
    """Ask once, and return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    status = int((await reader.readuntil(b"\r\n"))[9:12])
    writer.close()
    return status


async def ask_once(port: int, asked: bytes) -> dict[str, Any]:
    """Ask once, and return what JSON came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    status, body = await answer(reader)
    writer.close()
    if status != 200:
        raise SystemExit(f"{status}: {body!r}")
    found: dict[str, Any] = json.loads(body)
    return found
