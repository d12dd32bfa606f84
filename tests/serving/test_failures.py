"""What the service is made of or stands beside is killed, stopped and started again; the service goes on."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import signal
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import neighbours
import numpy as np
import psutil
import pytest
import soundfile
from numpy.typing import NDArray
from rendered_pieces import write_rock
from services import RATE_HZ, Service, answering, backstage, clicks, decoders, serving
from serving_asks import ask, codes, settings_of

from backbeat.audio.encode import encode
from backbeat.errors import ConfigError
from serving.access import Caller, RateKeeper
from serving.app import create_app
from serving.jobs import JobStore
from serving.keys import KeyStore
from serving.problems import Problem
from serving.settings import Rates

#: Calls of a key in a minute; more than the tests make.
CALLS = 2000


@dataclass
class House:
    """A service that can be started again, keys to it, and what it stands beside; None where that is not here."""

    folder: Path
    models: Path
    settings: dict[str, str]
    keys: list[str]
    redis: tuple[neighbours.Neighbour, str] | None
    clamd: neighbours.Neighbour | None

    def open(self) -> None:
        """Start the service."""
        self._stack = ExitStack()
        self.service = self._stack.enter_context(serving(self.folder, self.models, **self.settings))
        self.client = self._stack.enter_context(self.service.client(headers={"X-API-Key": self.keys[0]}))

    def close(self) -> None:
        """End it; its state stays."""
        self._stack.close()


@pytest.fixture(scope="module")
def song() -> bytes:
    return as_flac(clicks(4.0))


@pytest.fixture(scope="module")
def long() -> bytes:
    return as_flac(np.tile(clicks(10.0)[:1], (1, 30)))


def minute(bpm: float) -> bytes:
    """Return what takes a few seconds to separate, and is in no cache yet."""
    return as_flac(np.tile(clicks(10.0, bpm)[:1], (1, 6)))


def as_flac(samples: NDArray[np.float32]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        encode(Path(folder) / "x.flac", samples, RATE_HZ)
        return (Path(folder) / "x.flac").read_bytes()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, small_models: Path) -> Iterator[House]:
    """One service for all failures: it is to be well after each."""
    folder = tmp_path_factory.mktemp("house")
    settings = {"jobs__stale_s": "3", "rates__per_key": f"{CALLS}/minute"}
    with ExitStack() as stack:
        redis = clamd = None
        if shutil.which("redis-server"):
            redis = stack.enter_context(neighbours.redis(folder / "redis"))
            settings |= {"rates__redis": redis[1], "jobs__cache_redis": redis[1]}
        if neighbours.clamd_program():
            clamd, place = stack.enter_context(neighbours.clamd(folder / "clamd"))
            settings |= {"scan__clamd": str(place)}
        store = KeyStore(folder / "service" / "state" / "keys.json")
        keys = [store.create(name, ("analyze", "separate", "chart", "read")) for name in ("one", "counted")]
        made = House(folder / "service", small_models, settings, keys, redis, clamd)
        made.open()
        stack.callback(made.close)
        yield made


def beats(house: House, content: bytes) -> httpx.Response:
    return house.client.post("/v1/beats", files={"file": content})


def code_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    return str(error["code"])


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def ended(client: httpx.Client, identity: str, seconds: float = 90.0) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told: dict[str, Any] = client.get(f"/v1/jobs/{identity}").json()
        if told["state"] not in ("queued", "running"):
            return told
        time.sleep(0.1)
    raise AssertionError(told)


def state_of(client: httpx.Client, identity: str) -> str:
    return str(client.get(f"/v1/jobs/{identity}").json()["state"])


def hits(client: httpx.Client) -> float:
    """Return how many stems were found in the cache, in memory."""
    line = re.search(r'cache_lookups_total{level="memory",outcome="hit"} (\S+)', client.get("/metrics").text)
    return float(line[1]) if line else 0.0


def hearing(service: Service) -> list[psutil.Process]:
    """Return the processes that decode."""
    return decoders(answering(service))


def test_a_hearing_process_that_is_killed_costs_its_file_alone(house: House, song: bytes, long: bytes) -> None:
    assert beats(house, song).status_code == 200
    until(lambda: len(hearing(house.service)) == 2)
    time.sleep(1)  # what the second does to begin with is no work of ours
    processes = hearing(house.service)
    used = {one.pid: one.cpu_times().user for one in processes}
    with ThreadPoolExecutor(1) as beside:
        answer = beside.submit(beats, house, long)
        at_work: list[psutil.Process] = []

        def works() -> bool:
            at_work[:] = [one for one in processes if one.cpu_times().user > used[one.pid] + 0.3]
            assert not answer.done()
            return bool(at_work)

        until(works)
        at_work[0].kill()
        assert code_of(answer.result(), 422) == "unheard_audio"
    assert beats(house, song).status_code == 200
    until(lambda: len(hearing(house.service)) == 2)
    # And those that have nothing to do, all at once.
    for process in hearing(house.service):
        process.kill()
    time.sleep(0.5)
    assert beats(house, song).status_code == 200
    assert house.client.get("/readyz").status_code == 200


def test_a_worker_that_is_killed_loses_no_job(house: House, song: bytes) -> None:
    given = (minute(120), song, song)
    jobs = [house.client.post("/v1/separate", files={"file": content}).json()["id"] for content in given]
    until(lambda: state_of(house.client, jobs[0]) == "running")
    died, heard = answering(house.service), hearing(house.service)
    died.kill()
    house.service.wait()
    assert answering(house.service).pid != died.pid
    assert beats(house, song).status_code == 200
    assert [ended(house.client, identity)["state"] for identity in jobs] == ["done"] * 3
    # Nor does what decoded for it go on without it.
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in heard))


def test_without_redis_calls_are_counted_here_and_then_together_again(house: House, song: bytes) -> None:
    if house.redis is None:
        pytest.skip("redis-server is not here")
    server, address = house.redis
    with house.service.client(headers={"X-API-Key": house.keys[1]}) as client:

        def call_often() -> None:
            """Use up the calls of a key, as another replica."""
            replica = RateKeeper(Rates(f"{CALLS}/minute", "", address))

            async def call() -> None:
                for _ in range(CALLS + 1):
                    await replica.check("", Caller("counted", frozenset()))

            with pytest.raises(Problem, match="calls"):
                asyncio.run(call())

        assert client.get("/v1/models").status_code == 200
        call_often()
        assert code_of(client.get("/v1/models"), 429) == "too_many"
        server.stop(signal.SIGKILL)
        for _ in range(5):
            begun = time.monotonic()
            assert client.post("/v1/beats", files={"file": song}).status_code == 200
            assert time.monotonic() - begun < 5
        job = house.client.post("/v1/separate?format=flac", files={"file": song}).json()["id"]
        assert ended(house.client, job)["state"] == "done"
        server.start()
        call_often()
        until(lambda: client.get("/v1/models").status_code == 429, 20)


def test_nothing_that_the_scanner_did_not_see_is_heard(house: House, song: bytes) -> None:
    if house.clamd is None:
        pytest.skip("clamd is not here")
    infected = song + neighbours.VIRUS
    assert beats(house, song).status_code == 200
    assert code_of(beats(house, infected), 422) == "refused_file"
    assert code_of(house.client.post("/v1/separate", files={"file": infected}), 422) == "refused_file"
    house.clamd.stop()
    for content in (song, infected):
        answer = beats(house, content)
        assert code_of(answer, 503) == "not_ready"
        assert int(answer.headers["retry-after"]) > 0
    assert house.client.get("/readyz").status_code == 200
    house.clamd.start()
    assert beats(house, song).status_code == 200
    assert code_of(beats(house, infected), 422) == "refused_file"


def test_songs_are_separated_whatever_dies(house: House, song: bytes, long: bytes) -> None:
    client = house.client
    given = client.post("/v1/separate?format=flac", files={"file": ("Secret.wav", song)})
    assert given.status_code == 202, given.text
    assert given.headers["location"] == f"/v1/jobs/{given.json()['id']}"
    told = ended(client, given.json()["id"])
    assert (told["state"], told["stems"], told["progress"]) == ("done", ["accompaniment", "vocals"], 1.0)
    with zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{told['id']}/result").content)) as archive:
        assert sorted(archive.namelist()) == ["accompaniment.flac", "vocals.flac"]
        whole = archive.read("vocals.flac")
    one = client.get(f"/v1/jobs/{told['id']}/result/vocals")
    assert one.content == whole
    assert soundfile.info(io.BytesIO(whole)).frames == 4 * RATE_HZ
    for stem in ("drums", "..%2f..%2fjobs.db", "input"):
        assert client.get(f"/v1/jobs/{told['id']}/result/{stem}").json()["error"]["code"] == "not_found"

    # What was separated before is not separated again.
    time.sleep(3)  # they are counted every two seconds
    before = hits(client)
    again = client.post("/v1/separate?format=flac", files={"file": song}).json()["id"]
    assert ended(client, again)["state"] == "done"
    assert client.get(f"/v1/jobs/{again}/result/vocals").content == whole
    until(lambda: hits(client) >= before + 2)

    bad = client.post("/v1/separate", files={"file": b"words"}).json()["id"]
    assert ended(client, bad)["error"]["code"] == "unsupported_audio"
    for asked, code in (
        ("model=spleeter:3stems", "wrong_value"),
        ("model=spleeter:4stems", "conflict"),
        ("model=/etc", "wrong_value"),
        ("stems=flute", "wrong_value"),
        ("format=exe", "wrong_value"),
        ("bitrate=100", "wrong_value"),
        ("highpass=nan", "wrong_value"),
    ):
        answer = client.post(f"/v1/separate?{asked}", files={"file": song})
        assert answer.json()["error"]["code"] == code, asked

    # Its worker dies while it works.
    survives = client.post("/v1/separate", files={"file": minute(110)}).json()["id"]
    until(lambda: state_of(client, survives) == "running", 30)
    died = backstage(house.service)
    died.send_signal(signal.SIGKILL)
    assert client.post("/v1/beats", files={"file": song}).status_code == 200
    assert ended(client, survives)["state"] == "done"
    assert backstage(house.service).pid != died.pid

    cancelled = client.post("/v1/separate?format=wav", files={"file": minute(100)}).json()["id"]
    assert client.delete(f"/v1/jobs/{cancelled}").json()["state"] == "cancelled"
    waits = client.post("/v1/separate?bits=24", files={"file": minute(90)}).json()["id"]
    assert "Secret" not in house.service.log.read_text()
    # And the whole service is restarted with a job in it; what it was asked before, it answers.
    with ThreadPoolExecutor(2) as beside:
        answers = [beside.submit(beats, house, long) for _ in range(2)]
        until(lambda: "backbeat_requests_at_work 2.0" in client.get("/metrics").text, 10)
        house.service.process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200, 200]
    house.close()
    house.open()
    client = house.client
    assert client.get(f"/v1/jobs/{told['id']}/result/vocals").content == whole
    assert ended(client, waits)["state"] == "done"
    assert client.get(f"/v1/jobs/{cancelled}").json()["state"] == "cancelled"
    assert client.get(f"/v1/jobs/{cancelled}/result").json()["error"]["code"] == "conflict"
    assert list((house.folder / "tmp").glob("backbeat-*")) == []


def test_a_song_is_charted_though_its_worker_dies(house: House, tmp_path: Path) -> None:
    write_rock(tmp_path / "Secret.flac", 20.0)
    with (tmp_path / "Secret.flac").open("rb") as song:
        identity = house.client.post("/v1/chart?separation=none", files={"file": song}).json()["id"]
    until(lambda: house.client.get(f"/v1/jobs/{identity}").json()["progress"] > 0)
    died = backstage(house.service)
    died.send_signal(signal.SIGKILL)
    told = ended(house.client, identity)
    assert (told["state"], told["error"]) == ("done", None)
    assert backstage(house.service).pid != died.pid
    assert told["report"]["made"]["models"]["onset"]["version"]
    with zipfile.ZipFile(io.BytesIO(house.client.get(f"/v1/jobs/{identity}/result").content)) as archive:
        assert sorted(archive.namelist()) == told["files"]
        assert {"ext.dtx", "set.def", "bgm.ogg", "kick.wav", "chart.mid", "chart.json", "chart.png"} <= set(
            told["files"]
        )
        assert json.loads(archive.read("chart.json"))["title"] == "Secret"
    assert "Secret" not in house.service.log.read_text()
    # What the one that died was at lies with the job, and goes with it.
    until(lambda: not list((house.folder / "tmp").glob("backbeat-*")), 10)


ASKED = {"model": "spleeter:2stems", "options": {"stems": None}}


def test_jobs_in_postgresql(tmp_path: Path) -> None:
    if neighbours.postgres_programs() is None:
        pytest.skip("PostgreSQL is not here")
    with neighbours.postgres() as (server, address):
        store = JobStore(address, tmp_path, keep_s=60.0, stale_s=0.5)
        ids = [store.add(store.new_id(), "anna", ASKED).id for _ in range(60)]
        others = [JobStore(address, tmp_path, 60.0, 60.0) for _ in range(8)]

        def take(number: int) -> list[str]:
            taken = []
            while job := others[number].claim(f"worker{number}"):
                taken.append(job.id)
            return taken

        with ThreadPoolExecutor(8) as threads:
            taken = [identity for found in threads.map(take, range(8)) for identity in found]
        assert sorted(taken) == sorted(ids)
        assert store.counts() == {"running": 60}
        time.sleep(0.6)
        # All of their workers are silent.
        assert others[0].claim("late") is None  # its patience is a minute
        revived = store.claim("second")
        assert revived is not None
        assert (revived.state, revived.request) == ("running", ASKED)
        assert store.counts() == {"queued": 59, "running": 1}
        assert store.beat(revived.id, "second", 0.5)
        assert not store.beat(revived.id, "first", 0.5)
        assert store.finish(revived.id, "second", {"vocals": "vocals.wav"})
        assert not store.fail(revived.id, "second", "fault", "")
        store.cancel(revived.id)
        job = store.get(revived.id)
        assert job is not None
        assert (job.state, job.files, job.progress) == ("done", {"vocals": "vocals.wav"}, 1.0)
        waits = next(one for one in store.of_owner("anna") if one.state == "queued")
        store.cancel(waits.id)
        assert store.get(waits.id).state == "cancelled"  # type: ignore[union-attr]
        assert len(store.of_owner(None, 1000)) == 60
        assert store.of_owner("bert") == []
        for odd in ("\0", "x" * 1000, "'; DROP TABLE jobs; --", "é"):
            assert store.get(odd) is None

        settings = settings_of(tmp_path, "local", jobs__database=address)
        asked = f"/v1/jobs/{revived.id}"

        async def away_meanwhile() -> list[httpx.Response]:
            app = create_app(settings)
            transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000))
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                answers = [await client.get(asked), await client.get("/v1/jobs/%00")]
                await asyncio.to_thread(server.stop, signal.SIGINT)
                answers += [await client.get(asked), await client.get("/v1/jobs")]
                await asyncio.to_thread(server.start)
                answers.append(await client.get(asked))
                app.state.jobs.close()
                return answers

        answers = asyncio.run(away_meanwhile())
        assert [answer.status_code for answer in answers] == [200, 404, 503, 503, 200]
        assert codes(answers[1:4]) == ["not_found", "not_ready", "not_ready"]
        assert store.get(revived.id) == job

        server.stop(signal.SIGQUIT)  # it has no time to say goodbye
        # Away from the beginning, the service says so; and no word of where it would be.
        (answer,) = ask(settings, {"url": asked})
        assert codes([answer]) == ["not_ready"]
        assert "127.0.0.1" not in answer.text
        assert answer.headers["retry-after"]
        with pytest.raises(ConfigError, match="cannot be opened"):
            JobStore(address, tmp_path, 60.0, 60.0)
        server.start()
        assert store.get(revived.id) == job
        assert others[0].claim("again") is not None
        brief = JobStore(address, tmp_path, keep_s=0.1, stale_s=60.0)
        place = brief.place(brief.add(brief.new_id(), "bert", ASKED).id)
        place.mkdir()
        time.sleep(0.2)
        assert brief.of_owner("bert") == []
        assert brief.forget() == 1
        assert not place.exists()
        for one in (store, brief, *others):
            one.close()
