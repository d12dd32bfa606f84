"""What `make drift` does: hold the latest traffic against the reference, write the report, keep the verdict.

Exit code 0: no drift; 4: drift; 5: too little traffic to judge; 1: an error.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from backbeat.errors import ConfigError
from backbeat.monitoring.drift import DriftSettings
from backbeat.monitoring.drift_report import PAGE
from backbeat.monitoring.looking import look_for_drift
from backbeat.monitoring.reference import REFERENCE, shipped_reference
from backbeat.monitoring.reference_finding import References
from backbeat.monitoring.rows import table_of
from backbeat.monitoring.settings import load_monitoring
from backbeat.tracking import Tracking
from pipelines.settings import read, stage

#: By the verdict's `drift`.
EXIT_CODES = {False: 0, True: 4, None: 5}
_DAY_S = 86400.0


@dataclass(frozen=True)
class Traffic:
    """What is looked at.

    Parameters
    ----------
    rows
        The latest rows, at most.
    days
        None that are older.
    evidently
        Whether to write Evidently's own page as well.
    """

    rows: int
    days: float
    evidently: bool

    def __post_init__(self) -> None:
        if self.rows < 1 or not self.days > 0:
            raise ConfigError("drift.traffic: rows must be 1 or more, and days above 0")


@stage
def main(config: DictConfig) -> None:
    traffic, paths = read(Traffic, config.drift.traffic), config.paths
    settings, monitoring = read(DriftSettings, config.drift.check), load_monitoring()
    files = [Path(paths.reference) / REFERENCE, shipped_reference()]
    references = References(files, read(Tracking, config.tracking).uri, monitoring.place("references"))
    folder = Path(paths.reports) / "drift"
    store = monitoring.open_store(make=False)
    try:
        rows = table_of(store.latest(traffic.rows, since=time.time() - traffic.days * _DAY_S))
        verdict = look_for_drift(rows, references, settings, folder, evidently=traffic.evidently)
        store.add_check(verdict)
    finally:
        store.close()
    told = {True: "drift", False: "no drift", None: "not judged"}[verdict["drift"]]
    print(f"{told} in {verdict['rows']} files: {verdict['reason']} ({folder / PAGE})", flush=True)
    sys.exit(EXIT_CODES[verdict["drift"]])


if __name__ == "__main__":
    main()
