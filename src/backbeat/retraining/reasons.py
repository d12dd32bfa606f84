"""Whether there is a reason to train again: drift, age, corrections, or somebody who says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

#: What is looked at, in this order.
DRIFT, CORRECTIONS, SCHEDULE = "drift", "corrections", "schedule"
LOOKED_AT = (DRIFT, CORRECTIONS, SCHEDULE)


@dataclass(frozen=True)
class Signs:
    """What there is to decide by.

    Parameters
    ----------
    decided
        By task, when a challenger was last promoted or refused, or the champion was registered, in UTC; None for a
        task that has no champion.
    drifted
        When the latest check for drift was made, in UTC, if it found drift; else None.
    pending
        Corrections that no corpus has yet.
    """

    decided: Mapping[str, datetime | None]
    drifted: datetime | None = None
    pending: int = 0


@dataclass(frozen=True)
class Reasons:
    """What is reason enough.

    Parameters
    ----------
    max_age_days
        Days after which a champion is to be challenged again, without any other reason; 0 for never.
    min_corrections
        Corrections that are worth a training; 0 for never.
    drift
        Whether drift is a reason.
    """

    max_age_days: float = 30.0
    min_corrections: int = 20
    drift: bool = True


@dataclass(frozen=True)
class Finding:
    """What was found.

    Parameters
    ----------
    why
        The reason to train, in words; empty for none.
    looked
        What was looked at and found wanting, a sentence each.
    """

    why: str
    looked: list[str] = field(default_factory=list)


def find_reason(signs: Signs, reasons: Reasons, because: str = "", *, force: bool = False) -> Finding:
    """Return the reason to train again, if there is one.

    Parameters
    ----------
    because
        "drift", "corrections" or "schedule" to look at that alone; any other words are a reason in themselves.
    force
        Not to look at anything.
    """
    if force or (because and because not in LOOKED_AT):
        return Finding(because if because and because not in LOOKED_AT else f"forced{because and f', {because}'}")
    found, looked = [], []
    for name in [because] if because else LOOKED_AT:
        why, wanting = _LOOKS[name](signs, reasons)
        found += [why] if why else []
        looked += [] if why else [wanting]
    return Finding("; ".join(found), looked)


def _drift(signs: Signs, reasons: Reasons) -> tuple[str, str]:
    since = max((at for at in signs.decided.values() if at is not None), default=None)
    if not reasons.drift:
        return "", "drift is no reason by the settings"
    if signs.drifted is None:
        return "", "the latest check found no drift"
    if since is not None and signs.drifted <= since:
        return "", f"drift was found before the last decision, of {_day(since)}; no check since then found any"
    return f"drift was found, {_day(signs.drifted)}", ""


def _corrections(signs: Signs, reasons: Reasons) -> tuple[str, str]:
    if not reasons.min_corrections:
        return "", "corrections are no reason by the settings"
    told = f"{signs.pending} new corrections, {reasons.min_corrections} are enough"
    return (told, "") if signs.pending >= reasons.min_corrections else ("", told)


def _schedule(signs: Signs, reasons: Reasons) -> tuple[str, str]:
    without = sorted(task for task, at in signs.decided.items() if at is None)
    if without:
        return f"no champion yet for {', '.join(without)}", ""
    if not reasons.max_age_days:
        return "", "age is no reason by the settings"
    oldest, task = min((at, task) for task, at in signs.decided.items() if at is not None)
    told = f"the champion for {task} was last decided on {_day(oldest)}, of {reasons.max_age_days:g} days allowed"
    return (told, "") if datetime.now(UTC) - oldest > timedelta(days=reasons.max_age_days) else ("", told)


_LOOKS = {DRIFT: _drift, CORRECTIONS: _corrections, SCHEDULE: _schedule}


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
