"""Text in charts: whatever a user gives, one harmless line of cp932."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from charting import bar, header

from backbeat.charts.chart import Chart
from backbeat.charts.dtx import cp932_text, dtx_text, plain_text, read_dtx
from backbeat.errors import ConfigError

ALPHABET = (
    "abc XYZ019;:#*/\\\"'?|<>()[]{}_-+=.,!@$%^&~` \t\r\n\x00\x07\x0b\x0c\x1a\x1b\x7f\x80\x85\x9f\xa0\u2028\u2029"
    "あアｱ亜表ソ能髙﨑①㈱～〜―—－−　éßŁøñ½™€¥‾\u0301\u3099\u200b\u200d\u202e\ufeff\ufe0f"
    "😀🎵👩\U0001f3fd\ud800\udfff한글عربيไทย\ue000\uffff\U0010ffff\u037e\ufe54"
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Plain title", "Plain title"),
        ("  spaces \t around  it \u3000", "spaces around it"),
        ("夜に駆ける　表示ソ能", "夜に駆ける　表示ソ能"),
        ("か\u3099んば", "がんば"),
        ("波〜線−と‖", "波～線－と∥"),
        ("a;b", "a；b"),
        ("a\u037eb", "a；b"),
        ("Café Motörhead – Łódź", "Cafe Motorhead - Lodz"),
        ("¥100 — €5 ™", "￥100 ― EUR5 TM"),
        ("one\r\n#00013: 01", "one #00013: 01"),
        ("nul\x00bell\x07esc\x1b[0m", "nul bell esc [0m"),
        ("party 🎉 time", "party ? time"),
        ("family 👩\u200d👩\u200d👧!", "family ???!"),
        ("\u202eright to left", "right to left"),
        ("lone \ud83d surrogate", "lone surrogate"),
        ("#TITLE: x", "#TITLE: x"),
        ("?", "?"),
    ],
)
def test_what_becomes_of_text(text, written):
    assert cp932_text(text) == written


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "🎵🎶", "한국어", "\ud800", "\u200b"])
def test_text_of_which_nothing_remains_is_refused_or_replaced(text):
    with pytest.raises(ConfigError, match="nothing of it can be written"):
        cp932_text(text)
    assert cp932_text(text, default="Untitled") == "Untitled"


def test_long_text_ends_in_an_ellipsis():
    assert cp932_text("長" * 10_000) == "長" * 199 + "…"
    assert plain_text("x" * 200) == "x" * 200
    assert len(cp932_text("Œ" * 10_000)) == 200
    # Accents beyond number are not put in order, which would take minutes.
    assert cp932_text("a" + "\u0301\u0323" * 1_000_000 + "b") == "a…"


def test_titles_of_any_kind_stay_one_line_of_one_header(tmp_path):
    dice = np.random.default_rng(7)
    chart = Chart((bar(),))
    for _ in range(300):
        title = "".join(ALPHABET[pick] for pick in dice.integers(0, len(ALPHABET), dice.choice([1, 3, 20, 300])))
        written = cp932_text(title, default="Untitled")
        assert 1 <= len(written) <= 200
        assert written.encode("cp932").decode("cp932") == written
        assert not any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for sign in written)
        assert ";" not in written
        assert written == written.strip(" \u3000")
        path = tmp_path / "chart.dtx"
        path.write_bytes(dtx_text(chart, header(written, artist=title, comment=title), {}).encode("cp932"))
        read = read_dtx(path)
        assert read.headers["TITLE"] == written
        assert read.headers.get("ARTIST", "") == cp932_text(title, default="")
        assert set(read.headers) <= {"TITLE", "ARTIST", "COMMENT", "DLEVEL", "BPM", "BGMWAV"}
        assert len(read.objects) == 1
