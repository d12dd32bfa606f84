"""What the gate says: a verdict, the checks that it rests on, and the numbers behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from backbeat.errors import CorpusError
from backbeat.statistics import Interval


@dataclass(frozen=True)
class Check:
    """One thing that a challenger has to pass.

    Parameters
    ----------
    name
        "overall", "groups", "latency", ...
    passed
        None where there is nothing to pass: not applicable, or only to be known.
    sentence
        What was found, for a person.
    value, low, high
        The number that was judged and its limits; None where there is none.
    margin
        What it was held against.
    """

    name: str
    passed: bool | None
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class TestSet:
    """A frozen set of test tracks.

    Parameters
    ----------
    corpus, tracks, sources
        Its name, and how many tracks of how many sources there are.
    sha256
        Of the ids, truths and features of its tracks: the same where the set is the same.
    """

    __test__ = False  # to pytest this is none of its own

    corpus: str
    tracks: int
    sources: int
    sha256: str


@dataclass(frozen=True)
class Group:
    """The tracks of one corpus or style, or all of them.

    Parameters
    ----------
    kind, name
        "all", "corpus" or "style", and which.
    tracks, sources
        How many.
    champion, challenger
        Mean scores.
    difference
        Challenger less champion, with its limits; without, where it is not judged.
    chance
        How probable so deep a fall is by chance, adjusted for all groups; None where it is not judged.
    verdict
        "held", "fell", "in doubt" or "not judged".
    """

    kind: str
    name: str
    tracks: int
    sources: int
    champion: float
    challenger: float
    difference: Interval
    chance: float | None
    verdict: str


@dataclass(frozen=True)
class PairedTrack:
    """One track's scores; None where there was nothing to score."""

    corpus: str
    id: str
    style: str
    source: str
    champion: float | None
    challenger: float | None


@dataclass(frozen=True)
class Decision:
    """Whether a challenger is promoted, and why.

    Parameters
    ----------
    task, measure
        What the models are for, and what was compared.
    promoted, sentence
        The verdict, and why in one sentence.
    champion, challenger
        Names and versions; `champion` is empty where there was none.
    checks, sets, groups, tracks
        What it rests on.
    settings
        The gate's, as plain values.
    """

    task: str
    measure: str
    promoted: bool
    sentence: str
    champion: str
    challenger: str
    checks: tuple[Check, ...]
    sets: tuple[TestSet, ...]
    groups: tuple[Group, ...]
    tracks: tuple[PairedTrack, ...]
    settings: Mapping[str, Any]

    def check(self, name: str) -> Check:
        """Return a check by name; KeyError where it was not made."""
        return {check.name: check for check in self.checks}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as plain values for JSON; None for what is no number."""
        values: dict[str, Any] = plain(asdict(self))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """Read what `to_dict` gave; CorpusError where that is damaged."""
        try:
            found = dict(values)
            groups = tuple(Group(**{**one, **_numbers(one)}) for one in found.pop("groups"))
            return cls(
                **{name: found.pop(name) for name in ("task", "measure", "promoted", "sentence")},
                champion=found.pop("champion"),
                challenger=found.pop("challenger"),
                checks=tuple(Check(**one) for one in found.pop("checks")),
                sets=tuple(TestSet(**one) for one in found.pop("sets")),
                groups=groups,
                tracks=tuple(PairedTrack(**one) for one in found.pop("tracks")),
                settings=found.pop("settings"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"the decision is damaged: {error}") from None


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    difference: dict[str, Any] = {name: math.nan if x is None else x for name, x in group["difference"].items()}
    scores = {side: math.nan if group[side] is None else group[side] for side in ("champion", "challenger")}
    return {**scores, "difference": Interval(**difference)}


def plain(value: Any) -> Any:
    """Return settings, rows and whatever is in them as JSON has them; None for what is no number."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
