"""Charts for tests: random ones of any shape, and the sounds that they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from backbeat.charts.chart import BAR_TICKS, LANES, Bar, Chart, ChartNote, Tempo
from backbeat.charts.dtx import DtxHeader, Sound
from backbeat.music import TimeSignature

SOUNDS = {lane: Sound(f"{lane}.wav") for lane in LANES}
SIGNATURES = ("4/4", "3/4", "6/8", "7/8", "5/4", "12/8")


def bar(signature: str = "4/4", bpm: float = 120.0, *, length: float | None = None, later: tuple = ()) -> Bar:
    """A bar of its meter's length; `later` are further tempi as (tick, bpm)."""
    meter = TimeSignature.parse(signature)
    tempi = (Tempo(0, bpm), *(Tempo(tick, other) for tick, other in later))
    return Bar(meter.numerator / meter.denominator if length is None else length, tempi, meter)


def note(number: int, tick: int, lane: str = "snare", velocity: float = 1.0) -> ChartNote:
    return ChartNote(number, tick, lane, velocity, heard_s=0.0)


def random_chart(seed: int, bars: int, *, tempo_changes: bool = True, notes_a_bar: int = 8) -> Chart:
    """A lead-in of any length, meters that change, tempi at four decimals, also within bars, and notes anywhere."""
    rng = np.random.default_rng(seed)
    made, bpm, signature = [], round(float(rng.uniform(60, 220)), 4), "4/4"
    for number in range(bars):
        if rng.random() < 0.1:
            signature = str(rng.choice(SIGNATURES))
        if tempo_changes and rng.random() < 0.8:
            bpm = round(float(np.clip(bpm * rng.normal(1, 0.01), 40, 300)), 4)
        later = ()
        if tempo_changes and rng.random() < 0.1:
            ticks = sorted(rng.choice(np.arange(1, BAR_TICKS), size=2, replace=False).tolist())
            later = tuple((tick, round(bpm * float(rng.uniform(0.8, 1.2)), 4)) for tick in ticks)
        lead = round(float(rng.uniform(0.01, 1.5)), 6) if number == 0 else None
        made.append(bar(signature, bpm, length=lead, later=later))
    notes = {}
    for number in range(bars):
        for _ in range(int(rng.integers(0, 2 * notes_a_bar))):
            unit = int(rng.choice([1, 24, 32, 48, 96]))
            tick = unit * int(rng.integers(0, BAR_TICKS // unit))
            lane = str(rng.choice([name for name in LANES if name != "ride_bell" or rng.random() < 0.5]))
            if lane.startswith("ride") and {(number, tick, "ride"), (number, tick, "ride_bell")} & set(notes):
                continue
            notes[number, tick, lane] = note(number, tick, lane, float(rng.uniform(0.01, 1)))
    return Chart(tuple(made), tuple(notes.values()))


def header(title: str = "Song", **others: object) -> DtxHeader:
    return DtxHeader(**{"title": title, "level": 5.0, "music": "bgm.ogg", **others})


def write_sounds(folder: Path, duration_s: float) -> None:
    """Write the files of `SOUNDS` and the music of `header` into a folder."""
    rate_hz = 8000
    rng = np.random.default_rng(0)
    for sound in SOUNDS.values():
        soundfile.write(folder / sound.file, 0.1 * rng.standard_normal(400), rate_hz, subtype="PCM_16")
    soundfile.write(folder / "bgm.ogg", 0.1 * rng.standard_normal(int(duration_s * rate_hz)), rate_hz)
