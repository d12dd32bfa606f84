"""Bootstrap intervals: their limits, their coverage, and the tables made of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from backbeat.errors import ConfigError
from backbeat.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    micro_f_interval,
    paired_bootstrap,
    proportion_interval,
    summarise,
)


def test_limits_agree_with_scipy():
    values = np.random.default_rng(0).beta(5, 1, 40)
    for method, name in (("bca", "BCa"), ("percentile", "percentile")):
        ours = bootstrap_interval(values, resamples=20000, seed=1, method=method)
        theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method=name, rng=1).confidence_interval
        assert ours.value == pytest.approx(values.mean())
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)
        assert ours.count == 40


def test_limits_of_a_normal_mean():
    values = np.random.default_rng(1).normal(10, 2, 400)
    interval = bootstrap_interval(values, resamples=5000)
    half = 1.96 * values.std() / 20
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    narrow = bootstrap_interval(values, confidence=0.5)
    assert interval.low < narrow.low < narrow.value < narrow.high < interval.high


@pytest.mark.parametrize("draw", ["normal", "skewed"])
def test_coverage(draw):
    random = np.random.default_rng(2)
    trials, hits = 400, 0
    for trial in range(trials):
        values = random.normal(0.5, 0.1, 40) if draw == "normal" else random.beta(6, 1.5, 40)
        interval = bootstrap_interval(values, resamples=1000, seed=trial)
        hits += interval.low <= (0.5 if draw == "normal" else 0.8) <= interval.high
    assert 0.91 <= hits / trials <= 0.975  # 95 % wanted; two and a half standard errors are 0.027


def test_coverage_of_micro_f():
    random = np.random.default_rng(3)
    rates = random.beta(8, 2, 100_000)  # tracks differ in how well they are heard, and in length
    sizes = random.integers(5, 200, rates.size)
    truth = 2 * (rates * sizes).sum() / (2 * (rates * sizes).sum() + ((1 - rates) * sizes).sum() + 0.1 * sizes.sum())
    hits = 0
    for trial in range(300):
        chosen = random.integers(0, rates.size, 40)
        tp = random.binomial(sizes[chosen], rates[chosen])
        fp = random.binomial(sizes[chosen], 0.1)
        interval = micro_f_interval(tp, fp, sizes[chosen] - tp, resamples=600, seed=trial)
        hits += interval.low <= truth <= interval.high
    assert 0.90 <= hits / 300 <= 0.98


def test_any_statistic():
    values = np.random.default_rng(4).exponential(1.0, 101)
    interval = bootstrap_interval(values, statistic=np.median, resamples=500)
    assert interval.value == np.median(values)
    assert interval.low < interval.value < interval.high
    slow = bootstrap_interval(values, statistic=lambda row: float(row.mean()), resamples=500, seed=9)
    quick = bootstrap_interval(values, resamples=500, seed=9)
    assert (slow.low, slow.high) == pytest.approx((quick.low, quick.high))


def test_the_same_seed_gives_the_same_limits():
    values = np.random.default_rng(5).random(30)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_few_tracks():
    none = bootstrap_interval([np.nan, np.nan])
    assert math.isnan(none.value)
    assert none.count == 0
    assert str(none) == "–"
    one = bootstrap_interval([0.7, np.nan])
    assert (one.value, one.count, str(one)) == (0.7, 1, "0.700")
    assert one.to_dict() == {"value": 0.7, "low": None, "high": None, "count": 1}
    json.dumps(none.to_dict(), allow_nan=False)
    same = bootstrap_interval([0.3] * 10)
    assert (same.value, same.low, same.high) == pytest.approx((0.3, 0.3, 0.3))
    two = bootstrap_interval([0.0, 1.0])
    assert (two.low, two.value, two.high) == (0.0, 0.5, 1.0)


def test_micro_f_by_hand():
    interval = micro_f_interval([8, 0, 2], [2, 0, 0], [0, 0, 8])
    assert interval.value == pytest.approx(20 / 30)
    assert interval.count == 2  # the track without events says nothing
    assert math.isnan(micro_f_interval([0], [0], [0]).value)


def test_pairing_sees_a_difference_that_two_intervals_hide():
    random = np.random.default_rng(6)
    hard = random.normal(0.7, 0.2, 60)
    a, b = hard + random.normal(0.02, 0.02, 60), hard + random.normal(0, 0.02, 60)
    difference = paired_bootstrap(a, b)
    assert 0 < difference.low < 0.02 < difference.high
    assert bootstrap_interval(a).low < bootstrap_interval(b).high
    assert paired_bootstrap(a, a).low == 0.0
    assert paired_bootstrap([1, np.nan, 3], [0, 5, np.nan]).count == 1


def per_track():
    return pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "style": ["rock", "rock", "waltz", "waltz"],
            "beat_f": [1.0, 0.8, 0.6, np.nan],
            "kick_tp": [10.0, 0.0, 0.0, 5.0],
            "kick_fp": [0.0, 5.0, 0.0, 0.0],
            "kick_fn": [0.0, 5.0, 0.0, 0.0],
        }
    )


def test_summary_of_all_and_by_style():
    table = summarise(per_track(), "style", resamples=200)
    assert table.columns.tolist() == ["group", "measure", "value", "low", "high", "count"]
    assert table.group.unique().tolist() == ["all", "rock", "waltz"]
    values = table.set_index(["group", "measure"]).value
    assert values["all", "beat_f"] == pytest.approx(0.8)
    assert values["rock", "beat_f"] == pytest.approx(0.9)
    assert values["waltz", "beat_f"] == pytest.approx(0.6)
    assert values["all", "kick_micro_f"] == pytest.approx(30 / 40)
    assert values["rock", "kick_micro_f"] == pytest.approx(20 / 30)
    assert values["waltz", "kick_micro_f"] == 1.0
    assert table.set_index(["group", "measure"])["count"]["all", "beat_f"] == 3


def test_summary_does_not_depend_on_other_columns_or_the_order_of_groups():
    whole = summarise(per_track(), "style", resamples=200).set_index(["group", "measure"])
    alone = summarise(per_track()[["style", "beat_f"]].iloc[::1], "style", resamples=200).set_index(
        ["group", "measure"]
    )
    pd.testing.assert_frame_equal(whole.loc[alone.index], alone)
    assert len(summarise(per_track())) == 2


def test_settings_that_make_no_sense():
    for settings in ({"confidence": 1.0}, {"resamples": 0}, {"method": "guess"}):
        with pytest.raises(ConfigError, match="no bootstrap"):
            bootstrap_interval([1.0, 2.0], **settings)
    with pytest.raises(ConfigError, match="one value a track"):
        bootstrap_interval([[1.0]])
    with pytest.raises(ConfigError, match="same tracks"):
        paired_bootstrap([1.0], [1.0, 2.0])
    with pytest.raises(ConfigError, match="no column 'mood'"):
        summarise(per_track(), "mood")


def test_interval_reads_well():
    assert str(Interval(0.91234, 0.8, 0.95, 12)) == "0.912 [0.800, 0.950]"


def test_a_share_has_a_width_even_when_all_are_alike():
    # 0 of 3 by Wilson's formula: 0 to z^2 / (3 + z^2).
    z = stats.norm.ppf(0.975)
    none = proportion_interval([0, 0, 0])
    assert (none.value, none.low, none.count) == (0.0, 0.0, 3)
    assert none.high == pytest.approx(z**2 / (3 + z**2))
    most = proportion_interval([True] * 81 + [False] * 19, confidence=0.9)
    assert most.value == 0.81
    z2 = stats.norm.ppf(0.95) ** 2
    middle, half = (81 + z2 / 2) / (100 + z2), math.sqrt(z2 * (81 * 19 / 100 + z2 / 4)) / (100 + z2)
    assert (most.low, most.high) == pytest.approx((middle - half, middle + half))
    assert math.isnan(proportion_interval([]).value)
    with pytest.raises(ConfigError, match="confidence 2"):
        proportion_interval([1], confidence=2)


def test_p_values_are_adjusted_as_by_holm():
    # Holm 1979, by hand: 3 * 0.01, 2 * 0.03, then no less than before.
    assert holm([0.03, 0.01, 0.04]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0
