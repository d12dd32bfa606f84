"""The nearest by an approximate index: how many of the true ones it finds, always the same, and up to date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from catalogues import SPACE, item
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.recommend.catalogue import Catalogue, load_catalogue
from backbeat.recommend.catalogue.columns import VectorRows
from backbeat.recommend.catalogue.neighbours import Graph, Neighbours, NeighbourSettings, best, exact

COUNT, SIZE = 3000, 32
SETTINGS = replace(load_catalogue({}).neighbours, exact_up_to=500)


def clustered(count: int, seed: int) -> NDArray[np.float32]:
    """Vectors of length 1 round 60 styles, as embeddings lie."""
    random = np.random.default_rng(seed)
    styles = np.random.default_rng(99).normal(size=(60, SIZE))
    found = styles[random.integers(0, 60, count)] + 0.6 * random.normal(size=(count, SIZE))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def matrix() -> NDArray[np.float32]:
    return clustered(COUNT, 1)


@pytest.fixture(scope="module")
def rows(matrix: NDArray[np.float32]) -> VectorRows:
    ids = tuple(f"t{number:05d}" for number in range(COUNT))
    return VectorRows(ids, np.arange(1, COUNT + 1), matrix, np.ones(COUNT, dtype=np.int64))


@pytest.fixture(scope="module")
def graph(rows: VectorRows) -> Graph:
    return Graph.build(rows, 1, SETTINGS)


def neighbours(folder: Path) -> Neighbours:
    return Neighbours(folder, SPACE, "track", SETTINGS)


def test_nearly_all_of_the_true_ten_nearest_are_found(rows: VectorRows, graph: Graph) -> None:
    found = []
    for query in clustered(200, 2):
        near = graph.nearest(rows, query, 10, SETTINGS.search_width)
        found.append(len(np.intersect1d(near, exact(rows, query, 10)[0])) / 10)
    assert np.mean(found) > 0.99


def test_the_index_is_the_same_each_time(rows: VectorRows, graph: Graph) -> None:
    assert Graph.build(rows, 1, SETTINGS).index.as_bytes() == graph.index.as_bytes()
    assert Graph.build(rows, 1, replace(SETTINGS, seed=12)).index.as_bytes() != graph.index.as_bytes()


def test_an_index_is_written_once_and_read_by_others(tmp_path: Path, rows: VectorRows) -> None:
    first, second = neighbours(tmp_path), neighbours(tmp_path)
    query = clustered(1, 3)[0]
    one = first.nearest(rows, query, 10, None, lambda: (rows, 1))
    written = first.path.stat().st_mtime_ns
    other = second.nearest(rows, query, 10, None, lambda: pytest.fail("it was there"))
    assert second.path.stat().st_mtime_ns == written
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], np.vecdot(rows.matrix, query)[one[0]], rtol=1e-5)
    # Made with other settings, or damaged, it is made anew.
    first.path.write_bytes(first.path.read_bytes()[:1000])
    np.testing.assert_array_equal(neighbours(tmp_path).nearest(rows, query, 10, None, lambda: (rows, 1))[0], one[0])
    assert Graph.read(first.path, replace(SETTINGS, links=8)) is None


def test_vectors_that_came_since_are_found_and_those_that_changed(tmp_path: Path, rows: VectorRows) -> None:
    finder = neighbours(tmp_path)
    query = clustered(1, 4)[0]
    before, _ = finder.nearest(rows, query, 3, None, lambda: (rows, 1))
    # The best one is changed to the opposite, another becomes the query itself, and one is new.
    matrix, changed = rows.matrix.copy(), rows.changed.copy()
    other = int(np.argmin(rows.matrix @ query))
    matrix[before[0]], matrix[other] = -query, query
    changed[[before[0], other]] = 2
    new = VectorRows(
        (*rows.ids, "t99999"), np.append(rows.numbers, COUNT + 1), np.vstack([matrix, query]), np.append(changed, 2)
    )
    after, scores = finder.nearest(new, query, 4, None, lambda: pytest.fail("few have changed"))
    assert after[:2].tolist() == [other, COUNT]
    np.testing.assert_allclose(scores[:2], 1.0, rtol=1e-5)
    assert before[0] not in after
    # Those that are gone are not found either.
    left = new.altered(np.array([other + 1]), VectorRows.of([], [], np.zeros((0, 0), dtype=np.float32), []))
    found, _ = finder.nearest(left, query, 4, None, lambda: pytest.fail("few have changed"))
    assert left.ids[found[0]] == "t99999"


def test_where_many_have_changed_the_index_is_made_anew(tmp_path: Path, rows: VectorRows) -> None:
    finder = neighbours(tmp_path)
    query = clustered(1, 5)[0]
    part = VectorRows(rows.ids[:2000], rows.numbers[:2000], rows.matrix[:2000], rows.changed[:2000])
    finder.nearest(part, query, 3, None, lambda: (part, 1))
    finder.nearest(rows, query, 3, None, lambda: (rows, 2))
    made = Graph.read(finder.path, SETTINGS)
    assert made is not None
    assert (made.revision, len(made.numbers)) == (2, COUNT)


def test_a_narrow_choice_is_exact_and_a_wide_one_holds_its_bounds(tmp_path: Path, rows: VectorRows) -> None:
    finder = neighbours(tmp_path)
    query = clustered(1, 6)[0]
    narrow, wide = np.arange(0, COUNT, 30), np.arange(0, COUNT, 2)
    found, _ = finder.nearest(rows, query, 10, narrow, lambda: pytest.fail("no index is needed"))
    np.testing.assert_array_equal(found, exact(rows, query, 10, narrow)[0])
    found, _ = finder.nearest(rows, query, 10, wide, lambda: (rows, 1))
    assert (found % 2 == 0).all()
    assert len(np.intersect1d(found, exact(rows, query, 10, wide)[0])) >= 9


def test_what_is_erased_is_not_in_the_file(tmp_path: Path, rows: VectorRows) -> None:
    finder = neighbours(tmp_path)
    finder.nearest(rows, rows.matrix[7], 3, None, lambda: (rows, 1))
    assert rows.matrix[7].tobytes() in finder.path.read_bytes()
    assert finder.erase(np.array([8]))
    assert rows.matrix[7].tobytes() not in finder.path.read_bytes()
    assert not finder.erase(np.array([COUNT + 8]))


def test_equal_scores_come_in_order() -> None:
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0], dtype=np.float32)
    assert best(scores, 4).tolist() == [1, 3, 2, 4]
    assert best(scores, 10).tolist() == [1, 3, 2, 4, 5, 0]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matrix: NDArray[np.float32]) -> Iterator[Catalogue]:
    """A catalogue that is large for its settings."""
    monkeypatch.setenv("BACKBEAT_CATALOGUE__NEIGHBOURS__EXACT_UP_TO", "200")
    with Catalogue.open(str(tmp_path / "large"), make=True) as catalogue:
        one = item(1)
        catalogue.add_many((replace(one, id=f"t{number:05d}"), {SPACE: matrix[number]}, b"") for number in range(400))
        yield catalogue


def test_a_removed_item_leaves_the_index_of_a_large_catalogue(large: Catalogue, matrix: NDArray[np.float32]) -> None:
    assert large.nearest(SPACE, matrix[7], 1, kind="track")[0] == ("t00007",)
    (file,) = (large.place / "indexes").glob("*.hnsw")
    assert matrix[7].tobytes() in file.read_bytes()
    assert large.remove("t00007")["indexes"] == 1
    assert matrix[7].tobytes() not in file.read_bytes()
    assert large.nearest(SPACE, matrix[7], 1, kind="track")[0] != ("t00007",)


def test_several_processes_make_one_index(large: Catalogue, tmp_path: Path, matrix: NDArray[np.float32]) -> None:
    program = (
        "import sys, numpy as np; from catalogues import SPACE; from backbeat.recommend.catalogue import Catalogue\n"
        "with Catalogue.open(sys.argv[1]) as one:\n"
        "    print(one.nearest(SPACE, np.load(sys.argv[2]), 3, kind='track')[0])\n"
    )
    np.save(tmp_path / "query.npy", matrix[11])
    told = {"PYTHONPATH": ":".join(sys.path), "BACKBEAT_CATALOGUE__NEIGHBOURS__EXACT_UP_TO": "200"}
    command = [sys.executable, "-W", "error", "-c", program, str(large.place), str(tmp_path / "query.npy")]
    running = [subprocess.Popen(command, env=told, stdout=subprocess.PIPE) for _ in range(3)]
    answers = {one.communicate(timeout=100)[0] for one in running}
    assert answers == {f"{large.nearest(SPACE, matrix[11], 3, kind='track')[0]}\n".encode()}


def test_settings_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="below 1"):
        NeighbourSettings(10, 8, 20, 20, 1.0, 1)
