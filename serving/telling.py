"""What Prometheus is told of monitoring: read from its database every few seconds, beside the requests."""

from __future__ import annotations

from backbeat.monitoring.alerts import firing
from backbeat.monitoring.feedback import pending
from backbeat.monitoring.store import MonitoringStore
from serving import metrics
from serving.beside import Beside
from serving.records import store_of
from serving.settings import Settings

_EVERY_S = 10.0


class Teller:
    """Keeps the gauges of drift, alerts and corrections true, until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: MonitoringStore | None = None
        self._beside = Beside("backbeat-telling", self._look, _EVERY_S, "monitoring_away")

    def start(self) -> None:
        """Begin, in a thread; where nothing is recorded, do nothing."""
        if self._settings.monitoring.records:
            self._beside.start()

    def stop(self) -> None:
        """End."""
        self._beside.stop()

    def _look(self) -> None:
        if self._store is None:
            self._store = store_of(self._settings)
        tell(self._store)


def tell(store: MonitoringStore) -> None:
    """Set the gauges by what a database says; MonitoringError where it is away."""
    metrics.CORRECTIONS.set(pending(store))
    for severity, count in firing(store).items():
        metrics.ALERTS.labels(severity).set(count)
    for check in store.checks(1):
        verdict = check["verdict"]
        metrics.DRIFT_CHECKED.set(check["at"])
        # A window that was too small says nothing: what was found before holds.
        if verdict["drift"] is not None:
            metrics.DRIFT.set(int(verdict["drift"]))
            metrics.DRIFT_SHARE.set(verdict["share"])
