"""Monitoring databases of nothing, SQLite and PostgreSQL, and rows to fill them with."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from neighbours import postgres, postgres_programs
from sqlalchemy import create_engine

from backbeat.monitoring.rows import Row

KINDS = ("sqlite", "postgresql")


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a PostgreSQL; give its address, or skip."""
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres() as (_, url):
        yield url


def fresh_database(server: str) -> str:
    """Make a database in a server; return its address."""
    name = f"test_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{server.rpartition('/')[0]}/{name}"


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'monitoring.db'}"


LINEAGE = {
    task: {
        "name": f"backbeat-{task}",
        "version": "3",
        "run": "a" * 32,
        "data_hash": "rendered=sha256:" + "b" * 32,
        "commit": "c" * 40,
        "licence": "CC0-1.0",
        "source": "registry",
    }
    for task in ("beat", "genre", "onset")
}


def row(number: int, at: float, *, seed: int = 0, **measures: float | str | bool | None) -> Row:
    """A row as the service makes them, in size and in what it has."""
    random = np.random.default_rng([seed, number])
    usual: dict[str, float | str | bool | None] = {
        "duration_s": float(random.uniform(20, 300)),
        "sample_rate_hz": 44100,
        "codec": "mp3",
        "loudness_lufs": float(random.normal(-14, 3)),
        "level": float(random.normal()),
        "brightness_band": float(random.normal(30, 4)),
        "level_spread": float(random.normal(1, 0.1)),
        "key_confidence": float(random.uniform()),
        "warnings": 0,
        "tempo_bpm": float(random.uniform(60, 180)),
        "time_signature": "4/4",
        "beat_confidence": float(random.uniform()),
        "genre": "jazz" if number % 3 else "rock",
        "genre_unsure": bool(number % 4 == 0),
        "genre_probability": float(random.uniform()),
    }
    return Row(
        request_id=f"request-{number:08d}",
        item=0,
        route="/v1/analyze",
        sha256=f"{number:064x}",
        models=LINEAGE,
        measures={**usual, **measures},
        answer={"genre": "jazz", "beats": [round(0.5 * beat, 3) for beat in range(40)]},
        embedding=random.normal(size=64).astype(np.float32),
        at=at,
    )
