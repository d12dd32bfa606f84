"""Public data sets through mirdata: miniatures of their layouts, a server of our own, and no server at all."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import logging
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from mirdata import core, download_utils
from services import http_server

from backbeat.corpus.contract import Corpus, Track
from backbeat.corpus.mirdata_source import NAMES, import_mirdata
from backbeat.download import fetch
from backbeat.errors import AnnotationError, CorpusError, CorpusUnavailableError
from backbeat.music import Key, TimeSignature


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def wav(number: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(number).normal(0, 0.1, 800), 8000, format="WAV")
    return out.getvalue()


class Miniature:
    """A data set of a few small files, with its index, in the layout of a real one."""

    def __init__(self, name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.home = home
        self.files: dict[str, bytes] = {}
        self.tracks: dict[str, dict[str, list[str | None]]] = {}
        self.monkeypatch = monkeypatch
        self.module = importlib.import_module(f"mirdata.datasets.{name}")

    def add(self, track_id: str, **files: tuple[str, bytes]) -> None:
        self.tracks[track_id] = {kind: [path, md5(content)] for kind, (path, content) in files.items()}
        self.files.update(dict(files.values()))

    @property
    def index(self) -> bytes:
        return json.dumps({"version": "mini", "tracks": self.tracks}).encode()

    def write(self) -> None:
        """Put the files and the index where an import looks for them."""
        for path, content in {**self.files, "indexes/miniature.json": self.index}.items():
            (self.home / path).parent.mkdir(parents=True, exist_ok=True)
            (self.home / path).write_bytes(content)
        self.declare(None)

    def declare(self, url: str | None, checksum: str = "0" * 32, **remotes: download_utils.RemoteFileMetadata) -> None:
        """Make mirdata believe that this is the data set."""
        index = core.Index(filename="miniature.json", url=url, checksum=checksum if url else None)
        self.monkeypatch.setattr(self.module, "INDEXES", {"default": "1.0", "1.0": index})
        self.monkeypatch.setattr(self.module, "REMOTES", remotes)

    def load(self, root: Path, **options: object) -> Corpus:
        return import_mirdata(self.name, root, self.home, **options)  # type: ignore[arg-type]


def gtzan(home: Path, monkeypatch: pytest.MonkeyPatch) -> Miniature:
    mini = Miniature("gtzan_genre", home, monkeypatch)
    for genre in ("blues", "hiphop"):
        for number in range(4):
            name = f"{genre}.{number:05d}"
            mini.add(
                name,
                audio=(f"gtzan_genre/genres/{genre}/{name}.wav", wav(number + 10 * len(genre))),
                beats=(f"beats/gtzan_{name}.beats", b"0.01\t2\n0.05\t3\n"),
                tempo=(f"tempo/gtzan_{name}.bpm", b"93.5\n"),
            )
    return mini


def only(corpus: Corpus, track_id: str) -> Track:
    (track,) = [track for track in corpus.tracks if track.id == track_id]
    return track


def test_gtzan_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = gtzan(tmp_path / "home", monkeypatch)
    mini.write()
    corpus = mini.load(tmp_path / "out")
    assert len(corpus.tracks) == 8
    track = only(corpus, "hiphop.00001")
    assert (track.genre, track.tempo_bpm, track.licence) == ("hiphop", 93.5, "none stated")
    beats = corpus.beats(track)
    assert beats is not None
    assert beats.positions is not None
    assert (beats.times_s.tolist(), beats.positions.tolist()) == ([0.01, 0.05], [2, 3])
    splits = sorted(track.split for track in corpus.tracks if track.genre == "blues")
    assert splits == ["test", "train", "train", "valid"]


def test_ballroom_keeps_albums_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = Miniature("ballroom", tmp_path / "home", monkeypatch)
    for number, name in enumerate(["Albums-Cafe_Paradiso-05", "Albums-Cafe_Paradiso-06", "Media-103901"]):
        mini.add(
            name,
            audio=(f"B_1.0/audio/ChaChaCha/{name}.wav", wav(number)),
            beats=(f"B_1.0/annotations/beats/{name}.beats", b"0.01 4\n0.05 1\n"),
            tempo=(f"B_1.0/annotations/tempo/{name}.bpm", b"124\n"),
        )
    mini.write()
    corpus = mini.load(tmp_path / "out")
    assert [(track.genre, track.source, track.tempo_bpm) for track in corpus.tracks] == [
        ("chachacha", "ballroom-Albums-Cafe_Paradiso", 124.0),
        ("chachacha", "ballroom-Albums-Cafe_Paradiso", 124.0),
        ("chachacha", "", 124.0),
    ]
    assert corpus.tracks[0].split == corpus.tracks[1].split


def test_the_beatles_have_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = Miniature("beatles", tmp_path / "home", monkeypatch)
    mini.add(
        "0111",
        audio=("audio/01/11_-_Song.wav", wav(1)),
        beat=("annotations/beat/11.txt", b"0.01\t4\n0.03\t1\n0.05\tNew Point\n0.07\t3\n"),
        chords=("annotations/chordlab/11.lab", b"0.0\t0.1\tE\n"),
        keys=(
            "annotations/keylab/11.lab",
            b"0\t1\tSilence\n1\t2\tKey\tC\n2\t90\tKey\tE:minor\n90\t95\tKey\tD:dorian\n",
        ),
        sections=("annotations/seglab/11_-_Song.lab", b"0\t1\t0\tverse\n"),
    )
    mini.write()
    corpus = mini.load(tmp_path / "out")
    (track,) = corpus.tracks
    assert track.key == Key("E", "minor")
    beats = corpus.beats(track)
    assert beats is not None
    assert beats.positions is not None
    assert beats.positions.tolist() == [4, 1, 2, 3]


def test_groove_midi_gives_strokes_and_keeps_drummers_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = Miniature("groove_midi", tmp_path / "home", monkeypatch)
    midi = pretty_midi.PrettyMIDI(initial_tempo=120)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(3, 4, 0))
    kit = pretty_midi.Instrument(0, is_drum=True)
    for velocity, pitch, start_s in ((127, 36, 0.0), (64, 22, 0.5), (32, 42, 0.5), (100, 56, 0.75)):
        kit.notes.append(pretty_midi.Note(velocity, pitch, start_s, start_s + 0.1))
    midi.instruments.append(kit)
    out = io.BytesIO()
    midi.write(out)
    rows = ["drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split"]
    for drummer in range(1, 6):
        for number in (1, 2):
            name = f"drummer{drummer}/session1/{number}"
            mini.add(name, midi=(f"{name}.mid", out.getvalue()), audio=(f"{name}.wav", wav(10 * drummer + number)))
            rows.append(
                f"drummer{drummer},session1,{name},funk/groove1,120,beat,3-4,{name}.mid,{name}.wav,1.0,validation"
            )
    mini.add("drummer1/session1/3", midi=("drummer1/session1/3.mid", out.getvalue()))
    mini.tracks["drummer1/session1/3"]["audio"] = [None, None]
    mini.files["info.csv"] = "\n".join(rows).encode()
    mini.write()
    corpus = mini.load(tmp_path / "out")
    assert len(corpus.tracks) == 10
    track = only(corpus, "drummer1-session1-1")
    assert (track.genre, track.tempo_bpm, track.time_signature) == ("funk", 120.0, TimeSignature(3, 4))
    assert (track.source, track.licence) == ("groove-drummer1", "CC-BY-4.0")
    onsets = corpus.onsets(track)
    assert onsets is not None
    assert onsets.classes == ("kick", "hihat_closed", "note")
    np.testing.assert_allclose(onsets.velocities, np.array([127, 64, 100]) / 127, atol=1e-3)
    drummers = {track.source: set() for track in corpus.tracks}
    for track in corpus.tracks:
        drummers[track.source].add(track.split)
    assert all(len(splits) == 1 for splits in drummers.values())


@pytest.mark.parametrize(("name", "folder"), [("hainsworth", "H_1.0"), ("simac", "S_1.0")])
def test_data_sets_without_an_index_are_read_from_their_folder(tmp_path: Path, name: str, folder: str) -> None:
    home = tmp_path / "home"
    for number in range(3):
        for path, content in (
            (f"audio/{number:03d}.wav", wav(number)),
            (f"annotations/beats/{number:03d}.beats", b"0.01\t1\n0.05\t2\n"),
            (f"annotations/tempo/{number:03d}.bpm", b"-1\n" if number else b"88.5\t\n"),
        ):
            (home / folder / path).parent.mkdir(parents=True, exist_ok=True)
            (home / folder / path).write_bytes(content)
    corpus = import_mirdata(name, tmp_path / "out", home)
    assert [track.tempo_bpm for track in corpus.tracks] == [88.5, None, None]
    beats = corpus.beats(corpus.tracks[0])
    assert beats is not None
    assert beats.times_s.tolist() == [0.01, 0.05]
    # SIMAC has beats only.
    assert (beats.positions is None) == (name == "simac")


@pytest.mark.parametrize("name", ["hainsworth", "simac"])
def test_what_cannot_be_downloaded_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusUnavailableError, match=rf"{name} cannot be downloaded: get audio/.* and put it at "):
        import_mirdata(name, tmp_path / "out", tmp_path / "home", download=True)


def test_unknown_names_and_versions_list_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"'gtzan' is not one of .* ballroom, beatles, groove_midi, gtzan_genre"):
        import_mirdata("gtzan", tmp_path / "out", tmp_path / "home")
    with pytest.raises(CorpusError, match=r"has no version '9'; mirdata knows 1\.0, mini"):
        import_mirdata("gtzan_genre", tmp_path / "out", tmp_path / "home", version="9")
    assert set(NAMES) == {"gtzan_genre", "ballroom", "hainsworth", "beatles", "simac", "groove_midi"}


def test_changed_and_missing_files_are_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = gtzan(tmp_path / "home", monkeypatch)
    mini.write()
    changed = tmp_path / "home" / "gtzan_genre/genres/blues/blues.00002.wav"
    changed.write_bytes(wav(99))
    with pytest.raises(CorpusError, match=r"1 files are not those that mirdata lists, first .*blues\.00002\.wav"):
        mini.load(tmp_path / "out")
    assert len(mini.load(tmp_path / "out", checksums=False).tracks) == 8
    assert len(mini.load(tmp_path / "out", partial=True).tracks) == 7
    changed.unlink()
    with pytest.raises(CorpusError, match="files of 1 of 8 tracks are missing"):
        mini.load(tmp_path / "out")
    assert len(mini.load(tmp_path / "out", partial=True).tracks) == 7


def test_data_that_are_all_missing_are_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = gtzan(tmp_path / "home", monkeypatch)
    mini.files = {}
    mini.write()
    with pytest.raises(CorpusUnavailableError, match=r"gtzan_genre is not in .* is missing; allow its download"):
        mini.load(tmp_path / "out", partial=True)


def test_annotations_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"0.05 1\n0.01 2\n", b"x y\n", b"\xff\n"):
        mini = Miniature("gtzan_genre", tmp_path / "home", monkeypatch)
        mini.add("blues.00000", audio=("a.wav", wav(1)), beats=("a.beats", content), tempo=("a.bpm", b"90\n"))
        mini.write()
        with pytest.raises(AnnotationError, match=r"track blues\.00000 of gtzan_genre") as caught:
            mini.load(tmp_path / "out")
        assert "\n" not in str(caught.value)


def test_the_root_logger_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = gtzan(tmp_path / "home", monkeypatch)
    mini.write()
    before = (list(logging.getLogger().handlers), logging.getLogger().level, logging.root.manager.disable)
    mini.load(tmp_path / "out")
    assert (list(logging.getLogger().handlers), logging.getLogger().level, logging.root.manager.disable) == before


# --- the network ---


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    with http_server(partial(_Quiet, directory=str(folder))) as address:
        yield address


def publish(mini: Miniature, folder: Path, address: str) -> None:
    """Put a miniature on the server as its real one is: an index, and an archive whose files lie in a folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in mini.files.items():
            archive.writestr(f"inner/{path}", content)
    (folder / "all.zip").write_bytes(packed.getvalue())
    (folder / "index.json").write_bytes(mini.index)
    remote = download_utils.RemoteFileMetadata(
        filename="all.zip", url=f"{address}/all.zip", checksum=md5(packed.getvalue()), unpack_directories=["inner"]
    )
    mini.declare(f"{address}/index.json", md5(mini.index), all=remote)


def test_what_is_missing_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = gtzan(tmp_path / "home", monkeypatch)
    seen: list[tuple[str, int, int | None]] = []
    with server(tmp_path / "www") as address:
        publish(mini, tmp_path / "www", address)
        with pytest.raises(CorpusUnavailableError, match="allow its download, or get its index"):
            mini.load(tmp_path / "out")
        corpus = mini.load(tmp_path / "out", download=True, progress=lambda *step: seen.append(step))
    assert len(corpus.tracks) == 8
    assert [name for name, _, _ in seen] == ["miniature.json", "all.zip"]
    assert all(received == total for _, received, total in seen)
    # The server is gone: what was fetched serves again.
    assert mini.load(tmp_path / "again", download=True).tracks == corpus.tracks
    assert not list((tmp_path / "home").glob(".*"))


def test_a_file_got_by_hand_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = gtzan(tmp_path / "home", monkeypatch)
    (tmp_path / "www").mkdir()
    publish(mini, tmp_path / "www", "http://127.0.0.1:9")
    with pytest.raises(CorpusUnavailableError, match="download it by hand, put it at ") as caught:
        mini.load(tmp_path / "out", download=True, timeout_s=2)
    index = Path(str(caught.value).partition("put it at ")[2].removesuffix(" and run again"))
    index.write_bytes((tmp_path / "www" / "index.json").read_bytes())
    (tmp_path / "home" / "all.zip").write_bytes((tmp_path / "www" / "all.zip").read_bytes())
    assert len(mini.load(tmp_path / "out", download=True, timeout_s=2).tracks) == 8


def test_a_changed_archive_is_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini = gtzan(tmp_path / "home", monkeypatch)
    with server(tmp_path / "www") as address:
        publish(mini, tmp_path / "www", address)
        (tmp_path / "www" / "all.zip").write_bytes(b"something else")
        with pytest.raises(CorpusUnavailableError, match="is not the file expected: its MD5 is"):
            mini.load(tmp_path / "out", download=True)
    assert not (tmp_path / "home" / "all.zip").exists()


def test_a_missing_page_and_a_closed_port_are_said(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with server(tmp_path / "www") as address, pytest.raises(CorpusUnavailableError, match="404 File not found"):
        fetch(f"{address}/x", target, "0", timeout_s=5)
    with pytest.raises(CorpusUnavailableError, match="refused"):
        fetch(f"{address}/x", target, "0", timeout_s=5)
    with pytest.raises(CorpusUnavailableError, match="not a web address"):
        fetch("file:///etc/hostname", target, "0", timeout_s=5)
    assert list(tmp_path.glob("*x*")) == []


def test_a_server_that_says_nothing_does_not_hang(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        with pytest.raises(CorpusUnavailableError, match=r"no answer within 0\.3 s"):
            fetch(f"http://127.0.0.1:{mute.getsockname()[1]}/x", tmp_path / "x", "0", timeout_s=0.3)
        assert time.monotonic() - began < 5


def test_a_transfer_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with pytest.raises(CorpusUnavailableError, match="4 of 100 bytes came"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/x", tmp_path / "x", md5(b"half"), timeout_s=5)
        thread.join()
    assert list(tmp_path.iterdir()) == []
