"""How well the answers do: drift, alerts, and what was served of late."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from backbeat.monitoring.feedback import corrections, pending
from backbeat.monitoring.performance import realised
from backbeat.monitoring.rows import Row
from backbeat.monitoring.store import MonitoringStore
from serving.routes.common import GUARDED, MonitoringThere, allowed, described

router = APIRouter(prefix="/v1", tags=["monitoring"])

_DAY_S = 86400.0
#: How far back corrections count.
_CORRECTED_S = 30 * _DAY_S


@router.get(
    "/monitoring/health",
    dependencies=[allowed("read")],
    openapi_extra=described([*GUARDED, "conflict", "not_ready"]),
)
async def health(monitoring: MonitoringThere) -> dict[str, Any]:
    """Tell whether the answers can be trusted: the last check for drift, open alerts, what came in the last day."""
    found: dict[str, Any] = await asyncio.to_thread(_health, monitoring)
    return found


def _health(monitoring: MonitoringStore) -> dict[str, Any]:
    checks = monitoring.checks(1)
    alerts = monitoring.alerts(open_only=True)
    rows, newest = monitoring.since(time.time() - _DAY_S)
    drift = checks[0]["verdict"]["drift"] if checks else None
    loud = [alert for alert in alerts if alert["severity"] != "info"]
    return {
        # Where nobody has looked, nothing is known.
        "status": "alert" if loud else "drift" if drift else "ok" if checks else "unchecked",
        "drift": drift,
        "checked_at": _time(checks[0]["at"]) if checks else None,
        "open_alerts": len(alerts),
        "predictions_last_day": rows,
        "last_prediction_at": _time(newest),
        "corrections_pending": pending(monitoring),
    }


@router.get(
    "/monitoring/drift",
    dependencies=[allowed("read")],
    openapi_extra=described([*GUARDED, "conflict", "not_ready"]),
)
async def drift(monitoring: MonitoringThere) -> dict[str, Any]:
    """Give the last verdict on drift, with every column's test, and how the checks before it ended."""
    checks = await asyncio.to_thread(monitoring.checks)
    history = [
        {
            "at": _time(check["at"]),
            **{name: check["verdict"].get(name) for name in ("drift", "rows", "share", "reason")},
        }
        for check in checks
    ]
    return {"last": checks[0]["verdict"] if checks else None, "history": history}


@router.get(
    "/monitoring/alerts",
    dependencies=[allowed("read")],
    openapi_extra=described([*GUARDED, "conflict", "not_ready", "wrong_value"]),
)
async def alerts(
    monitoring: MonitoringThere, open: Annotated[bool, Query(description="Only those that are open.")] = False
) -> dict[str, Any]:
    """List alerts, the latest first, with what became of their messages."""
    found = await asyncio.to_thread(lambda: monitoring.alerts(open_only=open))
    return {
        "alerts": [{**alert, "opened": _time(alert["opened"]), "closed": _time(alert["closed"])} for alert in found]
    }


@router.get(
    "/monitoring/metrics",
    dependencies=[allowed("read")],
    openapi_extra=described([*GUARDED, "conflict", "not_ready", "wrong_value"]),
)
async def metrics(
    monitoring: MonitoringThere, rows: Annotated[int, Query(ge=1, le=5000, description="How many of the latest.")] = 500
) -> dict[str, Any]:
    """Sum up what was served of late: means of the measures, shares of the genres, by which models, and how right.

    "realised" is by corrections, "estimated" by the models' confidence at the last look for drift.
    """
    return await asyncio.to_thread(_metrics, monitoring, rows)


def _metrics(monitoring: MonitoringStore, most: int) -> dict[str, Any]:
    checks = monitoring.checks(1)
    given = corrections(monitoring, since=time.time() - _CORRECTED_S)
    return {
        **_summary(monitoring.latest(most)),
        "estimated": checks[0]["verdict"].get("estimated") or {} if checks else {},
        "realised": {name: found.to_dict() for name, found in realised(given).items()},
    }


def _summary(rows: list[Row]) -> dict[str, Any]:
    numbers: dict[str, list[float]] = {}
    names: dict[str, dict[str, int]] = {}
    models: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, value in row.measures.items():
            if isinstance(value, str):
                counts = names.setdefault(name, {})
                counts[value] = counts.get(value, 0) + 1
            elif value is not None:
                numbers.setdefault(name, []).append(float(value))
        for task, lineage in row.models.items():
            counts, version = models.setdefault(task, {}), str(lineage.get("version"))
            counts[version] = counts.get(version, 0) + 1
    return {
        "predictions": len(rows),
        "from": _time(rows[0].at if rows else None),
        "to": _time(rows[-1].at if rows else None),
        "means": {name: round(sum(values) / len(values), 6) for name, values in sorted(numbers.items())},
        "counts": dict(sorted(names.items())),
        "models": models,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
