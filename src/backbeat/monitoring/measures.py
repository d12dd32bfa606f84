"""What rules judge by: numbers told from the rows, the corrections and the checks of the database.

Each is None where there is too little to tell it from. Corrections are what users chose to correct, mostly errors: an
accuracy by them is lower than that of all answers, and good for its changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Select, func, select

from backbeat.monitoring.performance import score_of
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import CHECKS, FEEDBACK, FULL, PREDICTIONS
from backbeat.settings import above_zero


@dataclass(frozen=True)
class MeasureSettings:
    """What measures are told from; ConfigError when a number leaves nothing.

    Parameters
    ----------
    window_s
        How far back rows count.
    most_rows
        The latest so many of them, for shares.
    least_rows
        With fewer, shares are not known.
    corrections_s, least_corrections
        The same for corrections.
    """

    window_s: float
    most_rows: int
    least_rows: int
    corrections_s: float
    least_corrections: int

    def __post_init__(self) -> None:
        above_zero("measures", self)


class _Look:
    """The database at a time, asked for what is needed, once."""

    def __init__(self, connection: Connection, settings: MeasureSettings, now: float) -> None:
        self._connection, self._settings, self.now = connection, settings, now

    @cached_property
    def check(self) -> tuple[float, dict[str, Any]] | None:
        """When drift was last looked for, and what was found."""
        found = self._connection.execute(select(CHECKS.c.at, CHECKS.c.verdict).order_by(CHECKS.c.id.desc())).first()
        return None if found is None else (found.at, found.verdict)

    @cached_property
    def measures(self) -> list[dict[str, Any]]:
        """Those of the latest rows; none where they are too few."""
        asked = (
            select(PREDICTIONS.c.measures)
            .where(FULL, PREDICTIONS.c.at >= self.now - self._settings.window_s)
            .order_by(PREDICTIONS.c.id.desc())
            .limit(self._settings.most_rows)
        )
        found = [row.measures for row in self._connection.execute(asked)]
        return found if len(found) >= self._settings.least_rows else []

    @cached_property
    def newest(self) -> float | None:
        """When the latest row came."""
        latest: float | None = self._connection.execute(select(func.max(PREDICTIONS.c.at))).scalar()
        return latest

    def rows_per_hour(self) -> float | None:
        """Rows of the window; not known of a database without any."""
        if self.newest is None:
            return None
        asked = select(func.count()).where(PREDICTIONS.c.at >= self.now - self._settings.window_s)
        return float(self._connection.execute(asked).scalar_one()) * 3600 / self._settings.window_s

    def estimated(self, name: str) -> float | None:
        """Return what the last check reckoned without labels."""
        value = ((self.check[1].get("estimated") or {}).get(name) or {}).get("value") if self.check else None
        return None if value is None else float(value)

    def corrected(self, task: str) -> float | None:
        """Return the mean score of the answers of a task that were corrected; the last correction of each counts."""
        asked: Select[Any] = select(FEEDBACK).where(
            FEEDBACK.c.task == task, FEEDBACK.c.at >= self.now - self._settings.corrections_s
        )
        latest = asked.order_by(FEEDBACK.c.at.desc()).limit(self._settings.most_rows)
        rows = [*self._connection.execute(latest)][::-1]
        answers = {(row.request_id, row.item): (row.answer.get("answer"), row.truth) for row in rows}
        scores = [score_of(task, answer, truth) for answer, truth in answers.values()]
        return _mean((one for one in scores if one is not None), least=self._settings.least_corrections)

    def share(self, told: Callable[[dict[str, Any]], bool | None]) -> float | None:
        """Return the share of the latest rows of which something is true, of those that tell."""
        values = [float(value) for row in self.measures if (value := told(row)) is not None]
        return _mean(values, least=self._settings.least_rows)


def _mean(values: Iterable[float], least: int) -> float | None:
    kept = list(values)
    return sum(kept) / len(kept) if len(kept) >= least else None


def _drift(look: _Look) -> float | None:
    drift = look.check[1].get("drift") if look.check else None
    return None if drift is None else float(drift)


def _drift_share(look: _Look) -> float | None:
    share = look.check[1].get("share") if look.check else None
    return None if share is None else float(share)


def _unsure(row: Mapping[str, Any]) -> bool | None:
    return None if row.get("genre_unsure") is None else bool(row["genre_unsure"])


#: What rules may name.
MEASURES: dict[str, Callable[[_Look], float | None]] = {
    "drift": _drift,
    "drift_share": _drift_share,
    "estimated_genre_accuracy": lambda look: look.estimated("genre_accuracy"),
    "estimated_beat_f": lambda look: look.estimated("beat_f"),
    "corrected_genre_accuracy": lambda look: look.corrected("genre"),
    "corrected_beat_f": lambda look: look.corrected("beat"),
    "rows_per_hour": lambda look: look.rows_per_hour(),
    "genre_unsure_share": lambda look: look.share(_unsure),
    "warnings_share": lambda look: look.share(lambda row: None if "warnings" not in row else bool(row["warnings"])),
    "check_age_s": lambda look: None if look.check is None else max(0.0, look.now - look.check[0]),
    "newest_row_age_s": lambda look: None if look.newest is None else max(0.0, look.now - look.newest),
}


def measure(
    store: MonitoringStore, names: Iterable[str], settings: MeasureSettings, now: float | None = None
) -> dict[str, float | None]:
    """Tell measures, of `MEASURES`, at a time.

    Raises
    ------
    MonitoringError
        If the database is away.
    """
    with store.begin() as connection:
        look = _Look(connection, settings, time.time() if now is None else now)
        return {name: MEASURES[name](look) for name in dict.fromkeys(names)}
