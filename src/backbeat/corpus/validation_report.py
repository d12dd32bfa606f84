"""The validation report as a page to read: one file, nothing fetched from elsewhere."""

from __future__ import annotations

from collections import defaultdict

from backbeat.corpus.contract import SPLITS
from backbeat.corpus.problems import Problem
from backbeat.corpus.validate import ValidationReport

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Corpus {{ report.name }}: {{ verdict }}</title>
<style>
  :root { color-scheme: light dark; --error: #b3261e; --warning: #8a6100; --good: #1b6e3c; --line: #8884; }
  @media (prefers-color-scheme: dark) { :root { --error: #ff8a80; --warning: #ffca66; --good: #7fd6a0; } }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.6rem; margin-bottom: .2rem; }
  h2 { font-size: 1.15rem; margin-top: 2rem; }
  .verdict { font-weight: 600; }
  .error { color: var(--error); } .warning { color: var(--warning); } .good { color: var(--good); }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; }
  th, td { border-bottom: 1px solid var(--line); }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
  table.narrow { width: auto; }
  code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Corpus {{ report.name }}</h1>
<p class="verdict {{ 'good' if report.ok and not report.warnings else 'warning' if report.ok else 'error' }}">
{{ verdict }}</p>

<h2>What it holds</h2>
<table class="narrow">
{% for label, value in facts %}<tr><th scope="row">{{ label }}</th><td class="number">{{ value }}</td></tr>
{% endfor %}</table>

<h2>Genres and splits</h2>
<table class="narrow">
<tr><th scope="col">genre</th>{% for split in splits %}<th scope="col" class="number">{{ split }}</th>{% endfor %}</tr>
{% for genre, row in report.counts.genres.items() %}<tr><td>{{ genre or 'not known' }}</td>
{%- for split in splits %}<td class="number">{{ row[split] }}</td>{% endfor %}</tr>
{% endfor %}<tr><th scope="row">all</th>
{%- for split in splits %}<td class="number">{{ report.counts.splits[split] }}</td>{% endfor %}</tr>
</table>
{% if report.counts.onset_classes %}
<h2>Onsets</h2>
<table class="narrow">
{% for name, number in report.counts.onset_classes.items() -%}
<tr><th scope="row">{{ name }}</th><td class="number">{{ "{:,}".format(number) }}</td></tr>
{% endfor %}</table>
{% endif %}
{% for title, css, files in sections if files %}
<h2 class="{{ css }}">{{ title }}</h2>
{% for path, problems in files.items() %}
<h3><code>{{ path }}</code></h3>
<table>
<tr><th scope="col" class="number">line</th><th scope="col">track</th><th scope="col">what is wrong</th></tr>
{% for problem in problems %}<tr><td class="number">{{ problem.line or '' }}</td>
<td><code>{{ problem.track_id }}</code></td><td>{{ problem.message }}</td></tr>
{% endfor %}</table>
{% endfor %}
{% endfor %}
</body>
</html>
"""


def report_html(report: ValidationReport) -> str:
    """Return the report as one self-contained HTML page; errors first, gathered by file."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    sections = [
        (_title("error", len(report.errors)), "error", _by_file(report.errors)),
        (_title("warning", len(report.warnings)), "warning", _by_file(report.warnings)),
    ]
    return environment.from_string(_PAGE).render(
        report=report, verdict=verdict(report), facts=_facts(report), splits=SPLITS, sections=sections
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
