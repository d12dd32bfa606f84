"""The loop, once round, with real programs: served traffic drifts, corrections come in, a better model takes over.

`make story` tells it. Each function is a chapter: it does what a user, an operator or a scheduler would do, checks what
must come of it, and tells it to the account.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from services import Service

from backbeat.client import Client
from backbeat.corpus.contract import Track, read_corpus
from backbeat.dataset import TASKS
from backbeat.files import atomic_path
from story.account import Account
from story.sounds import write_radio
from story.stage import SECRET, Hook, Programs, Project, Traffic, clone, monitor, programs, service, webhook

#: The rows that drift is looked for in, how many new ones there must be for another look, and so the most requests that
#: may pass until traffic that has changed as a whole is found.
WINDOW, EVERY = 120, 20
FOUND_WITHIN = 80
#: Pieces of the usual kind that are sent, so many that the last of them are looked at too, and of the new.
USUAL, NEW = WINDOW + 2 * EVERY, 204
#: Seconds until a service that follows the registry has changed its model, by settings: it looks every second.
CHANGED_WITHIN_S = 20.0


@dataclass
class Scene:
    """Who takes part."""

    account: Account
    project: Project
    around: Programs
    service: Service
    hook: Hook
    usual: list[Track]
    radio: list[Track]
    sounds: Path
    #: What the service said of the pieces over the radio.
    answers: list[dict[str, Any]] = field(default_factory=list)

    def model(self) -> dict[str, Any]:
        """Return what the service tells of its genre model."""
        found: dict[str, Any] = httpx.get(f"{self.service.url}/v1/models", timeout=30).json()["models"]["genre"]
        return found

    def wait_for(self, version: str) -> float:
        """Wait until the service answers by a version; return how long that took."""
        begun = time.monotonic()
        while self.model()["version"] != version:
            assert time.monotonic() - begun < CHANGED_WITHIN_S, self.model()
            time.sleep(0.1)
        return time.monotonic() - begun

    def checks(self) -> list[dict[str, Any]]:
        """Return the looks for drift that there were, the latest first."""
        answer = httpx.get(f"{self.service.url}/v1/monitoring/drift", timeout=30)
        history: list[dict[str, Any]] = answer.json()["history"]
        return history


def tell(folder: Path) -> dict[str, Any]:
    """Tell the story in a folder; return its figures, which are in `account.md` as well."""
    account = Account(folder / "account.md")
    with programs(folder) as around, webhook() as hook:
        account.say(f"round the project: {around.told}")
        project = clone(
            folder, {"MLFLOW_TRACKING_URI": around.registry, "BACKBEAT_MONITORING__DATABASE": around.monitoring}
        )
        first = _first_champion(account, project)
        usual, radio = _songs(account, project, folder / "sounds")
        with service(folder / "service", around) as running:
            scene = Scene(account, project, around, running, hook, usual, radio, folder / "sounds")
            assert scene.model()["run"] == first
            settings = _settings(folder, scene)
            with monitor(project, settings):
                _usual_traffic(scene)
                figures = _traffic_changes(scene)
            figures |= _corrections(scene)
            figures |= _retraining(scene)
            figures |= _bad_challenger(scene)
            figures |= _rollback(scene)
    figures["seconds"] = account.seconds
    account.chapter("In figures")
    account.show(json.dumps(figures, indent=2))
    return figures


def _first_champion(account: Account, project: Project) -> str:
    account.chapter("A champion")
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["experiment"] = "story"
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    for path, before, after in (
        # The story has no hours: its first models begin with the weights that ship.
        *((f"conf/task/{task}.yaml", 'start_from: ""', f"start_from: src/backbeat/weights/{task}") for task in TASKS),
        # Pieces that the shipped weights have not learnt from.
        ("conf/corpus/rendered.yaml", "\nseed: 1\n", "\nseed: 31\n"),
        ("conf/corpus/rendered.yaml", "{train: 0.78, valid: 0.09, test: 0.13}", "{train: 0.4, valid: 0.2, test: 0.4}"),
    ):
        text = (project.root / path).read_text()
        assert before in text, path
        (project.root / path).write_text(text.replace(before, after))
    project.run("git", "commit", "-qam", "The story's pipeline")
    begun = time.monotonic()
    project.run("dvc", "repro")
    account.say(f"`dvc repro` composed, trained and scored in {time.monotonic() - begun:.0f} s")
    for task in TASKS:
        project.backbeat("models", "register", f"models/{task}", "--promote", "--why", "the first")
    project.run("git", "add", "dvc.lock")
    project.run("git", "commit", "-qm", "The first champion")
    spec = json.loads((project.root / "models" / "genre" / "spec.json").read_text())
    account.say(f"genre 1 is champion: run {spec['run'][:8]}, validation accuracy {spec['metrics']['accuracy']:.3f}")
    return str(spec["run"])


def _songs(account: Account, project: Project, sounds: Path) -> tuple[list[Track], list[Track]]:
    """Compose what callers will send: pieces that no model has heard, some of them over the radio."""
    counts = [f"+corpus.tracks={USUAL + NEW}", "corpus.seed=2026", "corpus.name=callers", f"paths.corpora={sounds}"]
    project.python("pipelines.corpus", "corpus=rendered", "experiment=story", *counts)
    corpus = read_corpus(sounds / "callers")
    tracks = sorted(corpus.tracks, key=lambda track: track.sha256)
    usual, radio = tracks[:USUAL], tracks[USUAL:]
    (sounds / "radio").mkdir()
    for number, track in enumerate(radio):
        write_radio(corpus.audio_path(track), sounds / "radio" / f"{track.id}.wav", number)
    account.say(f"callers have {len(usual)} pieces of the usual kind, and {len(radio)} over an old radio")
    return usual, radio


def _settings(folder: Path, scene: Scene) -> Path:
    """Write how the monitor is to watch."""
    rule = {"name": "drift", "measure": "drift", "severity": "critical", "above": 0.5, "message": "traffic has drifted"}
    settings = {
        "state": str(folder / "monitor"),
        "database": scene.around.monitoring,
        "watch": {"look_s": 1.0, "check_rows": EVERY, "window_rows": WINDOW, "registry": scene.around.registry},
        "rules": [rule],
        "targets": {"team": {"url": scene.hook.url, "secret": SECRET, "allow_http": True}},
    }
    path = folder / "watch.yaml"
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(settings))
    return path


def _send(scene: Scene, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Have files analysed, two at a time; return the answers, with their request ids."""

    def one(path: Path) -> dict[str, Any]:
        with Client(scene.service.url) as client:
            told = client.analyze(path).to_dict()
            return {**told, "request_id": client.request_id}

    with ThreadPoolExecutor(2) as callers:
        return list(callers.map(one, paths))


def _right(tracks: Iterable[Track], answers: Iterable[dict[str, Any]]) -> float:
    right = [answer["genre"]["label"] == track.genre for track, answer in zip(tracks, answers, strict=True)]
    return sum(right) / len(right)


def _looked(scene: Scene, before: int, seconds: float = 90.0) -> dict[str, Any]:
    """Wait for the next look for drift; return it."""
    until = time.monotonic() + seconds
    while len(found := scene.checks()) <= before:
        assert time.monotonic() < until, "nobody looks for drift"
        time.sleep(0.3)
    return found[0]


def _usual_traffic(scene: Scene) -> None:
    scene.account.chapter("The usual traffic")
    answers = _send(scene, [scene.sounds / "callers" / track.path for track in scene.usual])
    # A look that is at work has not seen them all.
    while not any(check["rows"] == WINDOW for check in scene.checks()):
        _looked(scene, len(scene.checks()))
    judged = [check for check in scene.checks() if check["drift"] is not None]
    assert not any(check["drift"] for check in judged), judged
    assert scene.hook.arrived == []
    share = _right(scene.usual, answers)
    scene.account.say(f"{len(answers)} pieces like those it learnt from: {share:.0%} of the genres right")
    scene.account.say(f"{len(judged)} looks for drift found none; no alert")


def _traffic_changes(scene: Scene) -> dict[str, Any]:
    scene.account.chapter("The traffic changes")
    files = [scene.sounds / "radio" / f"{track.id}.wav" for track in scene.radio]
    sent, answers = 0, []
    begun = time.monotonic()
    while not scene.checks()[0]["drift"]:
        assert sent < FOUND_WITHIN, f"{sent} requests of the new kind, and no drift found: {scene.checks()[:3]}"
        before = len(scene.checks())
        answers += _send(scene, files[sent : sent + EVERY])
        sent += EVERY
        _looked(scene, before)
    scene.account.say(f"drift is found after {sent} requests of the new kind (stated: {FOUND_WITHIN})")
    scene.account.say(scene.checks()[0]["reason"])
    message = scene.hook.wait("opened", "drift", 30)
    assert all(right for _, right in scene.hook.arrived)
    scene.account.say(
        f"the webhook was told {time.monotonic() - begun:.0f} s after the first of them: {message['message']!r}, "
        f"{message['severity']}, signature right"
    )
    (alert,) = httpx.get(f"{scene.service.url}/v1/monitoring/alerts", params={"open": True}, timeout=30).json()[
        "alerts"
    ]
    assert alert["rule"] == "drift"
    answers += _send(scene, files[sent:])
    share = _right(scene.radio, answers)
    scene.account.say(f"only {share:.0%} of the new kind's genres are right")
    scene.answers = answers
    return {"requests_until_drift": sent, "right_before": share}


def _corrections(scene: Scene) -> dict[str, Any]:
    scene.account.chapter("Corrections")
    with Client(scene.service.url) as client:
        for track, answer in zip(scene.radio, scene.answers, strict=True):
            file = scene.sounds / "radio" / f"{track.id}.wav"
            client.correct(answer["request_id"], file, genre=track.genre, licence=track.licence)
    told = httpx.get(f"{scene.service.url}/v1/monitoring/health", timeout=30).json()
    assert told["corrections_pending"] == len(scene.radio)
    scene.account.say(f"listeners correct or confirm {len(scene.radio)} genres (POST /v1/feedback)")
    return {"corrections": len(scene.radio)}


def _retraining(scene: Scene) -> dict[str, Any]:
    scene.account.chapter("The schedule comes round")
    project = scene.project
    scheduled = Project(project.root, {**project.variables, "BACKBEAT_MONITORING__STATE": str(scene.service.state)})
    begun = time.monotonic()
    with Traffic(scene.service.url, scene.sounds / "callers" / scene.usual[0].path) as steady:
        said = scheduled.python("pipelines.retrain", "--task", "genre", "--fine-tune")
        scene.account.show(said)
        took = time.monotonic() - begun
        registered = json.loads(project.backbeat("models", "history", "genre", "--json"))
        version = registered[0]["version"]
        scene.wait_for(version)
        time.sleep(2)
    assert steady.lost == 0
    assert steady.versions == ["1", version]
    scene.account.say(
        f"retrained in {took:.0f} s; genre {version} is served; {steady.lost} of {steady.asked} requests lost"
    )
    model = scene.model()
    assert "corrections=" in model["data_hash"]
    scene.account.say(f"/v1/models: version {model['version']}, run {model['run'][:8]}, commit {model['commit'][:10]}")
    scene.account.say(f"data {model['data_hash']}")
    # The checkout has followed, to the commit that the model's tag names.
    head, tagged = (project.run("git", "rev-parse", name).strip() for name in ("HEAD", f"model-genre-v{version}^{{}}"))
    assert head == tagged
    again = scheduled.python("pipelines.retrain", "--task", "genre", "--fine-tune")
    assert "nothing to do" in again
    scene.account.say("asked again, there is nothing to do")
    held_out = [track for track in scene.radio if _in_test(scene, track)]
    answers = _send(scene, [scene.sounds / "radio" / f"{track.id}.wav" for track in held_out])
    share = _right(held_out, answers)
    scene.account.say(f"of {len(held_out)} pieces over the radio that were held out, {share:.0%} are right now")
    time.sleep(2)
    traced = project.backbeat("trace", answers[0]["request_id"])
    assert model["run"] in traced
    assert "licence" in traced
    scene.account.say("an answer, traced:")
    scene.account.show(traced)
    return {"version": version, "lost": steady.lost, "asked": steady.asked, "right_after": share, "retrained_s": took}


def _in_test(scene: Scene, track: Track) -> bool:
    from backbeat.files import sha256_file
    from backbeat.monitoring.feedback import split_of

    return split_of(sha256_file(scene.sounds / "radio" / f"{track.id}.wav")) == "test"


def _bad_challenger(scene: Scene) -> dict[str, Any]:
    scene.account.chapter("A bad challenger")
    root, project = scene.project.root, scene.project
    project.run("dvc", "checkout")  # the data of the champion, as its commit has them
    labels = root / "build" / "bad" / "labels"
    shutil.copytree(root / "data" / "labels", labels)
    for path in (labels / "genre").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        # Everybody gets their neighbour's genre but one: no chance in it, and all wrong.
        genres = [line["genre"] for line in lines]
        for line, genre in zip(lines, genres[7:] + genres[:7], strict=True):
            line["genre"] = genre
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    places = ["paths.labels=build/bad/labels", "paths.models=build/bad/models", "paths.reports=build/bad/reports"]
    project.python(
        "pipelines.train", "task=genre", "experiment=story", *places, "paths.checkpoints=build/bad/checkpoints"
    )
    before = scene.model()["version"]
    said = project.python(
        "pipelines.promote", "task=genre", "experiment=story", "model=build/bad/models/genre", expect=3
    )
    (refused, *_) = json.loads(project.backbeat("models", "history", "genre", "--json"))
    assert refused["action"] == "refuse"
    time.sleep(3)
    assert scene.model()["version"] == before
    scene.account.say(f"trained on shuffled labels, genre {refused['version']} is refused: {said.splitlines()[-1]}")
    return {"refused": refused["version"]}


def _rollback(scene: Scene) -> dict[str, Any]:
    scene.account.chapter("Back")
    begun = time.monotonic()
    scene.project.backbeat("models", "rollback", "genre", "--why", "listeners want the old one")
    waited = scene.wait_for("1")
    took = time.monotonic() - begun
    scene.account.say(
        f"`backbeat models rollback genre` brings genre 1 back in {took:.1f} s, {waited:.1f} after it ended"
    )
    scene.account.show(scene.project.backbeat("models", "history", "genre"))
    return {"rollback_s": took}
