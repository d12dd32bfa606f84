"""What tests of monitoring share: an empty database, in SQLite and, where it is installed, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import KINDS, fresh_database, postgres_server, sqlite_url

from backbeat.monitoring.store import MonitoringStore


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
