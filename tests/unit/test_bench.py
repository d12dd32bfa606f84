"""The benchmark: every program hears the same files, and its answers, time and memory are its own."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import save_tiny_models
from typer.testing import CliRunner

from backbeat.cli import app
from backbeat.errors import ConfigError
from backbeat.evaluation import bench as benching
from backbeat.evaluation.programs import PROGRAMS, hear, installed

RATE_HZ = 22050


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    """A folder with 14 s of clicks at 120 BPM, and their beats."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    samples = np.zeros(14 * RATE_HZ)
    times_s = np.arange(0.5, 13.5, 0.5)
    for time_s in times_s:
        start = round(time_s * RATE_HZ)
        samples[start : start + 300] = np.sin(np.arange(300) * 0.4) * np.exp(-np.arange(300) / 60)
    soundfile.write(folder / "clicks.wav", samples, RATE_HZ)
    (folder / "clicks.beats").write_text("".join(f"{time_s}\n" for time_s in times_s))
    return folder


def test_programs_are_told_apart_by_score_speed_and_memory(
    clicks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_models(tmp_path / "models")
    monkeypatch.setattr(benching, "installed", lambda: {"backbeat": "1", "librosa": "2"})
    picture, output = tmp_path / "bench.png", tmp_path / "bench.json"
    command = ["bench", str(clicks), "--models", str(tmp_path / "models"), "--plot", str(picture), "-o", str(output)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    results = {(one["kind"], one["program"]): one for one in json.loads(output.read_text())}
    assert set(results) == {("beat", "backbeat"), ("beat", "librosa"), ("analysis", "backbeat")}
    librosa = results["beat", "librosa"]
    assert librosa["scores"]["beat_f"]["value"] > 0.9
    assert "downbeat_f" not in librosa["scores"]
    assert librosa["audio_s"] == 14.0
    for one in results.values():
        assert 0 < one["real_time_factor"] < 10
        assert 50 < one["peak_mib"] < 8000
    assert librosa["version"] == "2"
    assert "backbeat 1, librosa 2; under each score" in done.output
    assert picture.stat().st_size > 5000


def test_a_program_that_has_nothing_to_say_is_refused(clicks: Path) -> None:
    with pytest.raises(ConfigError, match="librosa has nothing to say of analysis"):
        hear("librosa", "analysis", [clicks / "clicks.wav"], clicks, 1)


def test_what_is_installed_has_a_version() -> None:
    found = installed()
    assert set(found) <= set(PROGRAMS)
    assert {"backbeat", "librosa"} <= set(found)
