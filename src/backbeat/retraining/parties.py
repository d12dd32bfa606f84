"""Whom a retraining works with: the registry, the gate, corrections and what listeners did, as it needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Models(Protocol):
    """The registry, as `backbeat.registry.Registry` is."""

    def register(self, folder: Path) -> Any:
        """Register the model of a folder; the version that it has already, where it was registered before."""
        ...

    def challenge(self, version: Any) -> Any:
        """Mark a version as the challenger."""
        ...

    def champion(self, task: str) -> Any:
        """Return the version that is served, or None."""
        ...

    def history(self, task: str) -> Sequence[Any]:
        """Return what was decided: events with `action`, `version`, `who` and `why`."""
        ...


@dataclass(frozen=True)
class Case:
    """What the gate is to decide.

    Parameters
    ----------
    task, challenger
        The version that is to be compared with the champion.
    tree
        Where corpora, labels and features lie, in `data/`.
    reports
        The folder for what was found, in `gate/TASK`.
    focus
        Groups, such as "corpus:corrections", on which to be better is a reason to promote.
    who
        Who decides, for the history.
    """

    task: str
    challenger: Any
    tree: Path
    reports: Path
    focus: tuple[str, ...]
    who: str


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, and told the registry.

    Parameters
    ----------
    promoted
        Whether the challenger is champion now.
    why
        In a sentence.
    """

    promoted: bool
    why: str


class Gate(Protocol):
    """Decides between champion and challenger, and has the registry promote or refuse as the last thing it does."""

    def __call__(self, case: Case) -> Verdict:
        """Decide."""
        ...


class Corrections(Protocol):
    """What users have corrected."""

    def pending(self) -> int:
        """Return how many corrections no corpus has yet."""
        ...

    def write(self, folder: Path) -> str:
        """Write all of them, old and new, as a source of kind `folder`; return the version, "" when there are none.

        The same corrections are the same version and the same files, and a track never changes its split.
        """
        ...

    def mark(self, folder: Path) -> object:
        """Record that the corrections in a folder that was written have been trained on."""
        ...


class Interactions(Protocol):
    """What listeners did."""

    def write(self, folder: Path) -> str:
        """Write all of it, with the items concerned; return the version, "" when there is nothing."""
        ...


@dataclass(frozen=True)
class Parties:
    """All of them; corrections are None where nothing is monitored, interactions where there is no catalogue.

    Parameters
    ----------
    who
        Who is at work, for the history.
    """

    models: Models
    gate: Gate
    corrections: Corrections | None
    who: str
    interactions: Interactions | None = None
