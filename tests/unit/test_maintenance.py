"""Maintenance: what is told is what is done, and nothing that somebody needs goes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from catalogues import SPACE, addition, filled, item, vector
from databases import fresh_database
from describers import StandIn, write_music
from test_cli import run  # noqa: F401 (a fixture)
from tiny_models import save_tiny_models

from backbeat.errors import CatalogueError, ModelError
from backbeat.files import sha256_file, write_json
from backbeat.model import check_hash, hash_file, record_hash, space_of
from backbeat.recommend import maintenance
from backbeat.recommend.catalogue import Catalogue
from backbeat.recommend.catalogue.adding import add_files
from backbeat.recommend.interactions import Interaction
from backbeat.recommend.maintenance import Step
from backbeat.separation.cache import StemCache

WEIGHTS = Path(__file__).resolve().parents[2] / "src/backbeat/weights"
NEW = "genre:ba9876543210"


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(str(tmp_path / "catalogue"), make=True) as opened:
        yield opened


def done(steps: Iterable[Step]) -> list[str]:
    return [step.do(lambda share, what: None) for step in list(steps)]


def old(path: Path) -> Path:
    """Let a file or folder be two days old."""
    os.utime(path, (time.time() - 2 * 86400,) * 2)
    return path


def test_items_are_heard_again_by_a_new_model(catalogue: Catalogue, tmp_path: Path) -> None:
    songs = [write_music(tmp_path / f"{number}.wav", number, 3.0) for number in range(2)]
    add_files(catalogue, songs, StandIn(), kind="track")
    catalogue.add(item(9, path=str(tmp_path / "gone.wav")), {SPACE: vector(9)})
    catalogue.add(item(10, path=""), {SPACE: vector(10)})
    describer = StandIn(NEW)
    steps = list(maintenance.reindex(catalogue, [NEW], lambda: describer))
    assert steps[0].what == f"hear 4 items again (4 without {NEW})"
    assert describer.heard == []
    assert catalogue.spaces() == {SPACE: 4}
    told = done(steps)
    assert told[0].startswith("2 heard; 2 could not be: track-000009: ")
    assert "track-000010: its audio is not known" in told[0]
    assert describer.heard == ["0.wav", "1.wav"]
    assert catalogue.vectors(NEW, "track")[0] == ("0", "1")
    assert told[1] == "2 recordings"
    assert len(told) == 3  # nobody did anything yet that could be learned of
    catalogue.add_interactions([Interaction("ann", "0", "play", 1.0)])
    steps = list(maintenance.reindex(catalogue, [SPACE], lambda: describer))
    assert steps[-1].what == "fit the factors of items to interactions (1 came or went since)"
    assert done(steps)[-1] == "1 items"
    assert (catalogue.factors() or ("", ()))[1] == ("0",)
    assert len(list(maintenance.reindex(catalogue, [SPACE], lambda: describer))) == 2


def test_fingerprints_of_another_version_are_taken_again(catalogue: Catalogue, tmp_path: Path) -> None:
    add_files(catalogue, [write_music(tmp_path / "song.wav", 1, 5.0)], StandIn(), kind="track")
    mark = catalogue.fingerprint("song")
    catalogue.put_fingerprint("song", b"of another version")
    catalogue.add(item(9, path=""), {SPACE: vector(9)}, b"of another version")
    with pytest.raises(CatalogueError, match="backbeat maintenance reindex"):
        catalogue.same_recording(mark)
    steps = list(maintenance.reindex(catalogue, [SPACE], StandIn))
    assert steps[0].what == "hear 2 items again (2 with a fingerprint of another version)"
    assert done(steps)[0] == "1 heard; 1 could not be: track-000009: its audio is not known"
    assert catalogue.fingerprint("song") == mark
    assert catalogue.fingerprint("track-000009") == b""
    assert [match.id for match in catalogue.same_recording(mark)] == ["song"]


def test_vacuum_leaves_nothing_of_many_that_were_moved_about(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    with filled(folder, 400) as catalogue:
        for number in range(0, 400, 20):
            catalogue.add(item(10_000 + number, id=f"secret-{number}", title="Secret"), {SPACE: vector(number + 9)})
            catalogue.add_interactions([Interaction(f"secret-user-{number}", "track-000001", "play", float(number))])
        for number in range(0, 400, 20):
            catalogue.remove(f"secret-{number}")
            catalogue.forget_user(f"secret-user-{number}")
        for number in range(1, 80, 2):
            catalogue.remove(f"track-{number:06d}")
        before = (folder / "catalogue.db").stat().st_size
        (step,) = maintenance.vacuum(catalogue)
        assert step.what.startswith("write the catalogue's database (")
        step.do(lambda share, what: None)
        assert (folder / "catalogue.db").stat().st_size < before
        left = b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
        assert b"secret" not in left.lower()
        assert b"track-000003" not in left
        assert vector(3).tobytes() not in left
        # Who had looked before sees the same, and what comes after.
        table, (_, matrix) = catalogue.table("track"), catalogue.vectors(SPACE, "track")
        assert len(table) == 360
        assert catalogue.table("track") is table
        assert catalogue.vectors(SPACE, "track")[1] is matrix
        catalogue.add(*addition(1))
        assert catalogue.table("track").ids[1] == "track-000001"
        assert len(catalogue.vectors(SPACE, "track")[0]) == 361


def test_a_database_in_postgresql_is_vacuumed_too(server: str) -> None:
    with filled(fresh_database(server), 20) as catalogue, Catalogue.open(str(catalogue.settings.url)) as other:
        assert len(other.table("track")) == 20
        catalogue.remove("track-000003")
        assert done(maintenance.vacuum(catalogue)) == ["done"]
        assert len(other.table("track")) == 19
        assert len(other.vectors(SPACE, "track")[0]) == 19


def test_vectors_of_a_model_before_go_once_all_have_new_ones(tmp_path: Path) -> None:
    with filled(tmp_path / "catalogue", 5) as catalogue:
        catalogue.put_vectors(NEW, [f"track-{number:06d}" for number in range(4)], np.ones((4, 3)))
        catalogue.put_vectors("other:1", ["track-000001"], np.ones((1, 3)))
        assert list(maintenance.prune(catalogue, [NEW], tmp_path / "state", [])) == []
        catalogue.put_vectors(NEW, ["track-000004"], np.ones((1, 3)))
        steps = list(maintenance.prune(catalogue, [NEW], tmp_path / "state", []))
        assert [step.what for step in steps] == [f"remove 5 vectors of {SPACE}"]
        assert catalogue.spaces() == {SPACE: 5, NEW: 5, "other:1": 1}
        assert done(steps) == ["5 removed"]
        assert catalogue.spaces() == {NEW: 5, "other:1": 1}
        # A space that a model was trained on stays.
        assert list(maintenance.prune(catalogue, [NEW, "genre:of-listeners"], tmp_path / "state", [])) == []


def test_what_was_broken_off_goes_when_it_is_old(catalogue: Catalogue, tmp_path: Path) -> None:
    data, audio = tmp_path / "data", catalogue.place / "audio"
    for name in (".corpus.abcd_123", ".corpus.partial-00ff00ff00ff00ff", ".young.abcd1234", ".git", "corpus.abcd1234"):
        (data / name).mkdir(parents=True)
        (data / name / "file").write_bytes(b"x" * 10)
        if name != ".young.abcd1234":
            old(data / name)
    audio.mkdir()
    stray, kept = audio / "stray.wav", audio / "kept.wav"
    stray.write_bytes(b"x")
    kept.write_bytes(b"x")
    catalogue.add(item(1, path=str(kept)), {})
    old(stray)
    old(kept)
    steps = list(maintenance.prune(catalogue, [], tmp_path / "state", [data, tmp_path / "none"]))
    assert [step.what for step in steps] == [
        f"remove the stray file {stray} (1 bytes)",
        f"remove the leftover {data}/.corpus.abcd_123 (10 bytes)",
        f"remove the leftover {data}/.corpus.partial-00ff00ff00ff00ff (10 bytes)",
    ]
    assert done(steps) == ["removed"] * 3
    assert sorted(path.name for path in data.iterdir()) == [".git", ".young.abcd1234", "corpus.abcd1234"]
    assert [path.name for path in audio.iterdir()] == ["kept.wav"]


def test_fetched_versions_that_no_service_loads_go(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for version in ("1-a", "2-b", "3-c"):
        save_tiny_models(state / "champions" / version)
        (state / "champions" / "genre").mkdir(exist_ok=True)
        folder = (state / "champions" / version / "genre").rename(state / "champions" / "genre" / version)
        record_hash(folder)
        old(folder)
    # Without knowing what is loaded, nothing goes.
    assert list(maintenance.prune(None, [], state, [])) == []
    places = {version: str(state / "champions" / "genre" / version) for version in ("2-b", "3-c")}
    write_json(state / "champions.json", {"genre": places["3-c"]})
    write_json(state / "champions-that-worked.json", {"genre": places["2-b"]})
    (step,) = maintenance.prune(None, [], state, [])
    assert step.what.startswith(f"remove the fetched version {state}/champions/genre/1-a (")
    assert done([step]) == ["removed"]
    assert sorted(path.name for path in (state / "champions" / "genre").iterdir()) == [
        "2-b",
        "2-b.sha256",
        "3-c",
        "3-c.sha256",
    ]
    models = maintenance.models_in_use(WEIGHTS, state)
    assert models["genre"] == Path(places["3-c"])
    (space,) = maintenance.spaces_of({"genre": models["genre"]})
    assert space == f"genre:{sha256_file(models['genre'] / 'model.safetensors')[:12]}"


def test_outdated_stems_go(tmp_path: Path) -> None:
    source = tmp_path / "stem.wav"
    source.write_bytes(b"x" * 5000)
    folder = tmp_path / "state" / "stems"
    lasting = StemCache(folder)
    lasting.keep("b" * 64, "drums", source)
    short = StemCache(folder, ttl_s=0.01)
    short.keep("a" * 64, "drums", source)
    short.close()
    time.sleep(0.02)
    (step,) = maintenance.prune(None, [], tmp_path / "state", [])
    assert step.what == f"remove 1 outdated stems (5,000 bytes) of {folder}"
    assert done([step]) == ["1 removed"]
    assert lasting.fetch("b" * 64, "drums", tmp_path / "out.wav")
    lasting.close()
    assert list(maintenance.prune(None, [], tmp_path / "state", [])) == []


def test_weights_are_held_to_what_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBEAT_MODELS", str(tmp_path / "none"))
    shipped = tmp_path / "weights"
    save_tiny_models(shipped)
    for task in ("beat", "onset"):
        record_hash(shipped / task)
    weights = shipped / "beat" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    found = {Path(one.what).name: one.problem for one in maintenance.verify(shipped, tmp_path / "state")}
    assert found["onset"] == ""
    assert "its SHA-256 is another than the one recorded" in found["beat"]
    assert "genre.sha256: is missing: no hash of the weights was recorded" in found["genre"]
    weights.unlink()
    with pytest.raises(ModelError, match=r"model.safetensors: is missing"):
        check_hash(shipped / "beat")
    assert all(not one.problem for one in maintenance.verify(shipped, tmp_path / "state", look=False))


@pytest.mark.skipif(not (WEIGHTS / "genre" / "spec.json").is_file(), reason="no weights ship with this checkout")
def test_the_models_that_ship_are_what_was_recorded() -> None:
    shipped = [folder for folder in sorted(WEIGHTS.glob("*/")) if (folder / "spec.json").is_file()]
    assert shipped
    for folder in shipped:
        check_hash(folder)
        assert hash_file(folder).read_text().endswith(f"  {folder.name}/model.safetensors\n")


def test_the_command_line_tells_before_it_does(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKBEAT_MODELS", str(tmp_path / "none"))
    monkeypatch.setenv("BACKBEAT_CATALOGUE__FOLDER", str(tmp_path / "catalogue"))
    assert "there is no catalogue here" in run("maintenance", "vacuum").err
    assert run("maintenance", "prune").out == "nothing to do\n"
    filled(tmp_path / "catalogue", 3).close()
    assert run("maintenance", "vacuum", "--dry-run").out.startswith("would write the catalogue's database (")
    assert ": 0.1 MB now" in run("maintenance", "vacuum").out
    leftover = tmp_path / "data" / ".corpus.abcd1234"
    leftover.mkdir(parents=True)
    old(leftover)
    assert run("maintenance", "prune", "--dry-run").out == "would remove the leftover data/.corpus.abcd1234 (0 bytes)\n"
    assert leftover.is_dir()
    assert run("maintenance", "prune").out.endswith(": removed\n")
    assert not leftover.exists()
    planned = run("maintenance", "reindex", "--dry-run").out.splitlines()
    assert planned[-1] == "would index the vectors anew where there are many"
    own = save_tiny_models(tmp_path / "own")["genre"]
    heard = run("maintenance", "reindex", "--dry-run", "--model", f"genre={own}").out
    assert f"without {space_of('genre', sha256_file(own / 'model.safetensors'))}" in heard
    assert "'beat' is not a task here" in run("maintenance", "reindex", "--model", "beat=own").err
    assert "no model here" in run("maintenance", "reindex", "--model", "genre=nowhere").err
    save_tiny_models(tmp_path / "state" / "champions" / "genre")
    checked = run("maintenance", "verify")
    assert checked.code == 1
    assert checked.err.endswith("backbeat: error: 3 models are not what they were: get them again\n")
