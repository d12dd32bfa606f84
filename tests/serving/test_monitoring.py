"""Monitoring over HTTP: corrections that come in, answers that are traced, what is told of drift and alerts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from services import RATE_HZ, Service, clicks, serving
from serving_asks import ask, settings_of
from sqlalchemy import insert
from typer.testing import CliRunner

from backbeat import cli
from backbeat.audio.encode import encode
from backbeat.client import Client
from backbeat.errors import ServiceError
from backbeat.monitoring import feedback
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import ALERTS, DELIVERIES


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.flac"
    encode(path, clicks(5.0), RATE_HZ)
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that keeps what it hears."""
    folder = tmp_path_factory.mktemp("kept")
    with serving(folder, monitoring__seconds="0.3", monitoring__keep_audio_s="600") as running:
        yield running


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return str(answer.json()["error"]["message"])


def test_a_correction_comes_in_with_its_recording(service: Service, song: Path) -> None:
    with Client(service.url) as client:
        analysis = client.analyze(song)
        request_id = client.request_id
        told = client.correct(request_id, song, genre="Bossa Nova", licence="CC0-1.0")
        assert told["new"]
        assert told["task"] == "genre"
        assert client.correct(request_id, song, genre="Bossa Nova", licence="CC0-1.0")["new"] is False
        assert "does not know 'Bossa Nova'" in told["note"]
        assert client.correct(request_id, song, genre=" Drum and Bass")["note"] == ""
        beats = [(0.5 * number, 1 + number % 4) for number in range(10)]
        assert client.correct(request_id, song, beats=beats)["task"] == "beat"
        with pytest.raises(ServiceError, match="not kept here: send it too"):
            client.correct(request_id, genre="jazz")
    store = MonitoringStore.at(service.state)
    found = [one for one in feedback.corrections(store) if one.request_id == request_id]
    store.close()
    labels = [one.truth for one in found if one.task == "genre"]
    assert labels == [{"label": "Bossa Nova"}, {"label": "drum_and_bass"}]
    found = [one for one in found if one.truth != {"label": "drum_and_bass"}]
    assert found[1].truth == {"beats": [list(beat) for beat in beats]}
    assert found[0].author == "local"
    assert found[0].answer["answer"] == analysis.genre.label
    assert found[0].answer["model"]["name"] == "backbeat-genre"
    assert found[1].answer["answer"][0] == pytest.approx(analysis.beats[0].time_s, abs=1e-3)
    recording = service.state / "corrections" / found[0].audio
    assert recording.suffix == ".flac"
    assert recording.read_bytes() == song.read_bytes()


def test_a_correction_needs_no_recording_that_is_still_kept(kept: Service, song: Path, tmp_path: Path) -> None:
    with Client(kept.url) as client:
        client.analyze_fields(song, ["genre"])
        request_id = client.request_id
    ran = CliRunner().invoke(cli.app, ["remote", "correct", request_id, "--genre", "jazz", "--url", kept.url])
    assert ran.exit_code == 0, ran.output
    assert ran.output.endswith(": kept\n")
    store = MonitoringStore.at(kept.state)
    version = feedback.write_corpus(store, kept.state / "corrections", tmp_path / "corpus")
    store.close()
    assert len(version) == 12
    assert [path.suffix for path in (tmp_path / "corpus" / "audio").iterdir()] == [".flac"]


def test_what_is_no_correction_is_refused(service: Service, song: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    encode(other, clicks(3.0, 100.0), RATE_HZ)
    with service.client() as client:
        marked = {"X-Request-ID": "corrected-0002"}
        assert client.post("/v1/beats", files={"file": ("a", song.read_bytes())}, headers=marked).is_success
        good = {"request_id": "corrected-0002", "genre": "jazz"}

        def send(**changed: object) -> httpx.Response:
            given = {name: value for name, value in {**good, **changed}.items() if value is not None}
            return client.post("/v1/feedback", json=given)

        assert "one of them" in refused(send(genre=None), 422, "wrong_value")
        assert "one of them" in refused(send(beats=[1.0]), 422, "wrong_value")
        for name in ("ja\x00zz", "  ", "../../x", "=cmd|' /C calc'!A0", "a\nb"):
            assert "letters and digits" in refused(send(genre=name), 422, "wrong_value")
        assert "printed" in refused(send(licence="CC\x00"), 422, "wrong_value")
        assert refused(client.post("/v1/feedback", json=[]), 422, "wrong_value").startswith("the body: ")
        assert "do not increase" in refused(send(genre=None, beats=[1.0, 0.5]), 422, "wrong_value")
        assert "ends at 5 s" in refused(send(genre=None, beats=[1.0, 99.0]), 422, "wrong_value")
        refused(send(genre=None, beats=[]), 422, "wrong_value")
        refused(send(genre=None, beats=["x"]), 422, "wrong_value")
        refused(send(genre="x" * 65), 422, "wrong_value")
        refused(send(request_id="../../etc/passwd"), 422, "wrong_value")
        assert "no answer for a file 3" in refused(send(item=3), 404, "not_found")
        refused(send(request_id="nobody-asked-this"), 404, "not_found")
        refused(
            client.post("/v1/feedback", content=b"{", headers={"Content-Type": "application/json"}), 400, "bad_request"
        )
        refused(client.post("/v1/feedback", content=b"x", headers={"Content-Type": "text/plain"}), 415, "wrong_type")
        nested = b"[" * 100_000
        refused(
            client.post("/v1/feedback", content=nested, headers={"Content-Type": "application/json"}),
            400,
            "bad_request",
        )
        wrong = client.post("/v1/feedback", data=good, files={"file": ("a", other.read_bytes())})
        assert "not the one that was analysed" in refused(wrong, 409, "conflict")
        broken = client.post("/v1/feedback", data={**good, "beats": "["}, files={"file": ("a", song.read_bytes())})
        refused(broken, 400, "bad_request")


def test_an_answer_is_traced_to_its_data(service: Service, song: Path) -> None:
    with Client(service.url) as client:
        client.analyze(song)
        request_id, models = client.request_id, client.models()
    until = time.monotonic() + 20
    # Other tests of the process may have told MLflow of a store.
    nowhere_else = {"MLFLOW_TRACKING_URI": None, "BACKBEAT_MONITORING__DATABASE": None}
    while True:
        asked = ["trace", request_id, "--state", str(service.state), "--json"]
        ran = CliRunner().invoke(cli.app, asked, env=nowhere_else)
        if ran.exit_code == 0 or time.monotonic() > until:
            break
        time.sleep(0.2)
    assert ran.exit_code == 0, ran.output
    (answer,) = json.loads(ran.output)
    assert answer["route"] == "/v1/analyze"
    assert [origin["task"] for origin in answer["origins"]] == ["beat", "onset", "genre"]
    for origin in answer["origins"]:
        model = models[origin["task"]]
        assert (origin["version"], origin["source"]) == (model["version"], "package")
        assert (origin["run"], origin["commit"]) == (model["run"] or "", model["commit"] or "")
        assert origin["licence"] == model["licence"]
        assert ",".join(f"{corpus}={digest}" for corpus, digest in origin["data"].items()) == model["data_hash"]
        assert origin["parameters_of"] == "the package"
        assert origin["parameters"]["features.mel_bands"] == "96"
    shown = CliRunner().invoke(cli.app, ["trace", request_id, "--state", str(service.state)], env=nowhere_else)
    for word in ("licence", "commit", "data", "backbeat-beat", "network.channels"):
        assert word in shown.output
    unknown = CliRunner().invoke(cli.app, ["trace", "nobody-knows", "--state", str(service.state)])
    assert "no answer of the request" in str(unknown.exception)
    nowhere = CliRunner().invoke(cli.app, ["trace", "nobody-knows", "--state", str(service.state / "no")])
    assert "no service has kept records here" in str(nowhere.exception)


def test_drift_and_alerts_are_told(kept: Service, song: Path) -> None:
    with kept.client() as client:
        assert client.post("/v1/analyze", files={"file": ("a", song.read_bytes())}).is_success
        health = client.get("/v1/monitoring/health").json()
        assert (health["status"], health["drift"], health["open_alerts"]) == ("unchecked", None, 0)
        assert client.get("/v1/monitoring/drift").json() == {"last": None, "history": []}
        assert client.get("/v1/monitoring/alerts").json() == {"alerts": []}
        store = MonitoringStore.at(kept.state)
        store.add_check({"rows": 300, "drift": True, "share": 0.6, "reason": "six of ten", "columns": []})
        alert = {"id": "a1", "rule": "drift", "severity": "critical", "opened": time.time(), "closed": None,
                 "value": 1.0, "message": "drift", "silenced": False}  # fmt: skip
        sent = {"id": "d1", "alert": "a1", "target": "hook", "body": {}, "created": time.time(), "attempts": 2,
                "due": time.time(), "delivered": None, "failed": "500"}  # fmt: skip
        with store.begin() as connection:
            connection.execute(insert(ALERTS).values(alert))
            connection.execute(insert(DELIVERIES).values(sent))
        store.close()
        health = client.get("/v1/monitoring/health").json()
        assert (health["status"], health["drift"], health["open_alerts"]) == ("alert", True, 1)
        assert client.get("/v1/monitoring/drift").json()["last"]["share"] == 0.6
        (told,) = client.get("/v1/monitoring/alerts", params={"open": True}).json()["alerts"]
        assert (told["rule"], told["deliveries"][0]["attempts"]) == ("drift", 2)
        until = time.monotonic() + 30
        while (figures := client.get("/v1/monitoring/metrics").json())["predictions"] < 2 and time.monotonic() < until:
            time.sleep(0.2)
        assert figures["means"]["duration_s"] == pytest.approx(5.0, abs=0.01)
        assert figures["counts"]["codec"] == {"flac": figures["predictions"]}
        refused(client.get("/v1/monitoring/metrics", params={"rows": 0}), 422, "wrong_value")
        while "backbeat_drift 1.0" not in (text := client.get("/metrics").text) and time.monotonic() < until:
            time.sleep(0.5)
    assert "backbeat_drift_share 0.6" in text
    assert 'backbeat_alerts_open{severity="critical"} 1.0' in text
    assert "backbeat_corrections_pending 1.0" in text


def test_a_service_that_keeps_no_records_says_so(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, mode="local", monitoring__records="false")
    (answer,) = ask(settings, {"url": "/v1/monitoring/health"})
    assert "keeps no records" in refused(answer, 409, "conflict")
    assert not (tmp_path / "monitoring.db").exists()
