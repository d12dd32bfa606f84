"""The chain of champions that a history holds: one, whoever wrote it in whatever order."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest

from backbeat.registry.ledger import PROMOTE, REFUSE, ROLLBACK, Entry, Event, author, replay


def entry(number: int, action: str, version: str, instead_of: str | None, after: int) -> Entry:
    at = datetime(2030, 1, 1, 0, number % 60, tzinfo=UTC)
    return Entry(Event(number, action, "beat", version, instead_of, "me", "because", "", at), after, f"token-{number}")


def written(*changes: tuple[str, str, str | None]) -> list[Entry]:
    """Return a history that one wrote: every change after the one before."""
    return [entry(number, *change, number - 1) for number, change in enumerate(changes, 1)]


def promotions(*versions: str) -> list[tuple[str, str, str | None]]:
    return [(PROMOTE, one, before) for one, before in zip(versions, [None, *versions], strict=False)]


@pytest.mark.parametrize("seed", range(20))
def test_whoever_adds_when_there_is_one_chain(seed: int) -> None:
    # Promoters look, then decide; what they do is compared with a champion that is changed by compare-and-swap.
    draw = random.Random(seed)  # noqa: S311 - a test's dice
    for _ in range(10):
        entries: list[Entry] = []
        seen = dict.fromkeys(range(draw.randint(2, 5)), (0, None))
        head, champion, won = 0, None, []
        for _ in range(draw.randint(1, 40)):
            one = draw.choice(list(seen))
            if draw.random() < 0.5:
                chain = replay(entries)
                seen[one] = (chain.head, chain.champion)
                continue
            after, instead_of = seen[one]
            number, action = len(entries) + 1, draw.choice([PROMOTE, PROMOTE, ROLLBACK, REFUSE])
            entries.append(entry(number, action, str(draw.randint(1, 9)), instead_of, after))
            if action == REFUSE:
                won.append(number)
            elif after == head:
                head, champion = number, entries[-1].event.version
                won.append(number)
        draw.shuffle(entries)
        chain = replay(entries)
        assert [entry.event.number for entry in chain.entries] == won
        assert (chain.head, chain.champion) == (head, champion)
        # Each change was decided against the champion that the one before it made.
        changes = [entry.event for entry in chain.entries if entry.event.action != REFUSE]
        assert [change.instead_of for change in changes[1:]] == [change.version for change in changes[:-1]]
        # What follows never changes what was.
        before = replay(one for one in entries if one.event.number <= head)
        assert (before.head, before.champion) == (head, champion)


@pytest.mark.parametrize(
    ("changes", "champion", "earlier"),
    [
        ([], None, []),
        (promotions("1"), "1", []),
        (promotions("1", "2", "3"), "3", ["2", "1"]),
        ([*promotions("1", "2", "3"), (ROLLBACK, "2", "3")], "2", ["1"]),
        ([*promotions("1", "2", "3"), (ROLLBACK, "2", "3"), (ROLLBACK, "1", "2")], "1", []),
        # What was gone back from is gone back to only when it was promoted again.
        ([*promotions("1", "2"), (ROLLBACK, "1", "2"), (PROMOTE, "3", "1")], "3", ["1"]),
        ([*promotions("1", "2"), (ROLLBACK, "1", "2"), (PROMOTE, "2", "1"), (PROMOTE, "3", "2")], "3", ["2", "1"]),
        ([*promotions("1", "2", "1"), (ROLLBACK, "2", "1")], "2", []),
        # One that was deleted from the registry was passed over.
        ([*promotions("1", "2", "3"), (ROLLBACK, "1", "3")], "1", []),
        # The champion from before there was a history.
        ([(PROMOTE, "5", "4"), (REFUSE, "6", "5")], "5", ["4"]),
    ],
)
def test_what_there_is_to_go_back_to(changes: list, champion: str | None, earlier: list[str]) -> None:
    chain = replay(written(*changes))
    assert (chain.champion, list(chain.earlier)) == (champion, earlier)


def test_what_was_deleted_from_a_history_takes_nothing_else_with_it() -> None:
    entries = written(*promotions("1", "2", "3"))
    late = entry(4, PROMOTE, "9", "2", 2)
    for missing in (1, 2):
        chain = replay([one for one in [*entries, late] if one.event.number != missing])
        assert (chain.champion, chain.head) == ("3", 3)
        assert chain.find("token-4") is None
    # What was decided on a history that has been made anew since counts for nothing in it.
    assert replay([entry(1, PROMOTE, "1", None, 7)]).champion is None


def test_an_event_is_plain_values() -> None:
    told = entry(1, PROMOTE, "2", "1", 0).event.to_dict()
    assert json.loads(json.dumps(told))["at"] == "2030-01-01T00:01:00+00:00"


def test_who_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILD_USER", raising=False)
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    assert author() == "octocat"
    monkeypatch.delenv("GITHUB_ACTOR")
    monkeypatch.setattr("socket.gethostname", lambda: "studio")
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    assert author() == "ann@studio"

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert author().endswith("@studio")
    assert author().startswith("uid-")
