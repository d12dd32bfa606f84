import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from hostile import make_hostile_files, music
from tiny_models import save_tiny_models

from backbeat import __version__, cli
from backbeat.analysis import analysis_schema
from backbeat.audio import encode
from backbeat.cli.analyzing import parse_models, unique_names
from backbeat.corpus.contract import read_corpus
from backbeat.errors import ConfigError


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(monkeypatch, capsys):
    def invoke(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["backbeat", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return invoke


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs, one of them in a folder, a text file and an empty file; models."""
    root = tmp_path_factory.mktemp("cli")
    (root / "album").mkdir()
    encode(root / "one.wav", music(seconds=3.0), 22050)
    encode(root / "album" / "two.flac", music(seconds=2.0), 22050)
    (root / "album" / "notes.txt").write_text("not audio")
    (root / "empty.wav").write_bytes(b"")
    save_tiny_models(root / "models")
    return root


@pytest.fixture
def models(folder: Path) -> list[str]:
    return [part for task in ("beat", "onset", "genre") for part in ("--model", f"{task}={folder / 'models' / task}")]


def check(value: dict) -> None:
    jsonschema.Draft202012Validator(analysis_schema()).validate(value)


def test_version_and_help(run):
    assert run("--version").out == f"backbeat {__version__}\n"
    for command in ([], ["analyze"], ["probe"], ["models", "list"], ["corpus", "validate"]):
        result = run(*command, "--help")
        assert result.code == 0
        assert "xample" in result.out
    for kind in ("folder", "mdb-drums", "mirdata"):
        assert "backbeat corpus import" in run("corpus", "import", kind, "--help").out


def test_wrong_arguments_exit_with_2(run):
    assert run("analyze").code == 2
    assert run("sing").code == 2


def test_one_file_is_one_object(run, folder, models):
    result = run("analyze", folder / "one.wav", "--json", *models)
    assert (result.code, result.err) == (0, "")
    value = json.loads(result.out)
    check(value)
    assert value["path"] == str(folder / "one.wav")
    assert value["models"]["beat"] == {
        "name": "tiny-beat",
        "version": "0.0.1",
        "run": "run-beat",
        "data_hash": "noise=md5:00",
    }


def test_several_files_are_an_array_in_the_order_given(run, folder, models):
    paths = [folder / "none.wav", folder / "one.wav", folder / "empty.wav", folder / "album"]
    result = run("analyze", *paths, "--json", *models)
    assert result.code == 1
    values = json.loads(result.out)
    assert [value["path"] for value in values] == [*map(str, paths[:3]), str(folder / "album" / "two.flac")]
    check(values[1])
    check(values[3])
    assert set(values[0]) == set(values[2]) == {"path", "error"}
    assert values[0]["error"] == "does not exist"
    lines = result.err.splitlines()
    assert lines[0] == f"backbeat: error: {folder / 'none.wav'}: does not exist"
    assert lines[1].startswith(f"backbeat: error: {folder / 'empty.wav'}: ")
    assert len(lines) == 2


def test_a_folder_is_an_array_even_of_one(run, folder, models):
    assert len(json.loads(run("analyze", folder / "album", "--json", *models).out)) == 1


def test_a_folder_without_audio_is_an_error(run, tmp_path, models):
    result = run("analyze", tmp_path, "--json", *models)
    assert (result.code, json.loads(result.out)) == (
        1,
        [{"path": str(tmp_path), "error": "is a folder without audio files"}],
    )


def test_one_file_that_fails_is_an_object_too(run, folder, models):
    result = run("analyze", folder / "empty.wav", "--json", *models)
    assert result.code == 1
    assert set(json.loads(result.out)) == {"path", "error"}


def test_summary_is_readable(run, folder, models):
    result = run("analyze", folder / "one.wav", *models)
    assert result.code == 0
    for word in ("one.wav", "tempo", "A major", "LUFS", "tiny-genre 0.0.1", "0:03"):
        assert word in result.out


def test_files_beside_the_summary(run, folder, models, tmp_path):
    outputs = ("--jams", tmp_path / "o.jams", "--csv", tmp_path / "o.csv", "--plot", tmp_path / "o.png")
    result = run("analyze", folder / "one.wav", *outputs, "--output", tmp_path / "o.txt", *models)
    assert (result.code, result.out) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "o.jams", "o.png", "o.txt"]
    assert "one.wav" in (tmp_path / "o.txt").read_text()
    assert (tmp_path / "o.png").read_bytes()[:4] == b"\x89PNG"


def test_several_files_write_to_folders(run, folder, models, tmp_path):
    outputs = ("--csv", tmp_path / "tables", "--jams", tmp_path / "jams", "--plot", tmp_path / "pictures")
    result = run("analyze", folder / "one.wav", folder / "album", folder / "empty.wav", *outputs, *models)
    assert result.code == 1
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["one.csv", "summary.csv", "two.csv"]
    assert sorted(path.name for path in (tmp_path / "jams").iterdir()) == ["one.jams", "two.jams"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["one.png", "two.png"]
    with (tmp_path / "tables" / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [Path(row["path"]).name for row in rows] == ["one.wav", "two.flac", "empty.wav"]
    assert [bool(row["error"]) for row in rows] == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "x.bmp"], "a picture is one of .png, .svg, .pdf"),
        (["--model", "beat"], "give a task and a folder"),
        (["--model", "mood=x"], "'mood' is not a task"),
        (["--model", "beat=x"], "no model for beat here"),
        (["--max-seconds", "0"], "limits on audio have to be positive"),
        (["--max-seconds", "1"], "over the limit of 1"),
        (["--max-bytes", "1000"], "over the limit of 1000 bytes"),
    ],
)
def test_one_line_says_what_is_wrong(run, folder, models, arguments, message):
    given = arguments if arguments[0] == "--model" else [*arguments, *models]
    result = run("analyze", folder / "one.wav", *given)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("backbeat: error: ")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_outputs_that_cannot_be_are_refused_before_work(run, folder, tmp_path):
    (tmp_path / "file").write_text("")
    several = run("analyze", folder / "one.wav", folder / "album", "--csv", tmp_path / "file")
    assert "several files need a folder" in several.err
    assert "one file needs a file name" in run("analyze", folder / "one.wav", "--jams", tmp_path).err


def test_an_output_that_cannot_be_written_is_one_line(run, folder, models, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("analyze", folder / "one.wav", "--json", "--output", tmp_path / "file" / "o.json", *models)
    assert result.code == 1
    assert result.err.startswith("backbeat: error: ")
    assert result.err.count("\n") == 1


def test_hostile_files_never_end_the_run(run, models, tmp_path):
    files = make_hostile_files(tmp_path)
    result = run("analyze", *(path for path, _ in files.values()), "--json", *models)
    values = json.loads(result.out)
    assert result.code == 1
    assert "Traceback" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("backbeat: error: ")]
    assert len(errors) == sum(expectation.error is not None for _, expectation in files.values())
    assert len(values) == len(files)
    for value, (path, expectation) in zip(values, files.values(), strict=True):
        assert value["path"] == str(path)
        if expectation.error is None:
            check(value)
        else:
            assert expectation.text in value["error"]


def test_names_of_results_never_collide():
    paths = [
        Path("a/x.wav"),
        Path("b/x.wav"),
        Path("b/x.mp3"),
        Path("c/summary.wav"),
        Path("a/x.wav"),
        Path("/b/X.ogg"),
    ]
    names = unique_names(paths)
    assert list(names) == [*paths[:4], paths[5]]
    assert len({name.lower() for name in names.values()} | {"summary"}) == 6
    assert (names[paths[0]], names[paths[1]], names[paths[3]]) == ("x", "b_x", "c_summary")


def test_models_are_named_once():
    assert parse_models(["beat=a=b"]) == {"beat": Path("a=b")}
    with pytest.raises(ConfigError, match="has a model already"):
        parse_models(["beat=a", "beat=b"])


def test_probe(run, folder):
    value = json.loads(run("probe", folder / "one.wav", "--json").out)
    assert (value["sample_rate_hz"], value["channels"], value["codec"]) == (22050, 2, "pcm")
    assert "22,050 Hz, 16 bits" in run("probe", folder / "one.wav").out
    result = run("probe", folder / "empty.wav")
    assert (result.code, result.err.count("\n")) == (1, 1)


def test_models_list(run, folder, tmp_path):
    out = run("models", "list", folder / "models").out
    assert "tiny-beat 0.0.1" in out
    assert "noise=md5:00" in out
    assert "f 0.500" in out
    assert [spec["task"] for spec in json.loads(run("models", "list", folder / "models", "--json").out)] == [
        "beat",
        "genre",
        "onset",
    ]
    assert "holds no models" in run("models", "list", tmp_path).err


def test_corpus_import_and_validate(run, tmp_path):
    for genre in ("jazz", "rock"):
        for number in range(4):
            path = tmp_path / "music" / genre / f"{genre}{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(path, music(seconds=1.0 + 0.1 * number) * (0.5 if genre == "jazz" else 1), 22050)
            path.with_suffix(".beats").write_text("0.25\t1\n0.75\t2\n")
    target = tmp_path / "corpus"
    result = run("corpus", "import", "folder", tmp_path / "music", target, "--shares", "0.5,0.25,0.25", "--copy")
    assert (result.code, result.out) == (0, "")
    assert f"{target}: 8 tracks" in result.err
    assert {track.genre for track in read_corpus(target).tracks} == {"jazz", "rock"}
    checked = run("corpus", "validate", target, "--html", tmp_path / "report.html")
    assert checked.code == 0
    assert "8 tracks" in checked.out
    assert "<html" in (tmp_path / "report.html").read_text()

    next(target.rglob("*.beats")).write_text("0.75\t1\n0.25\t2\n")
    broken = run("corpus", "validate", target, "--json")
    assert broken.code == 1
    assert json.loads(broken.out)["problems"]


def test_corpus_errors(run, tmp_path):
    assert "three numbers" in run("corpus", "import", "folder", tmp_path, tmp_path / "c", "--shares", "1").err
    result = run("corpus", "validate", tmp_path / "none")
    assert result.code == 1
    assert result.err.startswith("backbeat: error: ")


def test_help_imports_nothing_heavy():
    heavy = ("torch", "matplotlib", "numpy", "scipy", "av", "jams", "mlflow", "pandas")
    code = f"import sys, backbeat.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["probe", "one.wav", "--json"], ["probe", "one.wav"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(folder, arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "backbeat", *arguments]
    with os.fdopen(write, "wb") as stdout:
        done = subprocess.run(command, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_quietly():
    code = (
        "import sys, backbeat.cli as cli, time\n"
        "import backbeat.cli.analyzing as a\n"
        "def wait(*_): print('ready', flush=True); time.sleep(60)\n"
        "a._check_outputs = wait\n"
        "sys.argv = ['backbeat', 'analyze', 'x.wav']\n"
        "cli.main()\n"
    )
    # A shell that started the tests in the background has told them, and so their children, to ignore the signal.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, previous)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
