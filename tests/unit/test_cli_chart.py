"""The command line of charts: what is asked for, where it goes, and what is said; the making itself stands in."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hostile import music

from backbeat import cli
from backbeat.audio import encode
from backbeat.charts.making import ChartMaker, ChartOptions, MadeChart
from backbeat.errors import DrumlessAudioError
from backbeat.music import TimeSignature

REPORT = {
    "levels": {"basic": 2.5, "extreme": 4.0},
    "tempo": "120 to 132 BPM",
    "quantising": {
        "notes": 120,
        "bars": 9,
        "meters": [{"bar": 0, "signature": "4/4"}, {"bar": 5, "signature": "3/4"}],
        "from_grid": {"median_ms": 4.2},
    },
}


@dataclass
class Maker:
    """Takes down what it is asked for; songs called "speech" have no drums."""

    asked: list[tuple[Path, Path, ChartOptions, bool]] = field(default_factory=list)

    def make(self, path: Path, folder: Path, options: ChartOptions, *, replace: bool, progress: Any) -> MadeChart:
        progress("hearing", 0.5)
        if path.stem == "speech":
            raise DrumlessAudioError(path, "has no drums that could be charted")
        self.asked.append((path, folder, options, replace))
        return MadeChart(folder, {}, REPORT, warnings=("cut short",))


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Maker:
    stand_in = Maker()
    monkeypatch.setattr(ChartMaker, "load", lambda *_, **__: stand_in)
    return stand_in


@pytest.fixture
def songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "input"
    for name in ("one.wav", "album/two.flac", "album/speech.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        encode(folder / name, music(seconds=1.0), 22050)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    def invoke(*arguments: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["backbeat", "chart", *map(str, arguments)])
        try:
            cli.main()
            code: Any = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return invoke


Run = Callable[..., tuple[Any, str, str]]


def test_one_song_goes_to_a_folder_of_its_name(run: Run, maker: Maker, songs: Path) -> None:
    code, out, err = run("input/one.wav", "--batch", "--title", "A", "--rock", "--time-signature", "7/8", "--bpm", 93.5)
    assert code == 0
    assert out == (
        "output/one: 120 notes in 9 bars of 4/4, 3/4 at 120 to 132 BPM, 4 ms from the grid; "
        "level: basic 2.50, extreme 4.00\n"
    )
    assert err == "backbeat: warning: input/one.wav: cut short\n"
    path, folder, options, replace = maker.asked[0]
    assert (path, folder, replace) == (Path("input/one.wav"), Path("output/one"), False)
    assert (options.title, options.bpm, options.time_signature) == ("A", 93.5, TimeSignature(7, 8))
    assert options.modes.rock
    assert not options.modes.ensemble


def test_folders_are_taken_whole_and_failures_named(run: Run, maker: Maker, songs: Path) -> None:
    code, out, err = run("--input", "input", "-o", "charts", "--difficulty", "extreme", "--force")
    assert code == 1
    assert len(out.splitlines()) == 2
    assert "backbeat: error: input/album/speech.wav: has no drums that could be charted" in err
    assert {str(folder) for _, folder, _, _ in maker.asked} == {"charts/one", "charts/two"}
    assert all(options.tiers == ("extreme",) and replace for _, _, options, replace in maker.asked)


def test_names_are_looked_for_in_the_input_folder(run: Run, maker: Maker, songs: Path) -> None:
    assert run("--input", "input", "one.wav", "input/one.wav", "none.wav")[0] == 0
    assert [path for path, *_ in maker.asked] == [Path("input/one.wav"), Path("none.wav")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a song, or a folder of songs"),
        (["--input", "nowhere"], "nowhere: there is no such folder: make it, and put songs in it"),
        (["input", "--title", "A"], "--title is for one song"),
        (["input/one.wav", "--difficulty", "hard"], "difficulty 'hard' is none of basic, advanced, extreme"),
        (["input/one.wav", "--time-signature", "4"], "'4' is not a time signature such as 4/4"),
        (["input/one.wav", "--bpm", "1000"], "choose 20 to 400"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], said: str, run: Run, maker: Maker, songs: Path) -> None:
    code, _, err = run(*arguments)
    assert code == 1
    assert said in err
    assert not maker.asked


def test_titles_are_asked_for_where_somebody_is_there(
    run: Run, maker: Maker, songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["My song", ""])

    def prompt(_: str, *, default: str, **__: object) -> str:
        return next(answers) or default

    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", prompt)
    assert run("input/one.wav")[0] == 0
    assert (maker.asked[0][2].title, maker.asked[0][2].artist) == ("My song", "")
    assert run("input/one.wav", "--batch")[0] == 0
    assert maker.asked[1][2].title is None
