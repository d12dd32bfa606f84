"""The audit log, which is only ever added to."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What may stand in a line of the audit log, in this order: nothing that a caller names freely.
_AUDIT_FIELDS = ("request_id", "caller", "route", "method", "status", "code", "bytes", "item", "interactions")


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
