"""A retraining from beginning to end: alone, for a reason, carried on where a killed one stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from backbeat.retraining.commands import alone, environment
from backbeat.retraining.flow import Flow, Ways
from backbeat.retraining.journal import Journal, Order
from backbeat.retraining.parties import Parties
from backbeat.retraining.reasons import Reasons, Signs, find_reason
from backbeat.retraining.workspace import Workspace

#: In the root of the checkout; git ignores it.
PLACE = ".retrain"
NOTHING = "nothing to do"
ABANDONED = "abandoned"
#: What belongs to whoever started this, and would lead git or MLflow astray.
_NOT_OURS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "MLFLOW_RUN_ID")


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Parameters
    ----------
    tasks
        What is trained.
    because, force
        As `find_reason` has them.
    fine_tune, experiment, commit
        As `Order` has them.
    restart
        Whether an unfinished run is thrown away.
    """

    tasks: tuple[str, ...]
    because: str = ""
    force: bool = False
    fine_tune: bool = False
    experiment: str = ""
    commit: bool = True
    restart: bool = False


@dataclass(frozen=True)
class Site:
    """Where and how retrainings run.

    Parameters
    ----------
    root
        The checkout.
    reasons, ways
        What is reason enough, and how it goes about it.
    variables
        For the programs of the pipeline, beside those that there are.
    """

    root: Path
    reasons: Reasons
    ways: Ways
    variables: dict[str, str] = field(default_factory=dict)

    def workspace(self, journal: Journal) -> Workspace:
        """Return where a run works; the pipeline's programs there take the code that is there."""
        tree = journal.folder / "tree"
        made = environment(
            self.root / PLACE,
            {
                **self.variables,
                "PYTHONPATH": os.pathsep.join([str(tree / "src"), str(tree)]),
                # DVC's notes of a worktree that is gone soon.
                "DVC_SITE_CACHE_DIR": str(journal.folder / "dvc"),
                "DVC_NO_ANALYTICS": "1",
            },
        )
        return Workspace(self.root, tree, {name: value for name, value in made.items() if name not in _NOT_OURS})


def retrain(
    site: Site,
    asked: Asked,
    signs: Callable[[], Signs],
    parties: Callable[[], Parties],
    say: Callable[[str], None],
) -> str:
    """Carry on the run that was not finished, or begin one if there is a reason.

    Parameters
    ----------
    signs
        Gives what there is to decide by.
    parties
        Gives whom to work with; asked only when there is work.
    say
        Called with each line for whoever watches.

    Returns
    -------
    "promoted", "refused" (all of them), "unchanged" (the training came to the champions themselves), "nothing to do".

    Raises
    ------
    RetrainingBusyError
        If another is at work.
    BackbeatError
        If a step cannot be done. The run is carried on from there another time.
    """
    place = site.root / PLACE
    with alone(place):
        journal = _unfinished(site, asked, say)
        if journal is None:
            found = find_reason(signs(), site.reasons, asked.because, force=asked.force)
            if not found.why:
                say(f"{NOTHING}: {'; '.join(found.looked)}")
                return NOTHING
            order = Order(found.why, asked.tasks, asked.fine_tune, asked.experiment, asked.commit)
            journal = Journal.begin(place, _head(site), order)
            say(f"run {journal.run}, because {order.why}")
            _tell_of_changes(site, say)
        outcome = Flow(site.workspace(journal), journal, parties(), site.ways, say).go()
        say(f"{outcome}: the report is {journal.folder / 'report.html'}")
        return outcome


def _unfinished(site: Site, asked: Asked, say: Callable[[str], None]) -> Journal | None:
    """Return the run to carry on, having thrown away one that is not to be."""
    journal = Journal.unfinished(site.root / PLACE)
    if journal is None:
        return None
    decided = any(journal.begun(f"judge {task}") for task in journal.order.tasks)
    moved_on = journal.failed() and not decided and _head(site) != journal.base
    if asked.restart or moved_on:
        site.workspace(journal).remove()
        journal.end(ABANDONED)
        say(f"run {journal.run} is thrown away" + (": the checkout has moved on since it failed" if moved_on else ""))
        return None
    done = [name for name, step in journal.steps.items() if step.state == "done"]
    say(f"carrying on run {journal.run}, begun {journal.began} because {journal.order.why}; done: {', '.join(done)}")
    say("  it keeps the tasks and options that it was begun with; --restart throws it away")
    return journal


def _head(site: Site) -> str:
    return Workspace(site.root, site.root, environment(site.root / PLACE)).git_here("rev-parse", "HEAD")


def _tell_of_changes(site: Site, say: Callable[[str], None]) -> None:
    here = Workspace(site.root, site.root, environment(site.root / PLACE))
    changed = here.git_here("status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        say(f"  {len(changed)} changed files of this checkout are not committed, and are not part of the run")
