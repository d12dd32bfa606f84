"""What simulated listeners are shown, play, skip and like, session after session (`simulator` says why so)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbeat.listening.content import evened
from backbeat.listening.history import DAY_S
from backbeat.listening.simulator import ExposureParams, Plays, SimulatorParams, Sounds, World

# Charts and scenes go by the plays of so many days, and new releases are as old at most.
_RECENT_DAYS = 14.0
# So many neighbours in sound can follow a track.
_NEIGHBOURS = 30
# Utilities at which a track is as often skipped as not, and as often liked as not once it was not skipped.
_SKIPPED_AT, _LIKED_AT = 1.0, 5.5
_TRACK_S = 210.0


def simulate(sounds: Sounds, world: World, params: SimulatorParams, start_s: float = 0.0) -> Plays:
    """Let the listeners listen.

    Parameters
    ----------
    sounds, world, params
        As `build_world` had and made them.
    start_s
        When the first day begins, seconds since 1970.

    Returns
    -------
    Plays
        The same for the same arguments.
    """
    rng = np.random.default_rng(np.random.SeedSequence([params.seed, 77]))
    when, who = _session_times(world, params, rng)
    state = _Market(sounds, world, params.exposure)
    users: list[NDArray[np.int64]] = []
    items: list[NDArray[np.int64]] = []
    kinds: list[NDArray[np.str_]] = []
    at: list[NDArray[np.float64]] = []
    for day, user in zip(when.tolist(), who.tolist(), strict=True):
        state.today(day)
        utility = world.utility(user, day)
        shown = state.slate(user, day, rng)
        played = _pick(utility[shown], shown, params.exposure, rng)
        skipped = rng.random(played.size) < _chance(_SKIPPED_AT - utility[played])
        liked = ~skipped & (rng.random(played.size) < _chance(utility[played] - _LIKED_AT))
        state.played(user, played[~skipped], played[liked])
        kind = np.where(skipped, "skip", "play")
        moment = start_s + day * DAY_S + _TRACK_S * np.arange(played.size)
        # A like follows the play at its end.
        users.append(np.full(played.size + int(liked.sum()), user, dtype=np.int64))
        items += [played, played[liked]]
        kinds += [kind, np.where(rng.random(int(liked.sum())) < 0.4, "save", "like")]
        at += [moment, moment[liked] + _TRACK_S - 1]
    order = np.argsort(np.concatenate(at), kind="stable")
    return Plays(
        np.concatenate(users)[order],
        np.concatenate(items)[order],
        np.concatenate(kinds)[order],
        np.round(np.concatenate(at)[order], 3),
    )


def _session_times(
    world: World, params: SimulatorParams, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return days and listeners of all sessions, in the order of time: Poisson processes from the day of joining on."""
    left = np.maximum(params.days - world.joined_day, 0)
    counts = rng.poisson(world.activity * left)
    who = np.repeat(np.arange(params.listeners), counts)
    when = world.joined_day[who] + rng.random(who.size) * left[who]
    order = np.argsort(when, kind="stable")
    return when[order], who[order]


def _pick(
    utility: NDArray[np.float32], shown: NDArray[np.int64], exposure: ExposureParams, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Take some of what is shown, best first, by a logit choice without replacement (Gumbel's maxima)."""
    count = min(shown.size, 1 + int(rng.poisson(max(0.0, exposure.picked - 1))))
    noisy = exposure.sharpness * utility + rng.gumbel(size=shown.size)
    return shown[np.argsort(-noisy, kind="stable")[:count]]


def _chance(value: NDArray[np.float32]) -> NDArray[np.float64]:
    chance: NDArray[np.float64] = 1 / (1 + np.exp(-1.5 * value.astype(np.float64)))
    return chance


class _Market:
    """What there is to be shown at a moment, and what was played so far."""

    def __init__(self, sounds: Sounds, world: World, exposure: ExposureParams) -> None:
        self.world, self.exposure = world, exposure
        vectors = evened(sounds.vectors)
        likeness = vectors @ vectors.T
        self.neighbours = np.argsort(-likeness, axis=1, kind="stable")[:, 1 : _NEIGHBOURS + 1]
        self.recent = np.zeros(len(sounds))
        self.heard: dict[int, list[int]] = {}
        self.liked: dict[int, list[int]] = {}
        self.day = -1
        self.charts = self.out = self.new = np.zeros(0)

    def today(self, day: float) -> None:
        """Draw up the charts once a day."""
        if int(day) == self.day:
            return
        self.recent *= 0.5 ** ((int(day) - self.day) / _RECENT_DAYS)
        self.day = int(day)
        age = day - self.world.out_day
        self.out = (age >= 0).astype(np.float64)
        # One more than was played, so that what nobody played yet can be found.
        self.charts = self.out * (self.recent + 0.2)
        self.new = self.out * (age < _RECENT_DAYS) * (self.world.out_day > 0)

    def slate(self, user: int, day: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw what a listener is shown, each track once."""
        world, exposure = self.world, self.exposure
        counts = rng.multinomial(exposure.slate, exposure.shares)
        month = min(int(day / 30.0), len(world.member) - 1)
        similar = np.zeros(self.out.size)
        if heard := self.heard.get(user):
            similar[self.neighbours[heard[int(rng.integers(len(heard)))]]] = 1
        liked = np.zeros(self.out.size)
        liked[self.liked.get(user, [])] = 1
        scene = self.charts * world.member[month, user][world.scenes]
        shown = [
            _draw(weights, count, rng)
            for weights, count in zip(
                (self.charts, scene, similar * self.out, self.new, self.out, liked), counts.tolist(), strict=True
            )
        ]
        return np.unique(np.concatenate(shown))

    def played(self, user: int, items: NDArray[np.int64], liked: NDArray[np.int64]) -> None:
        """Remember what was heard to its end, and what was liked."""
        self.recent[items] += 1
        self.heard[user] = [*self.heard.get(user, ()), *items.tolist()][-20:]
        self.liked.setdefault(user, []).extend(liked.tolist())


def _draw(weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw items by weight, with replacement; none where no weight is above 0."""
    summed = np.cumsum(weights)
    if not count or not summed[-1] > 0:
        return np.zeros(0, dtype=np.int64)
    found = np.searchsorted(summed, rng.random(count) * summed[-1], side="right")
    return np.asarray(np.minimum(found, weights.size - 1), dtype=np.int64)
