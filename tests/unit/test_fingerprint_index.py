"""An index of fingerprints grows, forgets, is read while it is written, and says when it is broken."""

import json
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from backbeat.audio.fingerprint import FingerprintIndex, writing
from backbeat.audio.fingerprint import index as index_module
from backbeat.audio.fingerprint.coding import to_bytes
from backbeat.audio.fingerprint.part import HEAD_BYTES, Part
from backbeat.audio.fingerprint.peaks import FRAMES_PER_S, Peaks
from backbeat.errors import CatalogueError

SECONDS = 30.0


def peaks_of(seed: int, seconds: float = SECONDS) -> Peaks:
    """Return peaks of music that there is only once."""
    random = np.random.default_rng([11, seed])
    count, frames = round(20 * seconds), seconds * FRAMES_PER_S
    return Peaks(np.sort(random.uniform(0, frames, count)), random.uniform(20, 470, count), frames)


def cut(peaks: Peaks, begin_s: float, seconds: float) -> Peaks:
    begin, end = begin_s * FRAMES_PER_S, (begin_s + seconds) * FRAMES_PER_S
    inside = (peaks.frames >= begin) & (peaks.frames < end)
    return Peaks(peaks.frames[inside] - begin, peaks.bins[inside], seconds * FRAMES_PER_S)


def after(first: Peaks, second: Peaks) -> Peaks:
    frames = np.concatenate([first.frames, second.frames + first.duration_frames])
    bins = np.concatenate([first.bins, second.bins])
    return Peaks(frames, bins, first.duration_frames + second.duration_frames)


def items(seeds: range) -> list[tuple[str, bytes]]:
    return [(f"song-{seed}", to_bytes(peaks_of(seed))) for seed in seeds]


def ask(index: FingerprintIndex, seed: int) -> list[str]:
    return [match.id for match in index.find(to_bytes(cut(peaks_of(seed), 7.7, 10.0)))]


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.bin"))


def test_what_is_indexed_is_found_and_nothing_else(tmp_path: Path) -> None:
    index = FingerprintIndex.build(tmp_path / "index", items(range(12)))
    assert len(index) == 12
    assert set(index.ids) == {f"song-{seed}" for seed in range(12)}
    for seed in range(12):
        (match,) = index.find(to_bytes(cut(peaks_of(seed), 7.7, 10.0)))
        assert match.id == f"song-{seed}"
        assert match.offset_s == pytest.approx(7.7, abs=0.01)
        assert match.score > 0.95
        assert match.matched == pytest.approx(200, abs=40)
        assert match.overlap_s == pytest.approx(10, abs=0.1)
    assert ask(index, 99) == []
    index.verify()


def test_a_question_may_begin_before_the_recording_and_end_after_it(tmp_path: Path) -> None:
    index = FingerprintIndex.build(tmp_path, items(range(5)))
    (match,) = index.find(to_bytes(after(peaks_of(70, 60.0), after(peaks_of(3), peaks_of(71, 60.0)))))
    assert match.id == "song-3"
    assert match.offset_s == pytest.approx(-60, abs=0.05)
    assert match.overlap_s == pytest.approx(SECONDS, abs=2)


def test_an_empty_index_answers_nothing_and_can_grow(tmp_path: Path) -> None:
    index = FingerprintIndex.build(tmp_path, [])
    assert (len(index), ask(index, 1), index.duplicates()) == (0, [], [])
    index.add(items(range(2)))
    assert ask(index, 1) == ["song-1"]
    index.add([("silence", to_bytes(Peaks(np.empty(0), np.empty(0), 500.0)))])
    assert len(index) == 3
    assert index.find(to_bytes(Peaks(np.empty(0), np.empty(0), 500.0))) == []


def test_adding_one_by_one_is_the_same_as_building(tmp_path: Path) -> None:
    whole = FingerprintIndex.build(tmp_path / "whole", items(range(30)))
    grown = FingerprintIndex.build(tmp_path / "grown", items(range(10)))
    for item in items(range(10, 30)):
        grown.add([item])
    assert len(parts(tmp_path / "grown")) <= 4
    assert set(grown.ids) == set(whole.ids)
    for seed in range(30):
        question = to_bytes(cut(peaks_of(seed), 3.3, 12.0))
        assert grown.find(question) == whole.find(question)
    grown.compact()
    (one,), (other,) = parts(tmp_path / "whole"), parts(tmp_path / "grown")
    assert one.read_bytes() == other.read_bytes()
    grown.verify()


def test_lots_are_joined_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FingerprintIndex.build(tmp_path / "whole", items(range(9)))
    monkeypatch.setattr(index_module, "_AT_ONCE", 2)
    monkeypatch.setattr(writing, "_LANDMARKS_AT_ONCE", 500)
    FingerprintIndex.build(tmp_path / "lots", items(range(9)))
    (one,), (other,) = parts(tmp_path / "whole"), parts(tmp_path / "lots")
    assert one.read_bytes() == other.read_bytes()
    assert set(whole.ids) == set(Part(other).ids)


def test_a_part_holds_no_more_than_can_be_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_FRAMES", 4000)
    monkeypatch.setattr(index_module, "MOST_FRAMES", 4000)
    monkeypatch.setattr(index_module, "_AT_ONCE", 2)
    index = FingerprintIndex.build(tmp_path, items(range(4)))
    assert len(parts(tmp_path)) == 2
    assert [ask(index, seed) for seed in range(4)] == [[f"song-{seed}"] for seed in range(4)]
    with pytest.raises(CatalogueError, match="hours"):
        index.add([("long", to_bytes(peaks_of(9, 90.0)))])
    assert len(index) == 4


def test_removed_recordings_are_not_found_and_soon_not_on_the_disk(tmp_path: Path) -> None:
    index = FingerprintIndex.build(tmp_path, items(range(10)))
    before = parts(tmp_path)
    assert index.remove(["song-4", "nobody", "song-4"]) == 1
    assert index.remove(["song-4"]) == 0
    assert parts(tmp_path) == before
    assert ask(index, 4) == []
    assert ask(index, 5) == ["song-5"]
    assert len(index) == 9
    index.compact()
    (part,) = parts(tmp_path)
    assert dict(items(range(5)))["song-4"][12:] not in part.read_bytes()
    assert index.remove(["song-1", "song-2", "song-3"]) == 3
    assert len(Part(parts(tmp_path)[0])) == 6
    assert [ask(index, seed) for seed in (0, 1, 9)] == [["song-0"], [], ["song-9"]]
    assert index.remove(list(index.ids)) == 6
    assert (len(index), parts(tmp_path), ask(index, 0)) == (0, [], [])


def test_a_recording_added_again_replaces_the_first(tmp_path: Path) -> None:
    index = FingerprintIndex.build(tmp_path, items(range(8)))
    index.add([("song-2", to_bytes(peaks_of(50)))])
    assert len(index) == 8
    assert ask(index, 2) == []
    assert ask(index, 50) == ["song-2"]


def test_building_again_replaces_all(tmp_path: Path) -> None:
    reader = FingerprintIndex.build(tmp_path, items(range(3)))
    assert ask(reader, 1) == ["song-1"]
    FingerprintIndex.build(tmp_path, items(range(5, 8)))
    assert ask(reader, 1) == []
    assert ask(reader, 6) == ["song-6"]
    assert len(parts(tmp_path)) == 1


def test_a_build_that_fails_leaves_what_was(tmp_path: Path) -> None:
    index = FingerprintIndex.build(tmp_path, items(range(3)))
    for bad in ([*items(range(4)), ("bad", b"x" * 20)], [*items(range(2)), *items(range(1))]):
        with pytest.raises(CatalogueError):
            FingerprintIndex.build(tmp_path, bad)
    with pytest.raises(CatalogueError):
        index.add([("bad", b"")])
    assert ask(index, 2) == ["song-2"]
    assert len(parts(tmp_path)) == 1


def test_duplicates_are_found_with_what_they_share(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    long, other = peaks_of(1, 90.0), peaks_of(2, 60.0)
    kept = random.random(len(long)) < 0.7
    worse = Peaks(long.frames[kept] + random.normal(0, 0.1, int(kept.sum())), long.bins[kept], long.duration_frames)
    worse = Peaks(np.sort(np.maximum(worse.frames, 0)), worse.bins[np.argsort(worse.frames)], worse.duration_frames)
    index = FingerprintIndex.build(tmp_path, items(range(20, 40)))
    assert index.duplicates() == []
    index.add(
        [
            ("a-long", to_bytes(long)),
            ("b-worse", to_bytes(worse)),
            ("c-excerpt", to_bytes(cut(other, 20.0, 15.0))),
            ("d-other", to_bytes(other)),
            ("e-overlap", to_bytes(after(cut(other, 40.0, 20.0), peaks_of(3, 20.0)))),
        ]
    )
    found = {(pair.first, pair.second): pair for pair in index.duplicates()}
    assert list(found) == [("a-long", "b-worse"), ("d-other", "e-overlap"), ("c-excerpt", "d-other")]
    assert found["a-long", "b-worse"].overlap_s == pytest.approx(90, abs=2)
    assert found["a-long", "b-worse"].offset_s == pytest.approx(0, abs=0.01)
    assert found["c-excerpt", "d-other"].overlap_s == pytest.approx(15, abs=2)
    assert found["c-excerpt", "d-other"].offset_s == pytest.approx(20, abs=0.01)
    assert found["d-other", "e-overlap"].overlap_s == pytest.approx(20, abs=2)
    assert found["d-other", "e-overlap"].offset_s == pytest.approx(-40, abs=0.01)
    some = index.duplicates(["c-excerpt", "song-20", "nobody"])
    assert [(pair.first, pair.second) for pair in some] == [("c-excerpt", "d-other")]
    assert index.duplicates(least_s=50.0) == [found["a-long", "b-worse"]]


def test_pieces_that_repeat_themselves_hide_no_duplicate(tmp_path: Path) -> None:
    bar = peaks_of(6, 2.0)
    loop = bar
    for _ in range(39):
        loop = after(loop, bar)
    index = FingerprintIndex.build(tmp_path, [*items(range(4)), ("loop", to_bytes(loop))])
    assert index.duplicates() == []
    index.add([("again", to_bytes(loop))])
    (pair,) = index.duplicates()
    assert (pair.first, pair.second) == ("again", "loop")
    assert pair.overlap_s > 70


def test_a_folder_without_an_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"no fingerprint index.*backbeat maintenance reindex"):
        FingerprintIndex.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 99, "fingerprints": 1, "parts": {}}'])
def test_a_broken_manifest_says_what_to_do(tmp_path: Path, text: str) -> None:
    FingerprintIndex.build(tmp_path, items(range(2)))
    (tmp_path / index_module.MANIFEST).write_text(text)
    with pytest.raises(CatalogueError, match="backbeat maintenance reindex"):
        FingerprintIndex.open(tmp_path)
    assert len(FingerprintIndex.build(tmp_path, items(range(2)))) == 2


def test_a_broken_part_says_what_to_do(tmp_path: Path) -> None:
    FingerprintIndex.build(tmp_path, items(range(3)))
    (part,) = parts(tmp_path)
    good = part.read_bytes()
    head = json.loads(good[:HEAD_BYTES])
    at = head["arrays"]["begins"]["at"]
    older = json.dumps({**head, "version": 0}).encode().ljust(HEAD_BYTES) + good[HEAD_BYTES:]
    for bad in (b"", good[:5000], b"\0" * len(good), good[:at] + b"\xff" * 8 + good[at + 8 :], older):
        part.unlink()  # whoever has it open keeps it
        part.write_bytes(bad)
        with pytest.raises(CatalogueError, match="backbeat maintenance reindex"):
            FingerprintIndex.open(tmp_path)
    part.unlink()
    with pytest.raises(CatalogueError, match=r"missing.*backbeat maintenance reindex"):
        FingerprintIndex.open(tmp_path)


@pytest.mark.parametrize("name", ["frames", "prints"])
def test_damage_deep_inside_is_seen_by_verify_and_does_no_harm(tmp_path: Path, name: str) -> None:
    FingerprintIndex.build(tmp_path, items(range(3)))
    (part,) = parts(tmp_path)
    data = bytearray(part.read_bytes())
    about = json.loads(data[:HEAD_BYTES])["arrays"][name]
    for at in range(about["at"] + 20, about["at"] + about["size"], 97):
        data[at] ^= 0xFF
    part.unlink()
    part.write_bytes(data)
    index = FingerprintIndex.open(tmp_path)
    ask(index, 1)
    with pytest.raises(CatalogueError, match=r"damaged.*backbeat maintenance reindex"):
        index.verify()


def test_readers_see_whole_states_while_others_write(tmp_path: Path) -> None:
    reader = FingerprintIndex.build(tmp_path, items(range(4)))
    ask(reader, 2)  # compiled before it is timed by nobody
    done = threading.Event()
    wrong: list[list[str]] = []

    def read() -> None:
        while not done.is_set():
            found = ask(reader, 2)
            if found != ["song-2"]:
                wrong.append(found)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    writer = FingerprintIndex.open(tmp_path)
    for number, item in enumerate(items(range(10, 26))):
        writer.add([item])
        if number % 3 == 2:
            writer.remove([f"song-{10 + number - 1}"])
        if number % 8 == 7:
            writer.compact()
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(reader) == 4 + 16 - 5


def _add_some(folder: str, seeds: range) -> int:
    index = FingerprintIndex.open(Path(folder))
    for item in items(seeds):
        index.add([item])
    return len(index)


def wait_until_longer_than(index: FingerprintIndex, count: int, other: Future[int]) -> None:
    while len(index) <= count and not other.done():
        time.sleep(0.01)


def test_several_processes_write_one_after_the_other(tmp_path: Path) -> None:
    index = FingerprintIndex.build(tmp_path, items(range(2)))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        other = pool.submit(_add_some, str(tmp_path), range(10, 16))
        for number, item in enumerate(items(range(20, 26))):
            if number == 3:
                wait_until_longer_than(index, 5, other)
            index.add([item])
        other.result()
    assert len(index) == 14
    assert ask(index, 13) == ["song-13"]
    assert ask(index, 24) == ["song-24"]
