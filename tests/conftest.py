"""What tests share: empty databases of monitoring, in SQLite and PostgreSQL, and empty stores of MLflow."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from databases import KINDS, fresh_database, postgres_server, sqlite_url

from backbeat.monitoring.store import MonitoringStore

if TYPE_CHECKING:
    from backbeat.registry import Registry


@pytest.fixture(autouse=True)
def _loggers_at_work() -> None:
    """Undo what a test of before has left: BentoML disables all loggers there are, Celery hushes all but errors."""
    logging.getLogger().setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(("backbeat.", "serving.", "pipelines.")) and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a PostgreSQL."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    return fresh_database(request.getfixturevalue("server"))


@pytest.fixture
def store(url: str) -> Iterator[MonitoringStore]:
    """A store over it."""
    opened = MonitoringStore(url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file with nothing in it, which takes seconds to make, to be copied for each test."""
    from backbeat.registry import Registry

    place = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.parent)
        Registry(f"sqlite:///{place}")
    return place


@pytest.fixture
def mlflow_uri(mlflow_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store, in the working directory: MLflow puts artifacts of its own accord there."""
    place = tmp_path / "store"
    place.mkdir()
    monkeypatch.chdir(place)
    shutil.copy(mlflow_store, place)
    return f"sqlite:///{place / 'mlflow.db'}"


@pytest.fixture
def registry(mlflow_uri: str) -> Registry:
    """An empty registry."""
    from backbeat.registry import Registry

    return Registry(mlflow_uri)
