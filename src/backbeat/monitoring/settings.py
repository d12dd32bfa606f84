"""How monitoring behaves: `conf/monitoring/default.yaml`, a file of one's own before it, variables before both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backbeat.errors import MonitoringError
from backbeat.monitoring.measures import MeasureSettings
from backbeat.monitoring.retention import RetentionSettings
from backbeat.monitoring.rules import Rule, Silence, check_rules
from backbeat.monitoring.store import DATABASE, MonitoringStore
from backbeat.monitoring.webhook import DeliverySettings, Target
from backbeat.settings import above_zero, conf_file, layered, read_settings

#: Names a file of settings, and begins the names of variables that are one.
VARIABLE = "BACKBEAT_MONITORING"


@dataclass(frozen=True)
class WatchSettings:
    """How often is looked; ConfigError when a number leaves nothing.

    Parameters
    ----------
    look_s
        Between two looks at the measures.
    check_rows, check_s
        New rows, or seconds, after which drift is looked for.
    window_rows, window_d
        The latest rows that it is looked for in, and how many days old at most.
    reference
        A file of a training reference; empty for the one of the models that come with the package.
    registry
        MLflow's tracking URI, whose runs keep the references of their models; empty for none.
    reports, keep_reports
        The folder of their reports, in the state, and how many stay.
    """

    look_s: float
    check_rows: int
    check_s: float
    window_rows: int
    window_d: float
    reference: str
    registry: str
    reports: str
    keep_reports: int

    def __post_init__(self) -> None:
        above_zero("watch", self, "look_s", "check_rows", "check_s", "window_rows", "window_d", "keep_reports")


@dataclass(frozen=True)
class MonitoringSettings:
    """All of it; see conf/monitoring/default.yaml."""

    state: str
    database: str = field(repr=False)
    service: str
    level: Literal["debug", "info", "warning", "error"]
    watch: WatchSettings
    drift: dict[str, Any]
    measures: MeasureSettings
    rules: list[Rule]
    silences: list[Silence]
    targets: dict[str, Target]
    delivery: DeliverySettings
    retention: RetentionSettings

    def __post_init__(self) -> None:
        check_rules(self.rules, self.silences)
        for name, target in self.targets.items():
            target.check(name)

    def place(self, name: str) -> Path:
        """Return where something of the state lies."""
        return Path(self.state) / name

    @property
    def there(self) -> bool:
        """Whether there is a database: one that is named is taken to be."""
        return bool(self.database) or self.place(DATABASE).is_file()

    def open_store(self, *, make: bool = True) -> MonitoringStore:
        """Open the database; errors as of `MonitoringStore`.

        Without `make`, MonitoringError where it is a file that is not there yet: nobody has served anything.
        """
        if not make and not self.there:
            raise MonitoringError(self.nothing_here())
        return MonitoringStore(self.database) if self.database else MonitoringStore.at(Path(self.state))

    def nothing_here(self) -> str:
        """Say that there is no database, and what to do."""
        return (
            f"{self.place(DATABASE)}: no service has kept records here; "
            f"name another folder in {VARIABLE}__STATE, or a database in {VARIABLE}__DATABASE"
        )


def default_file() -> Path:
    """Return the file that has every setting."""
    return conf_file("monitoring/default.yaml")


def load_monitoring(environment: Mapping[str, str] = os.environ) -> MonitoringSettings:
    """Read the settings.

    Raises
    ------
    ConfigError
        If a file cannot be read, or a setting is unknown or makes no sense.
    """
    return read_settings(MonitoringSettings, layered(default_file(), VARIABLE, environment))
