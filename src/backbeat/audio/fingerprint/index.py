"""An index of fingerprints in a folder: recordings are found in it by any ten seconds of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from backbeat.audio.fingerprint.coding import from_bytes
from backbeat.audio.fingerprint.part import REBUILD, Part, write_part
from backbeat.audio.fingerprint.peaks import FRAMES_PER_S
from backbeat.audio.fingerprint.searching import search
from backbeat.errors import CatalogueError
from backbeat.files import write_json

MANIFEST = "index.json"
VERSION = 1
#: A match has at least this share of the question's peaks …
LEAST_SCORE = 0.35
#: … and so many of them, …
_LEAST_MATCHED = 12
#: Speeds that are tried.
_SPEEDS = (1.0,)


@dataclass(frozen=True)
class Match:
    """A recording that was found.

    Parameters
    ----------
    id
        Of the recording.
    offset_s
        Where in the recording the question begins; negative if before it.
    score
        Share of the question's peaks that are in the recording, 0 to 1.
    matched
        How many they are.
    speed
        How fast the question plays, 1.01 for one percent faster than the recording.
    overlap_s
        Seconds of the question that agree.
    """

    id: str
    offset_s: float
    score: float
    matched: int
    speed: float
    overlap_s: float


class FingerprintIndex:
    """Recordings by their landmarks. Several processes may read and write one index; each sees whole states only.

    Parameters
    ----------
    folder
        Of the index; it is there (`open`, `build`).

    Raises
    ------
    CatalogueError
        If it is missing, damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: dict[str, Part] = {}
        self._removed: dict[str, frozenset[int]] = {}
        self._stamp: tuple[int, int] | None = None
        self._rows: dict[str, tuple[str, int]] = {}
        self.refresh()

    @classmethod
    def build(cls, folder: Path, items: Iterable[tuple[str, bytes]]) -> FingerprintIndex:
        """Index (id, fingerprint) pairs anew; what was in the folder is there until the new index is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            name = _new_name()
            write_part(folder / name, list(items))
            _write_manifest(folder, {name: ()})
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> FingerprintIndex:
        """Open an index that is there."""
        return cls(folder)

    def __len__(self) -> int:
        self.refresh()
        return len(self._rows)

    def refresh(self) -> None:
        """See what others have changed; nothing is read where nothing has."""
        manifest = self.folder / MANIFEST
        try:
            status = manifest.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp == self._stamp:
                return
            told = json.loads(manifest.read_text(encoding="utf-8"))
            if told["version"] != VERSION:
                raise CatalogueError(f"{self.folder}: the fingerprint index is of another version: {REBUILD}")
            removed = {str(name): frozenset(map(int, rows)) for name, rows in told["parts"].items()}
        except FileNotFoundError:
            raise CatalogueError(f"{self.folder}: there is no fingerprint index: {REBUILD}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CatalogueError(f"{manifest}: the fingerprint index cannot be read: {REBUILD}") from error
        self._parts = {name: self._parts.get(name) or Part(self.folder / name) for name in removed}
        self._removed, self._stamp = removed, stamp
        self._rows = {
            id: (name, row)
            for name, part in self._parts.items()
            for row, id in enumerate(part.ids)
            if row not in removed[name]
        }

    def find(self, query: bytes, *, least: float = LEAST_SCORE) -> list[Match]:
        """Return the recordings that hold what was asked for, best first.

        Parameters
        ----------
        query
            A fingerprint (`fingerprint`).
        least
            The least score of a match.
        """
        self.refresh()
        asked = from_bytes(query)
        best: dict[str, Match] = {}
        for speed in _SPEEDS:
            for name, part in self._parts.items():
                for row, made in search(part, asked, self._removed[name], speed).items():
                    match = Match(
                        part.ids[row],
                        made.offset_frames / FRAMES_PER_S,
                        made.score,
                        made.matched,
                        made.speed,
                        made.overlap_s,
                    )
                    if match.id not in best or best[match.id].matched < match.matched:
                        best[match.id] = match
        kept = [match for match in best.values() if match.score >= least and match.matched >= _LEAST_MATCHED]
        return sorted(kept, key=lambda match: (-match.score, match.id))

    def add(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Index more recordings; one of the same id is replaced."""
        with _lock(self.folder):
            self.refresh()
            fresh = dict(items)
            removed = self._without(fresh)
            name = _new_name()
            write_part(self.folder / name, list(fresh.items()))
            _write_manifest(self.folder, {**removed, name: ()})
        self.refresh()

    def remove(self, ids: Iterable[str]) -> int:
        """Forget recordings; return how many of them there were."""
        with _lock(self.folder):
            self.refresh()
            gone = [id for id in dict.fromkeys(ids) if id in self._rows]
            if gone:
                _write_manifest(self.folder, self._without(gone))
        self.refresh()
        return len(gone)

    def _without(self, ids: Iterable[str]) -> dict[str, tuple[int, ...]]:
        removed = {name: set(rows) for name, rows in self._removed.items()}
        for id in ids:
            if id in self._rows:
                name, row = self._rows[id]
                removed[name].add(row)
        return {name: tuple(sorted(rows)) for name, rows in removed.items()}


def _lock(folder: Path) -> Any:
    return FileLock(folder / ".lock")


def _new_name() -> str:
    return f"part-{secrets.token_hex(8)}.bin"


def _write_manifest(folder: Path, parts: dict[str, tuple[int, ...]]) -> None:
    write_json(folder / MANIFEST, {"version": VERSION, "parts": {name: list(rows) for name, rows in parts.items()}})
    for path in folder.glob("part-*.bin"):
        if path.name not in parts:
            path.unlink(missing_ok=True)
