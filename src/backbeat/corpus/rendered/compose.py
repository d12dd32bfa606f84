"""Compose a piece: draw its tempo, meter, form and players from a seed, let them play, and write down every note."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.performances import LICENCE as PERFORMANCE_LICENCE
from backbeat.corpus.performances import Performance
from backbeat.corpus.rendered.arrange import Ensemble, Section, make_ensemble, make_form
from backbeat.corpus.rendered.drumming import Drummer, kick_steps, perform
from backbeat.corpus.rendered.harmony import parse_progression
from backbeat.corpus.rendered.melody import Melodist
from backbeat.corpus.rendered.meter import Event, Meter, make_meter, pick, weighted
from backbeat.corpus.rendered.playing import Accompanist, Harmony, make_harmony, play_pad
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.corpus.rendered.styles import METER_TEMPI, STYLES, Style
from backbeat.corpus.rendered.tempo import TempoMap, make_tempo_map
from backbeat.errors import ConfigError
from backbeat.music import Beats, Key
from backbeat.music.theory import TONICS

#: No counted tempo lies outside these, in beats a minute.
LOWEST_BPM, HIGHEST_BPM = 50.0, 220.0

# Below this a performance was not played to its click, and the click cannot be its beat.
_LEAST_FIT = 0.3
# Drum performances that may stand in when a style has none of its own kind among those given.
_STAND_INS = dict.fromkeys(("country", "ballad", "blues", "disco", "metal"), ("rock", "pop"))
_UNUSUAL = (6, 8, 13, 15, 20, 31, 46, 47, 55, 69, 72, 74, 76, 78, 79, 83, 104, 107, 109, 111, 114)
_GUITARS = range(24, 32)


@dataclass(frozen=True)
class ComposeParams:
    """What to compose.

    Parameters
    ----------
    duration_s
        Length of the audio, seconds.
    style
        A key of `STYLES`, or None to draw one.
    style_weights
        Weights for drawing; empty for all styles alike.
    performance_share
        Chance that drums are a human performance, where one that fits is given.
    excerpt_share
        Chance that the piece is cut from the middle, so that it starts anywhere in a bar.
    drumless_share
        Chance that drums are left out, whatever the style.
    ending_share
        Chance that the piece ends before the audio does.
    unusual_share
        Chance for each part of an instrument that the style does not expect.

    Raises
    ------
    ConfigError
        If the duration is under 2 s, a share lies outside 0..1, or a style is unknown.
    """

    duration_s: float = 30.0
    style: str | None = None
    style_weights: Mapping[str, float] = field(default_factory=dict)
    performance_share: float = 0.6
    excerpt_share: float = 0.5
    drumless_share: float = 0.07
    ending_share: float = 0.06
    unusual_share: float = 0.05

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_s) and self.duration_s >= 2):
            raise ConfigError(f"a piece of {self.duration_s:g} s is too short; at least 2 s are needed")
        for name in ("performance_share", "excerpt_share", "drumless_share", "ending_share", "unusual_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not at {getattr(self, name):g}")
        unknown = sorted({*self.style_weights, *([self.style] if self.style else [])} - set(STYLES))
        if unknown:
            raise ConfigError(f"unknown style {unknown[0]!r}; the styles are {', '.join(STYLES)}")
        if self.style_weights and not sum(self.style_weights.values()) > 0:
            raise ConfigError("the weights of the styles add up to nothing")


@dataclass(frozen=True)
class _Plan:
    """Everything drawn before the first note is played."""

    name: str
    style: Style
    meter: Meter
    bpm: float
    swing: float
    swing16: float
    jitter_s: float
    ensemble: Ensemble
    sections: tuple[Section, ...]
    tempo: TempoMap
    excerpt: bool
    pick_up: int
    performance: Performance | None


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
        Beats are those of the tempo map from the first that anything is played on; notes lie within the audio.
    """
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    rng = np.random.default_rng(sequence)
    plan = _plan(rng, params, performances)
    key, playing = _play(rng, plan, params)
    beats_end = plan.sections[-1].end_bar * plan.meter.beats
    start_s = _start_s(rng, plan)
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
        notes, first = _notes(rng, plan, part, kept, lag_s, jitter_s, start_s, params.duration_s)
        if notes:
            earliest = min(earliest, first)
            parts.append(Part(part.name, part.stem, part.program, notes, part.is_drums, part.level_db, part.pan))
    beats = _beats(plan, start_s, params.duration_s, earliest, end_beat)
    used = plan.performance is not None and any(part.name == "drums" for part in parts)
    source = plan.performance.source if plan.performance is not None and used else _seed_name(sequence)
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


def _plan(rng: np.random.Generator, params: ComposeParams, performances: Sequence[Performance]) -> _Plan:
    weights = params.style_weights or dict.fromkeys(STYLES, 1.0)
    drawn = weighted(rng, weights)
    name = params.style or drawn
    style = STYLES[name]
    meter = make_meter(weighted(rng, style.meters), int(rng.integers(0, 2)))
    bpm = _tempo(rng, style, meter)
    ensemble = make_ensemble(rng, style, drumless=rng.random() < params.drumless_share)
    swing = float(rng.uniform(*style.swing[1:])) if rng.random() < style.swing[0] else 0.5
    swing16 = float(rng.uniform(*style.swing16[1:])) if rng.random() < style.swing16[0] else 0.5
    kind = weighted(rng, style.tempo_kinds)
    performance = None
    if ensemble.drums and rng.random() < params.performance_share:
        performance = _choose(rng, name, meter, performances)
    if performance is not None:
        bpm = float(np.clip(performance.bpm * rng.uniform(0.92, 1.08), LOWEST_BPM, HIGHEST_BPM))
        swing, swing16 = performance.swing, 0.5
    if meter.signature.is_compound or meter.signature.denominator == 8:
        swing = swing16 = 0.5
    bars = math.ceil((params.duration_s + 2) * bpm * 1.3 / 60 / meter.beats) + 2
    excerpt = rng.random() < params.excerpt_share
    sections = make_form(rng, name, style.phrase_bars, ensemble, bars=bars, beats_per_bar=meter.beats, excerpt=excerpt)
    pushes = np.zeros(sections[-1].end_bar + 2)
    for section in sections:
        pushes[section.start_bar : section.end_bar] = 2.5 * (section.intensity - 0.55)
    tempo = make_tempo_map(
        rng, kind, bpm, (sections[-1].end_bar + 2) * meter.beats, beats_per_bar=meter.beats, bar_pushes=pushes
    )
    pick_up = 0
    if not excerpt and rng.random() < 0.22 and meter.beats > 1:
        pick_up = meter.beats if ensemble.drums and rng.random() < 0.3 else int(rng.integers(1, meter.beats))
    jitter_s = float(rng.uniform(*style.jitter_ms)) / 1000
    return _Plan(
        name, style, meter, bpm, swing, swing16, jitter_s, ensemble, sections, tempo, excerpt, pick_up, performance
    )


def _tempo(rng: np.random.Generator, style: Style, meter: Meter) -> float:
    name = str(meter.signature)
    low, high = style.meter_tempi.get(name, METER_TEMPI.get(name, (0.0, 0.0)))
    if name == "4/4" or not low:
        index = int(weighted(rng, {str(number): span[2] for number, span in enumerate(style.tempi)}))
        low, high, _ = style.tempi[index]
    # Two draws in three from the whole range, one from around its middle.
    bpm = rng.uniform(low, high) if rng.random() < 0.67 else rng.normal((low + high) / 2, (high - low) / 6)
    return float(np.clip(bpm, LOWEST_BPM, HIGHEST_BPM))


def _choose(
    rng: np.random.Generator, name: str, meter: Meter, performances: Sequence[Performance]
) -> Performance | None:
    """Draw a performance of the style and meter, near the style's tempi, that keeps to its click."""
    style = STYLES[name]
    if meter.signature.is_compound or not style.human:
        return None
    low, high = min(span[0] for span in style.tempi), max(span[1] for span in style.tempi)
    fitting = [
        performance
        for performance in performances
        if not performance.is_fill
        and performance.time_signature == meter.signature
        and (str(meter.signature) != "4/4" or 0.9 * low <= performance.bpm <= 1.1 * high)
        and performance.bars >= 2
    ]
    for wanted in (style.human, _STAND_INS.get(name, ())):
        matching = [performance for performance in fitting if performance.style in wanted]
        for _ in range(min(4, len(matching))):
            chosen = pick(rng, matching)
            if chosen.grid_fit >= _LEAST_FIT:
                return chosen
    return None


_Playing = list[tuple[Part, list[Event], float, float]]
_Add = Callable[[str, str, int, list[Event], float, float], None]


def _play(rng: np.random.Generator, plan: _Plan, params: ComposeParams) -> tuple[Key, _Playing]:
    """Let everyone play the whole form; return the key and, for each part, its events, lag and jitter in seconds."""
    style, meter, sections = plan.style, plan.meter, plan.sections
    minor = _is_minor(pick(rng, style.progressions))
    progressions = [text for text in style.progressions if _is_minor(text) == minor]
    tonic = int(rng.integers(0, 12))
    harmony = make_harmony(rng, progressions, sections, meter, tonic)
    drummer = Drummer(rng, plan.name, meter)
    playing: _Playing = []
    late_s = plan.jitter_s * 0.7

    def add(name: str, stem: str, program: int, events: list[Event], level_db: float, pan: float) -> None:
        part = Part(name, stem, program, (), name in ("drums", "percussion"), level_db, float(np.clip(pan, -1, 1)))
        human = name == "drums" and plan.performance is not None
        lag_s = 0.0 if human else float(np.clip(rng.normal(0, late_s), -0.012, 0.012))
        playing.append((part, _with_stops(events, plan, name), lag_s, 0.0 if human else plan.jitter_s))

    if plan.ensemble.drums:
        kit, percussion = _drums(rng, plan, drummer)
        add("drums", "drums", pick(rng, style.kits), kit, rng.normal(0, 1.5), 0.0)
        if percussion:
            add("percussion", "drums", style.kits[0], percussion, rng.normal(-4, 2.5), rng.normal(0, 0.3))
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


def _drums(rng: np.random.Generator, plan: _Plan, drummer: Drummer) -> tuple[list[Event], list[Event]]:
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


def _bass(rng: np.random.Generator, plan: _Plan, harmony: Harmony, drummer: Drummer) -> list[Event]:
    mode = weighted(rng, plan.style.bass)
    if mode == "none":
        return []
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


def _chords(rng: np.random.Generator, plan: _Plan, params: ComposeParams, harmony: Harmony, add: _Add) -> None:
    mode = weighted(rng, plan.style.chords)
    if mode == "none":
        return
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
    rng: np.random.Generator, plan: _Plan, params: ComposeParams, harmony: Harmony, minor: bool, add: _Add
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


def _lead_in(rng: np.random.Generator, plan: _Plan, harmony: Harmony, playing: _Playing) -> None:
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


def _with_stops(events: list[Event], plan: _Plan, name: str) -> list[Event]:
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


def _last_stroke(beat: float) -> Event:
    return Event(beat, 0.1, (36, 49), 112)


def _start_s(rng: np.random.Generator, plan: _Plan) -> float:
    """Return the second of the tempo map at which the audio begins; less than its first note's when silence leads."""
    size = plan.meter.beats
    if plan.excerpt:
        return float(plan.tempo.seconds(size + rng.uniform(0, size)))
    silence_s = rng.uniform(0, 1.0) if rng.random() < 0.5 else rng.uniform(0, 0.06)
    return float(plan.tempo.seconds(size - plan.pick_up)) - silence_s


def _warp(beats: NDArray[np.float64], swing: float, swing16: float) -> NDArray[np.float64]:
    """Move off-beats later; triplets, which lie on no grid of thirty-seconds, stay."""
    if swing == 0.5 and swing16 == 0.5:
        return beats
    on_grid = np.abs(beats * 8 - np.round(beats * 8)) < 1e-6
    unit = 1.0 if swing != 0.5 else 0.5
    ratio = swing if swing != 0.5 else swing16
    phase = beats / unit - np.floor(beats / unit + 1e-9)
    bent = np.where(phase < 0.5, phase * 2 * ratio, ratio + (phase - 0.5) * 2 * (1 - ratio))
    return np.where(on_grid, np.floor(beats / unit + 1e-9) * unit + bent * unit, beats)


def _notes(
    rng: np.random.Generator,
    plan: _Plan,
    part: Part,
    events: list[Event],
    lag_s: float,
    jitter_s: float,
    start_s: float,
    duration_s: float,
) -> tuple[tuple[Note, ...], float]:
    """Turn events to notes in the audio's seconds; also return the first beat that any of them is played on."""
    if not events:
        return (), math.inf
    human = part.name == "drums" and plan.performance is not None
    beats = np.array([event.beat for event in events])
    ends = beats + np.array([event.length for event in events])
    if not human:
        beats, ends = (_warp(values, plan.swing, plan.swing16) for values in (beats, ends))
    times_s = plan.tempo.seconds(beats) - start_s + lag_s
    lengths_s = plan.tempo.seconds(ends) - start_s + lag_s - times_s
    times_s = times_s + np.clip(rng.normal(0, jitter_s, times_s.size), -3 * jitter_s, 3 * jitter_s)
    if part.is_drums and not human:
        # The backbeat a little behind, as drummers like it.
        late = np.array([event.pitches[0] in (37, 38, 39, 40) for event in events])
        times_s = times_s + late * abs(rng.normal(0, jitter_s * 0.6))
    notes: list[Note] = []
    first = math.inf
    for event, time_s, length_s, beat in zip(events, times_s.tolist(), lengths_s.tolist(), beats.tolist(), strict=True):
        begin_s, left_s = time_s, length_s
        if begin_s < 0:
            # What already sounds when the audio begins goes on, if it is a held tone.
            if part.is_drums or begin_s + left_s < 0.3:
                continue
            begin_s, left_s = 0.0, begin_s + left_s
            beat = max(beat, 0.0)
        if begin_s >= duration_s - 0.02:
            continue
        first = min(first, beat)
        velocity = min(127, max(1, round(event.velocity)))
        left_s = max(0.03, min(left_s, duration_s - begin_s))
        for number, pitch in enumerate(event.pitches):
            at_s = begin_s + number * event.strum_s
            if at_s < duration_s - 0.02 and 12 <= pitch <= 115:
                notes.append(Note(at_s, left_s, pitch, velocity))
    notes.sort(key=lambda note: (note.start_s, note.pitch))
    return tuple(_without_repeats(notes, 0.02) if part.is_drums else notes), first


def _without_repeats(notes: list[Note], gap_s: float) -> list[Note]:
    """Of strokes on one drum closer than `gap_s`, keep the louder."""
    kept: list[Note] = []
    last: dict[int, int] = {}
    for note in notes:
        index = last.get(note.pitch)
        if index is not None and note.start_s - kept[index].start_s < gap_s:
            if note.velocity > kept[index].velocity:
                kept[index] = Note(kept[index].start_s, note.duration_s, note.pitch, note.velocity)
            continue
        last[note.pitch] = len(kept)
        kept.append(note)
    return kept


def _beats(plan: _Plan, start_s: float, duration_s: float, earliest: float, end_beat: float) -> Beats:
    times_s = plan.tempo.times_s - start_s
    index = np.arange(times_s.size)
    inside = (times_s >= 0) & (times_s < duration_s) & (index <= end_beat + 1e-6)
    if math.isfinite(earliest):
        inside &= index >= math.ceil(earliest - 0.1)
    return Beats(times_s[inside], index[inside] % plan.meter.beats + 1)
