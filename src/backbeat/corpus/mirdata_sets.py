"""What mirdata's loaders say of a track, in the vocabulary of this project, for each data set that is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from backbeat.corpus.annotated import AnnotatedTrack
from backbeat.corpus.folder import slug
from backbeat.corpus.jams_files import parse_harte_key
from backbeat.errors import AnnotationError
from backbeat.music import GENERAL_MIDI_DRUMS, NOTE, Beats, Key, Onsets, TimeSignature, parse_tempo_bpm


@dataclass(frozen=True)
class DataSet:
    """What is known here of a data set beyond what mirdata says.

    `convert` adds to a track what only this data set has; `layout` is the folder that serves as index; `by_hand` says
    what cannot be downloaded.
    """

    licence: str
    convert: Callable[[Any, AnnotatedTrack], AnnotatedTrack]
    layout: str = ""
    by_hand: str = ""


def _gtzan(track: Any, known: AnnotatedTrack) -> AnnotatedTrack:
    # The data set's own name of the class: mirdata writes "hip-hop" for "hiphop".
    return replace(known, genre=str(track.track_id).partition(".")[0])


def _ballroom(track: Any, known: AnnotatedTrack) -> AnnotatedTrack:
    # "Albums-Cafe_Paradiso-05": pieces of one album are of one orchestra.
    album = known.audio_path.stem.rpartition("-")[0] if known.audio_path.stem.startswith("Albums-") else ""
    return replace(known, genre=str(track.genre), source=f"ballroom-{album}" if album else "")


def _beatles(track: Any, known: AnnotatedTrack) -> AnnotatedTrack:
    return replace(known, key=_main_key(track.key))


def _plain(track: Any, known: AnnotatedTrack) -> AnnotatedTrack:
    return known


def _groove_midi(track: Any, known: AnnotatedTrack) -> AnnotatedTrack:
    # The data set's own split divides performers between train and test; here they are the source.
    return replace(
        known,
        genre=str(track.style).partition("/")[0],
        tempo_bpm=parse_tempo_bpm(str(track.tempo)),
        time_signature=TimeSignature.parse(track.time_signature),
        onsets=_strokes(track.midi),
        source=f"groove-{track.drummer}",
    )


_NC = "CC-BY-NC-SA-4.0"
DATA_SETS: dict[str, DataSet] = {
    "ballroom": DataSet(_NC, _ballroom),
    "beatles": DataSet(
        "annotations: none stated; audio: copyrighted", _beatles, by_hand="the audio, from one's own records, in audio/"
    ),
    "groove_midi": DataSet("CC-BY-4.0", _groove_midi),
    "gtzan_genre": DataSet("none stated", _gtzan),
    "hainsworth": DataSet(
        _NC, _plain, "H_1.0", "audio/, annotations/beats/ and annotations/tempo/ in H_1.0/, from the data set's author"
    ),
    "simac": DataSet(
        _NC, _plain, "S_1.0", "audio/, annotations/beats/ and annotations/tempo/ in S_1.0/, from the data set's authors"
    ),
}

#: The data sets that can be imported by name.
NAMES: tuple[str, ...] = tuple(DATA_SETS)


def convert(spec: DataSet, track_id: str, track: Any) -> AnnotatedTrack:
    """Convert one of mirdata's tracks; AnnotationError, ValueError, TypeError... as its loaders raise them."""
    tempo_path = getattr(track, "tempo_path", None)
    known = AnnotatedTrack(
        id=slug(track_id.replace("/", "-")),
        audio_path=Path(track.audio_path),
        beats=_beats(track.beats),
        tempo_bpm=_tempo_bpm(Path(tempo_path)) if tempo_path else None,
        licence=spec.licence,
    )
    return spec.convert(track, known)


def _beats(data: Any) -> Beats | None:
    """Convert mirdata's beats; positions are left out when some beats lie outside any bar (position 0)."""
    if data is None:
        return None
    positions = None if data.positions is None else np.asarray(data.positions, dtype=np.float64)
    if positions is not None and (np.any(positions < 1) or np.any(positions != np.floor(positions))):
        positions = None
    return Beats(np.asarray(data.times, dtype=np.float64), None if positions is None else positions.astype(np.int64))


def _tempo_bpm(path: Path) -> float | None:
    """Read the first number of a tempo file; None where it says that there is no tempo (0 or less)."""
    # mirdata's own loader of GTZAN's tempi uses a conversion that NumPy no longer wants.
    words = path.read_text(encoding="utf-8").replace(",", " ").split()
    if not words:
        raise AnnotationError("holds no tempo", path, 1)
    try:
        return parse_tempo_bpm(words[0]) if float(words[0]) > 0 else None
    except ValueError:
        raise AnnotationError(f"{words[0]!r} is not a tempo", path, 1) from None


def _main_key(data: Any) -> Key | None:
    """Return the key that most of the track is in; None when that is neither major nor minor."""
    if data is None:
        return None
    seconds: dict[str, float] = {}
    for (start_s, end_s), key in zip(data.intervals, data.keys, strict=True):
        seconds[key] = seconds.get(key, 0.0) + float(end_s - start_s)
    return parse_harte_key(max(seconds, key=lambda key: seconds[key])) if seconds else None


def _strokes(midi: Any) -> Onsets:
    """Convert the notes of a drum kit's MIDI file; strokes of one drum at one moment are one, the loudest."""
    loudest: dict[tuple[float, str], int] = {}
    for instrument in midi.instruments:
        for note in instrument.notes:
            moment = (round(float(note.start), 6), GENERAL_MIDI_DRUMS.get(note.pitch, NOTE))
            loudest[moment] = max(loudest.get(moment, 1), note.velocity)
    ordered = sorted(loudest)
    velocities = np.array([loudest[moment] / 127 for moment in ordered])
    return Onsets(np.array([time_s for time_s, _ in ordered]), [drum for _, drum in ordered], velocities)
