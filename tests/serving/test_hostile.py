"""Hundreds of inputs that mean harm, sent over HTTP: each has its answer, and the service is as it was."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hostile_inputs import Answer, bodies, good_files
from hostile_requests import WIRES, Asked, form_requests, other_requests
from services import Service, answering

from backbeat.audio import AudioLimits, decode
from backbeat.errors import AudioError
from serving.problems import problem_of

#: Clients at once; fewer than there are places.
CLIENTS = 8
#: Of `upload_s` of the service.
DRIPS = 6
_AUDIO = {"Content-Type": "audio/wav"}


@contextmanager
def noting() -> Iterator[tuple[str, list[object]]]:
    """An address of this machine, and who came there."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(0.2)
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                try:
                    wire, who = door.accept()
                except TimeoutError:
                    continue
                came.append(who)
                wire.close()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}", came
        finally:
            over.set()
            watcher.join()


def told(wire: socket.socket) -> bytes:
    """Return all that comes until the other side hangs up."""
    heard = b""
    with suppress(ConnectionError):  # it hung up while we talked; what it said before counts
        while piece := wire.recv(1 << 16):
            heard += piece
    return heard


def exchange(service: Service, sent: bytes, last: bool = False) -> bytes:
    """Send bytes, and nothing behind them if they are the last, and return what is answered."""
    with dial(service) as wire:
        with suppress(ConnectionError):  # it has said why, and hung up
            wire.sendall(sent)
            if last:
                wire.shutdown(socket.SHUT_WR)
        return told(wire)


def dial(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def fault_of(answer: bytes, expected: Answer, method: str = "POST", shown: str | None = None) -> str | None:
    """Say what is wrong with an answer, None where it is as expected and in the one shape."""
    head, _, content = answer.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, content = content.partition(b"\r\n\r\n")
    status, (right, code) = status_of(head), expected
    if status != right:
        return f"{status} and not {right}: {content[:200]!r}"
    if shown is not None and json.loads(content)["path"] != shown:
        return f"shown as {json.loads(content)['path']!r}"
    if code is None or method == "HEAD":
        return None
    try:
        error = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return f"not in the one shape: {content[:200]!r}"
    names = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    if set(error) != {"code", "message", "request_id"} or error["request_id"].encode() != names[b"x-request-id"]:
        return f"not in the one shape: {content[:200]!r}"
    if error["code"] != code:
        return f"{error['code']} and not {code}: {error['message'][:200]}"
    if "/tmp" in error["message"] or len(error["message"]) > 1000 or "\n" in error["message"]:  # noqa: S108
        return f"says too much: {error['message'][:2000]}"
    return None


def refusal_fault(answer: bytes) -> str | None:
    """Say what is wrong with the answer to what is no HTTP: it is 4xx, or there is none."""
    statuses = [int(line.split(b" ")[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return None if all(400 <= status < 500 for status in statuses) else f"{answer[:300]!r}"


def drip(service: Service) -> str | None:
    """Send a file a byte at a time, until it is refused."""
    begun = time.monotonic()
    with dial(service) as wire:
        wire.sendall(b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\nContent-Length: 9999\r\n\r\n")
        while time.monotonic() < begun + 30:
            if select.select([wire], [], [], 0.2)[0]:
                seconds = time.monotonic() - begun
                return fault_of(told(wire), (408, "too_slow")) or (
                    f"refused after {seconds:.1f} s" if seconds > DRIPS + 5 else None
                )
            wire.sendall(b"R")
    return "never refused"


def gone(service: Service, how: str) -> str | None:
    """Leave in the middle of an upload."""
    with dial(service) as wire:
        wire.sendall(
            b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\nContent-Length: 9999\r\n\r\n1234"
        )
        if how == "reset":
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "half-closed":
            wire.shutdown(socket.SHUT_WR)
            answer = told(wire)
            return None if status_of(answer) in (0, 400, 408, 422) else f"{answer[:200]!r}"
    return None


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return good_files(tmp_path_factory.mktemp("good"))


def test_what_means_harm_is_answered_and_changes_nothing(
    service: Service, good: dict[str, bytes], tmp_path: Path
) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(good["wav"])
    temporary = service.state.parent / "tmp"
    with service.client() as client, noting() as (address, came):
        features = client.post("/v1/embedding", content=good["wav"], headers=_AUDIO).json()["features"]
        before = client.post("/v1/analyze", content=good["wav"], headers=_AUDIO)
        worker, left = answering(service), set(temporary.iterdir())
        memory, said, audited = worker.memory_info().rss, service.log.stat().st_size, audit(service)

        work: dict[str, Callable[[], str | None]] = {}

        def add(name: str, sent: bytes, check: Callable[[bytes], str | None]) -> None:
            assert name not in work, name
            work[name] = lambda: check(exchange(service, sent))

        asked = [
            *(
                Asked(name, answer, body=body, headers=tuple(_AUDIO.items()))
                for name, body, answer in bodies(good, address, song)
            ),
            *form_requests(good["wav"]),
            *other_requests(good["wav"], features),
        ]
        for one in asked:
            add(one.name, one.wire(), lambda answer, one=one: fault_of(answer, one.answer, one.method, one.shown))
        for name, sent in WIRES.items():
            work[f"wire {name}"] = lambda sent=sent: refusal_fault(exchange(service, sent, last=True))
        for number in range(20):
            for how in ("closed", "reset", "half-closed"):
                work[f"{how} {number}"] = lambda how=how: gone(service, how)
        assert len(work) >= 500

        def timed(job: Callable[[], str | None]) -> str | None:
            begun = time.monotonic()
            try:
                fault = job()
            except TimeoutError:
                fault = "no answer"
            seconds = time.monotonic() - begun
            return fault or (f"took {seconds:.1f} s" if seconds > 20 else None)

        # Those who dawdle are there all the while, and nobody waits for them.
        with ThreadPoolExecutor(8) as slow, ThreadPoolExecutor(CLIENTS) as quick:
            dripping = [slow.submit(drip, service) for _ in range(8)]
            faults = dict(zip(work, quick.map(timed, work.values()), strict=True))
            faults |= {f"drip {number}": one.result() for number, one in enumerate(dripping)}
        assert [f"{name}: {fault}" for name, fault in faults.items() if fault] == []

        after = client.post("/v1/analyze", content=good["wav"], headers=_AUDIO)
        assert after.status_code == before.status_code == 200
        assert after.json() == before.json()
        assert client.get("/readyz").status_code == 200
        assert came == []
    log = service.log.read_bytes()[said:].decode()
    assert "Traceback" not in log
    assert '"level": "error"' not in log
    assert all(line["status"] < 500 for line in audit(service)[len(audited) :])
    assert answering(service) == worker
    assert worker.memory_info().rss - memory < 200_000_000
    assert set(temporary.iterdir()) == left


def audit(service: Service) -> list[dict[str, int]]:
    return [json.loads(line) for line in (service.state / "audit.jsonl").read_text().splitlines()]


def test_files_that_mean_harm_are_the_same_to_the_library(good: dict[str, bytes], tmp_path: Path) -> None:
    faults = []
    for name, body, (status, code) in bodies(good, "http://127.0.0.1:9", tmp_path / "song.wav"):
        (tmp_path / "x").write_bytes(body)
        try:
            decode(tmp_path / "x", sample_rate_hz=22050, mono=True, limits=AudioLimits(4_000_000, 1800.0))
            came: Answer = (200, None)
        except AudioError as error:
            problem = problem_of(error)
            came = (problem.status_code, problem.code)
        if came != (status, code):
            faults.append(f"{name}: {came} and not {(status, code)}")
    assert faults == []
