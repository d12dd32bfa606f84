"""A beat model at work: what it hears is the mean of the spectrogram moved up and down."""

from __future__ import annotations

import numpy as np
import torch

from backbeat.augment import shifted
from backbeat.beat.network import BeatNetwork
from backbeat.beat.tracker import SHIFTS, BeatTracker
from backbeat.features import FeatureParams
from backbeat.model import ModelSpec

NETWORK = {"channels": [4, 4, 4], "width": 8, "layers": 2, "kernel": 3, "dropout": 0.0}


def test_a_spectrogram_moves_by_whole_bands_and_keeps_its_edge() -> None:
    spectrogram = torch.arange(5.0).repeat(3, 1)
    assert shifted(spectrogram, 2)[0].tolist() == [0, 0, 0, 1, 2]
    assert shifted(spectrogram, -2)[0].tolist() == [2, 3, 4, 4, 4]
    assert shifted(spectrogram, 0) is spectrogram


def test_activations_are_the_mean_log_odds_of_what_is_heard_at_each_shift() -> None:
    torch.manual_seed(3)
    network = BeatNetwork(32, **NETWORK).eval()
    features = FeatureParams(mel_bands=32)
    spec = ModelSpec("beat", "tiny", "1", NETWORK, features, ("beat", "downbeat"), {}, "", "", "", "")
    tracker = BeatTracker(network, spec)
    log_mel = np.random.default_rng(0).random((300, 32), dtype=np.float32)
    found = tracker.activations(log_mel)
    assert found.shape == (150, 2)
    with torch.inference_mode():
        logits = [network(shifted(torch.from_numpy(log_mel), bands)[None])[0].numpy() for bands in SHIFTS]
    expected = 1 / (1 + np.exp(-np.mean(logits, axis=0).T))
    np.testing.assert_allclose(found, expected, atol=1e-5)
