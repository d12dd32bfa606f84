"""`backbeat monitor` as people run it, and what it tells receivers: real processes, a real receiver, both databases."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from databases import row, sqlite_url
from neighbours import postgres, postgres_programs
from services import http_server
from sqlalchemy import select, update

from backbeat.errors import ConfigError
from backbeat.monitoring.alerts import apply
from backbeat.monitoring.rules import Rule
from backbeat.monitoring.settings import MonitoringSettings, load_monitoring
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import ALERTS, DELIVERIES
from backbeat.monitoring.watch import Monitor, send_test
from backbeat.monitoring.webhook import DeliverySettings, Target, backoff_s, deliver, next_due

ROOT = Path(__file__).parents[2]
SECRET = "a secret of thirty-two bytes or more"
LOW = Rule("low", "rows_per_hour", "critical", below=10)
# Time enough for a busy machine; in a hurry are those alone whom a slow receiver keeps waiting.
DELIVERY = DeliverySettings(timeout_s=20, first_s=8, most_s=60, give_up_s=300)
HURRIED = replace(DELIVERY, timeout_s=0.5)


@dataclass
class Receiver:
    """Takes messages, as its `says` has it: a status, headers, and seconds before each byte of the body."""

    url: str = ""
    says: list[tuple[int, dict[str, str], float]] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def wait(self, count: int, seconds: float = 40.0) -> None:
        until = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < until, self.bodies
            time.sleep(0.02)


@contextmanager
def receiving() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status, headers, slow_s = told.says.pop(0) if told.says else (200, {}, 0.0)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for _ in range(20 if slow_s else 1):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(slow_s)
            except OSError:
                pass  # the other side had enough

        do_GET = do_POST  # noqa: N815 (a redirect that is followed would be one)

        def log_message(self, *_: object) -> None:
            pass

    with http_server(Handler) as address:
        told.url = f"{address}/hook"
        yield told


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def team(receiver: Receiver, **how: Any) -> dict[str, Target]:
    return {"team": Target(receiver.url, SECRET, allow_http=True, **how)}


def alert(store: MonitoringStore, targets: dict[str, Target], value: float = 0, now: float = 1000.0) -> None:
    apply(store, [LOW], {"rows_per_hour": value}, now, targets=targets, service="studio")


def sent(store: MonitoringStore, target: str = "team") -> list[dict[str, Any]]:
    with store.begin() as connection:
        asked = select(DELIVERIES).where(DELIVERIES.c.target == target).order_by(DELIVERIES.c.created)
        return [dict(found) for found in connection.execute(asked).mappings()]


# Messages


def documented_check() -> Callable[..., bool]:
    """The receiver's side as docs/monitoring.md shows it."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "monitoring.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 (our own documentation)
    found: Callable[..., bool] = names["is_ours"]
    return found


def test_a_message_is_signed_and_arrives_once(store: MonitoringStore, receiver: Receiver) -> None:
    alert(store, team(receiver))
    assert deliver(store, team(receiver), DELIVERY) == 2  # and the log
    assert deliver(store, team(receiver), DELIVERY) == 0
    ((headers, body),) = receiver.got
    timestamp = headers["x-backbeat-timestamp"]
    signature = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["x-backbeat-signature"] == f"sha256={signature}"
    told = json.loads(body)
    assert headers["x-backbeat-delivery"] == told["id"]
    assert (told["event"], told["rule"], told["value"], told["threshold"]) == ("opened", "low", 0, 10)
    assert abs(time.time() - int(timestamp)) < 60
    check = documented_check()
    assert check(SECRET, headers["x-backbeat-signature"], timestamp, body)
    assert not check(SECRET, headers["x-backbeat-signature"], timestamp, body + b" ")
    assert not check(SECRET + "x", headers["x-backbeat-signature"], timestamp, body)
    assert not check(SECRET, headers["x-backbeat-signature"], str(int(timestamp) + 1), body)
    assert not check(SECRET, "sha256=é", timestamp, body)
    old = str(int(time.time()) - 3600)
    late = hmac.new(SECRET.encode(), f"{old}.".encode() + body, hashlib.sha256).hexdigest()
    assert not check(SECRET, f"sha256={late}", old, body), "replayed an hour later"


def test_slack_is_told_in_its_own_way(store: MonitoringStore, receiver: Receiver) -> None:
    targets = {"slack": Target(receiver.url, format="slack", allow_http=True)}
    rule = Rule("<low>", "rows_per_hour", "warning", below=10)
    apply(store, [rule], {"rows_per_hour": 1}, 0.0, targets=targets, service="a&b")
    deliver(store, targets, DELIVERY)
    ((headers, _),) = receiver.got
    assert "x-backbeat-signature" not in headers
    assert receiver.bodies == [{"text": "[warning] a&amp;b: &lt;low&gt; opened: rows_per_hour is 1, below 10"}]


@pytest.mark.parametrize(
    ("says", "cause"),
    [
        ((500, {}, 0.0), "answered 500"),
        ((404, {}, 0.0), "answered 404"),
        ((307, {"Location": "/hook"}, 0.0), "answered 307; redirects are not followed"),
        ((200, {}, 0.3), "no answer within 0.5 s"),
    ],
)
def test_a_receiver_that_fails_is_tried_again(receiver: Receiver, tmp_path: Path, says: Any, cause: str) -> None:
    store = MonitoringStore(sqlite_url(tmp_path))
    now = [1000.0]
    how: dict[str, Any] = {"clock": lambda: now[0], "chance": lambda: 0.5}
    alert(store, team(receiver))
    receiver.says = [says]
    begun = time.monotonic()
    slow = says[2] > 0
    assert deliver(store, team(receiver), HURRIED if slow else DELIVERY, **how) == 1  # the log
    assert time.monotonic() - begun < 3
    (one,) = sent(store)
    assert (one["cause"], one["attempts"], one["delivered"], one["failed"]) == (cause, 1, None, None)
    assert one["due"] == pytest.approx(1006)  # 8 s less a half of the half
    assert next_due(store) == pytest.approx(1006)
    assert deliver(store, team(receiver), DELIVERY, **how) == 0
    assert len(receiver.got) == 1
    now[0] = 1006.5
    assert deliver(store, team(receiver), DELIVERY, **how) == 1
    assert len({headers["x-backbeat-delivery"] for headers, _ in receiver.got}) == 1
    assert receiver.got[0][1] == receiver.got[1][1]
    assert sent(store)[0]["delivered"] == 1006.5
    store.close()


def test_waits_double_and_are_bounded() -> None:
    waits = [backoff_s(attempts, DELIVERY, 0.0) for attempts in (1, 2, 3, 4, 5, 5000)]
    assert waits == [8, 16, 32, 60, 60, 60]
    assert backoff_s(2, DELIVERY, 1.0) == 8


@pytest.mark.parametrize(
    ("header", "due"),
    [("40", 1040.0), ("1", 1008.0), ("Thu, 01 Jan 1970 00:18:20 GMT", 1100.0), ("soon", 1008.0), ("9" * 30, None)],
)
def test_a_receiver_may_ask_for_time(receiver: Receiver, tmp_path: Path, header: str, due: float | None) -> None:
    store = MonitoringStore(sqlite_url(tmp_path))
    alert(store, team(receiver))
    receiver.says = [(429, {"Retry-After": header}, 0.0)]
    deliver(store, team(receiver), DELIVERY, clock=lambda: 1000.0, chance=lambda: 0.0)
    (one,) = sent(store)
    if due is None:
        assert one["due"] == pytest.approx(1000 + DELIVERY.give_up_s)
    else:
        assert one["due"] == pytest.approx(due)
    store.close()


def test_it_gives_up_and_says_so(store: MonitoringStore, capsys: pytest.CaptureFixture[str]) -> None:
    # Nobody listens on the port of discard.
    targets = {"team": Target("http://127.0.0.1:9/", SECRET, allow_http=True)}
    alert(store, targets)
    now, tries = 1000.0, 0
    while not (one := sent(store)[0])["failed"]:
        now = max(now, one["due"])
        deliver(store, targets, DELIVERY, clock=lambda: now, chance=lambda: 0.0)  # noqa: B023 (called at once)
        tries += 1
    assert (tries, one["attempts"], one["failed"]) == (8, 8, "not reached (ConnectError)")
    assert now <= 1000 + DELIVERY.give_up_s
    assert "delivery_given_up" in capsys.readouterr().out
    assert next_due(store) is None


def test_what_is_over_is_told_after_what_began(store: MonitoringStore, receiver: Receiver) -> None:
    targets = team(receiver)
    alert(store, targets)
    receiver.says = [(503, {}, 0.0)]
    deliver(store, targets, DELIVERY, clock=lambda: 1000.0)
    alert(store, targets, 20, 1001.0)
    deliver(store, targets, DELIVERY, clock=lambda: 1002.0)
    assert len(receiver.got) == 1, "the end waits for the beginning"
    deliver(store, targets, DELIVERY, clock=lambda: 1020.0)
    assert [body["event"] for body in receiver.bodies] == ["opened", "opened", "closed"]


def test_http_never_leaves_the_private_network(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    async def found(*_: object, **__: object) -> list[Any]:
        return [(0, 0, 0, "", ("127.0.0.1", 80)), (0, 0, 0, "", ("93.184.216.34", 80))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", found)
    store = MonitoringStore(sqlite_url(tmp_path))
    targets = {"team": Target(receiver.url.replace("127.0.0.1", "hooks.internal"), SECRET, allow_http=True)}
    alert(store, targets)
    deliver(store, targets, DELIVERY)
    assert sent(store)[0]["cause"] == "http would leave the private network: use https"
    assert receiver.got == []
    store.close()


def test_two_deliver_each_message_once(store: MonitoringStore, url: str, receiver: Receiver) -> None:
    rules = [Rule(f"r{number}", "drift", "info", above=0.5) for number in range(30)]
    apply(store, rules, {"drift": 1}, 0.0, targets=team(receiver), service="s")
    other = MonitoringStore(url)
    both = [threading.Thread(target=deliver, args=(one, team(receiver), DELIVERY)) for one in (store, other)]
    for one in both:
        one.start()
    for one in both:
        one.join(30)
    other.close()
    assert sorted(body["rule"] for body in receiver.bodies) == sorted(rule.name for rule in rules)


def test_a_target_that_hangs_does_not_hold_up_others(receiver: Receiver, tmp_path: Path) -> None:
    store = MonitoringStore(sqlite_url(tmp_path))
    with receiving() as slow:
        slow.says = [(200, {}, 0.4)]
        targets = {"slow": Target(slow.url, SECRET, allow_http=True), **team(receiver)}
        alert(store, targets)
        assert deliver(store, targets, HURRIED) == 2
    assert len(receiver.got) == 1
    assert sent(store, "slow")[0]["cause"] == "no answer within 0.5 s"
    store.close()


# The process


@dataclass
class Watched:
    """What a monitor is started with."""

    url: str
    folder: Path
    receiver: Receiver
    rules: list[dict[str, Any]] = field(
        default_factory=lambda: [{"name": "low", "measure": "rows_per_hour", "severity": "critical", "below": 10}]
    )

    def settings(self) -> dict[str, str]:
        own = {
            "state": str(self.folder / "state"),
            "database": self.url,
            "service": "studio",
            "watch": {"look_s": 0.3, "check_rows": 100, "check_s": 1000.0},
            "delivery": {"timeout_s": 2.0, "first_s": 0.2, "most_s": 1.0, "give_up_s": 60.0},
            "rules": self.rules,
            "targets": {"team": {"url": self.receiver.url, "secret": SECRET, "allow_http": True}},
        }
        path = self.folder / "watch.yaml"
        path.write_text(yaml.safe_dump(own))
        return {"BACKBEAT_MONITORING": str(path)}

    def loaded(self) -> MonitoringSettings:
        return load_monitoring(self.settings())

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if line.get("event") == event]

    def wait_for(self, event: str, count: int = 1, seconds: float = 40.0) -> None:
        until = time.monotonic() + seconds
        while len(self.lines(event)) < count:
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A monitor whose check for drift is of no training data."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("BACKBEAT_")}
        environment = {**others, **self.settings(), "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as out:
            command = [sys.executable, "-c", _MONITOR, *arguments]
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=self.folder)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


_MONITOR = """
import backbeat.monitoring.watch as watch

def fake(settings):
    def check(rows, folder):
        (folder / "drift.html").write_text("a report")
        return {"drift": bool(len(rows) >= 100), "rows": len(rows), "share": 1.0}
    return check

watch.drift_check = fake
from backbeat.cli import main
import sys
sys.argv[1:1] = ["monitor"]
main()
"""


@pytest.fixture
def watched(url: str, tmp_path: Path, receiver: Receiver) -> Watched:
    return Watched(url, tmp_path, receiver)


def fill(store: MonitoringStore, count: int, begin: int = 0) -> None:
    store.add([row(begin + number, time.time()) for number in range(count)])


def test_a_monitor_tells_checks_and_ends(watched: Watched, store: MonitoringStore) -> None:
    fill(store, 5)
    with watched.running() as process:
        watched.receiver.wait(1)
        assert watched.receiver.bodies[0]["rule"] == "low"
        watched.wait_for("drift_checked")
        assert store.checks(1)[0]["verdict"]["rows"] == 5
        fill(store, 100, 5)
        watched.receiver.wait(2)
        assert [body["event"] for body in watched.receiver.bodies] == ["opened", "closed"]
        watched.wait_for("drift_checked", 2)
        verdict = store.checks(1)[0]["verdict"]
        assert (verdict["rows"], verdict["last_row"]) == (105, 105)
        report = watched.folder / "state" / "reports" / verdict["report"] / "drift.html"
        assert report.read_text() == "a report"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert len(watched.lines("monitor_ends")) == 1
    assert [line["state"] for line in watched.lines("alert")] == ["opened", "closed"]
    assert SECRET not in watched.log.read_text()


def test_killed_in_the_middle_of_a_delivery_the_message_arrives_all_the_same(
    watched: Watched, store: MonitoringStore
) -> None:
    fill(store, 1)
    watched.receiver.says = [(200, {}, 0.5)]
    with watched.running() as process:
        watched.receiver.wait(1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert sent(store)[0]["delivered"] is None
    # The claim of the one that was killed runs out after the time limit and ten seconds.
    with store.begin() as connection:
        connection.execute(update(DELIVERIES).where(DELIVERIES.c.delivered.is_(None)).values(due=time.time()))
    with watched.running():
        watched.receiver.wait(2)
    first, second = watched.receiver.got
    assert first[0]["x-backbeat-delivery"] == second[0]["x-backbeat-delivery"]
    assert first[1] == second[1]
    with store.begin() as connection:
        assert len(connection.execute(select(ALERTS)).all()) == 1


def test_of_two_monitors_one_checks_and_the_other_takes_over(watched: Watched, store: MonitoringStore) -> None:
    fill(store, 3)
    with watched.running() as first:
        watched.wait_for("drift_checked")
        with watched.running() as second:
            watched.wait_for("monitor_begins", 2)
            fill(store, 100, 3)
            watched.wait_for("drift_checked", 2)
            assert len(store.checks()) == 2
            watched.receiver.wait(2)
            first.send_signal(signal.SIGKILL)
            first.wait()
            fill(store, 100, 200)
            watched.wait_for("drift_checked", 3)
            second.send_signal(signal.SIGINT)
            assert second.wait(20) == 0
    assert len(store.checks()) == 3
    assert [body["event"] for body in watched.receiver.bodies] == ["opened", "closed"]


def test_a_database_that_is_away_is_waited_for(tmp_path: Path, receiver: Receiver) -> None:
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres() as (neighbour, url):
        watched = Watched(url, tmp_path, receiver)
        store = MonitoringStore(url)
        fill(store, 1)
        neighbour.stop(signal.SIGINT)
        with watched.running() as process:
            watched.wait_for("database_away")
            time.sleep(3)
            assert len(watched.lines("database_away")) == 1, "it is told once"
            assert process.poll() is None
            neighbour.start()
            watched.wait_for("database_back")
            receiver.wait(1)
            neighbour.stop(signal.SIGINT)
            watched.wait_for("database_away", 2)
            neighbour.start()
            watched.wait_for("database_back", 2)
            fill(store, 100, 1)
            receiver.wait(2)
        store.close()


# In this process


def verdict_of(rows: Any, folder: Path) -> dict[str, Any]:
    return {"drift": len(rows) >= 3, "rows": len(rows), "share": 0.5}


def test_once_does_what_is_due(watched: Watched, store: MonitoringStore) -> None:
    fill(store, 3)
    store.add([row(9, time.time() - 91 * 86400)])
    assert Monitor(watched.loaded(), verdict_of).once()
    assert len(store.checks()) == 1
    assert [body["event"] for body in watched.receiver.bodies] == ["opened"]
    assert store.of_request("request-00000009")[0].measures == {}
    assert Monitor(watched.loaded(), verdict_of).once()
    assert len(store.checks()) == 1


def test_a_check_that_fails_does_not_end_the_others(
    watched: Watched, store: MonitoringStore, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> dict[str, Any]:
        raise ValueError("a column\nis empty")

    fill(store, 3)
    assert Monitor(watched.loaded(), fails).once()
    assert "drift_not_checked" in capsys.readouterr().out
    assert store.checks() == []
    assert len(watched.receiver.got) == 1
    assert list((watched.folder / "state" / "reports").iterdir()) == [], "nothing half done is left"


def test_a_test_goes_through_every_target(watched: Watched, store: MonitoringStore) -> None:
    assert send_test(watched.loaded()) == {}
    assert watched.receiver.bodies[0]["event"] == "test"
    watched.receiver.says = [(500, {}, 0.0)]
    assert send_test(watched.loaded()) == {"team": "answered 500"}
    with pytest.raises(ConfigError, match="no target has a url"):
        send_test(load_monitoring({"BACKBEAT_MONITORING__STATE": str(watched.folder)}))


def test_the_command_sends_a_test(tmp_path: Path, receiver: Receiver) -> None:
    watched = Watched(sqlite_url(tmp_path), tmp_path, receiver)
    with watched.running("test-alert") as process:
        assert process.wait(60) == 0
    assert "team: arrived" in watched.log.read_text()
    watched.receiver.says = [(500, {}, 0.0)]
    with watched.running("test-alert") as process:
        assert process.wait(60) == 1
    assert "backbeat: error: team: answered 500" in watched.log.read_text()
