"""Champion against challenger: from two model folders and test tracks to a decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from backbeat.dataset import REGISTERED_TASKS
from backbeat.errors import BackbeatError, ConfigError, CorpusError, ModelError
from backbeat.evaluation.scoring import Example, load
from backbeat.features import FeatureParams
from backbeat.gate import checks
from backbeat.gate.decision import Check, Decision, Group, PairedTrack, TestSet, plain
from backbeat.gate.golden import GoldenTrack, made_by_code
from backbeat.gate.paired import gather
from backbeat.gate.settings import GateSettings
from backbeat.gate.sides import (
    Contender,
    Deaf,
    Heard,
    name_sets,
    paired_scores,
    score_sides,
    time_in_turns,
    usable,
)
from backbeat.model import WEIGHTS

Progress = Callable[[Sequence[Example], str], Iterable[Example]]


@dataclass(eq=False)
class _Found:
    """What was found out so far: a refusal at any point tells it all."""

    champion: str = ""
    challenger: str = ""
    checks: list[Check] = field(default_factory=list)
    sets: tuple[TestSet, ...] = ()
    groups: tuple[Group, ...] = ()
    tracks: tuple[PairedTrack, ...] = ()


@dataclass(frozen=True, eq=False)
class _Match:
    """What is to be decided on, as `decide` was told."""

    task: str
    folders: tuple[Path | None, Path]
    examples: Sequence[Example]
    settings: GateSettings
    sources: Mapping[tuple[str, str], str]
    features: FeatureParams | None
    before: Sequence[TestSet] | None
    progress: Progress
    timer: Callable[[], float]

    def source(self, example: Example) -> str:
        """Return what the track shares with others; itself where it shares nothing."""
        return f"{example.corpus}/{self.sources.get((example.corpus, example.id), example.id)}"


def decide(
    task: str,
    champion: Path | None,
    challenger: Path,
    examples: Sequence[Example],
    settings: GateSettings,
    *,
    sources: Mapping[tuple[str, str], str] | None = None,
    features: FeatureParams | None = None,
    before: Sequence[TestSet] | None = None,
    progress: Progress = lambda items, _: items,
    timer: Callable[[], float] = time.perf_counter,
) -> Decision:
    """Decide whether a challenger is promoted.

    Whatever is wrong with the models, or keeps them from being compared, refuses the challenger with the reason.

    Parameters
    ----------
    task
        One of `REGISTERED_TASKS`.
    champion, challenger
        Model folders; None where there is no champion yet: the challenger is then held against answers without hearing.
    examples
        The frozen test tracks.
    settings
        Margins and budgets.
    sources
        What tracks share, by corpus and id: they are drawn together. A track that is not named is its own source.
    features
        The front end of `examples`; the challenger's when left out.
    before
        The sets that the champion was decided on, where that is known.
    progress
        Wraps the tracks as they are worked through.
    timer
        Seconds.

    Raises
    ------
    ConfigError
        If there is no such task, `settings` say nothing of it, or name a measure that it does not have.
    """
    if task not in REGISTERED_TASKS:
        raise ConfigError(f"there is no gate for {task!r}; the tasks are {', '.join(REGISTERED_TASKS)}")
    for name in ("measure", "margin", "group_margin"):
        if task not in getattr(settings, name):
            raise ConfigError(f"gate.{name} says nothing of {task}")
    folders = (champion, challenger)
    match = _Match(task, folders, examples, settings, sources or {}, features, before, progress, timer)
    found = _Found()
    try:
        _compare(match, found)
    except ConfigError:  # of the gate itself, of which no challenger is to blame
        raise
    except BackbeatError as error:
        found.checks.append(Check("comparison", False, f"They cannot be compared: {error}"))
    except Exception as error:  # an undecided gate would be one that a broken challenger can hold open
        found.checks.append(Check("comparison", False, f"They cannot be compared: {type(error).__name__}: {error}"))
    return _concluded(task, settings, found)


def refused(task: str, settings: GateSettings, champion: str, challenger: str, reason: str) -> Decision:
    """Refuse a challenger that there is nothing to compare of, for a reason."""
    check = Check("comparison", False, f"They cannot be compared: {reason}")
    return _concluded(task, settings, _Found(champion, challenger, [check]))


def _concluded(task: str, settings: GateSettings, found: _Found) -> Decision:
    failed = [check for check in found.checks if check.passed is False]
    if failed:
        names = " and ".join(check.name for check in failed)
        sentence = f"Refused, for {names}: {failed[0].sentence}"
    else:
        proof = next(check for check in found.checks if check.name in ("evidence", "chance"))
        count = sum(check.passed is True for check in found.checks)
        sentence = f"Promoted: {proof.sentence} All {count} checks pass."
    return Decision(
        task=task,
        measure=settings.measure[task],
        promoted=not failed,
        sentence=sentence,
        champion=found.champion,
        challenger=found.challenger,
        checks=tuple(found.checks),
        sets=found.sets,
        groups=found.groups,
        tracks=found.tracks,
        settings=plain(asdict(settings)),
    )


def _compare(match: _Match, found: _Found) -> None:
    """Make every check; what is found goes into `found` as it comes."""
    old_folder, new_folder = match.folders
    new = _loaded(match.task, new_folder, "the challenger")
    found.challenger = new.name
    found.checks.append(Check("loads", True, "It loads, and its weights are numbers."))
    params = match.features or new.model.spec.features
    old = None if old_folder is None else _loaded(match.task, old_folder, "the champion")
    found.champion = old.name if old else ""
    for side in filter(None, (old, new)):
        if side.model.spec.features != params:
            raise ModelError(f"{side.name} hears another front end than the features of the test sets have")
    if not match.examples:
        raise CorpusError(f"no test track is annotated for {match.task}")
    count = len(match.examples)
    timed = set(np.linspace(0, count - 1, min(match.settings.timed_tracks, count)).astype(int).tolist())
    deaf = Deaf.of(match.examples, params)
    tables, digests, heard = score_sides(
        (old or deaf, new), match.progress(match.examples, f"gate: {match.task}"), timed
    )
    sources = [match.source(example) for example in match.examples]
    found.sets = name_sets(match.examples, digests, sources)
    _score_checks(match, found, tables, sources, first=old is None)
    if old is not None and old_folder is not None:
        _side_checks(match, found, old, new, tables, sources, heard)
        old_bytes, new_bytes = ((folder / WEIGHTS).stat().st_size for folder in (old_folder, new_folder))
        found.checks.append(checks.size(old_bytes, new_bytes, match.settings))
    found.checks.append(_golden_check(match, old, new, params))
    found.checks.append(
        checks.same_sets(found.sets, match.before)
        if old
        else Check("champion", None, f"There is no champion yet: it was held against {deaf.name}.")
    )


def _loaded(task: str, folder: Path, who: str) -> Contender:
    try:
        model = load(task, folder)
        usable(model)
    except Exception as error:  # a specification may ask a network for anything
        raise ModelError(f"{who} cannot be used: {error}") from error
    return Contender(model)


def _score_checks(
    match: _Match, found: _Found, tables: tuple[pd.DataFrame, pd.DataFrame], sources: Sequence[str], *, first: bool
) -> None:
    settings, task = match.settings, match.task
    scores = paired_scores(tables[0], tables[1], settings.measure[task])
    table = pd.DataFrame(
        {
            "corpus": [example.corpus for example in match.examples],
            "id": [example.id for example in match.examples],
            "style": [example.style for example in match.examples],
            "source": sources,
            "champion": scores[0],
            "challenger": scores[1],
        }
    )
    found.tracks = tuple(PairedTrack(**plain(row)) for row in table.to_dict("records"))
    scored = table.dropna(subset=["champion", "challenger"])
    if scored.empty:
        raise CorpusError(f"no test track has a {settings.measure[task]}")
    whole = checks.whole_of(scored, settings)
    found.groups, focus = checks.group_table(scored, settings, task, whole)
    if first:
        found.checks.append(checks.better_than_chance(whole))
        return
    found.checks.append(checks.enough(whole, settings))
    found.checks.append(checks.overall(whole, settings, task))
    found.checks.append(checks.evidence(whole, focus, settings, task))
    for name in settings.kept.get(task, ()):
        before, after = paired_scores(tables[0], tables[1], name)
        known = ~np.isnan(before)
        chosen = [source for source, one in zip(sources, known, strict=True) if one]
        found.checks.append(checks.kept(name, gather((after - before)[known], chosen), settings))
    found.checks.append(checks.groups_held(found.groups, settings, task))


def _side_checks(
    match: _Match,
    found: _Found,
    old: Contender,
    new: Contender,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    sources: Sequence[str],
    heard: Sequence[Heard],
) -> None:
    settings = match.settings
    times = time_in_turns(old, new, heard, settings.timing_rounds, match.timer)
    check = checks.latency(*times, settings)
    if not check.passed:
        # A budget that is only just broken may be the machine's doing: the shortest of three times as many decides.
        again = time_in_turns(old, new, heard, 2 * settings.timing_rounds, match.timer)
        check = checks.latency(np.minimum(times[0], again[0]), np.minimum(times[1], again[1]), settings)
    found.checks.append(check)
    found.checks.append(checks.calibration(tables[0], tables[1], sources, settings))
    if match.task == "genre":
        truths = [str(example.truth) for example in match.examples]
        found.checks.append(checks.classes(old.model.spec.classes, new.model.spec.classes, truths))


def _golden_check(match: _Match, old: Contender | None, new: Contender, params: FeatureParams) -> Check:
    settings, task = match.settings, match.task
    known = {f"{example.corpus}/{example.id}": example for example in match.examples}
    missing = sorted(set(settings.golden.get(task, ())) - known.keys())
    if missing:
        return Check("golden", False, f"gate.golden names {missing[0]}, which is not in the test sets.")
    named = [
        GoldenTrack(known[name], settings.measure[task], settings.golden_right)
        for name in settings.golden.get(task, ())
    ]
    tracks = [*made_by_code(task, params), *named]
    right = [(track.name, None if old is None else track.right(old), track.right(new)) for track in tracks]
    return checks.golden(right, settings)
