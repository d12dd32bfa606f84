"""What was served, a row for each prediction, for drift to be found in; never the audio.

Rows are gathered and written by a thread, a Parquet file for so many rows or seconds; a request only puts its row in a
queue. Where that is full, or nothing can be written, rows are dropped and counted: requests do not wait for them.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from backbeat.analysis.hearing import Heard
from backbeat.files import atomic_path
from backbeat.music.drums import DRUMS
from serving import metrics

_LOG = structlog.get_logger("serving.records")
_LONGEST_QUEUE = 10_000


def row_of(heard: Heard, answer: dict[str, Any], *, request_id: str, route: str) -> dict[str, Any]:
    """Return the row of a prediction: what went in, as numbers; what came out; the models.

    Fields that were not asked for are missing.
    """
    spectrogram = heard.spectrogram
    level = spectrogram.mean(axis=0)
    total = float(level.sum())
    row: dict[str, Any] = {
        "time": datetime.now(UTC),
        "request_id": request_id,
        "route": route,
        "duration_s": heard.duration_s,
        "sample_rate_hz": heard.sample_rate_hz,
        "codec": heard.codec,
        "loudness_lufs": heard.loudness_lufs,
        # Of the mean log-mel spectrum: level, centre of gravity in bands, and spread over time.
        "level": total / level.size,
        "brightness_band": float(level @ np.arange(level.size)) / total if total else 0.0,
        "level_spread": float(spectrogram.mean(axis=1).std()),
        "key_confidence": heard.key.confidence if heard.key else None,
        "warnings": len(heard.warnings),
    }
    for name in ("tempo_bpm", "time_signature"):
        if name in answer:
            row[name] = answer[name]
    for name in ("beats", "onsets", "drums"):
        if name in answer:
            row[f"{name}_per_s"] = len(answer[name]) / heard.duration_s
    if answer.get("onsets"):
        row["onset_strength"] = float(np.mean([onset["strength"] for onset in answer["onsets"]]))
    if "drums" in answer:
        for drum in DRUMS:
            row[f"drum_{drum}_per_s"] = sum(hit["drum"] == drum for hit in answer["drums"]) / heard.duration_s
    if "genre" in answer:
        genre = answer["genre"]
        row |= {"genre": genre["label"], "genre_unsure": genre["unsure"]}
        row["genre_probability"] = genre["probabilities"].get(genre["label"])
    for task, origin in answer.get("models", {}).items():
        row[f"{task}_version"] = origin["version"]
        row[f"{task}_run"] = origin["run"]
    return row


class Recorder:
    """Writes rows to Parquet files of a folder; of None, none.

    Parameters
    ----------
    folder
        Where to; files of all processes lie beside each other.
    rows, seconds
        How many rows, or how long after the first, make a file.
    max_bytes
        The oldest files go when all have more than this.
    """

    def __init__(self, folder: Path | None, rows: int, seconds: float, max_bytes: int) -> None:
        self._folder, self._rows, self._seconds, self._max_bytes = folder, rows, seconds, max_bytes
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(_LONGEST_QUEUE)
        self._thread = threading.Thread(target=self._work, name="backbeat-records", daemon=True)

    def start(self) -> None:
        """Begin to write what is taken."""
        if self._folder is not None:
            self._thread.start()

    def add(self, row: dict[str, Any]) -> None:
        """Take a row; at once."""
        if self._folder is None:
            return
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            metrics.RECORDS.labels("dropped").inc()

    def close(self) -> None:
        """Write what is left."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        rows: list[dict[str, Any]] = []
        due = float("inf")
        ended = False
        while not ended:
            try:
                row = self._queue.get(timeout=max(0.0, min(due - time.monotonic(), 3600.0)))
                ended = row is None
                if row is not None:
                    due = min(due, time.monotonic() + self._seconds)
                    rows.append(row)
            except queue.Empty:
                pass
            if rows and (ended or len(rows) >= self._rows or time.monotonic() >= due):
                self._write(rows)
                rows, due = [], float("inf")

    def _write(self, rows: list[dict[str, Any]]) -> None:
        import pandas as pd

        assert self._folder is not None  # noqa: S101
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}.parquet"
        try:
            with atomic_path(self._folder / name) as path:
                pd.DataFrame(rows).to_parquet(path, index=False)
            metrics.RECORDS.labels("written").inc(len(rows))
            self._prune()
        except OSError as error:
            metrics.RECORDS.labels("lost").inc(len(rows))
            _LOG.error("records_not_written", rows=len(rows), cause=error.strerror)

    def _prune(self) -> None:
        """Remove the oldest files beyond the most bytes."""
        assert self._folder is not None  # noqa: S101
        left = self._max_bytes
        for path in sorted(self._folder.glob("*.parquet"), reverse=True):
            left -= path.stat().st_size
            if left < 0:
                path.unlink(missing_ok=True)
