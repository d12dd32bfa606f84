"""How well stems were separated: SDR, SIR and SAR, and how much better than leaving the mixture as it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backbeat.dataset import LabelledTrack
from backbeat.separation.network import SeparatorNetwork
from backbeat.separation.stems import Instruments, StemStore
from backbeat.separation.streaming import separate_blocks

MEASURES = ("sdr", "sir", "sar", "sdr_gain")


def separate_samples(network: SeparatorNetwork, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map a mixture, (2, samples), to its stems, (instruments, 2, samples)."""
    return np.concatenate(list(separate_blocks(network, [mixture])), axis=2)


def score_track(
    network: SeparatorNetwork, instruments: Instruments, store: StemStore, track: LabelledTrack
) -> dict[str, float]:
    """Separate the sum of a track's stems and score what comes of it (`score_stems`)."""
    stems = instruments.gather(store.get(track.corpus, track.id))
    references = np.broadcast_to(stems, (stems.shape[0], 2, stems.shape[2]))
    return score_stems(list(instruments.members), references, separate_samples(network, references.sum(axis=0)))


def score_stems(
    instruments: Sequence[str], references: NDArray[np.floating], estimates: NDArray[np.floating]
) -> dict[str, float]:
    """Score the stems of one track with BSS Eval, as mir_eval computes it.

    Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation", IEEE TASLP 14(4), 2006,
    section III: filters of 512 taps are allowed between what is and what should be. Both channels are scored by
    themselves and the mean is given; where they are alike, one is.

    Parameters
    ----------
    instruments
        Names of the stems.
    references, estimates
        Shape (instruments, 2, samples).

    Returns
    -------
    ``<instrument>_sdr``, ``_sir`` and ``_sar`` in dB; ``_sdr_gain`` is the SDR less that of the mixture in its place.
    ``sdr`` and ``sdr_gain`` are the means over instruments. Instruments that are silent in this track are left out, and
    all of them where only one sounds.
    """
    sounding = [row for row, samples in enumerate(references) if np.any(samples)]
    if len(sounding) < 2:
        return {}
    found: dict[str, list[float]] = {}
    alike = np.array_equal(references[:, 0], references[:, 1])
    for side in (0,) if alike else (0, 1):
        true, made = references[sounding, side], estimates[sounding, side]
        if not all(np.any(samples) for samples in (*true, *made)):
            continue  # a side on which an instrument is silent has no scores
        mixture = np.broadcast_to(references[:, side].sum(axis=0), true.shape)
        sdr, sir, sar = _bss_eval(true, made)
        gain = sdr - _bss_eval(true, mixture)[0]
        for name, values in zip(MEASURES, (sdr, sir, sar, gain), strict=True):
            for row, value in zip(sounding, values, strict=True):
                found.setdefault(f"{instruments[row]}_{name}", []).append(float(value))
    scores = {name: float(np.mean(several)) for name, several in found.items()}
    for measure in ("sdr", "sdr_gain"):
        if single := [value for name, value in scores.items() if name.endswith(f"_{measure}")]:
            scores[measure] = float(np.mean(single))
    return scores


def _bss_eval(references: NDArray[np.floating], estimates: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    import mir_eval

    with warnings.catch_warnings():
        # mir_eval 0.9 will do without this module; the lock keeps 0.8.
        warnings.simplefilter("ignore", FutureWarning)
        sdr, sir, sar, _ = mir_eval.separation.bss_eval_sources(references, estimates, compute_permutation=False)
    return sdr, sir, sar
