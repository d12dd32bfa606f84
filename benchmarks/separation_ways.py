"""Other ways to run a separation network, each beside plain torch in one run: time of a segment, and what it costs.

`python benchmarks/separation_ways.py spleeter:4stems` or a model folder; on a GPU as well, where there is one. ONNX
Runtime is tried where onnx, onnxscript and onnxruntime are installed; they are no part of the environment.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbeat.errors import BackbeatError
from backbeat.separation.network import SeparatorNetwork
from backbeat.separation.store import load_network, locate

TURNS = 7


def main() -> None:
    """Time every way that there is here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="spleeter:4stems or a model folder")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    try:
        folder = locate(given.model)
        network = load_network(folder).to(given.device)
    except BackbeatError as error:
        raise SystemExit(f"error: {error}") from None
    params = network.params
    generator = torch.Generator().manual_seed(1)
    # Magnitudes as music has them: from nothing to hundreds, falling with frequency.
    shape = (1, 2, params.segment_frames, params.bins)
    tilt = torch.linspace(0, -4, params.bins).exp()
    segment = (torch.rand(shape, generator=generator) ** 3 * 300 * tilt).to(given.device)
    seconds = params.segment_frames * params.frame_step / params.sample_rate_hz
    print(f"{given.model} on {given.device}, {torch.get_num_threads()} threads; {seconds:.1f} s of audio a segment")
    print(f"{'way':34}{'ms a segment':>14}{'s per s':>10}{'times as quick':>16}{'error, dB':>12}")
    plain, first = None, 0.0
    for name, make in ways(network, given.device).items():
        try:
            call, count = make(segment)
            masks = call()
            took = timed(call, given.device) / count
        except Exception as error:  # a way that is not to be had here is told, and the others are tried
            print(f"{name:34}  not here: {str(error).strip().splitlines()[0][:90]}")
            continue
        masks = masks.float().cpu()[:, :1]
        plain, first = (masks, took) if plain is None else (plain, first)
        wrong = float(((masks - plain) * segment.cpu()).norm() / (plain * segment.cpu()).norm())
        told = "NaN" if math.isnan(wrong) else f"{20 * math.log10(wrong):.0f}" if wrong else "none"
        print(f"{name:34}{1000 * took:14.1f}{took / seconds:10.5f}{first / took:16.2f}{told:>12}", flush=True)


Made = tuple[Callable[[], Tensor], int]


def ways(network: SeparatorNetwork, device: str) -> dict[str, Callable[[Tensor], Made]]:
    """Give each way by name: from a segment to a call and the number of segments that it works through."""

    def batch(count: int, kind: torch.dtype | None = None) -> Callable[[Tensor], Made]:
        def make(segment: Tensor) -> Made:
            many = segment.expand(count, -1, -1, -1).contiguous()
            mixed: Any = nullcontext() if kind is None else torch.autocast(device, kind)

            def call() -> Tensor:
                with torch.inference_mode(), mixed:
                    return network(many)

            return call, count

        return make

    def compiled(segment: Tensor) -> Made:
        quick = torch.compile(network)

        def call() -> Tensor:
            with torch.no_grad():
                return quick(segment)

        return call, 1

    def onnx(segment: Tensor) -> Made:
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = str(Path(folder) / "network.onnx")
            torch.onnx.export(network, (segment,), path, dynamo=True, verbose=False)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            session = onnxruntime.InferenceSession(path, options, providers=onnxruntime.get_available_providers())
        name = session.get_inputs()[0].name
        return lambda: torch.from_numpy(session.run(None, {name: segment.cpu().numpy()})[0]), 1

    known = {"torch, float32": batch(1)}
    known |= {f"{count} segments at once": batch(count) for count in ((2, 4) if device == "cpu" else (4, 16))}
    known["bfloat16 (autocast)"] = batch(1, torch.bfloat16)
    if device == "cuda":
        known |= {"float16 (autocast)": batch(1, torch.float16), "float16, 16 at once": batch(16, torch.float16)}
    return {**known, "torch.compile": compiled, "ONNX Runtime": onnx}


def timed(call: Callable[[], Tensor], device: str) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(TURNS):
        begun = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


if __name__ == "__main__":
    main()
