"""What was served, a row for each prediction, for drift to be found in; never the audio, unless the operator says so.

A request only puts its row in a queue; a thread writes them, several at once. While the database is away they wait;
where too many do, rows are dropped and counted: requests do not wait for them.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from backbeat.errors import BackbeatError
from backbeat.files import atomic_path
from backbeat.monitoring.rows import Row
from backbeat.monitoring.store import MonitoringStore
from serving import metrics
from serving.settings import Settings

_LOG = structlog.get_logger("serving.records")
_LONGEST_QUEUE = 10_000
_AGAIN_S = 5.0


def store_of(settings: Settings) -> MonitoringStore:
    """Open the monitoring database that the settings name; errors as `MonitoringStore`."""
    if url := settings.monitoring.database:
        return MonitoringStore(url)
    return MonitoringStore.at(settings.place(""))


class Recorder:
    """Writes rows to the monitoring database.

    Parameters
    ----------
    open_store
        Opens it; asked in the thread that writes, and again while it is away. None for no records at all.
    rows, seconds
        How many rows, or how long after the first, are written together.
    """

    def __init__(self, open_store: Callable[[], MonitoringStore] | None, rows: int, seconds: float) -> None:
        self._open, self._rows, self._seconds = open_store, rows, seconds
        self._store: MonitoringStore | None = None
        self._queue: queue.Queue[Row | None] = queue.Queue(_LONGEST_QUEUE)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="backbeat-records", daemon=True)

    @classmethod
    def of(cls, settings: Settings) -> Recorder:
        """Make the recorder that the settings ask for."""
        wanted = settings.monitoring
        return cls((lambda: store_of(settings)) if wanted.records else None, wanted.rows, wanted.seconds)

    def start(self) -> None:
        """Begin to write what is taken."""
        if self._open is not None:
            self._thread.start()

    def add(self, row: Row) -> None:
        """Take a row; at once."""
        if self._open is None:
            return
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            metrics.RECORDS.labels("dropped").inc()

    def close(self) -> None:
        """Write what is left, if that can be."""
        if self._thread.is_alive():
            self._closing.set()
            with suppress(queue.Full):  # then it is not waited for
                self._queue.put_nowait(None)
            self._thread.join()
        if self._store is not None:
            self._store.close()

    def _work(self) -> None:
        rows: list[Row] = []
        due = float("inf")
        ended = False
        while not ended:
            wait_s = max(0.0, min(due - time.monotonic(), 3600.0))
            if len(rows) >= self._rows:
                # They could not be written; what comes meanwhile waits in the queue.
                self._closing.wait(wait_s)
            else:
                with suppress(queue.Empty):
                    row = self._queue.get(timeout=wait_s)
                    ended = row is None
                    if row is not None:
                        due = min(due, time.monotonic() + self._seconds)
                        rows.append(row)
            if rows and (ended or len(rows) >= self._rows or time.monotonic() >= due):
                if self._write(rows):
                    rows, due = [], float("inf")
                else:
                    due = time.monotonic() + _AGAIN_S
                    ended = ended or self._closing.is_set()
        if left := len(rows) + self._queue.qsize():
            metrics.RECORDS.labels("lost").inc(left)

    def _write(self, rows: list[Row]) -> bool:
        assert self._open is not None  # noqa: S101
        try:
            if self._store is None:
                self._store = self._open()
            self._store.add(rows)
        except BackbeatError as error:
            _LOG.error("records_not_written", rows=len(rows), cause=str(error))
            return False
        except Exception:
            _LOG.exception("fault")
            return False
        metrics.RECORDS.labels("written").inc(len(rows))
        return True


class Kept:
    """Files that were heard, kept for a while so that a correction need not send them again; by their SHA-256.

    Parameters
    ----------
    folder
        Where they lie.
    seconds
        How long; 0 for not at all.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds
        self._swept = 0.0

    def keep(self, path: Path, sha256: str) -> None:
        """Keep a file; what cannot be kept is missed by nobody but a correction."""
        if not self._seconds:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            target = self._folder / sha256
            if target.is_file():
                os.utime(target)
            else:
                with atomic_path(target) as temporary:
                    shutil.copyfile(path, temporary)
        except OSError as error:
            _LOG.error("audio_not_kept", cause=error.strerror)
        if time.monotonic() - self._swept > min(60.0, self._seconds):
            self._swept = time.monotonic()
            self._sweep()

    def find(self, sha256: str) -> Path | None:
        """Return where a file lies that is still kept."""
        path = self._folder / sha256
        return path if sha256 and path.is_file() else None

    def _sweep(self) -> None:
        for path in self._folder.iterdir():
            with suppress(OSError):  # another process was quicker
                if path.is_file() and time.time() - path.stat().st_mtime > self._seconds:
                    path.unlink()
