"""Models as small as can be, with random weights: for tests of what is around them, never for results."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from backbeat.beat.network import BeatNetwork
from backbeat.features import FeatureParams
from backbeat.genre.network import GenreNetwork
from backbeat.model import ModelSpec, save_model
from backbeat.music import DRUMS
from backbeat.onset.network import OnsetNetwork

GENRES = ("house", "jazz", "rock")
_SMALL = {"channels": [4, 4], "width": 8, "layers": 2, "kernel": 3}


def save_tiny_models(folder: Path, features: FeatureParams | None = None) -> dict[str, Path]:
    """Write a model a task into `folder`; return their folders by task."""
    features = features or FeatureParams(mel_bands=32)
    torch.manual_seed(1)
    networks: dict[str, nn.Module] = {
        "beat": BeatNetwork(features.mel_bands, **_SMALL),
        "onset": OnsetNetwork(features.mel_bands, **_SMALL),
        "genre": GenreNetwork(features.mel_bands, len(GENRES), **_SMALL, embedding=8),
    }
    classes = {"beat": ("beat", "downbeat"), "onset": ("onset", *DRUMS), "genre": GENRES}
    decoding = {"beat": {}, "onset": {}, "genre": {"window_s": 4.0, "hop_s": 2.0}}
    for task, network in networks.items():
        if task != "genre":
            # Steep heads, so that noise makes some events to look at.
            with torch.no_grad():
                network.head.weight.mul_(30)
        spec = ModelSpec(
            task=task,
            name=f"tiny-{task}",
            version="0.0.1",
            network={**_SMALL, **({"embedding": 8} if task == "genre" else {})},
            features=features,
            classes=classes[task],
            decoding=decoding[task],
            run=f"run-{task}" if task == "beat" else "",
            data_hash="noise=md5:00",
            metrics={"f": 0.5},
        )
        save_model(folder / task, network, spec, "# Random weights\n")
    return {task: folder / task for task in networks}
