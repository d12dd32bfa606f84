"""What Prometheus is told. Labels are routes and codes that are known beforehand, never what a caller sent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from prometheus_client import REGISTRY as PROCESS
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from serving.tracing import TRACER

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 5, 10, 30, 60, 300)

REQUESTS = Counter("backbeat_requests", "Requests answered", ["route", "method", "status"])
LATENCY = Histogram("backbeat_request_seconds", "From the first byte to the last", ["route"], buckets=_SECONDS)
STAGES = Histogram("backbeat_stage_seconds", "Of one stage of a request", ["stage"], buckets=_SECONDS)
BATCHES = Histogram("backbeat_batch_windows", "Windows that went through a network together", ["task"],
                    buckets=(1, 2, 4, 8, 16, 32, 64))  # fmt: skip
ERRORS = Counter("backbeat_errors", "Errors answered, by their code", ["code"])
AT_WORK = Gauge("backbeat_requests_at_work", "Requests with audio at work", multiprocess_mode="livesum")
WAITING = Gauge("backbeat_requests_waiting", "Requests with audio that wait their turn", multiprocess_mode="livesum")
AUDIO = Counter("backbeat_audio_seconds", "Seconds of audio heard")
MODEL = Gauge("backbeat_model_info", "The models in use", ["task", "name", "version"], multiprocess_mode="livemax")
MODEL_CHANGES = Counter("backbeat_model_changes", "Models that took over, or were refused", ["outcome"])
JOBS = Gauge("backbeat_jobs", "Jobs that wait and run", ["kind", "state"], multiprocess_mode="livemax")
CACHE = Counter("backbeat_cache_lookups", "Stems asked for, by the level that was asked", ["level", "outcome"])
CHOSEN = Counter("backbeat_recommendations", "Beats and tracks recommended", ["kind", "method"])
INTERACTIONS = Counter("backbeat_interactions", "What listeners did, as it was reported", ["outcome"])
CATALOGUE = Gauge(
    "backbeat_catalogue_items", "Tracks and beats of the catalogue", ["kind"], multiprocess_mode="livemax"
)
RECORDS = Counter("backbeat_records", "Rows of what was served", ["outcome"])
DRIFT = Gauge("backbeat_drift", "1 where the last check found drift", multiprocess_mode="livemax")
DRIFT_SHARE = Gauge("backbeat_drift_share", "Share of the measures that drift", multiprocess_mode="livemax")
DRIFT_CHECKED = Gauge("backbeat_drift_checked_timestamp_seconds", "When drift was last looked for",
                      multiprocess_mode="livemax")  # fmt: skip
ALERTS = Gauge("backbeat_alerts_open", "Alerts that are open", ["severity"], multiprocess_mode="livemax")
CORRECTIONS = Gauge("backbeat_corrections_pending", "Corrections not learnt from yet", multiprocess_mode="livemax")
MEMORY = Gauge("backbeat_memory_bytes", "Resident memory of the processes", multiprocess_mode="livesum")
GPU_MEMORY = Gauge("backbeat_gpu_memory_bytes", "Memory of the GPU in use", multiprocess_mode="livesum")


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a stage, in the metrics and the traces."""
    begun = time.perf_counter()
    try:
        with TRACER.start_as_current_span(name):
            yield
    finally:
        STAGES.labels(name).observe(time.perf_counter() - begun)


def exposition() -> bytes:
    """Return all metrics of all processes of the service, as Prometheus reads them."""
    process = psutil.Process()
    children = process.children(recursive=True)
    used = 0
    for one in (process, *children):
        try:
            used += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    MEMORY.set(used)
    _ask_gpu()
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        if not Path(folder).is_dir():
            return b""
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(PROCESS)


def _ask_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        GPU_MEMORY.set(torch.cuda.memory_allocated())
