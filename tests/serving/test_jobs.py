"""Separation as jobs: none is lost, none is done twice, and nobody sees another's."""

from __future__ import annotations

import io
import signal
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from services import RATE_HZ, Service, clicks, serving
from serving_asks import ask, codes, settings_of

from backbeat.audio.encode import encode
from backbeat.errors import ConfigError
from serving.jobs import JobStore
from serving.keys import KeyStore

ASKED = {"model": "spleeter:2stems", "options": {}}


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "jobs", keep_s=60.0, stale_s=0.3)


def test_each_job_is_given_to_one_worker(store: JobStore, tmp_path: Path) -> None:
    ids = [store.add(store.new_id(), "anna", ASKED).id for _ in range(30)]
    others = [JobStore(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "jobs", 60.0, 60.0) for _ in range(4)]

    def take(number: int) -> list[str]:
        taken = []
        while job := others[number].claim(f"worker{number}"):
            taken.append(job.id)
        return taken

    with ThreadPoolExecutor(4) as threads:
        taken = [identity for found in threads.map(take, range(4)) for identity in found]
    assert sorted(taken) == sorted(ids)
    assert "queued" not in store.counts()


def test_a_job_whose_worker_died_goes_to_another_and_fails_at_last(store: JobStore) -> None:
    identity = store.add(store.new_id(), "anna", ASKED).id
    for attempt in range(3):
        job = store.claim(f"worker{attempt}")
        assert job is not None
        assert job.state == "running"
        assert store.beat(identity, f"worker{attempt}", 0.5)
        assert store.claim("another") is None  # its heart beats
        time.sleep(0.4)
    assert not store.beat(identity, "worker0", 0.9)  # it is another's by now
    assert not store.finish(identity, "worker0", {})
    assert store.claim("last") is None
    job = store.get(identity)
    assert job is not None
    assert (job.state, job.code) == ("failed", "unheard_audio")


def test_jobs_end_once(store: JobStore) -> None:
    done, cancelled, waiting = (store.add(store.new_id(), "anna", ASKED).id for _ in range(3))
    assert store.claim("one").id == done  # type: ignore[union-attr]
    assert store.finish(done, "one", {"vocals": "vocals.wav"})
    assert not store.fail(done, "one", "fault", "")
    store.cancel(done)
    assert store.get(done).state == "done"  # type: ignore[union-attr]
    assert store.claim("one").id == cancelled  # type: ignore[union-attr]
    store.cancel(cancelled)
    assert not store.beat(cancelled, "one", 0.5)
    assert not store.finish(cancelled, "one", {})
    store.cancel(waiting)
    assert store.claim("one") is None
    assert [job.state for job in store.of_owner("anna")] == ["cancelled", "cancelled", "done"]
    assert store.of_owner("bert") == []


def test_what_has_expired_is_forgotten_with_its_files(tmp_path: Path) -> None:
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "jobs", keep_s=0.2, stale_s=60.0)
    identity = store.add(store.new_id(), "anna", ASKED).id
    store.place(identity).mkdir()
    assert store.forget() == 0
    time.sleep(0.3)
    assert store.get(identity) is None
    assert store.forget() == 1
    assert not store.place(identity).exists()
    with pytest.raises(ConfigError, match=r"jobs\.database cannot be opened"):
        JobStore("nothing://x", tmp_path / "jobs", 1.0, 1.0)


def test_nobody_sees_another_s_jobs(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    anna, bert = (keys.create(name, ("separate",)) for name in ("anna", "bert"))
    reader, admin = keys.create("reader", ("read",)), keys.create("admin", ("separate", "admin"))
    settings = settings_of(tmp_path)
    jobs = JobStore.of(settings)
    identity = jobs.add(jobs.new_id(), "anna", ASKED).id
    calls: list[dict[str, Any]] = [
        {"url": f"/v1/jobs/{identity}", "headers": {"X-API-Key": key}} for key in (anna, bert, reader, admin)
    ]
    answers = ask(settings, *calls)
    assert [answer.status_code for answer in answers] == [200, 404, 403, 200]
    for url, method in ((f"/v1/jobs/{identity}", "DELETE"), (f"/v1/jobs/{identity}/result", "GET")):
        assert codes(ask(settings, {"url": url, "method": method, "headers": {"X-API-Key": bert}})) == ["not_found"]
    lists = [ask(settings, {"url": "/v1/jobs", "headers": {"X-API-Key": key}})[0].json() for key in (anna, bert, admin)]
    assert [len(told["jobs"]) for told in lists] == [1, 0, 1]
    assert codes(ask(settings, {**calls[0], "url": f"/v1/jobs/{identity}/result"})) == ["conflict"]
    assert ask(settings, {**calls[0], "method": "DELETE"})[0].json()["state"] == "cancelled"


def ended(client: httpx.Client, identity: str, seconds: float = 90.0) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told: dict[str, Any] = client.get(f"/v1/jobs/{identity}").json()
        if told["state"] not in ("queued", "running"):
            return told
        time.sleep(0.1)
    raise AssertionError(told)


def worker_of(service: Service) -> psutil.Process:
    processes = psutil.Process(service.process.pid).children(recursive=True)
    return next(one for one in processes if "backbeat-backstage" in one.cmdline())


def test_songs_are_separated_whatever_dies(tmp_path: Path, small_models: Path) -> None:
    song, long = tmp_path / "song.wav", tmp_path / "long.flac"
    encode(song, clicks(2.0), RATE_HZ)
    encode(long, np.tile(clicks(10.0)[:1], (1, 30)), RATE_HZ)
    how = {"jobs__stale_s": "3", "limits__max_bytes": "100000000"}
    with serving(tmp_path / "service", small_models, **how) as service, service.client() as client:
        given = client.post("/v1/separate?format=flac", files={"file": ("Secret.wav", song.read_bytes())})
        assert given.status_code == 202, given.text
        assert given.headers["location"] == f"/v1/jobs/{given.json()['id']}"
        told = ended(client, given.json()["id"])
        assert (told["state"], told["stems"], told["progress"]) == ("done", ["accompaniment", "vocals"], 1.0)
        with zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{told['id']}/result").content)) as archive:
            assert sorted(archive.namelist()) == ["accompaniment.flac", "vocals.flac"]
            whole = archive.read("vocals.flac")
        one = client.get(f"/v1/jobs/{told['id']}/result/vocals")
        assert one.content == whole
        assert soundfile.info(io.BytesIO(whole)).frames == 2 * RATE_HZ
        for stem in ("drums", "..%2f..%2fjobs.db", "input"):
            assert client.get(f"/v1/jobs/{told['id']}/result/{stem}").json()["error"]["code"] == "not_found"

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
            answer = client.post(f"/v1/separate?{asked}", files={"file": song.read_bytes()})
            assert answer.json()["error"]["code"] == code, asked

        # Its worker dies while it works.
        survives = client.post("/v1/separate", files={"file": long.read_bytes()}).json()["id"]
        until = time.monotonic() + 30
        while client.get(f"/v1/jobs/{survives}").json()["state"] != "running" and time.monotonic() < until:
            time.sleep(0.02)
        died = worker_of(service)
        died.send_signal(signal.SIGKILL)
        assert client.post("/v1/beats", files={"file": song.read_bytes()}).status_code == 200
        assert ended(client, survives)["state"] == "done"
        assert worker_of(service).pid != died.pid

        cancelled = client.post("/v1/separate?format=wav", files={"file": long.read_bytes()}).json()["id"]
        assert client.delete(f"/v1/jobs/{cancelled}").json()["state"] == "cancelled"
        waits = client.post("/v1/separate?bits=24", files={"file": long.read_bytes()}).json()["id"]
        assert "Secret" not in service.log.read_text()
    # And the whole service is restarted with a job in it.
    with serving(tmp_path / "service", small_models, **how) as service, service.client() as client:
        assert client.get(f"/v1/jobs/{told['id']}/result/vocals").content == whole
        assert ended(client, waits)["state"] == "done"
        assert client.get(f"/v1/jobs/{cancelled}").json()["state"] == "cancelled"
        assert client.get(f"/v1/jobs/{cancelled}/result").json()["error"]["code"] == "conflict"
        assert list((tmp_path / "service/tmp").glob("backbeat-*")) == []
