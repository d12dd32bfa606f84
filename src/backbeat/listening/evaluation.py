"""Recommenders before what listeners did next: a split in time, a row a listener, and what whole lists are like.

A recommender knows all that happened before a split begins and is asked once for each listener. Of listeners who are
new in it the first few events are shown, and the rest is held: so one sees how it meets strangers. What is out by the
split's end can be recommended, so new tracks that nobody heard before are among it. After the guidelines of Meng et
al., "Exploring data splitting strategies for the evaluation of recommendation models", RecSys 2020 (a split in time,
the same for all).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbeat.errors import CorpusError
from backbeat.listening.data import Listening
from backbeat.listening.factors import FactorSettings, fit_factors
from backbeat.listening.history import History
from backbeat.listening.hybrid import Blend, Choice, Hybrid, ItemContext, amount, counted, fit_blend, standardised
from backbeat.listening.model import ListeningModel
from backbeat.listening.recommenders import SINGLE, Evidence, Recommender, known, make, numbered
from backbeat.listening.score import CUT, Held, ranked, score_user
from backbeat.listening.towers import TwoTowers
from backbeat.model import ModelSpec

#: Of a listener without so many events, the first so many are shown and count as all that is known.
SHOWN = 5


def held_of(listening: Listening, split: str) -> list[Held]:
    """Return the truth of every listener who heard something new in a split and liked it; CorpusError if none did."""
    begins, ends = listening.span(split)
    out = np.flatnonzero(listening.items.added_at < ends)
    found = []
    for user, own in sorted(listening.events.by_user().items()):
        own = own.before(ends)
        asked = max(int(np.searchsorted(own.at, begins)), min(SHOWN, len(own)))
        past, then = own.where(slice(0, asked)), own.where(slice(asked, None))
        liked = np.setdiff1d(then.items[then.weights > 0], past.items)
        liked = liked[np.isin(liked, out)]
        if liked.size and then.at.size:
            history = History(past.items, past.at, past.weights, max(begins, float(then.at[0])))
            found.append(Held(user, history, liked, np.setdiff1d(out, past.items)))
    if not found:
        raise CorpusError(f"no listener of the {split} split heard anything new; take more interactions")
    return found


def evidence_before(
    listening: Listening, split: str, settings: FactorSettings, model: ListeningModel | None = None
) -> Evidence:
    """Return what is known when a split begins, with factors fitted to it."""
    begins, _ = listening.span(split)
    events = listening.events.before(begins)
    items, artists = listening.items, numbered(listening.items.artists)
    factors = fit_factors(events, artists, begins, settings)
    return Evidence(items.vectors, artists, items.added_at, events, begins, factors, model)


@dataclass(frozen=True, eq=False)
class Judged:
    """What came of an evaluation.

    Parameters
    ----------
    listeners
        A row a listener: ``user``, ``history`` (events known), ``held``, and ``<recommender>_<measure>`` of
        `score_user`, ``novelty`` (mean self-information of the list in bits: -log2 of the share of listeners who know
        an item; Zhou et al., PNAS 107(10), 2010), ``new_ndcg_10`` (new tracks ranked among themselves) and
        ``new_recall_10`` (new tracks found in the whole list), NaN where none was held.
    coverage
        Share of all candidates that stand in any list, by recommender.
    """

    listeners: pd.DataFrame
    coverage: dict[str, float]


def evaluate(
    listening: Listening,
    split: str,
    settings: FactorSettings,
    model: ListeningModel | None,
    methods: Sequence[str] | None = None,
) -> Judged:
    """Let recommenders answer for every listener of a split.

    Parameters
    ----------
    listening, split
        The data set, and which of its splits is held.
    settings
        Of the factors, which are fitted to all before the split.
    model
        The trained one; without it neither "deep" nor "hybrid" can be asked.
    methods
        Names of recommenders; all that can be asked when left out.

    Raises
    ------
    CorpusError
        If nobody heard anything new.
    """
    chosen = tuple(methods) if methods is not None else _answering(model)
    evidence = evidence_before(listening, split, settings, model)
    recommenders = {name: make(name, evidence) for name in chosen}
    return judge(listening, held_of(listening, split), evidence, recommenders)


def _answering(model: ListeningModel | None) -> tuple[str, ...]:
    return tuple(name for name in known() if model is not None or name not in ("deep", "hybrid"))


def judge(
    listening: Listening, held: Sequence[Held], evidence: Evidence, recommenders: Mapping[str, Recommender]
) -> Judged:
    """Score recommenders on listeners (`evaluate`)."""
    popular = counted(evidence.events, len(listening.items))
    unheard = np.bincount(evidence.events.items, minlength=len(listening.items)) == 0
    information = _self_information(evidence, len(listening.items))
    shown: dict[str, set[int]] = {name: set() for name in recommenders}
    rows: list[dict[str, Any]] = []
    for one in held:
        row: dict[str, Any] = {
            "user": listening.users[one.user],
            "history": len(one.history),
            "joined": not len(one.history) or bool(one.history.at[0] >= evidence.now),
            "held": one.items.size,
        }
        for name, recommender in recommenders.items():
            order = ranked(recommender.score(one.history), one.candidates, popular)
            shown[name].update(order[:CUT].tolist())
            measures = score_user(order, one.items) | _new_measures(order, one.items, unheard)
            measures["novelty"] = float(information[order[:CUT]].mean())
            row |= {f"{name}_{measure}": value for measure, value in measures.items()}
        rows.append(row)
    out = np.unique(np.concatenate([one.candidates for one in held])).size
    return Judged(pd.DataFrame(rows), {name: len(items) / out for name, items in shown.items()})


def _new_measures(order: NDArray[np.int64], held: NDArray[np.int64], unheard: NDArray[np.bool_]) -> dict[str, float]:
    wanted = held[unheard[held]]
    if not wanted.size:
        return {f"new_ndcg_{CUT}": float("nan"), f"new_recall_{CUT}": float("nan")}
    among = score_user(order[unheard[order]], wanted)
    return {
        f"new_ndcg_{CUT}": among[f"ndcg_{CUT}"],
        f"new_recall_{CUT}": score_user(order, wanted)[f"recall_{CUT}"],
    }


def _self_information(evidence: Evidence, items: int) -> NDArray[np.float64]:
    """Return -log2 of the share of listeners who know each item, one more each so that it is finite; shape (items,)."""
    pairs = np.unique(np.stack([evidence.events.users, evidence.events.items]), axis=1)
    knowing = np.bincount(pairs[1], minlength=items)
    information: NDArray[np.float64] = -np.log2((knowing + 1) / (np.unique(pairs[0]).size + 1))
    return information


def choices(held: Sequence[Held], evidence: Evidence, recommenders: Mapping[str, Recommender]) -> Iterator[Choice]:
    """Yield what a blend of `SINGLE` is learnt from: each listener's standardised scores, and what was chosen."""
    items = ItemContext.of_evidence(evidence)
    for one in held:
        scores = np.stack([standardised(recommenders[name].score(one.history)) for name in SINGLE])
        chosen = np.searchsorted(one.candidates, one.items)
        history = float(amount(float(len(one.history))))
        yield Choice(scores[:, one.candidates], items.of(one.candidates), history, chosen)


def fit_and_judge(
    listening: Listening, network: TwoTowers, spec: ModelSpec, told: Mapping[str, Any], seed: int
) -> tuple[Blend, dict[str, float]]:
    """Fit the blend on the validation period; give it and how good such a blend is for listeners it has not seen.

    Parameters
    ----------
    listening, network, spec
        The data set, the trained towers, and what the model will be.
    told
        Its decoding without the blend.
    seed
        Of what is drawn.

    Returns
    -------
    tuple
        The blend learnt from all listeners; mean measures of two, each learnt from one half and scored on the other.
    """

    def model_with(blend: Blend) -> ListeningModel:
        return ListeningModel(network, replace(spec, decoding={**told, "blend": blend.to_dict()}))

    model = model_with(Blend.level())
    evidence = evidence_before(listening, "valid", model.factors, model)
    recommenders = {name: make(name, evidence) for name in SINGLE}
    held = held_of(listening, "valid")
    learnt = list(choices(held, evidence, recommenders))
    tables = []
    for half in (0, 1):
        others = fit_blend(learnt[1 - half :: 2] or learnt, seed)
        asked = {"hybrid": Hybrid(replace(evidence, model=model_with(others)))}
        if held[half::2]:
            tables.append(judge(listening, held[half::2], evidence, asked).listeners)
    table = pd.concat(tables)
    metrics = {measure: float(table[f"hybrid_{measure}"].mean()) for measure in (f"ndcg_{CUT}", f"recall_{CUT}")}
    return fit_blend(learnt, seed), metrics
