"""What came of a retraining, to read: Markdown for a pull request, HTML for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backbeat.retraining.journal import Step, seconds

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Retraining {{ run }}: {{ outcome }}</title>
<style>
  :root { color-scheme: light dark; --line: #8884; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; }
  th, td { border-bottom: 1px solid var(--line); }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
  code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Retraining {{ run }}: {{ outcome }}</h1>
<table>
{% for name, value in facts %}<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}</table>
<h2>Challengers</h2>
<table>
<tr><th scope="col">task</th><th scope="col">version</th><th scope="col">champion then</th><th scope="col">decision</th>
<th scope="col">why</th></tr>
{% for row in challengers %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}
{% if row[0] in gates %}<td><a href="{{ gates[row[0]] }}">report</a></td>{% endif %}</tr>
{% endfor %}</table>
<h2>Steps</h2>
<table>
<tr><th scope="col">step</th><th scope="col">state</th><th scope="col" class="number">seconds</th>
<th scope="col" class="number">attempts</th><th scope="col">what came out</th></tr>
{% for row in steps %}<tr><td>{{ row[0] }}</td><td>{{ row[1] }}</td><td class="number">{{ row[2] }}</td>
<td class="number">{{ row[3] }}</td><td><code>{{ row[4] }}</code></td></tr>
{% endfor %}</table>
</body>
</html>
"""

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
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_PAGE).render(
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
