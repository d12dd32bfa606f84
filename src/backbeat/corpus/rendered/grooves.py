"""Drum patterns as musicians write them down: a string a drum, a character a step.

Strings fill one bar of 4/4 in equal steps (16 unless they are longer), bars divided by "|". `X` accent, `x` stroke,
`o` soft, `g` ghost, `?` now and then, `O` open hi-hat (in the time-keeping voice), `.` rest. For other meters a
pattern of 4/4 is cut or continued to the bar's length; meters with patterns of their own are listed first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

VELOCITIES: dict[str, int] = {"X": 116, "x": 96, "O": 100, "o": 72, "g": 38, "?": 74}


@dataclass(frozen=True)
class Groove:
    """One way of playing a bar.

    Parameters
    ----------
    time
        The time-keeping voice: hi-hat, ride or whatever the section plays it on.
    snare, kick
        As their names say.
    others
        General MIDI percussion note to string, for claps, cowbells, congas...
    meter
        The time signature that the strings are written in.
    snare_note
        38, or 37 for a cross-stick, 39 for claps, 40.
    """

    time: str
    snare: str
    kick: str
    others: dict[int, str] = field(default_factory=dict)
    meter: str = "4/4"
    snare_note: int = 38


_8 = "x.x.x.x.x.x.x.x."
_8A = "X.o.X.o.X.o.X.o."
_16 = "X.o.X.o.X.o.X.o.".replace(".", "o")
_4 = "x...x...x...x..."
_NO = "................"
_BACK = "....X.......X..."
_BACKG = "....X..g.g..X..g"
_HALF = "........X......."
_FLOOR = "X...X...X...X..."
_OFF = "..x...x...x...x."
_OFFO = "..O...O...O...O."
_RIDE = "x...x.x.x...x.x."

GROOVES: dict[str, tuple[Groove, ...]] = {
    "rock": (
        Groove(_8A, _BACK, "X.......X......."),
        Groove(_8A, _BACK, "X.......X.x....."),
        Groove(_8, _BACK, "X.....x.X......."),
        Groove(_8, _BACKG, "X.x....x..x...?."),
        Groove(_8A, _BACK, "X..x....X.x...?."),
        Groove(_4, _BACK, "X.x...x.X.x...x."),
        Groove(_8, _BACK, "X.x.....x.X....."),
        Groove(_8A, "X...X...X...X...", "X.......X......."),
        Groove(_8, _HALF, "X.....x.......x."),
        Groove(_16, _BACK, "X.......X.x....."),
        Groove("X.x.x.X.x.x.", "......X.....", "X...?......?", meter="6/8"),
        Groove("X.o.o.X.o.o.", "......X..g..", "X.........x.", meter="6/8"),
        Groove("x.x.x.x.x.x.", "....X...X...", "X...........", meter="3/4"),
        Groove("X.o.X.o.X.o.", "........X...", "X.....x.....", meter="3/4"),
    ),
    "metal": (
        Groove(_4, _BACK, "XxXxXxXxXxXxXxXx"),
        Groove(_8, _BACK, "X.xxX.xxX.xxX.xx"),
        Groove(_4, "..X...X...X...X.", "X...X...X...X..."),
        Groove("xxxxxxxxxxxxxxxx", "x.x.x.x.x.x.x.x.", "x.x.x.x.x.x.x.x."),
        Groove(_4, _HALF, "X..X..X...XX..x."),
        Groove(_8, _BACK, "X.xx..x.X.xx..x."),
        Groove(_4, _HALF, "XxXx..XxXxXx..Xx"),
        Groove("X.x.x.X.x.x.", "......X.....", "xxxxxxxxxxxx", meter="6/8"),
        Groove("x...x...x...", "....X.......", "X.xxX.xxX.xx", meter="3/4"),
    ),
    "funk": (
        Groove(_16, _BACKG, "X.x....x..x..x.."),
        Groove(_16, "....X..g.g.gX..g", "X..x..x...x....."),
        Groove(_8, "....X..g.g..X.g.", "X.x...x..x......"),
        Groove("x.xxx.xxx.xxx.xO", "....X..g.X..X...", "X..x......x..x.."),
        Groove(_8, "....X..g.g....X.", "X.x.......X..x.."),
        Groove("xxxxxxOxxxxxxxOx", _BACKG, "X.....xx..x....."),
        Groove(_8A, "....X..x.x..X..g", "X..X....X.X....."),
    ),
    "disco": (
        Groove(_OFFO, _BACK, _FLOOR),
        Groove("x.O.x.O.x.O.x.O.", _BACK, _FLOOR),
        Groove("xxOxxxOxxxOxxxOx", _BACK, _FLOOR, {54: "x.x.x.x.x.x.x.x."}),
        Groove(_16, _BACK, _FLOOR, {39: _BACK}),
        Groove("x.O.x.O.x.O.x.O.", "....X.......X..x", "X...X...X...X.x.", {56: "x...x...x...x..."}),
    ),
    "house": (
        Groove(_OFFO, _NO, _FLOOR, {39: _BACK}),
        Groove("..O...O...O...Ox", _NO, _FLOOR, {39: _BACK, 70: "oxoxoxoxoxoxoxox"}),
        Groove("x.O.x.O.x.O.xxO.", _BACK, _FLOOR, {39: "....X.......X.?."}),
        Groove("oxOxoxOxoxOxoxOx", _NO, _FLOOR, {39: _BACK, 37: "...x..x....x...."}),
        Groove(_OFF, _NO, _FLOOR, {39: _BACK, 75: "x..x..x...x.x..."}),
        Groove(_OFFO, _NO, "X...X...X...X..x", {38: "...g..x....g.x.."}),
    ),
    "drum_and_bass": (
        Groove(_8, _BACK, "X.........X....."),
        Groove("x.xxx.xxx.xxx.xx", "....X..g.g..X..g", "X.x.......X....."),
        Groove(_8, "....X..g.g..X...", "X.........X..x.."),
        Groove(_RIDE, "....X..X.g..X..g", "X.X.......X....."),
        Groove(_16, _BACK, "X..x......X....."),
    ),
    "trap": (
        Groove("x.x.x.x.x.x.x.x.", _BACK, "X..x..x....x....", {39: _BACK}),
        Groove("x.x.x.x.x.xxx.x.", _BACK, "X.....x...x.....", {39: _BACK}),
        Groove("x.x.xxx.x.x.xxxx", _NO, "X..x......x..x..", {39: _BACK}),
        Groove("xxxxxxxxxxxxxxxx", _BACK, "X......x..x.....", {37: "...x......x...x."}),
        Groove("x.x.xxxxx.x.x.xx", _NO, "X.x...x.......x.", {39: _BACK, 38: "....x.......x..."}),
        Groove("x.xxx.x.x.xxx.x.", _BACK, "X..X..X...X..X..", {56: "..x.....x.....x."}),
    ),
    "boom_bap": (
        Groove(_8, _BACK, "X......x..x....."),
        Groove(_8A, _BACK, "X.x....x.xx....."),
        Groove(_8, "....X..g.g..X...", "X..x...x..x....."),
        Groove("x.x.x.x.x.O.x.x.", _BACK, "X.........x..x.."),
        Groove(_4, _BACK, "X.x......xX....."),
        Groove("xxx.x.x.xxx.x.x.", _BACKG, "X......X..X..?.."),
    ),
    "reggae": (
        # Counted so that the drop falls on 2 and 4 and the skank between the beats.
        Groove("x.o.x.o.x.o.x.o.", _NO, _BACK, {37: _BACK}),
        Groove("xxo.x.o.xxo.x.o.", _NO, _BACK, {37: "....X..?....X..."}),
        Groove("..x...x...x...x.", _NO, _BACK, {37: _BACK}),
        Groove("x.o.x.o.x.o.x.o.", _BACK, "X...X...X...X..."),
        Groove("x.o.x.o.x.oxx.o.", _BACK, "X...x...X...x..."),
        Groove("xxo.xxo.xxo.xxo.", _NO, "X...X...X...X...", {37: "....X.....x.X...", 56: "..x...x...x...x."}),
    ),
    "latin": (
        Groove(_8, "...x..x......x..", "X.....xXX.....xX", {63: "..x...xx..x...xx", 70: _16}, snare_note=37),
        Groove(_8, _NO, "x.....x.x.....x.", {75: "x..x..x...x.x...", 56: "x.x.x.x.x.x.x.x.", 64: "......xx......xx"}),
        Groove(
            _NO,
            _NO,
            "x.....x...x...x.",
            {75: "..x.x...x..x..x.", 70: _8, 64: "x.oxx.xxx.oxx.xx", 65: "X.......x......."},
        ),
        Groove("x.xxx.xxx.xxx.xx", "x..x..x...x..x..", "X..xX..xX..xX..x", snare_note=37),
        Groove(_16, "...X..X....X..X.", "X...X...X...X...", {56: "x...x...x...x..."}),
        Groove(_NO, _NO, "X.......X.......", {61: "x.oxo.xxx.oxo.xx", 60: "....x.......x...", 70: _16}),
        Groove("x.xxx.xx", "...g..X.", "X..xX..x", {54: "oxoxoxox"}, meter="2/4"),
        Groove("..x...x.", "x..xx.x.", "....X...", {54: "oxoxoxox"}, meter="2/4"),
    ),
    "afro": (
        Groove("x.xxx.xxx.xxx.xx", "......x...x..x..", "X.....X...X....x", {56: "x.x..x.x.x.x..x.", 70: _16}),
        Groove("..x...x...x...x.", "...x..x....x..x.", _FLOOR, {70: "oxoxoxoxoxoxoxox"}, snare_note=37),
        Groove(_8, "...X..X....X..X.", "X.......X.......", {63: "..xx..x...xx..x.", 69: _16}),
        Groove("x.x.xx.x.x.x", "......x...x.", "X.....X.....", {56: "x.x.xx.x.x.x", 63: "..x..x..x..x"}, meter="6/8"),
        Groove("x..x..x..x..", "....x.x...x.", "X..x..X..x..", {67: "x.xx.x.xx.x.", 64: "..xx....xx.."}, meter="6/8"),
        Groove(_NO, _NO, "X...X...X...X...", {64: "x..xx.xxx..xx.xx", 62: "..x...x...x...x.", 75: "x..x..x...x.x..."}),
    ),
    "jazz": (
        Groove(_RIDE, "..g....g..g...?.", "o...o...o...o...", {44: _BACK}),
        Groove(_RIDE, "......g.....?...", "?.........?.....", {44: _BACK}),
        Groove("x...x..xx...x..x", "...g..?....g....", "o..?....?.......", {44: _BACK}),
        Groove("x...x.x.x...x.x.", "....o.......o...", "o.......o.......", {44: _BACK}),
        Groove(_4, "..?...g.......g.", "o...o...o...o...", {44: _BACK}),
        Groove("x...x.x.x...", "......g.....", "x...........", {44: "....x...x..."}, meter="3/4"),
        Groove("x...x.x.x.x.", "..g.......g.", "x.....?.....", {44: "....x......."}, meter="3/4"),
        Groove(
            "x...x.x.x...x...x.x.", "......g...g.....?...", "x...........x.......", {44: "....x...x.......x..."}, "5/4"
        ),
    ),
    "blues": (
        Groove(_8A, _BACK, "X.......X......."),
        Groove(_8A, _BACK, "X.....x.X.....x."),
        Groove(_RIDE, _BACK, "X.......X.x....."),
        Groove(_8, "....X..g.g..X..g", "X.....x.X......."),
        Groove("X.o.o.X.o.o.X.o.o.X.o.o.", "......X...........X.....", "X...........X...x.......", meter="12/8"),
        Groove("X.o.o.X.o.o.X.o.o.X.o.o.", "......X....g......X....g", "X.........x.X.......x...", meter="12/8"),
    ),
    "country": (
        Groove("x.x.x.x.x.x.x.x.", _BACK, "X.......X......."),
        Groove(_NO, "ooXoooXoooXoooXo", "X...X...X...X..."),
        Groove(_OFF, "..x...x...x...x.", "X...X...X...X...", snare_note=37),
        Groove("ooXoooXoooXoooXo", _BACK, "X.......X.......", snare_note=37),
        Groove(_8A, _BACK, "X.....x.X.......", {54: _BACK}),
        Groove("x.x.x.x.x.x.", "....x...x...", "X...........", meter="3/4", snare_note=37),
        Groove("x.xxx.xx", "..X...X.", "X...X...", meter="2/4"),
    ),
    "ballad": (
        Groove(_8, _BACK, "X.......X.......", snare_note=37),
        Groove(_8, _BACK, "X......xX......."),
        Groove(_16, _BACK, "X.......X.x....."),
        Groove(_8, _BACK, "X.......x.x....."),
        Groove("x.x.x.x.x.x.", "......X.....", "X.........?.", meter="6/8"),
        Groove("x.x.x.x.x.x.", "......X.....", "X...........", meter="6/8", snare_note=37),
        Groove("x.x.x.x.x.x.X.x.x.x.x.x.", "......X...........X.....", "X.........x.X...........", meter="12/8"),
        Groove("x.x.x.x.x.x.", "........x...", "X...........", meter="3/4", snare_note=37),
    ),
}
