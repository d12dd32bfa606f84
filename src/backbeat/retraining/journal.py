"""What a retraining has done so far: one JSON file in the folder of its run, written anew at every step.

A step is idempotent: a kill may come after it was done and before that is written here, and then it is done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backbeat.errors import RetrainingError
from backbeat.files import write_json

JOURNAL = "journal.json"
STARTED, DONE, FAILED = "started", "done", "failed"


@dataclass
class Step:
    """A step as the journal has it.

    Parameters
    ----------
    state
        "started", "done" or "failed".
    started, ended
        When, in UTC (ISO 8601); `ended` is empty while it goes on, and for ever when it was killed.
    out
        What came out, for the steps behind it.
    error
        Why it failed, in one line.
    attempts
        How often it was begun.
    """

    state: str
    started: str
    ended: str = ""
    out: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    attempts: int = 1


@dataclass(frozen=True)
class Order:
    """What a run is to do; a run that is carried on keeps its own.

    Parameters
    ----------
    why
        The reason, in words.
    tasks
        What is trained.
    fine_tune
        Whether training goes on from the champions.
    experiment
        How much of everything, as in `conf/experiment`; empty for what `params.yaml` says.
    commit
        Whether the result is committed and tagged.
    """

    why: str
    tasks: tuple[str, ...]
    fine_tune: bool = False
    experiment: str = ""
    commit: bool = True


class Journal:
    """The journal of one run.

    Parameters
    ----------
    folder
        Of the run; its name is the run's.
    """

    def __init__(self, folder: Path, base: str, order: Order, began: str, outcome: str, steps: dict[str, Step]) -> None:
        self.folder = folder
        self.base = base
        self.order = order
        self.began = began
        self.outcome = outcome
        self.steps = steps

    @property
    def run(self) -> str:
        """The run's name."""
        return self.folder.name

    @classmethod
    def begin(cls, place: Path, base: str, order: Order) -> Journal:
        """Begin a run at the commit `base`, in a folder of its own in `place`."""
        name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = place / name
        number = 2
        while folder.exists():
            folder, number = place / f"{name}-{number}", number + 1
        journal = cls(folder, base, order, _now(), "", {})
        journal.write()
        return journal

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Read the journal in a run's folder; RetrainingError when it cannot be read."""
        path = folder / JOURNAL
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            order = Order(**{**found["order"], "tasks": tuple(found["order"]["tasks"])})
            steps = {name: Step(**step) for name, step in found["steps"].items()}
            return cls(folder, found["base"], order, found["began"], found["outcome"], steps)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RetrainingError(f"{path}: cannot be read ({error}); remove {folder} to begin anew") from None

    @classmethod
    def unfinished(cls, place: Path) -> Journal | None:
        """Return the latest run in `place` when it has not come to its end."""
        folders = sorted(path.parent for path in place.glob(f"*/{JOURNAL}"))
        latest = cls.read(folders[-1]) if folders else None
        return None if latest is None or latest.outcome else latest

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "run": self.run,
            "base": self.base,
            "order": asdict(self.order),
            "began": self.began,
            "outcome": self.outcome,
            "steps": {name: asdict(step) for name, step in self.steps.items()},
        }

    def write(self) -> None:
        """Write it, atomically."""
        write_json(self.folder / JOURNAL, self.to_dict())

    def done(self, name: str) -> bool:
        """Tell whether a step is done."""
        return name in self.steps and self.steps[name].state == DONE

    def begun(self, name: str) -> bool:
        """Tell whether a step has ever been begun."""
        return name in self.steps

    def failed(self) -> bool:
        """Tell whether the run was ended by a step that failed, and not by a kill."""
        return any(step.state == FAILED for step in self.steps.values())

    def out(self, name: str) -> Mapping[str, Any]:
        """Return what came out of a step that is done."""
        return self.steps[name].out if self.done(name) else {}

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Record a step that is being done; give the dictionary for what comes out."""
        before = self.steps.pop(name, None)
        step = Step(STARTED, _now(), attempts=before.attempts + 1 if before else 1)
        self.steps[name] = step
        self.write()
        try:
            yield step.out
        except Exception as error:
            step.state, step.ended, step.error = FAILED, _now(), " ".join(str(error).split())[:500]
            self.write()
            raise
        step.state, step.ended = DONE, _now()
        self.write()

    def end(self, outcome: str) -> None:
        """Record that the run has come to its end, and how."""
        self.outcome = outcome
        self.write()


def seconds(step: Step) -> float | None:
    """Return how long a step took the last time; None when it has not ended."""
    if not step.ended:
        return None
    return (datetime.fromisoformat(step.ended) - datetime.fromisoformat(step.started)).total_seconds()


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
