"""A chart as a standard MIDI file: General MIDI drums on channel 10, with the song's tempi and meters.

A tick is a 3072nd of a quarter note, so that the 384ths of every bar whose meter has a denominator up to 32 are whole
ticks. MIDI keeps tempi in whole microseconds a quarter note; what that leaves over is made good before it adds up to a
quarter of a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from backbeat.charts.chart import BAR_TICKS, LENGTH_DECIMALS, Chart
from backbeat.charts.dtx.text import plain_text
from backbeat.errors import AnnotationError
from backbeat.files import atomic_path

#: The General MIDI percussion note of each lane.
MIDI_NOTES: Mapping[str, int] = {
    "kick": 36,
    "snare": 38,
    "hihat_closed": 42,
    "hihat_open": 46,
    "hihat_pedal": 44,
    "tom_high": 48,
    "tom_mid": 45,
    "tom_low": 43,
    "crash_left": 49,
    "crash_right": 57,
    "ride": 51,
    "ride_bell": 53,
}
#: Ticks of a quarter note.
RESOLUTION = 3072
#: How far the tempi of the file may lead away from the chart before they are corrected, microseconds.
_DRIFT_US = 250.0
#: The slowest tempo that 24 bits hold.
_LONGEST_QUARTER_US = 2**24 - 1
#: How long a stroke is held: a 32nd note, or until the next of its drum.
_HELD_TICKS = RESOLUTION // 8
_DRUM_CHANNEL = 9


def write_midi(path: Path, chart: Chart, title: str) -> None:
    """Write a chart as a MIDI file of two tracks, tempi and drums, atomically.

    Parameters
    ----------
    path
        The file.
    chart
        Its notes come back within 0.5 ms of where it has them.
    title
        The name of the first track, in UTF-8, as `plain_text` has it.

    Raises
    ------
    AnnotationError
        If a tempo is below what MIDI can say, 3.58 BPM.
    """
    import mido

    starts = _bar_starts(chart)
    tracks = [_tempo_messages(chart, starts, plain_text(title)), _drum_messages(chart, starts)]
    file = mido.MidiFile(type=1, ticks_per_beat=RESOLUTION, charset="utf-8")
    for messages in tracks:
        track = mido.MidiTrack()
        now = 0
        for tick, message in messages:
            track.append(message.copy(time=tick - now))
            now = tick
        file.tracks.append(track)
    with atomic_path(path) as temporary:
        file.save(temporary)


def _bar_starts(chart: Chart) -> list[Fraction]:
    """Return where each bar begins, and the last ends, in ticks: exactly, so that rounding never adds up."""
    starts = [Fraction(0)]
    for bar in chart.bars:
        length = Fraction(round(bar.length * 10**LENGTH_DECIMALS), 10**LENGTH_DECIMALS)
        starts.append(starts[-1] + 4 * RESOLUTION * length)
    return starts


def _tick(starts: list[Fraction], bar: int, tick: int) -> int:
    """Return the MIDI tick of a place in a bar."""
    return round(starts[bar] + (starts[bar + 1] - starts[bar]) * tick / BAR_TICKS)


def _tempo_messages(chart: Chart, starts: list[Fraction], title: str) -> Iterator[tuple[int, Any]]:
    """Yield title, meters and tempi with their ticks."""
    from mido import MetaMessage

    yield 0, MetaMessage("track_name", name=title)
    stretches = [(number, tempo) for number, bar in enumerate(chart.bars) for tempo in bar.tempi]
    places = [(number, tempo.tick) for number, tempo in stretches] + [(len(chart.bars) - 1, BAR_TICKS)]
    signature, in_force, now_us = None, 0, 0.0
    for (number, tempo), end in zip(stretches, places[1:], strict=True):
        bar = chart.bars[number]
        begin_tick, end_tick = _tick(starts, number, tempo.tick), _tick(starts, *end)
        if tempo.tick == 0 and bar.signature != signature:
            meter = bar.signature
            clocks = 36 if meter.is_compound and meter.denominator == 8 else max(1, 96 // meter.denominator)
            yield (
                begin_tick,
                MetaMessage(
                    "time_signature",
                    numerator=meter.numerator,
                    denominator=meter.denominator,
                    clocks_per_click=clocks,
                ),
            )
        # A bar that is not as long as its meter ends a count: the next one states its meter anew.
        whole = abs(bar.length - bar.signature.numerator / bar.signature.denominator) < 10**-LENGTH_DECIMALS
        signature = bar.signature if whole else None
        quarters = (end_tick - begin_tick) / RESOLUTION
        quarter_us = round(6e7 / tempo.bpm)
        end_us = 1e6 * chart.time_s(*end)
        if quarters and abs(now_us + quarters * quarter_us - end_us) > _DRIFT_US:
            quarter_us = max(1, round((end_us - now_us) / quarters))
        if quarter_us > _LONGEST_QUARTER_US:
            raise AnnotationError(f"{tempo.bpm:g} BPM: MIDI has no tempo below 3.58")
        if quarter_us != in_force:
            yield begin_tick, MetaMessage("set_tempo", tempo=quarter_us)
            in_force = quarter_us
        now_us += quarters * quarter_us


def _drum_messages(chart: Chart, starts: list[Fraction]) -> list[tuple[int, Any]]:
    """Return the strokes with their ticks, each let go before its drum is struck again."""
    from mido import Message, MetaMessage

    messages: list[tuple[int, int, Any]] = [(0, 0, MetaMessage("track_name", name="Drums"))]
    struck: dict[int, list[tuple[int, float]]] = {}
    for note in chart.notes:
        at = struck.setdefault(MIDI_NOTES[note.lane], [])
        at.append((_tick(starts, note.bar, note.tick), note.velocity))
    for pitch, strokes in struck.items():
        for (tick, velocity), (following, _) in zip(strokes, [*strokes[1:], (10**12, 0)], strict=True):
            loud = max(1, round(127 * velocity))
            on = Message("note_on", channel=_DRUM_CHANNEL, note=pitch, velocity=loud)
            off = Message("note_off", channel=_DRUM_CHANNEL, note=pitch)
            messages += [(tick, 2, on), (min(tick + _HELD_TICKS, following), 1, off)]
    return [(tick, message) for tick, _, message in sorted(messages, key=lambda each: each[:2])]
