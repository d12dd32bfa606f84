"""The vectors nearest to one, by cosine: all are compared, or where they are many an index is asked."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.files import atomic_path
from backbeat.recommend.catalogue.columns import VectorRows
from backbeat.settings import above_zero

#: Of an index's file; another is made anew.
_VERSION = 2


@dataclass(frozen=True)
class NeighbourSettings:
    """How neighbours are found; ConfigError when a number leaves nothing.

    Parameters
    ----------
    exact_up_to
        So many vectors at most are compared one by one.
    links, build_width, search_width
        M, ef_construction and ef of HNSW (Malkov and Yashunin 2018): more find more, and take longer.
    stale_share
        The share of the vectors that may have come since an index was made; where there are more it is made anew.
    seed
        Of the index.
    """

    exact_up_to: int
    links: int
    build_width: int
    search_width: int
    stale_share: float
    seed: int

    def __post_init__(self) -> None:
        above_zero("neighbours", self, "exact_up_to", "links", "build_width", "search_width", "stale_share")
        if self.stale_share >= 1:
            raise ConfigError("neighbours.stale_share must be below 1")


def best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the places of the highest scores, highest first; of equal ones the first comes first."""
    if count < len(scores):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")][:count]


def exact(
    rows: VectorRows, vector: NDArray[np.float32], count: int, places: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the places of the nearest vectors and their cosines, nearest first; only of `places` if given."""
    # Row by row, on one thread: the same to the last bit whatever the others are, and not slowed by who else computes.
    chosen = slice(None) if places is None else places
    lengths = rows.lengths[chosen] * max(float(np.sqrt(np.vecdot(vector, vector))), 1e-12)
    scores = (np.vecdot(rows.matrix[chosen], vector) / lengths).astype(np.float32)
    found = best(scores, count)
    return found if places is None else places[found], scores[found]


@dataclass(frozen=True, eq=False)
class Graph:
    """An approximate index of the vectors that there were at a revision.

    Parameters
    ----------
    revision
        At which it was made.
    numbers
        Of its items, ascending.
    index
        Of voyager, by these numbers.
    """

    revision: int
    numbers: NDArray[np.int64]
    index: Any

    @classmethod
    def build(cls, rows: VectorRows, revision: int, settings: NeighbourSettings) -> Graph:
        """Make one; with one thread and in the order of the numbers, so that it is the same each time."""
        import voyager

        order = np.argsort(rows.numbers)
        index = voyager.Index(
            voyager.Space.Cosine,
            rows.matrix.shape[1],
            M=settings.links,
            ef_construction=settings.build_width,
            random_seed=settings.seed,
            max_elements=len(order),
        )
        numbers = rows.numbers[order]
        index.add_items(rows.matrix[order], ids=numbers, num_threads=1)
        return cls(revision, numbers, index)

    @classmethod
    def read(cls, path: Path, settings: NeighbourSettings) -> Graph | None:
        """Read one; None where there is none, or it was made otherwise."""
        import voyager

        try:
            content = path.read_bytes()
            line, _, rest = content.partition(b"\n")
            head = json.loads(line)
            if head.get("made") != _made(settings):
                return None
            index = voyager.Index.load(io.BytesIO(rest))
        except (OSError, ValueError, RuntimeError, AttributeError):
            # It is made anew from the vectors: nothing is lost with it.
            return None
        return cls(int(head["revision"]), np.sort(np.fromiter(index.ids, dtype=np.int64)), index)

    def write(self, path: Path, settings: NeighbourSettings) -> None:
        """Write it, atomically."""
        head = {"made": _made(settings), "revision": self.revision}
        with atomic_path(path) as temporary:
            temporary.write_bytes(json.dumps(head).encode() + b"\n" + self.index.as_bytes())

    def erase(self, numbers: NDArray[np.int64]) -> bool:
        """Write zeros over vectors; tell whether any of them was in it."""
        found = np.intersect1d(numbers, self.numbers)
        for number in found:
            self.index.add_item(np.zeros(self.index.num_dimensions, dtype=np.float32), int(number))
        return len(found) > 0

    def since(self, rows: VectorRows) -> NDArray[np.int64]:
        """Return the places of the vectors that it does not know, or knows as they were."""
        return np.flatnonzero(~np.isin(rows.numbers, self.numbers) | (rows.changed > self.revision))

    def nearest(self, rows: VectorRows, vector: NDArray[np.float32], count: int, width: int) -> NDArray[np.int64]:
        """Return the places of about `count` vectors that are near, of those that it knows as they are."""
        asked = min(count, len(self.numbers))
        numbers, _ = self.index.query(vector, asked, num_threads=1, query_ef=max(width, asked))
        order = np.argsort(rows.numbers)
        at = np.searchsorted(rows.numbers, numbers.astype(np.int64), sorter=order)
        places: NDArray[np.int64] = order[np.minimum(at, len(order) - 1)]
        known = np.flatnonzero((rows.numbers[places] == numbers) & (rows.changed[places] <= self.revision))
        return places[known]


def _made(settings: NeighbourSettings) -> dict[str, Any]:
    names = ("links", "build_width", "seed")
    return {"version": _VERSION, **{name: getattr(settings, name) for name in names}}


class Neighbours:
    """Finds the nearest of vectors, with an index in a file where they are many; for one space and kind.

    Parameters
    ----------
    folder
        Where the file lies, which several processes share.
    space, kind
        Of the vectors.
    settings
        How they are found.
    """

    def __init__(self, folder: Path, space: str, kind: str, settings: NeighbourSettings) -> None:
        name = hashlib.sha256(f"{space} {kind}".encode()).hexdigest()[:16]
        self.path = folder / f"{name}.hnsw"
        self.settings = settings
        self._graph: Graph | None = None
        self._since: tuple[Graph, VectorRows, NDArray[np.int64]] | None = None

    def nearest(
        self,
        rows: VectorRows,
        vector: NDArray[np.float32],
        count: int,
        among: NDArray[np.int64] | None,
        latest: Callable[[], tuple[VectorRows, int]],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the places of the nearest in `rows` and their cosines, nearest first.

        Parameters
        ----------
        rows
            The vectors.
        vector
            (numbers,) float32.
        count
            At most so many.
        among
            Places of those that are asked for; None for all.
        latest
            Gives the vectors as they are now and their revision, should an index have to be made.
        """
        size = len(rows.ids) if among is None else len(among)
        if size <= self.settings.exact_up_to:
            return exact(rows, vector, count, among)
        graph, since = self._ready(rows, latest)
        # Of those near, only some are asked for.
        wanted = count if among is None else round(2 * count * len(rows.ids) / size) + count
        near = graph.nearest(rows, vector, wanted, self.settings.search_width)
        places = np.union1d(near, since)
        if among is not None:
            places = np.intersect1d(places, among)
        if len(places) < count:
            return exact(rows, vector, count, among)
        return exact(rows, vector, count, places)

    def _ready(self, rows: VectorRows, latest: Callable[[], tuple[VectorRows, int]]) -> tuple[Graph, NDArray[np.int64]]:
        """Return an index that knows most of the vectors, and the places of those that it does not know."""
        graph, since = self._known(rows)
        if graph is None or self._stale(since, rows):
            graph = self._made_anew(latest)
            since = graph.since(rows)
        self._graph, self._since = graph, (graph, rows, since)
        return graph, since

    def _known(self, rows: VectorRows) -> tuple[Graph | None, NDArray[np.int64]]:
        """Return the index that there is, and the places of the vectors that it does not know."""
        # Read once: other threads may put another in its place.
        graph, before = self._graph or Graph.read(self.path, self.settings), self._since
        if graph is None:
            return None, np.zeros(0, dtype=np.int64)
        if before is not None and before[0] is graph and before[1] is rows:
            return graph, before[2]
        return graph, graph.since(rows)

    def _stale(self, since: NDArray[np.int64], rows: VectorRows) -> bool:
        return bool(len(since) > self.settings.stale_share * len(rows.ids))

    def _made_anew(self, latest: Callable[[], tuple[VectorRows, int]]) -> Graph:
        """Make the index, unless another process has just done so."""
        with self._alone():
            rows, revision = latest()
            graph = Graph.read(self.path, self.settings)
            if graph is None or self._stale(graph.since(rows), rows):
                graph = Graph.build(rows, revision, self.settings)
                graph.write(self.path, self.settings)
        return graph

    def rebuild(self, latest: Callable[[], tuple[VectorRows, int]]) -> None:
        """Make the index anew of the vectors that there are; take it away where they are few enough without one."""
        self._graph = self._since = None
        if len(latest()[0].ids) <= self.settings.exact_up_to and not self.path.is_file():
            return
        with self._alone():
            rows, revision = latest()
            if len(rows.ids) <= self.settings.exact_up_to:
                self.path.unlink(missing_ok=True)
            else:
                Graph.build(rows, revision, self.settings).write(self.path, self.settings)

    def erase(self, numbers: NDArray[np.int64]) -> bool:
        """Write zeros over vectors in the file, and forget what is in memory; tell whether any was in the file."""
        self._graph = self._since = None
        if not self.path.is_file():
            return False
        with self._alone():
            graph = Graph.read(self.path, self.settings)
            if graph is None:
                self.path.unlink(missing_ok=True)
                return True
            if erased := graph.erase(numbers):
                graph.write(self.path, self.settings)
        return erased

    def _alone(self) -> Any:
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_suffix(".lock"))
