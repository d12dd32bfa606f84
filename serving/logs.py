"""Logs: a JSON object a line, on standard output; and the audit log, which is only ever added to."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

# What may stand in a line of the audit log, in this order: nothing that a caller names freely.
_AUDIT_FIELDS = ("request_id", "caller", "route", "method", "status", "code", "bytes")


def configure(level: str) -> None:
    """Let all logs of the process be JSON on standard output."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=True)]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # What they warn of, each try of a registry that is away say, is told once by who asked.
    for name in ("uvicorn.access", "httpx", "bentoml.access", "urllib3.connectionpool", "opentelemetry.exporter"):
        logging.getLogger(name).setLevel(logging.ERROR)


class AuditLog:
    """Who asked for what and what came of it: one JSON object a line, each written at once at the end of a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None
        self._guard = threading.Lock()

    def open(self) -> None:
        """Open the file, so that what cannot be written is said at the start."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, **facts: Any) -> None:
        """Add a line, if the file is open."""
        if self._file is None:
            return
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        line |= {name: facts[name] for name in _AUDIT_FIELDS if name in facts}
        with self._guard:
            os.write(self._file, (json.dumps(line) + "\n").encode())

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
