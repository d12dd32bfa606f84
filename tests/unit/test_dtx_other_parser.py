"""Charts opened by a parser that is not ours: `bms`, of Bemuse, from the npm registry, in its DTX mode.

Its tests run where it is installed::

    npm install --prefix FOLDER bms@51.0.0
    BACKBEAT_BMS_PARSER=FOLDER pytest tests/unit/test_dtx_other_parser.py

It reads lengths of bars as BMS has them, for one bar only; they are carried on, as DTX has them, before it is asked for
times. Bars it numbers to 999.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from charting import SOUNDS, header, random_chart

from backbeat.charts.chart import LANES
from backbeat.charts.dtx import write_dtx

CHANNELS = {
    "13": ("kick",),
    "12": ("snare",),
    "11": ("hihat_closed",),
    "18": ("hihat_open",),
    "1B": ("hihat_pedal",),
    "14": ("tom_high",),
    "15": ("tom_mid",),
    "17": ("tom_low",),
    "16": ("crash_right",),
    "1A": ("crash_left",),
    "19": ("ride", "ride_bell"),
}
SCRIPT = """
const [, , folder, path] = process.argv
const bms = require(require.resolve('bms', { paths: [folder] }))
const bytes = require('fs').readFileSync(path)
const text = bms.Reader.read(bytes, bms.Reader.getReaderOptionsFromFilename(path))
const result = bms.Compiler.compile(text, { format: 'dtx' })
const chart = result.chart
const objects = chart.objects.all()
let length = 1
for (let bar = 0; bar <= Math.max(...objects.map((each) => each.measure)); bar++) {
  length = chart.timeSignatures._values[bar] || length
  chart.timeSignatures.set(bar, length)
}
const timing = bms.Timing.fromBMSChart(chart)
console.log(JSON.stringify({
  warnings: result.warnings,
  title: chart.headers.get('title'),
  level: chart.headers.get('dlevel'),
  objects: objects.map((each) => ({
    channel: each.channel,
    file: chart.headers.get('wav' + each.value),
    time_s: timing.beatToSeconds(chart.measureToBeat(each.measure, each.fraction)),
  })),
}))
"""


@pytest.fixture(scope="module")
def parse():
    folder, node = os.environ.get("BACKBEAT_BMS_PARSER"), shutil.which("node")
    if folder is None or node is None or not (Path(folder) / "node_modules" / "bms").is_dir():
        pytest.skip("needs node, and the npm package bms in the folder that BACKBEAT_BMS_PARSER names")

    def run(path: Path) -> dict:
        done = subprocess.run([node, "-e", SCRIPT, "-", folder, str(path)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("seed", range(4))
def test_another_parser_finds_the_same_notes(parse, tmp_path, seed):
    chart = random_chart(seed, 160)
    path = tmp_path / "chart.dtx"
    write_dtx(path, chart, header("夜明け表", level=7.65), SOUNDS)
    parsed = parse(path)
    assert parsed["warnings"] == []
    assert (parsed["title"], parsed["level"]) == ("夜明け表", "765")
    # The other parser takes the comment for a part of the name.
    assert all(each["file"].split("\t;")[0] for each in parsed["objects"] if each["channel"] != "08")
    assert [each["time_s"] for each in parsed["objects"] if each["channel"] == "01"] == [0]
    strokes = chart.strokes()
    assert {lane for lanes in CHANNELS.values() for lane in lanes} == set(LANES)
    for channel, lanes in CHANNELS.items():
        found_s = sorted(each["time_s"] for each in parsed["objects"] if each["channel"] == channel)
        meant_s = strokes.of(*lanes).times_s
        assert len(found_s) == meant_s.size
        np.testing.assert_allclose(found_s, meant_s, rtol=0, atol=5.1e-4)
