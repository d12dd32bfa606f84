"""Jobs: work that takes longer than a request, in a database that every worker and replica sees.

A job that is queued survives whatever is restarted. One that runs has a heart that its worker lets beat; where it has
stopped, the job is queued again, a few times: a file that brings its worker down each time fails at last.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from backbeat.database import open_database
from backbeat.errors import ConfigError
from serving.settings import Settings

STATES = ("queued", "running", "done", "failed", "cancelled")
#: What jobs do, and where in the folder of a job the files lie that it made.
KINDS = {"separate": "stems", "chart": "chart"}
_MOST_ATTEMPTS = 3
_ID = re.compile(r"[0-9a-f]{32}")
#: In the folder of a job: the file that was sent, and what a job tells beside the files that it made, if it does.
INPUT, REPORT = "input", "report.json"

_JOBS = Table(
    "jobs",
    MetaData(),
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("request", JSON, nullable=False),
    Column("progress", Float, nullable=False),
    Column("code", String(32)),
    Column("message", String(1000)),
    Column("files", JSON, nullable=False),
    Column("worker", String(64)),
    Column("heartbeat", Float),
    Column("attempts", Integer, nullable=False),
)


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Parameters
    ----------
    id, owner
        Its name, which nobody guesses, and the caller who gave it.
    state
        One of `STATES`.
    created, expires
        Seconds since 1970; after `expires` it is forgotten.
    request
        What is asked for; "kind" in it is one of `KINDS`.
    progress
        Share that is done.
    code, message
        The error, of one that failed.
    files
        What was made: by stem, or by the files' own names.
    """

    id: str
    owner: str
    state: str
    created: float
    expires: float
    request: dict[str, Any]
    progress: float
    code: str | None
    message: str | None
    files: dict[str, str]

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        # Those that were given before there were several say nothing of it.
        kind: str = self.request.get("kind", "separate")
        return kind


class JobStore:
    """The jobs of a database, and a folder for the files of each.

    Parameters
    ----------
    url
        Of the database, as SQLAlchemy has it.
    folder
        Where files lie; all workers must see it.
    keep_s
        How long a job is kept after it was given, and once more after it ended.
    stale_s
        A job whose heart has not beaten for so long has lost its worker.

    Raises
    ------
    ConfigError
        If the database cannot be opened.
    """

    def __init__(self, url: str, folder: Path, keep_s: float, stale_s: float) -> None:
        self.folder, self._keep_s, self._stale_s = folder, keep_s, stale_s
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._engine: Engine = open_database(url)
            with self._engine.begin() as connection:
                # Several processes do it at once: to look first whether there is one would be too early.
                connection.execute(CreateTable(_JOBS, if_not_exists=True))
                for index in _JOBS.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(f"jobs.database cannot be opened: {error}") from None

    @classmethod
    def of(cls, settings: Settings) -> JobStore:
        """Open the store that the settings name."""
        jobs = settings.jobs
        folder = settings.place(jobs.folder)
        folder.mkdir(parents=True, exist_ok=True)
        url = jobs.database or f"sqlite:///{(folder / 'jobs.db').absolute()}"
        return cls(url, folder, jobs.keep_s, jobs.stale_s)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def place(self, identity: str) -> Path:
        """Return the folder of a job's files."""
        return self.folder / identity

    def output(self, job: Job) -> Path:
        """Return the folder of the files that a job makes."""
        return self.place(job.id) / KINDS[job.kind]

    def report(self, job: Job) -> dict[str, Any] | None:
        """Return what a job that is done tells of its files, None where it tells nothing."""
        if job.state != "done":
            return None
        try:
            told: dict[str, Any] = json.loads((self.place(job.id) / REPORT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return told

    def new_id(self) -> str:
        """Return a name for a job."""
        return secrets.token_hex(16)

    def add(self, identity: str, owner: str, request: dict[str, Any]) -> Job:
        """Queue a job, whose files are in place."""
        now = time.time()
        row = {
            "id": identity,
            "owner": owner,
            "state": "queued",
            "created": now,
            "expires": now + self._keep_s,
            "request": request,
            "progress": 0.0,
            "files": {},
            "attempts": 0,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(_JOBS).values(row))
        job = self.get(identity)
        assert job is not None  # noqa: S101 (it was put there above)
        return job

    def get(self, identity: str) -> Job | None:
        """Return a job, None where there is none or it has expired."""
        if not _ID.fullmatch(identity):
            return None  # not every database takes every text: PostgreSQL no NUL
        with self._engine.connect() as connection:
            row = connection.execute(select(_JOBS).where(_JOBS.c.id == identity)).mappings().first()
        return None if row is None or row["expires"] < time.time() else _job(row)

    def of_owner(self, owner: str | None, most: int = 100) -> list[Job]:
        """Return the latest jobs of an owner, of all where that is None."""
        asked = select(_JOBS).where(_JOBS.c.expires >= time.time()).order_by(_JOBS.c.created.desc()).limit(most)
        if owner is not None:
            asked = asked.where(_JOBS.c.owner == owner)
        with self._engine.connect() as connection:
            return [_job(row) for row in connection.execute(asked).mappings()]

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are in each state that any is in."""
        asked = select(_JOBS.c.state, func.count().label("count_")).group_by(_JOBS.c.state)
        with self._engine.connect() as connection:
            return {row.state: row.count_ for row in connection.execute(asked)}

    def at_hand(self) -> Counter[tuple[str, str]]:
        """Return how many jobs of each kind wait and run, by kind and state."""
        asked = select(_JOBS).where(_JOBS.c.state.in_(("queued", "running")))
        with self._engine.connect() as connection:
            jobs = [_job(row) for row in connection.execute(asked).mappings()]
        return Counter((job.kind, job.state) for job in jobs)

    def claim(self, worker: str) -> Job | None:
        """Give the job that has waited longest to a worker; None where none waits. No two get the same."""
        now = time.time()
        self._revive(now)
        asked = select(_JOBS.c.id).where(_JOBS.c.state == "queued").order_by(_JOBS.c.created).limit(5)
        while True:
            with self._engine.connect() as connection:
                candidates = [row.id for row in connection.execute(asked)]
            if not candidates:
                return None
            for identity in candidates:
                taken = {"state": "running", "worker": worker, "heartbeat": now, "attempts": _JOBS.c.attempts + 1}
                if self._change(identity, "queued", None, taken):
                    return self.get(identity)
            # Others were quicker with all of these: look for more.

    def beat(self, identity: str, worker: str, progress: float) -> bool:
        """Say that a job is worked on; False when it is to be left: it was cancelled, or is another's by now."""
        return self._change(identity, "running", worker, {"heartbeat": time.time(), "progress": progress})

    def finish(self, identity: str, worker: str, files: dict[str, str]) -> bool:
        """End a job well, with the names of its files."""
        ended = {"state": "done", "files": files, "progress": 1.0, "expires": time.time() + self._keep_s}
        return self._change(identity, "running", worker, ended)

    def fail(self, identity: str, worker: str, code: str, message: str) -> bool:
        """End a job with an error."""
        ended = {"state": "failed", "code": code, "message": message[:1000], "expires": time.time() + self._keep_s}
        return self._change(identity, "running", worker, ended)

    def cancel(self, identity: str) -> None:
        """End a job that waits; let the worker of one that runs leave it."""
        if not self._change(identity, "queued", None, {"state": "cancelled"}):
            self._change(identity, "running", None, {"state": "cancelled"})

    def forget(self) -> int:
        """Remove what has expired, files first; return how many jobs that were."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_JOBS.c.id).where(_JOBS.c.expires < time.time())).all()
        for row in rows:
            shutil.rmtree(self.place(row.id), ignore_errors=True)
            with self._engine.begin() as connection:
                connection.execute(_JOBS.delete().where(_JOBS.c.id == row.id))
        return len(rows)

    def _revive(self, now: float) -> None:
        """Queue again, or fail, what lost its worker."""
        asked = select(_JOBS.c.id, _JOBS.c.worker, _JOBS.c.attempts).where(
            _JOBS.c.state == "running", _JOBS.c.heartbeat < now - self._stale_s
        )
        with self._engine.connect() as connection:
            lost = connection.execute(asked).all()
        for row in lost:
            if row.attempts < _MOST_ATTEMPTS:
                self._change(row.id, "running", row.worker, {"state": "queued", "worker": None, "progress": 0.0})
            else:
                self.fail(row.id, row.worker, "unheard_audio", "the file brought its worker down each time")

    def _change(self, identity: str, state: str, worker: str | None, values: dict[str, Any]) -> bool:
        """Change a job if it is still in a state, and of a worker; tell whether it was."""
        change = update(_JOBS).where(_JOBS.c.id == identity, _JOBS.c.state == state)
        if worker is not None:
            change = change.where(_JOBS.c.worker == worker)
        with self._engine.begin() as connection:
            return connection.execute(change.values(values)).rowcount == 1


def _job(row: RowMapping) -> Job:
    return Job(**{name: row[name] for name in Job.__dataclass_fields__})
