"""Charts written as DTX and read back by the engines' rules."""

from __future__ import annotations

import re
from contextlib import suppress

import numpy as np
import pytest
from charting import SOUNDS, bar, header, note, random_chart

from backbeat.charts.chart import LANES, Chart
from backbeat.charts.dtx import DtxHeader, Sound, dtx_text, read_dtx, without_collisions, write_dtx, write_set_def
from backbeat.errors import AnnotationError, ConfigError

HAND_MADE = """\
; made by hand: every time below is worked out on paper
#TITLE: By hand ;not this
#BPM 120
#BPM01: 125.5
#WAV01: snare.wav\t;snare
#VOLUME01: 80
#PAN01: -30
#WAV02: kick.wav
#NOSUCH: thing
garbage
#00012: 01
#00108: 01
#00112: 01_01_00_00
#00202: 0.75
#00212: 000100
#00313: 02
#00412: 01
"""


def write_text(path, text: str, encoding: str = "cp932"):
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    return path


def round_trip(folder, chart: Chart):
    path = folder / "chart.dtx"
    write_dtx(path, chart, header(), SOUNDS)
    return read_dtx(path)


def assert_same_notes(read, chart: Chart, within_ms: float) -> None:
    found, meant = read.strokes(), chart.strokes()
    assert len(found) == len(meant)
    for lane in LANES:
        there, here = found.of(lane), meant.of(lane)
        assert len(there) == len(here), lane
        np.testing.assert_allclose(there.times_s, here.times_s, rtol=0, atol=within_ms / 1000)
        np.testing.assert_allclose(there.velocities, here.velocities, rtol=0, atol=0.12)


def engine_ms(read) -> dict[tuple[int, int], int]:
    """Time every object as DTXMania's original mode does: cut to whole milliseconds, and counted on from there."""
    lengths = {384 * (number + 1): each.length for number, each in enumerate(read.bars)}
    in_force = 1.0
    events = [(384 * (tempo.bar + 1) + tempo.tick, 0, tempo.bpm) for tempo in read.tempi]
    for tick, length in sorted(lengths.items()):
        if length != in_force:
            events.append((tick, 1, length))
            in_force = length
    events += [(384 * (each.bar + 1) + each.tick, 2, 0.0) for each in read.objects]
    bpm, length, base, base_tick, times = 120.0, 1.0, 0, 0, {}
    for tick, kind, value in sorted(events):
        now = base + int(625 * (tick - base_tick) * length / bpm)
        if kind == 2:
            times[tick // 384 - 1, tick % 384] = now
            continue
        base, base_tick = now, tick
        bpm, length = (value, length) if kind == 0 else (bpm, value)
    return times


def test_a_chart_made_by_hand_has_the_times_of_the_formula(tmp_path):
    read = read_dtx(write_text(tmp_path / "hand.dtx", HAND_MADE))
    times = [each.time_ms for each in read.objects]
    assert [int(time) for time in times] == [2000, 4000, 4478, 6390, 7346, 8780]
    beat = 60000 / 125.5
    expected = [2000, 4000, 4000 + beat, 4000 + 5 * beat, 4000 + 7 * beat, 4000 + 10 * beat]
    np.testing.assert_allclose(times, expected, rtol=0, atol=1e-9)
    assert [each.lane for each in read.objects] == ["snare", "snare", "snare", "snare", "kick", "snare"]
    assert [(each.bar, each.tick) for each in read.objects] == [(0, 0), (1, 0), (1, 96), (2, 128), (3, 0), (4, 0)]
    assert [each.length for each in read.bars] == [1, 1, 0.75, 0.75, 0.75]
    assert [(tempo.bar, tempo.time_ms, tempo.bpm) for tempo in read.tempi] == [(-1, 0, 120), (1, 4000, 125.5)]
    assert read.headers["TITLE"] == "By hand"
    assert read.sounds["01"] == ("snare.wav", 80, -30, "snare")
    assert [each.volume for each in read.objects] == [80, 80, 80, 80, 100, 80]
    # Without music the first bar is where time begins.
    np.testing.assert_allclose(read.strokes().times_s[0], 0)


@pytest.mark.parametrize("encoding", ["cp932", "utf-8-sig", "utf-16"])
def test_the_encodings_of_engines_are_read(tmp_path, encoding):
    read = read_dtx(write_text(tmp_path / "chart.dtx", HAND_MADE.replace("By hand", "太鼓の達人"), encoding))
    assert read.headers["TITLE"] == "太鼓の達人"
    assert len(read.objects) == 6


def test_tempi_in_hexadecimal_count_on_the_base(tmp_path):
    text = "#BPM: 100\n#BASEBPM: 20\n#BPM0A: 80,5\n#00003: 6400\n#00108: 0A\n#00012: 0101\n#00112: 01\n#00212: 01\n"
    read = read_dtx(write_text(tmp_path / "chart.dtx", text))
    # The empty bar at 100, bar 0 at 20 + 0x64, bar 1 at 20 + 80.5.
    expected = [2400, 3400, 4400, 4400 + 240000 / 100.5]
    np.testing.assert_allclose([each.time_ms for each in read.objects], expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#TITLE: no objects\n", "chart.dtx: is not a DTX chart"),
        ("#BPM: 0\n#00012: 01\n", "chart.dtx:1: '0' is not a number above 0"),
        ("#BPM: fast\n#00012: 01\n", "chart.dtx:1: 'fast' is not a number above 0"),
        ("#00012: 01\n#BPM01: -3\n", "chart.dtx:2: '-3' is not a number above 0"),
        ("#00012: 01\n\n#00102: 0\n", "chart.dtx:3: '0' is not a number above 0"),
        ("#RANDOM: 2\n#IF: 1\n#00012: 01\n", "chart.dtx:1: #RANDOM: it plays differently"),
    ],
)
def test_what_cannot_be_a_chart_is_said_with_its_line(tmp_path, text, problem):
    with pytest.raises(AnnotationError, match=re.escape(problem)):
        read_dtx(write_text(tmp_path / "chart.dtx", text))


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_dtx(tmp_path / "none.dtx")


def test_bytes_of_any_kind_are_no_chart(tmp_path):
    path = tmp_path / "noise.dtx"
    path.write_bytes(np.random.default_rng(1).bytes(100_000))
    with pytest.raises(AnnotationError):
        read_dtx(path)


def test_lines_broken_anywhere_are_read_or_refused(tmp_path):
    rng = np.random.default_rng(5)
    whole = bytearray(HAND_MADE.replace("\n", "\r\n").encode("cp932"))
    path, read = tmp_path / "chart.dtx", 0
    for _ in range(400):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), size=int(rng.integers(1, 6))):
            data[at] = int(rng.integers(0, 256))
        path.write_bytes(bytes(data[: int(rng.integers(1, len(data) + 1))]))
        with suppress(AnnotationError):
            chart = read_dtx(path)
            assert np.all(np.isfinite([each.time_ms for each in chart.objects]))
            assert len(chart.strokes()) <= len(chart.objects)
            read += 1
    assert read > 50


@pytest.mark.parametrize("number", ["9" * 5000, "1e309", "٣", "0x10", "nan", "inf", "1,2,3.5", "1" + "0" * 39])
def test_numbers_of_any_kind_are_read_or_refused(tmp_path, number):
    for command in ("BPM", "BPM01", "BASEBPM", "VOLUME01", "PAN01", "00002"):
        path = write_text(tmp_path / "chart.dtx", f"#{command}: {number}\n#00008: 01\n#00012: 0001\n", "utf-8-sig")
        with suppress(AnnotationError):
            assert np.isfinite(read_dtx(path).objects[0].time_ms)


def test_notes_before_the_music_have_no_time_in_it(tmp_path):
    read = read_dtx(write_text(tmp_path / "chart.dtx", "#WAV01: a.ogg\n#00101: 01\n#00012: 02\n"))
    with pytest.raises(AnnotationError, match="before the background music"):
        read.strokes()


def test_every_line_of_a_small_chart_is_as_engines_want_it():
    bars = (bar(length=0.5), bar(), bar("3/4"), bar("3/4"), bar(bpm=125.5, later=((192, 90.25),)))
    notes = [
        note(1, 0, "kick"),
        note(1, 96, "snare", 0.5),
        note(1, 96, "ride"),
        note(1, 128, "ride_bell", 0.1),
        note(2, 1, "hihat_open"),
        note(4, 288, "crash_left"),
    ]
    sounds = {**SOUNDS, "kick": Sound("kick.wav", pan=-20)}
    text = dtx_text(
        Chart(bars, tuple(notes)),
        header("夜明け", artist="Café", comment="a;b", level=0.85, preview="preview.ogg", picture="art.png"),
        sounds,
    )
    assert text.endswith("\r\n")
    assert text.replace("\r\n", "\n").splitlines() == [
        "#TITLE: 夜明け",
        "#ARTIST: Cafe",
        "#COMMENT: a；b",
        "#PREVIEW: preview.ogg",
        "#PREIMAGE: art.png",
        "#DLEVEL: 8",
        "#DLVDEC: 5",
        "#BPM: 120",
        "#BPM01: 90.25",
        "#BPM02: 125.523012",
        "#00002: 0.5",
        "#00102: 1",
        "#00202: 0.75",
        "#00402: 1",
        "#00408: 0201",
        "#WAV01: bgm.ogg\t;music",
        "#BGMWAV: 01",
        "#WAV02: crash_left.wav\t;crash_left",
        "#VOLUME02: 100",
        "#WAV03: hihat_open.wav\t;hihat_open",
        "#VOLUME03: 100",
        "#WAV04: snare.wav\t;snare",
        "#VOLUME04: 50",
        "#WAV05: kick.wav\t;kick",
        "#VOLUME05: 100",
        "#PAN05: -20",
        "#WAV06: ride.wav\t;ride",
        "#VOLUME06: 100",
        "#WAV07: ride_bell.wav\t;ride_bell",
        "#VOLUME07: 12",
        "#00001: 01",
        "#00112: 00040000",
        "#00113: 05",
        "#00119: 000000060700000000000000",
        "#00218: 0003" + "00" * 382,
        "#0041A: 00000002",
    ]


@pytest.mark.parametrize("level", [0.0, 0.07, 0.85, 1.0, 7.65, 9.99])
def test_levels_mean_what_engines_make_of_them(level):
    text = dtx_text(Chart((bar(),)), header(level=level), {})
    headers = dict(re.findall(r"#(DLEVEL|DLVDEC): (\d+)", text))
    whole, hundredths = int(headers["DLEVEL"]), int(headers.get("DLVDEC", 0))
    # DTXMania: 100 and over holds tenths and hundredths, less only tenths.
    tenths, hundredths = divmod(whole, 10) if whole >= 100 else (whole, hundredths)
    assert tenths / 10 + hundredths / 100 == pytest.approx(level)


@pytest.mark.parametrize("seed", range(6))
def test_random_charts_of_five_minutes_come_back_within_half_a_millisecond(tmp_path, seed):
    chart = random_chart(seed, 160)
    assert 200 < chart.duration_s < 600
    assert_same_notes(round_trip(tmp_path, chart), chart, within_ms=0.51)


def test_a_constant_tempo_comes_back_exactly(tmp_path):
    chart = Chart(tuple(bar(bpm=127.3456) for _ in range(160)), tuple(note(number, 7) for number in range(160)))
    read = round_trip(tmp_path, chart)
    assert [tempo.bpm for tempo in read.tempi] == [127.3456]
    assert_same_notes(read, chart, within_ms=1e-6)


def test_thousands_of_bars_come_back(tmp_path):
    chart = random_chart(99, 3600, tempo_changes=False, notes_a_bar=2)
    read = round_trip(tmp_path, chart)
    assert len(read.bars) > 3500
    assert chart.duration_s > 6000
    assert_same_notes(read, chart, within_ms=0.53)


@pytest.mark.parametrize("seed", [11, 12])
def test_engines_that_cut_to_milliseconds_keep_time_over_hundreds_of_changes(tmp_path, seed):
    chart = random_chart(seed, 200)
    read = round_trip(tmp_path, chart)
    assert len(read.tempi) > 150
    times = engine_ms(read)
    music = times[0, 0]
    off = [times[each.bar, each.tick] - music - 1000 * chart.time_s(each.bar, each.tick) for each in chart.notes]
    # Half a millisecond of moving and one of cutting; the same tempi left where they are end 100 ms ahead.
    assert np.max(np.abs(off)) < 1.51


def test_a_chart_lasts_to_its_last_bar(tmp_path):
    chart = Chart((bar(), bar(), bar("3/4"), bar("3/4")), (note(1, 0),))
    read = round_trip(tmp_path, chart)
    assert [each.length for each in read.bars] == [1, 1, 0.75, 0.75]
    assert [(each.bar, each.channel) for each in read.objects] == [(0, 0x01), (1, 0x12), (3, 0xC2)]
    assert len(read.strokes()) == 1


def test_a_song_without_drums_is_a_chart(tmp_path):
    read = round_trip(tmp_path, Chart((bar(),)))
    assert len(read.strokes()) == 0
    assert read.music_ms == 2000


def test_more_bars_than_can_be_numbered_are_refused():
    text = dtx_text(Chart((bar(),) * 3600, (note(3599, 0),)), header(), SOUNDS)
    assert "#Z9912: 02\r\n" in text
    with pytest.raises(AnnotationError, match="3601 bars; a DTX chart has at most 3600"):
        dtx_text(Chart((bar(),) * 3601), header(), SOUNDS)


def test_more_tempi_than_can_be_named_are_refused():
    bars = tuple(bar(bpm=60 + number / 7, length=0.9 + number / 9973) for number in range(1400))
    with pytest.raises(AnnotationError, match="different tempi; a DTX chart can name 1295"):
        dtx_text(Chart(bars), header(), SOUNDS)


def test_two_hours_of_free_tempo_have_names_enough(tmp_path):
    rng = np.random.default_rng(2)
    bars = tuple(bar(bpm=float(bpm)) for bpm in rng.uniform(70, 180, size=3600))
    chart = Chart(bars, tuple(note(number, 33) for number in range(3600)))
    read = round_trip(tmp_path, chart)
    assert 900 < len({tempo.bpm for tempo in read.tempi}) <= 1295
    assert_same_notes(read, chart, within_ms=1.1)


def test_ride_and_bell_at_once_are_refused_or_settled_with_a_count(tmp_path):
    notes = (
        note(0, 0, "ride", 0.5),
        note(0, 0, "ride_bell", 0.5),
        note(0, 96, "ride", 0.9),
        note(0, 96, "ride_bell", 0.2),
        note(0, 192, "ride"),
    )
    chart = Chart((bar(),), notes)
    with pytest.raises(AnnotationError, match="ride and bell are struck at once in bar 0 at tick 0"):
        dtx_text(chart, header(), SOUNDS)
    settled, dropped = without_collisions(chart)
    assert dropped == 2
    assert [(each.tick, each.lane) for each in settled.notes] == [(0, "ride_bell"), (96, "ride"), (192, "ride")]
    assert without_collisions(settled) == (settled, 0)
    assert_same_notes(round_trip(tmp_path, settled), settled, within_ms=1e-6)


def test_a_lane_without_a_sound_is_refused():
    with pytest.raises(ConfigError, match="no sound for snare"):
        dtx_text(Chart((bar(),), (note(0, 0),)), header(), {})


@pytest.mark.parametrize("name", ["", "../a.ogg", "a/b.ogg", "a\\b.ogg", "C:a.ogg", "a;b", "é.ogg", ".hidden", "a\n"])
def test_files_elsewhere_or_of_other_names_are_refused(name):
    for make in (lambda: Sound(name), lambda: header(music=name), lambda: header(preview=name)):
        with pytest.raises(ConfigError, match="files beside a chart"):
            make()


@pytest.mark.parametrize("level", [-0.1, 10, float("nan"), float("inf")])
def test_levels_outside_are_refused(level):
    with pytest.raises(ConfigError, match="it must lie between 0 and"):
        DtxHeader(title="a", level=level, music="bgm.ogg")


def test_a_set_names_its_charts_from_the_easiest_on(tmp_path):
    path = tmp_path / "set.def"
    write_set_def(path, "夜;🎵", {"basic": "bas.dtx", "advanced": "adv.dtx", "extreme": "ext.dtx"})
    assert path.read_bytes().decode("cp932").split("\r\n") == [
        "#TITLE: 夜；?",
        "#L1LABEL: BASIC",
        "#L1FILE: bas.dtx",
        "#L2LABEL: ADVANCED",
        "#L2FILE: adv.dtx",
        "#L3LABEL: EXTREME",
        "#L3FILE: ext.dtx",
        "",
    ]
    for files in ({}, {"basic": "../bas.dtx"}, {"basic": "a;b.dtx"}, {str(n): "a.dtx" for n in range(6)}):
        with pytest.raises(ConfigError):
            write_set_def(path, "Song", files)
