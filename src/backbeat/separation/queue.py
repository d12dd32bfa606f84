"""Separation by many workers: songs in a queue (Celery), stems in folders that all machines share, one cache.

::

    backbeat worker redis://queue:6379/0 --root /music                  on each machine, once for each GPU or socket
    backbeat separate /music/new -o /music/stems --queue redis://queue:6379/0

A worker takes a song when it is done with the one before, and lets the queue forget it only when its stems are written;
the song of a worker that dies goes to another. What is done already is left out, so that a song handed out twice is
separated once. Messages are JSON.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from backbeat.errors import BackbeatError, ConfigError
from backbeat.separation.engine import SeparationEngine
from backbeat.separation.files import SeparationOptions
from backbeat.separation.store import parse_name

TASK = "backbeat.separate"
QUEUE = "backbeat-separation"
# Redis hands a song out again after so long without an answer; one that does take longer is done twice, to no harm.
_HANDED_OUT_AGAIN_S = 3600
_RESULTS_KEPT_S = 7 * 86400
_ADDRESS = re.compile(r"rediss?://([^/@\s]*@)?([^/@:\s]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?(/\d*)?(\?\S*)?")


def celery_app(url: str) -> Any:
    """Return the Celery application of a queue.

    Raises
    ------
    ConfigError
        If the address is not Redis's, or Celery or the client of Redis is not installed.
    """
    if not _ADDRESS.fullmatch(url):
        raise ConfigError(f"{url!r} is no address of a queue: redis://HOST:PORT/DB or rediss://...")
    try:
        import redis  # noqa: F401
        from celery import Celery
    except ImportError:
        raise ConfigError("a queue needs Celery and the client of Redis: pip install 'backbeat[queue]'") from None
    app = Celery("backbeat", broker=url, backend=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        result_expires=_RESULTS_KEPT_S,
        broker_transport_options={"visibility_timeout": _HANDED_OUT_AGAIN_S, "socket_timeout": 30},
        broker_connection_retry_on_startup=True,
    )
    return app


def register(app: Any, engine: SeparationEngine, root: Path) -> Any:
    """Give an application its task: `engine` separates songs under `root` into folders under it.

    What a message names is refused where it lies elsewhere, wherever links lead.
    """
    allowed = root.resolve()

    def inside(name: str) -> Path:
        path = Path(name).resolve()
        if not path.is_relative_to(allowed):
            raise ConfigError(f"{name}: is not in {root}, which is all that this worker may touch")
        return path

    def work(path: str, model: str, folder: str, options: dict[str, Any]) -> dict[str, Any]:
        try:
            wanted = SeparationOptions.from_dict(options)
            parse_name(model)  # a folder named by a message is not looked into
            done = asyncio.run(engine.separate(inside(path), model, inside(folder), wanted))
        except BackbeatError as error:
            return {"error": str(error)}
        return {"stems": list(done.stems), "warnings": list(done.warnings), "skipped": done.skipped}

    return app.task(name=TASK, shared=False)(work)  # of this application alone


def check_reachable(app: Any) -> None:
    """Raise ConfigError where the queue cannot be reached: Celery itself would try for minutes."""
    import redis

    with redis.Redis.from_url(app.conf.broker_url, socket_connect_timeout=5, socket_timeout=5) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            raise ConfigError(f"the queue at {app.connection().as_uri()} cannot be reached: {error}") from None


def run_worker(app: Any, name: str) -> None:
    """Take songs from the queue until told to stop; Ctrl-C lets the song at hand be finished.

    Raises
    ------
    ConfigError
        If the queue cannot be reached.
    """
    check_reachable(app)
    # One process that keeps its models: Celery's other pools would fork after torch has started its threads.
    app.worker_main(["worker", "--pool=solo", "--loglevel=INFO", f"--hostname={name}@%h"])


def enqueue(
    app: Any, songs: Iterable[tuple[Path, Path]], model: str, options: SeparationOptions
) -> dict[str, tuple[Path, Path]]:
    """Put songs in the queue, each with the folder of its stems; return them by the ids of their jobs.

    Raises
    ------
    ConfigError
        If the broker cannot be reached.
    """
    check_reachable(app)
    jobs = {}
    for song, folder in songs:
        message = [os.fspath(song.absolute()), model, os.fspath(folder.absolute()), options.to_dict()]
        jobs[str(app.send_task(TASK, message).id)] = (song, folder)
    return jobs


def answers(app: Any) -> bool:
    """Tell whether a worker answers within a second: one that is not at work."""
    return bool(app.control.ping(timeout=1.0, limit=1))


def gather(app: Any, jobs: dict[str, tuple[Path, Path]]) -> Iterator[tuple[Path, Path, dict[str, Any]]]:
    """Wait for jobs: give the song, its folder and what the worker said of each, as they come."""
    from celery.result import AsyncResult, ResultSet

    for job, told in ResultSet([AsyncResult(job, app=app) for job in jobs], app=app).iter_native():
        answer = told["result"]
        yield *jobs[job], answer if isinstance(answer, dict) else {"error": f"{jobs[job][0]}: {answer}"}
