"""What is said on a pull request about scores and decisions."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backbeat.errors import ConfigError, CorpusError
from pipelines import comment
from pipelines.comment import Change, changes, read_changes, read_decisions

DIFFERENCES = {
    "reports/metrics/genre.json": {
        "calibration_error": {"old": 0.05, "new": 0.03, "diff": -0.02},
        "accuracy": {"old": 0.9, "new": 0.85, "diff": -0.05},
        "macro_f1": {"old": 0.8, "new": 0.8, "diff": 0.0},
        "tracks": {"old": 10, "new": 12, "diff": 2},
    },
    "reports/metrics/beat.json": {"beat_f": {"old": None, "new": 0.912}},
    "reports/metrics/unknown.json": {"beat_f": {"old": 0.1, "new": 0.2}},
}


def decision(**other: object) -> dict[str, object]:
    checks = [
        {"name": "overall", "passed": True, "sentence": "better by 0.02"},
        {"name": "groups", "passed": False, "sentence": "jazz | fell by 0.1"},
        {"name": "calibration", "passed": None, "sentence": "not judged"},
    ]
    plain = {"task": "genre", "promoted": False, "sentence": "jazz fell", "champion": "", "challenger": "genre 2"}
    return {**plain, "checks": checks, **other}


def test_measures_of_the_tables_are_taken_in_their_order() -> None:
    assert changes(DIFFERENCES) == [
        Change("beat", "beat_f", None, 0.912),
        Change("genre", "accuracy", 0.9, 0.85),
        Change("genre", "macro_f1", 0.8, 0.8),
        Change("genre", "calibration_error", 0.05, 0.03),
    ]


def test_better_and_worse_follow_the_measure() -> None:
    text = comment.comment(changes(DIFFERENCES), [], "main")
    assert text.startswith(comment.MARK)
    assert "### Scores, beside `main`" in text
    assert "| beat | beats F | – | 0.912 | new |" in text
    assert "| genre | accuracy | 0.900 | 0.850 | -0.050 **worse** |" in text
    assert "| 0.050 | 0.030 | -0.020 better |" in text
    assert "1 more is as before." in text
    assert "The gate" not in text


def test_the_picture_has_both_scores_of_each_measure() -> None:
    text = comment.comment(changes(DIFFERENCES), [], "main")
    (chart,) = [part for part in text.split("\n\n") if part.startswith("```mermaid")]
    assert "  bar [0.8500, 0.8000, 0.0300]" in chart
    assert "  line [0.9000, 0.8000, 0.0500]" in chart
    assert chart.count('"') % 2 == 0
    assert len(chart.split("x-axis [")[1].split("]")[0].split(",")) == 3
    # Nothing can be drawn of a score that was not there before.
    assert text.count("```mermaid") == 1


def test_nothing_to_compare_is_said() -> None:
    assert "no scores to compare" in comment.comment([], [], "main")
    same = [Change("beat", "beat_f", 0.9, 0.9001)]
    assert comment.comment(same, [], "main").endswith("All scores are as before.\n")


def test_the_gates_decision_is_told_with_what_failed(tmp_path: Path) -> None:
    for name, made in {"genre": decision(), "beat": decision(task="beat", promoted=True, checks=[])}.items():
        folder = tmp_path / "gate" / name
        folder.mkdir(parents=True)
        (folder / "decision.json").write_text(json.dumps(made))
    text = comment.comment([], read_decisions(tmp_path, tmp_path), "main")
    assert "| beat | **promoted** | none | genre 2 | jazz fell |" in text
    assert "| genre | **refused** | none | genre 2 | jazz fell |" in text
    assert "What genre did not pass:\n\n- groups: jazz \\| fell by 0.1\n" in text
    assert "overall" not in text


def test_the_latest_decision_of_a_task_counts_wherever_it_was_made(tmp_path: Path) -> None:
    for place, at_s, sentence in (("gate/beat", 20, "by hand"), ("run-1/gate/beat", 30, "in a retraining")):
        path = tmp_path / place / "decision.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(decision(task="beat", sentence=sentence)))
        os.utime(path, (at_s, at_s))
        assert [one["sentence"] for one in read_decisions(tmp_path, tmp_path)] == [sentence]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"task": "beat"}'])
def test_a_damaged_decision_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "gate" / "beat").mkdir(parents=True)
    path = tmp_path / "gate" / "beat" / "decision.json"
    path.write_text(text)
    with pytest.raises(CorpusError, match=r"decision\.json: is no decision"):
        read_decisions(tmp_path, tmp_path)


def test_names_from_elsewhere_stay_text() -> None:
    hostile = "a | b\n# c <img src=x> @everyone [x](y) `z`"
    text = comment.comment([], [decision(sentence=hostile, checks=[])], "main")
    (row,) = [line for line in text.splitlines() if "refused" in line]
    assert row.endswith(r"| a \| b \# c &lt;img src=x\> @​everyone \[x\](y) \`z\` |")


def test_dvc_is_asked_for_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=tmp_path, check=True)

    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    metrics = tmp_path / "reports" / "metrics"
    metrics.mkdir(parents=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text("metrics: [reports/metrics/beat.json]\n")
    (metrics / "beat.json").write_text('{"beat_f": 0.8, "cmlt": 0.5}')
    git("add", "--all")
    git("commit", "--quiet", "--message", "before")
    (metrics / "beat.json").write_text('{"beat_f": 0.9, "cmlt": 0.5}')
    assert read_changes("HEAD") == [Change("beat", "beat_f", 0.8, 0.9), Change("beat", "cmlt", 0.5, 0.5)]
    git("commit", "--quiet", "--all", "--message", "now")
    (metrics / "beat.json").write_text("{}")
    assert read_changes("HEAD~1", "HEAD")[0] == Change("beat", "beat_f", 0.8, 0.9)
    with pytest.raises(ConfigError, match="dvc metrics diff elsewhere"):
        read_changes("elsewhere")
    with pytest.raises(ConfigError, match="is no revision"):
        read_changes("--help")


def test_the_command_writes_the_file_or_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comment, "read_changes", lambda base, now: changes(DIFFERENCES))
    app = comment.typer.Typer()
    app.command()(comment.main)
    output = tmp_path / "deep" / "comment.md"
    done = CliRunner().invoke(app, ["--output", str(output), "--reports", str(tmp_path)])
    assert done.exit_code == 0
    assert done.stdout.strip() == str(output)
    assert "**worse**" in output.read_text()
    (tmp_path / "gate" / "beat").mkdir(parents=True)
    (tmp_path / "gate" / "beat" / "decision.json").write_text("{")
    done = CliRunner().invoke(app, ["--output", str(output), "--reports", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.startswith("backbeat: error: ")
