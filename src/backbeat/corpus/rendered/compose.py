"""Compose a piece: draw a plan from a seed, let the players play it, and write down every note and beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from backbeat.corpus.performances import LICENCE as PERFORMANCE_LICENCE
from backbeat.corpus.performances import Performance
from backbeat.corpus.rendered.meter import Event
from backbeat.corpus.rendered.plan import HIGHEST_BPM, LOWEST_BPM, ComposeParams, make_plan
from backbeat.corpus.rendered.players import play
from backbeat.corpus.rendered.score import Part, Score
from backbeat.corpus.rendered.styles import STYLES
from backbeat.corpus.rendered.timing import audible_beats, start_of_audio, to_notes

__all__ = ["HIGHEST_BPM", "LOWEST_BPM", "STYLES", "ComposeParams", "compose"]

#: Share of a piece's beats at which something must be played. Where less is, no listener could tell the beat: such a
#: piece has a label that cannot be heard, and is composed anew.
HEARABLE_SHARE = 0.65
#: How far from the beat "at" is, seconds, and how often to try.
_NEAR_S, _ATTEMPTS = 0.05, 8


def compose(
    track_id: str,
    seed: int | np.random.SeedSequence,
    params: ComposeParams,
    performances: Sequence[Performance] = (),
) -> Score:
    """Compose one piece.

    Parameters
    ----------
    track_id
        Names the score.
    seed
        Decides everything, together with the other arguments.
    performances
        Human drumming that may be used, all from one split of a corpus (`performances_for_split`): a score that uses
        one has its performer as source and its licence.

    Returns
    -------
    Score
        Beats are those of the tempo map from the first that anything is played on; notes lie within the audio. At
        `HEARABLE_SHARE` of them something is played.
    """
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    rng = np.random.default_rng(sequence)
    for _ in range(_ATTEMPTS):
        score = _compose(track_id, _seed_name(sequence), rng, params, performances)
        if hearable_share(score) >= HEARABLE_SHARE:
            break
    return score


def hearable_share(score: Score) -> float:
    """Return the share of the beats at which something is played; 0 without beats."""
    beats_s, onsets_s = score.beats.times_s, score.onsets().times_s
    if beats_s.size == 0 or onsets_s.size == 0:
        return 0.0
    after = np.clip(np.searchsorted(onsets_s, beats_s), 1, onsets_s.size - 1) if onsets_s.size > 1 else np.array([0])
    near_s = np.minimum(np.abs(onsets_s[after] - beats_s), np.abs(onsets_s[np.maximum(after - 1, 0)] - beats_s))
    return float(np.mean(near_s <= _NEAR_S))


def _compose(
    track_id: str,
    seed_name: str,
    rng: np.random.Generator,
    params: ComposeParams,
    performances: Sequence[Performance],
) -> Score:
    plan = make_plan(rng, params, performances)
    key, playing = play(rng, plan, params)
    beats_end = plan.sections[-1].end_bar * plan.meter.beats
    start_s = start_of_audio(rng, plan)
    end_beat = math.inf
    if rng.random() < params.ending_share:
        aim_s = start_s + params.duration_s * rng.uniform(0.7, 0.96)
        last = int(np.searchsorted(plan.tempo.times_s, aim_s))
        end_beat = float(last - last % plan.meter.beats)
    parts: list[Part] = []
    earliest = math.inf
    for part, events, lag_s, jitter_s in playing:
        kept = [event for event in events if event.beat < end_beat - 0.05]
        if end_beat < beats_end and part.name not in ("melody", "percussion") and kept:
            kept.append(kept[0]._replace(beat=end_beat, length=3.0) if not part.is_drums else _last_stroke(end_beat))
        notes, first = to_notes(rng, plan, part, kept, lag_s, jitter_s, start_s, params.duration_s)
        if notes:
            earliest = min(earliest, first)
            parts.append(Part(part.name, part.stem, part.program, notes, part.is_drums, part.level_db, part.pan))
    beats = audible_beats(plan, start_s, params.duration_s, earliest, end_beat)
    used = plan.performance is not None and any(part.name == "drums" for part in parts)
    source = plan.performance.source if plan.performance is not None and used else seed_name
    return Score(
        id=track_id,
        style=plan.name,
        duration_s=params.duration_s,
        beats=beats,
        tempo_bpm=beats.tempo_bpm or plan.bpm,
        time_signature=plan.meter.signature,
        key=key if any(not part.is_drums for part in parts) else None,
        parts=tuple(parts),
        source=source,
        licence=PERFORMANCE_LICENCE if used else "CC0-1.0",
    )


def _seed_name(sequence: np.random.SeedSequence) -> str:
    entropy = sequence.entropy
    numbers = [*(entropy if isinstance(entropy, (list, tuple)) else [entropy]), *sequence.spawn_key]
    return "seed-" + "-".join(str(number) for number in numbers)


def _last_stroke(beat: float) -> Event:
    return Event(beat, 0.1, (36, 49), 112)
