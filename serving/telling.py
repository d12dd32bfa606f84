"""What Prometheus is told of monitoring: read from its database every few seconds, beside the requests."""

from __future__ import annotations

import threading

import structlog

from backbeat.errors import BackbeatError
from backbeat.monitoring.alerts import firing
from backbeat.monitoring.feedback import pending
from backbeat.monitoring.store import MonitoringStore
from serving import metrics
from serving.records import store_of
from serving.settings import Settings

_LOG = structlog.get_logger("serving.telling")
_EVERY_S = 10.0


class Teller:
    """Keeps the gauges of drift, alerts and corrections true, until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: MonitoringStore | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="backbeat-telling", daemon=True)

    def start(self) -> None:
        """Begin, in a thread; where nothing is recorded, do nothing."""
        if self._settings.monitoring.records:
            self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(15)

    def _work(self) -> None:
        away = False
        while not self._stopping.is_set():
            try:
                if self._store is None:
                    self._store = store_of(self._settings)
                tell(self._store)
                away = False
            except BackbeatError as error:
                if not away:
                    _LOG.error("monitoring_away", message=str(error))
                away = True
            except Exception:
                _LOG.exception("fault")
            self._stopping.wait(_EVERY_S)


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
