"""Retraining with real git and DVC, and a pipeline, a registry and a gate that are small enough to be killed often."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import retraining_standins as standins
import typer
import yaml
from click.testing import Result
from retraining_standins import git
from tiny_models import save_tiny_models
from typer.testing import CliRunner

from backbeat.errors import ConfigError, CorpusError, RetrainingError
from backbeat.features import FeatureParams
from backbeat.monitoring.store import MonitoringStore
from backbeat.registry import Registry
from backbeat.retraining.frozen import check_frozen
from backbeat.retraining.journal import Journal
from backbeat.retraining.reasons import Reasons, Signs, find_reason
from pipelines.retrain import main

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join(str(ROOT / name) for name in ("src", ".", "tests"))

STEPS = (
    "worktree",
    "data",
    "corpus",
    "build",
    "test sets",
    "judge beat",
    "mark",
    "package",
    "commit",
    "checkout",
    "push",
)

#: The end of the steps that leave something behind, before that is recorded; and the middle of those that do several
#: things.
KILLS = [
    *({"KILL_RECORD": step} for step in ("worktree", "corpus", "build", "judge beat", "commit", "checkout")),
    {"KILL_START": "worktree"},
    {"KILL_COMMAND": "worktree add"},
    {"KILL_COMMAND": "dvc add"},
    {"KILL_STAGE": "train"},
    {"KILL_STAGE": "evaluate"},
    {"KILL_JUDGED": "1"},
    {"KILL_COMMAND": "update-ref refs/heads"},
    {"KILL_COMMAND": "update-ref refs/tags"},
    {"KILL_COMMAND": "merge"},
    {"KILL_COMMAND": "worktree remove"},
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose pipeline has run once."""
    folder = tmp_path_factory.mktemp("prepared") / "checkout"
    standins.make_checkout(folder)
    return folder


@pytest.fixture
def checkout(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it, with three corrections."""
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder, symlinks=True)
    (folder / "state/corrections.json").write_text('["c0", "c1", "c2"]')
    return folder


def begin(checkout: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **variables}
    command = [sys.executable, str(ROOT / "tests/retraining_standins.py"), str(checkout), *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A group of its own, to be killed as one.
        start_new_session=True,
    )


def retrain(checkout: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    process = begin(checkout, *arguments, **variables)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == code, said
    return said


def promotions(checkout: Path) -> list[str]:
    found = json.loads((checkout / "state/registry.json").read_text())
    return [event["version"] for event in found["events"] if event["action"] == "promote"]


def state_of(checkout: Path) -> tuple[str, str, bytes, bytes]:
    """What must not change before all is decided."""
    model = (checkout / "models/beat/model").read_bytes()
    return (
        git(checkout, "rev-parse", "HEAD"),
        git(checkout, "status", "-s"),
        (checkout / "dvc.lock").read_bytes(),
        model,
    )


def trainings(checkout: Path) -> int:
    return len((checkout / "state/trainings").read_text().splitlines())


def runs(checkout: Path) -> list[Journal]:
    return [Journal.read(path.parent) for path in sorted((checkout / ".retrain").glob("*/journal.json"))]


def finished_well(checkout: Path) -> None:
    """One promotion, one run, one branch, one tag, the checkout on it, and nothing left over."""
    assert promotions(checkout) == ["1", "2"]
    (run,) = runs(checkout)
    assert run.outcome == "promoted"
    result = run.out("commit")["commit"]
    assert git(checkout, "rev-parse", "main", f"retrain/{run.run}", "model-beat-v2").split() == [result] * 3
    assert git(checkout, "rev-parse", "HEAD") == result
    assert git(checkout, "log", "--format=%s").splitlines() == [
        "Retrained: beat 2: promoted",
        "Retraining: 3 new corrections, 3 are enough",
        "begin",
    ]
    assert git(checkout, "status", "-s") == ""
    assert git(checkout, "worktree", "list").count("\n") == 0
    assert not (run.folder / "tree").exists()
    assert json.loads((checkout / "state/marked.json").read_text()) == ["c0", "c1", "c2"]
    assert {path.name for path in run.folder.iterdir()} >= {"report.html", "report.md", "report.json", "journal.json"}


def test_the_whole_flow(checkout: Path) -> None:
    before = state_of(checkout)
    said = retrain(checkout)
    finished_well(checkout)
    assert "run 2" in said
    assert "because 3 new corrections, 3 are enough" in said
    # The data lie in DVC, the pipeline knows of them, and what a person wrote stays as it was.
    params = (checkout / "params.yaml").read_text()
    line = "  corrections: {kind: folder, source: data/corrections}\n"
    assert params.replace(line, "") == standins.PARAMS
    assert (checkout / "conf/task/beat.yaml").read_text() == standins.TASK
    # The user's data and models are those of before until they are asked for; then they are those of the result.
    assert (checkout / "models/beat/model").read_bytes() == before[3]
    programs = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["dvc", "checkout", "--quiet"], cwd=checkout, env=programs, check=True)
    status = subprocess.run(["dvc", "status", "--json"], cwd=checkout, env=programs, check=True, capture_output=True)
    assert json.loads(status.stdout) == {}
    # The model names the commit that it was trained at, which has all that it was trained from.
    trained = (checkout / "models/beat/commit").read_text().strip()
    assert trained == git(checkout, "rev-parse", "HEAD~1")
    assert "data/corrections.dvc" in git(checkout, "show", "--name-only", trained)
    (run,) = runs(checkout)
    report = json.loads((run.folder / "report.json").read_text())
    assert report["steps"]["judge beat"]["out"]["why"] == "3 for 1, focus corpus:corrections"
    assert next(iter(report["steps"])) == "worktree"
    assert "| beat | 2 | 1 | promoted | 3 for 1, focus corpus:corrections |" in (run.folder / "report.md").read_text()
    # And there is no reason for another.
    assert "nothing to do" in retrain(checkout)
    assert len(runs(checkout)) == 1


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: "-".join(*kill.items()).replace(" ", "_").lower())
def test_killed_at_any_point_nothing_is_lost_and_the_next_run_carries_on(checkout: Path, kill: dict[str, str]) -> None:
    before = state_of(checkout)
    retrain(checkout, code=-signal.SIGKILL, **kill)
    (run,) = runs(checkout)
    if not run.begun("judge beat"):
        assert promotions(checkout) == ["1"]
    if not run.begun("checkout"):
        assert state_of(checkout) == before
    done = {name for name in run.steps if run.done(name)}
    said = retrain(checkout)
    assert f"carrying on run {run.run}" in said
    # What was done is not done again.
    if kill.get("KILL_COMMAND") != "worktree remove":
        assert not {line.split(" ...")[0] for line in said.splitlines() if line.endswith(" ...")} & done
    finished_well(checkout)
    assert trainings(checkout) == (3 if kill.get("KILL_STAGE") == "train" else 2)


def test_killed_at_the_end_of_every_step_one_after_the_other(checkout: Path) -> None:
    for step in STEPS:
        retrain(checkout, code=-signal.SIGKILL, KILL_RECORD=step)
    retrain(checkout)
    finished_well(checkout)
    assert tuple(runs(checkout)[0].steps) == STEPS
    assert {step.attempts for step in runs(checkout)[0].steps.values()} == {2}
    assert trainings(checkout) == 2


def test_two_at_once_do_not_collide(checkout: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    first = begin(checkout, SLOW=str(slow))
    until = time.monotonic() + 60
    while not slow.exists():
        assert first.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    said = retrain(checkout, code=6)
    assert f"another retraining is at work here (process {first.pid}); nothing was done" in said
    # The one at work is killed alone: what it began lives on, until the next run, which ends it and carries on.
    first.kill()
    first.wait()
    assert first.stdout
    first.stdout.close()
    assert "carrying on" in retrain(checkout)
    finished_well(checkout)


def test_without_a_reason_nothing_is_done(checkout: Path) -> None:
    (checkout / "state/corrections.json").write_text('["c0"]')
    before = state_of(checkout)
    assert "nothing to do: the latest check found no drift; 1 new corrections, 3 are enough" in retrain(checkout)
    assert state_of(checkout) == before
    assert [path.name for path in (checkout / ".retrain").iterdir()] == ["lock"]


def test_the_same_data_come_to_the_champion_itself(checkout: Path) -> None:
    (checkout / "state/corrections.json").unlink()
    before = state_of(checkout)
    said = retrain(checkout, "just so")
    assert "version 1 is the champion: nothing has changed" in said
    assert promotions(checkout) == ["1"]
    assert state_of(checkout) == before
    assert git(checkout, "branch").split() == ["*", "main"]
    # Sources that git ignores are hashed as they are in the checkout: nothing was made again.
    assert runs(checkout)[0].out("build")["ran"] == []


def test_a_refused_challenger_leaves_the_checkout_and_a_branch(checkout: Path) -> None:
    (checkout / "recipe.txt").write_text("bad\n")
    git(checkout, "commit", "-qam", "a bad idea")
    before = state_of(checkout)
    said = retrain(checkout, code=3)
    assert "version 2 is refused" in said
    assert promotions(checkout) == ["1"]
    assert state_of(checkout) == before
    assert "Retrained: beat 2: refused" in git(checkout, "log", "-1", "--format=%s", f"retrain/{runs(checkout)[0].run}")
    assert git(checkout, "tag") == ""


def test_what_is_not_committed_is_left_alone(checkout: Path) -> None:
    (checkout / "recipe.txt").write_text("bad\n")
    (checkout / "mine.txt").write_text("mine\n")
    before = state_of(checkout)
    said = retrain(checkout)
    assert "1 changed files of this checkout are not committed, and are not part of the run" in said
    assert "stays as it is: the checkout has changes that are not committed" in said
    assert state_of(checkout) == before
    assert promotions(checkout) == ["1", "2"]


def test_a_checkout_on_no_branch_is_left_there(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "--detach")
    before = state_of(checkout)
    assert "the checkout is on no branch" in retrain(checkout)
    assert state_of(checkout) == before
    assert git(checkout, "rev-parse", "model-beat-v2") == runs(checkout)[0].out("commit")["commit"]


def test_a_stage_that_fails_says_where_and_is_tried_again_or_left_behind(checkout: Path) -> None:
    before = (checkout / "recipe.txt").read_text()
    (checkout / "recipe.txt").write_text("broken\n")
    git(checkout, "commit", "-qam", "break")
    said = retrain(checkout, code=1)
    (run,) = runs(checkout)
    log = run.folder / "logs/build.log"
    assert "backbeat: error: build: `dvc repro` failed" in said
    assert str(log) in said
    assert "the recipe is broken" in log.read_text()
    assert "carrying on" in retrain(checkout, code=1)
    assert runs(checkout)[0].steps["build"].attempts == 2
    (checkout / "recipe.txt").write_text(before)
    git(checkout, "commit", "-qam", "mend")
    said = retrain(checkout)
    assert "thrown away: the checkout has moved on since it failed" in said
    assert [one.outcome for one in runs(checkout)] == ["abandoned", "promoted"]
    assert promotions(checkout) == ["1", "2"]


def test_a_run_can_be_thrown_away(checkout: Path) -> None:
    retrain(checkout, code=-signal.SIGKILL, KILL_STAGE="train")
    assert "is thrown away" in retrain(checkout, "", "restart")
    assert [one.outcome for one in runs(checkout)] == ["abandoned", "promoted"]
    assert git(checkout, "worktree", "list").count("\n") == 0


def test_without_a_commit_the_pointers_are_kept(checkout: Path) -> None:
    before = state_of(checkout)
    retrain(checkout, "", "no-commit", "fine-tune", "smoke")
    assert promotions(checkout) == ["1", "2"]
    assert state_of(checkout) == before
    assert git(checkout, "log", "--all", "--format=%s") == "begin"
    pointers = runs(checkout)[0].folder / "pointers"
    assert yaml.safe_load((pointers / "params.yaml").read_text())["experiment"] == "smoke"
    assert "corrections" in (pointers / "dvc.lock").read_text()
    first = json.loads((checkout / "state/registry.json").read_text())["versions"][0]
    assert runs(checkout)[0].out("corpus")["start_from"] == {"beat": first["run"]}


def test_data_are_pulled_and_results_pushed_where_there_are_remotes(checkout: Path, tmp_path: Path) -> None:
    programs = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # Its path is relative to the checkout, and means the same in the worktree.
    for command in ("dvc remote add --quiet --default store ../store", "dvc push --quiet"):
        subprocess.run(command.split(), cwd=checkout, env=programs, check=True)
    git(checkout, "commit", "-qam", "a remote")
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "origin")], check=True)
    git(checkout, "remote", "add", "origin", str(tmp_path / "origin"))
    shutil.rmtree(checkout / ".dvc/cache")
    said = retrain(checkout, "", "push")
    assert "data: pulled" in said
    assert promotions(checkout) == ["1", "2"]
    run = runs(checkout)[0]
    assert run.out("build")["ran"] == ["validate@corrections", "train@beat", "evaluate@beat"]
    pushed = git(tmp_path / "origin", "for-each-ref", "--format=%(refname)").split()
    assert pushed == [f"refs/heads/retrain/{run.run}", "refs/tags/model-beat-v2"]
    shutil.rmtree(checkout / ".dvc/cache")
    subprocess.run(["dvc", "pull", "--quiet", "--force"], cwd=checkout, env=programs, check=True)
    assert (checkout / "data/corrections/c1.txt").read_text() == "train\n"


def test_the_command_line_with_a_registry_and_a_monitoring_database(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("TRAININGS", str(checkout / "state/trainings"))
    app = typer.Typer()
    app.command()(main)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    assert run("--task", "bass").exit_code == 1
    assert "--experiment huge: there are demo, full, smoke" in run("--experiment", "huge").output
    registry = Registry(f"sqlite:///{checkout}/mlflow.db")
    version = registry.register(save_tiny_models(tmp_path / "tiny", FeatureParams())["beat"])
    registry.promote(version, instead_of=None, why="the first")
    said = run()
    assert said.exit_code == 0
    assert "nothing to do: drift: state/monitoring.db: no service has kept records here; " in said.output
    assert "no service has kept records here" in run("--because", "drift").output
    monitoring = MonitoringStore.at(checkout / "state")
    monitoring.add_check({"rows": 500, "drift": True})
    monitoring.close()
    assert run("--because", "schedule").exit_code == 0
    # The stand-in for a pipeline makes no model that a registry takes: that is the end of it.
    said = run("--because", "drift")
    assert said.exit_code == 1
    assert "because drift was found" in said.output
    assert "judge beat: " in said.output
    assert runs(checkout)[0].folder.joinpath("tree").is_dir()
    assert registry.champion("beat") == version
    # The store was made before, so artifacts lie beside it, and not in a worktree that goes.
    assert not list((checkout / ".retrain").rglob("mlruns"))


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("signs", "because", "why"),
    [
        (Signs({"beat": NOW}), "", ""),
        (Signs({"beat": NOW}, NOW + timedelta(hours=1)), "", "drift was found"),
        (Signs({"beat": NOW}, NOW - timedelta(hours=1)), "", ""),
        (Signs({"beat": NOW}, NOW + timedelta(hours=1)), "schedule", ""),
        (Signs({"beat": NOW}, pending=20), "", "20 new corrections, 20 are enough"),
        (Signs({"beat": NOW}, pending=20), "drift", ""),
        (Signs({"beat": NOW, "onset": NOW - timedelta(days=31)}), "", "the champion for onset was last decided on"),
        (Signs({"beat": NOW, "onset": None}), "", "no champion yet for onset"),
        (Signs({"beat": NOW}), "new sounds", "new sounds"),
        (Signs({"beat": NOW, "listening": NOW}, interactions=10_000), "", "10000 new interactions, 10000 are enough"),
        (Signs({"beat": NOW, "listening": NOW}, interactions=9_999), "", ""),
        (Signs({"beat": NOW}, interactions=10_000), "interactions", ""),
    ],
)
def test_what_is_reason_enough(signs: Signs, because: str, why: str) -> None:
    found = find_reason(signs, Reasons(), because)
    assert found.why.startswith(why)
    assert bool(found.why) == bool(why)
    assert find_reason(signs, Reasons(), because, force=True).why


def test_where_nobody_watches_that_is_said() -> None:
    decided = {"beat": datetime.now(UTC)}
    blind = Signs(decided, unwatched="nowhere: no service has kept records here")
    assert find_reason(blind, Reasons()).looked[:2] == [
        f"{name}: {blind.unwatched}" for name in ("drift", "corrections")
    ]
    for because in ("drift", "corrections"):
        with pytest.raises(RetrainingError, match="no service has kept records"):
            find_reason(blind, Reasons(), because)
        assert find_reason(blind, Reasons(), because, force=True).why
    assert "nobody has looked for drift yet" in find_reason(Signs(decided, checked=False), Reasons()).looked[0]
    for because in ("Drift", "correction", "schedul"):
        with pytest.raises(ConfigError, match="did you mean"):
            find_reason(Signs(decided), Reasons(), because)


def test_a_test_set_that_changes_is_refused(tmp_path: Path) -> None:
    def lock(digest: str) -> str:
        out = {"path": "data/labels/beat/own.jsonl", "md5": digest}
        return yaml.safe_dump({"stages": {"validate@own": {"outs": [out]}}})

    def labels(**splits: str) -> str:
        return "".join(json.dumps({"id": name, "split": split}) + "\n" for name, split in splits.items())

    cached = tmp_path / "cache/files/md5/aa/bb"
    cached.parent.mkdir(parents=True)
    cached.write_text(labels(one="train", two="test", three="valid"))
    now = tmp_path / "tree/data/labels/beat/own.jsonl"
    now.parent.mkdir(parents=True)
    (tmp_path / "tree/dvc.lock").write_text(lock("ccdd"))
    now.write_text(labels(one="valid", two="test", three="train", four="test"))
    assert check_frozen(lock("aabb"), tmp_path / "tree", tmp_path / "cache") == (1, [])
    assert check_frozen(lock("ccdd"), tmp_path / "tree", tmp_path / "cache") == (1, [])
    assert check_frozen(lock("eeff"), tmp_path / "tree", tmp_path / "cache") == (0, ["data/labels/beat/own.jsonl"])
    now.write_text(labels(one="test", two="train", three="valid"))
    with pytest.raises(CorpusError, match=r"own\.jsonl: tracks have come into the test set or left it .*: one, two;"):
        check_frozen(lock("aabb"), tmp_path / "tree", tmp_path / "cache")
