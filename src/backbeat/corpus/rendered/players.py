"""The players of a piece: what each writes down, on which instrument, how loud and from where."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from backbeat.corpus.rendered.drumming import Drummer, kick_steps, perform
from backbeat.corpus.rendered.harmony import parse_progression
from backbeat.corpus.rendered.melody import Melodist
from backbeat.corpus.rendered.meter import Event, pick, weighted
from backbeat.corpus.rendered.plan import ComposeParams, Plan
from backbeat.corpus.rendered.playing import Accompanist, Harmony, make_harmony, play_pad
from backbeat.corpus.rendered.score import Part
from backbeat.music import Key
from backbeat.music.theory import TONICS

_UNUSUAL = (6, 8, 13, 15, 20, 31, 46, 47, 55, 69, 72, 74, 76, 78, 79, 83, 104, 107, 109, 111, 114)
_GUITARS = range(24, 32)

Playing = list[tuple[Part, list[Event], float, float]]
_Add = Callable[[str, str, int, list[Event], float, float], None]


def play(rng: np.random.Generator, plan: Plan, params: ComposeParams) -> tuple[Key, Playing]:
    """Let everyone play the whole form; return the key and, for each part, its events, lag and jitter in seconds."""
    style, meter, sections = plan.style, plan.meter, plan.sections
    minor = _is_minor(pick(rng, style.progressions))
    progressions = [text for text in style.progressions if _is_minor(text) == minor]
    tonic = int(rng.integers(0, 12))
    harmony = make_harmony(rng, progressions, sections, meter, tonic)
    drummer = Drummer(rng, plan.name, meter)
    playing: Playing = []
    late_s = plan.jitter_s * 0.7

    def add(name: str, stem: str, program: int, events: list[Event], level_db: float, pan: float) -> None:
        part = Part(name, stem, program, (), name in ("drums", "percussion"), level_db, float(np.clip(pan, -1, 1)))
        human = name == "drums" and plan.performance is not None
        lag_s = 0.0 if human else float(np.clip(rng.normal(0, late_s), -0.012, 0.012))
        playing.append((part, with_stops(events, plan, name), lag_s, 0.0 if human else plan.jitter_s))

    if plan.ensemble.drums:
        kit, percussion = _drums(rng, plan, drummer)
        # General MIDI kits are recorded low; on records the drums lead.
        add("drums", "drums", pick(rng, style.kits), kit, rng.normal(4, 2), 0.0)
        if percussion:
            add("percussion", "drums", style.kits[0], percussion, rng.normal(-2, 2.5), rng.normal(0, 0.3))
    if plan.ensemble.bass:
        events = _bass(rng, plan, harmony, drummer)
        if events:
            add("bass", "bass", _program(rng, style.bass_programs, 0.0), events, rng.normal(-1, 2), rng.normal(0, 0.05))
    if plan.ensemble.chords:
        _chords(rng, plan, params, harmony, add)
    if plan.ensemble.pad:
        centre = rng.uniform(57, 67)
        events = [e for s in sections if s.pad for e in play_pad(rng, s, meter, harmony, centre)]
        add("pad", "other", _program(rng, style.pad_programs, 0.0), events, rng.normal(-7, 3), rng.normal(0, 0.2))
    if plan.ensemble.melody:
        _melody(rng, plan, params, harmony, minor, add)
    if plan.pick_up and not plan.ensemble.drums:
        _lead_in(rng, plan, harmony, playing)
    return Key(TONICS[tonic], "minor" if minor else "major"), playing


def _is_minor(progression: str) -> bool:
    """Whether the tonic chord of a progression is minor."""
    tokens = [token for bar in progression.split() for token in bar.split("/")]
    return any(token[0] == "i" and parse_progression(token)[0][0].root == 0 and "maj" not in token for token in tokens)


def _program(rng: np.random.Generator, programs: Sequence[int], unusual_share: float) -> int:
    return pick(rng, _UNUSUAL) if rng.random() < unusual_share else pick(rng, programs)


def _drums(rng: np.random.Generator, plan: Plan, drummer: Drummer) -> tuple[list[Event], list[Event]]:
    kit: list[Event] = []
    percussion: list[Event] = []
    for section in plan.sections:
        strokes, others = drummer.play(section)
        kit.extend(strokes)
        percussion.extend(others)
    if plan.performance is not None:
        kit = perform(rng, plan.performance, plan.meter, plan.sections, drummer)
        if rng.random() < 0.75:
            percussion = []
    if plan.pick_up:
        first = float(plan.meter.beats - plan.pick_up)
        if plan.pick_up == plan.meter.beats:
            note = pick(rng, (37, 42, 44))
            kit.extend(Event(first + beat, 0.1, (note,), 88) for beat in range(plan.pick_up))
        else:
            kit.extend(drummer.fill(first, plan.pick_up, 0.7))
    return kit, percussion


def _bass(rng: np.random.Generator, plan: Plan, harmony: Harmony, drummer: Drummer) -> list[Event]:
    mode = plan.bass_mode
    low = mode in ("808", "reese", "chug")
    player = Accompanist(
        rng, mode, plan.meter, harmony, is_bass=True, centre=rng.uniform(31, 37) if low else rng.uniform(35, 42)
    )
    return [
        event
        for section in plan.sections
        if section.bass
        for event in player.play(section, kick_steps(drummer.groove(section), plan.meter))
    ]


def _chords(rng: np.random.Generator, plan: Plan, params: ComposeParams, harmony: Harmony, add: _Add) -> None:
    mode = plan.chord_mode
    program = _program(rng, plan.style.chord_programs, params.unusual_share)
    centre = (
        rng.uniform(41, 46) if mode == "chug" else rng.uniform(53, 60) if program in _GUITARS else rng.uniform(56, 66)
    )
    side = rng.normal(0, 0.35)
    for double in range(2 if rng.random() < (0.6 if mode == "chug" else 0.2) else 1):
        player = Accompanist(
            rng, mode, plan.meter, harmony, is_bass=False, centre=centre + double * (0 if mode == "chug" else 4)
        )
        events = [event for section in plan.sections if section.chords for event in player.play(section)]
        add("chords", "other", program, events, rng.normal(-4, 2.5) - 3 * double, -side if double else side)
        if mode not in ("chug", "strum", "eighths"):
            program = pick(rng, plan.style.chord_programs)


def _melody(
    rng: np.random.Generator, plan: Plan, params: ComposeParams, harmony: Harmony, minor: bool, add: _Add
) -> None:
    scale = weighted(rng, plan.style.scales)
    if minor:
        scale = {"major": "minor", "mixolydian": "dorian", "pentatonic_major": "pentatonic_minor"}.get(scale, scale)
    else:
        scale = {"minor": "major", "harmonic_minor": "major", "phrygian": "major", "dorian": "mixolydian"}.get(
            scale, scale
        )
    program = _program(rng, plan.style.melody_programs, params.unusual_share)
    low = int(rng.integers(48, 56)) if program in (42, 43, 57, 58, 70, 29, 30, 66) else int(rng.integers(57, 67))
    player = Melodist(
        rng, weighted(rng, plan.style.melody), plan.meter, harmony, scale, low=low, high=low + int(rng.integers(14, 22))
    )
    events = [event for section in plan.sections if section.melody for event in player.play(section)]
    add("melody", "other", program, events, rng.normal(-2, 3), rng.normal(0, 0.2))
    if rng.random() < 0.12:
        octave = [event._replace(pitches=tuple(p + 12 for p in event.pitches)) for event in events]
        add("melody", "other", pick(rng, plan.style.melody_programs), octave, rng.normal(-6, 3), rng.normal(0, 0.4))


def _lead_in(rng: np.random.Generator, plan: Plan, harmony: Harmony, playing: Playing) -> None:
    """Give the first pitched player a few notes before the first bar."""
    for _, events, _, _ in playing:
        first = [event for event in events if event.beat >= plan.meter.beats]
        if not first:
            continue
        top = min(first, key=lambda event: event.beat).pitches[-1]
        count = plan.pick_up * (1 if rng.random() < 0.5 else 2)
        size = plan.pick_up / count
        rise = pick(rng, (-1, 1, 1))
        events.extend(
            Event(plan.meter.beats - index * size, size * 0.9, (top - rise * (2 * index - index // 3),), 74.0)
            for index in range(count, 0, -1)
        )
        return


def with_stops(events: list[Event], plan: Plan, name: str) -> list[Event]:
    """Silence all but the melody in the stops before section ends."""
    stops = [
        (section.end_bar * plan.meter.beats - section.stop_beats, section.end_bar * plan.meter.beats)
        for section in plan.sections
        if section.stop_beats
    ]
    if name == "melody" or not stops:
        return events
    kept: list[Event] = []
    for event in events:
        if any(start - 0.05 <= event.beat < end - 0.05 for start, end in stops):
            continue
        ahead = [start - event.beat for start, _ in stops if start > event.beat]
        kept.append(event._replace(length=min([event.length, *ahead])))
    return kept
