"""What `make drift` does: hold the latest traffic against the reference, write the report, keep the verdict.

Exit code 0: no drift; 4: drift; 5: too little traffic to judge; 1: an error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from backbeat.errors import ConfigError
from backbeat.monitoring.drift import DriftSettings, Verdict, check
from backbeat.monitoring.drift_report import PAGE, write_report
from backbeat.monitoring.reference import REFERENCE, Reference, shipped_reference
from backbeat.monitoring.rows import table_of
from backbeat.monitoring.store import MonitoringStore
from pipelines.settings import read, stage

#: By the verdict's `drift`.
EXIT_CODES = {False: 0, True: 4, None: 5}
#: Names the database, before the configuration does.
VARIABLE = "BACKBEAT_MONITORING__DATABASE"
_DAY_S = 86400.0


@dataclass(frozen=True)
class Traffic:
    """What is looked at.

    Parameters
    ----------
    database
        URL of the monitoring database; empty for `monitoring.db` in `state`.
    state
        The folder that the service keeps its state in.
    rows
        The latest rows, at most.
    days
        None that are older.
    evidently
        Whether to write Evidently's own page as well.
    """

    database: str
    state: str
    rows: int
    days: float
    evidently: bool

    def __post_init__(self) -> None:
        if self.rows < 1 or not self.days > 0:
            raise ConfigError("drift.traffic: rows must be 1 or more, and days above 0")

    def open(self) -> MonitoringStore:
        """Open the database; ConfigError where there is none yet."""
        if url := os.environ.get(VARIABLE) or self.database:
            return MonitoringStore(url)
        if not (Path(self.state) / "monitoring.db").is_file():
            raise ConfigError(
                f"{self.state}: no monitoring database here yet; the service makes one, or name another in {VARIABLE}"
            )
        return MonitoringStore.at(Path(self.state))


def judge_traffic(
    store: MonitoringStore, traffic: Traffic, settings: DriftSettings, references: Sequence[Path], folder: Path
) -> Verdict:
    """Judge the latest rows of a database, write the report into `folder`, and keep the verdict.

    Parameters
    ----------
    references
        Files; of those that are there, the one of the models that answered is taken.
    """
    latest = store.latest(traffic.rows, since=time.time() - traffic.days * _DAY_S)
    runs = {task: thread.get("run") for row in latest for task, thread in row.models.items()}
    reference = Reference.fitting(references, runs)
    rows = table_of(latest)
    verdict = check(rows, reference, settings)
    write_report(verdict, rows, reference, folder, evidently=traffic.evidently)
    store.add_check(verdict.to_dict())
    return verdict


@stage
def main(config: DictConfig) -> None:
    traffic = read(Traffic, config.drift.traffic)
    settings = read(DriftSettings, config.drift.check)
    references = [Path(config.paths.reference) / REFERENCE, shipped_reference()]
    folder = Path(config.paths.reports) / "drift"
    store = traffic.open()
    try:
        verdict = judge_traffic(store, traffic, settings, references, folder)
    finally:
        store.close()
    told = {True: "drift", False: "no drift", None: "not judged"}[verdict.drift]
    print(f"{told} in {verdict.rows} files: {verdict.reason} ({folder / PAGE})", flush=True)
    sys.exit(EXIT_CODES[verdict.drift])


if __name__ == "__main__":
    main()
