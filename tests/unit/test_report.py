"""The page and the printed tables: every number is on them, and nothing else is needed to read them."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from listeners import STYLES, make_track, reading_model, write_made
from rich.console import Console
from typer.testing import CliRunner

from backbeat.dataset import TASKS, FeatureStore, read_labels
from backbeat.errors import CorpusError
from backbeat.evaluation.report import write_report
from backbeat.evaluation.results import corpus_facts, read_results, write_results
from backbeat.evaluation.scoring import EvaluationSettings, examples_from_features, score
from backbeat.evaluation.tables import Row, score_table
from backbeat.statistics import Interval

SETTINGS = EvaluationSettings(confidence=0.9, resamples=100, seed=7, pictures=1)
VOID = {"meta", "img", "br"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Results of all three tasks, and the page."""
    root = tmp_path_factory.mktemp("made")
    tracks = [make_track(number, "test" if number < 4 else "train", late_s=0.2 * (number == 1)) for number in range(6)]

    write_made(root, tracks)
    store = FeatureStore(root / "features")
    curves = pd.DataFrame({"epoch": [0, 1], "train_loss": [2.0, 1.0], "valid_loss": [2.0, 1.5]})
    for task in TASKS:
        model = reading_model(task, run=f"run-of-{task}")
        labels = read_labels(root / "labels", task)
        examples = examples_from_features(task, labels, store)
        write_results(
            root / "reports" / task,
            root / "reports/metrics" / f"{task}.json",
            model,
            examples,
            score(model, examples),
            SETTINGS,
            corpus_facts(task, labels, store),
            curves,
        )
    write_report(root / "reports/index.html", [root / "reports" / task for task in TASKS], "dvc repro <report>")
    return root / "reports"


class Reader(HTMLParser):
    """Checks that tags nest, and gathers text, ids, links and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            assert values["alt"]
            self.sources.append(values["src"])
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def page(reports):
    reader = Reader()
    reader.feed((reports / "index.html").read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def test_every_score_is_on_the_page(reports, page):
    text = " ".join(page.text)
    for task in TASKS:
        results = read_results(reports / task)
        for style, values in results.groups.items():
            assert style == "all" or style in text
            for name, found in values.items():
                if style == "all":
                    assert f"{found.value:.3f}" in text, name
                    assert found.low != found.low or f"{found.low:.3f} – {found.high:.3f}" in text, name
        assert f"run-of-{task}" in text
        assert "90% interval" in text
    assert "abc123" in text
    assert "made=md5:0123" in text


def test_every_picture_is_in_the_page_itself(reports, page):
    files = [reports / task / picture.file for task in TASKS for picture in read_results(reports / task).pictures]
    assert len(files) == len(page.sources) == 12
    for path, source in zip(files, page.sources, strict=True):
        kind, _, data = source.partition(";base64,")
        assert kind == f"data:image/{'svg+xml' if path.suffix == '.svg' else 'png'}"
        assert base64.b64decode(data) == path.read_bytes()
    assert (reports / "index.html").stat().st_size < 4e6
    # Nothing is fetched: outside the pictures there is no address at all.
    assert not re.search(r"https?://", re.sub(r"base64,[A-Za-z0-9+/=]+", "", (reports / "index.html").read_text()))


def test_links_lead_somewhere(page):
    assert {f"#{name}" for name in (*TASKS, "data", "thread", "measures")} == set(page.links)
    assert {link.removeprefix("#") for link in page.links} <= page.ids


def test_the_corpus_the_worst_tracks_and_the_command_are_told(page):
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert "Corpus made" in text
    assert re.search(r"tracks 2 0 4 6", text)
    assert "4/4 4, 3/4 2" in text
    assert "hihat closed 180" in text
    assert re.search(r"made/t001 jazz 0\.000", text)
    assert "dvc repro <report>" in text
    assert "Trained on 2 tracks of made, chosen on 0, scored here on 4." in text
    for style in STYLES:
        assert style in text


def test_a_report_of_nothing_names_what_is_missing(tmp_path):
    with pytest.raises(CorpusError, match=r"summary\.json: is missing"):
        write_report(tmp_path / "index.html", [tmp_path / "beat"], "x")
    assert not (tmp_path / "index.html").exists()


def test_the_table_shows_scores_over_intervals_and_leaves_out_what_nobody_has():
    console = Console(width=100, record=True, file=None, force_terminal=False, quiet=False)
    rows = [
        Row("clips", 40, {"beat_f": Interval(0.8734, 0.84, 0.9, 40), "cmlt": Interval(0.7, 0.6, 0.8, 40)}),
        Row("librosa", 40, {"beat_f": Interval(0.741, 0.7, 0.78, 40)}, peer=True),
    ]
    with console.capture() as capture:
        console.print(score_table("beat", rows))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert lines[0] == "Beats and bars"
    assert re.fullmatch(r"\s+tracks beats F\s+CMLt", lines[1])
    assert re.fullmatch(r"clips\s+40\s+0\.873\s+0\.700", lines[2])
    assert lines[3].split() == [".84–.90", ".60–.80"]
    assert re.fullmatch(r"  librosa\s+0\.741\s+–", lines[4])


def test_the_summary_prints_what_the_pipeline_found(reports):
    import typer

    from pipelines.summary import main

    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--reports", str(reports)])
    assert done.exit_code == 0, done.output
    beat = read_results(reports / "beat").groups["all"]["beat_f"]
    assert f"{beat.value:.3f}" in done.stdout
    assert "90% interval" in done.stdout
    for hint in ("index.html", "dvc metrics show", "dvc plots show", "mlflow ui", "backbeat analyze song.mp3"):
        assert hint in done.stdout
    nothing = CliRunner().invoke(app, ["--reports", str(reports / "nowhere")])
    assert nothing.exit_code == 1
    assert "holds no scores; `dvc repro` makes them" in nothing.output


def test_the_summary_evaluates_as_the_pipeline_does():
    from pipelines.summary import evaluation_settings

    settings = evaluation_settings()
    assert settings.confidence == 0.95
    assert settings.pictures == 10


@pytest.mark.parametrize("task", TASKS)
def test_a_card_has_the_scores_of_rendered_and_real_music(reports, task):
    from backbeat.evaluation.benchmark import SetScores
    from pipelines.ship import KNOWN, card

    results = read_results(reports / task)
    measure = {"beat": "beat_f", "onset": "onset_micro_f", "genre": "accuracy"}[task]
    peer = {} if task == "genre" else {measure: Interval(0.4321, 0.4, 0.5, 3)}
    scores = {"all": {measure: Interval(0.8765, 0.8, 0.9, 3)}}
    real = SetScores(task, "records", "m 1", 3, 3, scores, peer, "two are hard", pd.DataFrame())
    text = card("# backbeat\n\nTrained.\n", results, [real])
    assert text.startswith("# backbeat\n\nTrained.\n\n## Scores")
    assert f"{results.groups['all'][measure].value:.3f}" in text
    assert "| real: records | 3 |" in text
    assert "0.876 .80–.90" in text or "0.877 .80–.90" in text
    assert ("| real: records, librosa | 3 |" in text) == (task != "genre")
    assert "- records: two are hard." in text
    assert KNOWN[task] in text


def test_ways_to_choose_stand_side_by_side(reports, tmp_path):
    folder = tmp_path / "recommenders"
    folder.mkdir()
    (folder / "beats.csv").write_text(
        "question,way,measure,value,low,high,count\n"
        "rendered,rules,found_5,0.736,0.666,0.796,159\nrendered,model,found_5,0.86,0.802,0.9,159\n"
    )
    (folder / "listeners.csv").write_text(
        "recommender,measure,value,low,high,count\nhybrid,ndcg_10,0.191,0.17,0.21,500\nhybrid,coverage,0.47,,,500\n"
    )
    write_report(tmp_path / "page.html", [reports / "beat"], "dvc repro", folder)
    reader = Reader()
    reader.feed((tmp_path / "page.html").read_text())
    text = " ".join(reader.text)
    assert "Ways to choose, side by side" in text
    for shown in ("0.736", ".67–.80", "recall@5", "hybrid", "0.191", "0.470", "coverage"):
        assert shown in text
    (folder / "listeners.csv").unlink()
    with pytest.raises(CorpusError, match=r"listeners\.csv: is missing"):
        write_report(tmp_path / "page.html", [reports / "beat"], "dvc repro", folder)
