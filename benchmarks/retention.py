"""How long it takes to compact rows of monitoring, what that leaves of the file, and how long others' writes wait.

python benchmarks/retention.py [ROWS]      (PostgreSQL where it is installed)
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from backbeat.monitoring.retention import retain
from backbeat.monitoring.settings import load_monitoring
from backbeat.monitoring.store import MonitoringStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from databases import fresh_database, postgres_server, row, sqlite_url
from neighbours import postgres_programs

_NOW = 20_000 * 86400.0
_ROWS_AN_HOUR = 1800


def _fill(store: MonitoringStore, rows: int) -> None:
    some = [row(number, 0.0) for number in range(2000)]
    begin = _NOW - 100 * 86400.0 - rows * 3600 / _ROWS_AN_HOUR
    for first in range(0, rows, len(some)):
        numbered = enumerate(some[: rows - first], first)
        store.add([replace(one, request_id=f"r{n}", at=begin + n * 3600 / _ROWS_AN_HOUR) for n, one in numbered])


def _megabytes(store: MonitoringStore) -> float:
    with store.begin() as connection:
        if store.engine.dialect.name == "sqlite":
            return Path(str(store.engine.url.database)).stat().st_size / 1e6
        asked = "SELECT pg_total_relation_size('monitoring_predictions')"
        return float(connection.exec_driver_sql(asked).scalar_one()) / 1e6


def measure(url: str, rows: int) -> None:
    """Print what it took."""
    store = MonitoringStore(url)
    _fill(store, rows)
    store.close()
    store = MonitoringStore(url)
    before, ended, waits = _megabytes(store), threading.Event(), [0.0]

    def write() -> None:
        while not ended.wait(0.05):
            begun = time.perf_counter()
            store.add([row(0, _NOW)])
            waits.append(time.perf_counter() - begun)

    writer = threading.Thread(target=write)
    writer.start()
    begun = time.perf_counter()
    done = retain(store, load_monitoring({}).retention, now=_NOW)
    seconds = time.perf_counter() - begun
    ended.set()
    writer.join()
    print(
        f"{store.engine.dialect.name}: {done.compacted} rows in {seconds:.1f} s; {before:.0f} MB, then"
        f" {_megabytes(store):.0f} MB; the slowest of {len(waits) - 1} writes beside it took {max(waits):.2f} s"
    )
    store.close()


if __name__ == "__main__":
    count = int(sys.argv[1]) if sys.argv[1:] else 200_000
    with tempfile.TemporaryDirectory() as folder:
        measure(sqlite_url(Path(folder)), count)
    if postgres_programs() is not None:
        with postgres_server() as server:
            measure(fresh_database(server), count)
