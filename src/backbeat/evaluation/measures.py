"""What each measure is called where people read it, and how to read it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from backbeat.music import DRUMS
from backbeat.statistics import Interval


@dataclass(frozen=True)
class Measure:
    """A measure as tables name it.

    Parameters
    ----------
    label
        In a table or a picture.
    short
        At the head of a narrow column.
    meaning
        One sentence for who has not met it before.
    low_is_good
        True for errors.
    decibels
        True where a score is in dB; the others lie between 0 and 1.
    """

    label: str
    short: str
    meaning: str
    low_is_good: bool = False
    decibels: bool = False

    def written(self, value: float) -> str:
        """Write a score."""
        return f"{value:.1f}" if self.decibels else f"{value:.3f}"


def _drum(name: str) -> str:
    family, _, kind = name.partition("_")
    word = {"hihat": "hi-hat"}.get(family, family)
    return f"{word}, {kind}" if kind else word


#: Each drum as people write it.
DRUM_LABELS: dict[str, str] = {name: _drum(name) for name in DRUMS}

_F = "F-measure, the harmonic mean of the share of {0} that were found and the share of finds that were right"

MEASURES: dict[str, Measure] = {
    "beat_f": Measure("beats F", "beats F", _F.format("beats") + "; within 70 ms, from second 5 on."),
    "cmlt": Measure("beats CMLt", "CMLt", "Share of beats in a steady run at the right tempo level and phase."),
    "amlt": Measure("beats AMLt", "AMLt", "The same, also counting double or half tempo and the off-beat as right."),
    "downbeat_f": Measure("downbeats F", "down-\nbeats F", _F.format("bar beginnings") + "; within 70 ms."),
    "meter_correct": Measure("meter", "meter", "Share of tracks with the right number of beats in a bar."),
    "tempo_acc1": Measure("tempo within 4 %", "tempo", "Share of tracks whose tempo is right within 4 %."),
    "tempo_acc2": Measure(
        "tempo, octaves too", "tempo\noctave", "The same, also a half, a third, double or three times the tempo."
    ),
    "onset_micro_f": Measure("onsets F", "onsets F", _F.format("onsets") + "; within 50 ms, over all tracks together."),
    "hihat_micro_f": Measure("hi-hat F", "hi-hat", "The three ways to play the hi-hat, taken as one class."),
    "toms_micro_f": Measure("toms F", "toms", "The three toms, taken as one class."),
    "cymbals_micro_f": Measure("cymbals F", "cymbals", "Crash and ride, taken as one class."),
    "drums_micro_f": Measure(
        "all drums F", "all\ndrums", "All hits; a hit is right only in its own of the ten classes."
    ),
    "velocity_mae": Measure(
        "velocity error", "veloc.\nerror", "Mean absolute error of how hard a drum is struck, 0 to 1.", low_is_good=True
    ),
    **{
        f"{name}_micro_f": Measure(f"{label} F", label.replace(", ", "\n"), f"Hits of the {label} alone.")
        for name, label in DRUM_LABELS.items()
    },
    "accuracy": Measure("accuracy", "accuracy", "Share of tracks whose likeliest genre is the true one."),
    "macro_f1": Measure("macro F1", "macro F1", "F-measure of each genre, averaged, so that rare ones count as much."),
    "calibration_error": Measure(
        "calibration error",
        "calibr.\nerror",
        "How far, on average, the stated confidence lies from the share of right answers.",
        low_is_good=True,
    ),
    "found_1": Measure("recall@1", "recall@1", "Share of takes whose own beat comes first among the candidates."),
    "found_5": Measure("recall@5", "recall@5", "Share of takes whose own beat is among the first five."),
    "reciprocal_rank": Measure("MRR", "MRR", "Mean of one over the place of the take's own beat."),
    "ndcg_10": Measure(
        "NDCG@10", "NDCG@10", "How high what was played later stands among the first ten; 1 is the best possible order."
    ),
    "novelty": Measure("novelty, bits", "novelty", "How few listeners know what is recommended: -log2 of their share."),
    "coverage": Measure("coverage", "coverage", "Share of all tracks that are recommended to anybody."),
    "recall_10": Measure("recall@10", "recall@10", "Share of what was played later that is among the first ten."),
    "sdr": Measure("SDR, dB", "SDR", "Stems against what else is heard in them, over all instruments.", decibels=True),
    "sdr_gain": Measure(
        "SDR gained, dB", "SDR\ngained", "By how much that is better than leaving the mixture as it is.", decibels=True
    ),
}

#: The measures of single stems, by the end of their names.
_STEM_MEASURES = {
    "sdr_gain": ("SDR gained", "By how much its SDR is better than that of the mixture in its place."),
    "sdr": ("SDR", "The instrument against all that is wrong with its stem."),
    "sir": ("SIR", "The instrument against what its stem holds of the others."),
    "sar": ("SAR", "What belongs to any instrument against what was never played."),
}


def measure(name: str) -> Measure:
    """Return what is known of a measure; those of stems, ``drums_sdr``, are named by their instrument."""
    if name in MEASURES:
        return MEASURES[name]
    for ending, (label, meaning) in _STEM_MEASURES.items():
        if name.endswith(f"_{ending}"):
            instrument = style_name(name.removesuffix(f"_{ending}"))
            return Measure(f"{instrument}: {label}, dB", f"{instrument}\n{label}", meaning, decibels=True)
    return Measure(name, name, "")


#: The measures that a narrow table shows, by task.
NARROW: dict[str, tuple[str, ...]] = {
    "beat": ("beat_f", "cmlt", "amlt", "downbeat_f", "meter_correct", "tempo_acc1", "tempo_acc2"),
    "onset": (
        "onset_micro_f",
        "kick_micro_f",
        "snare_micro_f",
        "hihat_micro_f",
        "toms_micro_f",
        "cymbals_micro_f",
        "drums_micro_f",
    ),
    "genre": ("accuracy", "macro_f1", "calibration_error"),
    "pairing": ("found_1", "found_5", "reciprocal_rank"),
    "listening": ("ndcg_10", "recall_10"),
    "separation": ("sdr", "sdr_gain"),
}

#: The measures that are broken down by style in pictures, by task.
BY_STYLE: dict[str, tuple[str, ...]] = {
    "beat": ("beat_f", "downbeat_f"),
    "onset": ("onset_micro_f", "drums_micro_f"),
    "genre": ("accuracy",),
    "pairing": ("found_5", "reciprocal_rank"),
    "listening": ("ndcg_10",),
    "separation": ("sdr", "sdr_gain"),
}


def style_name(style: str) -> str:
    """Write a style or genre as people do: "drum and bass"."""
    return style.replace("_", " ") or "no style"


def limits(interval: Interval, decibels: bool = False) -> str:
    """Write confidence limits in few characters: ".84–.90"; "" where there are none."""
    if math.isnan(interval.low):
        return ""
    if decibels:
        return f"{interval.low:.1f}–{interval.high:.1f}"
    # "1.0" for 1.00: seven columns and their intervals then fit a terminal of 80 characters.
    low, high = (f"{value:.2f}".removeprefix("0").replace("1.00", "1.0") for value in (interval.low, interval.high))
    return f"{low}–{high}"
