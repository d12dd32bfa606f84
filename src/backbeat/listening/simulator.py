"""Listeners whose taste is known: what they like, what reaches them, and what they do with it.

No listener's record is free to use, so the default data are made here, on tracks that exist and sound. How listeners
come to hear what they hear is modelled by its parts, each of which recommenders are known to live on or suffer from:

Taste. A listener's utility of a track is a sum of parts, each brought to unit spread over the tracks, so that
`TasteParams` says what counts how much. Heard: the style, the tempo, the energy, and a direction among the embeddings.
Not heard: the scene that the artist belongs to (scenes share listeners, and only partly styles), an appeal of the
track that all listeners feel, and a liking that is nobody else's. The heard part and the scenes drift from month to
month (Koren, "Collaborative filtering with temporal dynamics", KDD 2009, found as much).

Exposure (`sessions`). Nobody chooses among all tracks. Each session shows a few dozen: from the charts, which feed on
plays (preferential attachment, whose counts follow Zipf's law), from the listener's scenes, from what sounds like a
track played lately, from new releases, by chance, and from what was liked before. The listener takes some by utility
(a logit choice, McFadden 1974), skips what disappoints, and now and then likes or saves what delights. What many hear
is so partly what many were shown: the bias that recorded data have as well (Chaney, Stewart and Engelhardt, "How
algorithmic confounding in recommendation systems increases homogeneity and decreases utility", RecSys 2018).

Time. Tracks come out and listeners join over the whole period, so that at any moment some are new.

The truth stays known: `World.utility` is what a recommender would have to know.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError, CorpusError

_FEWEST_TRACKS = 20
_MONTH_DAYS = 30.0
# Shape of the gamma distribution by which styles and scenes are liked: few of them much, most hardly.
_FOCUS = 0.3
# Of the embeddings, those along which they spread most.
_DIRECTIONS = 8


@dataclass(frozen=True)
class TasteParams:
    """What a listener's utility is made of: weights of its parts, each of unit spread over the tracks.

    Parameters
    ----------
    heard
        Style, tempo, energy and sound together.
    scene
        The artist's circle.
    appeal
        What everyone likes about a track.
    own
        What only this listener likes about it.
    drift
        How much of taste is new after a month, 0 to 1.
    scenes
        How many circles of artists there are.
    scene_styles
        How far scenes go by style: 0 not at all, 1 each artist is in a scene of his or her style.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    heard: float = 1.0
    scene: float = 1.0
    appeal: float = 0.5
    own: float = 0.5
    drift: float = 0.1
    scenes: int = 24
    scene_styles: float = 0.5

    def __post_init__(self) -> None:
        if min(self.heard, self.scene, self.appeal, self.own) < 0 or self.heard + self.scene <= 0:
            raise ConfigError("weights of taste must not be negative, and of heard and scene one must be above 0")
        if not (0 <= self.drift <= 1 and 0 <= self.scene_styles <= 1):
            raise ConfigError("drift and scene_styles are shares, 0 to 1")
        if self.scenes < 2:
            raise ConfigError("there must be 2 scenes or more")


@dataclass(frozen=True)
class ExposureParams:
    """What a session shows.

    Parameters
    ----------
    slate
        Tracks shown.
    charts, scene, similar, new, chance, liked
        Shares of where they come from.
    picked
        Tracks played in a session, in the mean.
    sharpness
        How strictly utility decides what is taken; 0 is chance.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    slate: int = 40
    charts: float = 0.25
    scene: float = 0.2
    similar: float = 0.2
    new: float = 0.15
    chance: float = 0.15
    liked: float = 0.05
    picked: float = 5.0
    sharpness: float = 0.8

    def __post_init__(self) -> None:
        if min(self.shares) < 0 or not np.isclose(sum(self.shares), 1):
            raise ConfigError("the shares of what a session shows must not be negative and sum to 1")
        if self.slate < 2 or not self.picked > 0 or self.sharpness < 0:
            raise ConfigError("a session shows 2 tracks or more, some are picked, and sharpness is not negative")

    @property
    def shares(self) -> tuple[float, ...]:
        """Return the shares in the order of the fields."""
        return self.charts, self.scene, self.similar, self.new, self.chance, self.liked


@dataclass(frozen=True)
class SimulatorParams:
    """A world of listeners.

    Parameters
    ----------
    listeners
        How many.
    days
        How long they are watched.
    sessions_a_day
        Of a listener in the mean; some listen ten times as much as others (log-normal).
    new_tracks, new_listeners
        Shares of tracks that come out, and of listeners who join, on a day of the period; the others are there from
        the beginning.
    taste, exposure
        See there.
    seed
        Of all that is drawn.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    listeners: int = 1000
    days: float = 150.0
    sessions_a_day: float = 0.06
    new_tracks: float = 0.4
    new_listeners: float = 0.4
    taste: TasteParams = field(default_factory=TasteParams)
    exposure: ExposureParams = field(default_factory=ExposureParams)
    seed: int = 1

    def __post_init__(self) -> None:
        if self.listeners < 2 or not min(self.days, self.sessions_a_day) > 0:
            raise ConfigError("a world needs 2 listeners or more, and days and sessions_a_day above 0")
        if not (0 <= self.new_tracks < 1 and 0 <= self.new_listeners < 1):
            raise ConfigError("new_tracks and new_listeners are shares below 1")


@dataclass(frozen=True, eq=False)
class Sounds:
    """The tracks as they sound; an entry an item.

    Parameters
    ----------
    vectors
        Embeddings, shape (items, values).
    labels
        Styles; may be empty.
    tempo_bpm, energy
        NaN where it is not known.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.str_]
    tempo_bpm: NDArray[np.float64]
    energy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, eq=False)
class Plays:
    """What listeners did, in the order of time: rows of listeners and items, kinds of `Interaction`, seconds."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    kinds: NDArray[np.str_]
    at: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class World:
    """The truth: who is there and what they like.

    Parameters
    ----------
    artists, scenes
        Of each item: a number of its artist, and of the artist's scene.
    out_day, joined_day
        When each item came out and each listener joined; 0 for the beginning.
    tastes
        Utility at the beginning of each month, shape (months, listeners, items).
    activity
        Sessions a day of each listener.
    member
        How much each listener belongs to each scene at the beginning of each month, shape (months, listeners, scenes).
    """

    artists: NDArray[np.int64]
    scenes: NDArray[np.int64]
    out_day: NDArray[np.float64]
    joined_day: NDArray[np.float64]
    tastes: NDArray[np.float32]
    activity: NDArray[np.float64]
    member: NDArray[np.float32]

    def utility(self, user: int, day: float) -> NDArray[np.float32]:
        """Return what a listener thinks of every item on a day, shape (items,): between months in a straight line."""
        month = min(day / _MONTH_DAYS, len(self.tastes) - 1)
        before = int(month)
        after, share = min(before + 1, len(self.tastes) - 1), month - before
        return np.asarray((1 - share) * self.tastes[before, user] + share * self.tastes[after, user])


def build_world(sounds: Sounds, params: SimulatorParams) -> World:
    """Draw artists, scenes, dates and tastes.

    Raises
    ------
    CorpusError
        If there are too few tracks.
    """
    if len(sounds) < _FEWEST_TRACKS:
        raise CorpusError(f"{len(sounds)} tracks are too few to simulate listeners of; it takes {_FEWEST_TRACKS}")
    music, people, dates = (np.random.default_rng(one) for one in np.random.SeedSequence(params.seed).spawn(3))
    artists, scenes, appeal = _draw_artists(sounds.labels, params.taste, music)
    months = int(np.ceil(params.days / _MONTH_DAYS)) + 1
    tastes, member = _draw_tastes(sounds, scenes, appeal, params, months, people)

    def days(count: int, share: float) -> NDArray[np.float64]:
        late = dates.random(count) < share
        return np.where(late, dates.random(count) * params.days, 0.0)

    activity = params.sessions_a_day * dates.lognormal(-0.5, 1.0, params.listeners)
    out, joined = days(len(sounds), params.new_tracks), days(params.listeners, params.new_listeners)
    return World(artists, scenes, out, joined, tastes, activity, member)


def _draw_artists(
    labels: NDArray[np.str_], taste: TasteParams, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return each item's artist and scene, and its appeal, of which half is its artist's."""
    artists = np.zeros(labels.size, dtype=np.int64)
    scenes, first = np.zeros(labels.size, dtype=np.int64), 0
    styles, style = np.unique(labels, return_inverse=True)
    home = rng.integers(taste.scenes, size=(styles.size, 2))
    for number in range(styles.size):
        rows = np.flatnonzero(style == number)
        count = max(1, rows.size // 6)
        # A few artists have most of the tracks.
        shares = 1 / np.arange(1, count + 1)
        chosen = rng.choice(count, rows.size, p=shares / shares.sum())
        by_style = rng.random(count) < taste.scene_styles
        scene = np.where(by_style, rng.choice(home[number], count), rng.integers(taste.scenes, size=count))
        artists[rows], scenes[rows] = first + chosen, scene[chosen]
        first += count
    fame = rng.standard_normal(first)
    return artists, scenes, (fame[artists] + rng.standard_normal(labels.size)) / np.sqrt(2)


def _draw_tastes(
    sounds: Sounds,
    scenes: NDArray[np.int64],
    appeal: NDArray[np.float64],
    params: SimulatorParams,
    months: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return utilities, shape (months, listeners, items), and membership, shape (months, listeners, scenes)."""
    taste, people = params.taste, params.listeners
    always = taste.appeal * _unit_spread(appeal[None]) + taste.own * rng.standard_normal((people, len(sounds)))
    likings, membership = [], []
    hearing = _Hearing(sounds)
    heard = hearing.draw(people, rng)
    member = rng.gamma(_FOCUS, size=(people, taste.scenes))
    for month in range(months):
        if month:
            # Old and new so mixed that what is liked stays as strong.
            fresh = hearing.draw(people, rng)
            heard = _unit_spread(np.sqrt(1 - taste.drift) * heard + np.sqrt(taste.drift) * fresh)
            moved = rng.random(people) < taste.drift
            member = np.where(moved[:, None], rng.gamma(_FOCUS, size=(people, taste.scenes)), member)
        likings.append(taste.heard * heard + taste.scene * _unit_spread(member[:, scenes]) + always)
        membership.append(member)
    return np.stack(likings).astype(np.float32), np.stack(membership).astype(np.float32)


class _Hearing:
    """What can be liked about how tracks sound."""

    def __init__(self, sounds: Sounds) -> None:
        styles, self.style = np.unique(sounds.labels, return_inverse=True)
        self.styles = styles.size
        self.tempo = _known_spread(np.log2(np.maximum(sounds.tempo_bpm, 1.0)))
        self.energy = _known_spread(sounds.energy)
        centred = sounds.vectors.astype(np.float64) - sounds.vectors.mean(axis=0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        self.directions = left[:, : min(_DIRECTIONS, int((sizes > 1e-6).sum()))].T

    def draw(self, people: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw what listeners like to hear: styles, a tempo, an energy and a direction; shape (people, items)."""
        liked = rng.gamma(_FOCUS, size=(people, self.styles))[:, self.style]
        wanted = rng.standard_normal((2, people, 1))
        tempo, energy = -((self.tempo - wanted[0]) ** 2), -((self.energy - wanted[1]) ** 2)
        direction = rng.standard_normal((people, len(self.directions))) @ self.directions
        parts = [_unit_spread(part) for part in (liked, tempo, energy, direction)]
        # Style is what people name first when asked what they like.
        return _unit_spread(1.5 * parts[0] + 0.75 * parts[1] + 0.75 * parts[2] + parts[3])


def _known_spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values centred and of unit spread; those that are not known lie in the middle."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros_like(values)
    filled = np.where(known, values, values[known].mean())
    spread: NDArray[np.float64] = _unit_spread(filled[None])[0]
    return spread


def _unit_spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre and scale each row; a row that is all alike becomes zeros."""
    centred = values - values.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    scaled: NDArray[np.float64] = np.where(spread > 1e-9, centred / np.maximum(spread, 1e-9), 0.0)
    return scaled
