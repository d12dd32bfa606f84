"""The engine: several files at once, each as alone; what is given up or fails leaves nothing and stops nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from unit.test_separation import GOLDEN, models  # noqa: F401 (a fixture)

from backbeat.audio.encode import encode
from backbeat.errors import AudioNotFoundError, ConfigError, ModelError, ResourceError, TimeLimitError
from backbeat.model import save_model, weights_of
from backbeat.separation.cache import StemCache
from backbeat.separation.engine import SeparationEngine, describe
from backbeat.separation.files import SeparationOptions, StemFormat
from backbeat.separation.network import SeparatorNetwork, SeparatorParams
from backbeat.separation.store import SeparatorSpec, pull

SECONDS = 6.0


def write_songs(folder: Path, count: int, seconds: float = SECONDS) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        path = folder / f"song{number}.wav"
        encode(path, (0.1 * rng.standard_normal((2, round(seconds * 44100)))).astype(np.float32), 44100)
        paths.append(path)
    return paths


@pytest.fixture
def songs(tmp_path: Path, models: Path) -> list[Path]:  # noqa: F811
    pull("spleeter:2stems", source=GOLDEN / "2stems")
    return write_songs(tmp_path / "songs", 4)


def run(work: Callable[[SeparationEngine], Coroutine[Any, Any, Any]], **how: Any) -> Any:
    async def main() -> Any:
        async with SeparationEngine(**how) as engine:
            return await work(engine)

    return asyncio.run(main())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_songs_at_once_are_what_each_is_alone(tmp_path: Path, songs: list[Path]) -> None:
    async def alone(engine: SeparationEngine) -> None:
        await engine.initialize("spleeter:2stems")
        for song in songs:
            await engine.separate(song, "spleeter:2stems", tmp_path / "alone" / song.stem)

    async def together(engine: SeparationEngine) -> Any:
        seen: list[float] = []
        made = await engine.batch_separate(
            [*songs, tmp_path / "none.wav"],
            "spleeter:2stems",
            tmp_path / "together",
            progress=lambda path, done, total: seen.append(done / total),
        )
        assert max(seen) == 1.0
        return made, engine.stats()

    run(alone)
    made, stats = run(together, concurrency=3)
    assert [outcome.error is None for outcome in made] == [True] * 4 + [False]
    assert isinstance(made[4].error, AudioNotFoundError)
    assert list(made[0].separated.stems) == ["vocals", "accompaniment"]
    assert contents(tmp_path / "alone") == contents(tmp_path / "together")
    assert (stats.files, stats.skipped, stats.cancelled) == (4, 0, 0)
    assert stats.failed == {"AudioNotFoundError": 1}
    assert stats.audio_s == pytest.approx(4 * SECONDS)
    assert stats.models[0].startswith("spleeter:2stems 1.4.0-")
    told = json.loads(json.dumps(describe(stats)))
    assert told["s_per_s"] > 0


def test_a_cancelled_call_stops_soon_and_leaves_nothing(tmp_path: Path, songs: list[Path]) -> None:
    long = write_songs(tmp_path / "long", 1, 120.0)[0]

    async def main(engine: SeparationEngine) -> None:
        await engine.initialize("spleeter:2stems")
        started = threading.Event()
        seen: list[float] = []

        def step(_: Path, done_s: float, __: float) -> None:
            seen.append(done_s)
            started.set()

        first = asyncio.create_task(engine.separate(long, "spleeter:2stems", tmp_path / "a", progress=step))
        waiting = asyncio.create_task(engine.separate(songs[0], "spleeter:2stems", tmp_path / "b"))
        await asyncio.to_thread(started.wait)
        waiting.cancel()
        first.cancel()
        results = await asyncio.gather(first, waiting, return_exceptions=True)
        assert seen[-1] < 120.0
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert engine.stats().cancelled == 2
        # The engine goes on.
        await engine.separate(songs[1], "spleeter:2stems", tmp_path / "c")

    run(main)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    assert len(contents(tmp_path / "c")) == 3


def test_the_event_loop_goes_on_meanwhile(tmp_path: Path, songs: list[Path]) -> None:
    async def main(engine: SeparationEngine) -> int:
        turns = 0
        work = asyncio.create_task(engine.batch_separate(songs, "spleeter:2stems", tmp_path / "out"))
        while not work.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns

    # One turn or two, were it blocked while a file is worked on.
    assert run(main) > 10


def test_errors_are_of_one_tree(tmp_path: Path, songs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    async def one(engine: SeparationEngine, **how: Any) -> Any:
        return await engine.separate(songs[0], **{"model": "spleeter:2stems", "output_dir": tmp_path / "out", **how})

    with pytest.raises(ModelError, match="backbeat models pull spleeter:5stems"):
        run(lambda engine: one(engine, model="spleeter:5stems"))
    with pytest.raises(ConfigError, match="no stem 'flute'"):
        run(lambda engine: one(engine, options=SeparationOptions(stems=("flute",))))
    with pytest.raises(TimeLimitError, match=r"song0\.wav: was not separated within 1e-09 s"):
        run(lambda engine: one(engine, timeout_s=1e-9))
    (tmp_path / "file").write_text("words")
    with pytest.raises(ResourceError, match="file/out: cannot be written: Not a directory"):
        run(lambda engine: one(engine, output_dir=tmp_path / "file" / "out"))
    with monkeypatch.context() as patched:
        patched.setattr("backbeat.separation.files.AudioWriter.write", lambda *_: _raise(OSError(28, "No space")))
        with pytest.raises(ResourceError, match="out: the disk is full"):
            run(one)
        patched.setattr("backbeat.separation.files.AudioWriter.write", lambda *_: _raise(MemoryError()))
        with pytest.raises(ResourceError, match="does not fit into memory"):
            run(one)
    assert not (tmp_path / "out").exists()
    for bad in ({"concurrency": 0}, {"segments_at_once": 0}, {"device": "tpu"}):
        with pytest.raises(ConfigError):
            SeparationEngine(**bad)
    assert len(run(lambda engine: one(engine, options=SeparationOptions(how=StemFormat("flac")))).stems) == 2


def test_a_fault_ends_no_batch(tmp_path: Path, songs: list[Path]) -> None:
    def shown(path: Path, _: float, __: float) -> None:
        if path == songs[1]:
            raise KeyError("a fault of whoever shows progress")

    made = run(lambda engine: engine.batch_separate(songs, "spleeter:2stems", tmp_path / "out", progress=shown))
    assert [type(outcome.error) for outcome in made] == [type(None), KeyError, type(None), type(None)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"song0", "song2", "song3"}
    (tmp_path / "file").write_text("words")
    with pytest.raises(ResourceError, match="file/cache: the cache cannot be written: Not a directory"):
        run(
            lambda engine: engine.separate(songs[0], "spleeter:2stems", tmp_path / "other"),
            cache=StemCache(tmp_path / "file/cache"),
        )
    for timeout_s in (0, -1, float("nan")):
        with pytest.raises(ConfigError, match="leaves no time"):
            run(lambda engine: engine.separate(songs[0], "spleeter:2stems", tmp_path / "x", timeout_s=timeout_s))  # noqa: B023
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigError, match="give a list"):
        run(lambda engine: engine.batch_separate("song.wav", "spleeter:2stems", tmp_path / "x"))

    async def closed() -> None:
        engine = SeparationEngine()
        await engine.close()
        await engine.separate(songs[0], "spleeter:2stems", tmp_path / "x")

    with pytest.raises(ConfigError, match="closed"):
        asyncio.run(closed())


def _raise(error: BaseException) -> None:
    raise error


def test_models_are_loaded_once_and_listed(songs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backbeat.separation import engine as module

    loads: list[Path] = []
    real = module.load_network
    monkeypatch.setattr(module, "load_network", lambda folder: loads.append(folder) or real(folder))

    async def main(engine: SeparationEngine) -> list[str]:
        await engine.batch_separate(songs, "spleeter:2stems", tmp_path / "out")
        await engine.batch_separate(songs, "spleeter:2stems", tmp_path / "out")
        assert engine.stats().skipped == 4
        return [spec.name for spec in engine.available_models()]

    assert run(main, concurrency=4) == ["spleeter:2stems"]
    assert len(loads) == 1


def small_model(folder: Path) -> Path:
    """A model folder with a network so small that a call takes milliseconds."""
    torch.manual_seed(1)
    params = SeparatorParams(
        ("vocals", "accompaniment"), filters=(2,) * 6, frame_length=256, frame_step=64, bins=128, segment_frames=64
    )
    network = SeparatorNetwork(params)
    digest = hashlib.sha256(weights_of(network)).hexdigest()
    save_model(folder, network, SeparatorSpec("small", "1", params, digest), "")
    return folder


def test_a_thousand_calls_take_no_more_memory_and_mix_nothing_up(tmp_path: Path) -> None:
    model = str(small_model(tmp_path / "model"))
    songs = write_songs(tmp_path / "songs", 4, 0.2)
    again = SeparationOptions(again=True)

    async def main(engine: SeparationEngine) -> None:
        for number, song in enumerate(songs):
            await engine.separate(song, model, tmp_path / f"first{number}")
        first = [contents(tmp_path / f"first{number}") for number in range(4)]
        assert len({stems["vocals.wav"] for stems in first}) == 4
        base = 0.0
        for turn in range(500):
            pair = (turn % 4, (turn + 1 + turn // 4 % 3) % 4)  # every song beside every other
            await asyncio.gather(
                *(engine.separate(songs[number], model, tmp_path / f"again{number}", again) for number in pair)
            )
            assert all(contents(tmp_path / f"again{number}") == first[number] for number in pair)
            if turn == 50:
                base = _resident_mib()
        assert engine.stats().files == 1004
        assert _resident_mib() < base + 30

    run(main, concurrency=2)


def _resident_mib() -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc to see how much memory is used")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
