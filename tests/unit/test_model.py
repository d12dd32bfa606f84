import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backbeat.beat.network import BeatNetwork
from backbeat.errors import ModelError
from backbeat.features import FeatureParams
from backbeat.model import ModelSpec, load_spec, load_weights, save_model

NETWORK = {"channels": [4, 4], "width": 8, "layers": 2, "kernel": 3}


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec(
        task="beat",
        name="backbeat-beat",
        version="1",
        network=NETWORK,
        features=FeatureParams(mel_bands=16),
        classes=("beat", "downbeat"),
        metrics={"beat_f": 0.5},
    )


@pytest.fixture
def folder(tmp_path: Path, spec: ModelSpec) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "beat", BeatNetwork(16, **NETWORK), spec, "# card\n")
    return tmp_path / "beat"


def test_round_trip_keeps_specification_and_every_weight(folder: Path, spec: ModelSpec) -> None:
    assert load_spec(folder, "beat") == spec
    torch.manual_seed(0)
    original, loaded = BeatNetwork(16, **NETWORK), BeatNetwork(16, **NETWORK)
    torch.nn.init.zeros_(loaded.head.weight)
    load_weights(folder, loaded)
    for name, value in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert not loaded.training
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors", "spec.json"]
    # Whoever may read the card may read the weights.
    assert (folder / "model.safetensors").stat().st_mode == (folder / "README.md").stat().st_mode


def test_saving_again_replaces_the_folder_whole(folder: Path, spec: ModelSpec) -> None:
    (folder / "stray").touch()
    save_model(folder, BeatNetwork(16, **NETWORK), spec, "# new\n")
    assert not (folder / "stray").exists()
    assert (folder / "README.md").read_text() == "# new\n"
    assert [path.name for path in folder.parent.iterdir()] == ["beat"]


def test_a_failing_save_leaves_the_old_model(folder: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save", fail)
    with pytest.raises(OSError, match="no space"):
        save_model(folder, BeatNetwork(16, **NETWORK), spec, "# new\n")
    assert (folder / "README.md").read_text() == "# card\n"
    assert [path.name for path in folder.parent.iterdir()] == ["beat"]


def test_missing_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model here \(spec.json is missing\); `dvc repro` trains"):
        load_spec(tmp_path)


def test_model_for_another_task_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="is a model for beat, not for genre"):
        load_spec(folder, "genre")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec_version": 99}, "not of version 1"),
        ({"surprise": 1}, "unknown entries"),
        ({"features": {"mel_bands": 16, "hop_samples": 0}}, "does not fit"),
    ],
)
def test_broken_specification_names_the_file(folder: Path, change: dict, message: str) -> None:
    path = folder / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message) as caught:
        load_spec(folder)
    assert str(path) in str(caught.value)


def test_specification_that_is_not_json(folder: Path) -> None:
    (folder / "spec.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_spec(folder)


def test_damaged_and_misfitting_weights(folder: Path) -> None:
    with pytest.raises(ModelError, match="does not fit the network"):
        load_weights(folder, BeatNetwork(16, **{**NETWORK, "width": 12}))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="is damaged"):
        load_weights(folder, BeatNetwork(16, **NETWORK))
    weights.unlink()
    with pytest.raises(ModelError, match="is missing"):
        load_weights(folder, BeatNetwork(16, **NETWORK))


def test_tracker_decodes_what_its_network_gives(folder: Path) -> None:
    from backbeat.beat.tracker import BeatTracker

    tracker = BeatTracker.from_folder(folder)
    log_mel = np.random.default_rng(0).random((301, 16), dtype=np.float32)
    activations = tracker.activations(log_mel)
    assert activations.shape == (151, 2)
    assert np.all((activations > 0) & (activations < 1))
    assert tracker.frame_rate_hz == 50
