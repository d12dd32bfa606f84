"""Separation as jobs: none is lost, none is done twice, and nobody sees another's."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving_asks import ask, codes, settings_of

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


def test_several_open_a_database_that_is_not_there_yet(tmp_path: Path) -> None:
    for number in range(10):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        with ThreadPoolExecutor(4) as threads:
            stores = list(threads.map(lambda _, url=url: JobStore(url, tmp_path / "jobs", 60.0, 60.0), range(4)))
        assert stores[0].get(stores[1].add("0" * 32, "anna", ASKED).id) is not None


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
