"""Networks that several threads share: the same answers as alone, and nobody pays for another's fault."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_models
from torch import Tensor, nn

from backbeat.analysis import Analyzer
from backbeat.batching import Batched
from backbeat.errors import ConfigError
from backbeat.features import FeatureParams


class Twice(nn.Module):
    """Doubles, unless it is told to fail; waits at a gate when there is one."""

    gate: threading.Event | None = None
    classes = 7

    def forward(self, rows: Tensor) -> Tensor:
        if self.gate is not None:
            self.gate.wait(10)
        if torch.isnan(rows).any():
            raise ValueError("not a number")
        return 2 * rows

    def embed(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return rows + 1, rows.sum(dim=1)


def test_what_waits_goes_through_together_and_each_gets_its_own() -> None:
    sizes: list[int] = []
    network = Twice()
    network.gate = threading.Event()
    batched = Batched(network, max_rows=6, on_batch=sizes.append)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(batched, torch.zeros(1, 3))
        while batched._waiting:
            pass
        others = [threads.submit(batched, torch.full((2, 3), float(number))) for number in range(4)]
        wider = threads.submit(batched, torch.ones(1, 5))
        while len(batched._waiting) < 5:
            pass
        network.gate.set()
        assert torch.equal(first.result(), torch.zeros(1, 3))
        for number, other in enumerate(others):
            assert torch.equal(other.result(), torch.full((2, 3), 2.0 * number))
        assert torch.equal(wider.result(), torch.full((1, 5), 2.0))
    assert sorted(sizes) == [1, 1, 2, 6]
    assert batched.classes == 7
    batched.close()
    with pytest.raises(RuntimeError, match="closed"):
        batched(torch.zeros(1, 3))


def test_only_the_call_at_fault_fails() -> None:
    network = Twice()
    network.gate = threading.Event()
    batched = Batched(network)
    rows = [torch.full((1, 2), value) for value in (0.0, 1.0, float("nan"), 3.0)]
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(batched, row) for row in rows]
        network.gate.set()
        for row, answer in zip(rows, asked, strict=True):
            if torch.isnan(row).any():
                with pytest.raises(ValueError, match="not a number"):
                    answer.result()
            else:
                assert torch.equal(answer.result(), 2 * row)
    pair = batched.embed(torch.tensor([[1.0, 2.0]]))
    assert [part.tolist() for part in pair] == [[[2.0, 3.0]], [3.0]]
    batched.close()
    with pytest.raises(ConfigError):
        Batched(network, max_rows=0)


def test_an_analyzer_that_is_shared_says_what_it_says_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    models = save_tiny_models(tmp_path_factory.mktemp("models"), FeatureParams())
    rng = np.random.default_rng(0)
    sounds = [(0.1 * rng.standard_normal((1, 24000 * 6))).astype(np.float32) for _ in range(6)]
    alone = [Analyzer.load(models).analyze_audio(sound, 24000) for sound in sounds]
    batches: list[tuple[str, int]] = []
    shared = Analyzer.load(models)
    shared.share(16, lambda task, rows: batches.append((task, rows)))
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda sound: shared.analyze_audio(sound, 24000), sounds))
    assert {task for task, _ in batches} == {"beat", "onset", "genre"}
    for one, other in zip(alone, together, strict=True):
        assert [beat.position for beat in one.beats] == [beat.position for beat in other.beats]
        np.testing.assert_allclose([b.time_s for b in one.beats], [b.time_s for b in other.beats], atol=2e-3)
        assert one.genre.label == other.genre.label
        for name, share in one.genre.probabilities.items():
            assert other.genre.probabilities[name] == pytest.approx(share, abs=1e-3)
