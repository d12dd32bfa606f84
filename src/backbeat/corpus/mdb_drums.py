"""MDB Drums: drum performances annotated with 6 classes and 21 playing techniques.

Southall, Wu, Lerch and Hockman, "MDB Drums: An annotated subset of MedleyDB for automatic drum transcription",
ISMIR 2017 late-breaking; table 1 lists the classes and techniques. The folder, as distributed here::

    drum_only/TRACK.flac   the drums alone
    full_mix/TRACK.flac    optional: the same performance in its song
    class/TRACK.txt        "time class": KD SD HH TT CY OT
    subclass/TRACK.txt     "time technique": the 21 codes of `SUBCLASSES`
    beats/TRACK.txt        optional: "time position"

The file names of the original archive (`MusicDelta_Rock_Drum.wav`, `MusicDelta_Rock_subclass.txt`) are read as well.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from backbeat.corpus.annotated import AnnotatedTrack
from backbeat.corpus.contract import event_lines, read_beats
from backbeat.errors import AnnotationError, CorpusError
from backbeat.music import NOTE, Onsets

#: Playing techniques to the ten drums. Brushes, drags, flams, ghost notes, rolls and strokes without snares are the
#: snare; so is its side stick, as in General MIDI. Splash and Chinese cymbals count as crashes, as General MIDI's do.
#: Of the four toms (high, mid-high, high floor, low floor) both floor toms are low. Percussion that is none of the ten
#: is a note.
SUBCLASSES: dict[str, str] = {
    "KD": "kick",
    "SD": "snare",
    "SDB": "snare",
    "SDD": "snare",
    "SDF": "snare",
    "SDG": "snare",
    "SDNS": "snare",
    "SST": "snare",
    "CHH": "hihat_closed",
    "OHH": "hihat_open",
    "PHH": "hihat_pedal",
    "HIT": "tom_high",
    "MHT": "tom_mid",
    "HFT": "tom_low",
    "LFT": "tom_low",
    "RDC": "ride",
    "RDB": "ride",
    "CRC": "crash",
    "CHC": "crash",
    "SPC": "crash",
    "TMB": NOTE,
}

#: Licence of the annotations and audio, for every row.
LICENCE = "CC-BY-NC-SA-4.0"

_SUFFIXES = (".flac", ".wav")
_TAIL = re.compile(r"_(drum|mix|full_mix|subclass|class|beats)$", re.IGNORECASE)


def is_mdb_drums(folder: Path) -> bool:
    """Whether `folder` has the layout."""
    return (folder / "drum_only").is_dir() and (folder / "subclass").is_dir()


def _by_name(folder: Path, *suffixes: str) -> dict[str, Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {_TAIL.sub("", path.stem): path for path in paths if path.suffix.lower() in suffixes}


def read_subclass(path: Path) -> Onsets:
    """Read one file of techniques as onsets of the ten drums; strikes of one drum at one moment are one.

    Raises
    ------
    AnnotationError
        Naming file and line: no number, no code, an unknown code, or times that decrease.
    """
    events: dict[tuple[float, str], int] = {}
    before_s = 0.0
    for line, words in event_lines(path):
        try:
            time_s = float(words[0])
        except ValueError:
            raise AnnotationError(f"{words[0]!r} is not a number", path, line) from None
        if len(words) < 2 or words[1].upper() not in SUBCLASSES:
            named = repr(words[1]) if len(words) > 1 else "nothing"
            raise AnnotationError(f"{named} is not a technique of MDB Drums", path, line)
        if not time_s >= before_s:
            raise AnnotationError(f"onset times decrease: {time_s:g} s follows {before_s:g} s", path, line)
        before_s = time_s
        events.setdefault((time_s, SUBCLASSES[words[1].upper()]), line)
    return Onsets(np.array([time_s for time_s, _ in events]), [name for _, name in events])


def read_mdb_drums(folder: Path, *, mix: bool = False) -> list[AnnotatedTrack]:
    """Read the tracks of `folder` in place: the drums alone, or with `mix` those that have their full mix.

    The source of a track is its song, so that both of its recordings stay in one split.

    Raises
    ------
    CorpusError
        If the folder has not the layout, or audio has no annotation.
    AnnotationError
        If an annotation cannot be true, naming file and line.
    """
    if not is_mdb_drums(folder):
        raise CorpusError(f"{folder}: not MDB Drums, it has no drum_only/ and subclass/")
    audio = _by_name(folder / ("full_mix" if mix else "drum_only"), *_SUFFIXES)
    techniques = _by_name(folder / "subclass", ".txt")
    beats = _by_name(folder / "beats", ".txt", ".beats")
    tracks: list[AnnotatedTrack] = []
    for name, path in audio.items():
        if name not in techniques:
            raise CorpusError(f"{path}: has no annotation in {folder / 'subclass'}")
        tracks.append(
            AnnotatedTrack(
                id=f"{name}-mix" if mix else name,
                audio_path=path,
                beats=read_beats(beats[name]) if name in beats else None,
                onsets=read_subclass(techniques[name]),
                source=name,
                licence=LICENCE,
            )
        )
    return tracks
