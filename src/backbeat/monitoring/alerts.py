"""When somebody is told: rules over measures, with hysteresis and hours of silence.

`judge` is pure: rules, measures and what the rules remember give events and what they remember next. `apply` does that
in one transaction with the alerts and with the messages to be delivered (a transactional outbox), and one at a time: a
process that is killed loses no alert, and two of them open none twice.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import func, insert, select, update

from backbeat.errors import ConfigError
from backbeat.monitoring.measures import MEASURES
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import ALERTS, RULES
from backbeat.monitoring.webhook import Target, add_deliveries

#: From the least to the most.
SEVERITIES = ("info", "warning", "critical")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MESSAGE = "{measure} is {value}, {side} {threshold}"
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Rule:
    """When an alert opens, and when it closes; ConfigError when it makes no sense.

    Parameters
    ----------
    name, measure, severity
        `measure` is one of `measures.MEASURES`.
    above, below
        The threshold, one of the two: the rule is broken by a value beyond it.
    clear
        What a value must come back to before the alert closes; the threshold itself when left out.
    for_looks, clear_looks
        For so many looks in a row the rule must be broken before the alert opens, cleared before it closes.
    missing
        "keep": a look without a value changes nothing; "open": it counts as one that breaks the rule.
    message
        May have {rule}, {measure}, {value}, {threshold}, {side} ("above" or "below") and {severity}.
    """

    name: str
    measure: str
    severity: Literal["info", "warning", "critical"]
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    for_looks: int = 1
    clear_looks: int = 1
    missing: Literal["keep", "open"] = "keep"
    message: str = _MESSAGE

    def __post_init__(self) -> None:
        where = f"rule {self.name!r}"
        if not self.name or len(self.name) > _LONGEST_NAME:
            raise ConfigError(f"{where}: a name has 1 to {_LONGEST_NAME} characters")
        if self.measure not in MEASURES:
            raise ConfigError(f"{where}: there is no measure {self.measure!r}; there are {', '.join(sorted(MEASURES))}")
        if (self.above is None) == (self.below is None):
            raise ConfigError(f"{where}: give either above or below")
        if not all(math.isfinite(one) for one in (self.threshold, self.cleared_at)):
            raise ConfigError(f"{where}: a threshold is a number")
        if self.above is not None and self.cleared_at > self.above:
            raise ConfigError(f"{where}: clear must not be above {self.above:g}, or it would open and close at once")
        if self.below is not None and self.cleared_at < self.below:
            raise ConfigError(f"{where}: clear must not be below {self.below:g}, or it would open and close at once")
        if self.for_looks < 1 or self.clear_looks < 1:
            raise ConfigError(f"{where}: for_looks and clear_looks are 1 or more")
        try:
            self.told(None)
        except (KeyError, IndexError, ValueError, AttributeError):
            raise ConfigError(
                f"{where}: the message may have {{rule}}, {{measure}}, {{value}}, {{threshold}}, {{side}}, {{severity}}"
            ) from None

    @property
    def threshold(self) -> float:
        """What a value must not be beyond."""
        return self.above if self.above is not None else self.below if self.below is not None else math.nan

    @property
    def cleared_at(self) -> float:
        """What a value must come back to."""
        return self.threshold if self.clear is None else self.clear

    def broken(self, value: float) -> bool:
        """Tell whether a value is beyond the threshold."""
        return value > self.threshold if self.above is not None else value < self.threshold

    def cleared(self, value: float) -> bool:
        """Tell whether a value has come back."""
        return value <= self.cleared_at if self.above is not None else value >= self.cleared_at

    def told(self, value: float | None) -> str:
        """Return the message of a value, None for no data."""
        return self.message.format(
            rule=self.name,
            measure=self.measure,
            value="not known" if value is None else f"{value:.4g}",
            threshold=f"{self.threshold:.4g}",
            side="above" if self.above is not None else "below",
            severity=self.severity,
        )


@dataclass(frozen=True)
class Silence:
    """When alerts are kept but not delivered: hours of some weekdays, or once; ConfigError when it makes no sense.

    Parameters
    ----------
    rules
        Whose; of all rules where empty.
    weekdays
        "mon" to "sun", on which the hours begin; every day where empty.
    begin, end
        "22:00", "07:00": wall-clock time of `zone`, the end not included. They may cross midnight; the same twice is a
        whole day. What the clocks leave out in spring is no time, what they repeat in autumn is silent twice.
    zone
        By the IANA database: "Europe/Berlin".
    since, until
        Of one that is once, with their offset: "2026-12-24T18:00:00+01:00".
    """

    rules: list[str]
    weekdays: tuple[str, ...] = ()
    begin: str = ""
    end: str = ""
    zone: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        once = self.since is not None and self.until is not None
        if once == bool(self.begin and self.end and self.zone) or (self.since is None) != (self.until is None):
            raise ConfigError("silences: give begin, end and zone, or since and until")
        if self.since is not None and self.until is not None:
            if self.since.tzinfo is None or self.until.tzinfo is None:
                raise ConfigError("silences: since and until need their offset: 2026-12-24T18:00:00+01:00")
            if self.until <= self.since:
                raise ConfigError("silences: until must come after since")
            return
        for day in self.weekdays:
            if day not in _WEEKDAYS:
                raise ConfigError(f"silences: {day!r} is no weekday; write {', '.join(_WEEKDAYS)}")
        for text in (self.begin, self.end):
            _minutes(text)
        try:
            ZoneInfo(self.zone)
        except (OSError, ValueError, KeyError):
            raise ConfigError(f"silences: {self.zone!r} is no time zone; write Europe/Berlin, say") from None

    def covers(self, rule: str, now: float) -> bool:
        """Tell whether a rule is silent at a time, in seconds since 1970."""
        if self.rules and rule not in self.rules:
            return False
        if self.since is not None and self.until is not None:
            return self.since.timestamp() <= now < self.until.timestamp()
        local = datetime.fromtimestamp(now, ZoneInfo(self.zone))
        minute, begin, end = local.hour * 60 + local.minute, _minutes(self.begin), _minutes(self.end)
        today, yesterday = self._on(local), self._on(local - timedelta(days=1))
        if begin < end:
            return today and begin <= minute < end
        return (today and minute >= begin) or (yesterday and minute < end)

    def _on(self, day: datetime) -> bool:
        return not self.weekdays or _WEEKDAYS[day.weekday()] in self.weekdays


def _minutes(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    if colon and len(minutes) == 2 and (hours + minutes).isdecimal() and int(hours) < 24 and int(minutes) < 60:
        return int(hours) * 60 + int(minutes)
    raise ConfigError(f'silences: {text!r} is no time of day; write "22:00", with quotation marks')


def check_rules(rules: Sequence[Rule], silences: Sequence[Silence]) -> None:
    """Refuse two rules of one name, and silences of rules that there are not (ConfigError)."""
    names = [rule.name for rule in rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"there are two rules {twice[0]!r}")
    if unknown := sorted({name for silence in silences for name in silence.rules} - set(names)):
        raise ConfigError(f"silences: there is no rule {unknown[0]!r}; there are {', '.join(names)}")


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

    kind: Literal["opened", "told", "closed"]
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


def _event(
    kind: Literal["opened", "told", "closed"], rule: Rule, state: State, value: float | None, now: float, silenced: bool
) -> Event:
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
