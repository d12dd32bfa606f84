"""Dividing tracks between train, valid and test: by class, never through a group, the same every time.

The order in which groups are dealt out is that of a hash of the seed, the class and the group's name, not of a
shuffled list; so a track added later leaves most of the others in the split where they were.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from backbeat.errors import ConfigError


@dataclass(frozen=True)
class Shares:
    """Which part of the tracks each split gets.

    Raises
    ------
    ConfigError
        If a share is negative, train gets nothing, or they do not add up to 1.
    """

    train: float = 0.7
    valid: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        shares = (self.train, self.valid, self.test)
        if min(shares) < 0 or self.train == 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise ConfigError(f"shares of train, valid and test {shares} must add up to 1, and train cannot be 0")


def assign_splits(genres: Sequence[str], groups: Sequence[str], shares: Shares, seed: int) -> list[str]:
    """Give each track its split.

    Within each class the groups are dealt out whole: test gets about its share of the tracks, then valid, and train
    the rest. A class with three groups or more has at least one of them in test, with four or more also one in valid;
    one with fewer stays in train. A group with several classes counts as the one it has most of.

    Parameters
    ----------
    genres
        The class of each track; empty is a class of its own.
    groups
        What may not be divided, for each track.
    shares
        Parts of the tracks.
    seed
        Another seed deals the groups out in another order.

    Returns
    -------
    list of str
        `train`, `valid` or `test` for each track.
    """
    sizes = Counter(groups)
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for genre, group in zip(genres, groups, strict=True):
        votes[group][genre] += 1
    classes: dict[str, list[str]] = defaultdict(list)
    for group, counts in votes.items():
        classes[min(counts, key=lambda genre: (-counts[genre], genre))].append(group)

    chosen: dict[str, str] = {}
    for genre, members in sorted(classes.items()):
        order = sorted(members, key=lambda group: _rank(seed, genre, group))
        tracks = sum(sizes[group] for group in order)
        at_least = 1 if len(order) >= 3 and shares.test else 0
        test = _deal(order, sizes, shares.test * tracks if len(order) >= 3 else 0, at_least)
        order = [group for group in order if group not in test]
        at_least = 1 if len(order) >= 3 and shares.valid else 0
        # A hair less, so that where both would be rounded up (15% of 10 tracks) only test is.
        valid = _deal(order, sizes, shares.valid * tracks - 1e-6 if len(order) >= 3 else 0, at_least)
        for group in members:
            chosen[group] = "test" if group in test else "valid" if group in valid else "train"
    if shares.valid and "valid" not in chosen.values():
        _lend_to_valid(chosen, classes, seed)
    return [chosen[group] for group in groups]


def _rank(seed: int, genre: str, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{genre}\0{group}".encode()).digest()


def _deal(order: list[str], sizes: Counter[str], target: float, at_least: int) -> set[str]:
    """Take groups in order until `target` tracks are reached as nearly as whole groups allow."""
    taken: set[str] = set()
    total = 0
    for group in order:
        if target > 0 and len(taken) < len(order) - 1 and total + sizes[group] <= target + 0.5:
            taken.add(group)
            total += sizes[group]
    if len(taken) < at_least:
        taken.add(min(order, key=lambda group: sizes[group]))
    return taken


def _lend_to_valid(chosen: dict[str, str], classes: dict[str, list[str]], seed: int) -> None:
    """With small classes only, none reaches valid: move one group there, of the class with most groups in train."""
    train = {
        genre: sorted((g for g in members if chosen[g] == "train"), key=lambda group: _rank(seed, genre, group))
        for genre, members in classes.items()
    }
    genre = max(sorted(train), key=lambda name: len(train[name]))
    if len(train[genre]) > 1:
        chosen[train[genre][0]] = "valid"
