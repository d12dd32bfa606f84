"""Drum charts as jobs: what may be asked, what comes of it, and what a worker does when all goes wrong.

Charts are made by a stand-in, which writes the files that a chart has; the transport is the application's own.
"""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import uvicorn
from services import free_port
from serving_asks import ask, codes, settings_of
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from typer.testing import CliRunner

import serving.working
from backbeat.charts.making import ChartOptions, MadeChart
from backbeat.charts.transcription.transcribe import Modes
from backbeat.cli import app as commands
from backbeat.client import Client
from backbeat.errors import ConfigError, ModelError, ServiceError, SilentAudioError, TimeLimitError
from backbeat.files import write_json
from backbeat.music import TimeSignature
from serving import metrics
from serving.app import create_app
from serving.charting import Charting
from serving.jobs import INPUT, JobStore
from serving.keys import KeyStore
from serving.settings import Settings
from serving.working import Worker


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers look and beat oftener than they do in earnest."""
    for name in ("_LOOK_S", "_BEAT_S", "_AWAY_S"):
        monkeypatch.setattr(serving.working, name, _BEAT_S)


_BEAT_S = 0.05
WAVE = io.BytesIO()
soundfile.write(WAVE, np.zeros(800), 8000, format="WAV")
SONG = {"file": ("My song.wav", WAVE.getvalue())}
FILES = {"ext.dtx": "#TITLE: x\n".encode("cp932"), "chart.mid": b"MThd", "chart.json": b"{}", "chart.png": b"\x89PNG"}
FILES |= {"bgm.ogg": b"OggS", "kick.wav": b"RIFF", "set.def": b"#TITLE x"}
MODELS = {"beat": {"name": "backbeat-beat", "version": "7"}, "onset": {"name": "backbeat-onset", "version": "3"}}
REPORT: dict[str, Any] = {
    "made": {"models": MODELS},
    "levels": {"extreme": 5.5},
    "tempo": "120.0 BPM",
    "quantising": {
        "notes": 12,
        "bars": 3,
        "meters": [{"signature": "4/4"}],
        "from_grid": {"median_ms": 3.2},
    },
    "warnings": ["it has no cymbals"],
}


@dataclass
class Maker:
    """Makes charts as tests want it: it waits before its second step until it may go on, and may fail there."""

    may_go: threading.Event = field(default_factory=threading.Event)
    at_work: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    asked: list[tuple[bytes, ChartOptions]] = field(default_factory=list)
    steps: int = 0

    def make(
        self,
        path: Path,
        folder: Path,
        options: ChartOptions,
        *,
        replace: bool,
        progress: Callable[[str, float], None],
    ) -> MadeChart:
        assert replace
        self.asked.append((path.read_bytes(), options))
        progress("hearing", 0.25)
        self.at_work.set()
        assert self.may_go.wait(20)
        if self.error is not None:
            raise self.error
        progress("writing", 0.75)
        self.steps += 1
        folder.mkdir(exist_ok=True)
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        return MadeChart(folder, {"extreme": folder / "ext.dtx"}, REPORT, tuple(REPORT["warnings"]))


@dataclass
class House:
    """A worker at work, and what to ask it by."""

    settings: Settings
    maker: Maker
    store: JobStore
    loaded: list[dict[str, Path]]

    def ask(self, *requests: dict[str, Any]) -> list[httpx.Response]:
        return ask(self.settings, *requests)

    def chart(self, query: str = "", **how: Any) -> httpx.Response:
        return self.ask({"method": "POST", "url": f"/v1/chart?{query}", "files": SONG, **how})[0]

    def told(self, identity: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask({"url": f"/v1/jobs/{identity}"})[0].json()
        return answer

    def ended(self, identity: str) -> dict[str, Any]:
        until(lambda: self.store.get(identity).state not in ("queued", "running"))  # type: ignore[union-attr]
        return self.told(identity)


def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def working(folder: Path, **settings: str) -> Iterator[House]:
    """Let a worker with a stand-in work."""
    chosen = settings_of(folder, "local", **settings)
    maker, loaded = Maker(), []

    def load(folders: Mapping[str, Path]) -> Maker:
        loaded.append(dict(folders))
        return maker

    maker.may_go.set()
    worker = Worker(chosen, {"chart": Charting(chosen, load)})  # type: ignore[arg-type]
    worker.start()
    try:
        yield House(chosen, maker, JobStore.of(chosen), loaded)
    finally:
        maker.may_go.set()
        worker.stop()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with working(tmp_path) as made:
        yield made


def test_a_song_becomes_a_folder_of_files(house: House) -> None:
    given = house.chart("title=Vibe%20Ace")
    assert given.status_code == 202, given.text
    first = given.json()
    assert given.headers["location"] == f"/v1/jobs/{first['id']}"
    assert (first["kind"], first["state"], first["files"], first["report"]) == ("chart", "queued", [], None)
    told = house.ended(first["id"])
    assert (told["state"], told["progress"], told["error"], told["stems"]) == ("done", 1.0, None, [])
    assert told["files"] == sorted(FILES)
    assert told["report"] == REPORT
    assert house.maker.asked[0][0] == SONG["file"][1]
    place = house.store.place(told["id"])
    assert not (place / INPUT).exists()

    url = f"/v1/jobs/{told['id']}/result"
    names = ("ext.dtx", "chart.json", "chart.png", "bgm.ogg", "input", "report.json", "..%2freport.json")
    whole, *parts = house.ask({"url": url}, *({"url": f"{url}/{name}"} for name in names))
    assert whole.headers["content-type"] == "application/zip"
    assert "Vibe%20Ace.zip" in whole.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
    assert [part.status_code for part in parts] == [200, 200, 200, 200, 404, 404, 404]
    assert [part.content for part in parts[:4]] == [FILES[name] for name in names[:4]]
    # A chart is text in a Japanese encoding, which no browser is to guess.
    assert [part.headers["content-type"] for part in parts[:4]] == [
        "application/octet-stream", "application/json", "image/png", "audio/ogg",
    ]  # fmt: skip
    (listed,) = house.ask({"url": "/v1/jobs"})[0].json()["jobs"]
    assert listed == {**told, "report": None}


def test_what_is_asked_for_is_what_the_maker_gets(house: House) -> None:
    query = "title=%20Song%20&artist=%E6%9D%B1%E4%BA%AC&tiers=extreme,basic&time_signature=6/8&bpm=96.5&expressive=true"
    query += "&rock=true&multi_scale=1&separation=none&plot=false"
    assert house.ended(house.chart(query).json()["id"])["state"] == "done"
    assert house.ended(house.chart().json()["id"])["state"] == "done"
    (_, first), (_, second) = house.maker.asked
    assert first == ChartOptions(
        title="Song",
        artist="東京",
        tiers=("basic", "extreme"),
        time_signature=TimeSignature(6, 8),
        bpm=96.5,
        expressive=True,
        modes=Modes(rock=True, multi_scale=True),
        separation="none",
        plot=False,
    )
    assert second == ChartOptions(title="My song")  # the file has no tags, and here a name of ours
    assert house.loaded == [{}]  # once, with the models that ship


LONG = "%F0%9F%A5%81" * 5000


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("title=" + "a" * 301, "title"),
        ("title=" + "a" * 10_000, "title"),
        (f"title={LONG}", "title"),
        ("title=a%00b", "title"),
        ("title=a%0Ab", "title"),
        ("title=a%E2%80%A8b", "title"),
        ("artist=%1b[31m", "artist"),
        ("artist=" + "a" * 301, "artist"),
        ("tiers=hard", "hard"),
        ("tiers=", "difficulty"),
        ("tiers=,", "difficulty"),
        ("tiers=" + "basic," * 1000, "tiers"),
        ("time_signature=99/7", "99/7"),
        ("time_signature=0/4", "0/4"),
        ("time_signature=four", "four"),
        ("time_signature=" + "9" * 90 + "/4", "time_signature"),
        ("time_signature=" + "9" * 5000 + "/4", "time_signature"),
        ("bpm=nan", "nan"),
        ("bpm=inf", "inf"),
        ("bpm=-120", "-120"),
        ("bpm=0", "tempo"),
        ("bpm=1e999", "inf"),
        ("bpm=fast", "bpm"),
        ("expressive=perhaps", "expressive"),
        ("rock=2", "rock"),
        ("plot=%00", "plot"),
        ("separation=../../etc", "separation"),
        ("separation=/etc", "separation"),
        ("separation=", "separation"),
        ("separation=spleeter:2stems", "makes no drums"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, query: str, word: str) -> None:
    asked = {"method": "POST", "url": f"/v1/chart?{query}", "files": SONG}
    (answer,) = ask(settings_of(tmp_path, "local"), asked)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["code"] == "wrong_value"
    assert word in error["message"]
    assert len(error["message"]) <= 400
    assert "\n" not in error["message"]
    assert not list((tmp_path / "jobs").glob("[0-9a-f]*"))


def test_a_request_without_a_file_or_with_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBEAT_MODELS", str(tmp_path / "none"))
    settings = settings_of(tmp_path, "local", limits__max_bytes="2000", jobs__waiting="1")
    post: dict[str, Any] = {"method": "POST", "url": "/v1/chart"}
    two = [("file", ("a.wav", b"one")), ("file", ("b.wav", b"two"))]
    answers = ask(
        settings,
        {**post, "files": two},
        {**post, "files": {"song": b"one"}},
        {**post, "json": {"file": "http://127.0.0.1/song.wav"}},
        {**post, "data": {"file": "http://127.0.0.1/song.wav"}, "files": {"a": b""}},
        {**post, "files": {"file": bytes(3000)}},
        {**post, "url": "/v1/chart?separation=spleeter:4stems", "files": SONG},
        {**post, "content": b"one", "headers": {"Content-Type": "audio/wav"}},
        {**post, "files": SONG},
    )
    assert [answer.status_code for answer in answers] == [422, 422, 415, 422, 413, 409, 202, 429]
    said = ["wrong_value", "wrong_value", "wrong_type", "wrong_value", "too_large", "conflict"]
    assert codes(answers[:6]) == said
    assert "pull spleeter:4stems" in answers[5].json()["error"]["message"]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "chart"),
        ("C:\\Windows\\*?", "C__Windows___"),
        ("🥁" * 300, "🥁" * 60),
        ("a" * 300, "a" * 240),
        ("東京／ドラム", "東京／ドラム"),
        ("a\u202e gpj.exe", "a gpj.exe"),
        ('";x="', "_;x=_"),
    ],
)
def test_titles_make_names_of_files_that_lie_nowhere_else(tmp_path: Path, title: str, name: str) -> None:
    settings = settings_of(tmp_path, "local")
    given = ask(settings, {"method": "POST", "url": "/v1/chart", "params": {"title": title}, "files": SONG})[0]
    assert given.status_code == 202, given.text
    store, identity = JobStore.of(settings), given.json()["id"]
    job = store.claim("one")
    assert job is not None
    assert job.request["options"]["title"] == title.strip()
    store.output(job).mkdir()
    (store.output(job) / "ext.dtx").write_bytes(b"x")
    assert store.finish(identity, "one", {"ext.dtx": "ext.dtx"})
    answer = ask(settings, {"url": f"/v1/jobs/{identity}/result"})[0]
    assert answer.status_code == 200
    sent = httpx.URL(
        f"http://x/?{answer.headers['content-disposition'].partition('; ')[2].replace('filename*=utf-8', 'filename=')}"
    )
    assert sent.params["filename"].strip("'\"").removesuffix(".zip") == name
    assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist() == ["ext.dtx"]


def test_who_may_chart(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    charts, stems, reads = (keys.create(name, (name,)) for name in ("chart", "separate", "read"))
    settings = settings_of(tmp_path)

    def heads(key: str) -> dict[str, dict[str, str]]:
        return {"headers": {"X-API-Key": key}}

    post = {"method": "POST", "url": "/v1/chart", "files": SONG}
    answers = ask(settings, *({**post, **heads(key)} for key in (charts, stems, reads)), post)
    assert [answer.status_code for answer in answers] == [202, 403, 403, 401]
    assert "'chart'" in answers[1].json()["error"]["message"]
    url = answers[0].headers["location"]
    looks = ask(settings, *({"url": url, **heads(key)} for key in (charts, stems, reads)))
    # Another's job is none; who may make neither stems nor charts has no jobs.
    assert [look.status_code for look in looks] == [200, 404, 403]
    (separate,) = ask(settings, {**post, "url": "/v1/separate", **heads(charts)})
    assert separate.status_code == 403


def test_jobs_from_before_there_were_charts_are_separations(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "local")
    store = JobStore.of(settings)
    old = store.add(store.new_id(), "local", {"model": "spleeter:2stems", "options": {}})
    store.add(store.new_id(), "local", {"kind": "chart", "name": "a", "options": ChartOptions().to_dict()})
    assert store.at_hand() == {("separate", "queued"): 1, ("chart", "queued"): 1}
    assert store.claim("one").id == old.id  # type: ignore[union-attr]
    assert store.at_hand() == {("separate", "running"): 1, ("chart", "queued"): 1}
    store.output(old).mkdir(parents=True)
    (store.output(old) / "vocals.wav").write_bytes(b"RIFF")
    assert store.finish(old.id, "one", {"vocals": "vocals.wav"})
    told, whole, stem = ask(
        settings, *({"url": f"/v1/jobs/{old.id}{end}"} for end in ("", "/result", "/result/vocals"))
    )
    wanted = {"kind": "separate", "model": "spleeter:2stems", "stems": ["vocals"], "files": ["vocals"], "report": None}
    assert told.json() == {**told.json(), **wanted, "state": "done"}
    assert 'filename="stems.zip"' in whole.headers["content-disposition"]
    assert zipfile.ZipFile(io.BytesIO(whole.content)).namelist() == ["vocals.wav"]
    assert stem.content == b"RIFF"


def test_a_job_that_is_cancelled_stops_at_its_next_step_and_leaves_nothing(house: House) -> None:
    house.maker.may_go.clear()
    identity = house.chart().json()["id"]
    waits = house.chart().json()["id"]
    assert house.maker.at_work.wait(20)
    until(lambda: house.told(identity)["progress"] == 0.25)
    counted = {key: metrics.JOBS.labels("chart", key)._value.get() for key in ("queued", "running")}
    assert counted == {"queued": 1, "running": 1}
    (told,) = house.ask({"url": f"/v1/jobs/{identity}", "method": "DELETE"})
    assert told.json()["state"] == "cancelled"
    time.sleep(4 * _BEAT_S)  # the worker has heard of it, and waits for the step
    house.maker.may_go.set()
    until(lambda: not house.store.place(identity).exists())
    # Its second step came to nothing; the next job has its own.
    assert house.ended(waits)["state"] == "done"
    assert house.maker.steps == 1
    assert house.told(identity)["state"] == "cancelled"


def test_a_job_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with working(tmp_path, jobs__timeout_s="0.5") as house:
        house.maker.may_go.clear()
        identity = house.chart().json()["id"]
        assert house.maker.at_work.wait(20)
        time.sleep(0.5 + 4 * _BEAT_S)
        house.maker.may_go.set()
        error = house.ended(identity)["error"]
        assert error == {"code": "timed_out", "message": "the job took longer than 0.5 s"}
        assert house.maker.steps == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SilentAudioError("/state/jobs/x/input", "is silent"), "unheard_audio", "the file is silent"),
        (ModelError("/state/champions/beat: is damaged"), "not_ready", "a model that this needs is not there"),
        (RuntimeError("/state/secret"), "fault", "the service is at fault"),
    ],
)
def test_a_job_that_fails_says_why_and_no_more(house: House, error: Exception, code: str, message: str) -> None:
    house.maker.error = error
    told = house.ended(house.chart().json()["id"])
    assert (told["state"], told["error"]["code"]) == ("failed", code)
    assert told["error"]["message"].startswith(message)
    assert "/state" not in json.dumps(told)
    assert told["files"] == []
    house.maker.error = None
    assert house.ended(house.chart().json()["id"])["state"] == "done"


def test_a_worker_that_died_in_the_middle_costs_an_attempt(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "local", jobs__stale_s="0.3")
    (given,) = ask(settings, {"method": "POST", "url": "/v1/chart", "files": SONG})
    store, identity = JobStore.of(settings), given.json()["id"]
    dead = store.claim("dead")
    assert dead is not None
    with working(tmp_path, jobs__stale_s="0.3") as house:
        assert house.ended(identity)["state"] == "done"
        assert (store.output(dead) / "ext.dtx").is_file()
    # Its heart beats no more: what it says now is not heard.
    assert not store.finish(identity, "dead", {})


def test_a_job_that_another_worker_took_over_keeps_its_files(house: House) -> None:
    house.maker.may_go.clear()
    identity = house.chart().json()["id"]
    assert house.maker.at_work.wait(20)
    with house.store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE jobs SET worker = 'another'")
    time.sleep(4 * _BEAT_S)
    with capture_logs() as told:
        house.maker.may_go.set()
        until(lambda: told)
    assert (told[0]["event"], told[0]["kind"], told[0]["outcome"]) == ("job", "chart", "left")
    assert (house.store.place(identity) / INPUT).is_file()


def test_work_ends_where_the_database_goes_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.maker.may_go.clear()

    def away(*_: object) -> bool:
        raise OperationalError("UPDATE jobs", {}, Exception("gone"))

    with capture_logs() as told:
        identity = house.chart().json()["id"]
        assert house.maker.at_work.wait(20)
        monkeypatch.setattr(JobStore, "beat", away)
        time.sleep(4 * _BEAT_S)
        house.maker.may_go.set()
        until(lambda: any(line["event"] == "jobs_not_taken" for line in told))
    assert house.maker.steps == 0
    # It did not fail: it is given again when its heart has been still for long enough.
    assert house.store.get(identity).state == "running"  # type: ignore[union-attr]


def test_charts_are_made_by_the_champions_that_the_service_uses(tmp_path: Path) -> None:
    folder = tmp_path / "onset"
    folder.mkdir()
    (folder / "spec.json").touch()
    with working(
        tmp_path, models__registry="http://127.0.0.1:9", models__folders=json.dumps({"onset": str(folder)})
    ) as house:
        for number in ("1", "1", "2"):
            write_json(tmp_path / "champions-that-worked.json", {"beat": f"/champions/{number}"})
            assert house.ended(house.chart().json()["id"])["state"] == "done"
        assert house.loaded == [{"onset": folder, "beat": Path(f"/champions/{number}")} for number in ("1", "2")]


def test_the_document_says_all_that_may_be_asked(tmp_path: Path) -> None:
    (answer,) = ask(settings_of(tmp_path, "local"), {"url": "/openapi.json"})
    operation = answer.json()["paths"]["/v1/chart"]["post"]
    parameters = {one["name"]: one for one in operation["parameters"]}
    assert set(parameters) == {
        "title", "artist", "tiers", "time_signature", "bpm", "expressive", "rock", "ensemble", "multi_scale",
        "advanced_features", "separation", "plot",
    }  # fmt: skip
    assert all(one["in"] == "query" and one["description"] and not one["required"] for one in parameters.values())
    assert set(operation["responses"]) == {
        "202", "400", "401", "403", "408", "409", "413", "415", "422", "429", "500", "503", "504",
    }  # fmt: skip
    assert operation["security"] == [{"key": []}, {"bearer": []}]


# The client


@contextmanager
def listening(settings: Settings) -> Iterator[str]:
    """Answer requests over HTTP, without models."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_the_client_and_its_command_fetch_a_chart(house: House, tmp_path: Path) -> None:
    song, told = tmp_path / "My song.wav", []
    song.write_bytes(SONG["file"][1])
    with listening(house.settings) as url:
        with Client(url) as client:
            report = client.chart(song, tmp_path / "here", options={"bpm": 120}, progress=told.append)
            assert report == REPORT
            assert told[-1] == 1.0
            assert {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()} == FILES
            with pytest.raises(ServiceError, match="99/7 is not a time signature"):
                client.chart(song, tmp_path / "x", options={"time_signature": "99/7"})
            with pytest.raises(ConfigError, match="cannot be put into an address"):
                client.chart(song, tmp_path / "x", options={"title": "🥁" * 10_000})
            house.maker.error = SilentAudioError(song, "is silent")
            with pytest.raises(ServiceError, match=r"My song\.wav: the file is silent") as caught:
                client.chart(song, tmp_path / "x")
            assert caught.value.code == "unheard_audio"
            house.maker.error = None
            house.maker.may_go.clear()
            with pytest.raises(TimeLimitError, match=r"was not done within 0\.1 s"):
                client.chart(song, tmp_path / "x", timeout_s=0.1)
            assert {job.state for job in house.store.of_owner("local")} == {"done", "failed", "cancelled"}
            house.maker.may_go.set()
        assert not (tmp_path / "x").exists()
        asked = [
            "remote",
            "chart",
            str(song),
            "-o",
            str(tmp_path / "output"),
            "--title",
            "A",
            "--difficulty",
            "extreme",
        ]
        done = CliRunner().invoke(commands, [*asked, "--rock", "--no-plot", "--url", url])
        assert done.exit_code == 0, done.output
        assert "My song: 12 notes in 3 bars of 4/4 at 120.0 BPM" in done.stdout
        assert "warning" in done.stderr
        assert "it has no cymbals" in done.stderr
        assert (tmp_path / "output" / "My song" / "ext.dtx").read_bytes() == FILES["ext.dtx"]
        options = house.maker.asked[-1][1]
        assert (options.title, options.tiers, options.modes, options.plot) == (
            "A",
            ("extreme",),
            Modes(rock=True),
            False,
        )


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/b", "..", "a\\b", "C:evil", "C:\\evil", "\\\\host\\evil", "folder/", "."]
)
def test_the_client_writes_nothing_out_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sent = io.BytesIO()
    with zipfile.ZipFile(sent, "w") as archive:
        archive.writestr("good.txt", b"good")
        archive.writestr(zipfile.ZipInfo("evil"), b"evil")
        archive.infolist()[-1].filename = name
    _refuses(tmp_path, monkeypatch, sent.getvalue(), "is for elsewhere")


def test_the_client_refuses_what_is_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refuses(tmp_path, monkeypatch, b"words", "no ZIP")


def _refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        job = {"id": "1", "state": "done", "progress": 1.0, "report": {}, "error": None}
        return (
            httpx.Response(200, content=content)
            if request.url.path.endswith("result")
            else httpx.Response(202, json=job)
        )

    song = tmp_path / "song.wav"
    song.write_bytes(b"sound")
    with Client("http://service") as client:
        monkeypatch.setattr(client, "_http", httpx.Client(base_url="http://x", transport=httpx.MockTransport(answer)))
        with pytest.raises(ServiceError, match=why):
            client.chart(song, tmp_path / "a" / "output")
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]
