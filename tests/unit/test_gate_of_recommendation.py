"""The gate for models that recommend: a take finds its beat, or does not; a listener what came next, or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from backbeat.dataset import FeatureStore, read_labels, write_features
from backbeat.evaluation.scoring import Example, examples_from_features, load, score
from backbeat.features import FeatureParams
from backbeat.files import write_text
from backbeat.gate.deciding import decide
from backbeat.gate.settings import GateSettings
from backbeat.model import ModelSpec, save_model
from backbeat.pairing.network import ROLES, PairingNetwork
from backbeat.registry import Registry
from pipelines.settings import CONF, read

FEATURES = FeatureParams(mel_bands=16)
NETWORK: dict[str, Any] = {"channels": [4, 4], "width": 8, "layers": 1, "envelopes": 2, "style": 8, "rhythm": 24}
TAKES = 110


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Takes and beats that are one and the same strokes, at tempi of their own."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    sounds, lines = [], []
    for number in range(TAKES):
        sound = 0.1 * rng.random((600, 16), dtype=np.float32)
        for time_s in np.arange(0.1, 5.8, 60 / (60 + number)):
            sound[round(time_s * 100) :][:4] += 3.0
        sounds += [(f"{number}-take", sound), (f"{number}-beat", sound)]
        line = {"id": f"{number}-take", "split": "test", "genre": ("funk", "jazz")[number % 2], "licence": "CC0-1.0"}
        lines.append({**line, "beat": f"{number}-beat", "parts": "drums"})
    write_features(folder / "features/pairs", FEATURES, sounds)
    write_text(folder / "labels/pairing/pairs.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return examples_from_features(
        "pairing", read_labels(folder / "labels", "pairing"), FeatureStore(folder / "features")
    )


def pairing_model(folder: Path, *, alike: bool, seed: int = 1) -> Path:
    """A model with random weights; where the towers are alike, takes and beats that are the same come to one place."""
    torch.manual_seed(seed)
    network = PairingNetwork(FEATURES.mel_bands, FEATURES.frame_rate_hz, **NETWORK)
    if alike:
        network.beat.load_state_dict(network.take.state_dict())
    spec = ModelSpec("pairing", "backbeat-pairing", "0.1.0", NETWORK, FEATURES, ROLES, run=f"run{seed}")
    save_model(folder, network, spec, "# Random weights\n")
    return folder


def settings() -> GateSettings:
    with initialize_config_dir(CONF, version_base="1.3"):
        return replace(read(GateSettings, compose("config").gate), latency_ratio=100.0, timed_tracks=1, timing_rounds=1)


def test_a_model_that_finds_beats_takes_over_and_one_that_guesses_does_not(
    examples: list[Example], tmp_path: Path
) -> None:
    deaf, sharp = pairing_model(tmp_path / "deaf", alike=False), pairing_model(tmp_path / "sharp", alike=True)
    table = score(load("pairing", sharp), examples)
    assert len(table) == TAKES
    assert table["reciprocal_rank"].mean() > 0.95
    assert table["candidates"].eq(100).all()
    better = decide("pairing", deaf, sharp, examples, settings())
    assert better.promoted, better.sentence
    assert better.measure == "reciprocal_rank"
    worse = decide("pairing", sharp, deaf, examples, settings())
    assert not worse.promoted
    assert "evidence" in {check.name for check in worse.checks if check.passed is False}


def test_a_first_model_must_do_better_than_guessing(examples: list[Example], tmp_path: Path) -> None:
    first = decide("pairing", None, pairing_model(tmp_path / "sharp", alike=True), examples, settings())
    assert first.promoted, first.sentence
    chance = next(check for check in first.checks if check.name == "chance")
    # The mean of 1 over the rank among 100, guessed.
    assert chance.sentence.count("0.052") == 1
    deaf = decide("pairing", None, pairing_model(tmp_path / "deaf", alike=False), examples, settings())
    assert not deaf.promoted


def test_the_sets_are_named_by_what_the_beats_sound_like(examples: list[Example], tmp_path: Path) -> None:
    sharp = pairing_model(tmp_path / "sharp", alike=True)
    whole = decide("pairing", None, sharp, examples, settings()).sets
    again = decide("pairing", None, sharp, list(reversed(examples)), settings()).sets
    assert whole == again
    fewer = decide("pairing", None, sharp, examples[1:], settings()).sets
    assert whole[0].sha256 != fewer[0].sha256


def test_the_registry_keeps_them_like_any_other(tmp_path: Path, mlflow_uri: str) -> None:
    registry = Registry(mlflow_uri)
    version = registry.register(pairing_model(tmp_path / "sharp", alike=True))
    assert version.name == "backbeat-pairing 1"
    registry.promote(version, instead_of=None, why="the first")
    champion = registry.champion("pairing")
    assert champion is not None
    assert champion.version == "1"
    assert (registry.fetch(champion, tmp_path / "fetched") / "model.safetensors").is_file()
