"""What a check leaves: a page, a verdict, an estimate; and `python -m pipelines.drift` with its exit codes."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from monitored import RUNS, measures, reference, settings, traffic

from backbeat.errors import MonitoringError
from backbeat.monitoring.comparing import direct
from backbeat.monitoring.drift import check
from backbeat.monitoring.drift_report import write_report
from backbeat.monitoring.feedback import Correction
from backbeat.monitoring.looking import look_for_drift
from backbeat.monitoring.performance import beat_f, estimate, realised
from backbeat.monitoring.reference import REFERENCE
from backbeat.monitoring.reference_finding import References
from backbeat.monitoring.rows import Row, table_of
from backbeat.monitoring.settings import load_monitoring
from backbeat.monitoring.store import MonitoringStore
from backbeat.music import Beats
from pipelines.drift import EXIT_CODES

ROOT = Path(__file__).resolve().parents[2]
BEFORE = reference()


def report(rows: pd.DataFrame, folder: Path, *, evidently: bool = False) -> Path:
    verdict, estimated = check(rows, BEFORE, settings(), direct), estimate(rows, BEFORE)
    return write_report(verdict, estimated, rows, BEFORE, folder, evidently=evidently)


def test_the_page_begins_with_the_verdict_and_shows_what_changed(tmp_path: Path) -> None:
    rows = traffic(150, 1, quieter_db=8)
    rows["codec"] = "<b>opus</b>"
    page = report(rows, tmp_path).read_text()
    text = re.sub(r"data:image[^\"]*", "", page)
    assert text.index("<h1") < text.index(">Drift<") < text.index("3 of 9 input columns") < text.index("<table")
    pictures = re.findall(r'alt="([a-z_]+): reference and now"', text)
    assert set(pictures) == {"loudness_lufs", "level", "codec"}
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "<b>opus</b>" not in page
    assert "http" not in text
    assert "do not build on this" in page
    assert len(page) < 500_000
    told = json.loads((tmp_path / "drift.json").read_text())
    assert told["drift"] is True
    assert told["estimated"]["genre_accuracy"]["count"] == 150
    assert not (tmp_path / "evidently.html").exists()


def test_a_page_without_drift_and_one_without_a_verdict(tmp_path: Path) -> None:
    rows = traffic(150, 2)
    page = report(rows, tmp_path, evidently=True).read_text()
    assert ">No drift<" in page
    assert "<figure" not in page
    assert 'href="evidently.html"' in page
    assert (tmp_path / "evidently.html").stat().st_size > 1e6
    few = traffic(5, 2)
    page = report(few, tmp_path / "few").read_text()
    assert ">Not judged<" in page
    assert "too few files to judge: 5" in page


def test_confidence_gives_the_accuracy_to_be_expected() -> None:
    before = reference(2000, 3)
    found = estimate(traffic(400, 4), before)
    # The reference is right as often as it is sure: a beta distribution of mean 2/3; and 5/7.
    assert found["genre_accuracy"].low < 2 / 3 < found["genre_accuracy"].high
    assert found["beat_f"].low < 5 / 7 < found["beat_f"].high
    assert 0.02 < found["genre_accuracy"].high - found["genre_accuracy"].low < 0.1
    unsure = traffic(400, 4)
    unsure["genre_probability"] = 0.3
    assert estimate(unsure, before)["genre_accuracy"].high < 0.55


def test_without_confidence_or_truth_there_is_no_estimate() -> None:
    rows = traffic(50, 5).drop(columns=["genre_probability"])
    found = estimate(rows, BEFORE)
    assert found["genre_accuracy"].count == 0
    assert np.isnan(found["genre_accuracy"].value)
    assert found["beat_f"].count == 50
    few = reference(20)
    assert estimate(rows, few)["beat_f"].count == 0


def test_corrections_give_what_was_realised() -> None:
    times_s = np.arange(6.0, 30.0, 0.5)
    truth = {"beats": [[float(time_s), None] for time_s in times_s]}

    def corrected(task: str, answer: Any, right: dict[str, Any]) -> Correction:
        number = next(numbers)
        return Correction(f"request-{number}", 0, task, right, {"answer": answer}, "ann", "", "00", "00.wav")

    numbers = iter(range(9))
    twice = corrected("genre", "rock", {"label": "jazz"})  # and then said better
    given = [
        twice,
        replace(twice, truth={"label": "rock"}),
        corrected("genre", "jazz", {"label": "rock"}),
        corrected("genre", None, {"label": "rock"}),  # the row is gone
        corrected("beat", times_s.tolist(), truth),
        corrected("beat", (times_s + 0.25).tolist(), truth),
        corrected("beat", [1.0, 1.0], truth),
    ]
    found = realised(given)
    assert (found["genre_accuracy"].value, found["genre_accuracy"].count) == (0.5, 2)
    assert (found["beat_f"].value, found["beat_f"].count) == (pytest.approx(0.5), 2)
    assert beat_f(Beats(times_s), []) == 0.0
    assert realised([])["beat_f"].count == 0


def served(count: int, seed: int, quieter_db: float = 0.0) -> list[Row]:
    random = np.random.default_rng(seed)
    models = {task: {"version": "0.1.0", "run": run} for task, run in RUNS.items()}
    now = time.time()
    return [
        Row(f"{seed}-{n}", 0, "/v1/analyze", f"{seed}-{n}", models, measures(random, quieter_db),
            embedding=random.normal(size=8).astype(np.float32), at=now)
        for n in range(count)
    ]  # fmt: skip


def test_the_latest_traffic_is_judged_and_the_verdict_kept(tmp_path: Path) -> None:
    BEFORE.write(tmp_path / REFERENCE)
    store = MonitoringStore(f"sqlite:///{tmp_path}/monitoring.db")
    references = References([tmp_path / REFERENCE], "", tmp_path)

    def look(name: str) -> dict[str, Any]:
        return look_for_drift(table_of(store.latest(150)), references, settings(), tmp_path / name)

    store.add(served(60, 1))
    few = look("few")
    assert (few["drift"], few["rows"]) == (None, 60)
    store.add(served(90, 2))
    same = look("same")
    assert same["drift"] is False
    assert json.loads((tmp_path / "same/drift.json").read_text())["drift"] is False
    store.add(served(150, 3, quieter_db=10))
    command = [sys.executable, "-m", "pipelines.drift", f"paths.reference={tmp_path}", f"paths.reports={tmp_path}"]
    environment = {**os.environ, "BACKBEAT_MONITORING__DATABASE": f"sqlite:///{tmp_path}/monitoring.db"}
    done = subprocess.run(
        [*command, "drift.traffic.rows=150", "tracking=none"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (4, False), done.stderr
    assert done.stdout.startswith("drift in 150 files: drifted: 2 of 9 input columns")
    assert [found["verdict"]["drift"] for found in store.checks()] == [True]
    assert ">Drift<" in (tmp_path / "drift/drift.html").read_text()
    store.close()


def test_without_a_database_the_pipeline_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MonitoringError, match="no service has kept records here; name another"):
        load_monitoring({"BACKBEAT_MONITORING__STATE": str(tmp_path)}).open_store(make=False)
    assert EXIT_CODES == {False: 0, True: 4, None: 5}
