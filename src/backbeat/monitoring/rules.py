"""When somebody is told: rules over measures, with hysteresis, and hours of silence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from backbeat.errors import ConfigError
from backbeat.monitoring.measures import MEASURES

#: From the least to the most.
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
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
    severity: Severity
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
