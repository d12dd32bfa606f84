"""A strict check of DTX charts: all that an engine would pass over in silence, found in the text itself.

Engines forgive: a sound that is missing is not heard, a line that is wrong is skipped, a second note in one place hides
behind the first. So a chart that loads may still not play as it was meant. The rules here are narrower than theirs, for
charts of anyone's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from backbeat.audio.decode import decode
from backbeat.charts.chart import LANES, Chart
from backbeat.charts.dtx.reader import ReadChart, read_dtx
from backbeat.errors import AnnotationError, AudioError

#: A note this long after the end of the music is struck in silence.
_AFTER_MUSIC_S = 0.1
#: Enough to tell that a file decodes, and what it lasts, without keeping hours of it.
_RATE_HZ = 8000
#: How far a note may stand from where its chart has it.
_ROUNDING_MS = 0.6

_PLACES = 384
_LINE = re.compile(r"#([A-Z0-9_]+): ?([^;]*?)[ \t]*(?:;(.*))?")
_PLACED = re.compile(r"([0-9A-Z][0-9]{2})([0-9A-F]{2})")
_NAMING = re.compile(r"(WAV|VOLUME|PAN|BPM|SIZE|BMP|AVI)([0-9A-Z]{2})")
_DECIMAL = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,12})?")
_WHOLE = re.compile(r"-?[0-9]{1,6}")
_NEEDED = ("TITLE", "BPM", "DLEVEL")
_RANGES = {
    "VOLUME": (0, 100),
    "PAN": (-100, 100),
    **dict.fromkeys(("DLEVEL", "GLEVEL", "BLEVEL"), (0, 1000)),
    **dict.fromkeys(("DLVDEC", "GLVDEC", "BLVDEC"), (0, 9)),
}
_PICTURES = frozenset({"PREIMAGE", "STAGEFILE", "BACKGROUND", "BACKGROUND_GR", "WALL", "RESULTIMAGE"})
_KNOWN = _PICTURES.union(_NEEDED, _RANGES, ("ARTIST", "COMMENT", "GENRE", "PREVIEW", "PREMOVIE", "PATH_WAV", "BASEBPM"))
_KNOWN |= {"BGMWAV", "HIDDENLEVEL", "MIDINOTE", "SOUND_NOWLOADING"}
_MUSIC, _LENGTH, _HEX_BPM, _BPM = "01", "02", "03", "08"


def _channels(first: int, last: int) -> set[str]:
    return {f"{number:02X}" for number in range(first, last + 1)}


#: Channels whose objects are sounds: drums, guitar and bass, hidden notes, effects, and what sounds without a note.
_SOUNDING = {_MUSIC} | _channels(0x11, 0x1C) | _channels(0x20, 0x28) | _channels(0x31, 0x3C) | _channels(0xA0, 0xA8)
_SOUNDING |= _channels(0x61, 0x92) | _channels(0xB1, 0xBE) | {"1F"}
#: Pictures, films, fill-ins and lines.
_SILENT = (
    {"04", "07", "4F", "50", "51", "53", "54", "5A", "C1", "C2", "C4", "C7"} | _channels(0x55, 0x60) | {"D5", "DA"}
)


class _Line(NamedTuple):
    """A line: its number, its command and its value."""

    number: int
    command: str
    value: str


class _Placed(NamedTuple):
    """An object: its line, bar, channel, place in the bar (of 384) and name."""

    line: int
    bar: str
    channel: str
    place: int
    name: str


def check_dtx(path: Path, chart: Chart | None = None) -> list[str]:
    """Return what is wrong with a chart, a line each; an empty list for one that is right.

    Looked at are: the encoding (cp932, CRLF, no control characters), every line's form, headers and their ranges, that
    each object has a sound whose file lies beside the chart and decodes and that each sound and tempo is used, that
    no two objects share a place of a channel, that lines divide 384, that bar lengths are written where they change
    and only there, that the background music stands once at the start and outlasts the notes.

    Parameters
    ----------
    path
        The chart, among the files that it names.
    chart
        What it was written from: then bar lengths and notes are held against it as well, so that a length that was
        not reset is found.

    Raises
    ------
    AnnotationError
        If the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"cannot be read ({error.strerror})", path) from None
    text, problems = _decoded(data)
    lines: list[_Line] = []
    for number, written in enumerate(text.split("\r\n"), start=1):
        parsed = _parsed(number, written)
        if isinstance(parsed, _Line):
            lines.append(parsed)
        elif parsed:
            problems.append(f"line {number}: {parsed}")
    placed: list[_Placed] = []
    for line in lines:
        found, wrong = _objects(line)
        placed += found
        problems += wrong
    for check in (_headers, _lengths, _tempi):
        problems += check(lines)
    lasting_s, mute = _files(path.parent, lines)
    problems += [*_shared_places(placed), *_names(lines, placed), *_music(placed), *mute]
    if problems:
        return problems
    read = read_dtx(path)
    return _after_music(read, lasting_s) + ([] if chart is None else _unlike(read, chart))


def _decoded(data: bytes) -> tuple[str, list[str]]:
    """Return the text with its problems."""
    problems = []
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        problems.append("the text has a byte order mark: it must be cp932")
    try:
        text = data.decode("cp932")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return data.decode("cp932", errors="replace"), [*problems, f"line {line}: the text is not cp932"]
    if any((ord(sign) < 32 and sign not in "\t\r\n") or 0x7F <= ord(sign) < 0xA0 for sign in text):
        problems.append("the text holds control characters")
    if re.search(r"(?<!\r)\n|\r(?!\n)", text):
        problems.append("lines do not all end in CR LF")
        text = re.sub(r"\r\n?|\n", "\r\n", text)
    return text, problems


def _parsed(number: int, line: str) -> _Line | str:
    """Return a line that says something, what is wrong with it, or nothing."""
    if not line.strip() or line.lstrip().startswith(";"):
        return ""
    form = _LINE.fullmatch(line)
    if form is None:
        return f"{line[:40]!r} is neither a command nor a comment"
    command = form[1]
    if command in _KNOWN or _NAMING.fullmatch(command) or _PLACED.fullmatch(command):
        return _Line(number, command, form[2].rstrip("\t "))
    return f"#{command[:20]}: is no command that is known"


def _objects(line: _Line) -> tuple[list[_Placed], list[str]]:
    """Return the objects of a line and what is wrong with them."""
    form = _PLACED.fullmatch(line.command)
    if form is None or form[2] == _LENGTH:
        return [], []
    bar, channel, pairs = form[1], form[2], line.value.replace("_", "")
    if channel not in _SOUNDING | _SILENT | {_HEX_BPM, _BPM}:
        return [], [f"line {line.number}: {channel} is no channel that is known"]
    if not pairs or len(pairs) % 2 or not re.fullmatch("[0-9A-Z]*", pairs):
        return [], [f"line {line.number}: objects are pairs of digits and capitals"]
    count, problems = len(pairs) // 2, []
    if _PLACES % count:
        problems.append(f"line {line.number}: {count} objects do not divide {_PLACES}")
    names = [pairs[2 * index : 2 * index + 2] for index in range(count)]
    if channel == _HEX_BPM and not re.fullmatch("[0-9A-F]*", pairs):
        problems.append(f"line {line.number}: tempi of channel 03 are hexadecimal")
    found = [
        _Placed(line.number, bar, channel, _PLACES * index // count, name)
        for index, name in enumerate(names)
        if name != "00"
    ]
    return found, problems


def _headers(lines: Iterable[_Line]) -> Iterator[str]:
    """Yield headers that are missing, doubled or out of range."""
    values: dict[str, str] = {}
    for line in lines:
        if line.command not in _KNOWN and not _NAMING.fullmatch(line.command):
            continue
        if line.command in values:
            yield f"line {line.number}: #{line.command} stands twice"
        values[line.command] = line.value
    yield from (f"#{name} is missing" for name in _NEEDED if not values.get(name))
    for name, value in values.items():
        naming = _NAMING.fullmatch(name)
        span = _RANGES.get(naming[1] if naming else name)
        if span is not None and not (_WHOLE.fullmatch(value) and span[0] <= int(value) <= span[1]):
            yield f"#{name}: {value[:20]!r} is not a whole number from {span[0]} to {span[1]}"
        if re.fullmatch("BPM(..)?", name) and not (_DECIMAL.fullmatch(value) and float(value) > 0):
            yield f"#{name}: {value[:20]!r} is not a tempo above 0"


def _lengths(lines: Iterable[_Line]) -> Iterator[str]:
    """Yield bar lengths that are no lengths, stand twice, or change nothing."""
    written: dict[str, _Line] = {}
    for line in lines:
        form = _PLACED.fullmatch(line.command)
        if form is None or form[2] != _LENGTH:
            continue
        if not (_DECIMAL.fullmatch(line.value) and 0 < float(line.value) <= 100):
            yield f"line {line.number}: {line.value[:20]!r} is not the length of a bar"
        elif form[1] in written:
            yield f"line {line.number}: bar {form[1]} has two lengths"
        else:
            written[form[1]] = line
    in_force = 1.0
    for bar in sorted(written):
        if float(written[bar].value) == in_force:
            yield f"line {written[bar].number}: bar {bar} has the length of the bar before it"
        in_force = float(written[bar].value)


def _tempi(lines: Iterable[_Line]) -> Iterator[str]:
    """Yield a base tempo, which shifts all that are named and hardly any engine knows."""
    yield from (f"line {line.number}: #BASEBPM is not portable" for line in lines if line.command == "BASEBPM")


def _shared_places(placed: Iterable[_Placed]) -> Iterator[str]:
    """Yield places that hold two objects of one channel, be it in one line or in two, or tempi of two kinds."""

    def where(each: _Placed) -> tuple[str, str, int]:
        return each.bar, _BPM if each.channel == _HEX_BPM else each.channel, each.place

    for (bar, channel, place), objects in groupby(sorted(placed, key=where), key=where):
        found = list(objects)
        if len(found) > 1:
            yield f"line {found[-1].line}: two objects of channel {channel} stand in bar {bar} at {place} of {_PLACES}"


def _names(lines: Iterable[_Line], placed: Iterable[_Placed]) -> Iterator[str]:
    """Yield objects without a sound or tempo, and those that nothing uses."""
    defined: dict[str, dict[str, int]] = {}
    music = set()
    for line in lines:
        if named := _NAMING.fullmatch(line.command):
            defined.setdefault(named[1], {}).setdefault(named[2], line.number)
        elif line.command == "BGMWAV":
            music.add(line.value)
    sounds, tempi = defined.get("WAV", {}), defined.get("BPM", {})
    used: dict[str, dict[str, int]] = {"WAV": {}, "BPM": {}}
    for each in placed:
        kind = "BPM" if each.channel == _BPM else "WAV" if each.channel in _SOUNDING else ""
        if kind:
            used[kind].setdefault(each.name, each.line)
    for kind, known in (("WAV", sounds), ("BPM", tempi)):
        yield from (f"line {used[kind][name]}: no #{kind}{name}" for name in sorted(set(used[kind]) - set(known)))
        yield from (f"line {known[name]}: nothing uses #{kind}{name}" for name in sorted(set(known) - set(used[kind])))
    for kind in ("VOLUME", "PAN", "SIZE"):
        stray = sorted(set(defined.get(kind, {})) - set(sounds))
        yield from (f"line {defined[kind][name]}: #{kind}{name} without #WAV{name}" for name in stray)
    yield from (f"#BGMWAV: no #WAV{name[:20]}" for name in sorted(music - set(sounds)))
    if "00" in sounds or "00" in tempi:
        yield "00 is a rest and names nothing"


def _music(placed: Iterable[_Placed]) -> Iterator[str]:
    """Yield background music that does not begin, once, where the chart does."""
    found = [each for each in placed if each.channel == _MUSIC]
    if len(found) != 1:
        yield f"background music (channel 01) stands {len(found)} times, not once"
    elif found[0].bar != "000" or found[0].place:
        yield f"line {found[0].line}: background music does not begin at the start of bar 000"


def _files(folder: Path, lines: Iterable[_Line]) -> tuple[dict[str, float], list[str]]:
    """Return how long each sound is, by the command that names it, and files that are elsewhere, missing or mute."""
    lines = list(lines)
    under = next((line.value for line in lines if line.command == "PATH_WAV"), "")
    lasting_s: dict[str, float] = {}
    heard: dict[Path, tuple[float, str]] = {}
    problems = []
    for line in lines:
        is_sound = line.command == "PREVIEW" or bool(re.fullmatch("WAV..", line.command))
        if not is_sound and line.command not in _PICTURES:
            continue
        named = PureWindowsPath(under, line.value) if is_sound else PureWindowsPath(line.value)
        file = folder.joinpath(*named.parts)
        if not line.value or named.anchor or ".." in named.parts:
            problems.append(f"line {line.number}: {line.value[:60]!r} is not a file beside the chart")
        elif not _is_inside(folder, file):
            problems.append(f"line {line.number}: there is no file {line.value[:60]} beside the chart")
        elif is_sound:
            if file not in heard:
                heard[file] = _hear(file)
            lasting_s[line.command], fault = heard[file]
            problems += [f"line {line.number}: {line.value[:60]} {fault}"] if fault else []
    return lasting_s, problems


def _is_inside(folder: Path, file: Path) -> bool:
    try:
        return file.is_file() and file.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # no name that a file system takes
        return False


def _hear(file: Path) -> tuple[float, str]:
    """Return how long a file sounds, and why it does not."""
    try:
        decoded = decode(file, sample_rate_hz=_RATE_HZ, mono=True, allow_silence=True)
    except AudioError as error:
        return 0.0, error.cause
    return decoded.duration_s, "" if decoded.duration_s else "holds no sound"


def _after_music(read: ReadChart, lasting_s: Mapping[str, float]) -> list[str]:
    """Return that there are notes which the music does not reach."""
    name = next(each.name for each in read.objects if each.channel == 1)
    end_s = lasting_s[f"WAV{name}"]
    late = int((read.strokes().times_s > end_s + _AFTER_MUSIC_S).sum())
    return [f"{late} notes stand after the end of the music ({end_s:.1f} s)"] if late else []


def _unlike(read: ReadChart, chart: Chart) -> list[str]:
    """Return how what was read differs from what was written."""
    problems = [
        f"bar {number} is {there.length:g} long, and {bar.length:g} in the chart"
        for number, (there, bar) in enumerate(zip(read.bars, chart.bars, strict=False))
        if there.length != bar.length
    ]
    if len(read.bars) != len(chart.bars):
        problems.append(f"{len(read.bars)} bars, and {len(chart.bars)} in the chart")
    there, here = read.strokes(), chart.strokes()
    for lane in LANES:
        found_s, meant_s = there.of(lane).times_s, here.of(lane).times_s
        if found_s.size != meant_s.size:
            problems.append(f"{found_s.size} notes of {lane}, and {meant_s.size} in the chart")
        elif found_s.size and (off_ms := 1000 * float(np.max(np.abs(found_s - meant_s)))) > _ROUNDING_MS:
            problems.append(f"a note of {lane} is {off_ms:.1f} ms from where the chart has it")
    return problems
