"""The validator: good charts pass, and each way of breaking one is found."""

from __future__ import annotations

import re

import numpy as np
import pytest
from charting import SOUNDS, bar, header, note, random_chart, write_sounds

from backbeat.charts.chart import Chart
from backbeat.charts.dtx import check_dtx, write_dtx
from backbeat.errors import AnnotationError

CHART = Chart(
    (bar(length=0.5), bar(), bar("3/4"), bar(bpm=125.5)),
    (note(1, 0, "kick"), note(1, 96), note(1, 288, "snare", 0.5), note(3, 192, "kick"), note(3, 200, "ride")),
)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    write_sounds(folder, 8.0)
    (folder / "notes.txt").write_text("not a sound")
    return folder


@pytest.fixture
def good(sounds):
    """A chart that is right, beside its sounds."""
    path = sounds / "good.dtx"
    write_dtx(path, CHART, header("夜明け", artist="Someone", preview="bgm.ogg"), SOUNDS)
    return path


def broken(path, old: str, new: str, *, every: bool = False):
    """Write the chart with one thing changed; the thing must be there."""
    text = path.read_bytes().decode("cp932")
    assert old in text
    copy = path.with_name("broken.dtx")
    copy.write_bytes(text.replace(old, new, -1 if every else 1).encode("cp932"))
    return copy


def test_a_chart_as_written_is_right(good):
    assert check_dtx(good) == []
    assert check_dtx(good, CHART) == []


@pytest.mark.parametrize("seed", range(4))
def test_random_charts_are_right(sounds, seed):
    chart = random_chart(seed, 40)
    folder = sounds / f"random{seed}"
    folder.mkdir()
    write_sounds(folder, chart.duration_s)
    write_dtx(folder / "chart.dtx", chart, header(";#\n🎵表"), SOUNDS)
    assert check_dtx(folder / "chart.dtx", chart) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("#WAV03: snare.wav", "#WAV0X: snare.wav", r"line \d+: no #WAV03"),
        ("#WAV03: snare.wav", "#WAV03: snore.wav", "there is no file snore.wav beside the chart"),
        ("#WAV03: snare.wav", "#WAV03: notes.txt", r"notes.txt .*"),
        ("#WAV03: snare.wav", "#WAV03: ../snare.wav", "'../snare.wav' is not a file beside the chart"),
        ("#WAV03: snare.wav", "#WAV03: /etc/passwd", "'/etc/passwd' is not a file beside the chart"),
        ("#WAV03: snare.wav", "#WAV03: C:\\snare.wav", r"'C:\\\\snare.wav' is not a file beside the chart"),
        ("#WAV03: snare.wav", "#WAV03: kick.wav\r\n#WAV03: snare.wav", "#WAV03 stands twice"),
        ("#PREVIEW: bgm.ogg", "#PREVIEW: none.ogg", "there is no file none.ogg"),
        ("#WAV01: bgm.ogg", "#WAV01: kick.wav", r"5 notes stand after the end of the music \(0.1 s\)"),
        ("#00001: 01", "#0TT01: 01", "#0TT01: is no command that is known"),
        ("#00001: 01", "#WAVZZ: kick.wav\r\n#00001: 01", "nothing uses #WAVZZ"),
        ("#00001: 01", "#BPMZZ: 90\r\n#00001: 01", "nothing uses #BPMZZ"),
        ("#00001: 01", "#VOLUMEZZ: 90\r\n#00001: 01", "#VOLUMEZZ without #WAVZZ"),
        ("#00001: 01", "#00101: 01", "background music does not begin at the start of bar 000"),
        ("#00001: 01", "#00001: 0001", "background music does not begin at the start of bar 000"),
        ("#00001: 01\r\n", "", r"background music \(channel 01\) stands 0 times"),
        ("#00001: 01", "#00001: 0101", r"background music \(channel 01\) stands 2 times"),
        ("#00001: 01", "#00018: " + "03" + "00" * 4 + "\r\n#00001: 01", "5 objects do not divide 384"),
        ("#00001: 01", "#00018: 030\r\n#00001: 01", "objects are pairs of digits and capitals"),
        ("#00001: 01", "#00018: 0*\r\n#00001: 01", "objects are pairs of digits and capitals"),
        ("#00001: 01", "#00018:\r\n#00001: 01", "objects are pairs of digits and capitals"),
        ("#00001: 01", "#000EE: 01\r\n#00001: 01", "EE is no channel that is known"),
        (
            "#00001: 01",
            "#00112: 0003\r\n#00112: 0003\r\n#00001: 01",
            "two objects of channel 12 stand in bar 001",
        ),
        ("#00001: 01", "#00308: 01\r\n#00001: 01", "two objects of channel 08 stand in bar 003 at 0"),
        ("#00001: 01", "#00303: 78\r\n#00001: 01", "two objects of channel 08 stand in bar 003 at 0"),
        ("#00001: 01", "#00203: 7G\r\n#00001: 01", "tempi of channel 03 are hexadecimal"),
        ("#00102: 1", "#00102: 0", "'0' is not the length of a bar"),
        ("#00102: 1", "#00102: 0.5", "bar 001 has the length of the bar before it"),
        ("#00102: 1", "#00102: 1\r\n#00102: 2", "bar 001 has two lengths"),
        ("#TITLE: 夜明け\r\n", "", "#TITLE is missing"),
        ("#TITLE: 夜明け", "#TITLE:", "#TITLE is missing"),
        ("#TITLE: 夜明け", "#TITLE: 夜\x07明け", "the text holds control characters"),
        ("#TITLE: 夜明け", "#TITLE: 夜明け\r\nand more", "'and more' is neither a command nor a comment"),
        ("#TITLE: 夜明け", "#TITEL: 夜明け", "#TITEL: is no command that is known"),
        ("#DLEVEL: 500\r\n", "", "#DLEVEL is missing"),
        ("#DLEVEL: 500", "#DLEVEL: 1001", "#DLEVEL: '1001' is not a whole number from 0 to 1000"),
        ("#DLEVEL: 500", "#DLEVEL: 5.0", "#DLEVEL: '5.0' is not a whole number from 0 to 1000"),
        ("#BPM: 120\r\n", "", "#BPM is missing"),
        ("#BPM: 120", "#BPM: 0", "#BPM: '0' is not a tempo above 0"),
        ("#BPM: 120", "#BASEBPM: 1\r\n#BPM: 120", "#BASEBPM is not portable"),
        ("#BPM01: 125.5", "#BPM01: -125.5", "#BPM01: '-125.5' is not a tempo above 0"),
        ("#BPM01: 125.5\r\n", "", "no #BPM01"),
        ("#VOLUME03: 100", "#VOLUME03: 127", "#VOLUME03: '127' is not a whole number from 0 to 100"),
        ("#VOLUME03: 100", "#PAN03: 200", "#PAN03: '200' is not a whole number from -100 to 100"),
        ("#BGMWAV: 01", "#BGMWAV: ZZ", "#BGMWAV: no #WAVZZ"),
        ("#VOLUME03: 100", "#VOLUME03: " + "9" * 5000, "is not a whole number from 0 to 100"),
        ("#BPM: 120", "#BPM: " + "9" * 500, "is not a tempo above 0"),
        ("\r\n", "\n", "lines do not all end in CR LF"),
    ],
)
def test_each_fault_is_found(good, old, new, problem):
    problems = check_dtx(broken(good, old, new))
    assert any(re.search(problem, each) for each in problems), problems


@pytest.mark.parametrize(("encoding", "problem"), [("utf-8", "is not cp932"), ("utf-8-sig", "byte order mark")])
def test_other_encodings_are_found(good, encoding, problem):
    copy = good.with_name("broken.dtx")
    copy.write_bytes(good.read_bytes().decode("cp932").encode(encoding))
    assert any(problem in each for each in check_dtx(copy))


def test_a_length_that_is_not_reset_is_found_against_the_chart(good):
    copy = broken(good, "#00302: 1\r\n", "")
    assert check_dtx(copy) == []
    problems = check_dtx(copy, CHART)
    assert "bar 3 is 0.75 long, and 1 in the chart" in problems
    assert any("ms from where the chart has it" in each for each in problems)


def test_a_note_that_is_missing_is_found_against_the_chart(good):
    copy = broken(good, "#00319: ", ";")
    assert [re.sub(r"\d+", "N", each) for each in check_dtx(copy)] == ["line N: nothing uses #WAVN"]
    fewer = Chart(CHART.bars, CHART.notes[1:])
    assert check_dtx(good, fewer) == ["2 notes of kick, and 1 in the chart"]


def test_a_sound_behind_a_link_elsewhere_is_found(good, tmp_path):
    (tmp_path / "far.wav").write_bytes((good.parent / "kick.wav").read_bytes())
    (good.parent / "link.wav").symlink_to(tmp_path / "far.wav")
    problems = check_dtx(broken(good, "#WAV03: snare.wav", "#WAV03: link.wav"))
    assert any("there is no file link.wav beside the chart" in each for each in problems)


def test_a_chart_of_other_hands_may_use_a_folder_of_sounds(good):
    folder = good.parent / "kit"
    folder.mkdir(exist_ok=True)
    (folder / "sd.wav").write_bytes((good.parent / "snare.wav").read_bytes())
    assert check_dtx(broken(good, "snare.wav", "kit\\sd.wav", every=True)) == []


def test_charts_broken_anywhere_are_described(good):
    rng = np.random.default_rng(3)
    whole, path = good.read_bytes(), good.with_name("broken.dtx")
    for _ in range(100):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), size=int(rng.integers(1, 8))):
            data[at] = int(rng.integers(0, 256))
        path.write_bytes(bytes(data))
        assert all(each and "\n" not in each for each in check_dtx(path))


@pytest.mark.parametrize("name", ["x" * 5000 + ".wav", "snare\x00.wav", "."])
def test_names_that_no_file_can_have_are_found(good, name):
    assert check_dtx(broken(good, "#WAV03: snare.wav", f"#WAV03: {name}"))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be read"):
        check_dtx(tmp_path / "none.dtx")
