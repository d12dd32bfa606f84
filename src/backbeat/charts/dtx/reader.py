"""DTX charts as engines read them.

The rules are DTXMania's (NX, `CDTX.cs`), written down anew and sharing nothing with the writer, so that each checks the
other. A value follows `#COMMAND`, a colon or spaces, and ends at `;` or the line's end. `#MMMCC` gives objects: pair i
of N stands at tick 384 · (MMM + 1) + ⌊384 · i / N⌋, since the engine puts an empty bar before the first. A tick lasts
625 · bar length / BPM milliseconds. Engines cut times to whole milliseconds; here they are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import Strokes, strokes_of
from backbeat.errors import AnnotationError

#: What is struck on each channel of the drums. The second bass drum is the first one's other foot.
DRUM_CHANNELS: Mapping[int, str] = {
    0x11: "hihat_closed",
    0x12: "snare",
    0x13: "kick",
    0x14: "tom_high",
    0x15: "tom_mid",
    0x16: "crash_right",
    0x17: "tom_low",
    0x18: "hihat_open",
    0x19: "ride",
    0x1A: "crash_left",
    0x1B: "hihat_pedal",
    0x1C: "kick",
}
_MUSIC, _LENGTH, _BPM, _NAMED_BPM = 0x01, 0x02, 0x03, 0x08
_DEFAULT_BPM = 120.0
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_OBJECTS = re.compile(r"([0-9A-Z])([0-9]{2})([0-9A-F]{2})")
_NAMED = re.compile(r"(WAVVOL|WAVPAN|WAV|VOLUME|PAN|BPM)([0-9A-Z]{2})")
_BRANCHES = frozenset({"IF", "RANDOM", "ENDIF"})


class ReadSound(NamedTuple):
    """A sound: its file, its volume from 0 to 100, its pan from -100 to 100, and the comment that names it."""

    file: str
    volume: int
    pan: int
    label: str


class ReadObject(NamedTuple):
    """An object: where it stands, when that is, and what it names.

    `tick` counts 384ths of its bar; `time_ms` counts from the start of the empty bar before the first; `lane` is what
    is struck, None on channels other than the drums'; `volume` is its sound's.
    """

    bar: int
    tick: int
    time_ms: float
    channel: int
    lane: str | None
    name: str
    volume: int


class ReadBar(NamedTuple):
    """A bar: its length in whole notes, and when it begins."""

    length: float
    start_ms: float


class ReadTempo(NamedTuple):
    """A tempo from a place on."""

    bar: int
    tick: int
    time_ms: float
    bpm: float


@dataclass(frozen=True, eq=False)
class ReadChart:
    """What a chart holds.

    Parameters
    ----------
    path
        The file.
    headers
        Values of the commands that name no object, by the command in capitals.
    sounds
        By their names of two base-36 digits.
    bars
        As far as there are objects.
    tempi
        In the order of time, `#BPM` first, in the empty bar: bar -1.
    objects
        In the order of time.
    """

    path: Path
    headers: Mapping[str, str]
    sounds: Mapping[str, ReadSound]
    bars: tuple[ReadBar, ...]
    tempi: tuple[ReadTempo, ...]
    objects: tuple[ReadObject, ...]

    @property
    def music_ms(self) -> float:
        """When the background music begins; the first bar where there is none."""
        return next((each.time_ms for each in self.objects if each.channel == _MUSIC), self.bars[0].start_ms)

    def strokes(self) -> Strokes:
        """Return what is to be played, timed from the start of the music.

        Velocities are volumes (a silent sound has one of 0.01). What a sound's comment calls `ride_bell` is one.

        Raises
        ------
        AnnotationError
            If something is to be played before the music begins.
        """
        played = [each for each in self.objects if each.lane is not None]
        times_s = np.array([each.time_ms - self.music_ms for each in played]) / 1000
        if np.any(times_s < -1e-6):
            raise AnnotationError("notes stand before the background music begins", self.path)
        lanes = [self._lane(each) for each in played]
        return strokes_of(np.maximum(times_s, 0), lanes, [max(each.volume, 1) / 100 for each in played])

    def _lane(self, played: ReadObject) -> str:
        sound = self.sounds.get(played.name)
        is_bell = played.lane == "ride" and sound is not None and sound.label == "ride_bell"
        return "ride_bell" if is_bell else str(played.lane)


@dataclass
class _Found:
    """What lines say, before times are known."""

    bpm: float = _DEFAULT_BPM
    base_bpm: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    volumes: dict[str, int] = field(default_factory=dict)
    pans: dict[str, int] = field(default_factory=dict)
    bpms: dict[str, float] = field(default_factory=dict)
    lengths: dict[int, float] = field(default_factory=dict)
    #: (tick from the start of the empty bar, channel, name)
    placed: list[tuple[int, int, str]] = field(default_factory=list)


def read_dtx(path: Path) -> ReadChart:
    """Read a chart; what no rule here knows is passed over, as engines do.

    The text is UTF-8 or UTF-16 where a byte order mark says so, and cp932 otherwise.

    Raises
    ------
    AnnotationError
        If the file cannot be read or has no object, a tempo or length in it is not above 0, or it plays differently
        from time to time (`#RANDOM`).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"cannot be read ({error.strerror})", path) from None
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "cp932")
    found = _Found()
    # Only \n ends a line here: `splitlines` knows marks that a title may hold.
    for number, line in enumerate(data.decode(encoding, errors="replace").split("\n"), start=1):
        for command, value, comment in _commands(line):
            _take(found, command, value, comment, path, number)
    if not found.placed:
        raise AnnotationError("is not a DTX chart: it has no objects", path)
    return _timed(found, path)


def _commands(line: str) -> Iterator[tuple[str, str, str]]:
    """Yield a line's command in capitals, its value and its comment; nothing where it has no command."""
    line = line.replace("\t", " ").strip(" \r")
    if line.startswith("#"):
        before, _, comment = line[1:].partition(";")
        command = re.match(r" *([^: ]*):? *", before)
        if command is not None and command[1]:
            yield command[1].upper(), before[command.end() :].strip(), comment.strip()


def _take(found: _Found, command: str, value: str, comment: str, path: Path, line: int) -> None:
    """Add what a line says."""
    if command in _BRANCHES:
        raise AnnotationError(f"#{command}: it plays differently from time to time", path, line)
    if objects := _OBJECTS.fullmatch(command):
        bar = int(objects[1], 36) * 100 + int(objects[2])
        _place(found, bar, int(objects[3], 16), value, path, line)
    elif named := _NAMED.fullmatch(command):
        kind, name = named[1], named[2]
        if kind == "WAV":
            found.files[name] = (value, comment)
        elif kind == "BPM":
            found.bpms[name] = _above_zero(value, path, line)
        elif re.fullmatch(r"[+-]?[0-9]{1,9}", value):
            lowest, into = (0, found.volumes) if kind in ("VOLUME", "WAVVOL") else (-100, found.pans)
            into[name] = min(max(int(value), lowest), 100)
    else:
        if command == "BPM":
            found.bpm = _above_zero(value, path, line)
        elif command == "BASEBPM":
            found.base_bpm = _number(value)
        found.headers[command] = value


def _place(found: _Found, bar: int, channel: int, value: str, path: Path, line: int) -> None:
    """Add the objects of a line."""
    if channel == _LENGTH:
        found.lengths[bar] = _above_zero(value, path, line)
        return
    value = value.replace("_", "").upper()
    if not re.fullmatch(r"[0-9A-Z]*", value):
        return
    count = len(value) // 2
    for index in range(count):
        name = value[2 * index : 2 * index + 2]
        if name != "00":
            found.placed.append((384 * (bar + 1) + 384 * index // count, channel, name))


def _above_zero(value: str, path: Path, line: int) -> float:
    number = _number(value)
    if number <= 0:
        raise AnnotationError(f"{value[:20]!r} is not a number above 0", path, line)
    return number


def _number(value: str) -> float:
    """Read a number as engines do: up to the first other sign, the last point or comma before it being decimal."""
    digits = re.match(r"[0-9., ']{0,40}", value)
    whole, point, part = re.sub(r"[' ]", "", digits[0] if digits else "").replace(",", ".").rpartition(".")
    text = f"{whole.replace('.', '')}{point}{part}"
    return float(text) if re.search("[0-9]", text) else 0.0


def _timed(found: _Found, path: Path) -> ReadChart:
    """Give every object its time."""
    clock = _Clock(found.bpm, found.lengths, _changes(found))
    placed = sorted((each for each in found.placed if each[1] not in (_BPM, _NAMED_BPM)), key=lambda each: each[:2])
    sounds = {
        name: ReadSound(file, found.volumes.get(name, 100), found.pans.get(name, 0), label)
        for name, (file, label) in found.files.items()
    }
    objects = [
        ReadObject(
            tick // 384 - 1,
            tick % 384,
            float(time_ms),
            channel,
            DRUM_CHANNELS.get(channel),
            name,
            sounds[name].volume if name in sounds else 100,
        )
        for (tick, channel, name), time_ms in zip(placed, clock.times_ms([each[0] for each in placed]), strict=True)
    ]
    last = max(each[0] for each in found.placed) // 384
    starts_ms = clock.times_ms([384 * bar for bar in range(1, last + 1)])
    lengths = accumulate(range(last), lambda length, bar: found.lengths.get(bar, length), initial=1.0)
    next(lengths)
    bars = tuple(ReadBar(length, float(start)) for length, start in zip(lengths, starts_ms, strict=True))
    tempi = tuple(
        ReadTempo(tick // 384 - 1, tick % 384, float(time_ms), bpm)
        for (tick, bpm), time_ms in zip(clock.tempi, clock.times_ms([tick for tick, _ in clock.tempi]), strict=True)
    )
    return ReadChart(path, found.headers, sounds, bars, tempi, tuple(objects))


def _changes(found: _Found) -> dict[int, float]:
    """Return the tempo from each tick at which one is set; a named one counts where both kinds are."""
    tempi: dict[int, float] = {}
    for tick, channel, name in sorted(found.placed, key=lambda each: each[:2]):
        if channel == _BPM and re.fullmatch(r"[0-9A-F]{2}", name):
            tempi[tick] = found.base_bpm + int(name, 16)
        elif channel == _NAMED_BPM and name in found.bpms:
            tempi[tick] = found.base_bpm + found.bpms[name]
    return tempi


class _Clock:
    """Times of ticks: lines between the places at which tempo or length change."""

    def __init__(self, bpm: float, lengths: Mapping[int, float], tempi: Mapping[int, float]) -> None:
        self.tempi = [(0, bpm), *sorted(tempi.items())]
        by_tick, length_at = dict(self.tempi), {384 * (bar + 1): length for bar, length in lengths.items()}
        ticks = sorted({*by_tick, *length_at})
        starts_ms, rates, length, now_ms = [0.0], [], 1.0, 0.0
        for tick, following in zip(ticks, [*ticks[1:], None], strict=True):
            bpm, length = by_tick.get(tick, bpm), length_at.get(tick, length)
            rates.append(625 * length / bpm)
            if following is not None:
                now_ms += (following - tick) * rates[-1]
                starts_ms.append(now_ms)
        self._ticks, self._starts_ms, self._rates = np.array(ticks), np.array(starts_ms), np.array(rates)

    def times_ms(self, ticks: list[int]) -> NDArray[np.float64]:
        """Return the milliseconds from the start of the empty bar."""
        at = np.array(ticks, dtype=np.int64)
        index = np.searchsorted(self._ticks, at, side="right") - 1
        times_ms: NDArray[np.float64] = self._starts_ms[index] + (at - self._ticks[index]) * self._rates[index]
        return times_ms
