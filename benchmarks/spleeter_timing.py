"""Time Spleeter's own graph on a waveform: runs in Spleeter's environment, for benchmarks/separation.py."""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import tensorflow as tf
from spleeter.audio.convertor import to_stereo
from spleeter.model import EstimatorSpecBuilder, InputProviderFactory
from spleeter.utils.configuration import load_configuration


def main(checkpoint: str, stems: int, samples: str, turns: int) -> None:
    """Print the seconds of each turn and the peak memory, as JSON."""
    tf.compat.v1.disable_eager_execution()
    params = load_configuration(f"spleeter:{stems}stems")
    params["MWF"] = False
    waveform = np.load(samples).T
    waveform = waveform if waveform.shape[1] == 2 else to_stereo(waveform)
    seconds = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        features = InputProviderFactory.get(params).get_input_dict_placeholders()
        outputs = EstimatorSpecBuilder(features, params).outputs
        outputs = {name: tensor for name, tensor in outputs.items() if name != "audio_id"}
        tf.compat.v1.train.Saver().restore(session, checkpoint)
        for _ in range(turns):
            begun = time.perf_counter()
            session.run(outputs, {features["waveform"]: waveform, features["audio_id"]: ""})
            seconds.append(time.perf_counter() - begun)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("RESULT " + json.dumps({"seconds": seconds, "peak_mib": peak_kib / 1024}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
