"""What is kept and for how long: summaries, threads, room that is given back; in databases that are opened together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databases import LINEAGE, row, sqlite_url
from sqlalchemy import func, insert, inspect, select, text

from backbeat.errors import ConfigError
from backbeat.monitoring.retention import RetentionSettings, retain
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.summaries import QUANTILES, Summary, merge, summarise
from backbeat.monitoring.tables import ALERTS, CHECKS, DELIVERIES, FEEDBACK, FULL, META, PREDICTIONS, SUMMARIES

HOUR_S, DAY_S = 3600.0, 86400.0
NOW = 20_000 * DAY_S
SETTINGS = RetentionSettings(
    every_s=HOUR_S, keep_rows_d=30, max_rows=10_000, keep_threads_d=100, max_threads=20_000, keep_history_d=50,
    keep_summaries_d=400, batch_rows=50,
)  # fmt: skip


def count(store: MonitoringStore, table: Any, *where: Any) -> int:
    with store.begin() as connection:
        return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def summaries(store: MonitoringStore) -> dict[float, dict[str, dict[str, Any]]]:
    told: dict[float, dict[str, dict[str, Any]]] = {}
    with store.begin() as connection:
        for found in connection.execute(select(SUMMARIES)).mappings():
            told.setdefault(found["hour"], {})[found["measure"]] = {"count": found["count"], **found["summary"]}
    return told


# Summaries


def test_a_summary_tells_numbers_and_names() -> None:
    rows = [{"x": float(value), "word": "ab"[value % 2], "flag": value < 3} for value in range(11)]
    rows += [{"x": None, "word": None}, {"x": float("nan")}, {"x": float("inf")}]
    told = summarise(rows)
    x = told["x"].to_dict()
    assert (told["x"].count, x["rows"], x["missing"], x["mean"]) == (11, 14, 3, 5.0)
    assert (x["quantiles"]["0"], x["quantiles"]["0.25"], x["quantiles"]["0.95"], x["quantiles"]["1"]) == (
        0,
        2.5,
        9.5,
        10,
    )
    assert told["word"].to_dict() == {"rows": 14, "missing": 3, "names": {"a": 6, "b": 5}}
    assert told["flag"].to_dict()["names"] == {"false": 8, "true": 3}
    for one in told.values():
        assert Summary.read(one.count, one.to_dict()).to_dict() == one.to_dict()


def test_names_without_end_are_counted_together() -> None:
    told = summarise([{"name": f"n{number}"} for number in range(150)] + [{"name": "n7"}])["name"]
    assert told.count == 151
    assert (len(told.names), told.names["n7"], told.names["…"]) == (101, 2, 50)


def test_two_parts_of_an_hour_are_one() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=6000)
    rows = [{"x": float(value), "name": "ab"[number % 2]} for number, value in enumerate(x)] + [{"name": "c"}]
    whole, parts = summarise(rows), merge(summarise(rows[:2000]), summarise(rows[2000:]))
    assert parts["name"].names == whole["name"].names
    assert (parts["x"].rows, parts["x"].count) == (6001, 6000)
    assert parts["x"].mean == pytest.approx(x.mean())
    assert parts["x"].quantiles[[0, -1]] == pytest.approx([x.min(), x.max()])
    assert parts["x"].quantiles[1:-1] == pytest.approx(np.quantile(x, QUANTILES[1:-1]), abs=0.08)
    alone = merge({}, whole)
    assert alone["x"] is whole["x"]


def test_parts_that_lie_apart_and_constants_are_mixed() -> None:
    low, high = summarise([{"x": 0.0}] * 30), summarise([{"x": 10.0}] * 10)
    mixed = merge(low, high)["x"]
    assert mixed.mean == 2.5
    assert mixed.quantiles[0] == mixed.quantiles[5] == 0
    assert mixed.quantiles[-1] == 10
    assert mixed.quantiles[QUANTILES.index(0.9)] > 5
    kinds = merge(low, summarise([{"x": "word"}]))["x"]
    assert (kinds.count, kinds.numbers, kinds.names) == (31, 30, Counter({"word": 1}))


# Compaction


def test_old_rows_become_a_summary_of_their_hour_and_threads(store: MonitoringStore) -> None:
    hour = NOW - 40 * DAY_S
    old = [row(number, hour + 20 * number) for number in range(120)]  # 40 minutes: three batches of an hour
    store.add([*old, row(200, hour + HOUR_S + 1), row(300, NOW - 5)])
    before = store.of_request("request-00000007")
    done = retain(store, SETTINGS, now=NOW)
    assert (done.compacted, done.removed) == (121, 0)
    told = summaries(store)
    assert sorted(told) == [hour, hour + HOUR_S]
    x = told[hour]["tempo_bpm"]
    values = [one.measures["tempo_bpm"] for one in old]
    assert (x["count"], x["rows"], x["missing"]) == (120, 120, 0)
    assert x["mean"] == pytest.approx(np.mean(values))
    assert x["quantiles"]["0.5"] == pytest.approx(np.median(values), abs=15)
    assert told[hour]["genre"]["names"] == {"jazz": 80, "rock": 40}
    assert told[hour]["genre_version"]["names"] == {"3": 120}
    assert told[hour]["route"]["names"] == {"/v1/analyze": 120}
    (thread,) = store.of_request("request-00000007")
    assert (thread.models, thread.at, thread.sha256) == (LINEAGE, before[0].at, before[0].sha256)
    assert (thread.measures, thread.answer, thread.embedding) == ({}, {}, None)
    assert [one.request_id for one in store.latest(10)] == ["request-00000300"]
    assert retain(store, SETTINGS, now=NOW).compacted == 0


def test_rows_that_come_late_join_their_hour(store: MonitoringStore) -> None:
    hour = NOW - 40 * DAY_S
    store.add([row(number, hour + number) for number in range(10)])
    retain(store, SETTINGS, now=NOW)
    store.add([row(number, hour + 100) for number in range(10, 15)])
    retain(store, SETTINGS, now=NOW)
    assert summaries(store)[hour]["level"]["count"] == 15
    assert summaries(store)[hour]["genre"]["rows"] == 15


def test_rows_beyond_the_most_are_compacted_and_threads_beyond_theirs_go(store: MonitoringStore) -> None:
    store.add([row(number, NOW - 10 * number) for number in range(300)])
    few = replace(SETTINGS, max_rows=100, max_threads=180)
    done = retain(store, few, now=NOW)
    assert (done.compacted, done.removed) == (200, 120)
    assert count(store, PREDICTIONS, FULL) == 100
    assert count(store, PREDICTIONS) == 180
    with store.begin() as connection:
        assert connection.execute(select(func.min(PREDICTIONS.c.at))).scalar() == NOW - 1790
    assert sum(one["route"]["count"] for one in summaries(store).values()) == 200


def test_what_is_past_goes_and_corrections_stay(store: MonitoringStore) -> None:
    store.add([row(1, NOW - 101 * DAY_S), row(2, NOW - 99 * DAY_S)])
    old, new = NOW - 60 * DAY_S, NOW - DAY_S
    fixed = {"severity": "info", "message": "", "silenced": False, "rule": "r"}
    sent = {"target": "log", "body": {}, "due": 0.0, "attempts": 1}
    given = {
        "item": 0,
        "task": "genre",
        "truth": {},
        "answer": {},
        "author": "",
        "licence": "",
        "sha256": "",
        "audio": "",
    }
    with store.begin() as connection:
        connection.execute(
            insert(ALERTS),
            [
                {"id": "closed", "opened": old, "closed": old, **fixed},
                {"id": "open", "opened": old, "closed": None, **fixed},
                {"id": "new", "opened": old, "closed": new, **fixed},
            ],
        )
        connection.execute(
            insert(DELIVERIES),
            [
                {"id": name, "alert": "a", "created": created, "delivered": delivered, "failed": failed, **sent}
                for name, created, delivered, failed in [
                    ("gone", old, old, None), ("failed", old, None, "x"), ("waits", old, None, None),
                    ("new", new, new, None),
                ]
            ],
        )  # fmt: skip
        connection.execute(insert(FEEDBACK).values(id="f", at=0.0, request_id="r", **given))
        for when in (old - 1, old):
            connection.execute(insert(CHECKS).values(at=when, rows=1, drift=None, verdict={}))
        for hour in (NOW - 401 * DAY_S, NOW - 399 * DAY_S):
            connection.execute(insert(SUMMARIES).values(hour=hour, measure="m", count=1, summary={}))
    retain(store, SETTINGS, now=NOW)
    with store.begin() as connection:
        assert set(connection.execute(select(ALERTS.c.id)).scalars()) == {"open", "new"}
        assert set(connection.execute(select(DELIVERIES.c.id)).scalars()) == {"waits", "new"}
        assert list(connection.execute(select(CHECKS.c.at)).scalars()) == [old], "the last check stays"
        assert set(connection.execute(select(PREDICTIONS.c.request_id)).scalars()) == {"request-00000002"}
        hours = set(connection.execute(select(SUMMARIES.c.hour)).scalars())
    assert NOW - 401 * DAY_S not in hours
    assert len(hours) == 3
    assert count(store, FEEDBACK) == 1


def test_it_leaves_off_when_it_is_told_to_and_goes_on(store: MonitoringStore) -> None:
    store.add([row(number, NOW - 40 * DAY_S + number) for number in range(120)])
    asked = iter([False, True] + [True] * 20)
    assert retain(store, SETTINGS, now=NOW, stopped=lambda: next(asked)).compacted == 50
    assert retain(store, SETTINGS, now=NOW).compacted == 70


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="threads are kept no shorter"):
        replace(SETTINGS, max_threads=1)
    with pytest.raises(ConfigError, match="batch_rows must be above 0"):
        replace(SETTINGS, batch_rows=0)


_COMPACT = """
import sys
from backbeat.monitoring.retention import RetentionSettings, retain
from backbeat.monitoring.store import MonitoringStore

store = MonitoringStore(sys.argv[1])
print("begins", flush=True)
retain(store, RetentionSettings(3600, 30, 10**6, 100, 10**6, 50, 400, 20), now=float(sys.argv[2]))
"""


def test_killed_at_any_point_no_row_is_counted_twice_or_lost(url: str, store: MonitoringStore) -> None:
    begin = NOW - 40 * DAY_S
    rows = [row(number, begin + 7 * number) for number in range(1500)]
    store.add(rows)
    command = [sys.executable, "-c", _COMPACT, url, str(NOW)]
    seen = [1500]
    for wait_s in (0.02, 0.1, 0.2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "src"}) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
        left = count(store, PREDICTIONS, FULL)
        counted = sum(one["level"]["count"] for one in summaries(store).values())
        assert left + counted == 1500
        assert count(store, PREDICTIONS) == 1500
        seen.append(left)
    assert seen == sorted(seen, reverse=True)
    retain(store, SETTINGS, now=NOW)
    told = summaries(store)
    assert sum(one["level"]["count"] for one in told.values()) == 1500
    mean = sum(one["level"]["count"] * one["level"]["mean"] for one in told.values()) / 1500
    assert mean == pytest.approx(np.mean([one.measures["level"] for one in rows]))


def test_others_write_meanwhile_and_two_compact_at_once(store: MonitoringStore) -> None:
    store.add([row(number, NOW - 40 * DAY_S + number) for number in range(1000)])
    faults: list[BaseException] = []

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                faults.append(error)

        return threading.Thread(target=run)

    def write() -> None:
        for number in range(60):
            store.add([row(5000 + number, NOW - number)])

    threads = [guarded(write), *(guarded(lambda: retain(store, SETTINGS, now=NOW)) for _ in range(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    retain(store, SETTINGS, now=NOW)
    assert sum(one["route"]["count"] for one in summaries(store).values()) == 1000
    assert (count(store, PREDICTIONS), count(store, PREDICTIONS, FULL)) == (1060, 60)


def test_an_sqlite_file_shrinks(tmp_path: Path) -> None:
    store = MonitoringStore(sqlite_url(tmp_path))
    store.add([row(number, NOW - 40 * DAY_S + number) for number in range(4000)])
    retain(store, SETTINGS, now=NOW - 30 * DAY_S)  # nothing is due yet
    store.close()
    before = (tmp_path / "monitoring.db").stat().st_size
    store = MonitoringStore(sqlite_url(tmp_path))
    assert retain(store, replace(SETTINGS, batch_rows=2000), now=NOW).compacted == 4000
    store.close()
    threads = (tmp_path / "monitoring.db").stat().st_size
    assert threads < 0.75 * before
    store = MonitoringStore(sqlite_url(tmp_path))
    assert retain(store, replace(SETTINGS, batch_rows=2000), now=NOW + 100 * DAY_S).removed == 4000
    store.close()
    assert (tmp_path / "monitoring.db").stat().st_size < 0.1 * before


# Opening


def _open(url: str, gate: Any, told: Any) -> None:
    gate.wait(30)
    store = MonitoringStore(url)
    store.add([row(1, 1.0)])
    store.close()
    told.put("opened")


def test_two_who_open_an_empty_database_at_once_make_it_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    gate, told = spawn.Barrier(2), spawn.Queue()
    both = [spawn.Process(target=_open, args=(url, gate, told)) for _ in range(2)]
    for one in both:
        one.start()
    assert [told.get(timeout=60) for _ in both] == ["opened", "opened"]
    for one in both:
        one.join(30)
    store = MonitoringStore(url)
    assert len(store.latest(10)) == 2
    store.close()


def test_migrations_make_the_tables_that_the_code_knows(store: MonitoringStore, url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "monitoring_version"})
        assert compare_metadata(context, META) == []
    again = MonitoringStore(url)
    again.close()


def test_tables_of_others_in_the_same_database_are_left(url: str) -> None:
    first = MonitoringStore(url)
    with first.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('of mlflow')"))
    first.add([row(1, 1.0)])
    first.close()
    again = MonitoringStore(url)
    assert len(again.latest(5)) == 1
    assert inspect(again.engine).has_table("alembic_version")
    with again.begin() as connection:
        connection.execute(text("UPDATE monitoring_version SET version_num = '9999'"))
    again.close()
    with pytest.raises(ConfigError, match="not of this version of Backbeat"):
        MonitoringStore(url)
