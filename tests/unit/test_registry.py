"""Versions of models: registered by the run that made them, promoted by one at a time, fetched whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from like_shipped import like_shipped
from mlflow import MlflowClient
from typer.testing import CliRunner

from backbeat.analysis.analyzer import shipped_models
from backbeat.cli import app
from backbeat.errors import BackbeatError, ConfigError, ModelError, RegistryError
from backbeat.files import write_json
from backbeat.model import SPEC, WEIGHTS, load_spec
from backbeat.registry import Registry
from backbeat.registry.store import ModelStore
from backbeat.tracking import Tracking, tracked_run

Model = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Make a model folder like one that ships, with other words in its specification."""

    def make(task: str, **words: object) -> Path:
        return like_shipped(tmp_path / f"{task}-{len(list(tmp_path.iterdir()))}", task, **words)

    return make


def test_a_model_is_registered_promoted_and_fetched(registry: Registry, model: Model, tmp_path: Path) -> None:
    assert registry.champion("genre") is None
    folder = model("genre", run="", commit="abc", data_hash="mine=sha256:1", licence="CC0-1.0")
    first = registry.register(folder)
    assert (first.task, first.version, first.commit, first.data_hash) == ("genre", "1", "abc", "mine=sha256:1")
    assert registry.champion("genre") is None
    registry.promote(first, instead_of=None, why="the first")
    assert registry.champion("genre") == first == registry.get("genre", "1")
    fetched = registry.fetch(first, tmp_path / "places")
    assert load_spec(fetched) == replace(load_spec(folder), version="1", run=first.run)
    assert (fetched / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    written = (fetched / SPEC).stat().st_mtime_ns
    assert registry.fetch(first, tmp_path / "places") == fetched
    assert (fetched / SPEC).stat().st_mtime_ns == written
    # What was fetched is the same model, and so is the folder that it came from.
    assert registry.register(fetched) == registry.register(folder) == registry.by_run("genre", first.run) == first
    assert registry.versions("genre") == [first]
    assert registry.by_run("genre", "nothing") is registry.by_run("genre", "' or name = 'x") is None


def test_the_run_that_trained_a_model_is_the_one_it_is_registered_by(registry: Registry, model: Model) -> None:
    with tracked_run(Tracking(registry.uri, "backbeat"), "training", {}) as run:
        folder = model("beat", run=run.run_id)
        run.files(folder, "folder")
    assert registry.register(folder).run == registry.register(folder).trained_by == run.run_id
    # Of one that was trained elsewhere it is still known which run that was.
    elsewhere = registry.register(shipped_models()["beat"])
    assert elsewhere.trained_by == load_spec(shipped_models()["beat"]).run != elsewhere.run
    write_json(folder / SPEC, replace(load_spec(folder), commit="another").to_dict())
    with pytest.raises(ModelError, match="is not the model that run"):
        registry.register(folder)
    # Nor is what does not load, which a service would find out.
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(ModelError, match="is damaged"):
        registry.register(folder)


def test_of_two_who_promote_one_is_refused(registry: Registry, model: Model) -> None:
    one, two = (registry.register(model("onset", run="", commit=commit)) for commit in ("1", "2"))
    registry.promote(one, instead_of=None, why="the first")
    with pytest.raises(RegistryError, match=f"{one.name} became the champion meanwhile"):
        registry.promote(two, instead_of=None, why="the first too")
    assert registry.champion("onset") == one
    registry.promote(two, instead_of=one.version, why="better")
    assert registry.champion("onset") == two
    with pytest.raises(RegistryError, match=f"{two.name} is the champion already"):
        registry.promote(two, instead_of=two.version, why="once more")
    with pytest.raises(ConfigError, match="say why"):
        registry.promote(one, instead_of=two.version, why=" ")
    with pytest.raises(RegistryError, match="backbeat-onset has no version 99"):
        registry.promote(replace(one, version="99"), instead_of=two.version, why="better")
    assert len(registry.history("onset")) == 2


def test_of_two_who_decide_on_the_same_champion_the_first_to_write_wins(
    registry: Registry, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (registry.register(model("beat", run="", commit=commit)) for commit in ("1", "2"))
    other = Registry(registry.uri)
    append = ModelStore.append

    def overtaken(store: ModelStore, *words: Any) -> Any:
        monkeypatch.setattr(ModelStore, "append", append)
        other.promote(two, instead_of=None, why="faster")
        return append(store, *words)

    monkeypatch.setattr(ModelStore, "append", overtaken)
    with pytest.raises(RegistryError, match=f"{two.name} became the champion meanwhile: compare with that one"):
        registry.promote(one, instead_of=None, why="slower")
    assert [event.why for event in registry.history("beat")] == ["faster"]
    assert registry.champion("beat") == two
    # The one that came too late has a number, which history passes over.
    registry.promote(one, instead_of="2", why="compared with that one")
    assert [event.number for event in registry.history("beat")] == [3, 1]


def test_a_slow_winner_leaves_no_older_alias(registry: Registry, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (registry.register(model("beat", run="", commit=commit)) for commit in ("1", "2"))
    set_alias = ModelStore.set_alias

    def slow(store: ModelStore, *words: str) -> None:
        monkeypatch.setattr(ModelStore, "set_alias", set_alias)
        Registry(registry.uri).promote(two, instead_of="1", why="the second")
        set_alias(store, *words)

    monkeypatch.setattr(ModelStore, "set_alias", slow)
    registry.promote(one, instead_of=None, why="the first")
    assert client(registry).get_model_version_by_alias("backbeat-beat", "champion").version == 2
    assert registry.champion("beat") == two
    assert registry.settle("beat") is None


def test_a_change_is_written_once_whatever_answer_is_lost(
    registry: Registry, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (registry.register(model("beat", run="", commit=commit)) for commit in ("1", "2"))
    append = ModelStore.append

    def lost(store: ModelStore, *words: Any) -> Any:
        # As where a client asks again, since the first answer never came; neither does the second.
        append(store, *words)
        append(store, *words)
        raise RegistryError("away")

    monkeypatch.setattr(ModelStore, "append", lost)
    event = registry.promote(one, instead_of=None, why="the first")
    assert registry.history("beat") == [event]

    def away(*words: Any) -> Any:
        raise RegistryError("away")

    monkeypatch.setattr(ModelStore, "append", away)
    with pytest.raises(RegistryError, match="away"):
        registry.promote(two, instead_of="1", why="better")
    assert registry.history("beat") == [event]
    # What is written holds, whether or not the alias could follow.
    monkeypatch.setattr(ModelStore, "append", append)
    monkeypatch.setattr(ModelStore, "set_alias", away)
    assert registry.promote(two, instead_of="1", why="better").version == "2"
    assert registry.champion("beat") == two


def test_back_to_the_champion_before(registry: Registry, model: Model) -> None:
    versions = [registry.register(model("beat", run="", commit=str(number))) for number in range(4)]
    with pytest.raises(RegistryError, match="no champion to go back from"):
        registry.rollback("beat", why="worse")
    for version in versions:
        registry.promote(version, instead_of=registry.standing("beat"), why="newer", who="ann", evidence="e1")
    assert registry.rollback("beat", why="worse", who="bob").version == "3"
    client(registry).delete_model_version("backbeat-beat", "2")
    with pytest.raises(RegistryError, match="3 became the champion meanwhile"):
        registry.rollback("beat", why="worse", instead_of="4")
    event = registry.rollback("beat", why="worse still", who="bob", instead_of="3")
    assert registry.champion("beat") == versions[0]
    with pytest.raises(RegistryError, match="backbeat-beat 1 has no champion before it"):
        registry.rollback("beat", why="worse")
    told = [(one.action, one.version, one.instead_of, one.who, one.evidence) for one in registry.history("beat")]
    assert told == [
        ("rollback", "1", "3", "bob", ""),
        ("rollback", "3", "4", "bob", ""),
        ("promote", "4", "3", "ann", "e1"),
        ("promote", "3", "2", "ann", "e1"),
        ("promote", "2", "1", "ann", "e1"),
        ("promote", "1", None, "ann", "e1"),
    ]
    assert abs((datetime.now(UTC) - event.at).total_seconds()) < 60
    # A champion that was deleted is said, and can be replaced.
    client(registry).delete_model_version("backbeat-beat", "1")
    with pytest.raises(RegistryError, match="backbeat-beat 1 is the champion and was deleted"):
        registry.champion("beat")
    registry.promote(versions[2], instead_of=registry.standing("beat"), why="what is left")
    assert registry.champion("beat") == versions[2]


def test_a_challenger_is_promoted_or_refused(registry: Registry, model: Model) -> None:
    one, two, three = (registry.register(model("beat", run="", commit=str(number))) for number in range(3))
    assert registry.challenger("beat") is None
    registry.challenge(one)
    assert registry.challenger("beat") == one
    registry.promote(one, instead_of=None, why="the first")
    assert registry.challenger("beat") is None
    with pytest.raises(RegistryError, match="cannot challenge itself"):
        registry.challenge(one)
    with pytest.raises(RegistryError, match="is the champion: roll back instead"):
        registry.refuse(one, why="worse")
    registry.challenge(two)
    registry.challenge(three)
    registry.refuse(two, why="never compared")
    assert registry.challenger("beat") == three
    refused = registry.refuse(three, why="worse on jazz", evidence="abc")
    assert (registry.challenger("beat"), registry.champion("beat")) == (None, one)
    assert (refused.action, refused.instead_of, registry.history("beat")[0]) == ("refuse", "1", refused)


def test_an_alias_that_was_moved_by_hand_does_not_promote(registry: Registry, model: Model) -> None:
    one, two = (registry.register(model("beat", run="", commit=commit)) for commit in ("1", "2"))
    assert registry.settle("beat") is None
    # A registry from before there was a history: the alias tells.
    client(registry).set_registered_model_alias("backbeat-beat", "champion", "1")
    assert registry.champion("beat") == one
    assert (registry.history("beat"), registry.settle("beat")) == ([], None)
    assert "beat 1 was made the champion before there was a history" in run(registry, "history", "beat")
    registry.promote(two, instead_of="1", why="better")
    assert "beat 1 was made the champion before there was a history" in run(registry, "history", "beat")
    # From here on the history does.
    client(registry).set_registered_model_alias("backbeat-beat", "champion", "1")
    assert registry.champion("beat") == two
    told = run(registry, "history", "beat")
    assert "`champion` was at 1, moved by hand" in told
    assert "moved by hand" not in run(registry, "history", "beat")
    client(registry).delete_registered_model_alias("backbeat-beat", "champion")
    assert (registry.settle("beat"), registry.settle("beat")) == ("", None)
    assert client(registry).get_model_version_by_alias("backbeat-beat", "champion").version == 2
    assert registry.rollback("beat", why="worse").version == "1"
    # Versions that somebody else puts in the history are none of it.
    client(registry).create_model_version("backbeat-beat-history", f"runs:/{one.run}/folder", one.run)
    assert (len(registry.history("beat")), registry.champion("beat")) == (2, one)
    # A history that was deleted and begins anew is not mixed with what was read of it.
    client(registry).delete_registered_model("backbeat-beat-history")
    assert registry.history("beat") == []
    registry.promote(two, instead_of="1", why="better")
    assert [event.number for event in registry.history("beat")] == [1]


def test_in_what_two_versions_differ(registry: Registry, model: Model) -> None:
    data = ("own=md5:1,groove=md5:2", "own=md5:3,groove=md5:2,fed=md5:4")
    folders = [model("beat", run="", commit="a", data_hash=data[0], metrics={"f": 0.8, "amlt": 0.9})]
    decoding = {**load_spec(folders[0]).decoding, "threshold": 0.25}
    folders += [model("beat", run="", commit="b", data_hash=data[1], metrics={"f": 0.85}, decoding=decoding)]
    one, two = (registry.register(folder) for folder in folders)
    assert one.metrics == {"amlt": 0.9, "f": 0.8}
    assert registry.parameters(two)["decoding.threshold"] == "0.25"
    assert registry.parameters(replace(one, run="0" * 32)) == registry.parameters(replace(one, run="")) == {}
    rows = {(row.kind, row.name): (row.before, row.after, row.change) for row in registry.diff(one, two)}
    before = load_spec(folders[0]).decoding.get("threshold")
    assert rows == {
        ("metric", "amlt"): ("0.9", None, None),
        ("metric", "f"): ("0.8", "0.85", pytest.approx(0.05)),
        ("model", "commit"): ("a", "b", None),
        ("data", "own"): ("md5:1", "md5:3", None),
        ("data", "fed"): (None, "md5:4", None),
        ("parameter", "decoding.threshold"): (before if before is None else str(before), "0.25", None),
    }
    assert {row.kind for row in registry.diff(one, one)} == {"metric"}
    kept = client(registry).get_model_version("backbeat-beat", "1")
    assert kept.description == (folders[0] / "README.md").read_text()[:5000]
    assert json.loads(kept.tags["network"]) == load_spec(folders[0]).network


def test_what_a_run_lacks_is_said(registry: Registry, tmp_path: Path) -> None:
    with tracked_run(Tracking(registry.uri, "backbeat"), "other", {}) as run:
        run.text("words", "notes.txt")
    made = replace(registry.register(shipped_models()["beat"]), run=run.run_id, version="77")
    with pytest.raises(RegistryError, match="cannot be used"):
        registry.fetch(made, tmp_path)
    with pytest.raises(ModelError, match="a run that is none"):
        registry.fetch(replace(made, run="../../up"), tmp_path)
    assert list(tmp_path.glob("beat/*")) == []


def test_a_registry_that_is_none_is_said() -> None:
    with pytest.raises(ConfigError, match="tracking URI"):
        Registry("")
    with pytest.raises(ConfigError, match="'drums' is not a task"):
        Registry("http://127.0.0.1:9").champion("drums")
    with pytest.raises(RegistryError, match=r"registry at http://127\.0\.0\.1:9 cannot be used"):
        Registry("http://me:secret@127.0.0.1:9").champion("beat")


@pytest.mark.parametrize(
    "words",
    [
        ["versions", "beat"],
        ["history", "beat"],
        ["diff", "beat", "1", "2"],
        ["promote", "beat", "1", "--why", "x"],
        ["rollback", "beat", "--why", "x"],
    ],
)
def test_to_ask_a_registry_that_is_not_there_makes_none(tmp_path: Path, words: list[str]) -> None:
    result = CliRunner().invoke(app, ["models", *words, "--registry", f"sqlite:///{tmp_path}/deep/mlflow.db"])
    assert isinstance(result.exception, RegistryError)
    assert "mlflow.db: there is no registry here; name one with --registry, or begin one" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_commands(registry: Registry, model: Model) -> None:
    folders = [str(model("genre", run="", commit=commit)) for commit in ("3", "4")]
    assert "no version of genre is registered" in run(registry, "versions", "genre")
    assert "genre has had no champion" in run(registry, "history", "genre")
    for _ in range(2):  # the second time, all is as it was
        assert run(registry, "register", *folders, "--promote").endswith(f", the champion of {registry.uri}")
    assert len(registry.versions("genre")) == 2
    why = ("--why", "[slower] but better")
    assert run(registry, "promote", "genre", "1", *why) == "backbeat-genre 1 is the champion, in place of 2"
    registry.challenge(registry.get("genre", "2"))
    rows = [line.split() for line in lines(registry, "versions", "genre")]
    assert [row[:2] for row in rows if row[0].isdecimal()] == [["2", "challenger"], ["1", "champion"]]
    (told,) = [one for one in json.loads(run(registry, "versions", "genre", "--json")) if one["version"] == "1"]
    assert (told["role"], told["commit"]) == ("champion", "3")
    told = json.loads(run(registry, "diff", "genre", "champion", "challenger", "--json"))
    assert (told["a"], told["b"]) == ("1", "2")
    assert {"kind": "model", "name": "commit", "before": "3", "after": "4", "change": None} in told["differences"]
    assert "commit 3 4" in run(registry, "diff", "genre", "1", "2")
    rolled = run(registry, "rollback", "genre", "--why", "too slow", "--instead-of", "1")
    assert rolled == "backbeat-genre 2 is the champion, in place of 1"
    assert "[slower] but better" in run(registry, "history", "genre")
    events = json.loads(run(registry, "history", "genre", "--json"))
    assert [(one["action"], one["version"], one["why"]) for one in events[:2]] == [
        ("rollback", "2", "too slow"),
        ("promote", "1", "[slower] but better"),
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["promote", "genre", "99", "--why", "x"], 1, "has no version 99"),
        (["promote", "genre", "one", "--why", "x"], 1, "has no version one"),
        (["promote", "genre", "1"], 2, "--why"),
        (["promote", "genre", "1", "--why", ""], 1, "say why"),
        (["promote", "genre", "1", "--instead-of", "7", "--why", "x"], 1, "has no champion"),
        (["rollback", "genre", "--why", "x"], 1, "no champion to go back from"),
        (["history", "drums"], 1, "'drums' is not a task"),
        (["diff", "genre", "champion", "1"], 1, "genre has no champion"),
    ],
)
def test_misuse_is_said_in_a_line(small: Registry, words: list[str], code: int, said: str) -> None:
    result = CliRunner().invoke(app, ["models", *words, "--registry", small.uri], env={"COLUMNS": "200"})
    assert result.exit_code == code
    error = result.exception if isinstance(result.exception, BackbeatError) else result.output
    assert said in str(error)


@pytest.fixture(scope="module")
def small(mlflow_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry with one version that is no champion."""
    place = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        shutil.copy(mlflow_store, place)
        registry = Registry(f"sqlite:///{place / 'mlflow.db'}")
        registry.register(shipped_models()["genre"])
    return registry


def client(registry: Registry) -> MlflowClient:
    return MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)


def lines(registry: Registry, *words: str) -> list[str]:
    given = ["models", *words, "--registry", registry.uri]
    result = CliRunner().invoke(app, given, env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output or result.exception
    return result.output.splitlines()


def run(registry: Registry, *words: str) -> str:
    return " ".join(" ".join(lines(registry, *words)).split())
