"""One thing that is wrong with a corpus, and where."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning"]
ERROR: Level = "error"
WARNING: Level = "warning"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Parameters
    ----------
    level
        `error` stops the pipeline, `warning` does not.
    path, line
        The file, and its line from 1 where the problem has one.
    message
        What is wrong.
    track_id
        Of the track concerned, or empty.
    """

    level: Level
    path: str
    message: str
    line: int | None = None
    track_id: str = ""

    def __str__(self) -> str:
        return f"{self.path}{f':{self.line}' if self.line else ''}: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as plain values."""
        return asdict(self)
