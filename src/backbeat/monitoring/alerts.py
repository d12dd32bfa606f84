"""From looks at the measures to alerts: opened and closed by the rules, and kept with the messages that tell of them.

`judge` is pure: rules, measures and what the rules remember give events and what they remember next. `apply` does that
in one transaction with the alerts and with the messages to be delivered (a transactional outbox), and one at a time: a
process that is killed loses no alert, and two of them open none twice.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sqlalchemy import func, insert, select, update

from backbeat.monitoring.rules import SEVERITIES, Rule, Silence
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import ALERTS, RULES
from backbeat.monitoring.webhook import Target, add_deliveries

Kind = Literal["opened", "told", "closed"]


@dataclass(frozen=True)
class State:
    """What a rule remembers between looks.

    Parameters
    ----------
    broken, cleared
        For how many looks in a row it has been.
    alert, severity
        The alert that is open, and how severe it was called; empty for none.
    told
        Whether that was to be delivered; not while it is silent.
    known
        Whether the last look had a value.
    """

    broken: int = 0
    cleared: int = 0
    alert: str = ""
    severity: str = ""
    told: bool = False
    known: bool = True


@dataclass(frozen=True)
class Event:
    """What is to be kept, and delivered unless `silenced`.

    Parameters
    ----------
    kind
        "opened"; "told", where an open alert's silence has ended; or "closed".
    alert, rule, severity
        Which.
    value, threshold
        The measure, None where it is not known.
    message
        For people.
    at
        Seconds since 1970.
    silenced
        Whether nobody is to be told.
    """

    kind: Kind
    alert: str
    rule: str
    severity: str
    value: float | None
    threshold: float | None
    message: str
    at: float
    silenced: bool


def judge(
    rules: Iterable[Rule],
    measures: Mapping[str, float | None],
    states: Mapping[str, State],
    now: float,
    silences: Sequence[Silence] = (),
) -> tuple[list[Event], dict[str, State]]:
    """Look once.

    Parameters
    ----------
    rules, silences
        Of the settings.
    measures
        By name; None, NaN or infinity where there is no data.
    states
        By rule, of the look before.
    now
        Seconds since 1970.

    Returns
    -------
    What came of it, and what the rules remember. Alerts of rules that are no more are closed.
    """
    events: list[Event] = []
    after: dict[str, State] = {}
    for rule in rules:
        value = measures.get(rule.measure)
        value = float(value) if value is not None and math.isfinite(value) else None
        silent = any(silence.covers(rule.name, now) for silence in silences)
        after[rule.name], event = _step(rule, value, states.get(rule.name, State()), now, silent)
        events += [event] if event else []
    for name, state in states.items():
        if name not in after and state.alert:
            why = "over: the rule is no more"
            events.append(Event("closed", state.alert, name, state.severity, None, None, why, now, not state.told))
    return events, after


def _step(rule: Rule, value: float | None, before: State, now: float, silent: bool) -> tuple[State, Event | None]:
    state = _counted(rule, value, before)
    if not state.alert:
        if state.broken < rule.for_looks:
            return state, None
        alert = hashlib.sha256(f"{rule.name}\n{now!r}".encode()).hexdigest()[:32]
        state = replace(state, alert=alert, severity=rule.severity, told=not silent)
        return state, _event("opened", rule, state, value, now, silent)
    if state.cleared >= rule.clear_looks:
        # Who heard of the beginning hears of the end, silence or not; who did not does not.
        return State(known=state.known), _event("closed", rule, state, value, now, not state.told)
    if not state.told and not silent:
        return replace(state, told=True), _event("told", rule, state, value, now, silenced=False)
    return state, None


def _counted(rule: Rule, value: float | None, state: State) -> State:
    """Count the looks in a row; one without a value leaves the counts as they are, unless it is to open."""
    if value is None:
        if rule.missing == "keep":
            return replace(state, known=False)
        return replace(state, known=False, broken=state.broken + 1, cleared=0)
    broken = state.broken + 1 if rule.broken(value) else 0
    cleared = state.cleared + 1 if rule.cleared(value) and not rule.broken(value) else 0
    return replace(state, known=True, broken=broken, cleared=cleared)


def _event(kind: Kind, rule: Rule, state: State, value: float | None, now: float, silenced: bool) -> Event:
    message = rule.told(value)
    if kind == "closed":
        message = f"over: {message}" if value is None else f"over: {rule.measure} is {value:.4g}"
    return Event(kind, state.alert, rule.name, state.severity, value, rule.threshold, message, now, silenced)


def apply(
    store: MonitoringStore,
    rules: Sequence[Rule],
    measures: Mapping[str, float | None],
    now: float,
    *,
    silences: Sequence[Silence] = (),
    targets: Mapping[str, Target],
    service: str,
    apart_s: float = 0.0,
) -> list[Event]:
    """Look once, and keep what comes of it with the messages to be delivered: all or nothing, one at a time.

    Parameters
    ----------
    store
        Where to.
    rules, measures, now, silences
        As in `judge`.
    targets
        By name, who is told.
    service
        Its name, for the messages.
    apart_s
        A look that comes within so long of another's is none: two who watch do not count twice.

    Returns
    -------
    What came of it.

    Raises
    ------
    MonitoringError
        If the database is away.
    """
    with store.alone() as connection:
        found = {row.rule: row.state for row in connection.execute(select(RULES))}
        last = max((state["at"] for state in found.values()), default=-math.inf)
        if abs(now - last) < apart_s:
            return []
        fields = State.__dataclass_fields__
        states = {name: State(**{key: state[key] for key in fields}) for name, state in found.items()}
        events, after = judge(rules, measures, states, now, silences)
        connection.execute(RULES.delete())
        if after:
            rows = [{"rule": name, "state": {**asdict(state), "at": now}} for name, state in after.items()]
            connection.execute(insert(RULES), rows)
        for event in events:
            connection.execute(_kept(event))
        told = [event for event in events if not event.silenced]
        add_deliveries(connection, [_body(event, service) for event in told], targets, now)
    return events


def _kept(event: Event) -> Any:
    """Return the statement that writes an event into its alert."""
    if event.kind == "opened":
        return insert(ALERTS).values(
            id=event.alert,
            rule=event.rule,
            severity=event.severity,
            opened=event.at,
            value=event.value,
            message=event.message,
            silenced=event.silenced,
        )
    this = update(ALERTS).where(ALERTS.c.id == event.alert)
    return this.values(silenced=False) if event.kind == "told" else this.values(closed=event.at)


def _body(event: Event, service: str) -> dict[str, Any]:
    return {
        "alert": event.alert,
        "event": "closed" if event.kind == "closed" else "opened",
        "rule": event.rule,
        "severity": event.severity,
        "value": event.value,
        "threshold": event.threshold,
        "message": event.message,
        "at": event.at,
        "service": service,
    }


def firing(store: MonitoringStore) -> dict[str, int]:
    """Return how many alerts are open, by severity; those that are silenced too."""
    asked = select(ALERTS.c.severity, func.count().label("count_")).where(ALERTS.c.closed.is_(None))
    with store.begin() as connection:
        found = {row.severity: int(row.count_) for row in connection.execute(asked.group_by(ALERTS.c.severity))}
    return {severity: found.get(severity, 0) for severity in SEVERITIES}
