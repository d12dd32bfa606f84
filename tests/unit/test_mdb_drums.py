"""MDB Drums: the layout, the techniques, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from backbeat.corpus.mdb_drums import SUBCLASSES, is_mdb_drums, read_mdb_drums, read_subclass
from backbeat.errors import AnnotationError, CorpusError
from backbeat.music import ONSET_CLASSES

SHARED_DRUMS = Path(__file__).parents[3] / "shared" / "data" / "real" / "drums"

#: Techniques of each of the data set's own classes (its paper, table 1), and the drums they may become here.
CLASSES = {
    "KD": ({"KD"}, {"kick"}),
    "SD": ({"SD", "SDB", "SDD", "SDF", "SDG", "SDNS"}, {"snare"}),
    "HH": ({"CHH", "OHH", "PHH"}, {"hihat_closed", "hihat_open", "hihat_pedal"}),
    "TT": ({"HIT", "MHT", "HFT", "LFT"}, {"tom_high", "tom_mid", "tom_low"}),
    "CY": ({"RDC", "RDB", "CRC", "CHC", "SPC"}, {"ride", "crash"}),
    "OT": ({"SST", "TMB"}, {"snare", "note"}),
}


def layout(root: Path, *, archive: bool = False) -> Path:
    """Make a small copy of the layout, with the file names used here or those of the original archive."""
    names = {"drum_only": "{}.wav", "full_mix": "{}.wav", "subclass": "{}.txt", "beats": "{}.txt"}
    if archive:
        names = {
            "drum_only": "{}_Drum.wav",
            "full_mix": "{}_MIX.wav",
            "subclass": "{}_subclass.txt",
            "beats": "{}_beats.txt",
        }
    for folder in names:
        (root / folder).mkdir(parents=True)
    for track in ("MusicDelta_Punk", "MusicDelta_Rock"):
        soundfile.write(root / "drum_only" / names["drum_only"].format(track), np.full(800, 0.1), 8000)
        text = "0.011610 \t LFT \n0.02 \t KD \n0.02 \t SD \n0.02 \t SDG \n0.05 \t TMB \n"
        (root / "subclass" / names["subclass"].format(track)).write_text(text)
        (root / "beats" / names["beats"].format(track)).write_text("0.010 \t1\n0.050 \t2\n")
    soundfile.write(root / "full_mix" / names["full_mix"].format("MusicDelta_Rock"), np.full(800, 0.1), 8000)
    return root


def test_every_technique_becomes_a_drum_of_its_own_kind() -> None:
    assert len(SUBCLASSES) == 21
    assert set(SUBCLASSES) == set().union(*(codes for codes, _ in CLASSES.values()))
    for codes, drums in CLASSES.values():
        assert {SUBCLASSES[code] for code in codes} == drums
    assert set(SUBCLASSES.values()) == set(ONSET_CLASSES)


@pytest.mark.parametrize("archive", [False, True])
def test_tracks_are_read_in_place(tmp_path: Path, archive: bool) -> None:
    root = layout(tmp_path / "mdb", archive=archive)
    assert is_mdb_drums(root)
    tracks = read_mdb_drums(root)
    assert [track.id for track in tracks] == ["MusicDelta_Punk", "MusicDelta_Rock"]
    (mix,) = read_mdb_drums(root, mix=True)
    assert (mix.id, mix.source) == ("MusicDelta_Rock-mix", "MusicDelta_Rock")
    assert mix.audio_path.parent.name == "full_mix"
    onsets = tracks[0].onsets
    assert onsets is not None
    # The ghost note at the moment of a stroke is the same snare.
    assert list(zip(onsets.times_s.tolist(), onsets.classes, strict=True)) == [
        (0.01161, "tom_low"),
        (0.02, "kick"),
        (0.02, "snare"),
        (0.05, "note"),
    ]
    beats = tracks[0].beats
    assert beats is not None
    assert beats.downbeats_s.tolist() == [0.01]
    assert {track.licence for track in tracks} == {"CC-BY-NC-SA-4.0"}


def test_beats_may_be_absent(tmp_path: Path) -> None:
    root = layout(tmp_path)
    for path in (root / "beats").iterdir():
        path.unlink()
    assert all(track.beats is None for track in read_mdb_drums(root))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("0.1 KD\n0.2 XX\n", 2, "'XX' is not a technique of MDB Drums"),
        ("0.1 KD\n0.2\n", 2, "nothing is not a technique"),
        ("0.1 KD\n\nx KD\n", 3, "'x' is not a number"),
        ("0.1 KD\nnan KD\n", 2, "onset times decrease"),
        ("0.2 KD\n0.1 KD\n", 2, "onset times decrease: 0.1 s follows 0.2 s"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_subclass(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert problem in caught.value.problem


def test_other_folders_and_audio_without_annotation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not MDB Drums"):
        read_mdb_drums(tmp_path)
    root = layout(tmp_path / "mdb")
    (root / "subclass" / "MusicDelta_Rock.txt").unlink()
    with pytest.raises(CorpusError, match=r"MusicDelta_Rock\.wav: has no annotation"):
        read_mdb_drums(root)


@pytest.mark.skipif(not SHARED_DRUMS.is_dir(), reason="the shared MDB Drums tracks are not here")
def test_the_shared_tracks_agree_with_their_own_classes() -> None:
    allowed = {code: drums for code, (_, drums) in CLASSES.items()}
    checked = 0
    for track in read_mdb_drums(SHARED_DRUMS):
        assert track.onsets is not None
        heard = set(zip(track.onsets.times_s.tolist(), track.onsets.classes, strict=True))
        for line in (SHARED_DRUMS / "class" / f"{track.id}.txt").read_text().splitlines():
            time, code = line.split()
            assert any((float(time), drum) in heard for drum in allowed[code]), (track.id, line)
            checked += 1
    assert checked == 941
