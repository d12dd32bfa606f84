"""The cache of stems: what goes in comes out, by level; what is damaged, old, too much or away is a miss."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.test_separation import GOLDEN, models, write_song  # noqa: F401 (a fixture)

from backbeat.errors import ConfigError
from backbeat.separation import files
from backbeat.separation.cache import StemCache, cache_key
from backbeat.separation.engine import SeparationEngine
from backbeat.separation.files import SeparationOptions
from backbeat.separation.store import pull

KEY = cache_key("a" * 64, "model", {"suffix": "wav"})


def put(cache: StemCache, folder: Path, content: bytes, stem: str = "vocals", key: str = KEY) -> None:
    (folder / "in").write_bytes(content)
    cache.keep(key, stem, folder / "in")


def got(cache: StemCache, folder: Path, stem: str = "vocals", key: str = KEY) -> bytes | None:
    target = folder / "out"
    return target.read_bytes() if cache.fetch(key, stem, target) else None


def test_keys_differ_by_all_that_matters() -> None:
    keys = {
        cache_key(source, model, {"suffix": suffix, "bit_depth": depth})
        for source in ("a", "b")
        for model in ("m", "n")
        for suffix in ("wav", "flac")
        for depth in (16, 24)
    }
    assert len(keys) == 16
    assert cache_key("a", "m", {"x": 1, "y": 2}) == cache_key("a", "m", {"y": 2, "x": 1})


def test_levels_answer_in_turn(tmp_path: Path) -> None:
    cache = StemCache(tmp_path / "cache")
    assert got(cache, tmp_path) is None
    put(cache, tmp_path, b"sound" * 1000)
    assert got(cache, tmp_path) == b"sound" * 1000
    assert got(cache, tmp_path, "drums") is None
    stats = cache.stats()
    assert (stats["memory"]["hits"], stats["memory"]["misses"], stats["memory"]["bytes"]) == (1, 2, 5000)
    assert (stats["disk"]["hits"], stats["disk"]["misses"]) == (0, 2)
    cache.close()
    # Another process, or this one tomorrow: the disk has it, and then memory.
    again = StemCache(tmp_path / "cache")
    assert [got(again, tmp_path), got(again, tmp_path)] == [b"sound" * 1000] * 2
    assert (again.stats()["disk"]["hits"], again.stats()["memory"]["hits"]) == (1, 1)
    again.clear()
    assert got(again, tmp_path) is None
    again.close()


def test_memory_and_disk_hold_what_they_may_and_forget_what_is_old(tmp_path: Path) -> None:
    cache = StemCache(tmp_path / "cache", memory_bytes=10_000, disk_bytes=400_000)
    for number in range(6):
        put(cache, tmp_path, bytes([number]) * 2400, f"s{number}")
    assert cache.stats()["memory"]["bytes"] == 9600
    put(cache, tmp_path, b"x" * 2501, "large")  # over a quarter of the memory
    assert cache.stats()["memory"]["bytes"] == 9600
    assert got(cache, tmp_path, "large") == b"x" * 2501
    put(cache, tmp_path, b"x" * 400_001, "huge")
    assert got(cache, tmp_path, "huge") is None
    for number in range(20):
        put(cache, tmp_path, bytes([number]) * 100_000, f"big{number}")
    assert cache.stats()["disk"]["bytes"] < 700_000  # it is looked after at each entry, not before it
    assert got(cache, tmp_path, "big19") is not None
    cache.close()
    brief = StemCache(tmp_path / "brief", ttl_s=0.01)
    put(brief, tmp_path, b"sound")
    time.sleep(0.1)
    assert got(brief, tmp_path) is None
    brief.close()


def test_damage_is_found_and_healed(tmp_path: Path) -> None:
    cache = StemCache(tmp_path / "cache", memory_bytes=4)
    put(cache, tmp_path, b"sound" * 100_000)
    file = max((tmp_path / "cache").rglob("*.val"), key=lambda path: path.stat().st_size)
    file.write_bytes(b"sounD" * 100_000)
    assert got(cache, tmp_path) is None
    assert cache.stats()["disk"]["damaged"] == 1
    put(cache, tmp_path, b"sound" * 100_000)
    assert got(cache, tmp_path) == b"sound" * 100_000
    next(iter((tmp_path / "cache").rglob("*.val"))).unlink()
    assert got(cache, tmp_path) is None
    # The index itself.
    put(cache, tmp_path, b"sound")
    cache.close()
    for path in (tmp_path / "cache" / "stems").glob("cache.db*"):
        path.write_bytes(b"not a database at all" * 1000)
    healed = StemCache(tmp_path / "cache", memory_bytes=4)
    assert got(healed, tmp_path) is None
    put(healed, tmp_path, b"sound")
    assert got(healed, tmp_path) == b"sound"
    assert healed.stats()["disk"]["damaged"] >= 1
    healed.close()


def test_a_locked_index_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = StemCache(tmp_path / "cache", memory_bytes=4)
    put(cache, tmp_path, b"sound")

    class Locked:
        def get(self, *_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(cache._disk, "_opened", Locked)
        assert got(cache, tmp_path) is None
    assert cache.stats()["disk"]["failures"] == 1
    assert got(cache, tmp_path) == b"sound"
    cache.close()


def _count_alone(folder: Path, log: Path) -> None:
    cache = StemCache(folder)
    with cache.once(KEY):
        target = folder / f"out-{multiprocessing.current_process().pid}"
        if not cache.fetch(KEY, "vocals", target):
            with log.open("a") as out:
                out.write("made\n")
            time.sleep(0.3)
            put(cache, log.parent, b"sound")
    cache.close()


def test_processes_that_want_the_same_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count_alone, args=(tmp_path / "cache", tmp_path / "log")) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "made\n"


def test_threads_that_want_the_same_wait_and_others_do_not(tmp_path: Path) -> None:
    cache = StemCache(tmp_path / "cache")
    inside, held = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with cache.once(KEY):
            inside.set()
            held.wait(10)
            order.append("first")

    def second() -> None:
        with cache.once(KEY):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    inside.wait(10)
    threads[1].start()
    with cache.once("0" + cache_key("b", "m", {})[1:] if KEY[0] != "0" else "f" + KEY[1:]):
        order.append("other")
    held.set()
    for thread in threads:
        thread.join()
    assert order == ["other", "first", "second"]
    cache.close()


def test_the_engine_separates_a_song_once(
    tmp_path: Path,
    models: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pull("spleeter:2stems", source=GOLDEN / "2stems")
    song = write_song(tmp_path / "song.wav", 0.5)
    made: list[Path] = []
    real = files._separate
    monkeypatch.setattr(files, "_separate", lambda path, *rest: made.append(path) or real(path, *rest))
    cache = StemCache(tmp_path / "cache")

    async def main() -> None:
        async with SeparationEngine(concurrency=3, cache=cache) as engine:
            await asyncio.gather(
                *(engine.separate(song, "spleeter:2stems", tmp_path / f"out{number}") for number in range(4))
            )
            (tmp_path / "copy.wav").write_bytes(song.read_bytes())  # the content counts, not the name
            await engine.separate(tmp_path / "copy.wav", "spleeter:2stems", tmp_path / "out4")
            stats = engine.stats()
            assert (stats.files, stats.cached) == (1, 4)
            await engine.separate(song, "spleeter:2stems", tmp_path / "out0", SeparationOptions(again=True))

    asyncio.run(main())
    assert len(made) == 2
    assert len({(tmp_path / f"out{number}" / "vocals.wav").read_bytes() for number in range(5)}) == 1
    cache.close()


def test_a_process_killed_while_it_keeps_a_stem_leaves_a_miss(tmp_path: Path) -> None:
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import diskcache\n"
            "from backbeat.separation.cache import StemCache\n"
            "def write(self, path, pieces, mode, encoding=None):\n"
            "    Path(path).parent.mkdir(parents=True, exist_ok=True)\n"
            "    Path(path).write_bytes(next(iter(pieces))[:100])\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "diskcache.Disk._write = write\n"
            "StemCache(Path(sys.argv[1])).keep(sys.argv[2], 'vocals', Path(sys.argv[3]))\n",
            str(tmp_path / "cache"),
            KEY,
            str(write_song(tmp_path / "song.wav", 0.5)),
        ],
        check=False,
    )
    assert killed.returncode == -9
    cache = StemCache(tmp_path / "cache")
    assert got(cache, tmp_path) is None
    put(cache, tmp_path, b"sound" * 1000)
    assert got(StemCache(tmp_path / "cache"), tmp_path) == b"sound" * 1000


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    process.terminate()
    process.wait()


def test_redis_serves_another_machine(tmp_path: Path, redis_port: int) -> None:
    import redis

    url = f"redis://127.0.0.1:{redis_port}/0"
    here, there = StemCache(tmp_path / "here", redis_url=url), StemCache(tmp_path / "there", redis_url=url)
    put(here, tmp_path, b"sound")
    assert got(there, tmp_path) == b"sound"
    assert there.stats()["redis"]["hits"] == 1
    assert got(there, tmp_path) == b"sound"
    assert there.stats()["redis"]["hits"] == 1  # the second time it was in memory
    with redis.Redis(port=redis_port) as client:
        (name,) = client.keys()
        assert client.ttl(name) > 0
        client.set(name, client.get(name)[:-1] + b"!")
    third = StemCache(tmp_path / "third", redis_url=url)
    assert got(third, tmp_path) is None
    assert third.stats()["redis"]["damaged"] == 1
    for cache in (here, there, third):
        cache.close()


def test_a_redis_that_is_away_is_a_miss(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cache = StemCache(tmp_path / "cache", redis_url=f"redis://127.0.0.1:{port}/0")
    assert got(cache, tmp_path) is None
    put(cache, tmp_path, b"sound")
    assert got(cache, tmp_path) == b"sound"
    # It was asked once, and then left alone for a while.
    assert cache.stats()["redis"]["failures"] == 1
    cache.close()


@pytest.mark.parametrize("bad", [{"memory_bytes": 0}, {"disk_bytes": -1}, {"ttl_s": 0}, {"redis_url": "http://x"}])
def test_senseless_caches_are_refused(tmp_path: Path, bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        StemCache(tmp_path / "cache", **bad)
