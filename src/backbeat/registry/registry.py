"""Versions of trained models in MLflow's registry, and which of each task is the champion.

A task's model is registered as `backbeat-TASK`. A version's artifacts are the model folder itself, as training logged
it with its run. What was decided of champions (`ledger`) are the versions of `backbeat-TASK-history`, which the store
numbers one after the other, whoever writes them from wherever. The champion is what this history says; the alias
`champion` follows it, so that MLflow's pages show it. Where there is no history yet, the alias says it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backbeat.dataset import REGISTERED_TASKS
from backbeat.errors import ConfigError, ModelError, RegistryError
from backbeat.files import atomic_path, write_json
from backbeat.model import CARD, SPEC, WEIGHTS, ModelSpec, load_spec, record_hash
from backbeat.registry.ledger import PROMOTE, REFUSE, ROLLBACK, Chain, Entry, Event, author, replay
from backbeat.registry.store import ModelStore
from backbeat.registry.versions import (
    Difference,
    Version,
    check_task,
    differences,
    registered_name,
    tags_of,
    time_of,
    version_of,
)
from backbeat.tracking import MODEL_FOLDER, Tracking, tracked_run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
_PLAIN = re.compile(r"[A-Za-z0-9]+")
_HISTORY = "-history"
_LOG = logging.getLogger(__name__)


class Registry:
    """Models of an MLflow registry.

    Any method raises RegistryError where the registry cannot be used, and ConfigError for a task that is none.

    Parameters
    ----------
    uri
        MLflow's tracking URI: an address, or SQLite as `sqlite:///mlflow.db`.
    make
        Whether a SQLite file that is not there yet is made; else that is a RegistryError.
    """

    def __init__(self, uri: str, *, make: bool = True) -> None:
        self.uri = uri
        self._store = ModelStore(uri, make=make)
        self._read: dict[str, dict[int, Entry | None]] = {}

    def register(self, folder: Path) -> Version:
        """Register the model of a folder, by the run that trained it; one that was not tracked gets a run of its own.

        What is registered already, the same content of the same run, is the version that it was.

        Raises
        ------
        ModelError
            If the folder holds no model that loads, or not what the run logged.
        """
        # With the networks of all tasks: whoever only looks up champions needs none of them.
        from backbeat.evaluation.scoring import load

        spec = load_spec(folder)
        if spec.task not in REGISTERED_TASKS:
            names = ", ".join(REGISTERED_TASKS)
            raise ModelError(f"{folder}: is a model for {spec.task}; registered are those for {names}")
        # Whoever follows the registry would find out otherwise.
        load(spec.task, folder)
        name, origin, logged = registered_name(spec.task), _origin(folder), self._was_logged(folder, spec.run)
        same = f"run_id = '{spec.run}'" if logged else f"tags.origin = '{origin}'"
        if known := self._store.first(name, same):
            return version_of(known)
        run = spec.run if logged else self._log(folder, spec)
        made = self._store.append(name, run, {**tags_of(spec), "origin": origin}, _card(folder))
        # Somebody else may have registered it at the same time.
        first = self._store.first(name, same) or made
        if first.version != made.version:
            self._store.delete(name, str(made.version))
        return version_of(first)

    def versions(self, task: str) -> list[Version]:
        """Return what is registered for a task, newest first."""
        return [version_of(made) for made in self._store.search(registered_name(check_task(task)))]

    def get(self, task: str, version: str) -> Version:
        """Return a version; RegistryError when there is none of that number."""
        made = self._store.get(registered_name(check_task(task)), version)
        if made is None:
            raise RegistryError(f"backbeat-{task} has no version {version}: see `backbeat models versions {task}`")
        return version_of(made)

    def by_run(self, task: str, run: str) -> Version | None:
        """Return the version that a run trained; None when there is none."""
        name = registered_name(check_task(task))
        made = self._store.first(name, f"run_id = '{run}'") if _PLAIN.fullmatch(run) else None
        return version_of(made) if made else None

    def champion(self, task: str) -> Version | None:
        """Return the model that is to be served for a task; None when there is none.

        Raises
        ------
        RegistryError
            If it was deleted from the registry.
        """
        number = self.standing(task)
        if number is None:
            return None
        made = self._store.get(registered_name(task), number)
        if made is None:
            raise RegistryError(
                f"backbeat-{task} {number} is the champion and was deleted: roll back, or promote another"
            )
        return version_of(made)

    def standing(self, task: str) -> str | None:
        """Return the number of a task's champion, which may have been deleted since; None when there is none."""
        return self._standing(task, self._chain(check_task(task)))

    def challenger(self, task: str) -> Version | None:
        """Return the version that is to be compared with the champion; None when there is none."""
        name = registered_name(check_task(task))
        number = self._store.aliases(name).get(CHALLENGER)
        made = self._store.get(name, number) if number and number != self.standing(task) else None
        return version_of(made) if made else None

    def challenge(self, version: Version) -> None:
        """Make a version the challenger of its task, in place of any other."""
        made = self.get(version.task, version.version)
        if made.version == self.standing(made.task):
            raise RegistryError(f"{made.name} is the champion: it cannot challenge itself")
        self._store.set_alias(registered_name(made.task), CHALLENGER, made.version)

    def promote(
        self, version: Version, *, instead_of: str | None, why: str, who: str = "", evidence: str = ""
    ) -> Event:
        """Make a version the champion of its task.

        Parameters
        ----------
        instead_of
            The version that is champion now, as the promoter knows it; None where there is none.
        why
            In a few words.
        who
            Who decides it; as CI names them, or user@host, when left out.
        evidence
            MLflow run that holds the grounds; empty for none.

        Raises
        ------
        ConfigError
            If it is not said why.
        RegistryError
            If another has become champion meanwhile, or this one is it already.
        """
        made = self.get(version.task, version.version)
        chain, now = self._seen(made.task)
        if now != instead_of:
            raise _overtaken(made.task, now)
        if now == made.version:
            raise RegistryError(f"{made.name} is the champion already")
        return self._decide(PROMOTE, made, (chain, now), {"why": why, "who": who, "evidence": evidence})

    def rollback(self, task: str, *, why: str, who: str = "", instead_of: str | None = None) -> Event:
        """Make the champion before the present one champion again; twice goes back further.

        Parameters
        ----------
        instead_of
            The version to go back from; when left out, whichever is champion.
        why, who
            As for `promote`.

        Raises
        ------
        ConfigError
            If it is not said why.
        RegistryError
            If there is none to go back to, or another has become champion meanwhile.
        """
        chain, now = self._seen(check_task(task))
        if now is None:
            raise RegistryError(f"backbeat-{task} has no champion to go back from")
        if instead_of not in (None, now):
            raise _overtaken(task, now)
        registered = {version.version: version for version in self.versions(task)}
        made = next((registered[number] for number in chain.earlier if number in registered), None)
        if made is None:
            raise RegistryError(f"backbeat-{task} {now} has no champion before it that is left: promote another")
        return self._decide(ROLLBACK, made, (chain, now), {"why": why, "who": who, "evidence": ""})

    def refuse(self, version: Version, *, why: str, who: str = "", evidence: str = "") -> Event:
        """Write down that a version does not become champion; it is no challenger any more.

        Parameters and errors are those of `promote`. The champion cannot be refused.
        """
        made = self.get(version.task, version.version)
        chain, now = self._seen(made.task)
        if now == made.version:
            raise RegistryError(f"{made.name} is the champion: roll back instead")
        return self._decide(REFUSE, made, (chain, now), {"why": why, "who": who, "evidence": evidence})

    def history(self, task: str) -> list[Event]:
        """Return what was decided of a task's champions, newest first."""
        return [entry.event for entry in reversed(self._chain(check_task(task)).entries)]

    def settle(self, task: str) -> str | None:
        """Set the alias `champion` to what the history says; return what it named instead, "" for nothing.

        It lags where whoever promoted was stopped before it was set, and strays where it was moved by hand. Nothing is
        done, and None returned, where it is right or there is no history.
        """
        name, strayed = registered_name(check_task(task)), None
        # Whoever set it looks again, so the last to set it has seen the latest change.
        while champion := self._chain(task).champion:
            aliases = self._store.aliases(name)
            if aliases.get(CHAMPION) == champion:
                break
            strayed = aliases.get(CHAMPION, "") if strayed is None else strayed
            self._store.set_alias(name, CHAMPION, champion)
        return strayed

    def parameters(self, version: Version) -> dict[str, str]:
        """Return what the training of a version was told; nothing where its run is gone."""
        return self._store.parameters(version.run) if version.run else {}

    def diff(self, first: Version, second: Version) -> list[Difference]:
        """Return in what two versions differ, and their metrics beside each other."""
        return differences(first, second, (self.parameters(first), self.parameters(second)))

    def fetch(self, version: Version, places: Path) -> Path:
        """Bring a version's folder under `places`, unless it is there; its specification tells the registry's number.

        Raises
        ------
        ModelError
            If what the registry keeps is no model for the task.
        """
        # The run is in the name because a registry that was made anew counts from 1 again.
        folder = places / version.task / f"{version.version}-{version.run[:12]}"
        if not _PLAIN.fullmatch(version.run):
            raise ModelError(f"{version.name}: the registry tells a run that is none: {version.run[:40]!r}")
        if not (folder / SPEC).is_file():
            with atomic_path(folder) as place:
                come = self._store.download(version.run, place.parent)
                spec = load_spec(come, version.task)
                write_json(come / SPEC, replace(spec, version=version.version, run=version.run).to_dict())
                come.rename(place)
            record_hash(folder)
        return folder

    def _decide(self, action: str, made: Version, seen: tuple[Chain, str | None], said: dict[str, str]) -> Event:
        """Write what was decided on what was seen; RegistryError when another was first."""
        if not said["why"].strip():
            raise ConfigError("say why, in a few words: it is kept in the history")
        chain, now = seen
        token, name = uuid.uuid4().hex, f"{registered_name(made.task)}{_HISTORY}"
        tags = {"action": action, "version": made.version, "instead_of": now or "", "after": str(chain.head)}
        tags |= {**said, "who": said["who"] or author(), "token": token}
        failed = None
        try:
            self._store.append(name, made.run, tags, f"{action} {made.version}: {said['why']}")
        except RegistryError as error:
            # It may have been written all the same, and the answer lost: the history tells.
            failed = error
        after = self._chain(made.task)
        if event := after.find(token):
            self._follow(event)
            return event
        if after.head > chain.head:
            raise _overtaken(made.task, after.champion) from failed
        raise failed or RegistryError(f"{name}: what was written is gone; somebody deletes its versions")

    def _follow(self, event: Event) -> None:
        """Let the aliases follow an event; what is written holds without them, so a failure is no error."""
        name = registered_name(event.task)
        try:
            self.settle(event.task)
            # A champion is no challenger: where its promoter was stopped, the alias is there still.
            if self._store.aliases(name).get(CHALLENGER) in (event.version, event.instead_of or event.version):
                self._store.remove_alias(name, CHALLENGER)
        except RegistryError as error:
            _LOG.warning("%s of %s %s holds; an alias is not set: %s", event.action, name, event.version, error)

    def _seen(self, task: str) -> tuple[Chain, str | None]:
        chain = self._chain(task)
        return chain, self._standing(task, chain)

    def _standing(self, task: str, chain: Chain) -> str | None:
        return chain.champion or self._store.aliases(registered_name(task)).get(CHAMPION)

    def _chain(self, task: str) -> Chain:
        """Return the chain of champions; what was read before is not asked for again, since it does not change."""
        known = self._read.get(task, {})
        last = max(known, default=0)
        come = self._entries(task, last)
        if last and (last not in come or come[last] != known[last]):
            # Somebody deleted it, or made the registry anew.
            known, come = {}, self._entries(task, 0)
        self._read[task] = known = {**known, **come}
        return replay(entry for entry in known.values() if entry)

    def _entries(self, task: str, since: int) -> dict[int, Entry | None]:
        found = self._store.search(f"{registered_name(task)}{_HISTORY}", f"version_number >= {since}")
        return {int(made.version): _entry(made, task) for made in found}

    def _was_logged(self, folder: Path, run: str) -> bool:
        """Tell whether a run of this registry logged the model of a folder; ModelError when it logged another."""
        with tempfile.TemporaryDirectory(prefix="backbeat-registry-") as temporary:
            come = self._store.logged(run, Path(temporary))
            if come is None or not (come / SPEC).is_file():
                return False
            if _content(come) != _content(folder):
                raise ModelError(f"{folder}: is not the model that run {run} logged; train it again to register it")
        return True

    def _log(self, folder: Path, spec: ModelSpec) -> str:
        # The run that trained it is in another store, if anywhere.
        tags = {"task": spec.task, "commit": spec.commit, "data_hash": spec.data_hash, "trained_by": spec.run}
        with (
            self._store.asked(),
            tracked_run(Tracking(self.uri, "backbeat"), f"{spec.name} {spec.version}", tags) as run,
        ):
            run.params({"network": spec.network, "decoding": spec.decoding})
            run.metrics(spec.metrics)
            run.files(folder, MODEL_FOLDER)
        return run.run_id


def _overtaken(task: str, now: str | None) -> RegistryError:
    return RegistryError(
        f"{registered_name(task)} {now} became the champion meanwhile: compare with that one"
        if now
        else f"{registered_name(task)} has no champion: say so, and promote in place of none"
    )


def _content(folder: Path) -> tuple[ModelSpec, bytes]:
    """Return what makes a model: all but the numbers that a registry gave it."""
    return replace(load_spec(folder), version="", run=""), (folder / WEIGHTS).read_bytes()


def _origin(folder: Path) -> str:
    """Return a hash of what makes a model and of the run that its specification names."""
    spec, weights = _content(folder)
    words = json.dumps([spec.to_dict(), load_spec(folder).run], sort_keys=True)
    return hashlib.sha256(words.encode() + weights).hexdigest()


def _card(folder: Path) -> str:
    path = folder / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _entry(made: ModelVersion, task: str) -> Entry | None:
    """Return what a version of a history says; None where it was not written as one."""
    tags = made.tags
    words = {name: tags.get(name, "") for name in ("action", "version", "who", "why", "evidence")}
    if words["action"] not in (PROMOTE, ROLLBACK, REFUSE) or not tags.get("after", "").isdecimal():
        return None
    instead_of = tags.get("instead_of") or None
    event = Event(number=int(made.version), task=task, instead_of=instead_of, at=time_of(made), **words)
    return Entry(event, int(tags["after"]), tags.get("token", ""))
