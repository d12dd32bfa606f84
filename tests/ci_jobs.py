"""Running what CI is told to run, on this machine: every shell line by a shell, in a copy of the checkout.

`make` first asks the real one whether it has the target, then does what a test has arranged for that target: nothing,
a script that may end with a code like a recipe's, or the real recipe. gh, docker and kubectl write down what they were
called with.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"
#: GitHub's own words for `shell: bash`, and stricter by -u.
BASH = ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"]
#: The one Python that this machine has for the tests.
PYTHON = "{}.{}".format(*sys.version_info[:2])
#: Jenkins' for `sh`.
SH = ["sh", "-xe", "-c"]

_MAKE = r"""#!/usr/bin/env bash
printf '%s\n' "make $(printf '%q ' "$@" | sed 's/ $//')" >>"$CALLS"
"$REAL_MAKE" --no-print-directory --dry-run "$@" >/dev/null || exit 2
arranged=$ARRANGED/$1
if [ "$(cat "$arranged" 2>/dev/null)" = really ]; then
  exec "$REAL_MAKE" --no-print-directory --old-file=.venv/.complete "$@"
elif [ -e "$arranged" ]; then
  BECAUSE=${BECAUSE-} bash -eu "$arranged" || { echo "make: *** [Makefile:1: $1] Error $?" >&2; exit 2; }
fi
"""

_RECORDER = r"""#!/usr/bin/env bash
name=$(basename "$0")
printf '%s\n' "$name $(printf '%q ' "$@" | sed 's/ $//')" >>"$CALLS"
case "$name $1" in
  "docker login") printf '%s\n' "$(cat)" >>"$CALLS" ;;
  "docker info" | "docker compose") ;;
  "gh issue" | "gh pr") [ "$2" != list ] || cat "$ARRANGED/gh-list" 2>/dev/null || true ;;
esac
while [ $# -gt 0 ]; do
  [ "$1" != --body-file ] || cp "$2" "$ARRANGED/body"
  shift
done
"""


@dataclass
class Place:
    """A copy of the checkout, with stand-ins before everything else in PATH.

    Parameters
    ----------
    folder
        Has `checkout`, `origin.git`, `bin`, and `arranged`, a script a target.
    """

    folder: Path
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def calls(self) -> list[str]:
        """What the stand-ins were called with, `docker info` and the like left out."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not re.match(r"docker (info|compose)", line)]

    @property
    def body(self) -> str:
        """The last file that gh was given as a text."""
        return (self.folder / "arranged" / "body").read_text()

    @property
    def summary(self) -> str:
        return (self.folder / "summary").read_text()

    def arrange(self, target: str, what: str) -> None:
        """Say what a target does: a script for bash, or "really"."""
        (self.folder / "arranged" / target).write_text(what)

    def run(self, shell: list[str], script: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        plain = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        known = {
            **plain,
            "PATH": f"{self.folder / 'bin'}:{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.checkout / "src"),
            "CALLS": str(self.folder / "calls"),
            "ARRANGED": str(self.folder / "arranged"),
            "REAL_MAKE": str(shutil.which("make")),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
        }
        return subprocess.run(
            [*shell, script],
            cwd=self.checkout,
            env={**known, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_place(folder: Path) -> Place:
    """Copy what git would keep of this checkout, with an origin, and lay out the stand-ins."""
    place = Place(folder)
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        # Recordings of sound and numbers play no part here.
        if name and (ROOT / name).is_file() and not name.startswith(("tests/golden/", "src/backbeat/weights/")):
            (place.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place.checkout / name)
    git(folder, "init", "--quiet", "--bare", "origin.git")
    git(place.checkout, "init", "--quiet")
    git(place.checkout, "add", "--all")
    git(place.checkout, "commit", "--quiet", "--message", "what there is")
    git(place.checkout, "remote", "add", "origin", str(folder / "origin.git"))
    git(place.checkout, "push", "--quiet", "origin", "main")
    (place.checkout / ".venv").symlink_to(sys.prefix)
    for name in ("arranged", "bin"):
        (folder / name).mkdir()
    for name, script in {
        "make": _MAKE,
        "gh": _RECORDER,
        "docker": _RECORDER,
        "kubectl": _RECORDER,
        "sudo": _RECORDER,
    }.items():
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    return place


# GitHub's workflows


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    return loaded


def jobs() -> Iterator[tuple[str, str]]:
    """Every job there is: workflow, job."""
    for path in sorted(WORKFLOWS.glob("*.yml")):
        for job in workflow(path.stem)["jobs"]:
            yield path.stem, job


def value(expression: str, known: Mapping[str, str | bool]) -> str | bool:
    """Work out an expression of `||`, `&&`, `==`, `!=`, texts and names; KeyError where a name is not known."""
    for sign in ("||", "&&"):
        if sign in expression:
            found: str | bool = ""
            for part in expression.split(sign):
                found = value(part, known)
                if bool(found) == (sign == "||"):
                    break
            return found
    for sign in ("==", "!="):
        if sign in expression:
            left, right = (value(part, known) for part in expression.split(sign))
            return (left == right) == (sign == "==")
    bare = expression.strip()
    if bare == "always()":
        return True
    return bare[1:-1] if bare.startswith("'") else known[bare]


def filled(text: str, known: Mapping[str, str | bool]) -> str:
    return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(value(match[1], known)), str(text))


def run_job(place: Place, name: str, job: str, known: Mapping[str, str | bool], **variables: str) -> int:
    """Run one job's steps, those of its composite actions too; return the exit code of the first that fails, or 0.

    Parameters
    ----------
    known
        What expressions may name: `github.*`, `vars.*`, `secrets.*`, `matrix.*`, `inputs.*`.
    variables
        What GitHub sets itself: GITHUB_SHA and so on.
    """
    whole = workflow(name)
    told = dict(known)
    body = whole["jobs"][job]
    if not value(body.get("if", "always()"), told):
        return 0
    own = {key: filled(text, told) for key, text in {**whole.get("env", {}), **body.get("env", {})}.items()}
    assert filled(body["runs-on"], told)
    for step in _flat(body["steps"], told):
        here = {**told, **step["known"]}
        if "run" not in step or not value(str(step.get("if", "always()")), here):
            continue
        assert step.get("shell") == "bash" or whole["defaults"]["run"]["shell"] == "bash"
        environment = {key: filled(text, here) for key, text in step.get("env", {}).items()}
        done = place.run(BASH, step["run"], {**variables, **own, **environment})
        if done.returncode:
            print(done.stdout, done.stderr)
            return done.returncode
        output = place.folder / "output"
        if output.exists():
            place.outputs |= dict(line.split("=", 1) for line in output.read_text().splitlines())
            told |= {f"steps.{step['id']}.outputs.{key}": text for key, text in place.outputs.items() if "id" in step}
    return 0


def _flat(steps: list[dict[str, Any]], known: Mapping[str, str | bool]) -> Iterator[dict[str, Any]]:
    for step in steps:
        if str(step.get("uses", "")).startswith("./"):
            action = yaml.safe_load((ROOT / step["uses"] / "action.yml").read_text())
            # Whichever Python is the default: here there is one.
            given = {key: PYTHON for key, one in action["inputs"].items() if one["default"]}
            given |= {key: filled(text, known) for key, text in step.get("with", {}).items()}
            inputs = {f"inputs.{key}": text for key, text in given.items()}
            yield from ({**one, "known": inputs} for one in action["runs"]["steps"])
        else:
            yield {**step, "known": {}}


# Jenkins


def tokens(groovy: str) -> Iterator[tuple[str, str]]:
    """Split Groovy into texts ("text", "double"), brackets ("open", "close") and the rest ("word"); no comments."""
    pattern = re.compile(
        r"(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<text>'''.*?'''|'(?:\\.|[^'\\\n])*')"
        r"|(?P<double>\"(?:\\.|[^\"\\\n])*\")|(?P<open>[{(\[])|(?P<close>[})\]])|(?P<word>[\w.]+|[^\s\w])|\s+",
        re.DOTALL,
    )
    for match in pattern.finditer(groovy):
        if match.lastgroup not in (None, "comment"):
            kind = str(match.lastgroup)
            quotes = 3 if match[0].startswith("'''") else 1
            yield kind, match[0][quotes:-quotes] if kind in ("text", "double") else match[0]


def stages(groovy: str) -> dict[str, list[str]]:
    """What each stage has its shell do, in turn; AssertionError where brackets do not match."""
    found: dict[str, list[str]] = {}
    depth: list[str] = []
    seen = list(tokens(groovy))
    for place, (kind, text) in enumerate(seen):
        if kind == "open":
            depth.append(text)
        elif kind == "close":
            assert depth, "a bracket is closed that was not opened"
            assert {"(": ")", "[": "]", "{": "}"}[depth.pop()] == text, f"brackets cross at token {place}"
        elif (kind, text) == ("word", "stage"):
            found[seen[place + 2][1]] = []
        elif (kind, text) == ("word", "sh"):
            following = seen[place + 1 : place + 12]
            # Double quotes would have Groovy put values into the script.
            script = next(inner for inner in following if inner[0] in ("text", "double"))
            assert script[0] == "text", f"sh {script[1]!r} is filled in by Groovy"
            found[list(found)[-1]].append(script[1])
    assert not depth, "a bracket is not closed"
    return found


def split(call: str) -> list[str]:
    return shlex.split(call)
