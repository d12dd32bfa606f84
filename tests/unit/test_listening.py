from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backbeat.augment import Augmentation
from backbeat.dataset import LabelledTrack, read_labels
from backbeat.errors import ConfigError, CorpusError, ModelError
from backbeat.features import FeatureParams
from backbeat.files import write_text
from backbeat.learning import Optimisation
from backbeat.listening import recommenders
from backbeat.listening.collaborative import AlsSettings, Collaborative, fit_als
from backbeat.listening.content import Content
from backbeat.listening.data import ItemSet, Listening, ListeningData, gather, read_items, write_items
from backbeat.listening.evaluation import evaluate, evidence_before, held_of
from backbeat.listening.factors import Factors, FactorSettings, fit_factors
from backbeat.listening.history import DAY_S, Events, History
from backbeat.listening.hybrid import Blend, Choice, ItemContext, fit_blend, standardised
from backbeat.listening.model import ListeningModel
from backbeat.listening.poisson import Poisson, PoissonSettings, fit_rates
from backbeat.listening.popularity import Popularity
from backbeat.listening.recommenders import Evidence, known, make, numbered, register
from backbeat.listening.score import chance_row, ranked, score_user
from backbeat.listening.sessions import simulate
from backbeat.listening.simulator import ExposureParams, SimulatorParams, Sounds, TasteParams, build_world
from backbeat.tracking import Tracking
from backbeat.training import Places, TaskSettings, TrainerSettings, train
from pipelines.listeners import TimeShares, heard_tracks, label_lines, simulated, split_of

TRACKS, SIZE, START_S = 120, 12, 1.7e9
SMALL = SimulatorParams(listeners=80, days=60.0, sessions_a_day=0.3, taste=TasteParams(scenes=6))
ALS = AlsSettings(factors=8, regularisation=1.0)
POISSON = PoissonSettings(circles=4)
FACTORS = FactorSettings(ALS, POISSON)


def sounds(seed: int = 0) -> ItemSet:
    """Items of four styles that lie apart."""
    random = np.random.default_rng(seed)
    style = np.arange(TRACKS) % 4
    vectors = 2 * random.standard_normal((4, SIZE))[style] + random.standard_normal((TRACKS, SIZE))
    return ItemSet(
        ids=tuple(f"rendered.track-{number:03d}" for number in range(TRACKS)),
        labels=tuple(f"style-{number}" for number in style),
        artists=("",) * TRACKS,
        tempo_bpm=random.uniform(60, 180, TRACKS),
        energy=random.random(TRACKS),
        added_at=np.zeros(TRACKS),
        vectors=vectors.astype(np.float32),
        space="genre:0123456789ab",
        features=FeatureParams(),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the stage `listeners` leaves it."""
    folder = tmp_path_factory.mktemp("data")
    items, table, _ = simulated(sounds(), SMALL, START_S)
    write_items(folder / "listening", items)
    lines = "".join(label_lines(table, TimeShares(0.2, 0.2)))
    write_text(folder / "labels/listening/simulated.jsonl", lines)
    write_text(folder / "labels/audio/simulated.jsonl", "")
    return folder


@pytest.fixture(scope="module")
def listening(data: Path) -> Listening:
    return gather(read_labels(data / "labels", "listening"), read_items(data / "listening"))


def history(items: list[int], weights: list[float] | None = None, days_ago: list[float] | None = None) -> History:
    at = START_S - DAY_S * np.array(days_ago or [1.0] * len(items))
    return History(np.array(items), at, np.array(weights or [1.0] * len(items), dtype=np.float32), START_S)


def evidence(vectors: NDArray[np.float32], events: Events, artists: list[str] | None = None) -> Evidence:
    names = artists or [""] * len(vectors)
    return Evidence(vectors, numbered(names), np.zeros(len(vectors)), events, START_S)


NOTHING = Events.of([], [], [], [])


# The simulator


def test_the_same_seed_gives_the_same_listeners_and_another_seed_others() -> None:
    items = sounds()
    heard = Sounds(items.vectors, np.array(items.labels), items.tempo_bpm, items.energy)
    made = [
        simulate(heard, build_world(heard, params), params, START_S)
        for params in (SMALL, SMALL, replace(SMALL, seed=2))
    ]
    assert made[0].items.tolist() == made[1].items.tolist()
    assert made[0].at.tolist() == made[1].at.tolist()
    assert made[0].items.tolist() != made[2].items.tolist()
    assert np.all(np.diff(made[0].at) >= 0)


def test_listeners_play_what_they_like_once_it_is_out() -> None:
    items = sounds()
    heard = Sounds(items.vectors, np.array(items.labels), items.tempo_bpm, items.energy)
    world = build_world(heard, SMALL)
    plays = simulate(heard, world, SMALL)
    days = plays.at / DAY_S
    assert np.all(days >= world.out_day[plays.items])
    assert np.all(days >= world.joined_day[plays.users])
    assert set(plays.kinds.tolist()) == {"play", "skip", "like", "save"}
    utility = np.array([world.utility(u, d)[i] for u, i, d in zip(plays.users, plays.items, days, strict=True)])
    # A track drawn by chance has 0; what is skipped is liked less than what is not, and this less than what is saved.
    means = {kind: utility[plays.kinds == kind].mean() for kind in ("skip", "play", "save")}
    assert 0 < means["skip"] < means["play"] - 0.5 < means["save"] - 1.0
    counts = np.sort(np.bincount(plays.items, minlength=TRACKS))[::-1]
    assert counts[:12].sum() > 2 * counts.sum() / 10, "a tenth of the tracks has more than its share"


def test_taste_drifts_as_far_as_it_is_told() -> None:
    items = sounds()
    heard = Sounds(items.vectors, np.array(items.labels), items.tempo_bpm, items.energy)
    likeness = {}
    for drift in (0.0, 0.5):
        world = build_world(heard, replace(SMALL, taste=TasteParams(drift=drift)))
        first, last = world.utility(3, 0.0), world.utility(3, 60.0)
        likeness[drift] = float(np.corrcoef(first, last)[0, 1])
    assert likeness[0.0] == pytest.approx(1.0)
    assert likeness[0.5] < 0.9


def test_scenes_are_not_heard_where_they_do_not_go_by_style() -> None:
    items = sounds()
    heard = Sounds(items.vectors, np.array(items.labels), items.tempo_bpm, items.energy)
    world = build_world(heard, replace(SMALL, taste=TasteParams(scene_styles=0.0, scenes=3)))
    for artist in np.unique(world.artists):
        assert np.unique(world.scenes[world.artists == artist]).size == 1
    styles = np.array(items.labels)
    assert all(np.unique(world.scenes[styles == style]).size > 1 for style in np.unique(styles))


@pytest.mark.parametrize(
    "absurd",
    [
        lambda: TasteParams(heard=0.0, scene=0.0),
        lambda: TasteParams(drift=2.0),
        lambda: TasteParams(scenes=1),
        lambda: ExposureParams(charts=0.9),
        lambda: ExposureParams(slate=1),
        lambda: SimulatorParams(listeners=1),
        lambda: SimulatorParams(new_tracks=1.0),
        lambda: AlsSettings(factors=0),
        lambda: AlsSettings(alpha=0.0),
        lambda: PoissonSettings(circles=0),
        lambda: PoissonSettings(share=-0.1),
        lambda: TimeShares(0.5, 0.5),
    ],
)
def test_absurd_settings_are_refused(absurd: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        absurd()


def test_too_few_tracks_are_refused() -> None:
    few = Sounds(np.zeros((5, 2), np.float32), np.array(["a"] * 5), np.full(5, np.nan), np.full(5, np.nan))
    with pytest.raises(CorpusError, match="too few"):
        build_world(few, SMALL)


# Single recommenders


def test_popularity_fades_and_is_not_of_what_was_skipped() -> None:
    events = Events.of([0, 1, 2, 3], [0, 1, 2, 2], START_S - DAY_S * np.array([30.0, 0, 0, 0]), [1, 1, -1, -1])
    scores = Popularity(evidence(np.zeros((4, 2), np.float32), events)).score(history([]))
    np.testing.assert_allclose(np.expm1(scores), [0.5, 1, 0, 0], atol=1e-6)


def test_content_goes_to_either_interest_and_not_between() -> None:
    vectors = np.array([[4, 0], [4.1, 0.1], [0, 4], [0.1, 4.1], [2, 2], [-4, -4]], dtype=np.float32)
    content = Content(evidence(vectors, NOTHING))
    scores = content.score(history([0, 0, 0, 2, 2, 2]))
    assert min(scores[1], scores[3]) > scores[4] > scores[5]
    assert np.isnan(content.score(history([0], weights=[-1.0]))).all()
    disliked = content.score(history([0, 3], weights=[1.0, -4.0]))
    assert disliked[2] < scores[2]


def test_content_knows_the_artist() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1.001], [1, 1]], dtype=np.float32)
    content = Content(evidence(vectors, NOTHING, ["Ann", "Ann", "Bob", ""]))
    scores = content.score(history([0]))
    assert scores[1] > scores[2] + 0.1
    assert Content(evidence(vectors, NOTHING, ["", "", "", ""])).score(history([3]))[1] < 1.0


def events_of_circles() -> Events:
    """Two circles of listeners, of items 0 to 9 and 10 to 19; item 20 nobody heard."""
    random = np.random.default_rng(5)
    pairs = [(user, 10 * (user % 2) + item) for user in range(30) for item in range(10) if random.random() < 0.6]
    users, items = zip(*pairs, strict=True)
    return Events.of(users, items, np.full(len(pairs), START_S), np.ones(len(pairs)))


def test_factors_are_the_same_for_the_same_seed_and_know_the_circles() -> None:
    events, two = events_of_circles(), replace(ALS, factors=2)
    factors = fit_als(events, 21, START_S, two)
    np.testing.assert_array_equal(factors.matrix, fit_als(events, 21, START_S, two).matrix)
    assert factors.known.tolist() == [True] * 20 + [False]
    rates = fit_rates(NOTHING, np.full(21, -1), START_S, POISSON)
    recommender = Collaborative(
        replace(evidence(np.zeros((21, 2), np.float32), events), factors=Factors(factors, rates))
    )
    scores = recommender.score(history([0, 1]))
    assert scores[2:10].min() > scores[10:20].max()
    assert np.isnan(scores[20])
    assert np.isnan(recommender.score(history([20]))).all()
    items, added = recommender.contributions(history([0, 1]), 5)
    assert added.sum() == pytest.approx(scores[5], rel=1e-4)
    assert items.tolist() == [0, 1]


def test_folding_in_is_what_implicit_does() -> None:
    import threadpoolctl
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    factors = fit_als(events_of_circles(), 20, START_S, ALS)
    both = Factors(factors, fit_rates(NOTHING, np.full(20, -1), START_S, POISSON))
    recommender = Collaborative(replace(evidence(np.zeros((20, 2), np.float32), NOTHING), factors=both))
    past = history([3, 12, 4], weights=[1.0, 2.0, -1.0], days_ago=[0.0, 0.0, 0.0])
    # Weight 1 is a confidence of 2, weight 2 of 3, and a skip one of 2 that it is not wanted.
    row = csr_matrix(([2.0, 3.0, -2.0], ([0, 0, 0], [3, 12, 4])), shape=(1, 20), dtype=np.float32)
    with threadpoolctl.threadpool_limits(1, "blas"):
        theirs = AlternatingLeastSquares(factors=8, regularization=ALS.regularisation, num_threads=1, use_native=False)
    theirs.item_factors, theirs.user_factors = factors.matrix, np.zeros((1, 8), np.float32)
    expected = factors.matrix @ theirs.recalculate_user(0, row)
    np.testing.assert_allclose(recommender.score(past), expected, rtol=1e-3, atol=1e-4)


def test_nothing_to_learn_from_gives_no_factors() -> None:
    found = fit_factors(NOTHING, np.full(3, -1), START_S, FACTORS)
    assert not found.als.known.any()
    assert not found.rates.known.any()
    for kind in (Collaborative, Poisson):
        with pytest.raises(ModelError, match="maintenance reindex"):
            kind(evidence(np.zeros((3, 2), np.float32), NOTHING))
        nowhere = kind(replace(evidence(np.zeros((3, 2), np.float32), NOTHING), factors=found))
        assert np.isnan(nowhere.score(history([1]))).all()


def poisson_of(events: Events, artists: list[str], settings: PoissonSettings = POISSON) -> Poisson:
    """What is fitted to events of tracks by these artists."""
    factors = fit_factors(events, numbered(artists), START_S, FactorSettings(ALS, settings))
    # Through the rows that a catalogue keeps.
    factors = Factors.of_rows(factors.rows, FactorSettings(ALS, settings))
    return Poisson(replace(evidence(np.zeros((len(artists), 2), np.float32), events, artists), factors=factors))


def test_rates_are_the_same_for_the_same_seed_and_know_the_circles() -> None:
    events, artists = events_of_circles(), numbered(["a"] * 5 + [""] * 15)
    rates = fit_rates(events, artists, START_S, POISSON)
    again = fit_rates(events, artists, START_S, POISSON)
    np.testing.assert_array_equal(rates.tracks, again.tracks)
    np.testing.assert_array_equal(rates.artists, again.artists)
    assert rates.tracks.min() >= 0
    # Each track has the rate of its artist, and none where nobody is known to have made it.
    assert np.ptp(rates.artists[:5], axis=0).max() == 0 < rates.artists[0].max()
    assert rates.artists[5:].max() == 0
    scores = poisson_of(events, [""] * 20, replace(POISSON, circles=2)).score(history([0, 1]))
    assert scores[2:10].min() > scores[10:].max() + 1
    # With as many circles as tracks each would be known by itself alone.
    scores = poisson_of(events, [""] * 20, PoissonSettings()).score(history([0, 1]))
    assert scores[2:10].min() > scores[10:].max() + 1


def test_rates_foretell_how_often_each_item_is_played() -> None:
    """The Kullback-Leibler divergence is at its least where the sums of what was and what is expected are alike."""
    events = events_of_circles()
    one = replace(POISSON, circles=1, half_life_days=1e9)
    rates = fit_rates(events, np.full(20, -1), START_S, one)
    counts = np.bincount(events.items, minlength=20)
    np.testing.assert_allclose(rates.tracks[:, 0] / rates.tracks.sum(), counts / counts.sum(), rtol=1e-3)


def test_a_track_that_nobody_heard_is_known_by_its_artist() -> None:
    events = events_of_circles()
    artists = ["one"] * 10 + ["two"] * 10
    found = poisson_of(events, [*artists, "one", "two", ""])
    scores = found.score(history([0, 1]))
    assert scores[20] > scores[21] + 1
    assert np.isnan(scores[22])
    # What is heard of it stands for its artist too.
    assert found.score(history([21]))[10:20].min() > found.score(history([21]))[:10].max()
    # Without a share of its artist nothing tells of it.
    alone = poisson_of(events, [*artists, "one", "two"], replace(POISSON, share=0.0)).score(history([0]))
    assert np.isnan(alone[20:]).all()


def test_circles_of_years_ago_are_told_apart_as_those_of_today() -> None:
    now = poisson_of(events_of_circles(), [""] * 20)
    events = events_of_circles()
    long_ago = poisson_of(Events(events.users, events.items, events.at - 400 * DAY_S, events.weights), [""] * 20)
    fresh, old = history([0, 1], days_ago=[0.0, 0.0]), history([0, 1], days_ago=[400.0, 400.0])
    expected = now.score(fresh)
    assert expected[2:10].max() > expected[10:].min() + 1
    for found in (now.score(old), long_ago.score(fresh), long_ago.score(old)):
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_what_is_skipped_says_nothing_of_a_circle() -> None:
    found = poisson_of(events_of_circles(), [""] * 20)
    np.testing.assert_array_equal(found.score(history([0, 12], weights=[1.0, -1.0])), found.score(history([0])))
    assert np.isnan(found.score(history([12], weights=[-1.0]))).all()


# The blend


def test_scores_are_standardised_over_those_that_are_there() -> None:
    scores = standardised(np.array([1, 2, 3, np.nan], dtype=np.float32))
    np.testing.assert_allclose(scores, [-1.2247, 0, 1.2247, 0], atol=1e-4)
    assert standardised(np.full(3, np.nan, np.float32)).tolist() == [0, 0, 0]
    assert standardised(np.full(3, 7.0, np.float32)).tolist() == [0, 0, 0]


def test_a_blend_finds_who_is_right_for_what() -> None:
    """Collaborative scores decide among items that are played, content scores among those that are not."""
    random = np.random.default_rng(0)
    choices = []
    for _ in range(200):
        scores = random.standard_normal((5, 50)).astype(np.float32)
        unplayed = (np.arange(50) < 25).astype(np.float32)
        truth = np.where(unplayed, 2 * scores[1], 2 * scores[2]) + random.gumbel(size=50)
        context = ItemContext(1 - unplayed, unplayed, *np.zeros((2, 50), np.float32))
        choices.append(Choice(scores, context, 0.5, np.array([int(truth.argmax())])))
    blend = fit_blend(choices, 1)
    context = ItemContext(*np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32))
    scores = np.ones((5, 2), np.float32)
    parts = blend.parts(scores, context, 0.5)
    unplayed = np.array([0, blend.added[0] + 0.5 * blend.added[1]])
    np.testing.assert_allclose(blend.mix(scores, context, 0.5), parts.sum(axis=0) + unplayed, rtol=1e-5)
    popularity, content, collaborative, poisson, deep = parts.tolist()
    assert collaborative[0] > 1.0 > abs(collaborative[1]) + 0.3
    assert content[1] > 1.0 > abs(content[0]) + 0.3
    assert max(map(abs, popularity + poisson + deep)) < 0.5
    again = Blend.from_dict(json.loads(json.dumps(blend.to_dict())))
    np.testing.assert_allclose(again.weights, blend.weights, atol=1e-5)
    with pytest.raises(ModelError, match="malformed"):
        Blend.from_dict({"recommenders": {}})
    with pytest.raises(ModelError, match="no blend"):
        fit_blend([], 1)


# Scores


def test_scores_of_lists() -> None:
    order = np.array([7, 3, 9, 1])
    found = score_user(order, np.array([3, 1]))
    assert found["ndcg_10"] == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)))
    assert found["recall_10"] == 1.0
    assert found["reciprocal_rank"] == 0.5
    assert score_user(order, np.array([5]))["ndcg_10"] == 0.0
    unknown = np.array([0.5, np.nan, 0.9, np.nan], dtype=np.float32)
    popular = np.array([0, 1, 0, 2], dtype=np.float32)
    assert ranked(unknown, np.arange(4), popular).tolist() == [2, 0, 3, 1]


def test_chance_is_what_shuffled_lists_score() -> None:
    random = np.random.default_rng(3)
    held = np.arange(4)
    drawn = [score_user(random.permutation(60), held) for _ in range(4000)]
    expected = chance_row(4, 60)
    for measure, value in expected.items():
        assert np.mean([row[measure] for row in drawn]) == pytest.approx(value, rel=0.06)


# Data


def test_items_come_back_as_they_were(tmp_path: Path) -> None:
    items = replace(sounds(), tempo_bpm=np.full(TRACKS, np.nan))
    write_items(tmp_path / "listening", items)
    again = read_items(tmp_path / "listening")
    assert (again.ids, again.labels, again.space, again.features) == (
        items.ids,
        items.labels,
        items.space,
        items.features,
    )
    np.testing.assert_array_equal(again.vectors, items.vectors)
    assert np.isnan(again.tempo_bpm).all()
    with pytest.raises(CorpusError, match="is missing; `dvc repro`"):
        read_items(tmp_path / "nothing")
    np.save(tmp_path / "listening/vectors.npy", items.vectors[:3])
    with pytest.raises(CorpusError, match="120 items and 3 vectors"):
        read_items(tmp_path / "listening")


def test_tracks_of_pairs_are_no_tracks_to_listen_to(tmp_path: Path) -> None:
    lines = {
        "audio/songs": [{"id": "b"}, {"id": "a"}],
        "genre/songs": [{"id": "a", "genre": "jazz"}],
        "beat/songs": [{"id": "a", "times_s": [0.0, 0.5, 1.0, 1.51]}],
        "audio/halves": [{"id": "c"}],
        "pairing/halves": [{"id": "c"}],
        "pairing/songs": [],
    }
    for name, several in lines.items():
        write_text(tmp_path / f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in several))
    first, second = heard_tracks(tmp_path)
    assert (first.corpus, first.id, first.label, first.tempo_bpm) == ("songs", "a", "jazz", 120.0)
    assert (second.id, second.label) == ("b", "")
    assert np.isnan(second.tempo_bpm)
    with pytest.raises(CorpusError, match="no corpus has tracks"):
        heard_tracks(tmp_path / "nothing")


def test_splits_lie_one_after_the_other(listening: Listening) -> None:
    shares = split_of(np.arange(11.0), TimeShares(0.2, 0.3))
    assert shares.tolist() == [0] * 5 + [1] * 2 + [2] * 4
    for split, after in (("train", "valid"), ("valid", "test")):
        assert listening.span(split)[1] == listening.span(after)[0]
    event = {"events": [["rendered.track-000", 5.0, 1.0]]}
    tracks = [LabelledTrack("one", "ann", split, "", "", event) for split in ("train", "valid", "test")]
    with pytest.raises(CorpusError, match="must all lie after"):
        gather(tracks, sounds())
    with pytest.raises(CorpusError, match="no interactions in the test split"):
        gather(tracks[:2], sounds())


def test_what_is_held_was_new_to_the_listener_and_out(listening: Listening) -> None:
    begins, ends = listening.span("test")
    held = held_of(listening, "test")
    assert len(held) > 20
    for one in held:
        assert not set(one.items.tolist()) & set(one.history.items.tolist())
        assert set(one.items.tolist()) <= set(one.candidates.tolist())
        assert np.all(one.history.at < ends)
        assert np.all(listening.items.added_at[one.candidates] < ends)
    assert evidence_before(listening, "test", FACTORS).events.at.max() < begins
    assert any(one.history.at.size == 5 and one.history.at[0] >= begins for one in held), "new listeners show five"


def test_batches_spare_what_was_heard(listening: Listening) -> None:
    batch = next(iter(ListeningData(listening, 10, 5, 32, 1).train_dataloader()))
    assert batch["histories"].shape[:2] == batch["events"].shape[:2] == batch["there"].shape
    assert not batch["spared"].diagonal().any()
    same = batch["targets"][:, None] == batch["targets"][None]
    same.fill_diagonal_(False)
    assert same.any()
    assert batch["spared"][same].all()
    # What the later splits hold is not known in training.
    data = ListeningData(listening, 10, 5, 32, 1)
    later = listening.events.where(listening.events.at >= listening.begins["valid"])
    known = listening.events.before(listening.begins["valid"])
    assert data.heard(known.users, known.items).all()
    assert not data.heard(later.users, later.items).all()
    # Frequencies are logarithms of shares.
    assert (batch["log_frequency"] < 0).all()


# Training


def settings(epochs: int = 4) -> TaskSettings:
    return TaskSettings(
        "listening",
        {"width": 32, "outputs": 16},
        {"examples": 10},
        {"factors": {"collaborative": {"factors": 8}, "poisson": {"circles": 4}}},
        Optimisation(epochs, 64, 1.0, 5e-3, 0.01, 1.0, 0),
        Augmentation(),
    )


def places(data: Path, output: Path) -> Places:
    return Places(
        labels=data / "labels",
        features=data / "features",
        stems=data / "stems",
        listening=data / "listening",
        output=output / "model",
        checkpoints=output / "checkpoints",
        curves=output / "curves.csv",
        lock=output / "dvc.lock",
    )


HOW = TrainerSettings(3, "cpu", "1", "32-true", 1, False)
NO_TRACKING = Tracking("", "backbeat")


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> ListeningModel:
    where = places(data, tmp_path_factory.mktemp("trained"))
    train(settings(), HOW, NO_TRACKING, where, {})
    return ListeningModel.from_folder(where.output)


def test_a_model_has_towers_and_blend_and_no_names(model: ListeningModel, data: Path) -> None:
    assert model.space == "genre:0123456789ab"
    assert (model.factors.collaborative.factors, model.factors.poisson.circles) == (8, 4)
    assert set(model.spec.metrics) == {"ndcg_10", "recall_10"}
    told = json.dumps(model.spec.to_dict())
    assert "listener-0" not in told
    assert "rendered.track" not in told
    sizes = {value.numel() for value in model.network.state_dict().values()}
    assert SMALL.listeners not in sizes


def test_the_same_seed_trains_the_same_model(model: ListeningModel, data: Path, tmp_path: Path) -> None:
    train(settings(), HOW, NO_TRACKING, places(data, tmp_path), {})
    again = ListeningModel.from_folder(tmp_path / "model")
    for name, value in model.network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), again.network.state_dict()[name].numpy(), err_msg=name)
    assert again.spec.decoding == model.spec.decoding


def test_the_blend_beats_popularity_and_knows_new_tracks(model: ListeningModel, listening: Listening) -> None:
    found = evaluate(listening, "test", model.factors, model)
    table = found.listeners
    assert set(found.coverage) == {"popularity", "content", "collaborative", "poisson", "deep", "hybrid"}
    assert table["hybrid_ndcg_10"].mean() > 1.3 * table["popularity_ndcg_10"].mean()
    assert table["hybrid_ndcg_10"].mean() > 0.9 * table["collaborative_ndcg_10"].mean()
    # Nobody played a new track: popularity and factors cannot tell one from another, sound can.
    assert table["content_new_ndcg_10"].mean() > table["popularity_new_ndcg_10"].mean()
    assert found.coverage["hybrid"] > found.coverage["popularity"]
    assert table["popularity_novelty"].mean() < table["content_novelty"].mean()


def test_ones_own_recommender_is_judged_with_the_others(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommenders, "_own", {})

    class Prophet:
        """Knows whatever is heard in the end."""

        def __init__(self, told: Evidence) -> None:
            self.items = len(told.vectors)

        def score(self, past: History) -> NDArray[np.float32]:
            scores = np.zeros(self.items, dtype=np.float32)
            for one in held_of(listening, "test"):
                if one.history.now == past.now and len(one.history) == len(past):
                    scores[one.items] = 1
            return scores

    register("prophet", Prophet)
    assert "prophet" in known()
    table = evaluate(listening, "test", FACTORS, None, ["popularity", "prophet"]).listeners
    assert table["prophet_ndcg_10"].mean() > 5 * table["popularity_ndcg_10"].mean()
    with pytest.raises(ConfigError, match="no recommender 'oracle'"):
        make("oracle", evidence_before(listening, "test", FACTORS))


def test_settings_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    for wrong in (
        replace(settings(), network={"depth": 3}),
        replace(settings(), loss={"examples": 0}),
        replace(settings(), decoding={"blend": {}}),
    ):
        with pytest.raises(ConfigError):
            train(wrong, HOW, NO_TRACKING, places(data, tmp_path), {})
