"""The service under load, beside an empty BentoML endpoint and the library in-process, all in one run.

`make load`, or `python benchmarks/load.py --requests 10000 --output reports/load.json`. The service is started as
users start it, with its own settings, on a free port; clients are in this process and take their share of the cores,
of the ceiling as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from backbeat.audio.encode import encode
from backbeat.files import write_json

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 30.0
RATE_HZ = 44100


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--song", type=Path, help="30 s of MP3; a made-up one when left out")
    parser.add_argument("--turns", type=int, default=60, help="analyses by one client")
    parser.add_argument("--load-s", type=float, default=20.0, help="how long each load lasts")
    parser.add_argument("--requests", type=int, default=10_000, help="requests after which memory is looked at")
    parser.add_argument("--output", type=Path, default=Path("reports/load.json"))
    given = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bb-load-") as folder:
        song = given.song or made_up(Path(folder) / "song.mp3", SECONDS)
        short = made_up(Path(folder) / "short.mp3", 2.0)
        found |= in_process(song, given.load_s)
        with running("benchmarks.empty_service:Empty", Path(folder) / "empty") as (port, _, _):
            body = json.dumps({"features": [0.1] * 64}).encode()
            found["empty_per_s"] = asyncio.run(
                rate(port, request("/nothing", body, "application/json"), 32, given.load_s)
            )
        with running("serving.service:Backbeat", Path(folder) / "service") as (port, process, ready_s):
            found["ready_s"] = ready_s
            whole = request("/v1/analyze", song.read_bytes(), "audio/mpeg")
            found |= asyncio.run(one_client(port, whole, given.turns))
            per_s = asyncio.run(rate(port, whole, 4, given.load_s))
            found["service_audio_per_s"] = per_s * SECONDS
            features = asyncio.run(ask_once(port, request("/v1/embedding", song.read_bytes(), "audio/mpeg")))[
                "features"
            ]
            body = json.dumps({"features": features}).encode()
            asked = request("/v1/genre/features", body, "application/json")
            found["genre_per_s"] = asyncio.run(rate(port, asked, 32, given.load_s))
            little = request("/v1/analyze", short.read_bytes(), "audio/mpeg")
            asyncio.run(several(port, little, 500))
            found["memory_500_mib"] = memory_mib(process)
            asyncio.run(several(port, little, given.requests - 500))
            found["memory_end_mib"] = memory_mib(process)
    write_json(given.output, found)
    table = Table("measure", "value")
    for name, value in told(found, given.requests):
        table.add_row(name, value)
    Console().print(table)


def told(found: dict[str, float], requests: int) -> list[tuple[str, str]]:
    """Return the measures as they are read."""
    growth = found["memory_end_mib"] / found["memory_500_mib"] - 1
    share = found["service_audio_per_s"] / found["library_audio_per_s"]
    return [
        ("analyse 30 s of MP3, one client, p50 / p95", f"{found['p50_ms']:.0f} / {found['p95_ms']:.0f} ms"),
        ("audio a wall second under load, service", f"{found['service_audio_per_s']:.0f} s/s"),
        ("the same in-process, two threads", f"{found['library_audio_per_s']:.0f} s/s"),
        ("share", f"{share:.0%}"),
        ("genre of features, requests a second", f"{found['genre_per_s']:.0f}"),
        ("empty endpoint, requests a second", f"{found['empty_per_s']:.0f}"),
        ("share of the ceiling", f"{found['genre_per_s'] / found['empty_per_s']:.0%}"),
        ("from start to ready", f"{found['ready_s']:.1f} s"),
        (f"memory after {requests} requests, over after 500", f"{growth:+.1%} ({found['memory_end_mib']:.0f} MiB)"),
    ]


def made_up(path: Path, seconds: float) -> Path:
    """Write some seconds of a beat with a chord and noise."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    since = time_s % 0.5
    beat = 0.5 * np.sin(2 * np.pi * 60 * since) * np.exp(-since / 0.08)
    chord = sum(0.05 * np.sin(2 * np.pi * hz * time_s) for hz in (220.0, 277.2, 329.6))
    noise = 0.05 * np.random.default_rng(0).standard_normal(time_s.size) * np.exp(-((time_s + 0.25) % 0.25) / 0.03)
    encode(path, np.stack([beat + chord + noise] * 2).astype(np.float32), RATE_HZ)
    return path


def in_process(song: Path, seconds: float) -> dict[str, float]:
    """Measure the library by itself: two threads, each with an analysis, as the service has two cores."""
    import torch

    from backbeat.analysis import Analyzer

    torch.set_num_threads(1)
    analyzer = Analyzer.load()
    analyzer.analyze(song)
    done = 0
    begun = time.perf_counter()

    def work() -> int:
        count = 0
        while time.perf_counter() - begun < seconds:
            analyzer.analyze(song)
            count += 1
        return count

    with ThreadPoolExecutor(2) as threads:
        done = sum(future.result() for future in [threads.submit(work) for _ in range(2)])
    return {"library_audio_per_s": done * SECONDS / (time.perf_counter() - begun)}


@contextmanager
def running(service: str, folder: Path) -> Iterator[tuple[int, psutil.Process, float]]:
    """Start a service; give its port, its process, and the seconds until it was ready."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ,
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "BACKBEAT_SERVING__STATE": str(folder / "state"),
    }
    begun = time.monotonic()
    with (folder / "log").open("wb") as log:
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
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
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


async def ask_once(port: int, asked: bytes) -> dict[str, list[float]]:
    """Ask once, and return what JSON came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    status, body = await answer(reader)
    writer.close()
    if status != 200:
        raise SystemExit(f"{status}: {body!r}")
    found: dict[str, list[float]] = json.loads(body)
    return found


async def client(port: int, asked: bytes, until: float, most: int, taken: list[float]) -> None:
    """Ask again and again over one connection, and note how long each took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until and len(taken) < most:
        begun = time.perf_counter()
        writer.write(asked)
        status, body = await answer(reader)
        if status != 200:
            raise SystemExit(f"{status}: {body[:200]!r}")
        taken.append(time.perf_counter() - begun)
    writer.close()


async def rate(port: int, asked: bytes, clients: int, seconds: float) -> float:
    """Return the requests a second of so many clients, after a second to warm up."""
    await asyncio.gather(*(client(port, asked, time.perf_counter() + 1, 10**9, []) for _ in range(clients)))
    taken: list[float] = []
    begun = time.perf_counter()
    await asyncio.gather(*(client(port, asked, begun + seconds, 10**9, taken) for _ in range(clients)))
    return len(taken) / (time.perf_counter() - begun)


async def one_client(port: int, asked: bytes, turns: int) -> dict[str, float]:
    """Return the median and the 95th percentile of one client's waits, in ms, after five to warm up."""
    taken: list[float] = []
    await client(port, asked, float("inf"), turns + 5, taken)
    cuts = statistics.quantiles(taken[5:], n=20)
    return {"p50_ms": 1000 * statistics.median(taken[5:]), "p95_ms": 1000 * cuts[18]}


async def several(port: int, asked: bytes, count: int) -> None:
    """Ask so many times, by four clients."""
    taken: list[float] = []
    await asyncio.gather(*(client(port, asked, float("inf"), count, taken) for _ in range(4)))


def memory_mib(process: psutil.Process) -> float:
    """Return the memory of a process and all below it that is theirs alone."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += one.memory_full_info().uss
    return total / 2**20


if __name__ == "__main__":
    main()
