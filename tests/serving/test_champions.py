"""Another champion in the registry: the service takes it up, and no request is lost over it."""

from __future__ import annotations

import asyncio
import io
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile
from like_shipped import like_shipped
from services import RATE_HZ, clicks, serving
from serving_asks import settings_of

from backbeat.analysis.analyzer import shipped_models
from backbeat.files import write_json
from backbeat.model import SPEC, WEIGHTS, load_spec
from backbeat.registry import Registry
from serving.analysing import Hearing


def registered(registry: Registry, folder: Path, commit: str, whole: bool = True) -> None:
    """Register a model for beats, and make it the champion."""
    before = registry.champion("beat")
    made = registry.register(like_shipped(folder, run="", commit=commit))
    if not whole:
        (weights,) = Path("mlruns").glob(f"**/{made.run}/artifacts/folder/{WEIGHTS}")
        weights.write_bytes(weights.read_bytes()[:1000])
    registry.promote(made, instead_of=before and before.version, why="the next")


def test_champions_take_over_while_requests_go_on(registry: Registry, tmp_path: Path) -> None:
    registered(registry, tmp_path / "one", "1111")
    song = io.BytesIO()
    soundfile.write(song, clicks().T, RATE_HZ, format="WAV")
    answers: list[tuple[int, str]] = []
    over = threading.Event()

    how = {"models__registry": registry.uri, "models__registry_s": "0.5", "rates__per_address": ""}
    with serving(tmp_path / "service", **how) as service, service.client() as client:

        def told() -> dict[str, Any]:
            models: dict[str, Any] = client.get("/v1/models").json()["models"]
            return models

        def asking() -> None:
            with service.client() as mine:
                while not over.is_set():
                    answer = mine.post("/v1/beats", files={"file": song.getvalue()})
                    answers.append((answer.status_code, answer.json()["models"]["beat"]["version"]))

        models = told()
        assert (models["beat"]["version"], models["beat"]["commit"]) == ("1", "1111")
        assert [models[task]["source"] for task in ("beat", "onset")] == ["registry", "package"]
        # A task without a champion has the model that ships.
        assert models["onset"]["version"] == load_spec(shipped_models()["onset"]).version

        threads = [threading.Thread(target=asking) for _ in range(3)]
        for thread in threads:
            thread.start()
        registered(registry, tmp_path / "two", "2222")
        until = time.monotonic() + 30
        while told()["beat"]["commit"] != "2222" and time.monotonic() < until:
            time.sleep(0.2)
        changed = len(answers)
        while len(answers) < changed + 20 and time.monotonic() < until:
            time.sleep(0.1)
        over.set()
        for thread in threads:
            thread.join()
        assert {status for status, _ in answers} == {200}
        assert {version for _, version in answers} == {"1", "2"}
        assert answers[-1] == (200, "2")

        # One that does not load is refused, and said; all goes on with the one before.
        registered(registry, tmp_path / "three", "3333", whole=False)
        while "models_not_loaded" not in service.log.read_text() and time.monotonic() < until + 20:
            time.sleep(0.2)
        assert told()["beat"]["version"] == "2"
        metrics = client.get("/metrics").text
        assert 'backbeat_model_changes_total{outcome="done"} 1.0' in metrics
        assert 'backbeat_model_changes_total{outcome="refused"} 1.0' in metrics
        assert 'backbeat_model_info{name="backbeat-beat",task="beat",version="1"} 0.0' in metrics
        assert 'backbeat_model_info{name="backbeat-beat",task="beat",version="2"} 1.0' in metrics
        assert 'backbeat_jobs{kind="separate",state="queued"} 0.0' in metrics


def test_where_the_registry_is_away_the_champions_that_were_known_are_served(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, models__registry="http://127.0.0.1:9", limits__hearing_processes="1")

    async def main() -> None:
        hearing = Hearing(settings)
        hearing.start()
        await asyncio.sleep(0.2)
        assert not hearing.ready  # it waits until the registry has been asked for the first time
        shutil.copytree(shipped_models()["beat"], tmp_path / "known")
        known = replace(load_spec(tmp_path / "known"), version="41")
        write_json(tmp_path / "known" / SPEC, known.to_dict())
        write_json(tmp_path / "champions.json", {"beat": str(tmp_path / "known")})
        async with asyncio.timeout(60):
            while not hearing.ready:
                await asyncio.sleep(0.05)
        assert hearing.ears.models["beat"].version == "41"
        await hearing.close()

        # With one that does not load, the service starts with those that did before.
        shutil.copytree(tmp_path / "known", tmp_path / "damaged")
        (tmp_path / "damaged" / WEIGHTS).write_bytes(b"words")
        write_json(tmp_path / "champions.json", {"beat": str(tmp_path / "damaged")})
        again = Hearing(settings)
        again.start()
        async with asyncio.timeout(60):
            while not again.ready:
                await asyncio.sleep(0.05)
        assert (again.ears.models["beat"].version, again.ears.sources["beat"]) == ("41", "registry")
        await again.close()

    asyncio.run(main())
