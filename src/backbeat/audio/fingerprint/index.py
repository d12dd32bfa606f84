"""An index of fingerprints in a folder: recordings are found in it by any ten seconds of them.

The folder holds parts, which never change, and a manifest that names them and the rows of each that were removed. A
change writes a new part and then a new manifest, atomically, so that readers in other processes see one state or the
next. Small parts are joined when there are many: a recording is rewritten as often as the logarithm of how many there
are (the logarithmic method: Bentley and Saxe, J. Algorithms 1, 1980).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from filelock import FileLock

from backbeat.audio.fingerprint.aligning import Alignment
from backbeat.audio.fingerprint.coding import VERSION as FINGERPRINT_VERSION
from backbeat.audio.fingerprint.coding import from_bytes
from backbeat.audio.fingerprint.part import REBUILD, VERSION, Part
from backbeat.audio.fingerprint.peaks import FRAMES_PER_S
from backbeat.audio.fingerprint.searching import Question, search
from backbeat.audio.fingerprint.writing import MOST_FRAMES, join_parts, write_part
from backbeat.errors import CatalogueError
from backbeat.files import write_json

MANIFEST = "index.json"
#: A match has at least this share of the question's peaks, so many of them, and agrees for so many seconds. Of tracks
#: from other seeds than those tested, right ones had 0.45, 75 and 6 or more, wrong ones 0.15, 17 and 1 at most
#: (`benchmarks/fingerprint.py`): the share lies half-way between, as ratios go.
LEAST_SCORE, LEAST_MATCHED, LEAST_S = 0.25, 16, 2.0
#: Speeds that are tried, one after the other until something is found; each holds for 0.7 % more or less.
SPEEDS = (1.0, 0.99, 1.01)
#: Two recordings are near-duplicates if so many seconds of them are the same.
DUPLICATE_S = 5.0
#: Recordings that are indexed at a time when an index is built.
_AT_ONCE = 2000
#: A part is joined with the next once it is less than so many times as long, …
_JOINED_RATIO = 3
#: … and written again once this share of its recordings was removed.
_REMOVED_SHARE = 0.25
#: How often another process may change the manifest while it is being read.
_TRIES = 20


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
        Seconds for which the two agree.
    """

    id: str
    offset_s: float
    score: float
    matched: int
    speed: float
    overlap_s: float


@dataclass(frozen=True)
class Duplicate:
    """Two recordings that are the same, or hold the same.

    Parameters
    ----------
    first, second
        Their ids, in order.
    offset_s
        Where in the second the first one begins; negative if before it.
    score
        Share of the peaks that are the same where the two overlap, 0 to 1.
    overlap_s
        Seconds that are the same.
    """

    first: str
    second: str
    offset_s: float
    score: float
    overlap_s: float


@dataclass(frozen=True, eq=False)
class _State:
    """What a manifest says, with its parts open: in the order of their age, with the rows that were removed."""

    stamp: tuple[int, int, int]
    parts: Mapping[str, Part]
    removed: Mapping[str, frozenset[int]]

    @cached_property
    def rows(self) -> dict[str, tuple[str, int]]:
        """Part and row of every recording that there is."""
        return {
            id: (name, row)
            for name, part in self.parts.items()
            for row, id in enumerate(part.ids)
            if row not in self.removed[name]
        }


class FingerprintIndex:
    """Recordings by their landmarks.

    Several threads and processes may read one index while one writes; writers wait for each other.

    Parameters
    ----------
    folder
        Of an index that is there (`build` makes one).

    Raises
    ------
    CatalogueError
        If it is missing, damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: _State | None = None
        self._state()

    @classmethod
    def build(cls, folder: Path, items: Iterable[tuple[str, bytes]]) -> FingerprintIndex:
        """Index (id, fingerprint) pairs anew; what was in the folder answers until the new index is whole.

        Raises
        ------
        CatalogueError
            If a fingerprint is damaged or of another version, or an id comes twice.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            names = []
            try:
                for lot in _lots(items):
                    names.append(_new_name())
                    write_part(folder / names[-1], lot)
                parts = {name: Part(folder / name) for name in names}
                _check_distinct(id for part in parts.values() for id in part.ids)
                _write_manifest(folder, _joined(folder, parts, dict.fromkeys(parts, ()), all_of_them=True))
            finally:
                _sweep(folder)
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> FingerprintIndex:
        """Open an index that is there; CatalogueError if it is missing, damaged or of another version."""
        return cls(folder)

    @property
    def ids(self) -> Collection[str]:
        """The recordings that there are."""
        return self._state().rows.keys()

    def __len__(self) -> int:
        return len(self._state().rows)

    def find(
        self,
        query: bytes,
        *,
        least: float = LEAST_SCORE,
        least_matched: int = LEAST_MATCHED,
        least_s: float = LEAST_S,
        speeds: Sequence[float] = SPEEDS,
    ) -> list[Match]:
        """Return the recordings that hold what was asked for, best first.

        Parameters
        ----------
        query
            A fingerprint (`fingerprint`) of ten seconds or more; of less, where it has peaks enough.
        least, least_matched, least_s
            The least score of a match, how many peaks it stands on at least, and for how many seconds it agrees.
        speeds
            How fast the question may be playing: tried in this order until something is found.

        Raises
        ------
        CatalogueError
            If the fingerprint or the index is damaged or of another version.
        """
        asked = from_bytes(query)
        state = self._state()
        for speed in speeds:
            question = Question.at_speed(asked, speed)
            matches = [
                _match(part.ids[row], made)
                for name, part in state.parts.items()
                for row, made in search(part, question, state.removed[name]).items()
                if made.score >= least and made.matched >= least_matched and made.overlap_s >= least_s
            ]
            if matches:
                return sorted(matches, key=lambda match: (-match.score, match.id))
        return []

    def duplicates(self, among: Iterable[str] | None = None, *, least_s: float = DUPLICATE_S) -> list[Duplicate]:
        """Return pairs of recordings that are the same, or of which a stretch is, those with most in common first.

        Each recording is looked up by a sample of its landmarks, so the time grows with their number, not its square.

        Parameters
        ----------
        among
            Ids of which the duplicates are wanted; all when left out.
        least_s
            So many seconds are the same at least.
        """
        state = self._state()
        pairs: dict[tuple[str, str], Duplicate] = {}
        for id in state.rows if among is None else among:
            if id in state.rows:
                for pair in _duplicates_of(state, id, least_s):
                    known = pairs.get((pair.first, pair.second))
                    if known is None or known.overlap_s < pair.overlap_s:
                        pairs[pair.first, pair.second] = pair
        return sorted(pairs.values(), key=lambda pair: (-pair.overlap_s, pair.first, pair.second))

    def add(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Index more recordings; one that is there under the same id is replaced."""
        with _lock(self.folder):
            try:
                for lot in _lots(items):
                    fresh = dict(lot)
                    state, name = self._state(), _new_name()
                    write_part(self.folder / name, list(fresh.items()))
                    parts = {**state.parts, name: Part(self.folder / name)}
                    removed = {**_with_removed(state, fresh), name: ()}
                    _write_manifest(self.folder, _joined(self.folder, parts, removed))
            finally:
                _sweep(self.folder)

    def remove(self, ids: Iterable[str]) -> int:
        """Forget recordings; return how many of them there were."""
        with _lock(self.folder):
            state = self._state()
            gone = [id for id in dict.fromkeys(ids) if id in state.rows]
            if gone:
                try:
                    _write_manifest(self.folder, _joined(self.folder, state.parts, _with_removed(state, gone)))
                finally:
                    _sweep(self.folder)
        return len(gone)

    def compact(self) -> None:
        """Write all recordings as one part, so that nothing of removed ones is left on the disk."""
        with _lock(self.folder):
            state = self._state()
            try:
                joined = _joined(self.folder, state.parts, _with_removed(state, ()), all_of_them=True)
                _write_manifest(self.folder, joined)
            finally:
                _sweep(self.folder)

    def verify(self) -> None:
        """Read all of the index; CatalogueError if anything in it is damaged."""
        for part in self._state().parts.values():
            part.verify()

    def _state(self) -> _State:
        """Return what the folder holds now; nothing is read where nothing has changed."""
        manifest = self.folder / MANIFEST
        for _ in range(_TRIES):
            try:
                status = manifest.stat()
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                if self._held is not None and self._held.stamp == stamp:
                    return self._held
                removed = _read_manifest(manifest)
            except FileNotFoundError:
                raise CatalogueError(f"{self.folder}: there is no fingerprint index here: {REBUILD}") from None
            known = {} if self._held is None else self._held.parts
            try:
                parts = {name: known.get(name) or Part(self.folder / name) for name in removed}
            except FileNotFoundError:
                continue  # replaced since the manifest was read: another one names what took its place
            self._held = _State(stamp, parts, removed)
            return self._held
        raise CatalogueError(f"{self.folder}: parts of the fingerprint index are missing: {REBUILD}")


def _duplicates_of(state: _State, id: str, least_s: float) -> Iterator[Duplicate]:
    own_part, own_row = state.rows[id]
    question = Question.sampled(state.parts[own_part].peaks_of(own_row))
    for name, part in state.parts.items():
        itself = own_row if name == own_part else None
        for row, made in search(part, question, state.removed[name], itself).items():
            if made.score < LEAST_SCORE or made.matched < LEAST_MATCHED or made.overlap_s < least_s:
                continue
            offset_s, other = made.offset_frames / FRAMES_PER_S, part.ids[row]
            first, second = sorted((id, other))
            yield Duplicate(first, second, offset_s if first == id else -offset_s, made.score, made.overlap_s)


def _match(id: str, made: Alignment) -> Match:
    return Match(id, made.offset_frames / FRAMES_PER_S, made.score, made.matched, made.speed, made.overlap_s)


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / ".lock")


def _new_name() -> str:
    return f"part-{secrets.token_hex(8)}.bin"


def _lots(items: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    remaining = iter(items)
    while lot := list(islice(remaining, _AT_ONCE)):
        yield lot


def _check_distinct(ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise CatalogueError(f"{id}: two recordings of one id cannot be indexed")
        seen.add(id)


def _with_removed(state: _State, ids: Iterable[str]) -> dict[str, Collection[int]]:
    removed = {name: set(rows) for name, rows in state.removed.items()}
    for name, row in (state.rows[id] for id in ids if id in state.rows):
        removed[name].add(row)
    return dict(removed)


def _joined(
    folder: Path,
    parts: Mapping[str, Part],
    removed: Mapping[str, Collection[int]],
    all_of_them: bool = False,
) -> dict[str, Collection[int]]:
    """Join parts where it is time to; return those that there are then, with the rows removed from each."""
    groups: list[list[str]] = []
    for name in parts:
        groups.append([name])
        while len(groups) > 1 and _are_to_join(_span(parts, groups[-2]), _span(parts, groups[-1]), all_of_them):
            groups[-2:] = [groups[-2] + groups[-1]]
    after: dict[str, Collection[int]] = {}
    for group in groups:
        sources = [(parts[name], removed[name]) for name in group if len(removed[name]) < len(parts[name])]
        gone, rows = sum(len(removed[name]) for name in group), sum(len(parts[name]) for name in group)
        if len(group) == 1 and gone <= (0 if all_of_them else _REMOVED_SHARE) * rows:
            after[group[0]] = removed[group[0]]
        elif sources:
            name = _new_name()
            join_parts(folder / name, sources)
            after[name] = ()
    return after


def _span(parts: Mapping[str, Part], group: Sequence[str]) -> int:
    return sum(parts[name].span_frames for name in group)


def _are_to_join(older: int, newer: int, always: bool) -> bool:
    return older + newer <= MOST_FRAMES and (always or older < _JOINED_RATIO * newer)


def _read_manifest(path: Path) -> dict[str, frozenset[int]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        version = (told["version"], told["fingerprints"])
        removed = {str(name): frozenset(map(int, rows)) for name, rows in told["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogueError(f"{path}: the fingerprint index is damaged: {REBUILD}") from error
    if version != (VERSION, FINGERPRINT_VERSION):
        raise CatalogueError(f"{path}: the fingerprint index is of another version of Backbeat: {REBUILD}")
    return removed


def _write_manifest(folder: Path, parts: Mapping[str, Collection[int]]) -> None:
    told = {name: sorted(rows) for name, rows in parts.items()}
    write_json(folder / MANIFEST, {"version": VERSION, "fingerprints": FINGERPRINT_VERSION, "parts": told})


def _sweep(folder: Path) -> None:
    """Remove parts that no manifest names; whoever has them open still reads them."""
    manifest = folder / MANIFEST
    named = _read_manifest(manifest) if manifest.is_file() else {}
    for path in folder.glob("part-*.bin"):
        if path.name not in named:
            path.unlink(missing_ok=True)
