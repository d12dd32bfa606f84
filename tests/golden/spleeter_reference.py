"""Run the real Spleeter 2.4.2 on random weights, and keep what came out. Runs in Spleeter's own environment.

    make spleeter-reference          the real size, into build/spleeter (some GB; not kept)
    make spleeter-golden             small networks, into tests/golden/spleeter (kept: every test run compares with it)

The graph is Spleeter's own; only the number of filters and the frames of a segment are smaller in the second case.
Random weights separate nothing: their output is for comparing programs, and is never to be listened to.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from signals import RATE_HZ, random_weights, signals
from spleeter.audio.convertor import to_stereo
from spleeter.model import EstimatorSpecBuilder, InputProviderFactory
from spleeter.utils.configuration import load_configuration

#: Every so many samples of an output are kept.
STRIDE = {"golden": 183, "full": 1}

#: Filters of the small networks.
SMALL = [2, 2, 3, 3, 4, 4]


def run(stems: int, out: Path, *, small: bool) -> None:
    """Save a checkpoint with random weights and what Spleeter's graph makes of each signal."""
    tf.compat.v1.disable_eager_execution()
    params = load_configuration(f"spleeter:{stems}stems")
    if small:
        params["T"] = 64
        params["model"]["params"] = {**params["model"]["params"], "conv_n_filters": SMALL}
    params["MWF"] = False
    folder = out / f"{stems}stems"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        features = InputProviderFactory.get(params).get_input_dict_placeholders()
        outputs = EstimatorSpecBuilder(features, params).outputs
        outputs = {name: tensor for name, tensor in outputs.items() if name != "audio_id"}
        variables = tf.compat.v1.global_variables()
        session.run(tf.compat.v1.global_variables_initializer())
        for variable in variables:
            variable.load(random_weights(variable.op.name, tuple(variable.shape)), session)
        saver = tf.compat.v1.train.Saver(save_relative_paths=True)
        saver.save(session, str(folder / "model"), write_meta_graph=False)
        stride = STRIDE["golden" if small else "full"]
        for name, signal in signals(params["T"] * params["frame_step"] / RATE_HZ).items():
            stereo = signal if signal.shape[1] == 2 else to_stereo(signal)
            begun = time.perf_counter()
            found = session.run(outputs, {features["waveform"]: stereo, features["audio_id"]: ""})
            seconds[name] = round(time.perf_counter() - begun, 3)
            for stem, samples in found.items():
                made[f"{name}/{stem}"] = samples[::stride].astype(np.float32)
                made[f"{name}/{stem}/shape"] = np.array(samples.shape)
    np.savez_compressed(folder / "outputs.npz", **made)
    told = {"stride": stride, "tensorflow": tf.__version__} | (
        {"filters": SMALL, "segment_frames": 64} if small else {}
    )
    (folder / "reference.json").write_text(json.dumps(told) + "\n")
    print(folder, seconds, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="where to put a folder for each of the models")
    parser.add_argument("--small", action="store_true", help="small networks")
    parser.add_argument("--stems", type=int, nargs="*", default=[2, 4, 5])
    arguments = parser.parse_args()
    for count in arguments.stems:
        run(count, arguments.out, small=arguments.small)
    sys.exit(0)
