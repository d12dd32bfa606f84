"""From a score to stems: pitched parts through General MIDI soundfonts, drums through kits.

TinySoundFont is driven event by event: it renders exactly up to the sample of the next event, so a note begins on its
own sample and not on a block boundary. Truth of onsets: samples of instruments do not begin at full level, so each
preset's attack is measured once and notes are started that much earlier (at most `LEAD_LIMIT_S`); the attack that a
listener hears then lies on the label. Notes of presets that swell for longer than `SWELL_S` (pads, slow strings) keep
their note-on and lose their `note` label, since nothing is heard to begin there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from backbeat.corpus.rendered.acoustic import acoustic_kit
from backbeat.corpus.rendered.drumsynth import synthesised_kit
from backbeat.corpus.rendered.effects import random_tone
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, DrumSetup, Hit, Kit, Layer, SampledKit, Samples, strike
from backbeat.corpus.rendered.metronome import METRONOME, metronome_kit
from backbeat.corpus.rendered.samples import load_kit
from backbeat.corpus.rendered.score import STEMS, Note, Part, Score
from backbeat.errors import CorpusError
from backbeat.music import DRUMS, GENERAL_MIDI_DRUMS, Onsets

LEAD_LIMIT_S = 0.03
SWELL_S = 0.08

#: Level to which every part is brought before its own `level_db`: dB of full scale, of its louder moments.
PART_LEVEL_DB = -20.0

#: Styles whose drums mostly come from machines.
ELECTRONIC_STYLES: frozenset[str] = frozenset({"house", "trap", "boombap", "disco", "electro", "techno", "drumandbass"})

_DRUM_BANK = 128
_HIT_VELOCITIES = (40, 75, 105, 127)
_HIT_LENGTH_S = 2.5


def default_soundfont() -> Path:
    """Return the General MIDI soundfont that comes with `pretty_midi`.

    Raises
    ------
    CorpusError
        If the package is installed without it.
    """
    from importlib.util import find_spec

    spec = find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise CorpusError("pretty_midi's TimGM6mb.sf2 is not there: reinstall pretty_midi or name a soundfont of yours")
    return path


class Soundfont:
    """One loaded soundfont: renders parts and single strokes, mono, at `SYNTHESIS_RATE_HZ`.

    Every call starts from silence and default controllers, so what it returns depends on its arguments only.

    Raises
    ------
    CorpusError
        If the file is missing or is no soundfont.
    """

    def __init__(self, path: Path) -> None:
        import tinysoundfont
        from tinysoundfont._tinysoundfont import OutputMode

        if not path.is_file():
            raise CorpusError(f"{path}: no such soundfont")
        synth = tinysoundfont.Synth(samplerate=SYNTHESIS_RATE_HZ)
        try:
            self._font: Any = synth.soundfonts[synth.sfload(str(path))]
        except (RuntimeError, tinysoundfont.SoundFontException) as error:
            raise CorpusError(f"{path}: cannot be read as a soundfont ({error})") from None
        # The wrapper class renders stereo only; the parts here are mono until they are placed in the mix.
        self._font.set_output(OutputMode.Mono, SYNTHESIS_RATE_HZ, 0.0)
        self._font.set_max_voices(256)
        self.name = path.name

    def has(self, bank: int, program: int) -> bool:
        """Whether it has this preset."""
        return bool(self._font.get_preset_index(bank, program) >= 0)

    def _render(self, samples: Samples) -> None:
        if samples.size:
            self._font.render(samples.data.cast("B"))

    def _prepare(self, bank: int, program: int, tuning_semitones: float) -> None:
        self._font.reset()
        rest = np.empty(4096, dtype=np.float32)
        self._render(rest)
        while np.any(rest):
            self._render(rest)
        self._font.channel_set_bank(0, bank)
        self._font.channel_set_preset_number(0, program, bank == _DRUM_BANK)
        self._font.channel_set_tuning(0, tuning_semitones)

    def play(
        self,
        notes: Sequence[Note],
        count: int,
        *,
        program: int,
        bank: int = 0,
        tuning_semitones: float = 0.0,
        leads: Sequence[int] | None = None,
    ) -> Samples:
        """Render notes, shape (count,).

        Note i begins on sample `round(start_s * SYNTHESIS_RATE_HZ) - leads[i]`, or at 0 where that is negative.
        """
        self._prepare(bank, program, tuning_semitones)
        events: list[tuple[int, int, int, int]] = []
        for index, note in enumerate(notes):
            moment = round(note.start_s * SYNTHESIS_RATE_HZ)
            if not 0 <= moment < count:
                continue
            begin = max(0, moment - (leads[index] if leads else 0))
            end = begin + max(1, round(note.duration_s * SYNTHESIS_RATE_HZ))
            events.append((begin, 1, note.pitch, note.velocity))
            events.append((end, 0, note.pitch, 0))
        events.sort()
        out = np.zeros(count, dtype=np.float32)
        position = 0
        for moment, is_on, pitch, velocity in events:
            if moment >= count:
                break
            self._render(out[position:moment])
            position = moment
            if is_on:
                self._font.channel_note_on(0, pitch, velocity / 127)
            else:
                self._font.channel_note_off(0, pitch)
        self._render(out[position:])
        return out

    @cache  # noqa: B019 - a soundfont lives as long as its process
    def attack_samples(self, program: int, pitch: int, bank: int = 0) -> int:
        """Return how many samples after its note-on a note is heard to begin.

        That is when it first reaches 0.3 of its peak in the first 0.3 s.
        """
        sound = np.abs(
            self.play([Note(0.0, 0.3, pitch, 100)], round(0.3 * SYNTHESIS_RATE_HZ), program=program, bank=bank)
        )
        return int(np.argmax(sound >= 0.3 * sound.max())) if sound.any() else 0

    @cache  # noqa: B019 - a soundfont lives as long as its process
    def drum_hit(self, program: int, note: int, velocity: int) -> Hit | None:
        """Return one stroke of a drum kit as if struck at full level, or None where the kit is silent."""
        count = round(_HIT_LENGTH_S * SYNTHESIS_RATE_HZ)
        sound = self.play([Note(0.0, _HIT_LENGTH_S, note, velocity)], count, program=program, bank=_DRUM_BANK)
        peak = np.abs(sound).max()
        if peak < 1e-4:
            return None
        heard = np.flatnonzero(np.abs(sound) > 1e-4 * peak)[-1] + 1
        return Hit.measured(sound[:heard] * np.float32(127 / velocity))


@lru_cache(maxsize=8)
def load_soundfont(path: Path) -> Soundfont:
    """Load a soundfont once for each process."""
    return Soundfont(path)


@dataclass(frozen=True)
class SoundfontKit:
    """A drum preset of a soundfont as a kit; strokes are rendered when they are first asked for."""

    font: Soundfont
    program: int
    velocity_gain: float = 1.0

    @property
    def name(self) -> str:
        """Soundfont and program."""
        return f"{self.font.name}:{self.program}"

    def notes(self) -> frozenset[int]:
        """Return the percussion notes that sound."""
        return _kit_notes(self.font, self.program)

    def alternatives(self, note: int, velocity: int) -> tuple[Hit, ...]:
        """Return the stroke at the nearest higher of four velocities, scaled as if struck at full level."""
        layer = next(layer for layer in _HIT_VELOCITIES if velocity <= layer)
        hit = self.font.drum_hit(self.program, note, layer)
        return () if hit is None else (hit,)


@cache
def _kit_notes(font: Soundfont, program: int) -> frozenset[int]:
    return frozenset(note for note in range(27, 88) if font.drum_hit(program, note, 127) is not None)


@dataclass(frozen=True)
class Sources:
    """What there is to play on: soundfonts (the first is the one to fall back on) and folders of sample kits.

    `kit_variety` is how often drums are played on another kit than the one written for the style: 0 never, 1 as often
    as makes drums of all kinds common. `modelled_share` is how often a kit that is drawn, and no machine, is one of
    `acoustic.acoustic_kit`.
    """

    soundfonts: tuple[Path, ...]
    kits: tuple[Path, ...] = ()
    kit_variety: float = 1.0
    modelled_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Stems:
    """A synthesised score.

    Parameters
    ----------
    samples
        Stem name to shape (channels, samples) at `SYNTHESIS_RATE_HZ`; all stems of `STEMS`.
    onsets
        What is truly heard to begin, and when.
    """

    samples: dict[str, Samples]
    onsets: Onsets


def synthesise(
    score: Score, rng: np.random.Generator, sources: Sources, *, channels: int = 1, drum_tone: float = 0.0
) -> Stems:
    """Play a score, each drum of its kit toned by itself as far as `drum_tone`, 0..1, says.

    Raises
    ------
    CorpusError
        If no soundfont has an instrument that the score asks for, or a source cannot be read.
    """
    count = round(score.duration_s * SYNTHESIS_RATE_HZ)
    samples = {name: np.zeros((channels, count), dtype=np.float32) for name in STEMS}
    tuning_semitones = _concert_pitch(rng)
    kits: list[list[Kit]] | None = None
    setup = DrumSetup.random(rng)
    if drum_tone > 0:
        toning = rng.spawn(1)[0]
        setup = replace(setup, tone={name: np.stack(random_tone(toning, 1.3 * drum_tone)) for name in DRUMS})
    heard: list[Part] = []
    for part in score.parts:
        if part.name == METRONOME:
            sound = strike([metronome_kit(rng.spawn(1)[0])], part.notes, count, rng, channels=channels)
            heard.append(part)
        elif part.is_drums:
            kits = kits or _choose_kits(score, part, rng, sources)
            sound = sum(
                (strike(chain, part.notes, count, rng, setup=setup, channels=channels) for chain in kits[1:]),
                strike(kits[0], part.notes, count, rng, setup=setup, channels=channels),
            )
            heard.append(part)
        else:
            mono, labelled = _play_pitched(part, count, rng, sources, tuning_semitones)
            sound = _placed(mono, part.pan, channels)
            heard.append(replace(part, notes=labelled))
        level_db = _level_db(sound)
        if level_db is not None:
            samples[part.stem] += sound * np.float32(10 ** ((PART_LEVEL_DB + part.level_db - level_db) / 20))
    return Stems(samples, replace(score, parts=tuple(heard)).onsets())


def _concert_pitch(rng: np.random.Generator) -> float:
    """Draw how far the tuning is from A4 = 440 Hz, in semitones: 435..445 Hz, now and then far off (old tape)."""
    a4_hz = rng.uniform(435, 445) if rng.random() < 0.93 else rng.uniform(415, 466)
    return float(12 * np.log2(a4_hz / 440))


def _play_pitched(
    part: Part, count: int, rng: np.random.Generator, sources: Sources, tuning_semitones: float
) -> tuple[Samples, tuple[Note, ...]]:
    """Return the part's sound, shape (count,), and those of its notes that are heard to begin."""
    fonts = [load_soundfont(path) for path in sources.soundfonts]
    fonts = [font for font in fonts if font.has(0, part.program)]
    if not fonts:
        raise CorpusError(f"no soundfont has General MIDI program {part.program}, which part {part.name!r} plays")
    font = fonts[int(rng.integers(len(fonts)))]
    # Attacks are measured on every sixth semitone: neighbouring keys share a sample.
    delays = [font.attack_samples(part.program, min(round(note.pitch / 6) * 6, 126)) for note in part.notes]
    swell, limit = SWELL_S * SYNTHESIS_RATE_HZ, round(LEAD_LIMIT_S * SYNTHESIS_RATE_HZ)
    leads = [0 if delay > swell else min(delay, limit) for delay in delays]
    own_semitones = float(np.clip(rng.normal(0, 0.04), -0.15, 0.15))
    sound = font.play(
        part.notes, count, program=part.program, tuning_semitones=tuning_semitones + own_semitones, leads=leads
    )
    return sound, tuple(note for note, delay in zip(part.notes, delays, strict=True) if delay <= swell)


def _placed(mono: Samples, pan: float, channels: int) -> Samples:
    """Place a mono part in the mix with equal power, shape (channels, samples)."""
    if channels == 1:
        return mono[None, :]
    angle = (np.clip(pan, -1, 1) + 1) * np.pi / 4
    return np.stack([np.float32(np.cos(angle)) * mono, np.float32(np.sin(angle)) * mono])


def _level_db(sound: Samples) -> float | None:
    """Return the level of the louder moments of a part: the 90th percentile of its blocks of 50 ms that sound."""
    block = round(0.05 * SYNTHESIS_RATE_HZ)
    whole = sound.shape[1] // block * block
    if whole == 0:
        return None
    power = np.square(sound[:, :whole]).mean(axis=0).reshape(-1, block).mean(axis=1)
    sounding = power[power > 1e-4 * power.max()] if power.max() > 0 else power[:0]
    return float(10 * np.log10(np.percentile(sounding, 90))) if sounding.size else None


def _choose_kits(score: Score, part: Part, rng: np.random.Generator, sources: Sources) -> list[list[Kit]]:
    """Draw what the drums are played on: one chain of kits, or two that sound together.

    In a chain the first kit that has a drum plays it; the last is a soundfont's, which has all.
    """
    last = _soundfont_kit(sources.soundfonts[0], 0)
    electronic = score.style.lower().replace("-", "").replace("_", "").replace(" ", "") in ELECTRONIC_STYLES
    machine = electronic or part.program in (24, 25)

    modelling = rng.spawn(1)[0]

    def draw() -> Kit:
        if rng.random() >= sources.kit_variety and load_soundfont(sources.soundfonts[0]).has(_DRUM_BANK, part.program):
            return _soundfont_kit(sources.soundfonts[0], part.program)
        if not machine and modelling.random() < sources.modelled_share:
            return acoustic_kit(modelling)
        weights = np.array([0.5, 0.15, 0.35] if machine else [0.12, 0.48, 0.4])
        weights[1] *= bool(sources.kits)
        kind = int(rng.choice(3, p=weights / weights.sum()))
        if kind == 0:
            return synthesised_kit(rng)
        if kind == 1:
            return load_kit(sources.kits[int(rng.integers(len(sources.kits)))])
        path = sources.soundfonts[int(rng.integers(len(sources.soundfonts)))]
        programs = [program for program in range(128) if load_soundfont(path).has(_DRUM_BANK, program)]
        written = part.program if part.program in programs and rng.random() < 0.5 else None
        if not programs:
            return last
        return _soundfont_kit(path, written if written is not None else programs[int(rng.integers(len(programs)))])

    first = draw()
    if rng.random() < 0.2 * sources.kit_variety:
        first = _assembled(first, draw())
    chains: list[list[Kit]] = [[first, last]]
    if rng.random() < 0.12 * sources.kit_variety:
        chains.append([draw(), last])
    return chains


def _soundfont_kit(path: Path, program: int) -> SoundfontKit:
    font = load_soundfont(path)
    if not font.has(_DRUM_BANK, program):
        raise CorpusError(f"{path}: has no drum kit {program} in bank 128")
    return SoundfontKit(font, program)


def _assembled(body: Kit, metal: Kit) -> Kit:
    """Return a kit with the kick, snare and toms of one and the rest of another."""
    drums: dict[int, tuple[Layer, ...]] = {}
    for kit, wants_metal in ((metal, True), (body, False)):
        for note in kit.notes():
            name = GENERAL_MIDI_DRUMS.get(note, "")
            if wants_metal == name.startswith(("hihat", "crash", "ride")):
                # Gains by velocity differ between kits; a stroke at each of four levels carries its own.
                drums[note] = tuple(
                    Layer(velocity, tuple(_at_velocity(kit, hit, velocity) for hit in kit.alternatives(note, velocity)))
                    for velocity in _HIT_VELOCITIES
                )
    return SampledKit(f"{body.name}+{metal.name}", drums, velocity_gain=0.0)


def _at_velocity(kit: Kit, hit: Hit, velocity: int) -> Hit:
    gain = 1 - kit.velocity_gain * (1 - (velocity / 127) ** 1.5)
    return Hit((hit.samples * np.float32(gain)).astype(np.float32), hit.attack)
