"""What is drawn before the first note: style, meter, tempo, form, who plays, and whose drumming."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from backbeat.corpus.performances import Performance
from backbeat.corpus.rendered.arrange import Ensemble, Section, make_ensemble, make_form
from backbeat.corpus.rendered.meter import Meter, make_meter, pick, weighted
from backbeat.corpus.rendered.playing import OFF_BEAT_MODES
from backbeat.corpus.rendered.styles import METER_TEMPI, STYLES, Style
from backbeat.corpus.rendered.tempo import TempoMap, make_tempo_map
from backbeat.errors import ConfigError

#: No counted tempo lies outside these, in beats a minute.
LOWEST_BPM, HIGHEST_BPM = 50.0, 220.0

# Below this a performance was not played to its click, and the click cannot be its beat.
_LEAST_FIT = 0.3
# A take that marks fewer of its downbeats is a solo rather than a groove, save in styles that avoid the downbeat.
_LEAST_DOWNBEATS = 0.4
_DOWNBEATS_OPEN = frozenset({"jazz", "latin", "afro", "reggae"})
_FEWEST_BARS = 4
# Drum performances that may stand in when a style has none of its own kind among those given.
_STAND_INS = dict.fromkeys(("country", "ballad", "blues", "disco", "metal"), ("rock", "pop"))


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
    drums_alone_share
        Chance that, where there are drums, nothing else plays.
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
    drums_alone_share: float = 0.0
    ending_share: float = 0.06
    unusual_share: float = 0.05

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_s) and self.duration_s >= 2):
            raise ConfigError(f"a piece of {self.duration_s:g} s is too short; at least 2 s are needed")
        for name in (
            "performance_share",
            "excerpt_share",
            "drumless_share",
            "drums_alone_share",
            "ending_share",
            "unusual_share",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not at {getattr(self, name):g}")
        unknown = sorted({*self.style_weights, *([self.style] if self.style else [])} - set(STYLES))
        if unknown:
            raise ConfigError(f"unknown style {unknown[0]!r}; the styles are {', '.join(STYLES)}")
        if self.style_weights and not sum(self.style_weights.values()) > 0:
            raise ConfigError("the weights of the styles add up to nothing")


@dataclass(frozen=True)
class Plan:
    """Everything drawn before the first note is played.

    `swing` and `swing16` as in `Style`, 0.5 for none; `jitter_s` the standard deviation of players' timing; `pick_up`
    beats are played before bar 1; the modes are those of `playing`.
    """

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
    bass_mode: str
    chord_mode: str


def make_plan(rng: np.random.Generator, params: ComposeParams, performances: Sequence[Performance]) -> Plan:
    """Draw a plan; a human performance, where one is taken, decides tempo and swing."""
    weights = params.style_weights or dict.fromkeys(STYLES, 1.0)
    drawn = weighted(rng, weights)
    name = params.style or drawn
    style = STYLES[name]
    meter = make_meter(weighted(rng, style.meters), int(rng.integers(0, 2)))
    bpm = _tempo(rng, style, meter)
    ensemble = make_ensemble(rng, style, drumless=rng.random() < params.drumless_share)
    if ensemble.drums and rng.spawn(1)[0].random() < params.drums_alone_share:
        ensemble = replace(ensemble, bass=False, chords=False, pad=False, melody=False)
    bass_mode, chord_mode = weighted(rng, style.bass), weighted(rng, style.chords)
    chords = ensemble.chords and chord_mode != "none"
    bass = ensemble.bass and bass_mode != "none"
    if not ensemble.drums and (not chords or chord_mode in ("none", "long")):
        # Someone other than the tune must move, or there are beats that nothing is heard of.
        moving = {mode: weight for mode, weight in style.chords.items() if mode not in ("none", "long")}
        chords, chord_mode = True, weighted(rng, moving)
    if bass_mode == "offbeat" and not ensemble.drums:
        # With nothing ever on the beat, the off-beat would be heard as the beat.
        bass_mode = "eighths"
    leaning = chords and chord_mode in OFF_BEAT_MODES
    bass = bass or (leaning and bass_mode != "none")
    ensemble = replace(ensemble, bass=bass, chords=chords, leaning=leaning)
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
    return Plan(
        name,
        style,
        meter,
        bpm,
        swing,
        swing16,
        jitter_s,
        ensemble,
        sections,
        tempo,
        excerpt,
        pick_up,
        performance,
        bass_mode,
        chord_mode,
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
        and performance.bars >= _FEWEST_BARS
    ]
    for wanted in (style.human, _STAND_INS.get(name, ())):
        matching = [performance for performance in fitting if performance.style in wanted]
        for _ in range(min(4, len(matching))):
            chosen = pick(rng, matching)
            grounded = name in _DOWNBEATS_OPEN or chosen.downbeat_share >= _LEAST_DOWNBEATS
            if chosen.grid_fit >= _LEAST_FIT and grounded:
                return chosen
    return None
