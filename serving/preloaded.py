"""What decoding needs, imported and used once for all processes that do it: they are forked from one that has it.

That one must have no threads, since it is forked. Where nothing can be forked, each process imports this for itself.
"""

# ruff: noqa: E402

import os
import signal

# Who ends the service tells all its processes; these end when the service lets them, after the requests at work.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import av  # noqa: F401
import numpy as np
import soundfile  # noqa: F401
import torch

from backbeat.analysis.hearing import hear_samples
from backbeat.features import FeatureParams, LogMel

torch.set_num_threads(1)
# Much is imported and compiled at its first use.
_front_end = LogMel(FeatureParams())
_rate_hz = _front_end.params.sample_rate_hz
_noise = np.random.default_rng(0).standard_normal(_rate_hz).astype(np.float32)
hear_samples(0.1 * _noise, _rate_hz, _front_end, describe=True)
