"""Where the story plays: a clone of the project, and the programs round it, real ones in processes of their own."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
from databases import fresh_database
from neighbours import mlflow_server, postgres, postgres_programs, redis
from services import ROOT, Service, http_server, serving

SECRET = "the story's secret, of thirty-two bytes or more"


@dataclass
class Project:
    """A clone of the checkout, in which commands run as they do for a user."""

    root: Path
    variables: Mapping[str, str]

    def run(self, *command: str, expect: int = 0) -> str:
        """Run a command of the environment; return what it said. It must end with the code that is expected."""
        ran = subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ran.returncode == expect, f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}"
        return ran.stdout

    def python(self, *arguments: str, expect: int = 0) -> str:
        """Run a module of Python's: `python -m ...`."""
        return self.run(sys.executable, "-m", *arguments, expect=expect)

    def backbeat(self, *arguments: str, expect: int = 0) -> str:
        """Run the command line."""
        return self.python("backbeat", *arguments, expect=expect)


def clone(folder: Path, variables: Mapping[str, str]) -> Project:
    """Clone the checkout as it is committed; the commands of the clone run the clone's code."""
    root = folder / "project"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root)], check=True)
    programs = Path(sys.executable).parent
    names = {f"GIT_{who}_{what}": word for who in ("AUTHOR", "COMMITTER") for what, word in
             (("NAME", "story"), ("EMAIL", "story@example.org"))}  # fmt: skip
    own = {"PYTHONPATH": str(root / "src"), "PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "120", **names}
    return Project(root, {**own, **variables})


@dataclass
class Hook:
    """What arrived at a webhook, each with whether its signature was right."""

    url: str = ""
    arrived: list[tuple[dict[str, Any], bool]] = field(default_factory=list)

    def wait(self, event: str, rule: str, seconds: float) -> dict[str, Any]:
        """Return the message of an event; AssertionError when none comes in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for body, _ in list(self.arrived):
                if (body.get("event"), body.get("rule")) == (event, rule):
                    return body
            time.sleep(0.2)
        raise AssertionError(f"no {event} of {rule} came within {seconds:g} s: {self.arrived}")


@contextmanager
def webhook() -> Iterator[Hook]:
    """Listen for alerts."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signed = self.headers["X-Backbeat-Timestamp"].encode() + b"." + body
            right = "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            hook.arrived.append((json.loads(body), hmac.compare_digest(right, self.headers["X-Backbeat-Signature"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http_server(Handler) as url:
        hook.url = url
        yield hook


@dataclass
class Programs:
    """What stands round the project: the registry's address, the monitoring database, Redis or nothing."""

    registry: str
    monitoring: str
    redis: str
    told: str


@contextmanager
def programs(folder: Path) -> Iterator[Programs]:
    """Run MLflow's server over PostgreSQL, and Redis, as far as this machine has them."""
    with ExitStack() as stack:
        told = []
        if postgres_programs():
            _, url = stack.enter_context(postgres())
            runs = fresh_database(url)
            told.append("PostgreSQL")
        else:
            url, runs = f"sqlite:///{folder / 'monitoring.db'}", f"sqlite:///{folder / 'mlflow.db'}"
            told.append("SQLite (no PostgreSQL is installed here)")
        counts = ""
        if shutil.which("redis-server"):
            _, counts = stack.enter_context(redis(folder / "redis"))
            told.append("Redis")
        _, registry = stack.enter_context(mlflow_server(folder / "mlflow", runs))
        yield Programs(registry, url, counts, ", ".join([*told, "an MLflow server"]))


@contextmanager
def service(folder: Path, around: Programs) -> Iterator[Service]:
    """Serve the registry's champions."""
    with serving(
        folder,
        models__registry=around.registry,
        models__registry_s="1",
        monitoring__database=around.monitoring,
        monitoring__seconds="0.5",
        rates__per_address="",
        rates__redis=around.redis,
    ) as running:
        yield running


@contextmanager
def monitor(project: Project, settings: Path) -> Iterator[None]:
    """Watch the service with `backbeat monitor`."""
    log = settings.with_suffix(".log")
    command = [sys.executable, "-m", "backbeat", "monitor"]
    environment = {**os.environ, **project.variables, "BACKBEAT_MONITORING": str(settings)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=project.root, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


class Traffic:
    """A caller who asks without a pause until told to end, and counts what was not answered."""

    def __init__(self, url: str, song: Path) -> None:
        self.asked = self.lost = 0
        self.versions: list[str] = []
        self._url, self._song, self._over = url, song, threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        content = self._song.read_bytes()
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while not self._over.is_set():
                self.asked += 1
                try:
                    answer = client.post("/v1/genre", files={"file": ("steady", content)})
                    answer.raise_for_status()
                except httpx.HTTPError:
                    self.lost += 1
                else:
                    version = str(answer.json()["models"]["genre"]["version"])
                    if version not in self.versions[-1:]:
                        self.versions.append(version)
                self._over.wait(0.3)
