"""What makes each style: tempi, meters, swing, harmony, who plays and how.

All of it is data; `compose` and its neighbours read it. Ranges overlap between styles on purpose: neither tempo nor
meter alone tells a style.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Weights = dict[str, float]


@dataclass(frozen=True)
class Style:
    """One style.

    Parameters
    ----------
    tempi
        Ranges of the counted beat in 4/4, beats a minute, each with a weight.
    meters
        Time signatures with weights.
    meter_tempi
        Ranges for other meters, where the ones of 4/4 do not fit.
    tempo_kinds
        See `tempo.TEMPO_KINDS`; with weights.
    swing
        (chance, lowest, highest) of the place of the second eighth in a beat (0.5 is straight).
    swing16
        The same for the second sixteenth within an eighth.
    drums_share, solo_share
        Share of pieces with drums, and of pieces for drums alone.
    kits
        Programs of bank 128.
    jitter_ms
        Range of the standard deviation of players' timing.
    progressions
        See `harmony.parse_progression`.
    scales
        Of the melody, with weights; the first letter's case plays no part.
    bass, chords, melody
        Ways of playing, with weights (see `playing`); "none" leaves the part out.
    bass_programs, chord_programs, pad_programs, melody_programs
        General MIDI programs to choose from.
    human
        Styles of drum performances that fit.
    phrase_bars
        Lengths of a section in bars, to choose from.
    """

    tempi: tuple[tuple[float, float, float], ...]
    progressions: tuple[str, ...]
    scales: Weights
    bass: Weights
    chords: Weights
    bass_programs: tuple[int, ...]
    chord_programs: tuple[int, ...]
    melody_programs: tuple[int, ...]
    melody: Weights = field(default_factory=lambda: {"sung": 1.0})
    pad_programs: tuple[int, ...] = ()
    pad_share: float = 0.4
    meters: Weights = field(default_factory=lambda: {"4/4": 1.0})
    meter_tempi: dict[str, tuple[float, float]] = field(default_factory=dict)
    tempo_kinds: Weights = field(default_factory=lambda: {"steady": 0.4, "drift": 0.35, "push": 0.2, "ramp": 0.05})
    swing: tuple[float, float, float] = (0.0, 0.5, 0.5)
    swing16: tuple[float, float, float] = (0.0, 0.5, 0.5)
    drums_share: float = 0.85
    solo_share: float = 0.04
    kits: tuple[int, ...] = (0, 8)
    jitter_ms: tuple[float, float] = (3.0, 9.0)
    human: tuple[str, ...] = ()
    phrase_bars: tuple[int, ...] = (4, 8, 8, 8)


_MACHINE: Weights = {"steady": 1.0}
_VOICES = (52, 53, 54, 85, 91)

STYLES: dict[str, Style] = {
    "afro": Style(
        tempi=((95, 128, 1.0),),
        meters={"4/4": 0.75, "6/8": 0.25},
        meter_tempi={"6/8": (70, 125)},
        progressions=("I IV V IV", "I I IV V", "i bVII i bVII", "I V IV V", "i i iv v", "vi IV I V", "i7 i7 IV7 IV7"),
        scales={"pentatonic_major": 0.5, "major": 0.2, "pentatonic_minor": 0.3},
        bass={"syncopated": 0.6, "funk16": 0.2, "root_kick": 0.2},
        chords={"arpeggio": 0.6, "afro_guitar": 0.4},
        bass_programs=(33, 33, 32, 38),
        chord_programs=(27, 26, 108, 12, 25),
        melody_programs=(65, 56, 73, 108, 12, 53, 61),
        melody={"riff": 0.6, "sung": 0.4},
        pad_share=0.1,
        pad_programs=(61, 16),
        swing16=(0.3, 0.52, 0.6),
        human=("afrobeat", "highlife", "afrocuban"),
        drums_share=0.93,
    ),
    "trap": Style(
        tempi=((60, 84, 1.0),),
        progressions=("i i bVI V", "i bVI i bVI", "i bVI bIII bVII", "i iv i v", "i i i bII", "i i bII i"),
        scales={"minor": 0.4, "harmonic_minor": 0.3, "phrygian": 0.3},
        bass={"808": 1.0},
        chords={"arpeggio": 0.35, "long": 0.45, "none": 0.2},
        bass_programs=(39, 38, 87),
        chord_programs=(10, 14, 88, 98, 0, 46, 11),
        melody_programs=(10, 14, 80, 81, 75, 98, 73),
        melody={"riff": 0.85, "sung": 0.15},
        pad_share=0.6,
        pad_programs=(89, 91, 92, 95, 48),
        tempo_kinds=_MACHINE,
        kits=(25, 25, 24),
        jitter_ms=(0.0, 1.5),
        drums_share=0.97,
        solo_share=0.03,
    ),
    "boom_bap": Style(
        tempi=((78, 104, 1.0),),
        progressions=(
            "im7 iv7",
            "ii7 V7 Imaj7 Imaj7",
            "im9 im9 bVImaj7 v7",
            "Imaj7 vi7",
            "im7 bVII7",
            "ii9 ii9 im7 im7",
        ),
        scales={"dorian": 0.5, "pentatonic_minor": 0.3, "blues": 0.2},
        bass={"root_kick": 0.6, "syncopated": 0.4},
        chords={"stabs": 0.5, "long": 0.5},
        bass_programs=(32, 33, 35, 38),
        chord_programs=(4, 5, 0, 11, 26, 17),
        melody_programs=(59, 66, 73, 11, 0, 54, 85),
        melody={"riff": 0.6, "sung": 0.4},
        pad_share=0.25,
        pad_programs=(48, 52, 89),
        tempo_kinds={"steady": 0.9, "drift": 0.1},
        swing16=(0.75, 0.53, 0.64),
        kits=(0, 8, 24, 25),
        jitter_ms=(1.0, 7.0),
        human=("hiphop", "soul"),
        drums_share=0.97,
    ),
    "house": Style(
        tempi=((116, 134, 1.0),),
        progressions=(
            "im7 im7 bVImaj7 bVII",
            "i bVI bIII bVII",
            "im9 iv9",
            "vi IV I V",
            "im7 im7 im7 im7",
            "im7 v7 bVImaj7 iv7",
        ),
        scales={"minor": 0.5, "dorian": 0.3, "pentatonic_minor": 0.2},
        bass={"offbeat": 0.5, "funk16": 0.25, "eighths": 0.25},
        chords={"house_stabs": 0.7, "long": 0.15, "arpeggio": 0.15},
        bass_programs=(38, 39, 39, 87),
        chord_programs=(81, 90, 62, 63, 0, 16, 80),
        melody_programs=(80, 81, 84, 87, 54),
        melody={"riff": 0.7, "sung": 0.3},
        pad_share=0.7,
        pad_programs=(89, 90, 94, 95, 50),
        tempo_kinds=_MACHINE,
        swing16=(0.3, 0.52, 0.58),
        kits=(24, 25, 25),
        jitter_ms=(0.0, 1.0),
        drums_share=0.97,
    ),
    "drum_and_bass": Style(
        tempi=((158, 182, 1.0),),
        progressions=("i i bVI bVI", "im7 im7 iv7 iv7", "i bVII bVI bVII", "im9 im9 im9 im9", "i i i bII"),
        scales={"minor": 0.6, "dorian": 0.4},
        bass={"reese": 0.6, "syncopated": 0.4},
        chords={"long": 0.6, "stabs": 0.25, "none": 0.15},
        bass_programs=(39, 38, 87, 81),
        chord_programs=(89, 4, 90, 95, 50),
        melody_programs=(80, 81, 98, 54, 88),
        melody={"riff": 0.6, "sung": 0.4},
        pad_share=0.7,
        pad_programs=(89, 91, 94, 95),
        tempo_kinds=_MACHINE,
        kits=(24, 0, 16),
        jitter_ms=(0.0, 2.0),
        drums_share=0.96,
        solo_share=0.06,
    ),
    "jazz": Style(
        tempi=((90, 150, 0.45), (150, 220, 0.4), (56, 90, 0.15)),
        meters={"4/4": 0.8, "3/4": 0.13, "5/4": 0.07},
        meter_tempi={"3/4": (110, 200), "5/4": (130, 190)},
        progressions=(
            "Imaj7 vi7 ii7 V7",
            "ii7 V7 Imaj7 Imaj7",
            "Imaj7 VI7 ii7 V7",
            "iii7 VI7 ii7 V7",
            "im6 im6 iim7b5 V7",
            "I7 IV7 I7 I7 IV7 IV7 I7 VI7 ii7 V7 I7/VI7 ii7/V7",
            "Imaj7/vi7 ii7/V7 iii7/VI7 ii7/V7",
            "im7 im7 im7 im7 iv7 iv7 im7 im7",
            "iv7 bVII7 bIIImaj7 bVImaj7 iim7b5 V7 im6 im6",
        ),
        scales={"major": 0.5, "dorian": 0.3, "blues": 0.2},
        bass={"walking": 0.9, "two_beat": 0.1},
        chords={"comping": 0.8, "none": 0.1, "four": 0.1},
        bass_programs=(32, 32, 32, 43, 35),
        chord_programs=(0, 0, 26, 0, 11, 16),
        melody_programs=(66, 65, 56, 59, 64, 71, 11, 57, 26, 0),
        melody={"bop": 0.8, "sung": 0.2},
        pad_share=0.0,
        tempo_kinds={"drift": 0.75, "ramp": 0.15, "steady": 0.1},
        swing=(0.94, 0.58, 0.69),
        kits=(32, 32, 40, 0),
        jitter_ms=(6.0, 15.0),
        human=("jazz",),
        drums_share=0.8,
    ),
    "blues": Style(
        tempi=((60, 96, 0.35), (96, 138, 0.65)),
        meters={"4/4": 0.7, "12/8": 0.3},
        meter_tempi={"12/8": (50, 78)},
        progressions=(
            "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
            "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
            "i7 i7 i7 i7 iv7 iv7 i7 i7 V7 iv7 i7 V7",
            "I7 V7 IV7 IV7 I7 V7 I7 V7",
        ),
        scales={"blues": 1.0},
        bass={"boogie": 0.6, "walking": 0.3, "root_kick": 0.1},
        chords={"shuffle": 0.55, "comping": 0.3, "eighths": 0.15},
        bass_programs=(33, 32, 34),
        chord_programs=(29, 27, 26, 0, 16, 3),
        melody_programs=(22, 29, 26, 27, 66, 30),
        pad_share=0.15,
        pad_programs=(16, 17),
        tempo_kinds={"drift": 0.8, "push": 0.1, "steady": 0.1},
        swing=(0.9, 0.6, 0.68),
        jitter_ms=(6.0, 13.0),
        human=("blues",),
        phrase_bars=(12, 12, 4),
    ),
    "rock": Style(
        tempi=((90, 150, 0.75), (150, 190, 0.15), (65, 90, 0.1)),
        meters={"4/4": 0.87, "6/8": 0.05, "3/4": 0.03, "7/8": 0.03, "5/4": 0.02},
        progressions=(
            "I V vi IV",
            "I IV V IV",
            "i bVII bVI bVII",
            "I bVII IV I",
            "vi IV I V",
            "I I IV IV",
            "i i bIII bVII",
            "I IV I V",
            "i bVI bIII bVII",
        ),
        scales={"pentatonic_minor": 0.4, "pentatonic_major": 0.3, "major": 0.2, "mixolydian": 0.1},
        bass={"eighths": 0.6, "root_kick": 0.4},
        chords={"eighths": 0.4, "strum": 0.45, "arpeggio": 0.15},
        bass_programs=(33, 34, 34),
        chord_programs=(29, 29, 27, 30, 25),
        melody_programs=(52, 53, 54, 29, 30, 85, 18),
        pad_share=0.3,
        pad_programs=(18, 16, 48, 0),
        kits=(0, 8, 16),
        human=("rock", "pop", "punk"),
        drums_share=0.88,
    ),
    "metal": Style(
        tempi=((110, 165, 0.6), (165, 215, 0.4)),
        meters={"4/4": 0.86, "6/8": 0.06, "7/8": 0.05, "3/4": 0.03},
        progressions=(
            "i5 i5 bVI5 bVII5",
            "i5 bII5 i5 bII5",
            "i5 i5 i5 bV5",
            "i5 bVI5 bIII5 bVII5",
            "i5 i5 bII5/bIII5 i5",
        ),
        scales={"phrygian": 0.4, "harmonic_minor": 0.3, "minor": 0.3},
        bass={"chug": 1.0},
        chords={"chug": 1.0},
        bass_programs=(34, 34, 33),
        chord_programs=(30, 30, 30, 29),
        melody_programs=(30, 29, 81),
        melody={"shred": 0.6, "riff": 0.4},
        pad_share=0.1,
        pad_programs=(48, 52),
        kits=(16, 16, 0, 8),
        jitter_ms=(1.0, 5.0),
        human=("punk", "rock"),
        drums_share=0.94,
    ),
    "funk": Style(
        tempi=((86, 124, 1.0),),
        progressions=("I9 I9 I9 I9", "i7 i7 IV9 IV9", "I7 I7 IV7 I7", "im7 IV7", "I9 I9 IV9 V9", "im9 bIII7/IV7"),
        scales={"blues": 0.4, "dorian": 0.4, "mixolydian": 0.2},
        bass={"funk16": 1.0},
        chords={"scratch": 0.7, "clav": 0.3},
        bass_programs=(36, 33, 37, 33),
        chord_programs=(28, 27, 7, 28),
        melody_programs=(61, 61, 65, 18, 66, 54),
        melody={"riff": 0.8, "sung": 0.2},
        pad_share=0.15,
        pad_programs=(16, 61),
        swing16=(0.5, 0.52, 0.6),
        jitter_ms=(3.0, 8.0),
        human=("funk", "soul", "neworleans"),
        drums_share=0.94,
    ),
    "reggae": Style(
        tempi=((64, 92, 1.0),),
        progressions=("I IV", "i bVII", "I V vi IV", "i iv i v", "I I ii ii", "i i iv iv", "I IV V IV"),
        scales={"major": 0.4, "minor": 0.3, "pentatonic_minor": 0.3},
        bass={"one_drop": 1.0},
        chords={"skank": 1.0},
        bass_programs=(33, 33, 35, 38),
        chord_programs=(27, 26, 28, 16),
        melody_programs=(53, 54, 52, 57, 66, 22, 85),
        pad_share=0.55,
        pad_programs=(16, 17, 18),
        swing=(0.25, 0.55, 0.66),
        swing16=(0.3, 0.53, 0.64),
        jitter_ms=(3.0, 9.0),
        human=("reggae",),
        drums_share=0.93,
    ),
    "latin": Style(
        tempi=((88, 130, 0.6), (160, 210, 0.4)),
        meters={"4/4": 0.85, "2/4": 0.15},
        meter_tempi={"2/4": (90, 135)},
        progressions=(
            "i iv V7 V7",
            "I IV V7 IV",
            "i V7 V7 i",
            "im7 IV7",
            "ii7 V7 Imaj7 Imaj7",
            "i bVII bVI V7",
            "I I V7 V7",
        ),
        scales={"harmonic_minor": 0.4, "major": 0.35, "dorian": 0.25},
        bass={"tumbao": 1.0},
        chords={"montuno": 0.75, "bossa": 0.25},
        bass_programs=(32, 33, 43),
        chord_programs=(0, 1, 24, 0),
        melody_programs=(56, 56, 73, 57, 24, 21, 64, 61),
        melody={"riff": 0.5, "sung": 0.5},
        pad_share=0.1,
        pad_programs=(61, 48),
        kits=(0, 8),
        human=("latin", "afrocuban"),
        drums_share=0.93,
    ),
    "disco": Style(
        tempi=((104, 132, 1.0),),
        progressions=("im7 IV7", "i bVII bVI V", "vi7 ii7 V7 Imaj7", "im7 im7 iv7 v7", "Imaj7 vi7 ii7 V7sus4"),
        scales={"minor": 0.4, "dorian": 0.4, "major": 0.2},
        bass={"octaves": 1.0},
        chords={"scratch": 0.7, "stabs": 0.3},
        bass_programs=(33, 34, 36, 38),
        chord_programs=(28, 27, 0, 4),
        melody_programs=(48, 49, 61, 53, 54, 48),
        melody={"riff": 0.5, "sung": 0.5},
        pad_share=0.85,
        pad_programs=(48, 49, 48),
        tempo_kinds={"steady": 0.5, "drift": 0.4, "push": 0.1},
        kits=(0, 8, 8),
        jitter_ms=(2.0, 6.0),
        human=("dance",),
        drums_share=0.96,
    ),
    "country": Style(
        tempi=((80, 130, 0.7), (130, 200, 0.3)),
        meters={"4/4": 0.68, "3/4": 0.2, "2/4": 0.12},
        meter_tempi={"3/4": (84, 160), "2/4": (90, 150)},
        progressions=("I I IV V", "I IV I V", "I I V V I I V I", "I IV V I", "I vi IV V", "I I IV IV I V I I"),
        scales={"pentatonic_major": 0.6, "major": 0.4},
        bass={"two_beat": 1.0},
        chords={"boom_chick": 0.6, "picking": 0.4},
        bass_programs=(32, 33, 32),
        chord_programs=(25, 25, 105, 24),
        melody_programs=(110, 105, 22, 40, 25, 52),
        pad_share=0.15,
        pad_programs=(21, 40, 17),
        tempo_kinds={"drift": 0.7, "steady": 0.15, "push": 0.15},
        swing=(0.2, 0.54, 0.64),
        jitter_ms=(5.0, 12.0),
        human=("country",),
        drums_share=0.6,
        solo_share=0.01,
    ),
    "ballad": Style(
        tempi=((54, 84, 1.0),),
        meters={"4/4": 0.66, "12/8": 0.12, "6/8": 0.12, "3/4": 0.1},
        meter_tempi={"12/8": (50, 74), "6/8": (50, 74), "3/4": (66, 100)},
        progressions=(
            "I V vi IV",
            "Imaj7 IVmaj7 ii7 V7sus4",
            "vi IV I V",
            "I iii IV iv",
            "i bVI bIII bVII",
            "I Iadd9 vi IV",
            "Imaj7 iii7 IVmaj7 V",
        ),
        scales={"major": 0.6, "pentatonic_major": 0.4},
        bass={"sustained": 0.7, "root_kick": 0.3},
        chords={"broken": 0.6, "quarters": 0.4},
        bass_programs=(33, 35, 32),
        chord_programs=(0, 0, 4, 25, 24, 5),
        melody_programs=(53, 52, 54, 65, 64, 68, 85),
        pad_share=0.75,
        pad_programs=(48, 49, 50, 89, 52),
        tempo_kinds={"steady": 0.25, "drift": 0.45, "rubato": 0.2, "push": 0.1},
        jitter_ms=(4.0, 11.0),
        human=("soul", "gospel", "pop"),
        drums_share=0.6,
        solo_share=0.0,
    ),
    "classical": Style(
        tempi=((56, 110, 0.6), (110, 168, 0.4)),
        meters={"4/4": 0.6, "2/4": 0.2, "6/8": 0.1, "3/4": 0.1},
        meter_tempi={"6/8": (50, 100), "2/4": (60, 140), "3/4": (60, 120)},
        progressions=(
            "I IV V I",
            "I V/V7 I V",
            "I vi ii V",
            "i iv V i",
            "I V vi iii IV I ii V",
            "i V i iv",
            "I ii V7 I",
            "i bVI iv V",
        ),
        scales={"major": 0.6, "harmonic_minor": 0.4},
        bass={"cello": 0.7, "none": 0.3},
        chords={"alberti": 0.4, "strings": 0.3, "quarters": 0.2, "counterpoint": 0.1},
        bass_programs=(42, 43, 70, 42),
        chord_programs=(0, 48, 6, 46, 48, 45, 0),
        melody_programs=(40, 73, 68, 71, 0, 40, 60, 42),
        melody={"classical": 1.0},
        pad_share=0.4,
        pad_programs=(48, 48, 60, 69),
        tempo_kinds={"rubato": 0.65, "drift": 0.2, "ramp": 0.15},
        drums_share=0.0,
        solo_share=0.0,
        jitter_ms=(5.0, 15.0),
    ),
    "waltz": Style(
        tempi=((84, 130, 0.4), (130, 205, 0.6)),
        meters={"3/4": 1.0},
        progressions=("I I V7 V7 V7 V7 I I", "I V7 V7 I", "i iv V7 i", "I vi ii V7", "I I IV IV V7 V7 I I"),
        scales={"major": 0.75, "harmonic_minor": 0.25},
        bass={"waltz": 1.0},
        chords={"waltz": 1.0},
        bass_programs=(43, 42, 32, 58, 0),
        chord_programs=(48, 0, 21, 45, 24),
        melody_programs=(40, 48, 21, 71, 73, 0),
        melody={"classical": 1.0},
        pad_share=0.25,
        pad_programs=(48, 60),
        tempo_kinds={"rubato": 0.5, "drift": 0.4, "steady": 0.1},
        drums_share=0.0,
        solo_share=0.0,
        jitter_ms=(4.0, 13.0),
    ),
}

#: Programs that sing: their parts stand for a voice.
VOICE_PROGRAMS = _VOICES

#: Tempi of the counted beat for meters that a style has no range of its own for.
METER_TEMPI: dict[str, tuple[float, float]] = {
    "6/8": (50, 96),
    "12/8": (50, 80),
    "7/8": (160, 220),
    "3/4": (80, 170),
    "5/4": (100, 180),
    "2/4": (80, 140),
}
