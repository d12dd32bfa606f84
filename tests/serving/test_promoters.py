"""Promoters in processes of their own: two at once, and those that are killed at whatever they do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import neighbours
import pytest
from like_shipped import like_shipped
from mlflow import MlflowClient

from backbeat.analysis.analyzer import shipped_models
from backbeat.errors import RegistryError
from backbeat.model import WEIGHTS
from backbeat.registry import Registry, Version
from backbeat.tracking import MODEL_FOLDER, Tracking, tracked_run

NAME = "backbeat-beat"


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have MLflow imported, which takes seconds, and nothing opened."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "backbeat.registry"])
    forkserver.ensure_running()
    return context


def folder_of(place: Path, commit: str, run: str = "") -> Path:
    return like_shipped(place / f"model-{commit}", run=run, commit=commit)


def registered(registry: Registry, place: Path, count: int) -> list[Version]:
    return [registry.register(folder_of(place, str(number))) for number in range(count)]


def alias(registry: Registry) -> str:
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    return str(client.get_model_version_by_alias(NAME, "champion").version)


def race(uri: str, which: int, rounds: int, together: Any, won: Any) -> None:
    """Promote round after round, all of those that do knowing the same champion."""
    registry = Registry(uri)
    versions = registry.versions("beat")
    for _ in range(rounds):
        now = registry.standing("beat")
        mine = [version for version in versions if version.version != now][which]
        together.wait(60)
        try:
            won.put(registry.promote(mine, instead_of=now, why=f"promoter {which}").number)
        except RegistryError as error:
            if "became the champion meanwhile" not in str(error):
                raise
        together.wait(60)


def raced(processes: ForkServerContext, registry: Registry, promoters: int, rounds: int) -> None:
    together, won = processes.Barrier(promoters), processes.Queue()
    told = [(registry.uri, which, rounds, together, won) for which in range(promoters)]
    ones = [processes.Process(target=race, args=words) for words in told]
    for one in ones:
        one.start()
    for one in ones:
        one.join(120)
    assert [one.exitcode for one in ones] == [0] * promoters
    events = registry.history("beat")[::-1]
    assert sorted(won.get(timeout=5) for _ in range(rounds)) == [event.number for event in events]
    assert won.empty()
    assert [event.instead_of for event in events] == [None, *(event.version for event in events[:-1])]
    assert registry.standing("beat") == alias(registry) == events[-1].version


def test_of_processes_that_promote_at_once_one_wins(
    processes: ForkServerContext, registry: Registry, tmp_path: Path
) -> None:
    registered(registry, tmp_path, 4)
    raced(processes, registry, promoters=2, rounds=20)


def test_on_a_server_over_postgresql(processes: ForkServerContext, tmp_path: Path) -> None:
    if neighbours.postgres_programs() is None:
        pytest.skip("PostgreSQL is not here")
    with neighbours.postgres() as (_, database), neighbours.mlflow_server(tmp_path / "mlflow", database) as (_, uri):
        registry = Registry(uri)
        versions = registered(registry, tmp_path, 4)
        raced(processes, registry, promoters=3, rounds=10)
        # What was registered goes through the server alone, into the artifact store and back.
        fetched = registry.fetch(versions[0], tmp_path / "places")
        assert (fetched / WEIGHTS).read_bytes() == (shipped_models()["beat"] / WEIGHTS).read_bytes()
        kept = tmp_path / "mlflow" / "artifacts"
        assert list(kept.glob(f"**/{versions[0].run}/artifacts/{MODEL_FOLDER}/{WEIGHTS}"))
        assert registry.register(tmp_path / "model-0") == versions[0]
        # Killed between what it writes and the alias.
        before = registry.standing("beat")
        other = next(version for version in versions if version.version != before)
        killed(processes, promoting, registry.uri, other, before, at=("set_registered_model_alias", "before"))
        assert alias(registry) == before
        assert registry.champion("beat") == other
        assert registry.settle("beat") == before
        assert alias(registry) == other.version
        third = next(version for version in versions if version.version not in (before, other.version))
        registry.challenge(third)
        assert registry.challenger("beat") == third
        registry.refuse(third, why="worse")
        assert registry.challenger("beat") is None
        gone_back = registry.rollback("beat", why="worse than it looked")
        assert (gone_back.version, alias(registry)) == (before, before)
        assert {row.kind for row in registry.diff(versions[0], versions[1])} == {"metric", "model"}


def dying(work: Callable[..., None], words: tuple[Any, ...], at: tuple[str, str]) -> None:
    """Be killed before or after the first time that MLflow's client is asked something."""
    asked, when = at
    ask = getattr(MlflowClient, asked)

    def die(*given: Any, **named: Any) -> None:
        if when == "after":
            ask(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, asked, die)
    work(*words)


def killed(processes: ForkServerContext, work: Callable[..., None], *words: Any, at: tuple[str, str]) -> None:
    one = processes.Process(target=dying, args=(work, words, at))
    one.start()
    one.join(60)
    assert one.exitcode == -signal.SIGKILL


def promoting(uri: str, version: Version, instead_of: str | None) -> None:
    Registry(uri).promote(version, instead_of=instead_of, why="better")


def registering(uri: str, folder: Path) -> None:
    Registry(uri).register(folder)


def test_a_promoter_that_is_killed_leaves_one_right_champion(
    processes: ForkServerContext, registry: Registry, tmp_path: Path
) -> None:
    versions = registered(registry, tmp_path, 2)
    registry.promote(versions[0], instead_of=None, why="the first")
    for at, done, followed in (
        (("create_model_version", "before"), False, True),
        (("create_model_version", "after"), True, False),
        (("set_registered_model_alias", "before"), True, False),
        (("set_registered_model_alias", "after"), True, True),
    ):
        before = registry.standing("beat")
        (other,) = [version for version in versions if version.version != before]
        killed(processes, promoting, registry.uri, other, before, at=at)
        # Whoever looks next sees one champion, that of the history, and can promote at once.
        next_one = Registry(registry.uri)
        champion = next_one.champion("beat")
        assert champion is not None, at
        assert champion.version == (other.version if done else before), at
        assert (alias(next_one) == champion.version) is followed, at
        assert next_one.history("beat")[0].version == champion.version
        if not followed:
            assert next_one.settle("beat") == before
        assert alias(next_one) == champion.version
        (last,) = [version for version in versions if version != champion]
        next_one.promote(last, instead_of=champion.version, why="the other")
        assert next_one.champion("beat") == last


def test_a_registration_that_is_killed_is_done_again(
    processes: ForkServerContext, registry: Registry, tmp_path: Path
) -> None:
    with tracked_run(Tracking(registry.uri, "backbeat"), "training", {}) as run:
        folder = folder_of(tmp_path, "tracked", run.run_id)
        run.files(folder, MODEL_FOLDER)
    for number, (asked, when) in enumerate(
        [("create_registered_model", "after"), ("create_model_version", "before"), ("create_model_version", "after")]
    ):
        killed(processes, registering, registry.uri, folder, at=(asked, when))
        assert len(registry.versions("beat")) == (number == 2)
    again = registry.register(folder)
    assert [again] == registry.versions("beat")
    assert again.run == run.run_id


def test_registering_at_once_makes_one_version(registry: Registry, tmp_path: Path) -> None:
    with tracked_run(Tracking(registry.uri, "backbeat"), "training", {}) as run:
        folder = folder_of(tmp_path, "tracked", run.run_id)
        run.files(folder, MODEL_FOLDER)
    made: list[Version] = []
    ones = [threading.Thread(target=lambda: made.append(registry.register(folder))) for _ in range(4)]
    for one in ones:
        one.start()
    for one in ones:
        one.join()
    assert len(made) == 4
    assert set(made) == set(registry.versions("beat"))
    assert len(set(made)) == 1
