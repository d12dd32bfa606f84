"""The validation report as a page to read: one file, nothing fetched from elsewhere."""

from __future__ import annotations

from collections import defaultdict

from backbeat.corpus.contract import SPLITS
from backbeat.corpus.problems import Problem
from backbeat.corpus.validate import ValidationReport
from backbeat.pages import render


def report_html(report: ValidationReport) -> str:
    """Return the report as one self-contained HTML page; errors first, gathered by file."""
    sections = [
        (_title("error", len(report.errors)), "error", _by_file(report.errors)),
        (_title("warning", len(report.warnings)), "warning", _by_file(report.warnings)),
    ]
    return render(
        "backbeat.corpus",
        "validation.html",
        report=report,
        verdict=verdict(report),
        facts=_facts(report),
        splits=SPLITS,
        sections=sections,
    )


def verdict(report: ValidationReport) -> str:
    """Sum the report up in one line."""
    if report.ok and not report.warnings:
        return "Nothing is wrong with it."
    found = " and ".join(_title(*pair) for pair in (("error", len(report.errors)), ("warning", len(report.warnings))))
    return f"{found}: {'it can be used.' if report.ok else 'the pipeline stops here until the errors are mended.'}"


def _title(what: str, number: int) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _by_file(problems: tuple[Problem, ...]) -> dict[str, list[Problem]]:
    files: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        files[problem.path].append(problem)
    return files


def _facts(report: ValidationReport) -> list[tuple[str, str]]:
    counts = report.counts
    facts = [
        ("tracks", f"{counts['tracks']:,}"),
        ("with beats", f"{counts['with_beats']:,} ({counts['beats']:,} beats)"),
        ("with bars", f"{counts['with_bars']:,}"),
        ("with onsets", f"{counts['with_onsets']:,} ({counts['onsets']:,} onsets)"),
    ]
    if counts["seconds"] is not None:
        facts.insert(1, ("audio", f"{counts['seconds'] / 60:,.1f} minutes"))
    return facts
