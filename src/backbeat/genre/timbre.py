"""What a recording sounds like as a whole, in numbers that need no training: for genres with few recordings.

The measures of Tzanetakis and Cook, "Musical genre classification of audio signals" (IEEE Transactions on Speech and
Audio Processing 10(5), 2002, sections III-A and III-B), on the log-mel spectrogram: cepstral coefficients and how they
move within texture windows; and the contrast within groups of bands (after Jiang et al., "Music type classification by
spectral contrast feature", ICME 2002).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

_COEFFICIENTS = 20
_GROUPS = 8
_TEXTURE_FRAMES = 50

#: Length of what `timbre_statistics` gives.
TIMBRE_SIZE = 7 * _COEFFICIENTS + 2 * _GROUPS


def timbre_statistics(log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
    """Sum a whole track up.

    Parameters
    ----------
    log_mel
        Shape (frames, mel_bands).

    Returns
    -------
    Shape (TIMBRE_SIZE,): of the cepstral coefficients the mean, spread, spread of their steps, mean and spread of their
    spread within half-second windows, highest and lowest; of each group of bands the mean and spread of the distance
    between its 10th and 90th percentile.
    """
    spectrogram = np.asarray(log_mel, dtype=np.float64)
    # Two frames at least, for there to be a step.
    spectrogram = np.pad(spectrogram, ((0, max(0, 2 - spectrogram.shape[0])), (0, 0)), mode="edge")
    cepstrum = dct(spectrogram, axis=1, norm="ortho")[:, :_COEFFICIENTS]
    # Fewer bands have fewer coefficients; the rest is nothing.
    cepstrum = np.pad(cepstrum, ((0, 0), (0, _COEFFICIENTS - cepstrum.shape[1])))
    starts = range(0, max(1, cepstrum.shape[0] - _TEXTURE_FRAMES), _TEXTURE_FRAMES // 2)
    textures = np.stack([cepstrum[start : start + _TEXTURE_FRAMES].std(axis=0) for start in starts])
    contrast = np.stack(
        [
            np.percentile(bands, 90, axis=1) - np.percentile(bands, 10, axis=1)
            for bands in np.array_split(spectrogram, _GROUPS, axis=1)
        ],
        axis=1,
    )
    parts = (
        cepstrum.mean(axis=0),
        cepstrum.std(axis=0),
        np.diff(cepstrum, axis=0).std(axis=0),
        textures.mean(axis=0),
        textures.std(axis=0),
        cepstrum.max(axis=0),
        cepstrum.min(axis=0),
        contrast.mean(axis=0),
        contrast.std(axis=0),
    )
    return np.concatenate(parts).astype(np.float32)
