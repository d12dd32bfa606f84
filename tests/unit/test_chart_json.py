"""Charts as JSON: of one schema, and read back as they were."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest
from charting import bar, note, random_chart

from backbeat.charts.chart import Chart
from backbeat.charts.chart_json import ChartDocument, chart_schema, read_chart_json, write_chart_json
from backbeat.errors import AnnotationError

REPORT = {"notes": 3, "distance_ms": {"median": 1.25}, "moved": [], "warnings": ["夜"]}


@pytest.mark.parametrize("seed", range(3))
def test_a_chart_comes_back_as_it_was(tmp_path, seed):
    chart = random_chart(seed, 50)
    chart = Chart(chart.bars, tuple(replace(each, heard_s=each.tick / 7) for each in chart.notes))
    path = tmp_path / "chart.json"
    write_chart_json(path, ChartDocument(chart, "夜明け 🎵", "Artist", REPORT))
    read = read_chart_json(path)
    assert (read.chart.bars, read.chart.notes) == (chart.bars, chart.notes)
    assert (read.title, read.artist, read.report) == ("夜明け 🎵", "Artist", REPORT)
    value = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(chart_schema()).validate(value)
    assert all(
        there["time_s"] == pytest.approx(chart.time_s(here.bar, here.tick), abs=1e-6)
        for there, here in zip(value["notes"], chart.notes, strict=True)
    )
    assert [there["start_s"] for there in value["bars"]] == pytest.approx(chart.starts_s[:-1], abs=1e-6)


def test_the_schema_is_a_schema_and_refuses_what_is_none():
    jsonschema.Draft202012Validator.check_schema(chart_schema())
    value = ChartDocument(Chart((bar(),), (note(0, 5),))).to_dict()
    validator = jsonschema.Draft202012Validator(chart_schema())
    validator.validate(value)
    for change in (
        {"schema_version": 2},
        {"bars": []},
        {"notes": [{**value["notes"][0], "lane": "cowbell"}]},
        {"notes": [{**value["notes"][0], "tick": 384}]},
        {"notes": [{**value["notes"][0], "velocity": 0}]},
        {"surplus": 1},
    ):
        assert not validator.is_valid({**value, **change}), change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": 9}, "a chart of schema 9, not 1"),
        ({"bars": []}, "a chart without bars"),
        ({"bars": [{}]}, "a chart without 'length'"),
        ({"bars": 5}, "a malformed chart"),
        ({"notes": [{"bar": 7, "tick": 0, "lane": "kick", "velocity": 1, "heard_s": 0}]}, "no such place"),
    ],
)
def test_what_is_no_chart_is_refused(tmp_path, change, problem):
    path = tmp_path / "chart.json"
    value = ChartDocument(Chart((bar(),))).to_dict()
    path.write_text(json.dumps({**value, **change}), encoding="utf-8")
    with pytest.raises(AnnotationError, match=problem) as caught:
        read_chart_json(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("text", ["", "[1]", "{", "\ud800"])
def test_what_is_not_json_is_refused(tmp_path, text):
    path = tmp_path / "chart.json"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(AnnotationError):
        read_chart_json(path)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_chart_json(tmp_path / "none.json")
