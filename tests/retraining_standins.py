"""A retraining without music: a pipeline of a few lines of shell, and registry, gate and corrections that are files.

`python retraining_standins.py CHECKOUT [because]` retrains; what is in the environment kills it:

KILL_RECORD=STEP     when the step is done, and before that is recorded
KILL_START=STEP      when it is recorded that the step has begun
KILL_COMMAND=WORDS   when a program has ended whose command line has these words
KILL_STAGE=NAME      in the middle of a stage of the pipeline
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backbeat.errors import BackbeatError
from backbeat.files import write_json, write_text
from backbeat.retraining import commands, flow, workspace
from backbeat.retraining.flow import Ways
from backbeat.retraining.journal import Journal
from backbeat.retraining.parties import Case, Parties, Verdict
from backbeat.retraining.reasons import Reasons, Signs
from backbeat.retraining.running import Asked, Site, retrain

DVC_YAML = """
stages:
  validate:
    foreach: ${corpora}
    do:
      cmd: sh stage.sh validate ${key} ${item.source}
      deps: [stage.sh, '${item.source}']
      outs: ['data/labels/beat/${key}.jsonl']
  train:
    foreach: ${tasks}
    do:
      cmd: sh stage.sh train ${key}
      deps: [stage.sh, data/labels/beat, recipe.txt]
      params: [{'conf/task/${key}.yaml': null}]
      outs: ['models/${key}']
  evaluate:
    foreach: ${tasks}
    do:
      cmd: sh stage.sh evaluate ${key}
      deps: [stage.sh, 'models/${key}']
      metrics: ['reports/metrics/${key}.json']
"""
#: A model is the text of all that it was trained on; its score is how much that is, less what the recipe takes off.
STAGE_SH = """
set -e
die() { if [ "$KILL_STAGE" = "$1" ]; then kill -9 0; fi; }
case "$1" in
validate) mkdir -p data/labels/beat
  for file in $(ls "$3"/*.txt); do name=$(basename $file .txt)
    echo "{\\"id\\": \\"$name\\", \\"split\\": \\"$(cat $file)\\"}"; done > data/labels/beat/$2.jsonl;;
train) echo "train $2 $PWD" >> "$TRAININGS"
  mkdir -p models/$2; cat data/labels/beat/*.jsonl > models/$2/half; die train
  if [ -n "$SLOW" ]; then touch "$SLOW"; sleep 60; fi
  if grep -q broken recipe.txt; then echo "error: the recipe is broken" >&2; exit 7; fi
  cat models/$2/half recipe.txt conf/task/$2.yaml > models/$2/model; rm models/$2/half
  git rev-parse HEAD > models/$2/commit || true;;
evaluate) die evaluate; mkdir -p reports/metrics; wc -l < models/$2/model > reports/metrics/$2.json;;
esac
"""
PARAMS = """# a comment that stays
experiment: demo

corpora:
  rendered: {kind: rendered, source: data/sounds}

# another
tasks: {beat: features}
"""
TASK = 'name: beat\nstart_from: ""\n# peak\nlearning_rate: 3.0e-3\n'


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_checkout(folder: Path) -> None:
    """Make a repository with the pipeline, which has run once; its only model is registered as the champion."""
    files = {
        "dvc.yaml": DVC_YAML,
        "stage.sh": STAGE_SH,
        "params.yaml": PARAMS,
        "conf/task/beat.yaml": TASK,
        "recipe.txt": "a\n",
        ".gitignore": "/data/*/*\n!/data/sounds/.gitkeep\n/models/*\n/reports/\n/state/\n/.retrain/\n",
        "data/sounds/.gitkeep": "",
        "data/README.md": "data\n",
        # Ignored by git, as a user's sounds are.
        "data/sounds/one.txt": "train\n",
        "data/sounds/two.txt": "test\n",
    }
    for name, text in files.items():
        write_text(folder / name, text)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "Tester")
    git(folder, "config", "user.email", "tester@localhost")
    programs = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    programs |= {"TRAININGS": str(folder / "state/trainings"), "DVC_NO_ANALYTICS": "1"}
    (folder / "state").mkdir()
    for command in (["dvc", "init", "--quiet"], ["dvc", "repro", "--quiet"]):
        subprocess.run(command, cwd=folder, env=programs, check=True, capture_output=True)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "begin")
    models = FileModels(folder / "state/registry.json")
    models.decide("promote", models.register(folder / "models/beat"), "tests", "the first")


@dataclass(frozen=True)
class FileVersion:
    task: str
    version: str
    run: str
    score: int


@dataclass(frozen=True)
class FileEvent:
    action: str
    version: str
    who: str
    why: str
    instead_of: str | None


class FileModels:
    """A registry in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.is_file() else {"versions": [], "events": []}

    def register(self, folder: Path) -> FileVersion:
        text = (folder / "model").read_text()
        found, run = self._read(), hashlib.sha256(text.encode()).hexdigest()
        for one in found["versions"]:
            if one["run"] == run:
                return FileVersion(**one)
        score = text.count("train") - 10 * text.count("bad")
        made = FileVersion(folder.name, str(len(found["versions"]) + 1), run, score)
        write_json(self.path, {**found, "versions": [*found["versions"], asdict(made)]})
        return made

    def challenge(self, version: FileVersion) -> None:
        pass

    def champion(self, task: str) -> FileVersion | None:
        promoted = [event.version for event in self.history(task) if event.action == "promote"]
        return next((FileVersion(**one) for one in self._read()["versions"] if one["version"] in promoted[-1:]), None)

    def history(self, task: str) -> Sequence[FileEvent]:
        return [FileEvent(**event) for event in self._read()["events"]]

    def decide(self, action: str, version: FileVersion, who: str, why: str) -> None:
        now = self.champion(version.task)
        found = self._read()
        event = FileEvent(action, version.version, who, why, now.version if now else None)
        write_json(self.path, {**found, "events": [*found["events"], asdict(event)]})


class FileCorrections:
    """Corrections in a file: a list of names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self, name: str) -> list[str]:
        path = self.path.with_name(name)
        return json.loads(path.read_text()) if path.is_file() else []

    def pending(self) -> int:
        return len(set(self._read("corrections.json")) - set(self._read("marked.json")))

    def write(self, folder: Path) -> str:
        names = self._read("corrections.json")
        if not names:
            return ""
        for name in names:
            write_text(folder / f"{name}.txt", "test\n" if name.endswith("0") else "train\n")
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()

    def mark(self, folder: Path) -> None:
        write_json(self.path.with_name("marked.json"), sorted(path.stem for path in folder.glob("*.txt")))


def kill() -> None:
    os.killpg(0, signal.SIGKILL)


def arrange_kills() -> None:
    """Have this process and all that it began killed where the environment says so."""
    write, ask, work = Journal.write, commands.ask, commands.work

    def killing_write(journal: Journal) -> None:
        done = [name for name, step in journal.steps.items() if step.state == "done"]
        begun = [name for name, step in journal.steps.items() if step.state == "started"]
        if os.environ.get("KILL_RECORD") in done[-1:]:
            kill()
        write(journal)
        if os.environ.get("KILL_START") in begun[-1:]:
            kill()

    def killing(run: Any) -> Any:
        def then_kill(command: Sequence[str], *rest: Any, **named: Any) -> Any:
            answer = run(command, *rest, **named)
            if (words := os.environ.get("KILL_COMMAND")) and words in " ".join(command):
                kill()
            return answer

        return then_kill

    Journal.write = killing_write  # type: ignore[method-assign]
    workspace.ask = killing(ask)  # type: ignore[attr-defined]
    flow.work = killing(work)  # type: ignore[attr-defined]


def main(root: Path, because: str = "", *options: str) -> int:
    arrange_kills()
    models, corrections = FileModels(root / "state/registry.json"), FileCorrections(root / "state/corrections.json")

    def gate(case: Case) -> Verdict:
        champion, challenger = models.champion(case.task), case.challenger
        better = champion is None or challenger.score > champion.score
        why = (
            f"{challenger.score} for {champion.score if champion else 'none'}, focus {', '.join(case.focus) or 'none'}"
        )
        models.decide("promote" if better else "refuse", challenger, case.who, why)
        if os.environ.get("KILL_JUDGED"):
            kill()
        return Verdict(better, why)

    def signs() -> Signs:
        return Signs({"beat": datetime.now(UTC)}, None, corrections.pending())

    site = Site(
        root,
        Reasons(min_corrections=3),
        Ways(push="push" in options),
        {"TRAININGS": str(root / "state/trainings")},
    )
    asked = Asked(
        ("beat",),
        because,
        fine_tune="fine-tune" in options,
        commit="no-commit" not in options,
        restart="restart" in options,
        experiment="smoke" if "smoke" in options else "",
    )
    parties = Parties(models, gate, corrections, "tests")
    try:
        outcome = retrain(site, asked, signs, lambda: parties, lambda line: print(line, flush=True))
    except BackbeatError as error:
        print(f"backbeat: error: {error}", flush=True)
        return error.exit_code
    return 3 if outcome == "refused" else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
