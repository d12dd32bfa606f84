"""A decision as files: `decision.json` for programs, `decision.html` for people; each needs nothing beside it."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backbeat.errors import CorpusError
from backbeat.evaluation.measures import style_name
from backbeat.evaluation.tables import TITLES
from backbeat.files import atomic_path, write_json, write_text
from backbeat.gate.decision import Check, Decision, Group, PairedTrack
from backbeat.look import BEAT, DOWNBEAT, FAINT, INK, SOFT, data_uri, drawing, plain_axes, title
from backbeat.pages import render as page

DECISION, PAGE = "decision.json", "decision.html"
_COLOURS = {"held": BEAT, "fell": DOWNBEAT, "in doubt": "#e08e2b", "not judged": SOFT}
_CHANGED = 5
_NONE = "–"


def write_decision(decision: Decision, folder: Path) -> None:
    """Write `decision.json` and `decision.html` into `folder`, both or neither; what was there before goes."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_json(temporary / DECISION, decision.to_dict())
        write_text(temporary / PAGE, render(decision))


def read_decision(folder: Path) -> Decision:
    """Read what `write_decision` wrote; CorpusError where it is missing or damaged."""
    path = folder / DECISION
    try:
        return Decision.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CorpusError(f"{path}: is missing; `python -m pipelines.promote` makes it") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: is damaged: {error}") from None


def render(decision: Decision) -> str:
    """Return the page as HTML."""
    changed = [track for track in decision.tracks if track.champion is not None and track.challenger is not None]
    changed.sort(key=_change)
    # Of few tracks none is shown twice.
    ends = [changed[:_CHANGED], changed[max(_CHANGED, len(changed) - _CHANGED) :][::-1]]
    return page(
        "backbeat.gate",
        "decision.html",
        title=TITLES[decision.task],
        decision=decision,
        champion=decision.champion or "none yet",
        picture=_picture(decision),
        checks=[_check(check) for check in decision.checks],
        groups=[_row(group) for group in decision.groups],
        ends=[[_track(track) for track in tracks if abs(_change(track)) > 0] for tracks in ends],
        settings=[(name, json.dumps(value)) for name, value in decision.settings.items()],
    )


def forest(path: Path, decision: Decision) -> None:
    """Draw the paired difference of every group with its limits, all tracks on top."""
    groups = _ordered(decision.groups)
    margin = decision.settings["margin"][decision.task]
    group_margin = decision.settings["group_margin"][decision.task]
    with drawing(path, 7.0, 1.5 + 0.27 * len(groups)) as figure:
        axes = figure.add_subplot()
        for row, group in enumerate(reversed(groups)):
            found, colour = group.difference, _COLOURS[group.verdict]
            if not math.isnan(found.low) and math.isfinite(found.low + found.high):
                axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2, alpha=0.5)
            filled = colour if group.verdict != "not judged" else "none"
            axes.plot([found.value], [row], "D" if group.kind == "all" else "o", color=colour, markerfacecolor=filled)
            least = -margin if group.kind == "all" else -group_margin
            axes.plot([least, least], [row - 0.42, row + 0.42], color=INK, linewidth=1, alpha=0.6)
        axes.axvline(0, color=SOFT, linewidth=1)
        axes.axhspan(len(groups) - 1.5, len(groups) - 0.5, color=FAINT, alpha=0.45, linewidth=0)
        plain_axes(axes)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_ylim(-0.6, len(groups) - 0.5)
        axes.set_yticks(
            range(len(groups)), [f"{_name(group)}  ({group.tracks})" for group in reversed(groups)], color=INK
        )
        axes.set_xlabel(f"{decision.measure}: challenger less champion", fontsize=8.5)
        title(axes, "Where it is better, and where worse", "upright strokes: how far it may fall; tracks in brackets")


def _picture(decision: Decision) -> str:
    if not decision.groups:
        return ""
    with tempfile.TemporaryDirectory(prefix="backbeat-gate-") as temporary:
        path = Path(temporary) / "forest.svg"
        forest(path, decision)
        return data_uri(path)


def _ordered(groups: Sequence[Group]) -> list[Group]:
    kinds = {"all": 0, "corpus": 1, "style": 2}
    return sorted(groups, key=lambda one: (kinds[one.kind], -one.difference.value, one.name))


def _name(group: Group) -> str:
    return {"all": "all tracks", "style": style_name(group.name)}.get(group.kind, f"corpus {group.name}")


def _check(check: Check) -> dict[str, Any]:
    verdict = {True: "passed", False: "failed", None: "to know"}[check.passed]
    limits = "" if check.low is None or check.high is None else f"{check.low:.3f} – {check.high:.3f}"
    return {
        "name": check.name,
        "verdict": verdict,
        "sentence": check.sentence,
        "value": _NONE if check.value is None else f"{check.value:.3f}",
        "limits": limits,
        "margin": _NONE if check.margin is None else f"{check.margin:g}",
    }


def _row(group: Group) -> dict[str, Any]:
    found = group.difference
    return {
        "name": _name(group),
        "tracks": group.tracks,
        "sources": group.sources,
        "champion": f"{group.champion:.3f}",
        "challenger": f"{group.challenger:.3f}",
        "difference": f"{found.value:+.3f}",
        "limits": "" if math.isnan(found.low) else f"{found.low:+.3f} – {found.high:+.3f}",
        "chance": _NONE if group.chance is None else f"{group.chance:.3f}",
        "verdict": _NONE if group.kind == "all" else group.verdict,
    }


def _change(track: PairedTrack) -> float:
    return (track.challenger or 0.0) - (track.champion or 0.0)


def _track(track: PairedTrack) -> list[str]:
    scores = [f"{track.champion:.3f}", f"{track.challenger:.3f}", f"{_change(track):+.3f}"]
    return [f"{track.corpus}/{track.id}", style_name(track.style), *scores]
