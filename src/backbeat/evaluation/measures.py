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
    """

    label: str
    short: str
    meaning: str
    low_is_good: bool = False


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
}

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
}

#: The measures that are broken down by style in pictures, by task.
BY_STYLE: dict[str, tuple[str, ...]] = {
    "beat": ("beat_f", "downbeat_f"),
    "onset": ("onset_micro_f", "drums_micro_f"),
    "genre": ("accuracy",),
}


def style_name(style: str) -> str:
    """Write a style or genre as people do: "drum and bass"."""
    return style.replace("_", " ") or "no style"


def limits(interval: Interval) -> str:
    """Write confidence limits in few characters: ".84–.90"; "" where there are none."""
    if math.isnan(interval.low):
        return ""
    # "1.0" for 1.00: seven columns and their intervals then fit a terminal of 80 characters.
    low, high = (f"{value:.2f}".removeprefix("0").replace("1.00", "1.0") for value in (interval.low, interval.high))
    return f"{low}–{high}"
