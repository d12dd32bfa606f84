"""The gate: a challenger becomes champion only where it is shown to be worth it."""

from backbeat.gate.deciding import decide
from backbeat.gate.decision import Check, Decision, Group, PairedTrack, TestSet
from backbeat.gate.report import read_decision, write_decision
from backbeat.gate.settings import GateSettings

__all__ = [
    "Check",
    "Decision",
    "GateSettings",
    "Group",
    "PairedTrack",
    "TestSet",
    "decide",
    "read_decision",
    "write_decision",
]
