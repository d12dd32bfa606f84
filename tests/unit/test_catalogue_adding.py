"""Recordings into the catalogue: told apart by file and by sound, kept with their audio, corpora and tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from catalogues import SPACE, item, vector
from describers import RATE_HZ, StandIn, music, write_music
from test_cli import run  # noqa: F401 (a fixture)

from backbeat.errors import AnnotationError, CatalogueError
from backbeat.files import sha256_file
from backbeat.music import Key
from backbeat.recommend.catalogue import Catalogue
from backbeat.recommend.catalogue.adding import add_files, free_id
from backbeat.recommend.catalogue.importing import add_corpus, add_starter, read_items


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(str(tmp_path / "catalogue"), make=True) as opened:
        yield opened


def test_files_become_items_and_those_that_cannot_be_heard_are_told(catalogue: Catalogue, tmp_path: Path) -> None:
    song = write_music(tmp_path / "in" / "Über uns (live).wav", 1)
    silent = tmp_path / "in" / "silent.wav"
    soundfile.write(silent, np.zeros(RATE_HZ), RATE_HZ)
    told: list[tuple[str, int]] = []
    added = add_files(
        catalogue,
        [song, silent, tmp_path / "none.wav"],
        StandIn(),
        kind="beat",
        label="trap",
        progress=lambda path, done: told.append((path.name, done)),
    )
    (one,) = added.items
    assert (one.id, one.title, one.kind, one.label) == ("uber-uns-live", "Über uns (live)", "beat", "trap")
    assert (one.path, one.sha256, one.duration_s) == (str(song), sha256_file(song), 12.0)
    assert catalogue.get("uber-uns-live") == one
    assert (added.failed[0][0].name, added.failed[0][1][:9]) == ("silent.wav", "is silent")
    assert told == [("Über uns (live).wav", 0), ("silent.wav", 1), ("none.wav", 2)]
    assert len(added.failed) == 2
    assert catalogue.vectors(SPACE, "beat")[0] == ("uber-uns-live",)


def test_a_recording_is_added_once_in_whatever_format(catalogue: Catalogue, tmp_path: Path) -> None:
    song, other = write_music(tmp_path / "song.wav", 1), write_music(tmp_path / "other.wav", 2)
    again = tmp_path / "again.ogg"
    soundfile.write(again, 0.5 * music(1), RATE_HZ)
    part = tmp_path / "part.wav"
    soundfile.write(part, music(1)[: 8 * RATE_HZ], RATE_HZ)
    describer = StandIn()
    added = add_files(catalogue, [song, other, again, song, part], describer, kind="track")
    assert [one.id for one in added.items] == ["song", "other", "part"]
    assert [(one.path.name, one.id) for one in added.duplicates] == [("again.ogg", "song"), ("song.wav", "song")]
    assert "the same recording" in added.duplicates[0].reason
    assert added.duplicates[1].reason == "the same file"
    # The same file is known before anything is heard.
    assert describer.heard == ["song.wav", "other.wav", "again.ogg", "part.wav"]
    pairs = catalogue.recordings.pairs()
    assert [(pair.one, pair.other, pair.whole) for pair in pairs] == [("part", "song", False)]
    assert pairs[0].overlap_s == pytest.approx(8.0, abs=1.5)
    # As another kind it is another item; and who wants it twice has it twice.
    assert len(add_files(catalogue, [song], describer, kind="beat").items) == 1
    assert add_files(catalogue, [again], describer, kind="track", on_duplicate="add").items[0].id == "again"
    with pytest.raises(CatalogueError, match=r"song.wav: is in the catalogue already, as song \(the same file\)"):
        add_files(catalogue, [song], describer, kind="track", on_duplicate="error")


def test_what_was_removed_is_not_found_by_its_sound(catalogue: Catalogue, tmp_path: Path) -> None:
    song, other = write_music(tmp_path / "song.wav", 1), write_music(tmp_path / "other.wav", 2)
    add_files(catalogue, [song, other], StandIn(), kind="track")
    mark = catalogue.fingerprint("song")
    assert [match.id for match in catalogue.same_recording(mark)] == ["song"]
    with Catalogue.open(str(catalogue.place)) as another:
        another.remove("song")
    assert catalogue.same_recording(mark) == []
    # Where its state is not known it is made anew; where it is damaged, that is told.
    (catalogue.place / "fingerprints" / "revision.json").write_text("{")
    with Catalogue.open(str(catalogue.place)) as another:
        assert [match.id for match in another.same_recording(catalogue.fingerprint("other"))] == ["other"]
    (catalogue.place / "fingerprints" / "index.json").write_text("{")
    with Catalogue.open(str(catalogue.place)) as another:
        with pytest.raises(CatalogueError, match="backbeat maintenance reindex"):
            another.same_recording(catalogue.fingerprint("other"))
        assert another.recordings.build() == 1
        assert [match.id for match in another.same_recording(catalogue.fingerprint("other"))] == ["other"]


def test_a_catalogue_without_fingerprints_knows_no_recording(catalogue: Catalogue) -> None:
    catalogue.add(item(1), {})
    assert catalogue.same_recording(StandIn.__doc__.encode() if StandIn.__doc__ else b"") == []
    assert not (catalogue.place / "fingerprints").exists()


def test_audio_that_is_kept_goes_with_its_item(catalogue: Catalogue, tmp_path: Path) -> None:
    song = write_music(tmp_path / "in" / "song.WAV", 1)
    (one,) = add_files(catalogue, [song], StandIn(), kind="track", keep_audio=True).items
    copy = catalogue.place / "audio" / "song.wav"
    assert one.path == str(copy)
    assert copy.read_bytes() == song.read_bytes()
    # Where the folder is moved to, the audio is found.
    catalogue.close()
    moved = catalogue.place.rename(tmp_path / "moved")
    with Catalogue.open(str(moved)) as opened:
        assert opened.get("song").path == str(moved / "audio" / "song.wav")
        assert opened.remove("song")["audio"] == 1
    assert song.is_file()
    assert not list((moved / "audio").iterdir())


def test_a_copy_of_what_could_not_be_added_goes(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.add(item(1), {SPACE: np.ones(3)})
    with pytest.raises(CatalogueError, match="have 3 numbers"):
        add_files(catalogue, [write_music(tmp_path / "song.wav", 1)], StandIn(), kind="track", keep_audio=True)
    assert not list((catalogue.place / "audio").iterdir())


def test_ids_come_from_titles_and_are_free(catalogue: Catalogue) -> None:
    assert free_id(catalogue, "Boom Bap 1", "ab" * 32) == "boom-bap-1"
    catalogue.add(item(1, id="boom-bap-1"), {})
    assert free_id(catalogue, "Boom Bap 1", "ab" * 32) == "boom-bap-1-2"
    assert free_id(catalogue, "東京", "ab" * 32) == "abababababab"
    assert free_id(catalogue, "../../etc/passwd", "ab" * 32) == "etc-passwd"
    assert len(free_id(catalogue, "x" * 500, "ab" * 32)) == 100


def test_annotations_of_a_corpus_go_before_what_is_heard(catalogue: Catalogue, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    write_music(root / "audio" / "one.wav", 1)
    write_music(root / "audio" / "two.wav", 2)
    (root / "annotations.csv").write_text(
        "id,path,split,genre,tempo_bpm,time_signature,key,licence\n"
        "one,audio/one.wav,train,waltz,91.5,3/4,A minor,CC0-1.0\n"
        "two,audio/two.wav,test,,,,,\n"
    )
    added = add_corpus(catalogue, root, StandIn(), kind="track")
    one, two = added.items
    assert (one.id, one.label, one.licence, one.source) == ("one", "waltz", "CC0-1.0", "corpus")
    told = one.descriptors
    assert (told.tempo_bpm, told.time_signature, told.camelot) == (91.5, "3/4", "8A")
    assert told.key is not None
    assert (told.key.tonic, told.key.mode, told.key.confidence) == ("A", "minor", 1.0)
    assert (two.id, two.label) == ("two", "house")
    assert len(add_corpus(catalogue, root, StandIn(), kind="track").duplicates) == 2


def test_the_starter_beats_are_kept_with_their_audio(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def render_starter(folder: Path, *, count: int, **_: object) -> list[SimpleNamespace]:
        made.extend(write_music(folder / f"beat-{number}.wav", number) for number in range(count))
        return [
            SimpleNamespace(path=path, label="trap", title=f"Trap {number}", tempo_bpm=70.0, key=Key("C", "minor"))
            for number, path in enumerate(made, 1)
        ]

    monkeypatch.setattr("backbeat.recommend.starter.render_starter", render_starter)
    added = add_starter(catalogue, StandIn(), count=2, seed=4)
    assert [(one.id, one.label, one.licence, one.source) for one in added.items] == [
        ("trap-1", "trap", "CC0-1.0", "starter-4"),
        ("trap-2", "trap", "CC0-1.0", "starter-4"),
    ]
    assert added.items[0].descriptors.tempo_bpm == 70.0
    assert Path(added.items[0].path).is_file()
    assert not any(path.exists() for path in made)
    made.clear()
    assert len(add_starter(catalogue, StandIn(), count=2, seed=4).duplicates) == 2


def write_items(path: Path, **changes: object) -> Path:
    one = item(1).to_dict()
    row = {name: one[name] for name in ("id", "kind", "title", "label", "duration_s")}
    row |= {"descriptors": json.dumps(one["descriptors"]), f"vector:{SPACE}": json.dumps(vector(1).tolist()), **changes}
    with path.open("w", newline="") as stream:
        rows = csv.DictWriter(stream, list(row))
        rows.writeheader()
        rows.writerow(row)
    return path


def test_items_described_elsewhere_come_from_a_table(tmp_path: Path) -> None:
    ((one, vectors, mark),) = read_items(write_items(tmp_path / "items.csv"))
    assert (one.id, one.kind, one.label, one.path) == ("track-000001", "track", "boom_bap", "")
    assert one.descriptors == item(1).descriptors
    np.testing.assert_array_equal(vectors[SPACE], vector(1))
    assert mark == b""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "song"}, "items.csv:2: kind 'song' must be one of track, beat"),
        ({"id": "a/b"}, "items.csv:2: id 'a/b'"),
        ({"duration_s": "long"}, "items.csv:2: could not convert"),
        ({"descriptors": "{}"}, "items.csv:2: malformed descriptors"),
        ({"descriptors": ""}, "items.csv:2: id, kind, duration_s, descriptors must all be given"),
        ({f"vector:{SPACE}": "[1, NaN]"}, "items.csv:2: track-000001: its vector"),
        ({"colour": "red"}, "items.csv:1: has the unknown column colour"),
    ],
)
def test_a_row_that_cannot_be_is_told_with_its_line(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(AnnotationError, match=told):
        list(read_items(write_items(tmp_path / "items.csv", **changes)))


def test_the_command_line(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("BACKBEAT_CATALOGUE__FOLDER", str(tmp_path / "state"))
    monkeypatch.setattr("backbeat.cli.cataloguing._describer", StandIn)
    assert "there is no catalogue here" in run("catalogue", "list").err
    song = write_music(tmp_path / "music" / "song.wav", 1)
    (tmp_path / "music" / "broken.mp3").write_bytes(b"nothing")
    added = run("catalogue", "add", tmp_path / "music", "--kind", "beat", "--label", "trap")
    assert (added.code, added.out) == (1, "song: song (trap)\n1 added, 0 there already, 1 failed\n")
    assert "broken.mp3" in added.err
    assert "the same file" in run("catalogue", "add", song, "--kind", "beat").err
    assert run("catalogue", "add", song, "--kind", "loop").err.startswith("backbeat: error: --kind loop: is one of")
    run("catalogue", "import", write_items(tmp_path / "items.csv"))
    listed = run("catalogue", "list")
    assert listed.out.splitlines()[-1] == "2 listed of 1 tracks and 1 beats"
    assert "trap" in listed.out
    lines = run("catalogue", "list", "--kind", "track", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["track-000001"]
    assert json.loads(run("catalogue", "show", "song", "--json").out)["label"] == "trap"
    assert "8" in run("catalogue", "show", "track-000001").out
    assert run("catalogue", "duplicates").err == "0 pairs\n"
    plays = tmp_path / "plays.csv"
    plays.write_text("user,item,kind,at\nann,song,play,10\nann,song,like,2026-03-01\n")
    assert run("catalogue", "import", plays).out == "2 of 2 interactions added\n"
    assert run("catalogue", "import", plays).out == "0 of 2 interactions added\n"
    assert run("catalogue", "forget", "ann").out == "ann: removed (2 interactions)\n"
    assert "no user 'ann'" in run("catalogue", "forget", "ann").err
    assert "no item 'nothing'" in run("catalogue", "remove", "song", "nothing").err
    assert run("catalogue", "remove", "song").out.startswith("song: removed (1 items, 1 descriptors")
    assert "no item 'song'" in run("catalogue", "show", "song").err
