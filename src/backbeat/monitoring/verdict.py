"""What a check for drift is asked, and what it finds, as values."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from backbeat.errors import ConfigError
from backbeat.monitoring.comparing import Distance

GROUPS = ("input", "output")


@dataclass(frozen=True)
class DriftSettings:
    """What counts as drift.

    Parameters
    ----------
    level
        Chance that a check calls drift where there is none, at most; half of it is the columns', half the embedding's.
    min_rows
        Files of different content that are needed for a verdict.
    min_values
        Values of a column, on either side, that are needed for it to be judged.
    least_wasserstein, least_jensen_shannon, least_missing, least_mmd
        Distances below which nothing has drifted, however sure that is: of numbers in standard deviations of the
        reference, of names, of rates of missing values, of embeddings.
    permutations
        By which the embedding's threshold is settled.
    share_input, share_output
        Part of a group's judged columns that must have drifted for the whole to have.
    seed
        Of permutations.

    Raises
    ------
    ConfigError
        If a number makes no sense, or so few permutations cannot show what the level asks.
    """

    level: float
    min_rows: int
    min_values: int
    least_wasserstein: float
    least_jensen_shannon: float
    least_missing: float
    least_mmd: float
    permutations: int
    share_input: float
    share_output: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ConfigError("drift: level must lie between 0 and 1")
        if self.min_rows < 2 or self.min_values < 2:
            raise ConfigError("drift: min_rows and min_values must be 2 or more")
        for name in GROUPS:
            if not 0 < self.share(name) <= 1:
                raise ConfigError(f"drift: share_{name} must be above 0 and at most 1")
        if self.permutations + 1 < 2 / self.level:
            raise ConfigError(f"drift: a level of {self.level:g} needs {math.ceil(2 / self.level) - 1} permutations")

    def share(self, group: str) -> float:
        """Return the part of a group's columns that must have drifted."""
        return self.share_input if group == "input" else self.share_output

    def least(self, kind: str) -> float:
        """Return the distance that "number", "name" or "missing" must have."""
        return {
            "number": self.least_wasserstein,
            "name": self.least_jensen_shannon,
            "missing": self.least_missing,
        }[kind]


@dataclass(frozen=True)
class ColumnDrift:
    """What became of one column.

    Parameters
    ----------
    name, group, kind
        The measure, "input" or "output", and "number" or "name".
    drift
        None where it was not judged; `reason` says why.
    p, distance
        Of its values: adjusted for all columns, and how far apart; None where they were not compared.
    missing_p, missing_distance
        Of the rates at which there is no value; None where neither side lacks any.
    now, before
        Values on either side.
    reason
        What has drifted, or why nothing was judged; empty where all is as it was.
    """

    name: str
    group: str
    kind: str
    drift: bool | None
    p: float | None
    distance: float | None
    missing_p: float | None
    missing_distance: float | None
    now: int
    before: int
    reason: str = ""


@dataclass(frozen=True)
class GroupDrift:
    """How many columns of a group were judged and have drifted, and the part that makes it drift of the whole."""

    judged: int
    drifted: int
    limit: float

    @property
    def share(self) -> float:
        """The part of the judged columns that has drifted."""
        return self.drifted / self.judged if self.judged else 0.0

    @property
    def drift(self) -> bool:
        """Whether that is drift of the whole."""
        return self.drifted > 0 and self.share >= self.limit


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Parameters
    ----------
    drift
        None where nothing was judged; `reason` says why.
    rows
        Files of different content that were looked at.
    window
        When the first and the last of them came, seconds since 1970.
    reason
        One line for people.
    columns
        Each column that is compared, inputs first.
    groups
        By name.
    embedding
        None where it was not judged.
    settings
        By which it was judged.
    models
        The run of each model that the reference was made with.
    at
        When it was judged, seconds since 1970.
    """

    drift: bool | None
    rows: int
    window: tuple[float, float]
    reason: str
    columns: tuple[ColumnDrift, ...] = ()
    groups: Mapping[str, GroupDrift] = field(default_factory=dict)
    embedding: Distance | None = None
    settings: DriftSettings | None = None
    models: Mapping[str, str | None] = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    @property
    def share(self) -> float:
        """The part of all judged columns that has drifted."""
        judged = [column for column in self.columns if column.drift is not None]
        return sum(bool(column.drift) for column in judged) / len(judged) if judged else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "drift": self.drift,
            "rows": self.rows,
            "share": round(self.share, 4),
            "reason": self.reason,
            "window": list(self.window),
            "at": self.at,
            "groups": {
                name: {**asdict(group), "share": round(group.share, 4), "drift": group.drift}
                for name, group in self.groups.items()
            },
            "embedding": None if self.embedding is None else asdict(self.embedding),
            "columns": [asdict(column) for column in self.columns],
            "settings": None if self.settings is None else asdict(self.settings),
            "models": dict(self.models),
        }
