"""What came of a retraining, to read: Markdown for a pull request, HTML for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backbeat.pages import render
from backbeat.retraining.journal import Step, seconds

Row = tuple[str, ...]


def text(found: Mapping[str, Any]) -> str:
    """Return the report of a journal as Markdown."""
    lines = [f"## Retraining {found['run']}: {found['outcome']}", ""]
    lines += [f"- {name}: {_cell(value)}" for name, value in _facts(found)]
    heads: tuple[Row, Row] = (
        ("task", "version", "champion then", "decision", "why"),
        ("step", "state", "seconds", "attempts"),
    )
    for head, rows in zip(heads, (_challengers(found), [row[:4] for row in _steps(found)]), strict=True):
        lines += ["", f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def page(found: Mapping[str, Any], gates: Mapping[str, str]) -> str:
    """Return the report of a journal as an HTML page that fetches nothing.

    Parameters
    ----------
    gates
        Where the gate's reports are, relative to the page, by task.
    """
    return render(
        "backbeat.retraining",
        "report.html",
        run=found["run"],
        outcome=found["outcome"],
        facts=_facts(found),
        challengers=_challengers(found),
        gates=gates,
        steps=_steps(found),
    )


def _out(found: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    return dict(found["steps"].get(step, {}).get("out", {}))


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    order, corpus, commit = found["order"], _out(found, "corpus"), _out(found, "commit")
    begun = [f"{task} from run {run}" for task, run in corpus.get("start_from", {}).items() if run]
    return [
        ("because", order["why"]),
        ("began", found["began"]),
        ("from commit", found["base"]),
        ("corrections", corpus.get("corrections") or "none"),
        ("trained at commit", corpus.get("commit") or "not committed"),
        ("fine-tuned", ", ".join(begun) or "no"),
        ("result", commit.get("commit") or "not committed"),
        ("branch", commit.get("branch") or "none"),
        ("tags", ", ".join(commit.get("tags", [])) or "none"),
    ]


def _challengers(found: Mapping[str, Any]) -> list[Row]:
    outs = {task: _out(found, f"judge {task}") for task in found["order"]["tasks"]}
    return [
        (task, out["version"], out["instead_of"] or "none", out["decision"], out["why"])
        for task, out in outs.items()
        if "decision" in out
    ]


def _steps(found: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for name, values in found["steps"].items():
        step = Step(**values)
        took = seconds(step)
        out = ", ".join(f"{key}: {value}" for key, value in step.out.items())
        rows.append((name, step.state, "" if took is None else f"{took:.1f}", str(step.attempts), step.error or out))
    return rows


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
