"""A look for drift: the latest rows against the reference of the models that answered, with a report of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from backbeat.monitoring.drift import DriftSettings
    from backbeat.monitoring.references import References

TASKS = ("beat", "onset", "genre")


def look_for_drift(
    rows: pd.DataFrame, references: References, settings: DriftSettings, folder: Path, *, evidently: bool = False
) -> dict[str, Any]:
    """Judge rows of `table_of`, write the report into a folder, and return the verdict as plain values.

    Beside what `Verdict.to_dict` has it says what the models' confidence lets expect of them ("estimated").

    Parameters
    ----------
    evidently
        Whether Evidently's own page is written as well.

    Raises
    ------
    MonitoringError
        If there is no reference, or it is damaged.
    ConfigError
        If the registry cannot be reached.
    """
    from backbeat.monitoring import drift, performance
    from backbeat.monitoring.drift_report import write_report

    reference = references.fitting(runs_of(rows))
    verdict = drift.check(rows, reference, settings)
    write_report(verdict, rows, reference, folder, evidently=evidently)
    estimated = performance.estimate(rows, reference) if len(rows) else {}
    return {**verdict.to_dict(), "estimated": {name: one.to_dict() for name, one in estimated.items()}}


def runs_of(rows: pd.DataFrame) -> dict[str, str | None]:
    """Return the run that gave most of the answers, by task; None where models were not tracked."""
    found: dict[str, str | None] = {}
    for task in TASKS:
        if f"{task}_run" in rows.columns:
            counts = Counter(run for run in rows[f"{task}_run"] if isinstance(run, str) and run)
            found[task] = counts.most_common(1)[0][0] if counts else None
    return found
