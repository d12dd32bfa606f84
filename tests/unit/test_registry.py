"""Versions of models: registered by the run that made them, promoted by one at a time, fetched whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backbeat.analysis.analyzer import shipped_models
from backbeat.cli import app
from backbeat.errors import ConfigError, ModelError, RegistryError
from backbeat.files import write_json
from backbeat.model import SPEC, WEIGHTS, load_spec
from backbeat.registry import Registry
from backbeat.tracking import Tracking, tracked_run

Model = Callable[..., Path]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    # MLflow puts artifacts beside the store's working directory.
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("registry")
        patch.chdir(folder)
        yield Registry(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Make a model folder like one that ships, with other words in its specification."""

    def make(task: str, **words: object) -> Path:
        folder = tmp_path / f"{task}-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(shipped_models()[task], folder)
        write_json(folder / SPEC, replace(load_spec(folder), **words).to_dict())  # type: ignore[arg-type]
        return folder

    return make


def test_a_model_is_registered_promoted_and_fetched(registry: Registry, model: Model, tmp_path: Path) -> None:
    assert registry.champion("genre") is None
    folder = model("genre", run="", commit="abc", data_hash="mine=sha256:1", licence="CC0-1.0")
    first = registry.register(folder)
    assert (first.task, first.version, first.commit, first.data_hash) == ("genre", "1", "abc", "mine=sha256:1")
    assert registry.champion("genre") is None
    registry.promote(first, instead_of=None)
    assert registry.champion("genre") == first == registry.get("genre", "1")
    fetched = registry.fetch(first, tmp_path / "places")
    assert load_spec(fetched) == replace(load_spec(folder), version="1", run=first.run)
    assert (fetched / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    written = (fetched / SPEC).stat().st_mtime_ns
    assert registry.fetch(first, tmp_path / "places") == fetched
    assert (fetched / SPEC).stat().st_mtime_ns == written
    # What was fetched is the same model: it gets a number of its own, and no second run.
    again = registry.register(fetched)
    assert (again.version, again.run) == ("2", first.run)


def test_the_run_that_trained_a_model_is_the_one_it_is_registered_by(registry: Registry, model: Model) -> None:
    with tracked_run(Tracking(registry.uri, "backbeat"), "training", {}) as run:
        folder = model("beat", run=run.run_id)
        run.files(folder, "folder")
    assert registry.register(folder).run == run.run_id
    write_json(folder / SPEC, replace(load_spec(folder), commit="another").to_dict())
    with pytest.raises(ModelError, match="is not the model that run"):
        registry.register(folder)
    # Nor is what does not load, which a service would find out.
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(ModelError, match="is damaged"):
        registry.register(folder)


def test_of_two_who_promote_one_is_refused(registry: Registry, model: Model) -> None:
    one, two = (registry.register(model("onset", run="", commit=commit)) for commit in ("1", "2"))
    registry.promote(one, instead_of=None)
    with pytest.raises(RegistryError, match=f"{one.name} is the champion by now"):
        registry.promote(two, instead_of=None)
    assert registry.champion("onset") == one
    registry.promote(two, instead_of=one.version)
    assert registry.champion("onset") == two


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


def test_the_commands(registry: Registry, model: Model) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["models", *words, "--registry", registry.uri])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    folders = [str(model("genre", run="", commit=commit)) for commit in ("3", "4")]
    told = run("register", *folders, "--promote")
    assert told.endswith(f", the champion of {registry.uri}")
    latest = registry.champion("genre")
    assert latest is not None
    before = str(int(latest.version) - 1)
    assert run("promote", "genre", before) == f"backbeat-genre {before} is the champion, in place of {latest.version}"
    missing = CliRunner().invoke(app, ["models", "promote", "genre", "99", "--registry", registry.uri])
    assert missing.exit_code == 1
