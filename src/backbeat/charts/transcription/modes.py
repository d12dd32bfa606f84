"""Hearing a song in several ways with one model: the mean of its log-odds is what counts.

A model that is in two minds about a stroke is swayed by details: which band a drum's energy falls in, how the window
cuts the attack. Here it hears the song with those details changed ("test-time augmentation"). What is common to all
hearings stays.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from backbeat.augment import shifted

if TYPE_CHECKING:
    from backbeat.features import FeatureParams, LogMel
    from backbeat.onset.detector import OnsetDetector

#: By how many mel bands the ensemble moves a song up, beside hearing it as it is. Other levels added nothing.
ENSEMBLE: tuple[int, ...] = (-1, 1)
#: How many times as long the front end's windows are, beside as they are.
SCALES: tuple[float, ...] = (0.75, 1.5)
#: The share of the model's thresholds that holds for hearings of several scales, whose peaks agree less.
MULTI_SCALE_THRESHOLDS = 0.9
#: Probabilities are kept this far from 0 and 1 in the mean of log-odds.
_CLIP = 1e-4


def listened(
    detector: OnsetDetector,
    mono: NDArray[np.float32],
    spectrogram: NDArray[np.float32],
    *,
    ensemble: bool = False,
    multi_scale: bool = False,
) -> NDArray[np.float32]:
    """Return what a model says of each frame, the mean of all hearings.

    Parameters
    ----------
    detector
        The onset model.
    mono
        Shape (samples,), at the rate of the model's front end.
    spectrogram
        Shape (frames, mel_bands), of them.
    ensemble, multi_scale
        Which hearings there are beside the plain one.

    Returns
    -------
    Shape (frames, 21), as `OnsetDetector.activations` has it.
    """
    from backbeat.features import log_mel

    plain = detector.activations(spectrogram)
    if not (ensemble or multi_scale):
        return plain
    total, hearings = logit(np.clip(plain, _CLIP, 1 - _CLIP)), 1
    for bands in ENSEMBLE if ensemble else ():
        total += _log_odds(detector, shifted(torch.from_numpy(spectrogram), bands).numpy())
        hearings += 1
    for scale in SCALES if multi_scale else ():
        total += _log_odds(detector, log_mel(mono, _front_end(detector.spec.features, scale)))
        hearings += 1
    mean: NDArray[np.float32] = expit(total / np.float32(hearings))
    return mean


def _log_odds(detector: OnsetDetector, spectrogram: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = logit(np.clip(detector.activations(spectrogram), _CLIP, 1 - _CLIP))
    return found


@lru_cache(maxsize=8)
def _front_end(features: FeatureParams, scale: float) -> LogMel:
    """Return a front end with windows `scale` times as long, and as many frames and bands."""
    from backbeat.features import LogMel

    return LogMel(replace(features, window_samples=round(features.window_samples * scale)))
