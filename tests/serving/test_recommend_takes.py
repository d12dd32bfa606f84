"""Takes, the catalogue and listeners at a service that runs: asked over HTTP, by the client and by the commands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from catalogue_items import descriptors, item, unit
from services import RATE_HZ, Service, clicks
from typer.testing import CliRunner

from backbeat.audio.encode import encode
from backbeat.cli import app
from backbeat.client import Client
from backbeat.errors import ConfigError, ServiceError
from backbeat.monitoring.store import MonitoringStore
from backbeat.recommend.catalogue import Catalogue

TEMPI = (70.0, 85.0, 100.0, 119.0, 135.0, 172.0)


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("take") / "take.wav"
    encode(path, clicks(8.0, 120.0), RATE_HZ)
    return path


@pytest.fixture
def beats(service: Service) -> Iterator[Catalogue]:
    """Beats of several tempi in the service's catalogue, put there by another process, and gone after the test."""
    catalogue = Catalogue.open(str(service.state / "catalogue"), make=True)
    for number, bpm in enumerate(TEMPI):
        vectors = {"genre:0123456789ab": unit(1, 16, number)[0]}
        catalogue.add(item(f"beat-{bpm:.0f}", "beat", descriptors(bpm, energy=0.5)), vectors)
    yield catalogue
    for one in catalogue.items(limit=1000):
        catalogue.remove(one.id)
    catalogue.close()


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert "/tmp" not in error["message"]  # noqa: S108
    return str(error["message"])


def sent(path: Path) -> dict[str, Any]:
    return {"files": {"file": (path.name, path.read_bytes())}}


def test_a_take_gets_the_beats_of_its_tempo(service: Service, beats: Catalogue, take: Path) -> None:
    with service.client() as client:
        mark = {"X-Request-ID": "a-take-0001"}
        first = client.post("/v1/recommend/beat?count=3", **sent(take), headers=mark)
        again = client.post(
            "/v1/recommend/beat?count=3", content=take.read_bytes(), headers={"Content-Type": "audio/wav"}
        )
    assert first.status_code == 200, first.text
    assert again.text == first.text
    best = first.json()["answers"][0]
    assert best["item"]["id"] == "beat-119"
    assert best["stretch"] == pytest.approx(120 / 119, abs=0.01)
    assert best["level"] == 1.0
    assert 0 <= best["confidence"] <= 1
    assert best["reason"]
    assert "path" not in best["item"]
    assert str(service.state) not in first.text
    store = MonitoringStore.at(service.state)
    until = time.monotonic() + 20
    while not (rows := store.of_request("a-take-0001")) and time.monotonic() < until:
        time.sleep(0.2)
    store.close()
    assert rows[0].route == "/v1/recommend/beat"
    assert rows[0].measures["tempo_bpm"] == pytest.approx(120, abs=1)
    assert set(rows[0].models) >= {"beat", "onset", "genre"}


def test_what_cannot_be_heard_gets_no_beat(service: Service, beats: Catalogue, take: Path, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    encode(silence, np.zeros((1, 3 * RATE_HZ), np.float32), RATE_HZ)
    with service.client() as client:
        assert "silent" in refused(client.post("/v1/recommend/beat", **sent(silence)), 422, "unheard_audio")
        refused(client.post("/v1/recommend/beat", files={"file": b"words"}), 415, "unsupported_audio")
        refused(client.post("/v1/recommend/beat"), 415, "wrong_type")
        refused(client.post("/v1/recommend/beat?max_stretch=-1", **sent(take)), 422, "wrong_value")
        message = refused(client.post("/v1/recommend/beat?labels=polka", **sent(take)), 409, "not_in_catalogue")
        assert "polka" in message
        refused(client.post("/v1/recommend/beat?like=nothing"), 404, "unknown_item")
        refused(client.post("/v1/recommend/beat?like=beat-70", **sent(take)), 422, "wrong_value")


def test_what_another_process_changes_is_seen_at_once(service: Service, beats: Catalogue, take: Path) -> None:
    with service.client() as client:

        def best() -> str:
            answer = client.post("/v1/recommend/beat?like=beat-119")
            return str(answer.json()["answers"][0]["item"]["id"])

        assert best() == "beat-135"
        beats.add(item("beat-121", "beat", descriptors(121.0)), {})
        assert best() == "beat-121"
        beats.remove("beat-121")
        assert best() == "beat-135"
        refused(client.get("/v1/catalogue/items/beat-121"), 404, "unknown_item")


def test_a_file_is_added_found_and_removed(service: Service, beats: Catalogue, take: Path, tmp_path: Path) -> None:
    with service.client() as client:
        question = {"kind": "beat", "title": "My Loop", "label": "House", "licence": "CC0-1.0"}
        added = client.post("/v1/catalogue/items", params=question, **sent(take))
        assert added.status_code == 201, added.text
        told = added.json()
        assert (told["kind"], told["title"], told["licence"]) == ("beat", "My Loop", "CC0-1.0")
        assert told["tempo_bpm"] == pytest.approx(120, abs=1)
        assert "path" not in told
        again = client.post("/v1/catalogue/items", params=question, **sent(take))
        assert told["id"] in refused(again, 409, "not_in_catalogue")
        answers = client.post("/v1/recommend/beat", **sent(take)).json()["answers"]
        assert told["id"] in [answer["item"]["id"] for answer in answers[:2]]
        removed = client.delete(f"/v1/catalogue/items/{told['id']}").json()["removed"]
        assert removed["items"] == removed["fingerprints"] == removed["audio"] == 1
        assert removed["vectors"] >= 1
        assert client.get(f"/v1/catalogue/items/{told['id']}").status_code == 404
        refused(client.post("/v1/catalogue/items", **sent(take)), 422, "wrong_value")
        refused(client.post("/v1/catalogue/items?kind=song", **sent(take)), 422, "wrong_value")
        refused(client.post("/v1/catalogue/items?kind=beat&id=../x", **sent(take)), 422, "wrong_value")
        refused(client.post("/v1/catalogue/items?kind=beat&title=a%00b", **sent(take)), 422, "wrong_value")


def test_the_audit_log_has_no_names_of_users(service: Service, beats: Catalogue) -> None:
    mark = {"X-Request-ID": "forgotten-0001"}
    with service.client() as client:
        told = {"user": "secret-anna", "item": "beat-70", "kind": "play"}
        assert client.post("/v1/interactions", json=told).status_code == 201
        assert client.delete("/v1/users/secret-anna", headers=mark).json()["removed"] == {"interactions": 1}
    audit = (service.state / "audit.jsonl").read_text()
    assert "secret-anna" not in audit + service.log.read_text()
    (line,) = [json.loads(line) for line in audit.splitlines() if "forgotten-0001" in line]
    assert (line["route"], line["status"]) == ("/v1/users/{user}", 200)


def test_the_client_and_the_commands(service: Service, beats: Catalogue, take: Path, tmp_path: Path) -> None:
    beats.add(item("dawn", "track"), {"genre:0123456789ab": unit(1, 16, 50)[0]})
    beats.add(item("dusk", "track"), {"genre:0123456789ab": unit(1, 16, 51)[0]})
    with Client(service.url) as client:
        assert client.recommend_beat(take, options={"tempo_min": 90})["answers"][0]["item"]["id"] == "beat-119"
        assert client.recommend_beat(like="beat-70", options={"max_stretch": 0.5})["answers"]
        assert [one["id"] for one in client.catalogue_items("track")] == ["dawn", "dusk"]
        assert client.catalogue_item("dawn")["kind"] == "track"
        assert [one["item"]["id"] for one in client.similar("dawn")] == ["dusk"]
        rows = [{"user": "otto", "item": "dawn", "kind": "like", "at": float(second)} for second in range(1500)]
        assert client.tell(rows) == 1500
        assert client.tell(rows[:3]) == 0
        assert client.recommend_tracks(user="otto", count=3)["answers"][0]["item"]["id"] == "dusk"
        assert client.forget_user("otto") == {"interactions": 1500}
        with pytest.raises(ServiceError, match="otto") as caught:
            client.recommend_tracks(user="otto")
        assert caught.value.code == "unknown_item"
        with pytest.raises(ConfigError, match="one of them"):
            client.recommend_beat()
    run, where = CliRunner(), {"BACKBEAT_URL": service.url}

    def lines(*words: str) -> list[str]:
        told = run.invoke(app, ["remote", *words], env=where)
        assert told.exit_code == 0, told.output
        return told.stdout.splitlines()

    best = json.loads(lines("recommend-beat", str(take), "--count", "1")[0])
    assert best["item"]["id"] == "beat-119"
    assert json.loads(lines("recommend-tracks", "--like", "dawn")[0])["item"]["id"] == "dusk"
    (tmp_path / "plays.csv").write_text("user,item,kind,at\nida,dawn,play,1700000000\nida,dusk,skip,1700000060\n")
    assert lines("interactions", str(tmp_path / "plays.csv"))[0].endswith("2 interactions, 2 new")
    assert lines("forget", "ida") == ["ida: forgotten (2 interactions)"]
    assert len(lines("catalogue", "list", "--kind", "beat")) == len(TEMPI)
    assert json.loads("\n".join(lines("catalogue", "show", "dawn")))["id"] == "dawn"
    assert json.loads(lines("catalogue", "similar", "dawn")[0])["item"]["id"] == "dusk"
    assert lines("catalogue", "remove", "dusk")[0].startswith("dusk: removed (")
