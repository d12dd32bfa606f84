"""Text that a line of a chart can hold: one line, of characters that cp932 has, without what means something there.

Engines open a chart as Shift-JIS in Microsoft's form (code page 932), take `;` as the start of a comment, and end a
value at the end of its line.
"""

from __future__ import annotations

import re
import unicodedata

from backbeat.errors import ConfigError

#: Characters of a value: engines show some dozens.
LONGEST_TEXT = 200
#: In place of what cannot be written.
MISSING = "?"

#: What cp932 has not, and Unicode does not decompose, as typists write it.
_SPELT = {
    "¥": "￥",
    "‾": "￣",
    "—": "―",
    "–": "-",
    "‐": "-",
    "‑": "-",
    "•": "・",
    "€": "EUR",
    "©": "(C)",
    "®": "(R)",
    "«": "≪",
    "»": "≫",
    "ß": "ss",
    "Æ": "AE",
    "æ": "ae",
    "Œ": "OE",
    "œ": "oe",
    "Ø": "O",
    "ø": "o",
    "Ł": "L",
    "ł": "l",
    "Đ": "D",
    "đ": "d",
    "ı": "i",
    "Þ": "Th",
    "þ": "th",
    "ð": "d",
}


def plain_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return text as one line of at most `longest` characters, in Unicode's composed form.

    Line ends, tabs and other controls become spaces, runs of spaces one, and those at the ends go. Characters that
    only steer (joiners, marks of direction) and lone surrogates go. What is too long ends in an ellipsis.
    """
    # Composing takes the square of the length of a run of accents: nobody needs more than the first thousands.
    composed = unicodedata.normalize("NFC", text[: 20 * longest])
    kept = "".join(_steered(character) for character in composed)
    line = re.sub(" +", " ", kept).strip(" \u3000")
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def cp932_text(text: str, default: str | None = None, longest: int = LONGEST_TEXT) -> str:
    """Return text that a value of a chart can hold, cp932 throughout.

    As `plain_text`. `;` takes its wide form; a character that cp932 has not is written by its like (a wide yen sign),
    without its accent, or spelt out, and as `MISSING` where none of these can be (emoji, Hangul, Arabic, …).

    Parameters
    ----------
    text
        As a user gave it.
    default
        What to write when nothing of it can be written.
    longest
        Characters.

    Raises
    ------
    ConfigError
        If nothing of it can be written, and there is no default.
    """
    plain = plain_text(text, longest)
    pieces = [(character, _written(character)) for character in plain]
    if not any(piece.strip() and (piece != MISSING or character == MISSING) for character, piece in pieces):
        if default is None:
            raise ConfigError(f"{plain[:40]!r}: nothing of it can be written in a chart (cp932): give another text")
        return default
    return plain_text("".join(piece for _, piece in pieces).replace(";", "；"), longest)


def _steered(character: str) -> str:
    """Return a space for controls, nothing for what only steers, and any other character itself."""
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp") or (category == "Zs" and character != "\u3000"):
        return " "
    return "" if category in ("Cf", "Cs") or character in "\ufe0e\ufe0f" else character


def _written(character: str) -> str:
    """Return how cp932 writes a character; an accent that no letter takes is left out."""
    like = _SPELT.get(character) or _in_cp932(character)
    if like is None and unicodedata.combining(character):
        like = ""
    if like is None:
        parts = unicodedata.normalize("NFKD", character)
        bare = [_in_cp932(part) for part in parts if not unicodedata.combining(part)]
        like = "".join(part for part in bare if part) if bare and None not in bare else None
    return MISSING if like is None else like


def _in_cp932(character: str) -> str | None:
    """Return what comes back when a character is written in cp932: itself, or its twin there; None if it cannot be."""
    if unicodedata.category(character) == "Co":
        return None
    try:
        return character.encode("cp932").decode("cp932")
    except UnicodeError:
        return None
