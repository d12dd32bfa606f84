"""A chart as DTX.

What engines make of each line is in `backbeat.charts.dtx.reader`, which shares nothing with this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd, isfinite
from pathlib import Path
from typing import TypeVar

from backbeat.charts.chart import BAR_TICKS, LANES, Chart, ChartNote
from backbeat.charts.dtx.tempi import tempo_plan
from backbeat.charts.dtx.text import cp932_text
from backbeat.errors import AnnotationError, ConfigError
from backbeat.files import atomic_path

#: The channel of each lane. The bell is struck on the ride: two sounds of one channel.
CHANNELS: Mapping[str, str] = {
    "hihat_closed": "11",
    "snare": "12",
    "kick": "13",
    "tom_high": "14",
    "tom_mid": "15",
    "crash_right": "16",
    "tom_low": "17",
    "hihat_open": "18",
    "ride": "19",
    "ride_bell": "19",
    "crash_left": "1A",
    "hihat_pedal": "1B",
}
#: Steps of loudness, each a sound of its own: the format has no velocities.
VELOCITY_STEPS = 8
#: Bars that can be numbered: a base-36 digit and two decimal ones, 000 to Z99.
MOST_BARS = 3600

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_MUSIC_ID = "01"
#: Shows beats from here on, as they are already: an object that changes nothing.
_SHOW_BEATS = ("C2", "01")
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Sound:
    """A sound of the kit.

    Parameters
    ----------
    file
        Its file beside the chart: letters, digits, `.`, `_` and `-`.
    pan
        From -100 (left) to 100.

    Raises
    ------
    ConfigError
        If the name or the pan is none such.
    """

    file: str
    pan: int = 0

    def __post_init__(self) -> None:
        _check_file(self.file)
        if not -100 <= self.pan <= 100:
            raise ConfigError(f"{self.file}: a pan of {self.pan}; it must lie between -100 and 100")


@dataclass(frozen=True, kw_only=True)
class DtxHeader:
    """What a chart says of its song.

    Parameters
    ----------
    title, artist, comment, genre
        Any text: it is written as `backbeat.charts.dtx.text.cp932_text` has it. All but the title may be empty.
    level
        How hard it is, 0 to 9.99.
    music
        The file of the background music, which begins where the chart's first bar does.
    preview, picture
        Files that engines play and show where songs are chosen.

    Raises
    ------
    ConfigError
        If the level lies outside, or a file's name is not plain.
    """

    title: str
    artist: str = ""
    comment: str = ""
    genre: str = ""
    level: float
    music: str
    preview: str | None = None
    picture: str | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.level) and 0 <= self.level <= 9.99):
            raise ConfigError(f"a level of {self.level:g}; it must lie between 0 and 9.99")
        for file in (self.music, self.preview, self.picture):
            if file is not None:
                _check_file(file)


def write_dtx(path: Path, chart: Chart, header: DtxHeader, sounds: Mapping[str, Sound]) -> None:
    """Write a chart as a .dtx file, atomically; parameters and errors as `dtx_text`."""
    data = dtx_text(chart, header, sounds).encode("cp932")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def dtx_text(chart: Chart, header: DtxHeader, sounds: Mapping[str, Sound]) -> str:
    """Return a chart as DTX, lines ended as on Windows, all of it cp932.

    Reading it back gives every note within 0.51 ms of where the chart has it (see `backbeat.charts.dtx.tempi`; 0.53
    ms after two hours, and 2.1 ms in one that follows hours of free tempo), and its velocity to a sixteenth, the
    softest ones as an eighth.

    Parameters
    ----------
    chart
        No ride and bell at one place: see `without_collisions`.
    header
        What it says of its song.
    sounds
        By lane; for each lane that the chart plays.

    Raises
    ------
    AnnotationError
        If two notes stand in one place of a channel, or there are more bars or tempi than the format can number.
    ConfigError
        If a lane has no sound, or nothing of the title can be written.
    """
    if len(chart.bars) > MOST_BARS:
        raise AnnotationError(f"{len(chart.bars)} bars; a DTX chart has at most {MOST_BARS}")
    if clashes := _clashes(chart):
        note = clashes[0]
        raise AnnotationError(
            f"ride and bell are struck at once in bar {note.bar} at tick {note.tick}: DTX has one channel for both"
        )
    if missing := sorted({note.lane for note in chart.notes} - set(sounds)):
        raise ConfigError(f"there is no sound for {missing[0]}")
    lines = [*_header_lines(header), *_time_lines(chart), *_sound_lines(chart, header, sounds), *_note_lines(chart)]
    return "".join(f"{line}\r\n" for line in lines)


def without_collisions(chart: Chart) -> tuple[Chart, int]:
    """Return the chart with one note where ride and bell are struck at once, and in how many places that was.

    The louder stays; of two as loud the bell.
    """
    dropped = {id(note) for note in _clashes(chart)}
    if not dropped:
        return chart, 0
    return Chart(chart.bars, tuple(note for note in chart.notes if id(note) not in dropped)), len(dropped)


def _clashes(chart: Chart) -> list[ChartNote]:
    """Return the softer note wherever ride and bell are struck at once; the ride where they are as loud."""
    rides = {(note.bar, note.tick): note for note in chart.notes if note.lane == "ride"}
    bells = {(note.bar, note.tick): note for note in chart.notes if note.lane == "ride_bell"}
    both = [(rides[place], bells[place]) for place in rides if place in bells]
    return [bell if bell.velocity < ride.velocity else ride for ride, bell in both]


def _check_file(name: str) -> None:
    if not _FILE.fullmatch(name) or name.endswith("."):
        raise ConfigError(f"{name!r}: files beside a chart are named in letters, digits, '.', '_' and '-' only")


def _header_lines(header: DtxHeader) -> list[str]:
    lines = [f"#TITLE: {cp932_text(header.title)}"]
    for command, text in (("ARTIST", header.artist), ("GENRE", header.genre), ("COMMENT", header.comment)):
        if written := cp932_text(text, default=""):
            lines.append(f"#{command}: {written}")
    lines += [f"#{command}: {file}" for command, file in _picked(header)]
    return lines + _level_lines(header.level)


def _picked(header: DtxHeader) -> Iterable[tuple[str, str]]:
    if header.preview is not None:
        yield "PREVIEW", header.preview
    if header.picture is not None:
        yield "PREIMAGE", header.picture


def _level_lines(level: float) -> list[str]:
    """Return the level: 765 is 7.65, while two digits are tenths, so that below 1 the last one is a line of its own."""
    hundredths = round(level * 100)
    if hundredths >= 100:
        return [f"#DLEVEL: {hundredths}"]
    return [f"#DLEVEL: {hundredths // 10}", f"#DLVDEC: {hundredths % 10}"]


def _time_lines(chart: Chart) -> list[str]:
    """Return tempi and lengths of bars."""
    plan = tempo_plan(chart)
    names = _ids(sorted({tempo.bpm for tempo in plan.tempi}), 1)
    lines = [f"#BPM: {_decimal(plan.bpm)}"]
    lines += [f"#BPM{name}: {_decimal(bpm)}" for bpm, name in names.items()]
    lines += [f"#{_bar_number(bar)}02: {_decimal(length)}" for bar, length in plan.lengths]
    changes: dict[int, dict[int, str]] = {}
    for tempo in plan.tempi:
        changes.setdefault(tempo.bar, {})[tempo.tick] = names[tempo.bpm]
    return lines + [_object_line(bar, "08", at) for bar, at in changes.items()]


def _sound_lines(chart: Chart, header: DtxHeader, sounds: Mapping[str, Sound]) -> list[str]:
    """Return music and sounds; the comment of each is the lane, as editors show it."""
    lines = [f"#WAV{_MUSIC_ID}: {header.music}\t;music", f"#BGMWAV: {_MUSIC_ID}"]
    for (lane, step), name in _sound_ids(chart).items():
        sound = sounds[lane]
        lines += [f"#WAV{name}: {sound.file}\t;{lane}", f"#VOLUME{name}: {round(100 * step / VELOCITY_STEPS)}"]
        if sound.pan:
            lines.append(f"#PAN{name}: {sound.pan}")
    return [*lines, f"#00001: {_MUSIC_ID}"]


def _note_lines(chart: Chart) -> list[str]:
    """Return the notes; engines end with the last object, so that a last bar without any is given one."""
    names = _sound_ids(chart)
    lines: dict[tuple[int, str], dict[int, str]] = {}
    for note in chart.notes:
        at = lines.setdefault((note.bar, CHANNELS[note.lane]), {})
        at[note.tick] = names[note.lane, _step(note.velocity)]
    last = len(chart.bars) - 1
    if last and not any(bar == last for bar, _ in lines):
        channel, name = _SHOW_BEATS
        lines[last, channel] = {0: name}
    return [_object_line(bar, channel, lines[bar, channel]) for bar, channel in sorted(lines)]


def _sound_ids(chart: Chart) -> dict[tuple[str, int], str]:
    """Return the name of each lane at each loudness that the chart plays."""
    used = {(note.lane, _step(note.velocity)) for note in chart.notes}
    return _ids(sorted(used, key=lambda each: (LANES.index(each[0]), each[1])), 2)


def _step(velocity: float) -> int:
    return max(1, round(velocity * VELOCITY_STEPS))


def _ids(keys: Sequence[_Key], first: int) -> dict[_Key, str]:
    """Return names of two base-36 digits from number `first` on."""
    return {key: _DIGITS[number // 36] + _DIGITS[number % 36] for number, key in enumerate(keys, start=first)}


def _bar_number(bar: int) -> str:
    return f"{_DIGITS[bar // 100]}{bar % 100:02d}"


def _object_line(bar: int, channel: str, at: Mapping[int, str]) -> str:
    """Return the shortest line that has a place for each tick."""
    unit = gcd(BAR_TICKS, *at)
    pairs = "".join(at.get(tick, "00") for tick in range(0, BAR_TICKS, unit))
    return f"#{_bar_number(bar)}{channel}: {pairs}"


def _decimal(value: float) -> str:
    """Return a number without exponent or needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
