"""Who became the champion of a task when, and why: an append-only list, and the one chain of champions it holds.

An alias of MLflow is set by whoever sets it last, so it cannot decide between two promoters. Adding to a list can: the
store numbers what is added, so there is one order, and each change tells which it was decided after. Of two that were
decided after the same one, the first in the list is the change; the other was late and counts for nothing.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

PROMOTE, ROLLBACK, REFUSE = "promote", "rollback", "refuse"


@dataclass(frozen=True)
class Event:
    """What was decided of a task's champion.

    Parameters
    ----------
    number
        In the task's history; numbers of decisions that came too late are missing.
    action
        "promote" or "rollback", both of which make `version` the champion, or "refuse", which does not.
    task, version
        "beat", and the number of the model that it is about.
    instead_of
        The champion that it was decided against; None where there was none.
    who, why
        In words.
    evidence
        MLflow run that holds the grounds; may be empty.
    at
        When, in UTC, by the registry's clock.
    """

    number: int
    action: str
    task: str
    version: str
    instead_of: str | None
    who: str
    why: str
    evidence: str
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {**asdict(self), "at": self.at.isoformat()}


@dataclass(frozen=True)
class Entry:
    """An event as the list has it.

    Parameters
    ----------
    event
        What was decided.
    after
        Number of the latest change that whoever decided had seen; 0 for none.
    token
        By which its writer knows it again: an answer that was lost may have had it written twice.
    """

    event: Event
    after: int
    token: str


@dataclass(frozen=True)
class Chain:
    """What a list comes to.

    Parameters
    ----------
    entries
        Those that count, oldest first.
    head
        Number of the latest change of champion; 0 for none.
    champion
        The version that it made champion; None where there was no change.
    earlier
        Versions to go back to, the nearest first.
    """

    entries: tuple[Entry, ...]
    head: int
    champion: str | None
    earlier: tuple[str, ...]

    def find(self, token: str) -> Event | None:
        """Return the event that was written with a token; None when it does not count."""
        return next((entry.event for entry in self.entries if entry.token == token), None)


def replay(entries: Iterable[Entry]) -> Chain:
    """Return the chain of champions of a list, whose entries may come in any order.

    A change counts when no other that counts lies between the one it was decided after and itself. What somebody
    deleted is taken to have been there, as the entries that were decided after it say.

    Going back leaves a version behind: it is not gone back to until it is promoted again.
    """
    counting: list[Entry] = []
    champions: list[str] = []
    left: set[str] = set()
    head = 0
    for entry in sorted(entries, key=lambda entry: entry.event.number):
        event = entry.event
        if event.action == REFUSE:
            counting.append(entry)
        elif head <= entry.after < event.number:
            counting.append(entry)
            head = event.number
            _follow(champions, left, event)
    now = champions[-1] if champions else None
    earlier = tuple(version for version in reversed(champions[:-1]) if version not in left and version != now)
    return Chain(tuple(counting), head, now, earlier)


def _follow(champions: list[str], left: set[str], event: Event) -> None:
    if not champions and event.instead_of:
        # It was made champion when there was no history yet.
        champions.append(event.instead_of)
    if event.action == ROLLBACK:
        left.add(event.instead_of or "")
        while champions and champions[-1] != event.version:
            champions.pop()
    left.discard(event.version)
    if not champions or champions[-1] != event.version:
        champions.append(event.version)


def author() -> str:
    """Return who is at work: the one CI names, or user@host."""
    named = os.environ.get("GITHUB_ACTOR") or os.environ.get("BUILD_USER")
    if named:
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
