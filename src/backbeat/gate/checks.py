"""The checks, each from numbers to a verdict and a sentence; nothing here reads, listens or writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbeat.evaluation.measures import style_name
from backbeat.gate.decision import Check, Group, TestSet
from backbeat.gate.paired import Differences, fall_probability, gather, limits, student_limits
from backbeat.gate.settings import GROUP_KINDS, GateSettings
from backbeat.genre.score import CALIBRATION_BINS, expected_calibration_error
from backbeat.statistics import Interval, bootstrap_interval, holm

_LISTED = 6


def overall(whole: Group, settings: GateSettings, task: str) -> Check:
    """Better over all tracks, or not worse by the margin."""
    margin, found = settings.margin[task], whole.difference
    words = (
        "better"
        if found.low > 0
        else f"not worse by {margin:g}"
        if found.low > -margin
        else f"a fall by {margin:g} or more cannot be excluded"
    )
    return Check(
        "overall",
        found.low > -margin,
        f"Over {_tracks(whole)} the challenger scores {whole.challenger:.3f}, the champion {whole.champion:.3f}: "
        f"{_signed(found)}; {words}.",
        found.value,
        found.low,
        found.high,
        margin,
    )


def enough(whole: Group, settings: GateSettings) -> Check:
    """Tracks enough to judge."""
    return Check(
        "tracks",
        whole.sources >= settings.least_tracks,
        f"The test sets have {_tracks(whole)} that can be scored; it takes {settings.least_tracks} to judge"
        + ("." if whole.sources == whole.tracks else ", where those of one source count as one."),
        float(whole.sources),
        margin=float(settings.least_tracks),
    )


def evidence(whole: Group, focus: Sequence[Group], settings: GateSettings, task: str) -> Check:
    """Say what the promotion rests on."""
    margin, low = settings.margin[task], whole.difference.low
    if settings.evidence == "no_loss":
        told = "No loss is asked for, and" if low > -margin else "Not even no loss is shown:"
        return Check(
            "evidence", low > -margin, f"{told} the lower limit is {low:+.3f}.", whole.difference.value, low, None, 0.0
        )
    better = [one for one in focus if one.verdict != "not judged" and one.difference.low > 0]
    missing = sorted(set(settings.focus) - {f"{one.kind}:{one.name}" for one in focus if one.verdict != "not judged"})
    note = f" Not judged, for want of tracks: {', '.join(missing)}." if missing else ""
    if low > 0:
        told = f"It is better over all tracks, by at least {low:.3f}."
    elif low > -margin and better:
        names = ", ".join(f"{_label(one)} by at least {one.difference.low:.3f}" for one in better)
        told = f"It is better on {names}, and not worse over all tracks."
    else:
        where = "over all tracks" + (" or on any group of the focus" if settings.focus else "")
        told = f"Nothing shows that it is better {where}."
    passed = low > 0 or (low > -margin and bool(better))
    return Check("evidence", passed, told + note, whole.difference.value, low, whole.difference.high, 0.0)


def better_than_chance(whole: Group) -> Check:
    """Tell whether a first champion does better than answers without hearing."""
    found = whole.difference
    words = "better" if found.low > 0 else "not shown to be better"
    sentence = (
        f"Over {_tracks(whole)} it scores {whole.challenger:.3f}, answers without hearing {whole.champion:.3f}: "
        f"{_signed(found)}; {words}."
    )
    return Check("chance", found.low > 0, sentence, found.value, found.low, found.high, 0.0)


def kept(name: str, found: Differences, settings: GateSettings) -> Check:
    """Another measure of the same tracks, not to be lost."""
    if found.sources < settings.least_tracks:
        return Check(f"kept: {name}", None, f"Too few tracks have a {name} to judge.", margin=settings.kept_margin)
    low, high = limits(found, settings.alpha, settings.resamples, settings.seed)
    passed = low > -settings.kept_margin
    told = "is kept" if passed else f"may have fallen by {settings.kept_margin:g} or more"
    sentence = f"{name} {told}: {_signed(Interval(found.mean, low, high, found.tracks))}."
    return Check(f"kept: {name}", passed, sentence, found.mean, low, high, settings.kept_margin)


def group_table(
    table: pd.DataFrame, settings: GateSettings, task: str, whole: Group
) -> tuple[tuple[Group, ...], list[Group]]:
    """Judge every corpus and style.

    Parameters
    ----------
    table
        A row a track that could be scored: corpus, style, source, champion, challenger.
    whole
        All tracks together, as `whole_of` gives them.

    Returns
    -------
    The whole and every group, and those of the focus with the limits that they are to win by.
    """
    parts = [
        (kind, str(name), rows, gather((rows["challenger"] - rows["champion"]).to_numpy(), rows["source"].tolist()))
        for kind in GROUP_KINDS
        for name, rows in table.groupby(kind)
        if name != ""
    ]
    judged = [part for part in parts if part[3].sources >= settings.least_group_tracks]
    chances = dict(
        zip([part[:2] for part in judged], holm([fall_probability(part[3]) for part in judged]).tolist(), strict=True)
    )
    groups, focus = [whole], []
    for kind, name, rows, found in parts:
        chance = chances.get((kind, name))
        low, high = student_limits(found, settings.alpha / max(1, len(judged)))
        verdict = _verdict(found.mean, chance, settings.group_margin[task], settings.alpha)
        group = _group(kind, name, rows, found, (low, high) if chance is not None else None, chance, verdict)
        groups.append(group)
        if f"{kind}:{name}" in settings.focus:
            bound = limits(found, settings.level, settings.resamples, settings.seed)
            focus.append(_group(kind, name, rows, found, bound, chance, verdict))
    return tuple(groups), focus


def whole_of(table: pd.DataFrame, settings: GateSettings) -> Group:
    """Judge all tracks together, with the limits that they are to win by."""
    found = gather((table["challenger"] - table["champion"]).to_numpy(), table["source"].tolist())
    bound = limits(found, settings.level, settings.resamples, settings.seed) if found.sources else None
    return _group("all", "all", table, found, bound, None, "held")


def groups_held(groups: Sequence[Group], settings: GateSettings, task: str) -> Check:
    """No style and no corpus has fallen."""
    margin, parts = settings.group_margin[task], [one for one in groups if one.kind != "all"]
    by = {verdict: [one for one in parts if one.verdict == verdict] for verdict in ("fell", "in doubt", "not judged")}
    judged = [one for one in parts if one.verdict != "not judged"]
    worst = min(judged, key=lambda one: one.difference.value, default=None)
    if by["fell"]:
        told = f"Fell by more than {margin:g}, and not by chance: {_names(by['fell'])}."
    else:
        told = f"None of {len(judged)} groups fell by more than {margin:g} beyond chance."
    if by["in doubt"]:
        told += f" Fell by more, which may be chance: {_names(by['in doubt'])}."
    if by["not judged"]:
        names = ", ".join(f"{_label(one)} ({one.sources})" for one in by["not judged"][:_LISTED])
        more = f" and {len(by['not judged']) - _LISTED} more" if len(by["not judged"]) > _LISTED else ""
        told += f" Not judged, with fewer than {settings.least_group_tracks}: {names}{more}."
    if worst is None:
        return Check("groups", None, told, margin=margin)
    found = worst.difference
    return Check("groups", not by["fell"], told, found.value, found.low, found.high, margin)


def latency(champion_s: NDArray[np.float64], challenger_s: NDArray[np.float64], settings: GateSettings) -> Check:
    """Time to hear a track, within the budget."""

    def ratio(places: NDArray[np.float64]) -> float:
        chosen = places.astype(np.int64)
        return float(challenger_s[chosen].sum() / champion_s[chosen].sum())

    places = np.arange(champion_s.size, dtype=np.float64)
    found = bootstrap_interval(places, statistic=ratio, resamples=500, seed=settings.seed, method="percentile")
    passed = found.value <= settings.latency_ratio
    sentence = (
        f"Hearing {champion_s.size} tracks takes it {challenger_s.mean() * 1e3:.0f} ms each, the champion "
        f"{champion_s.mean() * 1e3:.0f} ms: {found.value:.2f} times, of {settings.latency_ratio:g} allowed."
    )
    limits_known = not math.isnan(found.low)
    return Check(
        "latency",
        passed,
        sentence,
        found.value,
        found.low if limits_known else None,
        found.high if limits_known else None,
        settings.latency_ratio,
    )


def size(champion_bytes: int, challenger_bytes: int, settings: GateSettings) -> Check:
    """Bytes of the weights, within the budget."""
    ratio = challenger_bytes / max(1, champion_bytes)
    sentence = (
        f"Its weights are {challenger_bytes / 1e6:.2f} MB, the champion's {champion_bytes / 1e6:.2f} MB: "
        f"{ratio:.2f} times, of {settings.size_ratio:g} allowed."
    )
    return Check("size", ratio <= settings.size_ratio, sentence, ratio, margin=settings.size_ratio)


def calibration(
    champion: pd.DataFrame, challenger: pd.DataFrame, sources: Sequence[str], settings: GateSettings
) -> Check:
    """Probabilities that mean no less than they did.

    Parameters
    ----------
    champion, challenger
        Columns ``confidence`` and ``correct``, the same tracks in the same order.
    sources
        Of each track.
    """
    if "confidence" not in challenger:
        return Check("calibration", None, "Not applicable: the task gives no probabilities of its answers.")
    errors = [
        expected_calibration_error(table["confidence"].to_numpy(), table["correct"].to_numpy())
        for table in (champion, challenger)
    ]
    value = errors[1] - errors[0]
    low, high = _calibration_limits(champion, challenger, sources, settings)
    passed = value <= settings.calibration_margin
    sentence = (
        f"Its calibration error is {errors[1]:.3f}, the champion's {errors[0]:.3f}; it may grow by "
        f"{settings.calibration_margin:g}."
    )
    return Check("calibration", passed, sentence, value, low, high, settings.calibration_margin)


def _calibration_limits(
    champion: pd.DataFrame, challenger: pd.DataFrame, sources: Sequence[str], settings: GateSettings
) -> tuple[float, float]:
    """Return percentile limits of the growth of the calibration error, drawing sources."""
    _, places = np.unique(np.asarray(sources, dtype=object).astype(str), return_inverse=True)
    count = int(places.max()) + 1
    random = np.random.default_rng(settings.seed)
    weights = random.multinomial(count, np.full(count, 1 / count), size=settings.resamples).astype(np.float64)[
        :, places
    ]
    drawn = []
    for table in (champion, challenger):
        confidence, right = table["confidence"].to_numpy(), table["correct"].to_numpy()
        bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
        gaps = np.eye(CALIBRATION_BINS)[bins] * (confidence - right)[:, None]
        drawn.append(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))
    low, high = np.quantile(drawn[1] - drawn[0], [settings.alpha, 1 - settings.alpha])
    return float(low), float(high)


def classes(champion: Sequence[str], challenger: Sequence[str], truths: Sequence[str]) -> Check:
    """Genres that both know; one that is lost refuses, and tracks of one that a side does not know are wrong for it."""
    lost, gained = [sorted(set(a) - set(b)) for a, b in ((champion, challenger), (challenger, champion))]
    unknown = [sum(truth not in known for truth in truths) for known in (champion, challenger)]
    told = []
    if lost:
        told.append(f"It does not know {', '.join(lost)}, which the champion knows.")
    if gained:
        told.append(f"It knows {', '.join(gained)} besides.")
    told.append("Both know the same genres." if not lost and not gained else "")
    if any(unknown):
        told.append(
            f"Tracks of genres that a side does not know count as wrong for it: {unknown[0]} for the champion, "
            f"{unknown[1]} for the challenger."
        )
    return Check("classes", not lost, " ".join(filter(None, told)), float(len(lost)), margin=0.0)


def golden(right: Sequence[tuple[str, bool | None, bool]], settings: GateSettings) -> Check:
    """Golden tracks that were right are right.

    Parameters
    ----------
    right
        A track's name, whether the champion gets it right (None without a champion), and whether the challenger does.
    """
    hits = sum(challenger for _, _, challenger in right)
    if not right:
        return Check("golden", None, "No golden tracks.")
    if all(champion is None for _, champion, _ in right):
        share = hits / len(right)
        told = f"It gets {hits} of {len(right)} golden tracks right; a first champion gets {settings.first_golden:.0%}."
        return Check("golden", share >= settings.first_golden, told, share, margin=settings.first_golden)
    lost = [name for name, champion, challenger in right if champion and not challenger]
    before = sum(bool(champion) for _, champion, _ in right)
    told = f"Of {len(right)} golden tracks the champion gets {before} right, the challenger {hits}."
    if lost:
        told += f" Lost: {', '.join(lost[:_LISTED])}{' and others' if len(lost) > _LISTED else ''}."
    return Check("golden", not lost, told, float(len(lost)), margin=0.0)


def same_sets(now: Sequence[TestSet], before: Sequence[TestSet] | None) -> Check:
    """Whether the champion was decided on these sets; only to be known."""
    if before is None:
        return Check("sets", None, "On which sets the champion was decided is not known here.")
    old, new = ({one.corpus: one.sha256 for one in sets} for sets in (before, now))
    changed = sorted(name for name in old.keys() & new.keys() if old[name] != new[name])
    parts = [
        ("changed", changed),
        ("new", sorted(new.keys() - old.keys())),
        ("gone", sorted(old.keys() - new.keys())),
    ]
    told = "; ".join(f"{word}: {', '.join(names)}" for word, names in parts if names)
    if not told:
        return Check("sets", None, "These are the frozen sets that the champion was decided on.")
    return Check("sets", None, f"The sets differ from those that the champion was decided on ({told}).")


def _group(
    kind: str,
    name: str,
    rows: pd.DataFrame,
    found: Differences,
    bound: tuple[float, float] | None,
    chance: float | None,
    verdict: str,
) -> Group:
    low, high = bound or (math.nan, math.nan)
    means: dict[str, Any] = {side: float(rows[side].mean()) for side in ("champion", "challenger")}
    interval = Interval(found.mean, low, high, found.tracks)
    return Group(kind, name, found.tracks, found.sources, **means, difference=interval, chance=chance, verdict=verdict)


def _verdict(mean: float, chance: float | None, margin: float, alpha: float) -> str:
    if chance is None:
        return "not judged"
    if mean >= -margin:
        return "held"
    return "fell" if chance < alpha else "in doubt"


def _label(group: Group) -> str:
    return f"{group.kind} {style_name(group.name) if group.kind == 'style' else group.name}"


def _names(groups: Sequence[Group]) -> str:
    ordered = sorted(groups, key=lambda one: one.difference.value)
    return ", ".join(f"{_label(one)} by {-one.difference.value:.3f}" for one in ordered[:_LISTED])


def _tracks(group: Group) -> str:
    return f"{group.tracks} tracks" + ("" if group.sources == group.tracks else f" of {group.sources} sources")


def _signed(found: Interval) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
