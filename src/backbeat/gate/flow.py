"""From a registry's challenger to a decision that the registry knows: what `pipelines.promote` and retraining do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from backbeat.corpus.contract import ANNOTATIONS, read_corpus
from backbeat.dataset import FeatureStore, LabelledTrack, read_labels
from backbeat.errors import BackbeatError, ConfigError, RegistryError
from backbeat.evaluation.scoring import examples_from_features, examples_of_listeners
from backbeat.gate.deciding import Progress, decide, refused
from backbeat.gate.decision import Decision, TestSet
from backbeat.gate.report import DECISION, write_decision
from backbeat.gate.settings import GateSettings
from backbeat.listening.data import read_items
from backbeat.tracking import Tracking, logged_run, tracked_run

if TYPE_CHECKING:
    from backbeat.registry import Version

#: Where a decision lies among the artifacts of its challenger's run.
ARTIFACTS = "gate"


class Decider(Protocol):
    """What is asked of a registry."""

    def champion(self, task: str) -> Version | None:
        """Return the champion; None when there is none."""
        ...

    def challenger(self, task: str) -> Version | None:
        """Return the challenger; None when there is none."""
        ...

    def fetch(self, version: Version, places: Path) -> Path:
        """Bring a version's folder under `places`."""
        ...

    def promote(
        self, version: Version, *, instead_of: str | None, why: str, who: str = "", evidence: str = ""
    ) -> object:
        """Make a version the champion."""
        ...

    def refuse(self, version: Version, *, why: str, who: str = "", evidence: str = "") -> object:
        """Write down that a version was refused."""
        ...


@dataclass(frozen=True)
class GatePlaces:
    """Where the gate finds things and puts them.

    Parameters
    ----------
    labels, features, listening, corpora
        The pipeline's; tracks share the sources that the corpora tell, where those are there.
    reports
        Decisions go to `reports`/gate/TASK.
    models
        Versions are fetched under this.
    """

    labels: Path
    features: Path
    listening: Path
    corpora: Path
    reports: Path
    models: Path


def decide_and_record(
    registry: Decider,
    task: str,
    settings: GateSettings,
    places: GatePlaces,
    tracking: Tracking,
    *,
    challenger: Version | None = None,
    who: str = "",
    progress: Progress = lambda items, _: items,
) -> Decision:
    """Decide on a challenger; write, log and register what was decided, in this order.

    Whoever is stopped before the last step has changed no champion, and may run it again.

    Parameters
    ----------
    registry
        `backbeat.registry.Registry`.
    task
        One of `dataset.REGISTERED_TASKS`.
    settings, places
        The gate's.
    tracking
        Where the challenger's run is, which gets the report; no report is logged without a URI.
    challenger
        A version; the registry's challenger when left out.
    who
        Who decides, as the registry writes it down.
    progress
        Wraps the tracks as they are worked through.

    Raises
    ------
    ConfigError
        If there is no challenger, or the settings make no sense.
    CorpusError
        If the pipeline has no test tracks for the task.
    RegistryError
        If the registry cannot be used, or another became champion meanwhile.
    """
    champion, new = registry.champion(task), challenger or registry.challenger(task)
    if new is None:
        raise ConfigError(f"backbeat-{task} has no challenger: name a version, or a model folder to register")
    if champion is not None and champion.version == new.version:
        raise RegistryError(f"{new.name} is the champion already")
    decision = _decided(registry, task, settings, places, champion, new, _sets(tracking, champion), progress)
    report = places.reports / "gate" / task
    write_decision(decision, report)
    tags = {"task": task, "commit": new.commit, "data": new.data_hash}
    with tracked_run(tracking, f"{task}-gate", tags, run_id=new.run) as run:
        run.metrics(_metrics(decision))
        run.files(report, ARTIFACTS)
    said = {"why": decision.sentence, "who": who, "evidence": run.run_id}
    if decision.promoted:
        registry.promote(new, instead_of=champion.version if champion else None, **said)
    else:
        registry.refuse(new, **said)
    return decision


def _decided(
    registry: Decider,
    task: str,
    settings: GateSettings,
    places: GatePlaces,
    champion: Version | None,
    new: Version,
    before: Sequence[TestSet] | None,
    progress: Progress,
) -> Decision:
    tracks = read_labels(places.labels, task)
    if task == "listening":
        examples, params = examples_of_listeners(tracks, places.listening), read_items(places.listening).features
    else:
        store = FeatureStore(places.features)
        examples = examples_from_features(task, tracks, store)
        params = store.params(sorted({example.corpus for example in examples}))
    try:
        folders = (registry.fetch(champion, places.models) if champion else None, registry.fetch(new, places.models))
    except RegistryError:
        raise
    except BackbeatError as error:
        return refused(task, settings, champion.name if champion else "", new.name, str(error))
    return decide(
        task,
        *folders,
        examples,
        settings,
        sources=sources_of(places.corpora, tracks),
        features=params,
        before=before,
        progress=progress,
    )


def sources_of(corpora: Path, tracks: Sequence[LabelledTrack]) -> dict[tuple[str, str], str]:
    """Return what may not be divided, by corpus and id, of corpora that are there; labels alone do not tell it."""
    names = {track.corpus for track in tracks}
    there = [name for name in sorted(names) if (corpora / name / ANNOTATIONS).is_file()]
    return {(name, track.id): track.group for name in there for track in read_corpus(corpora / name).tracks}


def _sets(tracking: Tracking, champion: Version | None) -> tuple[TestSet, ...] | None:
    """Return the sets that a champion was decided on; None where its run does not tell."""
    run = logged_run(tracking, champion.run) if champion else None
    text = run.text(f"{ARTIFACTS}/{DECISION}") if run else None
    try:
        return Decision.from_dict(json.loads(text)).sets if text else None
    except (ValueError, BackbeatError):
        return None


def _metrics(decision: Decision) -> dict[str, float]:
    numbers = {f"gate_{check.name.replace(': ', '_')}": check.value for check in decision.checks}
    return {
        "gate_promoted": float(decision.promoted),
        **{name: value for name, value in numbers.items() if value is not None},
    }
