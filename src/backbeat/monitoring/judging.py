"""Judging columns: what traffic and reference have of each measure, and whether the two differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbeat.monitoring.comparing import Sample, missing_differs
from backbeat.monitoring.reference import INPUTS
from backbeat.monitoring.verdict import ColumnDrift, DriftSettings
from backbeat.music.drums import DRUMS
from backbeat.statistics import holm

if TYPE_CHECKING:
    import pandas as pd

#: Measures of the answers that are compared, by what they are of and the models that they come from.
OUTPUTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tempo_bpm": ("number", ("beat",)),
    "time_signature": ("name", ("beat", "onset")),
    "beat_confidence": ("number", ("beat",)),
    "beats_per_s": ("number", ("beat",)),
    "onsets_per_s": ("number", ("onset",)),
    "onset_strength": ("number", ("onset",)),
    "drums_per_s": ("number", ("onset",)),
    **{f"drum_{drum}_per_s": ("number", ("onset",)) for drum in DRUMS},
    "genre": ("name", ("genre",)),
    "genre_unsure": ("name", ("genre",)),
    "genre_probability": ("number", ("genre",)),
}
#: Of every measure that is compared: its kind, and the models that it comes from.
COMPARED: dict[str, tuple[str, tuple[str, ...]]] = {**{name: (kind, ()) for name, kind in INPUTS.items()}, **OUTPUTS}

Statistics = Callable[[Mapping[str, Sample]], dict[str, tuple[float, float]]]


@dataclass(frozen=True, eq=False)
class Asked:
    """Of one measure: what was found of what was asked for, and how often nothing was."""

    values: NDArray[Any]
    missing: int

    @property
    def count(self) -> int:
        """How often it was asked for."""
        return len(self.values) + self.missing


def is_nan(value: Any) -> bool:
    """Tell whether a value of a table is NaN: not asked for."""
    return isinstance(value, float) and math.isnan(value)


def asked(table: pd.DataFrame, runs: Mapping[str, str | None] | None) -> dict[str, Asked]:
    """Return what there is of each measure that is compared.

    Parameters
    ----------
    runs
        Of the models whose answers are wanted, by task; None for the reference's own table.
    """
    found = {}
    for name, (kind, tasks) in COMPARED.items():
        if name not in table.columns:
            found[name] = Asked(np.empty(0), 0)
            continue
        wanted = np.ones(len(table), dtype=bool)
        for task in tasks if runs is not None else ():
            wanted &= from_run(table, task, (runs or {}).get(task))
        asked = [value for value in table[name].to_numpy()[wanted] if not is_nan(value)]
        values = [value for value in asked if value is not None]
        made = np.array(values, dtype=np.float64) if kind == "number" else np.array([_name(value) for value in values])
        found[name] = Asked(made, len(asked) - len(values))
    return found


def from_run(table: pd.DataFrame, task: str, run: str | None) -> NDArray[np.bool_]:
    """Tell which rows a task's model of the reference has answered; models whose run is not known pass for it."""
    version, theirs = f"{task}_version", f"{task}_run"
    if version not in table.columns:
        return np.zeros(len(table), dtype=bool)
    answered = table[version].notna().to_numpy()
    if run is None or theirs not in table.columns:
        return answered
    same: NDArray[np.bool_] = answered & np.array([other is None or other == run for other in table[theirs]])
    return same


def _name(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def judged_columns(
    now: Mapping[str, Asked], before: Mapping[str, Asked], settings: DriftSettings, statistics: Statistics
) -> tuple[ColumnDrift, ...]:
    """Judge every column; the p-values of all are adjusted together."""
    least = settings.min_values
    samples = {
        name: Sample(kind, now[name].values, before[name].values)
        for name, (kind, _) in COMPARED.items()
        if min(len(now[name].values), len(before[name].values)) >= least
    }
    rates = {
        name: missing_differs(now[name].missing, now[name].count, before[name].missing, before[name].count)
        for name in COMPARED
        if min(now[name].count, before[name].count) >= least and now[name].missing + before[name].missing
    }
    found = statistics(samples) if samples else {}
    adjusted = holm([p for p, _ in found.values()] + [p for p, _ in rates.values()])
    values = {name: (float(adjusted[place]), found[name][1]) for place, name in enumerate(found)}
    missing = {name: (float(adjusted[len(found) + place]), rates[name][1]) for place, name in enumerate(rates)}
    return tuple(_column(name, now[name], before[name], values, missing, settings) for name in COMPARED)


def _column(
    name: str,
    now: Asked,
    before: Asked,
    values: Mapping[str, tuple[float, float]],
    missing: Mapping[str, tuple[float, float]],
    settings: DriftSettings,
) -> ColumnDrift:
    kind = COMPARED[name][0]
    p, distance = values.get(name, (None, None))
    missing_p, missing_distance = missing.get(name, (None, None))
    reasons = []
    checked = ((kind, "its values", values.get(name)), ("missing", "how often there is none", missing.get(name)))
    for what, words, found in checked:
        if found and found[0] <= settings.level / 2 and found[1] >= settings.least(what):
            reasons.append(words)
    judged = p is not None or missing_p is not None
    reason = " and ".join(reasons)
    if not judged:
        few = "traffic" if now.count < settings.min_values else "the reference"
        reason = f"not judged: {few} has it {min(now.count, before.count)} times, {settings.min_values} are needed"
    return ColumnDrift(
        name,
        "input" if name in INPUTS else "output",
        kind,
        bool(reasons) if judged else None,
        p,
        distance,
        missing_p,
        missing_distance,
        len(now.values),
        len(before.values),
        reason,
    )
