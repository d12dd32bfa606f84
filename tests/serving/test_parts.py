"""Parts of the service by themselves: hearing that fails, uploads that dawdle, scanners, records, settings of time."""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from services import RATE_HZ, clicks, decoders
from serving_asks import settings_of
from structlog.testing import capture_logs

from backbeat.analysis.analyzer import Judgement, shipped_models
from backbeat.analysis.hearing import Heard, hear
from backbeat.audio.encode import encode
from backbeat.audio.limits import AudioLimits
from backbeat.errors import (
    AudioLimitError,
    DamagedAudioError,
    MonitoringError,
    ResourceError,
    TimeLimitError,
    UnsupportedAudioError,
)
from backbeat.features import LogMel
from backbeat.model import load_spec
from backbeat.monitoring.rows import Row, row_of, table_of
from backbeat.monitoring.store import MonitoringStore
from serving.analysing import Queue
from serving.hearing import HearingPool
from serving.problems import Problem
from serving.records import Kept, Recorder
from serving.scan import Scanner
from serving.settings import Scan
from serving.uploads import limited, plain_name, sweep
from serving.working import Worker

BEAT = shipped_models()["beat"]
LIMITS = AudioLimits(100_000_000, 1800.0)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.flac"
    encode(path, clicks(4.0), RATE_HZ)
    return path


@pytest.fixture(scope="module")
def pool() -> Iterator[HearingPool]:
    made = HearingPool(BEAT, 1, 60.0, 1 << 30)
    asyncio.run(made.start())
    yield made
    made.close()


def test_what_is_heard_apart_is_what_is_heard_here(pool: HearingPool, song: Path) -> None:
    apart = asyncio.run(pool.hear(song, LIMITS))
    here = hear(song, LogMel(load_spec(BEAT, "beat").features))
    np.testing.assert_allclose(apart.spectrogram, here.spectrogram, atol=1e-5)
    assert (apart.duration_s, apart.key, apart.codec) == (here.duration_s, here.key, "flac")
    assert apart.outline.shape == (2, 0)


def test_errors_come_back_and_the_process_goes_on(pool: HearingPool, song: Path, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("words")
    with pytest.raises(UnsupportedAudioError, match="is not audio"):
        asyncio.run(pool.hear(tmp_path / "words", LIMITS))
    with pytest.raises(AudioLimitError, match=r"over the limit of 1\.0 s"):
        asyncio.run(pool.hear(song, AudioLimits(100_000_000, 1.0)))
    assert asyncio.run(pool.hear(song, LIMITS)).duration_s == 4.0


def test_a_process_that_is_killed_is_replaced_and_its_file_answered_for(pool: HearingPool, tmp_path: Path) -> None:
    long = tmp_path / "long.flac"
    encode(long, np.tile(clicks(10.0)[:1], (1, 60)), RATE_HZ)

    def kill() -> None:
        for process in decoders(psutil.Process()):
            process.kill()

    async def main() -> None:
        work = asyncio.create_task(pool.hear(long, LIMITS))
        await asyncio.sleep(0.3)
        kill()
        with pytest.raises(DamagedAudioError, match="made the decoder fail"):
            await work
        assert (await pool.hear(long, LIMITS)).duration_s == 600.0

    asyncio.run(main())


def test_time_and_memory_have_an_end(tmp_path: Path) -> None:
    long = tmp_path / "long.flac"
    encode(long, np.tile(clicks(10.0)[:1], (1, 60)), RATE_HZ)
    small = HearingPool(BEAT, 1, 30.0, 20_000_000)  # ten minutes have 58 MB at the front end's rate
    quick = HearingPool(BEAT, 1, 0.05, 1 << 30)
    none = HearingPool(tmp_path / "none", 1, 30.0, 1 << 30)

    async def main() -> None:
        await asyncio.gather(small.start(), quick.start())
        with pytest.raises(ResourceError, match="do not start"):
            await none.start()
        with pytest.raises(AudioLimitError, match="needs more memory"):
            await small.hear(long, LIMITS)
        with pytest.raises(TimeLimitError, match=r"not decoded within 0\.05 s"):
            await quick.hear(long, LIMITS)

    asyncio.run(main())
    for made in (small, quick, none):
        made.close()


def test_a_queue_takes_so_many_and_no_more() -> None:
    async def main() -> None:
        queue = Queue(at_once=1, waiting=2)
        order: list[str] = []
        release = asyncio.Event()

        async def one(name: str) -> None:
            async with queue.place(), queue.turn():
                order.append(name)
                await release.wait()

        tasks = [asyncio.create_task(one(name)) for name in "abc"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["a"]
        with pytest.raises(Problem) as caught:
            async with queue.place():
                pass
        assert caught.value.code == "too_many"
        assert int((caught.value.headers or {})["Retry-After"]) >= 1
        release.set()
        await asyncio.gather(*tasks)
        async with queue.place():
            assert order == ["a", "b", "c"]

    asyncio.run(main())


def test_uploads_have_a_limit_of_bytes_and_of_time() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": bytes(10), "more_body": True}

    async def until(max_bytes: int, seconds: float) -> str:
        counted = limited(receive, max_bytes, seconds)
        try:
            while True:
                await counted()
        except Problem as problem:
            return problem.code

    assert asyncio.run(until(35, 5.0)) == "too_large"
    assert asyncio.run(until(10_000, 0.2)) == "too_slow"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\song.mp3", "song.mp3"),
        ("a\x00b\x1b[31m\u202e.wav", "ab[31m.wav"),
        ("", "audio"),
        (None, "audio"),
        ("/", "audio"),
        ("x" * 999, "x" * 255),
        ("Für Elise – 愛.flac", "Für Elise – 愛.flac"),
    ],
)
def test_names_are_shown_and_lead_nowhere(name: str | None, shown: str) -> None:
    assert plain_name(name) == shown


@asynccontextmanager
async def clamd(path: Path, answer: bytes) -> AsyncIterator[list[bytes]]:
    """A scanner that says what it is told to, and keeps what it was sent."""
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
        content = b""
        while size := struct.unpack("!I", await reader.readexactly(4))[0]:
            content += await reader.readexactly(size)
        seen.append(content)
        if answer:
            writer.write(answer + b"\0")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(talk, path)
    async with server:
        yield seen


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"stream: OK", None),
        (b"stream: Eicar-Test-Signature FOUND", "refused_file"),
        (b"INSTREAM size limit exceeded. ERROR", "not_ready"),
        (b"", "not_ready"),
    ],
)
def test_only_what_the_scanner_calls_clean_passes(song: Path, tmp_path: Path, answer: bytes, code: str | None) -> None:
    async def main() -> None:
        async with clamd(tmp_path / "s", answer) as seen:
            scanner = Scanner(Scan(str(tmp_path / "s"), 5.0))
            if code is None:
                await scanner.check(song)
            else:
                with pytest.raises(Problem) as caught:
                    await scanner.check(song)
                assert caught.value.code == code
            assert seen == [song.read_bytes()]

    asyncio.run(main())


def test_without_its_scanner_nothing_passes(song: Path, tmp_path: Path) -> None:
    for address in (str(tmp_path / "none"), "127.0.0.1:1"):
        with pytest.raises(Problem, match="cannot be scanned"):
            asyncio.run(Scanner(Scan(address, 5.0)).check(song))
    asyncio.run(Scanner(Scan("", 5.0)).check(song))


def rows(count: int) -> list[Row]:
    heard = Heard("x", 2.0, 44100, np.ones((201, 96), np.float32), np.zeros((2, 0), np.float32), None, -14.0)
    beats = [{"time_s": 0.5 * number, "position": None} for number in range(4)]
    judged = Judgement({"tempo_bpm": 120.0, "beats": beats, "onsets": [], "models": {"beat": {}}}, None, 0.9)
    lineage = {"beat": {"version": "3", "run": "r"}}
    return [row_of(heard, judged, lineage, request_id=f"id{number}", route="/v1/beats") for number in range(count)]


def test_records_are_written_by_rows_and_by_time(tmp_path: Path) -> None:
    recorder = Recorder(lambda: MonitoringStore.at(tmp_path), rows=10, seconds=0.3)
    recorder.start()
    for row in rows(25):
        recorder.add(row)
    store = MonitoringStore.at(tmp_path)
    until = time.monotonic() + 20
    while store.count()[0] < 25 and time.monotonic() < until:
        time.sleep(0.05)
    recorder.close()
    found = store.latest(100)
    assert [row.request_id for row in found] == [f"id{number}" for number in range(25)]
    table = table_of(found)
    assert table.beats_per_s.tolist() == [2.0] * 25
    assert table.level.tolist() == [1.0] * 25
    assert table.beat_confidence.tolist() == [0.9] * 25
    assert found[0].answer == {"beats": [0.0, 0.5, 1.0, 1.5]}
    assert found[0].models == {"beat": {"version": "3", "run": "r"}}
    store.close()


def test_records_wait_for_a_database_that_is_away_and_cost_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.records._AGAIN_S", 0.2)
    (tmp_path / "here").write_text("words")
    away = threading.Event()

    def open_store() -> MonitoringStore:
        if not away.is_set():
            raise MonitoringError("away")
        return MonitoringStore.at(tmp_path)

    recorder = Recorder(open_store, rows=10, seconds=0.1)
    recorder.start()
    begun = time.monotonic()
    for row in rows(100):
        recorder.add(row)
    assert time.monotonic() - begun < 5
    time.sleep(0.5)
    away.set()
    store = MonitoringStore.at(tmp_path)
    until = time.monotonic() + 20
    while store.count()[0] < 100 and time.monotonic() < until:
        time.sleep(0.05)
    recorder.close()
    assert [row.request_id for row in store.latest(200)] == [f"id{number}" for number in range(100)]
    store.close()


def test_a_recorder_without_a_database_ends(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    recorder = Recorder(lambda: MonitoringStore(f"sqlite:///{tmp_path}/file/no.db"), rows=1, seconds=9.0)
    recorder.start()
    for row in rows(5):
        recorder.add(row)
    begun = time.monotonic()
    recorder.close()
    assert time.monotonic() - begun < 30


def test_files_that_were_heard_are_kept_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"sound")
    never = Kept(tmp_path / "never", 0.0)
    never.keep(tmp_path / "song.wav", "ab")
    assert never.find("ab") is None
    kept = Kept(tmp_path / "kept", 0.5)
    kept.keep(tmp_path / "song.wav", "ab")
    found = kept.find("ab")
    assert found is not None
    assert found.read_bytes() == b"sound"
    assert kept.find("") is None
    time.sleep(0.6)
    kept.keep(tmp_path / "song.wav", "cd")
    assert kept.find("ab") is None
    assert kept.find("cd") is not None


def test_files_of_requests_that_were_killed_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("backbeat-upload-old", "backbeat-upload-new", "others-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0").write_bytes(b"song")
        if name.endswith("old"):
            os.utime(tmp_path / name, (time.time() - 1000,) * 2)
    sweep(840.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbeat-upload-new", "others-old"]


def test_a_worker_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:9/jobs"
    worker = Worker(settings_of(tmp_path, jobs__database=url), {})
    until = time.monotonic() + 20
    with capture_logs() as told:
        worker.start()
        while not told and time.monotonic() < until:
            time.sleep(0.05)
        worker.stop()
    assert told[0]["event"] == "jobs_not_taken"
    assert "secret" not in str(told)
