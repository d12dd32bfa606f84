"""Whether traffic is like what the models were trained for: a verdict over inputs, outputs and embeddings.

Every column is compared by a test and a distance (`comparing`); the p-values of all columns are adjusted together, so
that a check calls drift at a stated chance where there is none, and the distance keeps large windows from calling
trifles drift. What cannot be judged is said to be so, and a window that is too small is no verdict at all.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from backbeat.monitoring.comparing import Distance, compared, embeddings_compared
from backbeat.monitoring.judging import Statistics, asked, from_run, is_nan, judged_columns
from backbeat.monitoring.reference import Reference
from backbeat.monitoring.verdict import GROUPS, ColumnDrift, DriftSettings, GroupDrift, Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnDrift", "DriftSettings", "GroupDrift", "Verdict", "check", "distinct"]

#: At most so many rows of a side have their embeddings compared: distances are taken between all pairs.
_MOST_EMBEDDINGS = 1000


def check(
    rows: pd.DataFrame, reference: Reference, settings: DriftSettings, statistics: Statistics = compared
) -> Verdict:
    """Judge whether traffic has drifted from the reference.

    Parameters
    ----------
    rows
        Of `rows.table_of`. Several rows of one content are one: a client that repeats itself is no evidence.
    reference
        What they are compared with. Answers of other models than it was made with are not compared.
    statistics
        Computes p-values and distances: Evidently, when left out.
    """
    now = distinct(rows)
    window = (float(now["at"].min()), float(now["at"].max())) if len(now) else (0.0, 0.0)
    if len(now) < settings.min_rows:
        reason = f"too few files to judge: {len(now)} of different content, {settings.min_rows} are needed"
        return Verdict(None, len(now), window, reason, settings=settings, models=reference.runs)
    columns = judged_columns(asked(now, reference.runs), asked(reference.table, None), settings, statistics)
    groups = {name: _group(columns, name, settings) for name in GROUPS}
    embedding = _embedding(now, reference, settings)
    drift = any(group.drift for group in groups.values()) or (embedding is not None and embedding.drift)
    reason = _reason(columns, groups, embedding)
    if not groups["output"].judged:
        reason += "; answers were not judged: too few, or of other models than the reference's"
    return Verdict(drift, len(now), window, reason, columns, groups, embedding, settings, reference.runs)


def distinct(rows: pd.DataFrame) -> pd.DataFrame:
    """Put rows of one content together: of each column the last value that there is; rows without content stay."""
    import pandas as pd

    if rows.empty or "sha256" not in rows.columns or not rows.loc[rows["sha256"] != "", "sha256"].duplicated().any():
        return rows
    merged: dict[Hashable, dict[Hashable, Any]] = {}
    for place, row in enumerate(rows.to_dict("records")):
        known = merged.setdefault(row["sha256"] or place, row)
        for name, value in row.items():
            # What one request was told, another may not have asked for.
            if value is None:
                known[name] = None if is_nan(known[name]) else known[name]
            elif not is_nan(value):
                known[name] = value
    return pd.DataFrame(list(merged.values()), dtype=object)


def _group(columns: tuple[ColumnDrift, ...], name: str, settings: DriftSettings) -> GroupDrift:
    judged = [column for column in columns if column.group == name and column.drift is not None]
    return GroupDrift(len(judged), sum(bool(column.drift) for column in judged), settings.share(name))


def _embedding(now: pd.DataFrame, reference: Reference, settings: DriftSettings) -> Distance | None:
    """Compare the embeddings of both sides; None where there are too few, or they are of different lengths."""
    if "embedding" not in now.columns:
        return None
    mine = from_run(now, "genre", reference.runs.get("genre"))
    sides = [
        [value for value in column if isinstance(value, np.ndarray)]
        for column in (now["embedding"].to_numpy()[mine], reference.table["embedding"])
    ]
    if min(map(len, sides)) < settings.min_values or len({value.shape for side in sides for value in side}) > 1:
        return None
    random = np.random.default_rng(settings.seed)
    stacked = [np.stack([side[place] for place in random.permutation(len(side))[:_MOST_EMBEDDINGS]]) for side in sides]
    return embeddings_compared(
        *stacked,
        level=settings.level / 2,
        least=settings.least_mmd,
        permutations=settings.permutations,
        seed=settings.seed,
    )


def _reason(columns: tuple[ColumnDrift, ...], groups: Mapping[str, GroupDrift], embedding: Distance | None) -> str:
    """Say in one line what has drifted, what is furthest first."""
    parts = []
    for name, group in groups.items():
        if group.drifted:
            drifted = sorted(
                (column for column in columns if column.group == name and column.drift),
                key=lambda column: -(column.distance or 0),
            )
            listed = ", ".join(column.name for column in drifted[:4]) + (", ..." if len(drifted) > 4 else "")
            parts.append(f"{group.drifted} of {group.judged} {name} columns ({listed})")
    if embedding is not None and embedding.drift:
        parts.append("the embedding")
    if not parts:
        return "as the reference"
    whole = any(group.drift for group in groups.values()) or (embedding is not None and embedding.drift)
    return ("drifted: " if whole else "not enough for drift: ") + "; ".join(parts)
