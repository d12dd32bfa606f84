"""The user's own audio: what is found beside it, how it is divided, what is refused; and reading sets in place."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import jams
import numpy as np
import pytest
import soundfile

from backbeat.corpus.annotated import AnnotatedTrack, annotated_tracks, store
from backbeat.corpus.contract import Corpus, Track, write_annotations
from backbeat.corpus.event_text import read_beat_text, read_onset_text
from backbeat.corpus.folder import import_folder, scan_folder, track_ids
from backbeat.corpus.jams_files import parse_harte_key, read_jams
from backbeat.corpus.sources import evaluation_sets
from backbeat.corpus.splits import Shares, assign_splits
from backbeat.corpus.validate import validate
from backbeat.errors import AnnotationError, ConfigError, CorpusError
from backbeat.files import sha256_file
from backbeat.music import Beats, Key, TimeSignature

SHARED_REAL = Path(__file__).parents[3] / "shared" / "data" / "real"


def audio(path: Path) -> Path:
    """Write a tenth of a second of sound that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(path.name).encode()))
    soundfile.write(path, rng.normal(0, 0.1, 800), 8000)
    return path


def write_jams(path: Path, **namespaces: list[tuple[float, float, object, float | None]]) -> None:
    document = jams.JAMS()
    document.file_metadata.duration = 10.0
    for namespace, observations in namespaces.items():
        annotation = jams.Annotation(namespace=namespace, time=0, duration=10.0)
        for time_s, duration_s, value, confidence in observations:
            annotation.append(time=time_s, duration=duration_s, value=value, confidence=confidence)
        document.annotations.append(annotation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        document.save(str(path))


def by_id(corpus: Corpus) -> dict[str, Track]:
    return {track.id: track for track in corpus.tracks}


# --- where things are found ---


def test_a_genre_tree_becomes_a_valid_corpus(tmp_path: Path) -> None:
    for genre in ("funk", "jazz"):
        for number in range(10):
            audio(tmp_path / "in" / genre / f"{genre}{number}.wav")
    corpus = import_folder(tmp_path / "in", tmp_path / "out")
    assert validate(corpus).problems == ()
    counts = Counter((track.genre, track.split) for track in corpus.tracks)
    assert counts == {
        (genre, split): number
        for genre in ("funk", "jazz")
        for split, number in (("train", 7), ("valid", 1), ("test", 2))
    }
    assert corpus.beats(corpus.tracks[0]) is None


def test_audio_is_linked_and_never_changed(tmp_path: Path) -> None:
    original = audio(tmp_path / "in" / "a.wav")
    before = (original.read_bytes(), original.stat().st_mtime_ns, original.stat().st_mode)
    linked = import_folder(tmp_path / "in", tmp_path / "linked")
    copied = import_folder(tmp_path / "in", tmp_path / "copied", copy="copy")
    assert linked.audio_path(linked.tracks[0]).samefile(original)
    assert not copied.audio_path(copied.tracks[0]).samefile(original)
    assert (original.read_bytes(), original.stat().st_mtime_ns, original.stat().st_mode) == before
    assert linked.tracks[0].sha256 == copied.tracks[0].sha256 == sha256_file(original)


def test_a_link_that_is_not_possible_becomes_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    original = audio(tmp_path / "in" / "a.wav")
    monkeypatch.setattr("os.link", refuse)
    corpus = import_folder(tmp_path / "in", tmp_path / "out")
    assert corpus.audio_path(corpus.tracks[0]).read_bytes() == original.read_bytes()


def test_the_same_folder_gives_the_same_table_and_another_seed_another(tmp_path: Path) -> None:
    for number in range(30):
        audio(tmp_path / "in" / f"{number}.wav")
    tables = [
        (import_folder(tmp_path / "in", tmp_path / f"out{run}", seed=seed).root / "annotations.csv").read_text()
        for run, seed in enumerate((1, 1, 2))
    ]
    assert tables[0] == tables[1] != tables[2]


def test_event_files_beside_flat_audio_are_taken(tmp_path: Path) -> None:
    path = audio(tmp_path / "in" / "song.one.wav")
    path.with_name("song.one.beats").write_text("0.01 1\n0.05 2\n")
    path.with_name("song.one.onsets").write_text("0.01 kick 0.5\n")
    other = audio(tmp_path / "in" / "other.wav")
    other.with_suffix(".txt").write_text("This recording is under CC BY 4.0.\n")
    corpus = import_folder(tmp_path / "in", tmp_path / "out", licence="CC-BY-4.0")
    track = by_id(corpus)["song.one"]
    beats, onsets = corpus.beats(track), corpus.onsets(track)
    assert beats is not None
    assert beats.positions is not None
    assert (beats.times_s.tolist(), beats.positions.tolist()) == ([0.01, 0.05], [1, 2])
    assert onsets is not None
    assert (onsets.classes, onsets.velocities.tolist()) == (("kick",), [0.5])
    assert corpus.beats(by_id(corpus)["other"]) is None
    assert {track.licence for track in corpus.tracks} == {"CC-BY-4.0"}
    assert {track.genre for track in corpus.tracks} == {""}


def test_plain_tables_beside_audio_are_taken_for_what_they_are(tmp_path: Path) -> None:
    audio(tmp_path / "a.wav").with_suffix(".csv").write_text("time,beat\n0.1,1\n0.2,2\n")
    audio(tmp_path / "b.wav").with_suffix(".txt").write_text("0.1\tKD\n0.2\tSD\n")
    audio(tmp_path / "c.wav").with_suffix(".txt").write_text("0.1 36\n0.2 38\n")
    audio(tmp_path / "d.wav").with_suffix(".csv").write_text("artist,title\nMe,Song\n")
    a, b, c, d = scan_folder(tmp_path)
    assert a.beats is not None
    assert a.onsets is None
    assert b.onsets is not None
    assert c.onsets is not None
    assert b.onsets.classes == c.onsets.classes == ("kick", "snare")
    assert not d.is_annotated


def test_jams_beside_the_audio_are_taken_and_event_files_come_first(tmp_path: Path) -> None:
    path = audio(tmp_path / "in" / "folder_genre" / "x.wav")
    write_jams(
        path.with_suffix(".jams"),
        beat=[(0.5, 0, 2, None), (1.0, 0, 3, None)],
        onset=[(0.25, 0, None, None)],
        tag_gtzan=[(0, 10, "reggae", 1)],
        tempo=[(0, 10, 60.0, 0.2), (0, 10, 120.0, 0.8)],
        key_mode=[(0, 10, "Eb:minor", None)],
    )
    (track,) = scan_folder(tmp_path / "in")
    assert (track.genre, track.tempo_bpm, track.key) == ("reggae", 120.0, Key("Eb", "minor"))
    assert track.beats is not None
    assert track.beats.positions is not None
    assert track.beats.positions.tolist() == [2, 3]
    assert track.onsets is not None
    assert track.onsets.times_s.tolist() == [0.25]
    path.with_suffix(".beats").write_text("0.75\n")
    (track,) = scan_folder(tmp_path / "in")
    assert track.beats is not None
    assert track.beats.times_s.tolist() == [0.75]


def test_jams_beat_positions_give_the_time_signature(tmp_path: Path) -> None:
    def place(position: int) -> dict[str, int]:
        return {"position": position, "measure": 1, "num_beats": 3, "beat_units": 4}

    write_jams(tmp_path / "x.jams", beat_position=[(0.5, 0, place(3), None), (1.0, 0, place(1), None)])
    contents = read_jams(tmp_path / "x.jams")
    assert contents.time_signature == TimeSignature(3, 4)
    assert contents.beats is not None
    assert contents.beats.downbeats_s.tolist() == [1.0]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{", '{"annotations": [{"namespace": "beat", "data": 3}]}'])
def test_what_is_not_jams_is_refused(tmp_path: Path, text: str) -> None:
    audio(tmp_path / "x.wav").with_suffix(".jams").write_text(text)
    with pytest.raises(AnnotationError, match=r"x\.jams: ") as caught:
        scan_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_jams_with_impossible_beats_are_refused(tmp_path: Path) -> None:
    write_jams(tmp_path / "x.jams", beat=[(0.5, 0, 1, None), (0.5, 0, 2, None)])
    with pytest.raises(AnnotationError, match=r"x\.jams: beat times do not increase"):
        read_jams(tmp_path / "x.jams")


@pytest.mark.parametrize(
    ("text", "key"),
    [("C", Key("C", "major")), ("G#:minor", Key("Ab", "minor")), ("D:dorian", None), ("N", None), ("", None)],
)
def test_keys_as_jams_write_them(text: str, key: Key | None) -> None:
    assert parse_harte_key(text) == key


def test_a_corpus_is_taken_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "in"
    audio(source / "any" / "a.wav").with_suffix(".beats").write_text("0.01\t2\n")
    audio(source / "b.wav")
    audio(source / "stems" / "a" / "drums.wav")
    write_annotations(source, [Track("a", "any/a.wav", "test", "funk", 99.5), Track("b", "b.wav", "test", source="s")])
    before = (source / "annotations.csv").read_bytes()
    corpus = import_folder(source, tmp_path / "out")
    tracks = by_id(corpus)
    assert [(t.path, t.split, t.source) for t in corpus.tracks] == [("any/a.wav", "test", ""), ("b.wav", "test", "s")]
    assert tracks["a"].sha256 == sha256_file(source / "any/a.wav")
    assert (corpus.root / "stems/a/drums.wav").is_file()
    assert (corpus.root / "any/a.beats").read_text() == "0.01\t2\n"
    assert (source / "annotations.csv").read_bytes() == before


def test_a_corpus_without_a_split_column_is_divided(tmp_path: Path) -> None:
    rows = [f"t{number},{audio(tmp_path / 'in' / f't{number}.wav').name}" for number in range(10)]
    (tmp_path / "in" / "annotations.csv").write_text("id,path\n" + "\n".join(rows) + "\n")
    corpus = import_folder(tmp_path / "in", tmp_path / "out")
    assert Counter(track.split for track in corpus.tracks) == {"train": 7, "valid": 1, "test": 2}


# --- what is refused ---


def test_empty_folders_and_folders_without_audio_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere: is not a folder"):
        import_folder(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    with pytest.raises(CorpusError, match="in: is empty"):
        import_folder(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    with pytest.raises(CorpusError, match="in: holds no audio"):
        import_folder(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["b.beats", "b.onsets", "b.jams", "b.beats.txt"])
def test_an_annotation_without_audio_is_refused(tmp_path: Path, name: str) -> None:
    audio(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / name).write_text("0.1\n")
    with pytest.raises(CorpusError, match=f"{name}: has no audio of the same name"):
        import_folder(tmp_path / "in", tmp_path / "out")


def test_a_wrong_annotation_leaves_what_was_there(tmp_path: Path) -> None:
    path = audio(tmp_path / "in" / "a.wav")
    import_folder(tmp_path / "in", tmp_path / "out")
    before = (tmp_path / "out" / "annotations.csv").read_bytes()
    path.with_suffix(".beats").write_text("0.01\n0.02\noops\n")
    with pytest.raises(AnnotationError) as caught:
        import_folder(tmp_path / "in", tmp_path / "out")
    assert (caught.value.path, caught.value.line) == (str(path.with_suffix(".beats")), 3)
    assert (tmp_path / "out" / "annotations.csv").read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in", "out"]


def test_a_row_without_audio_is_refused(tmp_path: Path) -> None:
    write_annotations(tmp_path / "in", [Track("a", "a.wav")])
    with pytest.raises(CorpusError, match=r"a\.wav: track a has no audio there"):
        import_folder(tmp_path / "in", tmp_path / "out")


def test_the_corpus_cannot_be_its_own_source_but_may_lie_within(tmp_path: Path) -> None:
    audio(tmp_path / "a.wav")
    with pytest.raises(CorpusError, match="cannot be made in the folder"):
        import_folder(tmp_path, tmp_path)
    for _ in range(2):
        corpus = import_folder(tmp_path, tmp_path / "corpus")
        assert [track.id for track in corpus.tracks] == ["a"]


def test_a_wrong_pattern_and_wrong_shares_are_refused(tmp_path: Path) -> None:
    audio(tmp_path / "a.wav")
    with pytest.raises(ConfigError, match="is not a pattern"):
        scan_folder(tmp_path, group_pattern="(")
    for shares in ((0.5, 0.5, 0.5), (0, 0.5, 0.5), (1.2, -0.2, 0)):
        with pytest.raises(ConfigError, match="must add up to 1"):
            Shares(*shares)


# --- names and splits ---


def test_files_of_the_same_name_get_different_ids() -> None:
    paths = ["a/Song 1.wav", "b/song_1.wav", "c/x.wav", "a/x.mp3", "a/x.wav", "über.wav", ".-.wav", "d/é/ü!.wav"]
    ids = track_ids([Path(path) for path in paths])
    assert ids == ["a-Song_1", "b-song_1", "c-x", "a-x", "a-x-2", "über", "-", "ü_"]
    for track_id in ids:
        Track(track_id, "x.wav")


def test_one_piece_in_two_formats_stays_together(tmp_path: Path) -> None:
    for number in range(12):
        audio(tmp_path / f"{number}.wav")
        audio(tmp_path / f"{number}.flac")
    corpus = import_folder(tmp_path, tmp_path / "out")
    splits = {track.source: set() for track in corpus.tracks}
    for track in corpus.tracks:
        splits[track.source].add(track.split)
    assert len(splits) == 12
    assert all(len(found) == 1 for found in splits.values())


def test_a_pattern_keeps_singers_in_one_split(tmp_path: Path) -> None:
    for singer in range(8):
        for song in range(5):
            audio(tmp_path / "in" / f"singer{singer}_song{song}.wav")
    corpus = import_folder(tmp_path / "in", tmp_path / "out", group_pattern="([^_]+)_")
    assert {track.source for track in corpus.tracks} == {f"singer{number}" for number in range(8)}
    assert validate(corpus).ok
    assert {track.split for track in corpus.tracks} == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (10, (7, 1, 2)), (100, (70, 15, 15))],
)
def test_shares_of_small_and_large_classes(number: int, expected: tuple[int, int, int]) -> None:
    splits = assign_splits(["x"] * number, [str(index) for index in range(number)], Shares(), 0)
    assert tuple(splits.count(split) for split in ("train", "valid", "test")) == expected


@pytest.mark.parametrize("seed", range(10))
def test_random_splits_keep_their_promises(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number = int(rng.integers(20, 300))
    groups = [str(group) for group in rng.integers(0, number, number)]
    # A group may have tracks of several genres.
    genres = [str(genre) for genre in rng.choice(["a", "b", "c", ""], number, p=[0.6, 0.2, 0.1, 0.1])]
    splits = assign_splits(genres, groups, Shares(), seed)
    where: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        where.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for found in where.values())
    largest = [split for genre, split in zip(genres, splits, strict=True) if genre == "a"]
    assert largest.count("test") / len(largest) == pytest.approx(0.15, abs=0.12)
    # The order in which tracks are listed changes nothing.
    order = rng.permutation(number)
    again = assign_splits([genres[i] for i in order], [groups[i] for i in order], Shares(), seed)
    assert [splits[i] for i in order] == again


def test_a_track_added_later_moves_few_others() -> None:
    names = [f"track{number}" for number in range(200)]
    before = assign_splits(["x"] * 200, names, Shares(), 3)
    after = assign_splits(["x"] * 201, [*names, "new"], Shares(), 3)
    assert sum(one != two for one, two in zip(before, after[:200], strict=True)) <= 3


def test_shares_of_nothing_are_nothing() -> None:
    splits = assign_splits(["x"] * 20, [str(index) for index in range(20)], Shares(0.8, 0.0, 0.2), 0)
    assert Counter(splits) == {"train": 16, "test": 4}


# --- text of other people ---


@pytest.mark.parametrize(
    ("text", "times_s", "positions"),
    [
        ("0.5\n1.0\n", [0.5, 1.0], None),
        ("0.5 1\n1.0 2\n", [0.5, 1.0], [1, 2]),
        ("0.5,1\r\n1.0,2\r\n", [0.5, 1.0], [1, 2]),
        ("time;beat\n0.5;3\n1.0;1\n", [0.5, 1.0], [3, 1]),
        ("0.5\t1\t7\n1.0\t2\t7\n", [0.5, 1.0], [1, 2]),
        ("0.5,1.4\n1.0,2.1\n", [0.5, 1.0], [4, 1]),
        ("0.5 1.0\n1.0 2.0\n", [0.5, 1.0], [1, 2]),
        ("% comment\n# comment\n  0.5 ,  1,\n", [0.5], [1]),
        ("﻿0.5\n", [0.5], None),
    ],
)
def test_beats_in_many_forms(tmp_path: Path, text: str, times_s: list[float], positions: list[int] | None) -> None:
    (tmp_path / "x.beats").write_bytes(text.encode())
    beats = read_beat_text(tmp_path / "x.beats")
    assert beats.times_s.tolist() == times_s
    assert (beats.positions.tolist() if beats.positions is not None else None) == positions


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0.5\nx\n", 2),
        ("0.5 1\n1.0\n", 2),
        ("0.5\n0.5\n", 2),
        ("0.5 0\n", 1),
        ("-1\n", 1),
        ("0.5 a\n", 1),
        ("a b\n", 1),
    ],
)
def test_beats_in_no_form_are_named_with_their_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "x.beats").write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_beat_text(tmp_path / "x.beats")
    assert caught.value.line == line


def test_onsets_in_many_forms(tmp_path: Path) -> None:
    path = tmp_path / "x.onsets"
    path.write_text("onset,instrument,velocity\n0.5,HH,64\n0.2,kick,127\n0.5,46,32\n0.7,50,1\n")
    onsets = read_onset_text(path)
    assert onsets.times_s.tolist() == [0.2, 0.5, 0.5, 0.7]
    assert onsets.classes == ("kick", "hihat_closed", "hihat_open", "tom_high")
    np.testing.assert_allclose(onsets.velocities, np.array([127, 64, 32, 1]) / 127)
    for text, problem in (("0.5 gong\n", "unknown onset class"), ("0.5 kick 128\n", "velocity '128'")):
        path.write_text(text)
        with pytest.raises(AnnotationError, match=problem) as caught:
            read_onset_text(path)
        assert caught.value.line == 1


# --- annotated tracks and evaluation sets ---


def test_tracks_stored_and_read_are_the_same(tmp_path: Path) -> None:
    beats = Beats(np.array([0.01, 0.05]), np.array([1, 2]))
    key, meter = Key("A", "minor"), TimeSignature(7, 8)
    track = AnnotatedTrack("x", audio(tmp_path / "x.WAV"), beats, None, "g", 90.0, meter, key, "valid", "s", "CC0-1.0")
    corpus = store(tmp_path / "out", [track])
    (again,) = annotated_tracks(corpus)
    assert again.audio_path.name == "x.wav"
    for name in ("id", "genre", "tempo_bpm", "time_signature", "key", "split", "source", "licence", "onsets"):
        assert getattr(again, name) == getattr(track, name)
    assert again.beats is not None
    np.testing.assert_array_equal(again.beats.times_s, beats.times_s)
    assert list(annotated_tracks(corpus, "test")) == []
    with pytest.raises(CorpusError, match="appears twice"):
        store(tmp_path / "twice", [track, track])
    with pytest.raises(CorpusError, match="no tracks"):
        store(tmp_path / "none", [])


def test_sets_are_found_in_a_collection(tmp_path: Path) -> None:
    audio(tmp_path / "beats" / "a.wav").with_suffix(".beats").write_text("0.01\n")
    audio(tmp_path / "beats" / "unknown.wav")
    for genre in ("jazz", "rock"):
        audio(tmp_path / "genre" / genre / f"{genre}.wav")
    audio(tmp_path / "music" / "song.wav").with_suffix(".txt").write_text("CC BY\n")
    audio(tmp_path / "mine" / "x.wav")
    audio(tmp_path / "mine" / "y.wav")
    write_annotations(tmp_path / "mine", [Track("x", "x.wav"), Track("y", "y.wav", "test")])
    before = sorted(tmp_path.rglob("*"))
    sets = evaluation_sets(tmp_path)
    assert {name: [track.id for track in tracks] for name, tracks in sets.items()} == {
        "beats": ["a"],
        "genre": ["jazz", "rock"],
        "mine": ["y"],
    }
    assert sorted(tmp_path.rglob("*")) == before
    assert list(evaluation_sets(tmp_path / "genre")) == ["genre"]
    assert list(evaluation_sets(tmp_path / "mine")) == ["mine"]
    with pytest.raises(CorpusError, match="holds no annotated audio"):
        evaluation_sets(tmp_path / "music")


@pytest.mark.skipif(not SHARED_REAL.is_dir(), reason="the shared real recordings are not here")
def test_the_shared_real_recordings_are_recognised() -> None:
    sets = evaluation_sets(SHARED_REAL)
    assert {name: len(tracks) for name, tracks in sets.items()} == {
        "beats": 25,
        "drums": 6,
        "drums-mix": 2,
        "genre": 40,
    }
    assert all(track.beats is not None for tracks in sets.values() for track in tracks)
    assert Counter(track.genre for track in sets["genre"]).most_common()[-1][1] == 4
