"""Recommendation from a large catalogue, asked of the service as users start it (`bentoml serve`), one at a time.

`python benchmarks/recommending.py --items 100000 --output reports/recommending.json`. The catalogue is synthetic:
random unit vectors in the spaces that the models have, columns drawn by chance, listeners who did things by chance. It
is for speed alone and says nothing of how good an answer is. There are as many tracks as beats, `--items` of each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from asking import ROOT, answer, request, running
from load import RATE_HZ, made_up, memory_mib
from rich.console import Console
from rich.table import Table

from backbeat.analysis.hearing import hear_samples
from backbeat.files import write_json
from backbeat.recommend.items import Kind

sys.path.insert(0, str(ROOT / "tests"))
from catalogue_items import many, unit

TAKE_S = 20.0
WARM_UP = 5
Ask = Callable[[int], bytes]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="tracks, and as many beats")
    parser.add_argument("--listeners", type=int, default=1000, help="each of whom did 50 things")
    parser.add_argument("--turns", type=int, default=300, help="requests of each kind")
    parser.add_argument("--take", type=Path, help="a take; 20 s of a made-up one when left out")
    parser.add_argument("--catalogue", type=Path, help="where the synthetic catalogue lies, to be used again")
    parser.add_argument("--pairing", type=Path, help="a model folder; the one that ships when left out")
    parser.add_argument("--listening", type=Path, help="a model folder; the one that ships when left out")
    parser.add_argument("--output", type=Path, default=Path("reports/recommending.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bb-recommending-") as folder:
        catalogue = (given.catalogue or Path(folder) / "catalogue").absolute()
        making_s = make(catalogue, given.items, given.listeners, given.pairing)
        take = given.take or made_up(Path(folder) / "take.mp3", TAKE_S)
        found: dict[str, Any] = {"items": given.items, "making_s": making_s}
        folders = {task: str(model) for task in ("pairing", "listening") if (model := getattr(given, task))}
        how = {"recommend__catalogue": str(catalogue), "models__folders": json.dumps(folders)}
        with running("serving.service:Backbeat", Path(folder) / "service", **how) as (port, process, ready_s):
            found |= {"ready_s": ready_s, "warm_s": asyncio.run(warm(port))}
            for name, ask in questions(given.items, given.listeners, take).items():
                turns = given.turns // 3 if "take" in name else given.turns
                before, stages = cpu_s(process), stages_s(port)
                found[name] = told(asyncio.run(timed(port, ask, turns)))
                found[name]["cpu_ms"] = round(1000 * (cpu_s(process) - before) / (turns + WARM_UP), 2)
                spent = stages_s(port) - stages
                found[name]["stages_ms"] = {one: round(1000 * spent[one] / (turns + WARM_UP), 1) for one in spent}
                print(name, found[name], flush=True)
            found["memory_mib"] = {"answering process": answering_mib(process), "all processes": memory_mib(process)}
    write_json(given.output, found)
    show(found)


def make(folder: Path, count: int, listeners: int, pairing: Path | None) -> float:
    """Make the synthetic catalogue where there is none; return the seconds that it took."""
    from backbeat.recommend.catalogue import Catalogue
    from backbeat.recommend.factors import refit
    from backbeat.recommend.interactions import Interaction

    begun = time.perf_counter()
    catalogue = Catalogue.open(str(folder), make=True)
    try:
        if catalogue.count("beat") >= count:
            return 0.0
        for kind in ("track", "beat"):
            catalogue.add_many(rows(count, kind, spaces(kind, pairing)))
        random = np.random.default_rng(3)
        for user in range(listeners):
            liked = random.choice(count, 50, replace=False)
            catalogue.add_interactions(
                [
                    Interaction(f"user-{user:05d}", f"track-{number:06d}", "like", 1.6e9 + 1000 * place)
                    for place, number in enumerate(liked.tolist())
                ]
            )
        refit(catalogue)
    finally:
        catalogue.close()
    return time.perf_counter() - begun


def spaces(kind: Kind, pairing: Path | None) -> dict[str, int]:
    """Return the spaces that the models have for items of a kind, and the length of their vectors."""
    from backbeat.analysis import Analyzer
    from backbeat.analysis.describing import shipped_pairing

    analyzer = Analyzer.load()
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ * 5).astype(np.float32)
    found = {analyzer.space: len(analyzer.genre_features(hear_samples(noise, RATE_HZ, analyzer.front_end)))}
    if kind == "beat" and (folder := pairing or shipped_pairing()) is not None:
        from backbeat.pairing.model import PairingModel

        model = PairingModel.from_folder(folder)
        found[model.space] = model.size
    return found


def rows(count: int, kind: Kind, lengths: dict[str, int]) -> Iterator[tuple[Any, dict[str, Any], bytes]]:
    """Give items with random vectors."""
    vectors = {space: unit(count, length, 5 + place) for place, (space, length) in enumerate(lengths.items())}
    for number, item in enumerate(many(count, kind, 1 if kind == "track" else 2)):
        yield item, {space: matrix[number] for space, matrix in vectors.items()}, b""


def questions(items: int, listeners: int, take: Path) -> dict[str, Ask]:
    """Return what is asked, by its name: a request for each turn."""
    random = np.random.default_rng(7)
    users = random.integers(0, listeners, 10_000).tolist()
    some = random.integers(0, items, (10_000, 5)).tolist()

    def tracks(**body: Any) -> bytes:
        return request("/v1/recommend/tracks", json.dumps(body).encode(), "application/json")

    content = take.read_bytes()
    return {
        "tracks for a user": lambda turn: tracks(user=f"user-{users[turn]:05d}"),
        "tracks for a user, by content": lambda turn: tracks(user=f"user-{users[turn]:05d}", method="content"),
        "tracks for 5 likes": lambda turn: tracks(likes=[f"track-{one:06d}" for one in some[turn]]),
        "tracks for 5 likes, diverse": lambda turn: tracks(
            likes=[f"track-{one:06d}" for one in some[turn]], diversity=0.5
        ),
        "tracks for anybody": lambda turn: tracks(),
        "beat for an item": lambda turn: bare(
            "POST", f"/v1/recommend/beat?like=track-{some[turn][0]:06d}&max_stretch=0.5"
        ),
        "similar tracks": lambda turn: bare("GET", f"/v1/catalogue/items/track-{some[turn][0]:06d}/similar"),
        "beat for a take": lambda turn: request("/v1/recommend/beat?max_stretch=0.5", content, "audio/mpeg"),
        "analysis of the take alone": lambda turn: request("/v1/analyze", content, "audio/mpeg"),
    }


def bare(method: str, path: str) -> bytes:
    """Return a request without a body as bytes."""
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()


async def warm(port: int) -> float:
    """Wait until the catalogue is in the service's memory; return the seconds."""
    begun = time.perf_counter()
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bare("GET", "/v1/catalogue/items?limit=1"))
        status, _ = await answer(reader)
        writer.close()
        if status == 200:
            return time.perf_counter() - begun
        await asyncio.sleep(0.2)


async def timed(port: int, ask: Ask, turns: int) -> list[float]:
    """Return how long each of so many requests took, one after the other over one connection, in ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    for turn in range(turns + WARM_UP):
        asked = ask(turn)
        begun = time.perf_counter()
        writer.write(asked)
        status, body = await answer(reader)
        taken.append(1000 * (time.perf_counter() - begun))
        if status != 200:
            raise SystemExit(f"{status}: {body[:300]!r}")
    writer.close()
    return taken[WARM_UP:]


def told(taken: list[float]) -> dict[str, float]:
    """Return the quantiles of times in ms."""
    return {
        "requests": len(taken),
        **{f"p{share}_ms": round(float(np.percentile(taken, share)), 2) for share in (50, 95, 99)},
        "max_ms": round(max(taken), 2),
    }


def cpu_s(process: psutil.Process) -> float:
    """Return the time that processors gave to all processes of a service, seconds: the same on a busy machine."""
    total = 0.0
    for one in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def stages_s(port: int) -> Counter[str]:
    """Return the seconds that each stage of requests took so far: hear, judge, choose."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    pattern = re.compile(r'backbeat_stage_seconds_sum\{.*?stage="(\w+)".*?\} (\S+)')
    return Counter({name: float(value) for name, value in pattern.findall(text)})


def answering_mib(process: psutil.Process) -> float:
    """Return the memory of the process that answers: of those of the service, the largest."""
    return max(one.memory_info().rss for one in process.children(recursive=True)) / 2**20


def show(found: dict[str, Any]) -> None:
    """Print the measures."""
    table = Table("request", "p50 ms", "p95 ms", "p99 ms", "longest", "processor's ms")
    for name, times in found.items():
        if isinstance(times, dict) and "p50_ms" in times:
            table.add_row(name, *(f"{times[part]:.1f}" for part in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "cpu_ms")))
    Console().print(table)
    stages = found["beat for a take"]["stages_ms"]
    Console().print("a take, mean ms by stage: " + ", ".join(f"{name} {stages[name]:.0f}" for name in stages))
    told_of = found["memory_mib"]
    Console().print(
        f"{found['items']:,} tracks and as many beats, synthetic, made in {found['making_s']:.0f} s; in memory "
        f"{found['warm_s']:.1f} s after the service was ready; {told_of['answering process']:.0f} MiB in the process "
        f"that answers, {told_of['all processes']:.0f} MiB in all"
    )


if __name__ == "__main__":
    main()
