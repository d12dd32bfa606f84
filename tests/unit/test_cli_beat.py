"""`backbeat recommend beat`: what is asked for, what is printed, and what is refused before anything long is done."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from beat_choices import Take, beat, descriptors
from hostile import music
from typer.testing import CliRunner

from backbeat.analysis import describing
from backbeat.analysis.analyzer import Analyzer
from backbeat.audio import encode
from backbeat.cli.recommending import parse_tempo_range, recommend_app
from backbeat.errors import BackbeatError, CatalogueError, ConfigError, UnknownItemError
from backbeat.recommend.beats import preview
from backbeat.recommend.catalogue import Catalogue


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a take and a catalogue of three beats; models stand aside."""
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "take.wav", music(seconds=1.0), 22050)
    with Catalogue.open("beats.db", make=True) as catalogue:
        catalogue.add(beat("near", path="near.wav"), {})
        catalogue.add(beat("house", label="deep house", tempo_bpm=181.0, key="D minor"), {})
        catalogue.add(beat("drums", label="", tempo_bpm=95.0, key=None), {})
    monkeypatch.setattr(Analyzer, "load", lambda *_: SimpleNamespace())
    monkeypatch.setattr(describing, "shipped_pairing", lambda: None)
    stand_in = SimpleNamespace(describe=lambda path, limits: Take(descriptors()))
    monkeypatch.setattr(describing, "Describer", lambda *_, **__: stand_in)
    return tmp_path


def run(*arguments: str) -> str:
    found = CliRunner().invoke(recommend_app, ["beat", *arguments, "--catalogue", "beats.db"])
    if isinstance(found.exception, BackbeatError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def test_a_table_and_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = run("take.wav")
    lines = [line.split() for line in out.splitlines()]
    assert out.startswith("Beats for take.wav")
    assert next(line[1:3] for line in lines if line[:2] == ["1", "near"]) == ["near", "trap"]
    assert any(line[1:4] == ["house", "deep", "house"] and "double" in line for line in lines)
    assert "Its 92.0 bpm is your take's 92.0 (stretch 0.0%)" in out
    assert max(map(len, out.splitlines())) <= 100


def test_json(home: Path) -> None:
    value = json.loads(run("take.wav", "--json", "--count", "2"))
    assert value["take"] == "take.wav"
    assert len(value["answers"]) == 2
    best = value["answers"][0]
    assert (best["item"]["id"], best["stretch"], best["transpose_semitones"], best["method"]) == (
        "near",
        1.0,
        0,
        "rules",
    )
    assert 0 < best["confidence"] < 1
    assert value["preview"] is None


def test_filters_are_passed_on(home: Path) -> None:
    assert [one["item"]["id"] for one in json.loads(run("take.wav", "--label", "Deep House", "--json"))["answers"]] == [
        "house"
    ]
    found = json.loads(run("take.wav", "--tempo-range", "94-96", "--max-stretch", "4", "--json"))["answers"]
    assert [one["item"]["id"] for one in found] == ["drums"]
    with pytest.raises(CatalogueError, match=r"within a stretch of 1.0%, the nearest of them needs"):
        run("take.wav", "--tempo-range", "94-96", "--max-stretch", "1")


def test_an_item_in_place_of_a_recording(home: Path) -> None:
    found = json.loads(run("--like", "near", "--json"))
    assert found["take"] == "near"
    assert {one["item"]["id"] for one in found["answers"]} == {"house", "drums"}
    with pytest.raises(UnknownItemError):
        run("--like", "far")


def test_a_preview_of_the_answer_that_was_chosen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(preview, "write_preview", lambda *given, **_: made.append(given))
    out = run("take.wav", "--preview", "mix.mp3")
    (take, beat_path, answer, target), *_ = made
    assert (take, beat_path, answer.item.id, target) == (Path("take.wav"), Path("near.wav"), "near", Path("mix.mp3"))
    assert out.rstrip().endswith("mix.mp3: take.wav with near under it")
    with pytest.raises(CatalogueError, match="its audio was not kept"):
        run("take.wav", "--preview", "mix.mp3", "--choose", "2")
    with pytest.raises(ConfigError, match="only 1 beats fit"):
        run("take.wav", "--label", "trap", "--preview", "mix.mp3", "--choose", "2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a recording"),
        (["take.wav", "--like", "near"], "name a recording"),
        (["take.wav", "--preview", "mix.xyz"], "name a file such as mix.wav"),
        (["take.wav", "--preview", "."], "name a file"),
        (["take.wav", "--preview", "mix.wav", "--choose", "6"], "there are 5 answers"),
        (["take.wav", "--tempo-range", "fast"], "such as 80-100"),
        (["take.wav", "--tempo-range", "100-80"], "slower one first"),
        (["take.wav", "--max-stretch", "300"], "a stretch of up to 300% makes no sense"),
        (["take.wav", "--count", "0"], "0 answers make no sense"),
        (["take.wav", "--rules", "--pairing", "x"], "exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(home: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(*arguments)


def test_without_a_catalogue_it_is_said_how_to_get_one(home: Path) -> None:
    (home / "beats.db").rename(home / "others.db")
    with pytest.raises(CatalogueError, match="`backbeat catalogue starter`"):
        run("take.wav")


def test_ranges_of_tempo() -> None:
    assert parse_tempo_range("80-100.5") == (80.0, 100.5)
