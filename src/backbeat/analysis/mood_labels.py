"""Labels of mood as people write them down: a table of recordings, how pleasant and how exciting each is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from backbeat.errors import AnnotationError

_COLUMNS = ("path", "valence", "arousal")


@dataclass(frozen=True)
class MoodLabel:
    """A recording and its mood, each -1 to 1."""

    path: Path
    valence: float
    arousal: float


def read_mood_labels(path: Path) -> list[MoodLabel]:
    """Read a CSV with the columns ``path``, ``valence`` and ``arousal``; paths begin where it lies.

    Raises
    ------
    AnnotationError
        If it cannot be read, lacks a column, or a value is not a number from -1 to 1: names file and line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise AnnotationError(f"has no column {missing[0]!r}; {', '.join(_COLUMNS)} are needed", path, 1)
            return [_label(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path) from None


def _label(path: Path, line: int, row: dict[str, str]) -> MoodLabel:
    if not row["path"]:
        raise AnnotationError("names no recording", path, line)
    return MoodLabel(path.parent / row["path"], *(_feeling(path, line, name, row[name]) for name in _COLUMNS[1:]))


def _feeling(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not -1 <= value <= 1:
        raise AnnotationError(f"{name} {text!r} is not a number from -1 to 1", path, line)
    return value
