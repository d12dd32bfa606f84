"""The monitoring database: what goes in comes out, in SQLite and PostgreSQL, whoever opens it first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, inspect, text

from backbeat.errors import ConfigError, MonitoringError
from backbeat.monitoring.rows import Row, table_of
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import META


def row(number: int, at: float, **measures: float | str | None) -> Row:
    embedding = np.linspace(0, 1, 4, dtype=np.float32) if number % 2 else None
    lineage = {"beat": {"version": "1", "run": "abc", "licence": "CC BY 4.0"}}
    return Row(f"request-{number}", 0, "/v1/analyze", "00" * 32, lineage, measures, {"genre": "jazz"}, embedding, at)


def test_rows_come_back_as_they_went_in(url: str) -> None:
    store = MonitoringStore(url)
    store.add([row(n, 1000.0 + n, level=np.float32(n), codec="mp3", tempo_bpm=None) for n in range(10)])  # type: ignore[arg-type]
    found = store.latest(3)
    assert [one.request_id for one in found] == ["request-7", "request-8", "request-9"]
    assert found[0].measures == {"level": 7.0, "codec": "mp3", "tempo_bpm": None}
    assert found[0].embedding == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-3)
    assert found[1].embedding is None
    assert found[0].answer == {"genre": "jazz"}
    assert found[0].models["beat"]["run"] == "abc"
    assert store.of_request("request-4")[0].at == 1004.0
    assert store.of_request("nobody") == []
    assert len(store.latest(100, since=1006.0)) == 4
    assert store.count() == (10, 10)
    assert store.count(after=7) == (3, 10)
    assert store.since(1005.0) == (5, 1009.0)
    table = table_of(found)
    assert table["beat_version"].tolist() == ["1"] * 3
    assert table["level"].tolist() == [7, 8, 9]
    store.close()


def test_checks_come_back_latest_first(url: str) -> None:
    store = MonitoringStore(url)
    for drift in (False, None, True):
        store.add_check({"rows": 100, "drift": drift, "share": 0.5, "columns": []})
    assert [check["verdict"]["drift"] for check in store.checks()] == [True, None, False]
    assert store.checks(1)[0]["at"] > 1.7e9
    store.close()


def test_many_may_open_a_fresh_database_at_once(tmp_path: Path) -> None:
    code = "import sys; from backbeat.monitoring.store import MonitoringStore as S; S(sys.argv[1]).add([])"
    address = f"sqlite:///{tmp_path / 'fresh.db'}"
    openers = [subprocess.Popen([sys.executable, "-c", code, address]) for _ in range(3)]
    assert [opener.wait(60) for opener in openers] == [0, 0, 0]
    store = MonitoringStore(address)
    assert store.count() == (0, 0)
    store.close()


def test_threads_of_one_process_open_a_fresh_database_at_once(url: str) -> None:
    failed: list[Exception] = []

    def open_it() -> None:
        try:
            MonitoringStore(url).close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    engine = create_engine(url)
    assert set(inspect(engine).get_table_names()) == {*META.tables, "monitoring_version"}
    engine.dispose()


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    store = MonitoringStore.at(tmp_path)
    with store.begin() as connection:
        connection.execute(text("UPDATE monitoring_version SET version_num = 'later'"))
    store.close()
    with pytest.raises(ConfigError, match="not of this version of Backbeat"):
        MonitoringStore.at(tmp_path)


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        MonitoringStore("words")
    with pytest.raises(ConfigError, match="cannot be opened"):
        MonitoringStore("mysql://somewhere/db")
    with pytest.raises(MonitoringError, match="cannot be used"):
        MonitoringStore("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2")
    (tmp_path / "monitoring.db").write_text("no database, but words " * 100)
    with pytest.raises(MonitoringError, match="not a database"):
        MonitoringStore.at(tmp_path)


def test_a_kill_in_the_middle_of_the_first_migration_leaves_nothing_half_done(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from alembic import op\n"
        "made = op.create_table\n"
        "def create_table(name, *args, **kwargs):\n"
        "    if name == 'monitoring_predictions': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return made(name, *args, **kwargs)\n"
        "op.create_table = create_table\n"
        "from backbeat.monitoring.store import MonitoringStore\n"
        "MonitoringStore(sys.argv[1])\n"
    )
    address = f"sqlite:///{tmp_path / 'monitoring.db'}"
    ran = subprocess.run([sys.executable, "-c", code, address], check=False)
    assert ran.returncode == -signal.SIGKILL
    store = MonitoringStore(address)
    store.add([row(1, 5.0)])
    assert store.count() == (1, 1)
    store.close()
    assert os.listdir(tmp_path)  # noqa: PTH208
