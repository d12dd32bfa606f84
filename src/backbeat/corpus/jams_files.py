"""JAMS files as annotations: beats, onsets, tempo, key and genre.

Humphrey, Salamon, Nieto, Forsyth, Bittner and Bello, "JAMS: A JSON Annotated Music Specification for Reproducible MIR
Research", ISMIR 2014; the namespaces are those of the jams package.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backbeat.errors import AnnotationError
from backbeat.music import Beats, Key, Onsets, TimeSignature, parse_tempo_bpm

#: Namespaces whose value is a genre; the first that a file has is used.
GENRE_NAMESPACES = ("tag_gtzan", "tag_msd_tagtraum_cd1", "tag_msd_tagtraum_cd2", "tag_fma_genre", "tag_fma_subgenre")

_MODES = {"major": "major", "ionian": "major", "minor": "minor", "aeolian": "minor", "": "major"}


@dataclass(frozen=True, eq=False)
class JamsContents:
    """What one JAMS file says; None or empty where it says nothing."""

    beats: Beats | None = None
    onsets: Onsets | None = None
    genre: str = ""
    tempo_bpm: float | None = None
    time_signature: TimeSignature | None = None
    key: Key | None = None


def read_jams(path: Path) -> JamsContents:
    """Read a JAMS file: namespaces beat, beat_position, onset, tempo, key_mode and genre tags.

    Where there are several annotations of a kind, the first is used; of several tempi or keys, the one with the most
    confidence, then the longest. A key in a mode other than major and minor is left out.

    Raises
    ------
    AnnotationError
        If the file is not JAMS or what it says cannot be true; the message names the file and the namespace.
    """
    # Its schema validator is slow to import.
    import jams

    try:
        with warnings.catch_warnings():
            # The jams package calls its schema validator in a way that the validator no longer likes.
            warnings.simplefilter("ignore", DeprecationWarning)
            document = jams.load(str(path), validate=True, strict=True, fmt="jams")
    except (jams.JamsError, json.JSONDecodeError, UnicodeDecodeError, OSError, TypeError, KeyError) as error:
        cause = str(error).strip().splitlines()
        raise AnnotationError(f"is not a JAMS file: {cause[0] if cause else type(error).__name__}", path) from None
    try:
        beats, time_signature = _beats(document)
        return JamsContents(
            beats=beats,
            onsets=_onsets(document),
            genre=_genre(document),
            tempo_bpm=_tempo_bpm(document),
            time_signature=time_signature,
            key=_key(document),
        )
    except AnnotationError as error:
        raise AnnotationError(error.problem, path) from None


def _observations(document: Any, namespace: str) -> list[Any] | None:
    """Return the observations of the first annotation in `namespace`, by time; None without one."""
    found = document.search(namespace=f"^{namespace}$")
    return sorted(found[0].data, key=lambda one: float(one.time)) if found else None


def _beats(document: Any) -> tuple[Beats | None, TimeSignature | None]:
    placed = _observations(document, "beat_position")
    if placed is not None:
        positions = [_whole(one.value["position"], "beat_position") for one in placed]
        time_signature = None
        if placed:
            first = placed[0].value
            time_signature = TimeSignature(int(first["num_beats"]), int(first["beat_units"]))
        return Beats(np.array([float(one.time) for one in placed]), np.array(positions, dtype=np.int64)), time_signature
    plain = _observations(document, "beat")
    if plain is None:
        return None, None
    known = [one.value is not None and not np.isnan(float(one.value)) for one in plain]
    positions = [_whole(one.value, "beat") for one in plain] if known and all(known) else []
    times_s = np.array([float(one.time) for one in plain])
    return Beats(times_s, np.array(positions, dtype=np.int64) if positions else None), None


def _whole(value: Any, namespace: str) -> int:
    if float(value) != int(value):
        raise AnnotationError(f"position {value} in namespace {namespace} is not a whole number")
    return int(value)


def _onsets(document: Any) -> Onsets | None:
    found = _observations(document, "onset")
    return None if found is None else Onsets(np.array([float(one.time) for one in found]))


def _genre(document: Any) -> str:
    for namespace in GENRE_NAMESPACES:
        found = _observations(document, namespace)
        if found:
            return str(found[0].value)
    return ""


def _best(found: list[Any]) -> list[Any]:
    return sorted(found, key=lambda one: (-float(one.confidence or 0), -float(one.duration or 0), float(one.time)))


def _tempo_bpm(document: Any) -> float | None:
    found = _observations(document, "tempo")
    return parse_tempo_bpm(str(_best(found)[0].value)) if found else None


def _key(document: Any) -> Key | None:
    for one in _best(_observations(document, "key_mode") or []):
        return parse_harte_key(str(one.value))
    return None


def parse_harte_key(text: str) -> Key | None:
    """Read "Eb:minor" or "Eb" as mirdata and JAMS write keys; None for no key and for modes that are neither."""
    tonic, _, mode = text.strip().partition(":")
    if tonic in ("", "N", "Silence") or mode not in _MODES:
        return None
    return Key(tonic, _MODES[mode])
