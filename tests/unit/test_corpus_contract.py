"""The corpus contract: what is written is read back, and every wrong line is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbeat.corpus.contract import (
    COLUMNS,
    Corpus,
    Track,
    read_beats,
    read_corpus,
    read_onsets,
    read_rows,
    write_annotations,
    write_beats,
    write_onsets,
)
from backbeat.errors import AnnotationError, CorpusError
from backbeat.music import ONSET_CLASSES, Beats, Key, Onsets, TimeSignature

FULL = Track(
    id="waltz-0007",
    path="audio/waltz-0007.flac",
    split="test",
    genre="waltz, slow",
    tempo_bpm=91.25,
    time_signature=TimeSignature(3, 4),
    key=Key("Eb", "minor"),
    source="seed-7",
    licence="CC0-1.0",
    sha256="ab" * 32,
)


def test_rows_survive_a_round_trip(tmp_path: Path) -> None:
    bare = Track(id="a", path="audio/a.wav")
    write_annotations(tmp_path, [FULL, bare])
    corpus = read_corpus(tmp_path)
    assert corpus.tracks == (bare, FULL)
    assert corpus.name == tmp_path.name
    assert (tmp_path / "annotations.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_rows_are_written_in_the_same_order_whatever_order_they_come_in(tmp_path: Path) -> None:
    tracks = [Track(id=f"t{number}", path=f"{number}.wav") for number in (3, 1, 2)]
    write_annotations(tmp_path, tracks)
    first = (tmp_path / "annotations.csv").read_bytes()
    write_annotations(tmp_path, reversed(tracks))
    assert (tmp_path / "annotations.csv").read_bytes() == first


def test_a_hand_made_table_needs_two_columns_only(tmp_path: Path) -> None:
    (tmp_path / "annotations.csv").write_bytes("﻿id,path,genre\r\nx, x.wav ,Forró\r\n".encode())
    (track,) = read_corpus(tmp_path).tracks
    assert (track.path, track.split, track.genre, track.group) == ("x.wav", "train", "Forró", "x")


@pytest.mark.parametrize(
    ("header", "row", "problem"),
    [
        ("id,path,split", "x,x.wav,dev", "split 'dev' of track x must be one of train, valid, test"),
        ("id,path", "../x,x.wav", "track id '../x' must be"),
        ("id,path", ".x,x.wav", "track id '.x' must be"),
        ("id,path", "x,../x.wav", "path '../x.wav' of track x must lie inside the corpus"),
        ("id,path", "x,/x.wav", "must lie inside the corpus"),
        ("id,path", "x,", "path '' of track x"),
        ("id,path,tempo_bpm", "x,x.wav,fast", "'fast' is not a tempo"),
        ("id,path,tempo_bpm", "x,x.wav,nan", "'nan' is not a tempo"),
        ("id,path,tempo_bpm", "x,x.wav,0", "'0' is not a tempo"),
        ("id,path,time_signature", "x,x.wav,4", "'4' is not a time signature"),
        ("id,path,time_signature", "x,x.wav,4/5", "4/5 is not a time signature"),
        ("id,path,key", "x,x.wav,H minor", "H minor is not a key"),
        ("id,path", "ok,y.wav", "track id 'ok' appears twice"),
        ("id,path", "x,x.wav,rock", "has more than the 2 cells of the header"),
    ],
)
def test_a_wrong_row_is_named_with_file_and_line(tmp_path: Path, header: str, row: str, problem: str) -> None:
    path = tmp_path / "annotations.csv"
    path.write_text(f"{header}\nok,ok.wav\n{row}\n")
    with pytest.raises(AnnotationError) as caught:
        read_corpus(tmp_path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert problem in caught.value.problem
    assert "\n" not in str(caught.value)


def test_all_wrong_rows_are_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "annotations.csv"
    path.write_text("id,path,split\na,a.wav,dev\nb,b.wav,test\nb,c.wav,test\n")
    rows = read_rows(path)
    assert [(line, isinstance(row, AnnotationError)) for line, row in rows] == [(2, True), (3, False), (4, True)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"path\nx.wav\n", "column 'id' is missing"),
        (b"id,path,bpm\nx,x.wav,1\n", "column 'bpm' is not one of id, path"),
        (b"id,path\n", "no tracks"),
        (b"", "column 'id' is missing"),
        (b"id,path\n\xff\xfe,x\n", "is not text in UTF-8"),
        (b'id,path\n"x,x.wav\n', "is not CSV"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "annotations.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=problem):
        read_corpus(tmp_path)


def test_a_folder_without_table_is_not_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"not a corpus, it has no annotations\.csv"):
        read_corpus(tmp_path / "nowhere")


def test_events_lie_beside_the_audio(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, (FULL,))
    assert corpus.beats_path(FULL) == tmp_path / "audio/waltz-0007.beats"
    assert corpus.beats(FULL) is None
    assert corpus.onsets(FULL) is None
    write_beats(corpus.beats_path(FULL), Beats(np.array([0.5, 1.0]), np.array([3, 1])))
    write_onsets(corpus.onsets_path(FULL), Onsets(np.array([]), ()))
    beats, onsets = corpus.beats(FULL), corpus.onsets(FULL)
    assert beats is not None
    assert beats.downbeats_s.tolist() == [1.0]
    # A file without events says that there are none; no file says nothing.
    assert onsets is not None
    assert len(onsets) == 0


def test_comments_blank_lines_and_spaces_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.beats"
    path.write_text("# made by hand\n\n 0.5   4 \n#0.7 9\n1.0\t1\n")
    beats = read_beats(path)
    assert beats.times_s.tolist() == [0.5, 1.0]
    assert beats.positions is not None
    assert beats.positions.tolist() == [4, 1]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("0.5 1\nx 2\n", 2, "'x' is not a number"),
        ("0.5 1\nnan 2\n", 2, "'nan' is not a number"),
        ("0.5 1\n1e999 2\n", 2, "'1e999' is not a number"),
        ("0.5 1\n1.0 1.5\n", 2, "position '1.5' is not a whole number"),
        ("0.5 1\n1.0 inf\n", 2, "'inf' is not a number"),
        ("0.5 1\n1.0 0\n", 2, "position '0' is less than 1"),
        ("0.5 1\n1.0\n", 2, "some beats have a position"),
        ("0.5\n1.0 1\n", 2, "some beats have a position"),
        ("0.5\n# c\n1.0\n0.9\n", 4, "beat times do not increase"),
        ("0.5\n0.5\n", 2, "beat times do not increase"),
        ("-0.1\n0.5\n", 1, "is negative"),
    ],
)
def test_a_wrong_beat_is_named_with_file_and_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "a.beats"
    path.write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_beats(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("0.5 kick\n0.6 gong\n", 2, "unknown onset class 'gong'"),
        ("0.5 kick 0.5\n0.6 kick 1.5\n", 2, "velocity lies outside"),
        ("0.5 kick 0.5\n0.6 kick 0\n", 2, "velocity lies outside"),
        ("0.5 kick 0.5\n0.6 kick loud\n", 2, "'loud' is not a number"),
        ("0.5 kick\n\n0.4 kick\n", 3, "onset times decrease"),
        ("0.5\n-1\n", 2, "is negative"),
    ],
)
def test_a_wrong_onset_is_named_with_file_and_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "a.onsets"
    path.write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_onsets(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert problem in caught.value.problem


def test_an_event_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.beats"
    path.write_bytes(b"\xff\xfe0")
    with pytest.raises(AnnotationError, match="is not text in UTF-8"):
        read_beats(path)


def test_classes_and_velocities_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.onsets"
    path.write_text("0.5\n0.5 kick\n0.7 snare 0.25\n")
    onsets = read_onsets(path)
    assert onsets.classes == ("note", "kick", "snare")
    assert onsets.velocities.tolist() == [1.0, 1.0, 0.25]


@pytest.mark.parametrize("seed", range(20))
def test_random_events_survive_a_round_trip(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    number = int(rng.integers(0, 200))
    times_s = np.cumsum(rng.uniform(0.01, 2, number))
    positions = rng.integers(1, 13, number) if seed % 2 else None
    write_beats(tmp_path / "a.beats", Beats(times_s, positions))
    beats = read_beats(tmp_path / "a.beats")
    np.testing.assert_allclose(beats.times_s, times_s, atol=0.5e-6)
    if positions is None or not number:
        assert beats.positions is None
    else:
        np.testing.assert_array_equal(beats.positions, positions)

    together = np.sort(np.concatenate([times_s, times_s[: number // 2]]))
    classes = [str(name) for name in rng.choice(ONSET_CLASSES, together.size)]
    velocities = 1 - rng.uniform(0, 1, together.size)
    write_onsets(tmp_path / "a.onsets", Onsets(together, classes, velocities))
    onsets = read_onsets(tmp_path / "a.onsets")
    np.testing.assert_allclose(onsets.times_s, together, atol=0.5e-6)
    np.testing.assert_allclose(onsets.velocities, velocities, atol=1e-3)
    assert list(onsets.classes) == classes
