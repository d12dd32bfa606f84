"""The client and its commands, against a service that runs, and against none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from services import RATE_HZ, Service, clicks, http_server
from typer.testing import CliRunner

from backbeat.analysis import Analyzer
from backbeat.audio.encode import encode
from backbeat.cli import app
from backbeat.client import Client
from backbeat.errors import AudioNotFoundError, ConfigError, ServiceError


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    encode(path, clicks(4.0), RATE_HZ)
    return path


def test_the_client_says_what_the_library_says(service: Service, song: Path, tmp_path: Path) -> None:
    with Client(service.url) as client:
        there, here = client.analyze(song), Analyzer.load().analyze(song)
        assert there.beats == here.beats
        assert there.tempo_bpm == here.tempo_bpm
        assert there.descriptors is None
        assert client.analyze(song, descriptors=True).descriptors.quality.silence_share < 1
        assert set(client.analyze_fields(song, ["key"])) == {"schema_version", "key", "models", "warnings"}
        assert set(client.models()) >= {"beat", "onset", "genre"}
        (tmp_path / "words.wav").write_text("words")
        with pytest.raises(ServiceError, match="is not audio") as caught:
            client.analyze(tmp_path / "words.wav")
        assert caught.value.code == "unsupported_audio"
        assert caught.value.request_id
        with pytest.raises(AudioNotFoundError):
            client.analyze(tmp_path / "none.wav")
        with pytest.raises(ServiceError, match="pull spleeter:4stems"):
            client.separate(song, tmp_path / "out", model="spleeter:4stems")


def test_the_commands(service: Service, song: Path, tmp_path: Path) -> None:
    run = CliRunner()
    (tmp_path / "words.wav").write_text("words")
    told = run.invoke(app, ["remote", "analyze", str(tmp_path), "--url", service.url, "--fields", "tempo_bpm,path"])
    assert told.exit_code == 1
    assert "words.wav: the file is not audio" in told.output
    (line,) = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    assert line["path"] == str(song)
    assert line["tempo_bpm"] == pytest.approx(120, abs=2)
    assert "backbeat-beat" in run.invoke(app, ["remote", "models"], env={"BACKBEAT_URL": service.url}).output


@contextmanager
def answering(*answers: tuple[int, dict[str, str], Any]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers, one after the other, and notes what it was asked."""
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization", ""))
            status, headers, content = left.pop(0)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with http_server(Handler) as url:
        yield url, asked


def test_a_busy_service_is_asked_again_and_a_strange_one_is_not() -> None:
    busy = {"error": {"code": "too_many", "message": "the service is busy", "request_id": "x"}}
    good = {"models": {"beat": {}}}
    with answering((429, {"Retry-After": "0"}, busy), (503, {"Retry-After": "0"}, busy), (200, {}, good)) as (
        url,
        asked,
    ):
        assert Client(url, "bb_key").models() == {"beat": {}}
    assert asked == ["Bearer bb_key"] * 3
    with answering((429, {"Retry-After": "60"}, busy)) as (url, _), pytest.raises(ServiceError, match="is busy"):
        Client(url, patience_s=1.0).models()
    with answering((502, {}, b"<html>")) as (url, _), pytest.raises(ServiceError, match="answered 502, and not as"):
        Client(url).models()
    with pytest.raises(ServiceError, match="cannot be reached"):
        Client("http://127.0.0.1:1").models()
    with pytest.raises(ConfigError, match="no address"):
        Client("localhost")
