"""A look for drift: the latest rows against the reference of the models that answered, with a report of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbeat.analysis.result import TASKS

if TYPE_CHECKING:
    import pandas as pd

    from backbeat.monitoring.drift import DriftSettings
    from backbeat.monitoring.reference_finding import References


def look_for_drift(
    rows: pd.DataFrame, references: References, settings: DriftSettings, folder: Path, *, evidently: bool = False
) -> dict[str, Any]:
    """Judge rows of `table_of`, write the report into a folder, and return what both say, as `drift_report.plain`.

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
    from backbeat.monitoring.drift_report import plain, write_report

    reference = references.fitting(runs_of(rows))
    verdict = drift.check(rows, reference, settings)
    estimated = performance.estimate(rows, reference) if len(rows) else {}
    write_report(verdict, estimated, rows, reference, folder, evidently=evidently)
    return plain(verdict, estimated)


def runs_of(rows: pd.DataFrame) -> dict[str, str | None]:
    """Return the run that gave most of the answers, by task; None where models were not tracked."""
    found: dict[str, str | None] = {}
    for task in TASKS:
        if f"{task}_run" in rows.columns:
            counts = Counter(run for run in rows[f"{task}_run"] if isinstance(run, str) and run)
            found[task] = counts.most_common(1)[0][0] if counts else None
    return found
