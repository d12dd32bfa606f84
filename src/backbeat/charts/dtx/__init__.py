"""Charts in the format of DTXMania: written, read back by the engines' rules, and checked."""

from backbeat.charts.dtx.reader import ReadChart, read_dtx
from backbeat.charts.dtx.set_def import write_set_def
from backbeat.charts.dtx.text import cp932_text, plain_text
from backbeat.charts.dtx.validator import check_dtx
from backbeat.charts.dtx.writer import DtxHeader, Sound, dtx_text, without_collisions, write_dtx

__all__ = [
    "DtxHeader",
    "ReadChart",
    "Sound",
    "check_dtx",
    "cp932_text",
    "dtx_text",
    "plain_text",
    "read_dtx",
    "without_collisions",
    "write_dtx",
    "write_set_def",
]
