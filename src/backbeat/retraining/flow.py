"""The steps of a retraining, one after the other, each of which may be done again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbeat.errors import BackbeatError, RetrainingError
from backbeat.files import atomic_path, write_json, write_text
from backbeat.retraining.commands import agrees, ask, work
from backbeat.retraining.frozen import check_frozen
from backbeat.retraining.journal import Journal
from backbeat.retraining.parties import Case, Parties
from backbeat.retraining.report import page, text
from backbeat.retraining.workspace import GIT, LOCK, PARAMS, Workspace, set_value

TREE, REPORT = "tree", "report"
PROMOTED, REFUSED, UNCHANGED = "promoted", "refused", "unchanged"
#: What real listeners did; without it the pipeline simulates some (conf/listeners).
LISTENERS = "data/listeners/export"
_KEPT = ("data/corrections.dvc", f"{LISTENERS}.dvc", LOCK, PARAMS)


@dataclass(frozen=True)
class Ways:
    """How a retraining goes about it.

    Parameters
    ----------
    corpus
        The name of the corpus of corrections.
    package
        Whether a Bento is built of what was promoted.
    update_checkout
        Whether the user's checkout follows a promotion, where it has no changes and is where the run began.
    push
        Whether data go to DVC's remote, and the branch and the tags to git's `origin`.
    """

    corpus: str = "corrections"
    package: bool = False
    update_checkout: bool = True
    push: bool = False


class Flow:
    """One run, begun or carried on.

    Parameters
    ----------
    workspace
        Where it works.
    journal
        What it has done.
    parties, ways
        Whom it works with, and how.
    say
        Called with each line for whoever watches.
    """

    def __init__(
        self, workspace: Workspace, journal: Journal, parties: Parties, ways: Ways, say: Callable[[str], None]
    ) -> None:
        self.workspace = workspace
        self.journal = journal
        self.parties = parties
        self.ways = ways
        self.say = say
        self.tree = workspace.tree

    def go(self) -> str:
        """Do what is not done yet; return "promoted", "refused" or "unchanged".

        Raises
        ------
        BackbeatError
            If a step cannot be done; the run is carried on from there another time.
        """
        journal, order = self.journal, self.journal.order
        if not self.workspace.there:
            # Without the worktree nothing is left of what was done in it.
            for name in ("worktree", "data", "corpus", "build", "test sets"):
                journal.steps.pop(name, None)
        elif journal.done("worktree"):
            self.workspace.unlock()
        steps: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
            ("worktree", self._make_worktree),
            ("data", self._bring_data),
            ("corpus", self._write_corpus),
            ("build", self._build),
            ("test sets", self._check_test_sets),
            *((f"judge {task}", lambda out, task=task: self._judge(task, out)) for task in order.tasks),
            ("mark", self._mark),
            ("package", self._package),
            ("commit", self._commit),
            ("checkout", self._update_checkout),
            ("push", self._push),
        ]
        for name, do in steps:
            if not journal.done(name):
                self._step(name, do)
        outcome = self.outcome()
        self.workspace.remove()
        shutil.rmtree(journal.folder / "dvc", ignore_errors=True)
        self._report(outcome)
        journal.end(outcome)
        return outcome

    def outcome(self) -> str:
        """Return what became of the challengers."""
        found = {self._decided(task) for task in self.journal.order.tasks}
        return next((one for one in (PROMOTED, REFUSED) if one in found), UNCHANGED)

    def _step(self, name: str, do: Callable[[dict[str, Any]], str]) -> None:
        began = time.monotonic()
        self.say(f"{name} ...")
        try:
            with self.journal.step(name) as out:
                told = do(out)
        except BackbeatError as error:
            self.say(f"{name}: failed after {time.monotonic() - began:.1f} s")
            raise RetrainingError(f"{name}: {error}") from error
        self.say(f"{name}: {told} ({time.monotonic() - began:.1f} s)")

    def _log(self, name: str) -> Path:
        return self.journal.folder / "logs" / f"{name}.log"

    def _work(self, name: str, *command: str, seen: Callable[[str], None] = lambda _: None) -> None:
        work(command, self.tree, self._log(name), self.workspace.environment, seen)

    def _make_worktree(self, out: dict[str, Any]) -> str:
        self.workspace.make(self.journal.base)
        return f"{self.tree} at {self.journal.base[:10]}"

    def _bring_data(self, out: dict[str, Any]) -> str:
        remote = self.workspace.remote()
        if not (self.tree / LOCK).is_file() and not list((self.tree / "data").glob("*.dvc")):
            return "nothing is kept by DVC yet"
        # What neither has is made again.
        self._work("data", "dvc", "pull" if remote else "checkout", "--allow-missing")
        return "pulled" if remote else "from the cache; there is no remote to pull from"

    def _write_corpus(self, out: dict[str, Any]) -> str:
        """Settle all that the pipeline starts from, and commit it: the commit that the models are trained at."""
        order, name = self.journal.order, self.ways.corpus
        version = ""
        if self.parties.corrections is not None:
            version = self.parties.corrections.write(self.tree / "data" / name)
        if version:
            self._work("corpus", "dvc", "add", "--quiet", f"data/{name}")
        if version and name not in (self.workspace.params().get("corpora") or {}):
            line = {"kind": "folder", "source": f"data/{name}"}
            set_value(self.tree / PARAMS, ("corpora", name), line)
        out["interactions"] = self._write_interactions()
        if order.experiment:
            set_value(self.tree / PARAMS, ("experiment",), order.experiment)
        out["start_from"] = {task: self._start_from(task) for task in order.tasks}
        out["corrections"] = version
        out["commit"] = self.workspace.commit(f"Retraining: {order.why}", self.journal.began) if order.commit else ""
        return f"corrections {version[:12]}" if version else "no corrections"

    def _write_interactions(self) -> str:
        if self.parties.interactions is None or "listening" not in self.journal.order.tasks:
            return ""
        version = self.parties.interactions.write(self.tree / LISTENERS)
        if version:
            self._work("corpus", "dvc", "add", "--quiet", LISTENERS)
            set_value(self.tree / "conf/listeners/default.yaml", ("source",), LISTENERS)
        return version

    def _start_from(self, task: str) -> str:
        """Set what the training of a task goes on from; return it."""
        champion = self.parties.models.champion(task) if self.journal.order.fine_tune else None
        run = str(champion.run) if champion is not None else ""
        set_value(self.tree / "conf" / "task" / f"{task}.yaml", ("start_from",), run)
        if self.journal.order.fine_tune:
            self.say(f"  {task}: {f'goes on from run {run}' if run else 'begins anew, for want of a champion'}")
        return run

    def _build(self, out: dict[str, Any]) -> str:
        tasks = self.workspace.params()["tasks"]
        asked = set(self.journal.order.tasks)
        some = not set(tasks) <= asked
        targets = [f"evaluate@{task}" for task in sorted(asked)] if some else []
        if some:
            # All that is made of a corpus, or `dvc checkout` would miss some of it.
            targets += sorted({"features", "stems"} & self.workspace.stages())
        ran: list[str] = []
        began = time.monotonic()

        def seen(line: str) -> None:
            if line.startswith("Running stage "):
                ran.append(line.split("'")[1])
                self.say(f"  {time.monotonic() - began:6.0f} s: {ran[-1]}")

        self._work("build", "dvc", "repro", *targets, seen=seen)
        if some and "reference" in self.workspace.stages():
            # What is served is held against tracks that the models which answer have judged; not the stages before it,
            # which would train the other tasks as well.
            self._work("reference", "dvc", "repro", "--single-item", "reference", seen=seen)
        out["ran"] = ran
        return f"{len(ran)} stages ran"

    def _check_test_sets(self, out: dict[str, Any]) -> str:
        before = ("show", f"{self.journal.base}:{LOCK}")
        if not agrees((*GIT, *before), self.tree):
            return "no test sets of before to compare with"
        kept, lost = check_frozen(self.workspace.git(*before), self.tree, self.workspace.cache())
        out["not compared"] = lost
        return f"{kept} as before" + (f"; not in the cache to compare with: {', '.join(lost)}" if lost else "")

    def _judge(self, task: str, out: dict[str, Any]) -> str:
        """Register what was trained, and have it promoted or refused, unless that has been done."""
        models, who = self.parties.models, f"{self.parties.who}, retraining {self.journal.run}"
        challenger, champion = models.register(self.tree / "models" / task), models.champion(task)
        out |= {"version": challenger.version, "run": challenger.run}
        out["instead_of"] = None if champion is None else champion.version
        for event in models.history(task):
            if event.version == challenger.version and event.who == who:
                out |= {"decision": _DECISIONS[event.action], "why": event.why, "instead_of": event.instead_of}
                return f"version {challenger.version} was {out['decision']} before the run was killed"
        if champion is not None and champion.version == challenger.version:
            out |= {"decision": UNCHANGED, "why": "the training came to the champion itself"}
            return f"version {challenger.version} is the champion: nothing has changed"
        models.challenge(challenger)
        corpora = self.workspace.params().get("corpora") or {}
        focus = (f"corpus:{self.ways.corpus}",) if self.ways.corpus in corpora else ()
        verdict = self.parties.gate(Case(task, challenger, self.tree, self.journal.folder, focus, who))
        out |= {"decision": PROMOTED if verdict.promoted else REFUSED, "why": verdict.why}
        return f"version {challenger.version} is {out['decision']}: {verdict.why}"

    def _decided(self, task: str) -> str:
        return str(self.journal.out(f"judge {task}").get("decision", ""))

    def _promoted(self) -> dict[str, str]:
        """Return the versions that were promoted, by task."""
        tasks = [task for task in self.journal.order.tasks if self._decided(task) == PROMOTED]
        return {task: str(self.journal.out(f"judge {task}")["version"]) for task in tasks}

    def _mark(self, out: dict[str, Any]) -> str:
        version = str(self.journal.out("corpus").get("corrections", ""))
        if not version or self.parties.corrections is None:
            return "no corrections"
        self.parties.corrections.mark(self.tree / "data" / self.ways.corpus)
        return f"the corrections of {version[:12]} are done with"

    def _package(self, out: dict[str, Any]) -> str:
        if not self.ways.package or not self._promoted():
            return "not asked for" if not self.ways.package else "nothing was promoted"
        tag = f"backbeat:{self.journal.run}"
        if not agrees(("bentoml", "get", tag), self.tree):
            self._work("package", "bentoml", "build", "--version", self.journal.run)
        out["bento"] = tag
        return f"Bento {tag}"

    def _commit(self, out: dict[str, Any]) -> str:
        if not self.journal.order.commit:
            kept = [name for name in _KEPT if (self.tree / name).is_file()]
            for name in kept:
                with atomic_path(self.journal.folder / "pointers" / name) as place:
                    shutil.copyfile(self.tree / name, place)
            return f"not asked for; {', '.join(kept)} are in {self.journal.folder / 'pointers'}"
        decisions = [
            f"{task} {self.journal.out(f'judge {task}')['version']}: {self._decided(task)}"
            for task in self.journal.order.tasks
        ]
        ended = max(self.journal.steps[f"judge {task}"].ended for task in self.journal.order.tasks)
        message = f"Retrained: {', '.join(decisions)}\n\nBecause: {self.journal.order.why}\nRun: {self.journal.run}"
        out["commit"] = commit = self.workspace.commit(message, ended)
        out["tags"] = []
        if commit == self.journal.base:
            return "nothing has changed"
        out["branch"] = f"retrain/{self.journal.run}"
        self.workspace.name(f"refs/heads/{out['branch']}", commit)
        for task, version in self._promoted().items():
            tag = f"model-{task}-v{version}"
            if not self.workspace.name(f"refs/tags/{tag}", commit):
                # A registry that was made anew counts from 1 again.
                tag = f"{tag}-{self.journal.run}"
                self.workspace.name(f"refs/tags/{tag}", commit)
            out["tags"].append(tag)
        return f"{commit[:10]} on branch {out['branch']}" + (f", {', '.join(out['tags'])}" if out["tags"] else "")

    def _update_checkout(self, out: dict[str, Any]) -> str:
        made = self.journal.out("commit")
        if not made.get("branch") or not self._promoted():
            return "stays as it is: nothing was promoted and committed"
        if not self.ways.update_checkout:
            out["left"] = "not asked for"
        else:
            out["left"] = self.workspace.forward(self.journal.base, made["commit"])
        if out["left"]:
            return f"stays as it is: {out['left']}. The result is branch {made['branch']}"
        return "is at the result; `dvc checkout` brings its data and models"

    def _push(self, out: dict[str, Any]) -> str:
        made = self.journal.out("commit")
        if not self.ways.push or not made.get("branch"):
            return "not asked for" if not self.ways.push else "nothing was committed"
        told = []
        if self.workspace.remote():
            self._work("push", "dvc", "push")
            told.append("data to DVC's remote")
        refs = [f"refs/heads/{made['branch']}", *(f"refs/tags/{tag}" for tag in made["tags"])]
        ask((*GIT, "push", "--quiet", "origin", *refs), self.tree, self.workspace.environment)
        return " and ".join([*told, f"{made['branch']} and its tags to origin"])

    def _report(self, outcome: str) -> None:
        found = {**self.journal.to_dict(), "outcome": outcome}
        write_json(self.journal.folder / f"{REPORT}.json", found)
        write_text(self.journal.folder / f"{REPORT}.md", text(found))
        gates = sorted(self.journal.folder.glob("gate/*/*.html"))
        links = {path.parent.name: path.relative_to(self.journal.folder).as_posix() for path in gates}
        write_text(self.journal.folder / f"{REPORT}.html", page(found, links))


#: By the history's names.
_DECISIONS = {"promote": PROMOTED, "refuse": REFUSED}
