"""The service over HTTP: what it hears, what it refuses, and that it stays well."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pytest
from services import RATE_HZ, Service, clicks

from backbeat.analysis import Analyzer, analysis_schema
from backbeat.analysis.describing import Describer
from backbeat.audio.encode import SUFFIX_CODECS, encode
from backbeat.monitoring.store import MonitoringStore


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    encode(path, clicks(), RATE_HZ)
    return path


def problem(answer: httpx.Response, status: int, code: str) -> str:
    """Check that an answer is an error of the one shape, and return its message."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert error["code"] == code
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "/tmp" not in error["message"]  # noqa: S108
    return str(error["message"])


def test_an_analysis_is_that_of_the_library(service: Service, song: Path) -> None:
    with service.client() as client:
        answer = client.post("/v1/analyze", files={"file": ("../a/my song.wav", song.read_bytes())})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    jsonschema.validate(told, analysis_schema())
    assert told.pop("path") == "my song.wav"
    here = Analyzer.load().analyze(song).to_dict()
    here.pop("path")
    assert told["tempo_bpm"] == here["tempo_bpm"] == pytest.approx(120, abs=1)
    assert told["beats"] == here["beats"]
    assert told["models"] == here["models"]
    assert told["key"] == here["key"]
    np.testing.assert_allclose(
        list(told["genre"]["probabilities"].values()), list(here["genre"]["probabilities"].values()), atol=2e-4
    )


@pytest.mark.parametrize("suffix", sorted(SUFFIX_CODECS))
def test_every_format_is_heard(service: Service, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song{suffix}"
    encode(path, clicks(4.0), RATE_HZ)
    with service.client() as client:
        # Its content decides, not its name or what the caller calls its type.
        answer = client.post("/v1/beats", files={"file": ("x.txt", path.read_bytes(), "text/plain")})
        assert answer.status_code == 200, answer.text
        assert answer.json()["duration_s"] == pytest.approx(4.0, abs=0.1)
        assert answer.json()["tempo_bpm"] == pytest.approx(120, abs=2)
        raw = client.post("/v1/beats", content=path.read_bytes(), headers={"Content-Type": "audio/mpeg"})
        assert raw.json()["beats"] == answer.json()["beats"]


def test_parts_of_an_analysis(service: Service, song: Path) -> None:
    content = song.read_bytes()
    with service.client() as client:
        some = client.post("/v1/analyze?fields=tempo_bpm,key", files={"file": content}).json()
        assert set(some) == {"schema_version", "tempo_bpm", "key", "models", "warnings"}
        assert set(some["models"]) == {"beat"}
        struck = client.post("/v1/onsets", files={"file": content}).json()
        assert len(struck["onsets"]) >= 11
        genre = client.post("/v1/genre", files={"file": content}).json()
        features = client.post("/v1/embedding", files={"file": content}).json()
        again = client.post("/v1/genre/features", json={"features": features["features"]})
        assert again.json()["label"] == genre["genre"]["label"]
        for name, share in genre["genre"]["probabilities"].items():
            assert again.json()["probabilities"][name] == pytest.approx(share, abs=2e-4)
        message = problem(client.post("/v1/genre/features", json={"features": [1.0]}), 422, "wrong_value")
        assert "numbers, not 1" in message
        problem(
            client.post("/v1/genre/features", content=b"{", headers={"Content-Type": "application/json"}),
            400,
            "bad_request",
        )
        assert "'mood'" in problem(client.post("/v1/analyze?fields=mood", files={"file": content}), 422, "wrong_value")


def test_descriptors_are_there_where_they_are_asked_for(service: Service, song: Path) -> None:
    content = song.read_bytes()
    with service.client() as client:
        plain = client.post("/v1/analyze", files={"file": content}).json()
        assert plain["descriptors"] is None
        whole = client.post("/v1/analyze?descriptors=true", files={"file": content}).json()
        jsonschema.validate(whole, analysis_schema())
        assert set(whole) == set(plain)
        told = whole["descriptors"]
        here = Describer(Analyzer.load(), fingerprints=False).describe(song).descriptors.to_dict()
        for name in ("quality", "spectrum", "camelot", "loudness_range_lu", "true_peak_dbtp"):
            assert told[name] == here[name]
        assert told["energy"] == pytest.approx(here["energy"], abs=0.01)
        part = client.post("/v1/analyze?fields=descriptors", files={"file": content}).json()
        assert set(part) == {"schema_version", "models", "warnings", "descriptors"}
        some = client.post("/v1/analyze?fields=key&descriptors=true", files={"file": content}).json()
        assert part["descriptors"] == some["descriptors"] == told
        batch = client.post("/v1/analyze/batch?fields=descriptors", files={"file": content}).json()["results"]
        assert batch[0]["descriptors"] == told


def test_a_batch_has_a_result_or_an_error_for_each(service: Service, song: Path) -> None:
    files = [
        ("file", ("one.wav", song.read_bytes())),
        ("file", ("two.wav", b"words")),
        ("file", ("three.wav", song.read_bytes())),
    ]
    with service.client() as client:
        results = client.post("/v1/analyze/batch?fields=path,beats", files=files).json()["results"]
        assert [result.get("path") for result in results] == ["one.wav", None, "three.wav"]
        assert results[1]["error"]["code"] == "unsupported_audio"
        assert results[1]["error"]["message"].startswith("two.wav: the file is not audio")
        many = [("file", (f"{number}.wav", b"x")) for number in range(40)]
        problem(client.post("/v1/analyze/batch", files=many), 400, "bad_request")


def test_what_is_wrong_has_the_right_status(service: Service, song: Path, tmp_path: Path) -> None:
    content = song.read_bytes()
    with service.client() as client:
        problem(client.get("/v2/nothing"), 404, "not_found")
        problem(client.get("/docs.json"), 404, "not_found")
        problem(client.get("/v1/analyze"), 405, "wrong_method")
        problem(client.post("/v1/analyze", json={"file": "x"}), 415, "wrong_type")
        problem(client.post("/v1/analyze"), 415, "wrong_type")
        problem(
            client.post("/v1/analyze", data={"file": "http://127.0.0.1/song.wav"}, files={"a": b""}), 422, "wrong_value"
        )
        problem(client.post("/v1/analyze", files={"song": content}), 422, "wrong_value")
        problem(client.post("/v1/analyze", files={"file": b"words and no audio"}), 415, "unsupported_audio")
        problem(client.post("/v1/analyze", files={"file": b""}), 422, "unheard_audio")
        problem(client.post("/v1/analyze", files={"file": content[:44]}), 422, "unheard_audio")
        silence = tmp_path / "silence.wav"
        encode(silence, np.zeros((1, 44100), np.float32), RATE_HZ)
        problem(client.post("/v1/analyze", files={"file": silence.read_bytes()}), 422, "unheard_audio")
        problem(client.post("/v1/analyze", files={"file": bytes(5_000_000)}), 413, "too_large")

        def endless() -> object:
            while True:
                yield bytes(100_000)

        try:
            chunked = client.post("/v1/analyze", content=endless(), headers={"Content-Type": "audio/wav"})  # type: ignore[arg-type]
        except httpx.WriteError:
            pass  # the service hung up on us, as it should, before we read why
        else:
            problem(chunked, 413, "too_large")
        assert client.get("/health").json()["status"] == "ok"


def test_a_caller_who_hangs_up_costs_nothing(service: Service, song: Path) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {host}\r\nContent-Type: audio/wav\r\nContent-Length: 1000000\r\n\r\n"
    for _ in range(40):  # more than there are places
        with socket.create_connection((host, int(port))) as wire:
            wire.sendall(head.encode() + song.read_bytes()[:1000])
    time.sleep(0.5)
    with service.client() as client:
        assert client.post("/v1/beats", files={"file": song.read_bytes()}).status_code == 200
    assert '"status": 499' in service.log.read_text()
    assert "Traceback" not in service.log.read_text()
    assert not list((service.state.parent / "tmp").glob("backbeat-upload-*"))


def test_answers_have_an_id_and_headers_that_keep_browsers_out(service: Service) -> None:
    with service.client() as client:
        answer = client.get("/v1/models", headers={"X-Request-ID": "my-request-0001"})
        assert answer.headers["x-request-id"] == "my-request-0001"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        assert set(answer.json()["models"]) >= {"beat", "onset", "genre"}
        odd = client.get("/health", headers={"X-Request-ID": "no\tid"})
        assert odd.headers["x-request-id"] != "no\tid"
        assert len(odd.headers["x-request-id"]) == 32
        assert client.get("/livez").text == "ok"


def test_metrics_have_no_label_that_a_caller_chose(service: Service) -> None:
    with service.client() as client:
        client.get("/v1/a-path-of-my-own")
        client.request("BREW", "/v1/models")
        text = client.get("/metrics").text
    assert "a-path-of-my-own" not in text
    assert "BREW" not in text
    assert 'backbeat_requests_total{method="POST",route="/v1/beats",status="200"}' in text
    assert 'backbeat_model_info{name="backbeat-beat",task="beat"' in text
    assert "backbeat_memory_bytes" in text


def test_what_is_served_is_recorded_and_audited_without_names(service: Service, song: Path) -> None:
    with service.client() as client:
        mark = {"X-Request-ID": "recorded-0001"}
        assert client.post(
            "/v1/analyze", files={"file": ("Secret Song.wav", song.read_bytes())}, headers=mark
        ).is_success
    store = MonitoringStore.at(service.state)
    until = time.monotonic() + 20
    while not (found := store.of_request("recorded-0001")) and time.monotonic() < until:
        time.sleep(0.2)
    store.close()
    row = found[0]
    assert row.measures["duration_s"] == pytest.approx(6.0)
    assert row.measures["tempo_bpm"] == pytest.approx(120, abs=1)
    assert row.sha256 == hashlib.sha256(song.read_bytes()).hexdigest()
    assert row.models["beat"]["version"]
    assert row.models["beat"]["source"] == "package"
    assert row.answer["beats"][1] - row.answer["beats"][0] == pytest.approx(0.5, abs=0.02)
    audit = [json.loads(line) for line in (service.state / "audit.jsonl").read_text().splitlines()]
    mine = [line for line in audit if line["request_id"] == "recorded-0001"]
    assert [(line["caller"], line["route"], line["status"]) for line in mine] == [("local", "/v1/analyze", 200)]
    assert "Secret" not in service.log.read_text() + (service.state / "audit.jsonl").read_text()
    assert "Secret" not in str(row)


def test_the_document_describes_the_endpoints(service: Service) -> None:
    with service.client() as client:
        document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/analyze"]["post"]
    assert set(operation["responses"]) >= {"200", "401", "413", "415", "422", "429", "503", "504"}
    assert operation["requestBody"]["content"]["multipart/form-data"]["schema"]["required"] == ["file"]
    assert operation["security"] == [{"key": []}, {"bearer": []}]
    assert "application/json" in operation["responses"]["413"]["content"]


def test_nothing_that_the_document_allows_brings_the_service_to_a_fault(service: Service, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    document = f"{service.url}/openapi.json"
    ran = subprocess.run(
        [program, "run", document, "--max-examples", "15", "--seed", "1", "--checks", checks, "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"code": "fault"' not in service.log.read_text()
