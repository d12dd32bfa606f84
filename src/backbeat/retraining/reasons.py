"""Whether there is a reason to train again: drift, corrections, what listeners did, age, or somebody who says so."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from backbeat.errors import ConfigError, RetrainingError

#: What is looked at, in this order.
DRIFT, CORRECTIONS, INTERACTIONS, SCHEDULE = "drift", "corrections", "interactions", "schedule"
LOOKED_AT = (DRIFT, CORRECTIONS, INTERACTIONS, SCHEDULE)


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
    checked
        Whether drift was ever looked for.
    unwatched
        Why monitoring could not be asked, in words; empty where it could.
    interactions
        Of listeners, since it was last decided on a challenger for listening; None where there is no catalogue.
    """

    decided: Mapping[str, datetime | None]
    drifted: datetime | None = None
    pending: int = 0
    checked: bool = True
    unwatched: str = ""
    interactions: int | None = None


@dataclass(frozen=True)
class Reasons:
    """What is reason enough.

    Parameters
    ----------
    max_age_days
        Days after which a champion is to be challenged again, without any other reason; 0 for never.
    min_corrections
        Corrections that are worth a training; 0 for never.
    min_interactions
        Interactions of listeners that are worth a training of listening; 0 for never.
    drift
        Whether drift is a reason.
    """

    max_age_days: float = 30.0
    min_corrections: int = 20
    min_interactions: int = 10_000
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
        One of `LOOKED_AT`, to look at that alone; any other words are a reason in themselves.
    force
        Not to look at anything.

    Raises
    ------
    RetrainingError
        If monitoring is all that is to be looked at, and cannot be asked.
    ConfigError
        If `because` is a misspelt name of what can be looked at.
    """
    near = difflib.get_close_matches(because.casefold(), LOOKED_AT, 1, 0.8)
    if near and because not in LOOKED_AT:
        raise ConfigError(f"--because {because}: did you mean {near[0]}? A reason in your own words has more of them")
    if signs.unwatched and because in (DRIFT, CORRECTIONS) and not force:
        raise RetrainingError(signs.unwatched)
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
    if signs.unwatched:
        return "", f"drift: {signs.unwatched}"
    if not signs.checked:
        return "", "nobody has looked for drift yet: `backbeat monitor` does, and `make drift`"
    if signs.drifted is None:
        return "", "the latest check found no drift"
    if since is not None and signs.drifted <= since:
        return "", f"drift was found before the last decision, of {_day(since)}; no check since then found any"
    return f"drift was found, {_day(signs.drifted)}", ""


def _corrections(signs: Signs, reasons: Reasons) -> tuple[str, str]:
    if not reasons.min_corrections:
        return "", "corrections are no reason by the settings"
    if signs.unwatched:
        return "", f"corrections: {signs.unwatched}"
    told = f"{signs.pending} new corrections, {reasons.min_corrections} are enough"
    return (told, "") if signs.pending >= reasons.min_corrections else ("", told)


def _interactions(signs: Signs, reasons: Reasons) -> tuple[str, str]:
    if not reasons.min_interactions:
        return "", "interactions are no reason by the settings"
    if "listening" not in signs.decided:
        return "", "interactions: listening is not among what is to be trained"
    if signs.interactions is None:
        return "", "interactions: there is no catalogue that keeps any"
    told = f"{signs.interactions} new interactions, {reasons.min_interactions} are enough"
    return (told, "") if signs.interactions >= reasons.min_interactions else ("", told)


def _schedule(signs: Signs, reasons: Reasons) -> tuple[str, str]:
    without = sorted(task for task, at in signs.decided.items() if at is None)
    if without:
        return f"no champion yet for {', '.join(without)}", ""
    if not reasons.max_age_days:
        return "", "age is no reason by the settings"
    oldest, task = min((at, task) for task, at in signs.decided.items() if at is not None)
    told = f"the champion for {task} was last decided on {_day(oldest)}, of {reasons.max_age_days:g} days allowed"
    return (told, "") if datetime.now(UTC) - oldest > timedelta(days=reasons.max_age_days) else ("", told)


_LOOKS = {DRIFT: _drift, CORRECTIONS: _corrections, INTERACTIONS: _interactions, SCHEDULE: _schedule}


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
