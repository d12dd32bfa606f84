"""The models that ship: they load, say where they came from, and hear music that they were not trained on."""

import re
from pathlib import Path

import numpy as np
import pytest
from rendered_pieces import write_rock

from backbeat.analysis import Analysis, Analyzer
from backbeat.beat.score import score_track as score_beats
from backbeat.dataset import TASKS
from backbeat.model import load_spec
from backbeat.music import Beats, Onsets
from backbeat.onset.score import score_track as score_onsets

WEIGHTS = Path(__file__).resolve().parents[2] / "src/backbeat/weights"

pytestmark = pytest.mark.skipif(
    not all((WEIGHTS / task / "spec.json").is_file() for task in TASKS), reason="no weights ship with this checkout"
)


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer.load()


@pytest.mark.parametrize("task", TASKS)
def test_each_says_where_it_came_from(task: str) -> None:
    spec = load_spec(WEIGHTS / task, task)
    assert spec.run
    # "+": the full recipe's settings are set by `dvc exp run -S`, which changes files.
    assert re.fullmatch(r"[0-9a-f]{40}\+?", spec.commit)
    assert ".dir" in spec.data_hash
    assert spec.licence
    assert spec.metrics
    card = (WEIGHTS / task / "README.md").read_text()
    assert spec.data_hash in card
    assert spec.licence in card


def test_all_together_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 5_000_000


@pytest.fixture(scope="module")
def rock(analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Analysis, Beats, Onsets]:
    path = tmp_path_factory.mktemp("rock") / "rock.flac"
    score, onsets = write_rock(path, 24.0)
    return analyzer.analyze(path), score.beats, onsets


def test_beats_of_a_new_piece_are_found(rock: tuple[Analysis, Beats, Onsets]) -> None:
    analysis, beats, _ = rock
    found = Beats(np.array([beat.time_s for beat in analysis.beats]))
    assert score_beats(beats, found)["beat_f"] > 0.9
    assert analysis.tempo_bpm == pytest.approx(beats.tempo_bpm, rel=0.04)


def test_kick_and_snare_of_a_new_piece_are_found(rock: tuple[Analysis, Beats, Onsets]) -> None:
    analysis, _, onsets = rock
    hits = analysis.drums
    found = Onsets(np.array([hit.time_s for hit in hits]), [hit.drum for hit in hits])
    scores = score_onsets(onsets, None, found)
    assert scores["kick_f"] > 0.8
    assert scores["snare_f"] > 0.7


@pytest.mark.parametrize("decay_samples", [90, 240, 720])
def test_silence_of_a_second_between_clicks_moves_nothing(analyzer: Analyzer, decay_samples: int) -> None:
    """The same clicks later in the file are heard later by the same time."""
    rng = np.random.default_rng(0)
    burst = (rng.standard_normal(2400) * np.exp(-np.arange(2400) / decay_samples)).astype(np.float32) * 0.5
    samples = np.zeros(24000 * 14, dtype=np.float32)
    for time_s in np.arange(0.5, 13.0, 0.5):
        start = round(time_s * 24000)
        samples[start : start + 2400] += burst
    first = analyzer.analyze_audio(samples, 24000)
    later = analyzer.analyze_audio(np.concatenate([np.zeros(24000, np.float32), samples]), 24000)
    assert first.tempo_bpm == pytest.approx(120, rel=0.01)
    strong = [onset.time_s for onset in first.onsets if onset.strength > 0.5]
    moved = [onset.time_s - 1 for onset in later.onsets if onset.strength > 0.5]
    assert len(strong) >= 20
    np.testing.assert_allclose(strong[3:20], moved[3:20], atol=0.01)
