"""The service under load, beside an empty BentoML endpoint and the library in-process, all in one run.

`make load`, or `python benchmarks/load.py --requests 10000 --output reports/load.json`. The service is started as
users start it, with its own settings, on a free port; clients are in this process and take their share of the cores,
of the ceiling as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from asking import answer, ask_once, request, running
from changes import lost_requests
from rich.console import Console
from rich.table import Table

from backbeat.audio.encode import encode
from backbeat.files import write_json

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
        found |= lost_requests(Path(folder) / "changes", short)
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
        (
            f"accepted requests lost while the model changed {found['model_changes']:.0f} times",
            f"{found['model_change_lost']:.0f} of {found['model_change_asked']:.0f}",
        ),
        (
            "the same in a rolling restart of two replicas",
            f"{found['restart_lost']:.0f} of {found['restart_asked']:.0f}",
        ),
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
