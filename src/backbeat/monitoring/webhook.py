"""Telling of alerts: messages kept in the database until a receiver has taken them, each at least once.

A message is written in the transaction that writes its alert. Whoever delivers claims it by raising its `attempts`, if
nobody else has meanwhile, and puts off when it is `due`: should the process be killed, it falls due again and goes out
under the same id, by which receivers know what they have. Of one alert and target the next message waits for the one
before.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import hmac
import ipaddress
import json
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog
from sqlalchemy import ColumnElement, Connection, FromClause, and_, exists, func, insert, select, update

from backbeat.errors import ConfigError
from backbeat.monitoring.rules import SEVERITIES, Severity
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import DELIVERIES
from backbeat.settings import above_zero

_LOG = structlog.get_logger("backbeat.monitoring")
#: The target that is always there: a line of the log.
LOG = "log"
_LEAST_SECRET_BYTES = 32
#: Of an answer so much is read; what it says is not used.
_MOST_ANSWER_BYTES = 65536
_AT_ONCE = 16
#: Beyond the time limit of a delivery, until a claim of a process that says no more is void.
_CLAIM_S = 10.0


@dataclass(frozen=True)
class Target:
    """Who is told.

    Parameters
    ----------
    url
        https, or with `allow_http` http to this machine or a private network; empty for nobody.
    secret
        What messages are signed with, 32 bytes or more.
    format
        "backbeat", or "slack" for its incoming webhooks, which take no signature.
    least
        The least severity that is told.
    allow_http
        Whether http will do.
    """

    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    format: Literal["backbeat", "slack"] = "backbeat"
    least: Severity = "info"
    allow_http: bool = False

    def check(self, name: str) -> None:
        """Refuse an address or secret that will not do (ConfigError)."""
        where = f"targets.{name}"
        if name == LOG or not name or len(name) > 64:
            raise ConfigError(f"{where}: a target is named by 1 to 64 characters, and not {LOG!r}")
        if not self.url:
            return
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ConfigError(f"{where}.url is no address") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{where}.url must begin with https:// and name a host")
        if parts.username or parts.password:
            raise ConfigError(f"{where}.url must not have a user or password: the signature says who sends")
        if parts.scheme == "http" and not (self.allow_http and (_is_name(host) or _is_near(host))):
            raise ConfigError(f"{where}.url must be https; http takes allow_http and an address of a private network")
        if self.format == "backbeat" and len(self.secret.encode()) < _LEAST_SECRET_BYTES:
            raise ConfigError(
                f"{where}.secret must have {_LEAST_SECRET_BYTES} bytes or more: messages are signed with it"
            )


@dataclass(frozen=True)
class DeliverySettings:
    """How deliveries are tried; ConfigError when a number leaves nothing.

    Parameters
    ----------
    timeout_s
        The longest that a try may take, answer and all.
    first_s, most_s
        The wait after the first failure, which doubles with each, and its bound; less up to a half, by chance.
    give_up_s
        After its making, when a message is given up.
    """

    timeout_s: float
    first_s: float
    most_s: float
    give_up_s: float

    def __post_init__(self) -> None:
        above_zero("delivery", self)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message: HMAC-SHA-256 (RFC 2104) of "TIMESTAMP.BODY", in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def add_deliveries(
    connection: Connection, bodies: Sequence[dict[str, Any]], targets: Mapping[str, Target], now: float
) -> None:
    """Put messages, of "alert", "severity" and what else is told, into a transaction: for the log and each target."""
    rows = []
    for number, body in enumerate(bodies):
        told = [name for name, one in targets.items() if one.url and _heard(one, body["severity"])]
        for name in (LOG, *told):
            identity = secrets.token_hex(16)
            # Messages of one look differ in time, so that their order is known.
            created = now + number * 1e-3
            fixed = {"created": created, "due": now, "attempts": 0, "target": name}
            rows.append({"id": identity, "alert": body["alert"], "body": {"id": identity, **body}, **fixed})
    if rows:
        connection.execute(insert(DELIVERIES), rows)


def add_test(store: MonitoringStore, targets: Mapping[str, Target], service: str) -> str:
    """Put a message that says that it is a test into the outbox, for every target; return the alert it names."""
    alert, now = secrets.token_hex(16), time.time()
    told = {"event": "test", "rule": "test", "severity": "critical", "value": None, "threshold": None}
    body = {"alert": alert, **told, "message": "a test: alerts arrive", "at": now, "service": service}
    with store.begin() as connection:
        add_deliveries(connection, [body], targets, now)
    return alert


def outcome(store: MonitoringStore, alert: str) -> dict[str, str]:
    """Return why the messages of an alert have not arrived, by target; empty where all have."""
    asked = select(DELIVERIES).where(DELIVERIES.c.alert == alert, DELIVERIES.c.delivered.is_(None))
    with store.begin() as connection:
        found = connection.execute(asked).mappings().all()
    return {row["target"]: row["cause"] or "another is about to try" for row in found}


def _heard(target: Target, severity: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(target.least)


def next_due(store: MonitoringStore) -> float | None:
    """Return when the next delivery is due, in seconds since 1970; None where nothing waits."""
    with store.begin() as connection:
        due: float | None = connection.execute(select(func.min(DELIVERIES.c.due)).where(_ready())).scalar()
    return due


def deliver(
    store: MonitoringStore,
    targets: Mapping[str, Target],
    settings: DeliverySettings,
    *,
    clock: Callable[[], float] = time.time,
    chance: Callable[[], float] = random.random,
) -> int:
    """Try what is due, once each; return how many were taken by their receivers.

    Raises
    ------
    MonitoringError
        If the database is away.
    """
    taken = 0
    while claimed := _claim(store, clock(), settings):
        taken += asyncio.run(_try_all(store, claimed, targets, settings, clock, chance))
    return taken


def _claim(store: MonitoringStore, now: float, settings: DeliverySettings) -> list[dict[str, Any]]:
    """Return what is due and nobody else has taken; it falls due again when nothing is heard of it."""
    asked = select(DELIVERIES).where(_ready(), DELIVERIES.c.due <= now).order_by(DELIVERIES.c.created).limit(_AT_ONCE)
    mine = []
    with store.begin() as connection:
        found = [dict(row) for row in connection.execute(asked).mappings()]
    for row in found:
        claim = update(DELIVERIES).where(_as_seen(row))
        values = {"attempts": row["attempts"] + 1, "due": now + settings.timeout_s + _CLAIM_S}
        with store.begin() as connection:
            if connection.execute(claim.values(values)).rowcount == 1:
                mine.append({**row, **values})
    return mine


def _pending(table: FromClause = DELIVERIES) -> ColumnElement[bool]:
    return and_(table.c.delivered.is_(None), table.c.failed.is_(None))


def _ready() -> ColumnElement[bool]:
    """Those that wait for nothing but their time."""
    before = DELIVERIES.alias()
    waits = exists().where(
        before.c.alert == DELIVERIES.c.alert,
        before.c.target == DELIVERIES.c.target,
        before.c.created < DELIVERIES.c.created,
        _pending(before),
    )
    return and_(_pending(), ~waits)


def _as_seen(row: Mapping[str, Any]) -> ColumnElement[bool]:
    return and_(DELIVERIES.c.id == row["id"], DELIVERIES.c.attempts == row["attempts"], _pending())


async def _try_all(
    store: MonitoringStore,
    claimed: Sequence[dict[str, Any]],
    targets: Mapping[str, Target],
    settings: DeliverySettings,
    clock: Callable[[], float],
    chance: Callable[[], float],
) -> int:
    import httpx

    async with httpx.AsyncClient(timeout=settings.timeout_s, follow_redirects=False) as client:

        async def try_one(row: dict[str, Any]) -> bool:
            fault = await _send(client, row, targets, settings.timeout_s, clock())
            await asyncio.to_thread(_note, store, row, fault, settings, clock(), chance())
            return fault is None

        return sum(await asyncio.gather(*(try_one(row) for row in claimed)))


@dataclass(frozen=True)
class _Fault:
    """Why a try failed, and when to come again at the earliest."""

    cause: str
    after_s: float = 0.0


async def _send(
    client: Any, row: Mapping[str, Any], targets: Mapping[str, Target], timeout_s: float, now: float
) -> _Fault | None:
    """Try once; None when it was taken."""
    import httpx

    body = row["body"]
    if row["target"] == LOG:
        facts = {name: value for name, value in body.items() if name not in ("id", "event")}
        # structlog has a use of its own for "event".
        _LOG.warning("alert", state=body["event"], delivery=body["id"], **facts)
        return None
    target = targets.get(row["target"])
    if target is None or not target.url:
        # Another who watches may know it.
        return _Fault("the target is not in the settings")
    content, headers = _message(row, target, now)
    try:
        # httpx bounds each wait; a receiver that dribbles could keep that up for ever.
        async with asyncio.timeout(timeout_s):
            if fault := await _far(target):
                return fault
            async with client.stream("POST", target.url, content=content, headers=headers) as answer:
                await _read(answer)
    except TimeoutError:
        return _Fault(f"no answer within {timeout_s:g} s")
    except httpx.HTTPError as error:
        return _Fault(f"not reached ({type(error).__name__})")
    if answer.is_success:
        return None
    hint = "; redirects are not followed" if answer.is_redirect else ""
    return _Fault(f"answered {answer.status_code}{hint}", _retry_after_s(answer.headers.get("retry-after", ""), now))


def _message(row: Mapping[str, Any], target: Target, now: float) -> tuple[bytes, dict[str, str]]:
    """Return what is sent: the same body each time, signed for the time of the try."""
    body, timestamp = row["body"], str(int(now))
    if target.format == "slack":
        text = f"[{body['severity']}] {body['service']}: {body['rule']} {body['event']}: {body['message']}"
        body = {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    content = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "backbeat-monitor",
        "X-Backbeat-Delivery": row["id"],
        "X-Backbeat-Timestamp": timestamp,
    }
    if target.secret:
        headers["X-Backbeat-Signature"] = f"sha256={sign(target.secret, timestamp, content)}"
    return content, headers


async def _read(answer: Any) -> None:
    """Take what a receiver says to the end, or to as much as is read, so that it sees the message taken."""
    come = 0
    async for piece in answer.aiter_raw():
        come += len(piece)
        if come > _MOST_ANSWER_BYTES:
            return


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _is_near(address: str) -> bool:
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_private


async def _far(target: Target) -> _Fault | None:
    """Say so when http would leave the private network."""
    parts = urlsplit(target.url)
    if parts.scheme == "https":
        return None
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 80)
    except OSError:
        return _Fault("the name of the host is not known")
    # Without the zone of a link-local address.
    if all(_is_near(str(one[4][0]).partition("%")[0]) for one in found):
        return None
    return _Fault("http would leave the private network: use https")


def _retry_after_s(text: str, now: float) -> float:
    """Return the seconds that a receiver asks for (RFC 9110, section 10.2.3); 0 where it does not, or nothing sane."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return 0.0


def backoff_s(attempts: int, settings: DeliverySettings, chance: float) -> float:
    """Return the wait after so many tries: doubled with each, bounded, less up to a half by `chance` (0 to 1)."""
    # Beyond 2 ** 60 tries floats would give out.
    whole = min(settings.most_s, settings.first_s * 2.0 ** min(attempts - 1, 60))
    return whole * (1 - chance / 2)


def _note(
    store: MonitoringStore,
    row: Mapping[str, Any],
    fault: _Fault | None,
    settings: DeliverySettings,
    now: float,
    chance: float,
) -> None:
    """Keep what came of a try, unless another has claimed the message meanwhile."""
    told = {"delivery": row["id"], "target": row["target"], "attempts": row["attempts"]}
    if fault is None:
        # Whoever else has it by now: it has arrived.
        change = update(DELIVERIES).where(DELIVERIES.c.id == row["id"]).values(delivered=now, failed=None)
    else:
        wait_s = max(backoff_s(row["attempts"], settings, chance), min(fault.after_s, settings.give_up_s))
        over = now + wait_s > row["created"] + settings.give_up_s
        values = {"cause": fault.cause, **({"failed": fault.cause} if over else {"due": now + wait_s})}
        change = update(DELIVERIES).where(_as_seen(row)).values(values)
        if over:
            _LOG.error("delivery_given_up", cause=fault.cause, **told)
        else:
            _LOG.warning("delivery_failed", cause=fault.cause, again_s=round(wait_s, 1), **told)
    with store.begin() as connection:
        connection.execute(change)
