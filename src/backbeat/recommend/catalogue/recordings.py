"""Items known again by their sound: an index of their fingerprints beside the database, up to date when it is used.

In it items go by their numbers, so that it holds no names.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from backbeat.errors import CatalogueError
from backbeat.files import write_json
from backbeat.recommend.catalogue.database import CatalogueDatabase
from backbeat.recommend.catalogue.rows import in_parts, kept_audio
from backbeat.recommend.catalogue.tables import FINGERPRINTS, ITEMS, REMOVED

if TYPE_CHECKING:
    from backbeat.audio.fingerprint import FingerprintIndex, Match

#: Says up to which revision of the catalogue the index is.
_SEEN = "revision.json"


#: The same recording agrees for this share of the longer of the two; a loop within a song does not.
_SAME_SHARE = 0.8
#: Recordings that are compared before it is told how many are done.
_AT_ONCE = 100


@dataclass(frozen=True)
class Pair:
    """Two items that sound the same for a while.

    Parameters
    ----------
    one, other
        Their ids, in order.
    overlap_s
        Seconds that agree.
    score
        Share of the fingerprint of one that is in the other, 0 to 1.
    whole
        Whether they are one recording, not one a part of the other.
    """

    one: str
    other: str
    overlap_s: float
    score: float
    whole: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)


def agrees(overlap_s: float, one_s: float, other_s: float) -> bool:
    """Tell whether two recordings of these lengths are one and the same, not one a part of the other."""
    return overlap_s >= _SAME_SHARE * max(one_s, other_s)


class Recordings:
    """The fingerprints of a catalogue, to be searched; for several threads and processes.

    Parameters
    ----------
    database
        Of the catalogue.
    folder
        Of the index.
    """

    def __init__(self, database: CatalogueDatabase, folder: Path) -> None:
        self._database = database
        self.folder = folder
        self._index: FingerprintIndex | None = None
        self._seen = -1
        self._guard = threading.Lock()

    def find(self, fingerprint: bytes) -> list[Match]:
        """Return the items that hold what a fingerprint was taken of, best first."""
        index = self._current()
        if index is None:
            return []
        found = index.find(fingerprint)
        ids = self._ids([int(match.id) for match in found])
        return [replace(match, id=ids[int(match.id)]) for match in found if int(match.id) in ids]

    def pairs(self, progress: Callable[[int, int], None] = lambda done, of: None) -> list[Pair]:
        """Return the items that sound the same for a while, in the order of ids; `progress` is told how far that is."""
        index = self._current()
        if index is None:
            return []
        with self._database.begin() as connection:
            asked = select(ITEMS.c.number, ITEMS.c.id, ITEMS.c.duration_s)
            known = {str(row.number): (str(row.id), float(row.duration_s)) for row in connection.execute(asked)}
        found: dict[tuple[str, str], Pair] = {}
        numbers, done = sorted(index.ids), 0
        for part in in_parts(numbers, _AT_ONCE):
            progress(done, len(numbers))
            for same in index.duplicates(part):
                if same.first in known and same.second in known:
                    (one, one_s), (other, other_s) = sorted((known[same.first], known[same.second]))
                    whole = agrees(same.overlap_s, one_s, other_s)
                    pair = Pair(one, other, round(same.overlap_s, 2), round(same.score, 3), whole)
                    before = found.get((one, other))
                    if before is None or before.overlap_s < pair.overlap_s:
                        found[one, other] = pair
            done += len(part)
        return [found[key] for key in sorted(found)]

    def outdated(self) -> list[tuple[str, str]]:
        """Return the items whose fingerprints are not of this version, and where their audio lies, by id."""
        from backbeat.audio.fingerprint.coding import from_bytes

        numbers = []
        for number, fingerprint in self._since(-1):
            try:
                from_bytes(fingerprint)
            except CatalogueError:
                numbers.append(int(number))
        with self._database.begin() as connection:
            asked = select(ITEMS.c.id, ITEMS.c.path)
            rows = [
                row for part in in_parts(numbers) for row in connection.execute(asked.where(ITEMS.c.number.in_(part)))
            ]
        return sorted((row.id, str(kept_audio(row.path, self.folder.parent) or row.path)) for row in rows)

    def compact(self) -> None:
        """Leave nothing in the index, where there is one, of what is not in the catalogue any more."""
        if self.forget() and self._index is not None:
            self._index.compact()

    def build(self) -> int:
        """Make the index anew, of fingerprints that there are alone; return how many."""
        from filelock import FileLock

        from backbeat.audio.fingerprint import FingerprintIndex

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".sync.lock"):
            state = self._database.state()
            index = FingerprintIndex.build(self.folder, self._since(-1))
            write_json(self.folder / _SEEN, {"revision": state.items})
        return len(index)

    def forget(self) -> bool:
        """Take out of the index, where there is one, what is not in the catalogue any more."""
        there = (self.folder / _SEEN).is_file()
        if there:
            self._current()
        return there

    def _current(self) -> FingerprintIndex | None:
        """Return the index as the catalogue is; None where nothing has a fingerprint; CatalogueError if damaged."""
        from backbeat.audio.fingerprint import FingerprintIndex

        state = self._database.state()
        with self._guard:
            if self._index is None or self._seen < state.items:
                if not self._any():
                    return None
                if not self._caught_up(state.forgotten):
                    self.build()
                self._index, self._seen = FingerprintIndex.open(self.folder), state.items
            return self._index

    def _caught_up(self, forgotten: int) -> bool:
        """Bring an index that is there up to date; tell whether that could be done."""
        from filelock import FileLock

        from backbeat.audio.fingerprint import FingerprintIndex

        if not (self.folder / _SEEN).is_file():
            return False
        with FileLock(self.folder / ".sync.lock"):
            since = self._read_seen()
            if since < forgotten:
                return False
            state = self._database.state()
            if since < state.items:
                index = FingerprintIndex.open(self.folder)
                index.remove(self._gone(since))
                if new := list(self._since(since)):
                    index.add(new)
                write_json(self.folder / _SEEN, {"revision": state.items})
        return True

    def _read_seen(self) -> int:
        """Return up to which revision the index is; -1 where that is not known."""
        try:
            return int(json.loads((self.folder / _SEEN).read_text(encoding="utf-8"))["revision"])
        except (OSError, ValueError, KeyError, TypeError):
            return -1

    def _any(self) -> bool:
        with self._database.begin() as connection:
            return connection.execute(select(FINGERPRINTS.c.number).limit(1)).first() is not None

    def _since(self, revision: int) -> Iterator[tuple[str, bytes]]:
        """Give the numbers and fingerprints that came after a revision."""
        asked = select(FINGERPRINTS.c.number, FINGERPRINTS.c.fingerprint).where(FINGERPRINTS.c.changed > revision)
        with self._database.begin() as connection:
            for row in connection.execution_options(yield_per=1000).execute(asked.order_by(FINGERPRINTS.c.number)):
                yield str(row.number), bytes(row.fingerprint)

    def _gone(self, revision: int) -> list[str]:
        asked = select(REMOVED.c.number).where(REMOVED.c.revision > revision)
        with self._database.begin() as connection:
            return [str(number) for number in connection.execute(asked).scalars()]

    def _ids(self, numbers: list[int]) -> dict[int, str]:
        with self._database.begin() as connection:
            return _ids_of(connection, numbers)


def _ids_of(connection: Connection, numbers: list[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in in_parts(numbers):
        asked = select(ITEMS.c.number, ITEMS.c.id).where(ITEMS.c.number.in_(part))
        found.update((int(row.number), str(row.id)) for row in connection.execute(asked))
    return found
