"""The catalogue: what is kept is found again, changes are seen without reading all anew, what is removed is gone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from catalogues import LABELS, SPACE, addition, filled, item, vector
from databases import KINDS, fresh_database
from sqlalchemy import Engine, create_engine, text

from backbeat.errors import AnnotationError, CatalogueError, ConfigError, UnknownItemError
from backbeat.recommend.catalogue import Catalogue, load_catalogue
from backbeat.recommend.interactions import Interaction, read_interactions
from backbeat.recommend.items import row_of, table_of


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BACKBEAT_CATALOGUE__FOLDER", str(tmp_path / "catalogue"))
    if request.param == "sqlite":
        return str(tmp_path / "catalogue")
    return fresh_database(request.getfixturevalue("server"))


@pytest.fixture
def catalogue(place: str) -> Iterator[Catalogue]:
    with filled(place, 40, 6) as opened:
        yield opened


def test_items_are_as_they_were_put(catalogue: Catalogue) -> None:
    assert catalogue.get("track-000007") == item(7)
    assert catalogue.get("beat-000002") == item(2, kind="beat")
    assert (catalogue.count(), catalogue.count("track"), catalogue.count("beat")) == (46, 40, 6)
    assert catalogue.has("track-000007")
    assert not catalogue.has("track-7")
    assert catalogue.of_file(item(7).sha256) == ("track-000007",)
    assert catalogue.fingerprint("track-000007") == b"mark-7"
    assert catalogue.spaces() == {SPACE: 46}
    with pytest.raises(UnknownItemError, match="no item 'track-7'"):
        catalogue.get("track-7")


def test_items_come_in_pages(catalogue: Catalogue) -> None:
    pages, after = [], ""
    while page := catalogue.items("track", after, 15):
        pages.append(len(page))
        after = page[-1].id
    assert pages == [15, 15, 10]
    assert [one.id for one in catalogue.items(limit=2)] == ["beat-000000", "beat-000001"]


def test_ids_are_in_the_order_of_their_bytes(place: str) -> None:
    ids = ["a", "B", "a.b", "a-b", "a_b", "C1", "c1"]
    with Catalogue.open(place, make=True) as catalogue:
        catalogue.add_many((item(number, id=one), {SPACE: vector(number)}, b"") for number, one in enumerate(ids))
        assert [one.id for one in catalogue.items()] == sorted(ids) == list(catalogue.table("track").ids)
        found, paged = "", []
        while page := catalogue.items(after=found, limit=2):
            paged += [one.id for one in page]
            found = page[-1].id
        assert paged == sorted(ids)


def test_a_table_is_what_its_items_say(catalogue: Catalogue) -> None:
    items = [item(number) for number in range(40)]
    expected = table_of([{"id": one.id, "label": one.label, "artist": one.artist, **row_of(one)} for one in items])
    table = catalogue.table("track")
    assert table.ids == expected.ids
    for name in ("labels", "artists", "tempo_bpm", "energy", "key", "key_confidence", "beats_per_bar", "added_at"):
        np.testing.assert_array_equal(getattr(table, name), getattr(expected, name))
    ids, matrix = catalogue.vectors(SPACE, "track")
    assert ids == table.ids
    np.testing.assert_array_equal(matrix, np.stack([vector(number) for number in range(40)]))


def test_numbers_that_are_not_known_are_nan(place: str) -> None:
    with Catalogue.open(place, make=True) as catalogue:
        told = {"tempo_bpm": None, "loudness_lufs": None, "key": None, "time_signature": None}
        catalogue.add(item(1, told=told), {})
        table = catalogue.table("track")
        assert np.isnan(table.tempo_bpm[0])
        assert np.isnan(table.loudness_lufs[0])
        assert (table.key[0], table.beats_per_bar[0]) == (-1, 0)


def test_what_has_changed_is_seen_without_reading_all_anew(catalogue: Catalogue, place: str) -> None:
    with Catalogue.open(place) as other:
        before = catalogue.table("track"), catalogue.vectors(SPACE, "track")
        assert catalogue.table("track") is before[0]
        revision = catalogue.revision
        other.add(item(41, id="a-new-one", label="a longer label than any before"), {SPACE: vector(41)})
        other.add(item(7, label="changed"), {SPACE: vector(107)}, replace=True)
        other.remove("track-000020")
        assert catalogue.revision > revision
        table, (ids, matrix) = catalogue.table("track"), catalogue.vectors(SPACE, "track")
        fresh = Catalogue.open(place)
        for name in ("labels", "artists", "tempo_bpm", "key", "added_at"):
            np.testing.assert_array_equal(getattr(table, name), getattr(fresh.table("track"), name))
        assert table.ids == fresh.table("track").ids == ids
        assert table.ids[0] == "a-new-one"
        assert "track-000020" not in table.ids
        assert len(table) == 40
        assert table.labels[0] == "a longer label than any before"
        np.testing.assert_array_equal(matrix, fresh.vectors(SPACE, "track")[1])
        np.testing.assert_array_equal(matrix[ids.index("track-000007")], vector(107))
        fresh.close()
    # Those who hold what was before keep it as it was.
    assert len(before[0]) == 40
    assert before[0].ids[0] == "track-000000"


def test_a_thread_may_see_the_same_for_a_while(catalogue: Catalogue, place: str) -> None:
    with Catalogue.open(place) as other, catalogue.still():
        mask = catalogue.table("track").tempo_bpm > 0
        other.add(*addition(99))
        ids, _ = catalogue.nearest(SPACE, vector(99), 1, kind="track", among=mask)
        assert ids != ("track-000099",)
    assert catalogue.nearest(SPACE, vector(99), 1, kind="track")[0] == ("track-000099",)
    with pytest.raises(CatalogueError, match="changed between"):
        catalogue.nearest(SPACE, vector(99), 1, kind="track", among=mask)


def test_a_table_and_vectors_of_one_moment_are_of_the_same_items(catalogue: Catalogue, place: str) -> None:
    def look() -> None:
        catalogue.table("track")
        catalogue.vectors(SPACE, "track")

    with Catalogue.open(place) as other, catalogue.still():
        ids = catalogue.table("track").ids
        other.add(*addition(99))
        other.remove("track-000007")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert catalogue.vectors(SPACE, "track")[0] == tuple(one for one in ids if one != "track-000007")
    assert catalogue.vectors(SPACE, "track")[0] == catalogue.table("track").ids


def test_the_nearest_are_those_of_the_largest_cosines(catalogue: Catalogue) -> None:
    ids, scores = catalogue.nearest(SPACE, vector(5), 5, kind="track")
    _, matrix = catalogue.vectors(SPACE, "track")
    cosines = matrix @ vector(5) / np.linalg.norm(matrix, axis=1) / np.linalg.norm(vector(5))
    expected = np.argsort(-cosines)[:5]
    assert ids == tuple(f"track-{number:06d}" for number in expected)
    np.testing.assert_allclose(scores, cosines[expected], rtol=1e-5)
    jazz = catalogue.table("track").labels == "jazz"
    ids, _ = catalogue.nearest(SPACE, vector(5), 100, kind="track", among=jazz)
    assert len(ids) == 8
    assert {LABELS[int(one[-6:]) % 5] for one in ids} == {"jazz"}
    assert catalogue.nearest("genre:other", vector(5), 5, kind="track")[0] == ()
    with pytest.raises(CatalogueError, match="have 8 numbers"):
        catalogue.nearest(SPACE, np.ones(3), 5, kind="track")


def test_equally_near_ones_are_in_the_order_of_their_ids(place: str) -> None:
    with Catalogue.open(place, make=True) as catalogue:
        catalogue.add_many((item(number), {SPACE: vector(number % 2)}, b"") for number in (5, 3, 9, 1, 7, 2))
        ids, _ = catalogue.nearest(SPACE, vector(1), 3, kind="track")
        assert ids == ("track-000001", "track-000003", "track-000005")


def test_items_without_a_vector_are_in_the_table_alone(catalogue: Catalogue) -> None:
    catalogue.add(item(50), {})
    every = np.ones(41, dtype=bool)
    assert len(catalogue.table("track")) == 41
    assert len(catalogue.vectors(SPACE, "track")[0]) == 40
    assert len(catalogue.nearest(SPACE, vector(1), 100, kind="track", among=every)[0]) == 40


def test_vectors_of_another_space_are_put_and_dropped(catalogue: Catalogue) -> None:
    ids = [f"track-{number:06d}" for number in range(40)]
    made = np.arange(120, dtype=np.float32).reshape(40, 3)
    assert catalogue.put_vectors("genre:new", [*ids, "gone"], np.vstack([made, made[:1]])) == 40
    assert catalogue.put_vectors("genre:new", ids[:1], made[1:2]) == 1
    found, matrix = catalogue.vectors("genre:new", "track")
    assert found == tuple(ids)
    np.testing.assert_array_equal(matrix, np.vstack([made[1:2], made[1:]]))
    assert catalogue.drop_space("genre:new") == 40
    assert catalogue.vectors("genre:new", "track")[0] == ()
    assert list(catalogue.spaces()) == [SPACE]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (({}, b""), "already"),
        (({"genre": vector(1)}, b""), "NAME:HASH"),
        (({SPACE: np.full(8, np.nan)}, b""), "finite"),
        (({SPACE: np.ones(7)}, b""), "have 8 numbers, not 7"),
    ],
)
def test_what_cannot_be_kept_is_told_and_nothing_kept(catalogue: Catalogue, made: tuple, told: str) -> None:
    one = item(1 if told == "already" else 60)
    with pytest.raises(CatalogueError, match=told):
        catalogue.add_many([(item(70), {}, b""), (one, *made)])
    assert catalogue.count() == 46


def test_interactions_are_kept_once_and_in_time(catalogue: Catalogue) -> None:
    played = Interaction("ann", "track-000003", "play", 20.0)
    assert catalogue.add_interactions([played, Interaction("bob", "beat-000001", "dislike", 10.0)]) == 2
    assert catalogue.add_interactions([played, Interaction("ann", "track-000004", "like", 30.0)]) == 1
    table = catalogue.interactions()
    assert table.users.tolist() == ["bob", "ann", "ann"]
    assert table.at.tolist() == [10.0, 20.0, 30.0]
    assert table.items.tolist() == ["beat-000001", "track-000003", "track-000004"]
    assert table.weight.tolist() == [-4.0, 1.0, 4.0]
    assert len(catalogue.interactions("ann")) == 2
    assert len(catalogue.interactions(since=30.0)) == 1
    assert catalogue.users() == ("ann", "bob")
    with pytest.raises(UnknownItemError, match="nothing"):
        catalogue.add_interactions([replace(played, at=40.0), replace(played, item="nothing")])
    assert len(catalogue.interactions()) == 3


def test_an_item_that_is_replaced_keeps_what_listeners_did_and_was_learned(catalogue: Catalogue) -> None:
    catalogue.add_interactions([Interaction("ann", "track-000003", "play", 20.0)])
    catalogue.put_factors("one", ["track-000003", "track-000004"], np.eye(2))
    assert catalogue.factors() is not None
    catalogue.add(item(3, title="Other"), {}, replace=True)
    assert catalogue.get("track-000003").title == "Other"
    assert catalogue.fingerprint("track-000003") == b""
    assert catalogue.interactions("ann").items.tolist() == ["track-000003"]
    assert "track-000003" not in catalogue.vectors(SPACE, "track")[0]
    found = catalogue.factors()
    assert found is not None
    assert found[1] == ("track-000003", "track-000004")


def test_factors_are_replaced_as_a_whole(catalogue: Catalogue) -> None:
    assert catalogue.factors() is None
    assert catalogue.put_factors("one", ["track-000004", "gone", "track-000003"], np.eye(3)) == 2
    stamp, ids, matrix = catalogue.factors() or ("", (), np.zeros(0))
    assert (stamp, ids) == ("one", ("track-000003", "track-000004"))
    np.testing.assert_array_equal(matrix, [[0, 0, 1], [1, 0, 0]])
    catalogue.remove("track-000003")
    assert (catalogue.factors() or ("", ()))[1] == ("track-000004",)
    catalogue.put_factors("two", ["track-000005"], np.ones((1, 2)))
    assert (catalogue.factors() or ("", ()))[:2] == ("two", ("track-000005",))


def test_a_removed_item_is_gone_from_every_row(catalogue: Catalogue) -> None:
    catalogue.add_interactions([Interaction("ann", "track-000003", "play", 20.0)])
    catalogue.put_factors("one", ["track-000003"], np.ones((1, 2)))
    told = catalogue.remove("track-000003")
    rows = {"items": 1, "descriptors": 1, "vectors": 1, "fingerprints": 1, "interactions": 1, "factors": 1}
    assert {name: told[name] for name in rows} == rows
    assert not catalogue.has("track-000003")
    assert catalogue.users() == ()
    assert catalogue.factors() is None
    assert "track-000003" not in catalogue.table("track").ids
    assert "track-000003" not in catalogue.vectors(SPACE, "track")[0]
    with pytest.raises(UnknownItemError):
        catalogue.remove("track-000003")
    # Another of the same id is another.
    catalogue.add(*addition(3))
    assert len(catalogue.interactions()) == 0
    assert catalogue.factors() is None


def bytes_in(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_byte_of_a_removed_item_or_user_is_left_in_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    with filled(folder, 30) as catalogue:
        secret = item(500, id="secret-item", title="Secret title", path=str(folder / "audio" / "secret-item.flac"))
        catalogue.add(secret, {SPACE: vector(500)}, b"secret-mark")
        (folder / "audio").mkdir()
        Path(secret.path).write_bytes(b"secret-sound")
        assert catalogue.get("secret-item") == secret
        likes = [Interaction(f"user-{number}", "secret-item", "like", 1.0) for number in range(20)]
        catalogue.add_interactions([*likes, Interaction("secret-user", "track-000001", "play", 2.0)])
        there = bytes_in(folder)
        assert all(word in there for word in (b"secret-item", b"secret-mark", b"secret-sound", b"secret-user"))
        assert vector(500).tobytes() in there
        assert catalogue.remove("secret-item")["audio"] == 1
        assert catalogue.forget_user("secret-user") == {"interactions": 1}
        left = bytes_in(folder)
        assert b"secret" not in left.lower()
        assert vector(500).tobytes() not in left
        with pytest.raises(UnknownItemError, match="no user"):
            catalogue.forget_user("secret-user")


def test_several_processes_add_at_once(place: str, tmp_path: Path) -> None:
    program = (
        "import sys; from catalogues import addition; from backbeat.recommend.catalogue import Catalogue\n"
        "with Catalogue.open(sys.argv[1], make=True) as one:\n"
        "    for number in range(int(sys.argv[2]), int(sys.argv[2]) + 10): one.add(*addition(number))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, place]
    path = {"PYTHONPATH": ":".join(sys.path), "BACKBEAT_CATALOGUE__FOLDER": str(tmp_path / "catalogue")}
    running = [subprocess.Popen([*command, str(first)], env=path) for first in (0, 10, 20)]
    assert [one.wait(100) for one in running] == [0, 0, 0]
    with Catalogue.open(place) as catalogue:
        assert catalogue.count() == 30
        assert len(catalogue.vectors(SPACE, "track")[0]) == 30
        assert catalogue.revision == 30


def test_a_catalogue_that_is_not_there_or_of_later_make_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="backbeat catalogue starter"):
        Catalogue.open(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match="sqlite:///FILE"):
        Catalogue.open("sqlite://", make=True)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Catalogue.open("nothing://x/y", make=True)
    with filled(tmp_path / "later", 1) as catalogue, catalogue._database.begin() as connection:
        connection.exec_driver_sql("UPDATE catalogue_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="not of this version"):
        Catalogue.open(str(tmp_path / "later"))


def test_settings_come_from_a_file_and_variables(tmp_path: Path) -> None:
    settings = load_catalogue(
        {"BACKBEAT_CATALOGUE__FOLDER": str(tmp_path), "BACKBEAT_CATALOGUE__NEIGHBOURS__SEED": "3"}
    )
    assert settings.place == tmp_path
    assert settings.neighbours.seed == 3
    assert settings.url == f"sqlite:///{tmp_path}/catalogue.db"
    with pytest.raises(ConfigError, match="exact_up_to must be above 0"):
        load_catalogue({"BACKBEAT_CATALOGUE__NEIGHBOURS__EXACT_UP_TO": "0"})


@pytest.mark.parametrize(
    ("user", "thing", "kind", "at", "told"),
    [
        ("a b", "x", "play", 1.0, "user 'a b'"),
        ("a", "../x", "play", 1.0, "item '../x'"),
        ("a", "x", "hear", 1.0, "one of play, like"),
        ("a", "x", "play", float("nan"), "seconds since 1970"),
    ],
)
def test_interactions_that_cannot_be_are_refused(user: str, thing: str, kind: str, at: float, told: str) -> None:
    with pytest.raises((CatalogueError, AnnotationError), match=told):
        Interaction(user, thing, kind, at)  # type: ignore[arg-type]


def test_where_there_is_pgvector_other_programs_can_search(server: str) -> None:
    url = fresh_database(server)
    with closing_engine(url) as engine, engine.connect() as connection:
        there = connection.execute(text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")).first()
    if there is None:
        pytest.skip("pgvector is not installed in this PostgreSQL")
    asked = text("SELECT id FROM catalogue_vectors JOIN catalogue_items USING (number) ORDER BY vector <#> :v")
    with filled(url, 20), closing_engine(url) as engine, engine.connect() as connection:
        assert connection.execute(asked, {"v": str(vector(7).tolist())}).scalar() == "track-000007"


def test_interactions_come_from_csv_and_parquet_alike(tmp_path: Path) -> None:
    rows = {"user": ["ann", "bob"], "item": ["x", "y"], "kind": ["play", "like"]}
    pd.DataFrame({**rows, "at": ["1772366400", "2026-03-01T12:00:00Z"]}).to_csv(tmp_path / "some.csv", index=False)
    moments = pd.to_datetime(["2026-03-01T12:00:00", "2026-03-01T12:00:00"])
    pd.DataFrame({**rows, "at": moments}).to_parquet(tmp_path / "some.parquet")
    expected = [Interaction("ann", "x", "play", 1772366400.0), Interaction("bob", "y", "like", 1772366400.0)]
    assert read_interactions(tmp_path / "some.csv") == expected
    assert read_interactions(tmp_path / "some.parquet") == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("user,item,kind\n", "some.csv: lacks the column at"),
        ("user,item,kind,at\nann,x,play,1\nann,x,hear,1\n", "some.csv:3: kind 'hear'"),
        ("user,item,kind,at\nann,x,play,soon\n", "some.csv:2: time 'soon' must be seconds since 1970 or a date"),
        ("user,item,kind,at\nann,x,play,\n", "some.csv:2: "),
        ("user,item,kind,at\n,x,play,1\n", "some.csv:2: user ''"),
        ("", "some.csv: cannot be read"),
    ],
)
def test_a_wrong_row_of_interactions_is_told_with_its_line(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "some.csv"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=told):
        read_interactions(path)
    with pytest.raises(AnnotationError, match=r"from .csv and .parquet"):
        read_interactions(tmp_path / "some.txt")
    path.write_text("user,item,kind,at\na,b,play,1000\na,b,play,1790000000000\n")
    assert len(read_interactions(path)) == 2
    with pytest.raises(AnnotationError, match=r":3: time '1790000000000' is in the future"):
        read_interactions(path, latest=1.8e9)


@contextmanager
def closing_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
