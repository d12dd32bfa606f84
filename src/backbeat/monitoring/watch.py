"""`backbeat monitor`: a process that looks at the measures, looks for drift, tells who is to be told, and tidies up.

Several may watch one database: one of them leads (`lead`), and another takes over when it ends. All deliver.
"""

from __future__ import annotations

import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from backbeat.errors import BackbeatError, ConfigError, MonitoringError
from backbeat.files import atomic_path
from backbeat.monitoring.alerts import apply
from backbeat.monitoring.lead import Lead
from backbeat.monitoring.measures import measure
from backbeat.monitoring.retention import retain
from backbeat.monitoring.rows import table_of
from backbeat.monitoring.settings import MonitoringSettings, default_file
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.webhook import add_test, deliver, next_due, outcome
from backbeat.settings import read_settings

if TYPE_CHECKING:
    import pandas as pd

_LOG = structlog.get_logger("backbeat.monitoring")
_DAY_S = 86400.0
#: After a check that failed it is tried again no sooner; the same for retention and a database that is away.
_AGAIN_S = 300.0
_AWAY_S = 2.0


class Check(Protocol):
    """Looks for drift."""

    def __call__(self, rows: pd.DataFrame, folder: Path) -> dict[str, Any]:
        """Return the verdict on rows (of `table_of`), with "rows" and "drift"; a report may be put in the folder."""


def drift_check(settings: MonitoringSettings) -> Check:
    """Return the check against the training reference; ConfigError where its settings make no sense."""
    import yaml

    from backbeat.monitoring.drift import DriftSettings
    from backbeat.monitoring.reference import shipped_reference
    from backbeat.monitoring.reference_finding import References

    own = yaml.safe_load(default_file().with_name("drift.yaml").read_text(encoding="utf-8"))["check"]
    asked = read_settings(DriftSettings, {**own, **settings.drift})

    watch = settings.watch
    if watch.reference and not Path(watch.reference).is_file():
        raise ConfigError(f"watch.reference: {watch.reference}: there is no such file")
    files = [Path(watch.reference)] if watch.reference else [shipped_reference()]
    references = References(files, watch.registry, settings.place("references"))

    def check(rows: pd.DataFrame, folder: Path) -> dict[str, Any]:
        from backbeat.monitoring.looking import look_for_drift

        return look_for_drift(rows, references, asked, folder)

    return check


class Monitor:
    """Watches one database.

    Parameters
    ----------
    settings
        How.
    check
        Looks for drift.
    """

    def __init__(self, settings: MonitoringSettings, check: Check) -> None:
        self._settings, self._check = settings, check
        self._store: MonitoringStore | None = None
        self._lead: Lead | None = None
        self._ending = threading.Event()
        self._away = False
        self._next_look = self._next_check = self._next_tidying = 0.0

    def end(self) -> None:
        """Leave off soon: for a signal's handler or another thread."""
        self._ending.set()

    def run(self) -> None:
        """Watch until `end` is called; a database that is away is waited for."""
        _LOG.info("monitor_begins", targets=sorted(name for name, one in self._settings.targets.items() if one.url))
        while not self._ending.is_set():
            try:
                wait_s = self._round()
                if self._away:
                    _LOG.info("database_back")
                self._away = False
            except MonitoringError as error:
                if not self._away:
                    _LOG.error("database_away", cause=str(error))
                self._away, wait_s = True, _AWAY_S
            self._ending.wait(wait_s)
        self.close()
        _LOG.info("monitor_ends")

    def once(self) -> bool:
        """Do all that is due, once; False where another leads, who does it.

        Raises
        ------
        MonitoringError
            If the database is away.
        """
        try:
            store, lead = self._opened()
            leads = lead.held()
            if leads:
                self._look(store)
                self._tidy(store)
            deliver(store, self._settings.targets, self._settings.delivery)
            return leads
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the database."""
        if self._lead is not None:
            self._lead.let_go()
        if self._store is not None:
            self._store.close()
        self._store = self._lead = None

    def _opened(self) -> tuple[MonitoringStore, Lead]:
        if self._store is None or self._lead is None:
            # Where a service is to keep its records, none is made for it: one that nobody writes to would be watched.
            self._store = self._settings.open_store(make=False)
            self._lead = Lead(self._store)
        return self._store, self._lead

    def _round(self) -> float:
        """Do what is due; return the seconds until something else is."""
        store, lead = self._opened()
        if time.monotonic() >= self._next_look:
            if lead.held():
                self._look(store)
            self._next_look = time.monotonic() + self._settings.watch.look_s
        deliver(store, self._settings.targets, self._settings.delivery)
        if time.monotonic() >= self._next_tidying:
            if lead.held():
                self._tidy(store)
            self._next_tidying = time.monotonic() + self._settings.retention.every_s
        due = next_due(store)
        wait_s = min(self._next_look, self._next_tidying) - time.monotonic()
        # Not at once again where another is about to deliver it.
        return max(0.1, min(wait_s, wait_s if due is None else due - time.time()))

    def _look(self, store: MonitoringStore) -> None:
        """Look for drift if that is due, then at the measures."""
        settings = self._settings
        if time.monotonic() >= self._next_check and self._check_is_due(store):
            self._look_for_drift(store)
        events = apply(
            store,
            settings.rules,
            measure(store, [rule.measure for rule in settings.rules], settings.measures),
            time.time(),
            silences=settings.silences,
            targets=settings.targets,
            service=settings.service,
            apart_s=settings.watch.look_s / 2,
        )
        for event in events:
            _LOG.info("alert_" + event.kind, rule=event.rule, alert=event.alert, silenced=event.silenced)

    def _check_is_due(self, store: MonitoringStore) -> bool:
        watch, last = self._settings.watch, store.checks(1)
        seen = last[0]["verdict"].get("last_row", 0) if last else 0
        new, _ = store.count(after=seen)
        old = not last or time.time() - last[0]["at"] >= watch.check_s
        # The first waits for rows, so that a service that nobody uses yet is not called unchecked.
        return new >= watch.check_rows or (old and (bool(last) or new > 0))

    def _look_for_drift(self, store: MonitoringStore) -> None:
        watch = self._settings.watch
        # Before the rows: what comes meanwhile is new to the next check.
        _, last_row = store.count()
        rows = table_of(store.latest(watch.window_rows, since=time.time() - watch.window_d * _DAY_S))
        begun = time.monotonic()
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        try:
            with atomic_path(self._settings.place(watch.reports) / name) as folder:
                folder.mkdir()
                verdict = {**self._check(rows, folder), "last_row": last_row, "report": name}
        except Exception as error:  # Evidently raises what it likes; the other duties go on
            self._next_check = time.monotonic() + min(_AGAIN_S, watch.check_s)
            cause = str(error) if isinstance(error, BackbeatError | OSError) else repr(error)
            _LOG.error("drift_not_checked", cause=" ".join(cause.split())[:500])
            return
        store.add_check(verdict)
        told = {name: verdict.get(name) for name in ("drift", "share", "reason")}
        _LOG.info("drift_checked", rows=verdict["rows"], seconds=round(time.monotonic() - begun, 2), **told)
        self._forget_reports()

    def _forget_reports(self) -> None:
        watch = self._settings.watch
        folders = sorted(one for one in self._settings.place(watch.reports).iterdir() if not one.name.startswith("."))
        for folder in folders[: -watch.keep_reports]:
            shutil.rmtree(folder, ignore_errors=True)

    def _tidy(self, store: MonitoringStore) -> None:
        begun = time.monotonic()
        done = retain(store, self._settings.retention, stopped=self._ending.is_set)
        if done.compacted or done.removed:
            seconds = round(time.monotonic() - begun, 2)
            _LOG.info("tidied", compacted=done.compacted, removed=done.removed, seconds=seconds)


def send_test(settings: MonitoringSettings) -> dict[str, str]:
    """Send a message to every target, once, by the way that alerts go; return what failed, by target, empty if nothing.

    Raises
    ------
    ConfigError
        If there is no target.
    MonitoringError
        If the database is away.
    """
    targets = {name: target for name, target in settings.targets.items() if target.url}
    if not targets:
        raise ConfigError("no target has a url: name one, BACKBEAT_MONITORING__TARGETS__TEAM='{url: ..., secret: ...}'")
    store = settings.open_store()
    try:
        alert = add_test(store, targets, settings.service)
        deliver(store, targets, settings.delivery)
        return outcome(store, alert)
    finally:
        store.close()
