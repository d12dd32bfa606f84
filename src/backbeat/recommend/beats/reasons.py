"""Why a beat was chosen, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from backbeat.analysis.descriptors import Descriptors
from backbeat.recommend.beats.rules import SURE_KEYS, plain_label

_LEVELS = {2.0: " in double time", 0.5: " in half time", 1.5: " at three beats to two"}
#: Stretches below this share are heard as none.
_UNHEARD = 0.02


@dataclass(frozen=True)
class Fit:
    """What was found of a beat under a take.

    Parameters
    ----------
    level, stretch, semitones
        As `RuleFits` has them.
    likely
        Probability that the take is of the beat's style; None where the genre model does not know it.
    similarity
        Learned, and the share of the beats that are less similar; None without a model or without the beat's vector.
    """

    level: float
    stretch: float
    semitones: int
    likely: float | None
    similarity: tuple[float, float] | None


def reason(take: Descriptors, beat: Descriptors, label: str, fit: Fit) -> str:
    """Return a sentence on a beat, and its label, under a take."""
    parts = [
        tempo_reason(take.tempo_bpm, beat.tempo_bpm, fit.level, fit.stretch),
        key_reason(take, beat, fit.semitones),
        f"energy {beat.energy:.2f} to your take's {take.energy:.2f}",
    ]
    if fit.likely is not None and label:
        name = plain_label(label).replace("_", " ")
        parts.append(f"it is {name}, and your take sounds like that by {fit.likely:.0%}")
    if take.time_signature and beat.time_signature:
        same = take.time_signature == beat.time_signature
        parts.append(f"both in {beat.time_signature}" if same else f"{beat.time_signature} under {take.time_signature}")
    if fit.similarity is None:
        parts.append("the rules speak alone, without a model")
    else:
        parts.append(
            f"to the model it is nearer than {fit.similarity[1]:.0%} of the beats (similarity {fit.similarity[0]:.2f})"
        )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def tempo_reason(take_bpm: float | None, beat_bpm: float | None, level: float, stretch: float) -> str:
    """Say how the tempi go together."""
    if take_bpm is None or beat_bpm is None:
        which = "your take" if take_bpm is None else "the beat"
        return f"no tempo was found in {which}, so nothing is stretched"
    counted = _LEVELS.get(level, "" if level == 1.0 else " at two beats to three")
    share = abs(stretch - 1)
    if share < _UNHEARD:
        return f"its {beat_bpm:.1f} bpm is your take's {take_bpm:.1f}{counted} (stretch {share:.1%})"
    way = "faster" if stretch > 1 else "slower"
    return f"its {beat_bpm:.1f} bpm plays {share:.1%} {way} for your take's {take_bpm:.1f}{counted}"


def key_reason(take: Descriptors, beat: Descriptors, semitones: int) -> str:
    """Say how the keys go together."""
    if take.key is None or beat.key is None:
        which = "your take" if take.key is None else "the beat"
        return f"{which} has no key, as percussion has none, so keys do not count"
    ours, theirs = (f"{one.key.tonic} {one.key.mode} ({one.camelot})" for one in (take, beat) if one.key is not None)
    if take.key.confidence * beat.key.confidence < SURE_KEYS:
        return f"its {theirs} and your take's {ours} are too unsure to transpose by"
    if semitones == 0:
        return f"{theirs} fits {ours} without transposing"
    return (
        f"its {theirs} fits your take's {ours} once transposed by {semitones:+d} semitone{'s' * (abs(semitones) > 1)}"
    )
