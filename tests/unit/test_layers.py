import numpy as np
import pytest
import torch

from backbeat.beat.network import BeatNetwork
from backbeat.errors import ConfigError
from backbeat.genre.network import GenreNetwork
from backbeat.layers import SpectralStem, for_inference, run_network
from backbeat.learning import shift_tolerant_loss
from backbeat.onset.network import OnsetNetwork

SMALL = {"channels": [4, 4, 4], "width": 8, "layers": 3, "kernel": 3}


@pytest.mark.parametrize("frames", [1, 2, 3, 100, 101])
def test_networks_take_any_length(frames: int) -> None:
    log_mel = torch.rand(2, frames, 16)
    assert BeatNetwork(16, **SMALL).eval()(log_mel).shape == (2, 2, -(-frames // 2))
    assert OnsetNetwork(16, **SMALL).eval()(log_mel).shape == (2, 21, frames)
    embedding, logits = GenreNetwork(16, 5, embedding=6, **SMALL).eval()(log_mel)
    assert embedding.shape == (2, 6)
    assert logits.shape == (2, 5)


def test_output_frame_lies_at_its_input_frames() -> None:
    """A change at input frame 2t moves the output around t: activation and spectrogram share a clock."""
    torch.manual_seed(1)
    network = BeatNetwork(16, channels=[4, 4, 4], width=8, layers=1, kernel=3).eval()
    silent = torch.zeros(1, 200, 16)
    struck = silent.clone()
    struck[0, 120] = 3.0
    with torch.inference_mode():
        moved = torch.nonzero((network(struck) - network(silent)).abs().sum(1)[0] > 1e-6)
    assert (int(moved.min()) + int(moved.max())) / 2 == 60


def test_chunks_give_what_the_whole_gives() -> None:
    torch.manual_seed(0)
    network = BeatNetwork(16, **SMALL).eval()
    log_mel = np.random.default_rng(0).random((2001, 16), dtype=np.float32)
    whole = run_network(network, log_mel)
    pieces = run_network(network, log_mel, chunk_frames=400, context_frames=200)
    assert whole.shape == pieces.shape == (2, 1001)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_the_copy_for_inference_gives_the_same_and_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    network, log_mel = OnsetNetwork(16, **SMALL), torch.rand(3, 300, 16)
    for _ in range(20):
        network(torch.rand(3, 300, 16) * torch.rand(16))  # so that the norms have learnt something
    before = {name: value.clone() for name, value in network.state_dict().items()}
    quick = for_inference(network)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in quick.modules())
    with torch.inference_mode():
        torch.testing.assert_close(quick(log_mel), network.eval()(log_mel), atol=1e-4, rtol=1e-4)


def test_bands_must_halve() -> None:
    with pytest.raises(ConfigError, match="do not halve 3 times"):
        SpectralStem(20, [4, 4, 4], 8)


def _loss(logits: list[float], targets: list[float], tolerance: int, weight: float = 1.0) -> float:
    return float(shift_tolerant_loss(torch.tensor([logits]), torch.tensor([targets]), weight, tolerance))


def test_loss_without_tolerance_is_binary_cross_entropy() -> None:
    logits, targets = torch.randn(3, 50), (torch.rand(3, 50) < 0.1).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.tensor(4.0))
    assert float(shift_tolerant_loss(logits, targets, 4.0, 0)) == pytest.approx(float(expected), rel=1e-5)


def test_loss_forgives_a_shift_within_the_tolerance_only() -> None:
    low, high = -6.0, 6.0
    target = [0.0, 0, 0, 0, 1, 0, 0, 0, 0]
    exact = _loss([low] * 4 + [high] + [low] * 4, target, 1)
    shifted = _loss([low] * 5 + [high] + [low] * 3, target, 1)
    far = _loss([low] * 6 + [high] + [low] * 2, target, 1)
    assert shifted == pytest.approx(exact, abs=1e-6)
    assert far > exact + 0.5


def test_loss_ignores_what_is_not_known() -> None:
    nan = float("nan")
    known = _loss([2.0, -1.0, 0.5], [1.0, 0.0, 0.0], 0)
    assert _loss([2.0, -1.0, 0.5, 9.0], [1.0, 0.0, 0.0, nan], 0) == pytest.approx(known)
    assert _loss([3.0, 4.0], [nan, nan], 1) == 0.0


def test_loss_has_finite_gradients_with_unknown_targets() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    shift_tolerant_loss(logits, torch.tensor([[1.0, 0.0, float("nan"), 0.0]]), 2.0, 1).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
