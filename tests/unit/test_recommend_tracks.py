from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from catalogues import SPACE, item
from numpy.typing import NDArray
from typer.testing import CliRunner

from backbeat.cli import app
from backbeat.errors import CatalogueError, ConfigError, ModelError, UnknownItemError
from backbeat.features import FeatureParams
from backbeat.listening import recommenders
from backbeat.listening.collaborative import AlsSettings
from backbeat.listening.factors import FactorSettings
from backbeat.listening.history import History
from backbeat.listening.hybrid import Blend
from backbeat.listening.model import ListeningModel
from backbeat.listening.poisson import PoissonSettings
from backbeat.listening.recommenders import Evidence, register
from backbeat.listening.towers import TwoTowers
from backbeat.model import ModelSpec, save_model
from backbeat.recommend.catalogue import Catalogue
from backbeat.recommend.diversity import diversified
from backbeat.recommend.factors import interactions_since, refit
from backbeat.recommend.interactions import Interaction
from backbeat.recommend.tracks import TrackAnswer, TrackFilters, TrackRecommender

TRACKS, SIZE = 40, 8
SETTINGS = FactorSettings(AlsSettings(factors=8), PoissonSettings(circles=4))


def sound(number: int) -> NDArray[np.float32]:
    """Two sounds, even and odd, each with something of its own."""
    base = np.zeros(SIZE)
    base[number % 2] = 3.0
    return (base + 0.3 * np.random.default_rng(number).standard_normal(SIZE)).astype(np.float32)


def name(number: int) -> str:
    return f"track-{number:06d}"


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(str(tmp_path / "catalogue"), make=True) as made:
        made.add_many((item(number, artist=""), {SPACE: sound(number)}, b"") for number in range(TRACKS))
        yield made


def listen(catalogue: Catalogue) -> None:
    """Twelve listeners of two circles that cross the two sounds; tracks 36 to 39 nobody played."""
    rows = [
        Interaction(f"listener-{user}", name(track), "play", 1.75e9 + 100 * user + track)
        for user in range(12)
        for track in range(36)
        if (track // 2) % 2 == user % 2 and (track + user) % 5
    ]
    catalogue.add_interactions(rows)


def tiny_model(seed: int = 1) -> ListeningModel:
    import torch

    torch.manual_seed(seed)
    blend = Blend(np.array([[0.5, 0, 0, 0], [1, 0, 0, 0.5], [2, 0, 0, 0], [0.3, 0, 0, 0], [0.2, 0, 0, 0]]), np.zeros(6))
    decoding = {"space": SPACE, "inputs": SIZE, "factors": asdict(SETTINGS), "blend": blend.to_dict()}
    network = {"width": 16, "outputs": 8}
    spec = ModelSpec("listening", "tiny", "1", network, FeatureParams(), ("listener", "track"), decoding)
    return ListeningModel(TwoTowers(SIZE, **network), spec)


def ids(answers: tuple[TrackAnswer, ...]) -> list[str]:
    return [answer.item.id for answer in answers]


def test_likes_of_a_stranger_bring_what_sounds_alike(catalogue: Catalogue) -> None:
    answers = TrackRecommender(catalogue).recommend(likes=[name(0), name(2)], count=5)
    assert {answer.method for answer in answers} == {"content"}
    assert all(int(answer.item.id[-6:]) % 2 == 0 for answer in answers)
    assert name(0) not in ids(answers)
    assert answers[0].reason.startswith("Sounds like Title")
    assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)


def test_listeners_alike_bring_what_they_play(catalogue: Catalogue) -> None:
    listen(catalogue)
    assert interactions_since(catalogue) == len(catalogue.interactions())
    assert refit(catalogue, SETTINGS) == 36
    assert interactions_since(catalogue) == 0
    recommender = TrackRecommender(catalogue)
    heard = set(catalogue.interactions(user="listener-3").items.tolist())
    answers = recommender.recommend(user="listener-3", count=3)
    assert {answer.method for answer in answers} == {"collaborative"}
    assert all((int(answer.item.id[-6:]) // 2) % 2 == 1 for answer in answers)
    assert not heard & set(ids(answers))
    assert answers[0].reason.startswith("Listeners of Title")
    assert ids(recommender.recommend(user="listener-3", count=3)) == ids(answers)
    assert heard & set(ids(recommender.recommend(user="listener-3", count=36, filters=TrackFilters(heard=True))))


def test_what_is_done_counts_at_once(catalogue: Catalogue) -> None:
    listen(catalogue)
    refit(catalogue, SETTINGS)
    recommender = TrackRecommender(catalogue)
    with pytest.raises(UnknownItemError, match="no listener 'new'"):
        recommender.recommend(user="new")
    catalogue.add_interactions([Interaction("new", name(track), "like", 1.8e9) for track in (0, 5)])
    answers = recommender.recommend(user="new", count=5)
    assert {answer.method for answer in answers} == {"collaborative"}
    assert not {name(0), name(5)} & set(ids(answers))


def test_strangers_get_what_is_popular(catalogue: Catalogue) -> None:
    recommender = TrackRecommender(catalogue)
    with pytest.raises(CatalogueError, match="nothing is known of what is heard here"):
        recommender.recommend()
    listen(catalogue)
    catalogue.add_interactions([Interaction(f"listener-{user}", name(7), "like", 1.76e9) for user in range(6)])
    (first, *others) = TrackRecommender(catalogue).recommend(count=40)
    assert (first.item.id, first.method) == (name(7), "popularity")
    assert first.reason.endswith("listeners took to it, the latest counting most")
    # Tracks that nobody played are not popular.
    assert len(others) == 35


def test_the_hybrid_finds_new_tracks_and_tells_its_parts(catalogue: Catalogue) -> None:
    listen(catalogue)
    model = tiny_model()
    refit(catalogue, model.factors)
    answers = TrackRecommender(catalogue, model).recommend(user="listener-0", count=36)
    assert {answer.method for answer in answers} == {"hybrid"}
    assert set(answers[0].parts) == {"popularity", "content", "collaborative", "poisson", "deep"}
    assert answers[0].score == pytest.approx(sum(answers[0].parts.values()), abs=1e-3)
    new = {name(number) for number in range(36, 40)}
    assert new <= set(ids(answers))
    told = answers[0].to_dict()
    assert json.loads(json.dumps(told))["item"]["id"] == answers[0].item.id
    # A stranger gets what is popular, whatever model there is.
    assert TrackRecommender(catalogue, model).recommend()[0].method == "popularity"
    # Deep asks for nothing but the towers.
    assert TrackRecommender(catalogue, model).recommend(likes=[name(1)], method="deep")[0].method == "deep"


def test_a_method_without_what_it_needs_says_what_to_do(catalogue: Catalogue) -> None:
    recommender = TrackRecommender(catalogue)
    for method in ("hybrid", "deep"):
        with pytest.raises(ModelError, match="dvc repro"):
            recommender.recommend(likes=[name(1)], method=method)
    with pytest.raises(ModelError, match="maintenance reindex"):
        recommender.recommend(likes=[name(1)], method="collaborative")
    with pytest.raises(CatalogueError, match="nothing that this listener likes"):
        recommender.recommend(method="content")
    spec = tiny_model().spec
    other = ListeningModel(
        tiny_model().network, replace(spec, decoding={**spec.decoding, "space": "genre:" + "f" * 12})
    )
    with pytest.raises(ModelError, match=f"embeddings of genre:ffffffffffff, and the catalogue has {SPACE}"):
        TrackRecommender(catalogue, other).recommend(likes=[name(1)])


def test_filters_leave_what_they_say(catalogue: Catalogue) -> None:
    recommender = TrackRecommender(catalogue)
    likes = [name(0)]
    jazz = recommender.recommend(likes=likes, count=40, filters=TrackFilters(labels=("Jazz",)))
    assert {answer.item.label for answer in jazz} == {"jazz"}
    tempi = recommender.recommend(likes=likes, count=40, filters=TrackFilters(tempo_range=(100, 120)))
    assert tempi
    assert all(100 <= (answer.item.descriptors.tempo_bpm or 0) <= 120 for answer in tempi)
    rest = recommender.recommend(likes=likes, count=40, filters=TrackFilters(exclude=(name(2), "unknown")))
    assert len(rest) == TRACKS - 2
    with pytest.raises(CatalogueError, match="no track fits: none has the style polka"):
        recommender.recommend(likes=likes, filters=TrackFilters(labels=("polka",)))
    with pytest.raises(CatalogueError, match="none has a tempo of 20 to 21"):
        recommender.recommend(likes=likes, filters=TrackFilters(tempo_range=(20, 21)))
    with pytest.raises(CatalogueError, match="all are excluded"):
        recommender.recommend(likes=likes, filters=TrackFilters(exclude=tuple(map(name, range(TRACKS)))))


@pytest.mark.parametrize(
    "absurd",
    [{"tempo_range": (120.0, 90.0)}, {"tempo_range": (-1.0, 90.0)}, {"labels": ("",)}, {"duration_range": (0.0, 1.0)}],
)
def test_absurd_filters_are_refused(absurd: dict) -> None:
    with pytest.raises(ConfigError):
        TrackFilters(**absurd)


@pytest.mark.parametrize("absurd", [{"count": 0}, {"count": 5000}, {"diversity": 1.5}, {"method": "magic"}])
def test_absurd_questions_are_refused(catalogue: Catalogue, absurd: dict) -> None:
    with pytest.raises(ConfigError):
        TrackRecommender(catalogue).recommend(likes=[name(0)], **absurd)


def test_unknown_tracks_and_empty_catalogues_are_told(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(UnknownItemError, match="no track 'nothing'"):
        TrackRecommender(catalogue).recommend(likes=[name(0), "nothing"])
    with Catalogue.open(str(tmp_path / "empty"), make=True) as empty, pytest.raises(CatalogueError, match="no tracks"):
        TrackRecommender(empty).recommend()


def test_diversity_makes_a_list_less_alike(catalogue: Catalogue) -> None:
    recommender = TrackRecommender(catalogue)
    plain = recommender.recommend(likes=[name(0), name(2)], count=6)
    mixed = recommender.recommend(likes=[name(0), name(2)], count=6, diversity=0.7)
    assert plain[0].item.id == mixed[0].item.id
    assert len({int(answer.item.id[-6:]) % 2 for answer in plain}) == 1
    assert len({int(answer.item.id[-6:]) % 2 for answer in mixed}) == 2


def test_marginal_relevance_weighs_likeness_against_score() -> None:
    scores = np.array([1.0, 0.9, 0.8, 0.0], dtype=np.float32)
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    assert diversified(scores, vectors, 3, 0.0).tolist() == [0, 1, 2]
    # The second is as good as the third but for 0.1, and says what the first said.
    assert diversified(scores, vectors, 3, 0.5).tolist() == [0, 2, 1]
    assert diversified(scores[:0], vectors[:0], 3, 0.5).tolist() == []


def test_a_track_that_goes_is_recommended_no_more(catalogue: Catalogue) -> None:
    listen(catalogue)
    refit(catalogue, SETTINGS)
    recommender = TrackRecommender(catalogue, tiny_model())
    first = recommender.recommend(user="listener-1", count=40)[0].item.id
    catalogue.remove(first)
    assert first not in ids(recommender.recommend(user="listener-1", count=40))
    catalogue.forget_user("listener-1")
    with pytest.raises(UnknownItemError):
        recommender.recommend(user="listener-1")


def test_ones_own_recommender_is_a_method(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommenders, "_own", {})

    class Last:
        def __init__(self, evidence: Evidence) -> None:
            self.scores = np.arange(len(evidence.vectors), dtype=np.float32)

        def score(self, history: History) -> NDArray[np.float32]:
            return self.scores

    register("last", Last)
    answer = TrackRecommender(catalogue).recommend(method="last", count=1)[0]
    assert (answer.item.id, answer.method, answer.parts) == (name(TRACKS - 1), "last", {"last": TRACKS - 1})
    for taken in ("content", "auto", "Not a name"):
        with pytest.raises(ConfigError):
            register(taken, Last)


def test_the_command_recommends_in_words_and_in_json(catalogue: Catalogue, tmp_path: Path) -> None:
    listen(catalogue)
    place, model = str(tmp_path / "catalogue"), tiny_model()
    save_model(tmp_path / "model", model.network, model.spec, "")
    run = CliRunner().invoke
    plain = run(app, ["recommend", "tracks", "--like", name(0), "--catalogue", place, "-n", "3"])
    assert plain.exit_code == 0, plain.output
    assert "by content" in plain.output
    assert "Sounds like Title 0" in plain.output
    asked = ["recommend", "tracks", "--user", "listener-1", "--catalogue", place, "--json", "-n", "2"]
    told = json.loads(run(app, [*asked, "--model", str(tmp_path / "model")]).output)
    assert [answer["method"] for answer in told["answers"]] == ["hybrid", "hybrid"]
    refused = run(app, ["recommend", "tracks", "--method", "deep", "--catalogue", place])
    assert isinstance(refused.exception, ConfigError)


def test_a_model_folder_comes_back_as_it_was(tmp_path: Path, catalogue: Catalogue) -> None:
    model = tiny_model()
    save_model(tmp_path / "model", model.network, model.spec, "")
    again = ListeningModel.from_folder(tmp_path / "model")
    np.testing.assert_allclose(again.blend.weights, model.blend.weights)
    asked = {"likes": [name(3)], "count": 5}
    assert ids(TrackRecommender(catalogue, again).recommend(**asked)) == ids(
        TrackRecommender(catalogue, model).recommend(**asked)
    )
    save_model(tmp_path / "bad", model.network, replace(model.spec, decoding={"inputs": SIZE}), "")
    with pytest.raises(ModelError, match="incomplete"):
        ListeningModel.from_folder(tmp_path / "bad")


def test_a_large_catalogue_is_gone_through_quickly(tmp_path: Path) -> None:
    count = 5_000
    with Catalogue.open(str(tmp_path / "large"), make=True) as large:
        one = item(0)
        random = np.random.default_rng(1).standard_normal((count, 64)).astype(np.float32)
        large.add_many(
            (replace(one, id=name(row), sha256=f"{row:064x}"), {SPACE: random[row]}, b"") for row in range(count)
        )
        recommender = TrackRecommender(large)
        recommender.recommend(likes=[name(5)])
        took = []
        for row in range(5):
            began = time.perf_counter()
            recommender.recommend(likes=[name(row), name(row + 7)])
            took.append(time.perf_counter() - began)
    # It takes some 5 ms alone; others may be at work as well.
    assert min(took) < 0.1


def test_reasons_name_tracks_that_share_a_listener(catalogue: Catalogue) -> None:
    listen(catalogue)
    refit(catalogue, SETTINGS)
    table = catalogue.interactions()
    liked = table.weight > 0
    who = {track: set(table.users[liked & (table.items == track)].tolist()) for track in set(table.items.tolist())}
    by_title = {catalogue.get(track).title: track for track in who}
    told = 0
    for number in range(6):
        for answer in TrackRecommender(catalogue).recommend(user=f"listener-{number}", count=20):
            if answer.reason.endswith(" play it too"):
                named = by_title[answer.reason.removeprefix("Listeners of ").removesuffix(" play it too")]
                assert who[named] & who[answer.item.id]
                told += 1
    assert told > 10


def test_where_others_say_nothing_sound_decides(catalogue: Catalogue) -> None:
    """Two listeners who share no track: nothing can be told of one by the other."""
    told = [("ann", 0), ("bob", 30)]
    catalogue.add_interactions([Interaction(user, name(track), "like", 1.76e9) for user, track in told])
    refit(catalogue, SETTINGS)
    answers = TrackRecommender(catalogue).recommend(user="ann", count=3)
    assert {answer.method for answer in answers} == {"content"}


def test_what_was_heard_years_ago_still_counts(catalogue: Catalogue) -> None:
    told = [("old", 3, 1e8), ("new", 9, 1.76e9)]
    catalogue.add_interactions([Interaction(user, name(track), "like", at) for user, track, at in told])
    answers = TrackRecommender(catalogue).recommend(user="old", count=3, method="content")
    assert len(answers) == 3
    assert answers[0].score > 0


def test_a_track_that_cannot_be_compared_is_told_so(catalogue: Catalogue) -> None:
    catalogue.add(replace(catalogue.get(name(0)), id="silent"), {})
    with pytest.raises(CatalogueError, match="silent: how it sounds is not known"):
        TrackRecommender(catalogue).recommend(likes=("silent",))
