import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from chart_music import bar_of, chart_of, pattern_of, random_chart

from backbeat.charts.chart import BAR_TICKS, LANES, Bar, Chart, ChartNote, Tempo
from backbeat.charts.levels import estimate_level
from backbeat.charts.metre import place_of, steady_clock
from backbeat.charts.tiers import FEET, RULES, TIERS, thin
from backbeat.errors import ConfigError
from backbeat.music import TimeSignature

SEEDS = range(25)
ROCK = {"hihat_closed": "xxxxxxxx", "snare": "..x...x.", "kick": "x...x..."}
FUNK = {"hihat_closed": "x" * 16, "snare": "....x..g.g..x..g", "kick": "x..x..x...x....."}
BLAST = {"ride": "x." * 8, "snare": "x." * 8, "kick": "x" * 16}


def levels(signature: str, division: str, ticks: list[int]) -> list[int]:
    return [place_of(bar_of(signature, division=division), tick).level for tick in ticks]


def test_levels_follow_the_signature_and_the_division() -> None:
    assert levels("4/4", "straight", [0, 96, 192, 288, 48, 24, 72, 36, 12]) == [0, 2, 1, 2, 3, 4, 4, 5, 5]
    assert levels("4/4", "triplet", [0, 32, 64, 48, 16]) == [0, 3, 3, 4, 4]
    assert levels("4/4", "swing", [0, 64, 32, 16]) == [0, 3, 4, 5]
    assert levels("4/4", "free", [48, 64, 24, 84]) == [3, 3, 4, 4]
    assert levels("6/8", "straight", [0, 192, 64, 128, 32]) == [0, 1, 3, 3, 4]
    assert levels("3/4", "straight", [0, 128, 256, 64]) == [0, 2, 2, 3]
    assert levels("7/8", "straight", [0, 55, 110, 329]) == [0, 2, 2, 2]
    assert levels("4/4", "straight", [9, 88, 375]) == [0, 2, 0]  # played, not written


def test_a_bar_that_leads_in_is_counted_from_its_end() -> None:
    lead = Bar(0.375, (Tempo(0, 120.0),), TimeSignature(4, 4))
    chart = Chart((lead, bar_of()), ())
    assert [place_of(chart.bars[0], tick, True).level for tick in (0, 128, 256)] == [3, 2, 3]
    assert place_of(lead, 128).level == 3
    late = Bar(1.01, (Tempo(0, 120.0),), TimeSignature(4, 4))
    assert [place_of(late, tick, True).level for tick in (0, 4, 99, 194)] == [0, 0, 2, 1]


def test_a_steady_clock_does_not_waver_with_the_tempo() -> None:
    rng = np.random.default_rng(5)
    wavering = [replace(bar_of(), tempi=(Tempo(0, bpm),)) for bpm in 120 * rng.uniform(0.97, 1.03, 20)]
    chart = Chart((*wavering, *[bar_of(bpm=180.0)] * 4), ())
    starts_s, steady_s = steady_clock(chart)
    assert np.unique(steady_s[:20]).size == 1
    assert steady_s[0] == pytest.approx(2.0, rel=0.02)
    assert steady_s[20:] == pytest.approx(4 / 3, rel=1e-4)
    assert starts_s == pytest.approx(chart.starts_s, abs=0.3)


@pytest.mark.parametrize("seed", SEEDS)
def test_tiers_hold_one_another(seed: int) -> None:
    chart = random_chart(seed)
    basic, advanced, extreme = (thin(chart, tier) for tier in TIERS)
    assert set(basic.notes) <= set(advanced.notes) <= set(extreme.notes)
    assert extreme.notes == chart.notes
    assert basic.bars == advanced.bars == chart.bars
    assert estimate_level(basic) <= estimate_level(advanced) <= estimate_level(extreme) <= 9.99


@pytest.mark.parametrize("tier", ["basic", "advanced"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_tier_is_no_more_than_its_player_can_do(seed: int, tier: str) -> None:
    chart, rules = thin(random_chart(seed), tier), RULES[tier]
    at_once = Counter((note.bar, note.tick) for note in chart.notes)
    hands = Counter((note.bar, note.tick) for note in chart.notes if note.lane not in FEET)
    assert max(at_once.values()) <= rules.limbs
    assert max(hands.values()) <= 2
    for lane in LANES:
        times_s = [chart.time_s(note.bar, note.tick) for note in chart.notes if note.lane == lane]
        role = {"kick": "kick", "snare": "drums", "hihat_closed": "time", "crash_left": "crash"}.get(lane)
        if role is not None and len(times_s) > 1:
            # Tempi stray from the steady ones by 12 % and more within a bar, notes from their places by 0.12 s each.
            assert min(np.diff(times_s)) > 0.75 * rules.step_s[role] - 0.24


@pytest.mark.parametrize("tier", ["basic", "advanced"])
@pytest.mark.parametrize("signature", ["4/4", "3/4", "6/8", "7/8", "5/4"])
@pytest.mark.parametrize("bpm", [70.0, 121.0, 183.0])
def test_a_bar_and_its_repetition_lose_the_same_notes(tier: str, signature: str, bpm: float) -> None:
    rng = np.random.default_rng(int(bpm))
    parts = TimeSignature.parse(signature).numerator * (2 if signature.endswith("8") else 4)
    pattern = {lane: "".join(rng.choice(["x", "g", ".", "."], size=parts)) for lane in LANES}
    chart = thin(chart_of(pattern, 8, signature, bpm), tier)
    bars = [[(note.tick, note.lane) for note in chart.notes if note.bar == bar] for bar in range(1, 7)]
    assert bars[0]
    assert all(bar == bars[0] for bar in bars)


def test_wavering_tempi_do_not_break_a_pattern() -> None:
    rng = np.random.default_rng(1)
    even = chart_of(FUNK, 16, bpm=100.0)
    bars = tuple(
        replace(bar, tempi=(Tempo(0, bpm),)) for bar, bpm in zip(even.bars, rng.uniform(97, 103, 16), strict=True)
    )
    for tier in TIERS:
        assert thin(Chart(bars, even.notes), tier).notes == thin(even, tier).notes


def test_played_notes_are_thinned_as_written_ones() -> None:
    rng = np.random.default_rng(2)
    even = chart_of(FUNK, 4, bpm=100.0)
    played = [replace(note, tick=int(np.clip(note.tick + rng.integers(-9, 10), 0, 383))) for note in even.notes]
    names = {(note.bar, note.tick, note.lane): index for index, note in enumerate(played)}
    for tier in TIERS:
        left = {(note.bar, note.tick, note.lane) for note in thin(even, tier).notes}
        wanted = [(note.bar, note.tick, note.lane) in left for note in even.notes]
        found = {names[note.bar, note.tick, note.lane] for note in thin(Chart(even.bars, tuple(played)), tier).notes}
        assert found == {index for index, is_left in enumerate(wanted) if is_left}


def test_hihats_in_sixteenths_become_eighths_and_quarters() -> None:
    chart = chart_of({**FUNK, "kick": "x.......x......."}, bpm=120.0)
    assert pattern_of(thin(chart, "extreme"), 3, "hihat_closed") == "x" * 16
    assert pattern_of(thin(chart, "advanced"), 3, "hihat_closed") == "x." * 8
    assert pattern_of(thin(chart, "basic"), 3, "hihat_closed") == "x..." * 4


@pytest.mark.parametrize("bpm", [90.0, 120.0, 180.0, 200.0])
def test_what_keeps_the_groove_stays(bpm: float) -> None:
    chart = chart_of({**ROCK, "crash_left": "x......."}, bpm=bpm)
    for tier in TIERS:
        thinned = thin(chart, tier)
        assert pattern_of(thinned, 3, "snare", 8) == "..x...x."
        assert pattern_of(thinned, 3, "kick", 8) == "x...x..."
        assert pattern_of(thinned, 3, "crash_left", 8) == "x......."
    assert len(thin(chart, "basic").notes) < len(chart.notes)


def test_off_beats_alone_stay_where_there_is_time_for_them() -> None:
    disco = chart_of({"hihat_open": ".x.x.x.x", "kick": "x.x.x.x."}, bpm=120.0)
    assert thin(disco, "basic").notes == disco.notes


def test_ghost_notes_go_first() -> None:
    chart = chart_of(FUNK, bpm=100.0)
    assert pattern_of(thin(chart, "extreme"), 3, "snare") == "....x..x.x..x..x"
    assert pattern_of(thin(chart, "advanced"), 3, "snare") == "....x.......x..."


def test_a_soft_snare_on_a_beat_is_no_backbeat() -> None:
    chart = chart_of({"snare": ".xgx", "kick": "x..."}, bpm=100.0)
    assert pattern_of(thin(chart, "extreme"), 3, "snare", 4) == ".xxx"
    assert pattern_of(thin(chart, "basic"), 3, "snare", 4) == ".x.x"


def test_double_kicks_become_single_ones() -> None:
    chart = chart_of(BLAST, bpm=180.0)
    assert pattern_of(thin(chart, "advanced"), 3, "kick") == "x." * 8
    assert pattern_of(thin(chart, "basic"), 3, "kick") == "x..." * 4


def test_the_grace_note_of_a_flam_gives_way_to_its_stroke() -> None:
    grace = ChartNote(0, 96 - 5, "snare", 0.3, 0.0)
    stroke = ChartNote(0, 96, "snare", 0.9, 0.0)
    chart = Chart((bar_of(),), (grace, stroke))
    assert thin(chart, "extreme").notes == (grace, stroke)
    assert thin(chart, "advanced").notes == (stroke,)


def test_the_pedal_stays_on_the_beats_of_the_advanced_only() -> None:
    chart = chart_of({"hihat_pedal": "xxxxxxxx", "ride": "x.x.x.x."}, bpm=100.0)
    assert pattern_of(thin(chart, "advanced"), 3, "hihat_pedal", 8) == "x.x.x.x."
    assert "hihat_pedal" not in {note.lane for note in thin(chart, "basic").notes}


def test_a_fill_stays_a_fill() -> None:
    fill = {
        "snare": "xxxx............",
        "tom_high": "....xxxx........",
        "tom_mid": "........xxxx....",
        "tom_low": "............xxxx",
    }
    basic = thin(chart_of(fill, bpm=120.0), "basic")
    drums = [note for note in basic.notes if note.bar == 3]
    assert [note.lane for note in drums] == list(itertools.chain(*([lane] * 2 for lane in fill)))
    assert [note.tick for note in drums] == list(range(0, BAR_TICKS, BAR_TICKS // 8))


def test_charts_without_notes_and_unknown_tiers() -> None:
    nothing = Chart((bar_of(),), ())
    assert [thin(nothing, tier).notes for tier in TIERS] == [()] * 3
    assert estimate_level(nothing) == 0.0
    with pytest.raises(ConfigError, match="tier 'master' is none of basic, advanced, extreme"):
        thin(nothing, "master")


def test_levels_at_their_anchors() -> None:
    assert estimate_level(chart_of(ROCK, 60)) == pytest.approx(3.0, abs=0.1)
    assert estimate_level(chart_of(BLAST, 60, bpm=180.0)) == pytest.approx(9.0, abs=0.15)
    assert estimate_level(chart_of(FUNK, 60, bpm=100.0)) == pytest.approx(5.1, abs=0.2)
    assert estimate_level(chart_of({"kick": "x.x.", "snare": ".x.x"}, 60, bpm=90.0)) == pytest.approx(1.1, abs=0.2)
    assert estimate_level(chart_of({**BLAST, "crash_left": "x" * 16}, 60, bpm=280.0)) == 9.99


def test_levels_rise_with_the_tempo_and_a_hard_bar_counts() -> None:
    rising = [estimate_level(chart_of(ROCK, 30, bpm=bpm)) for bpm in (80.0, 120.0, 160.0, 200.0)]
    assert np.all(np.diff(rising) > 0.4)
    easy = chart_of(ROCK, 30)
    hard = [note for note in chart_of(BLAST, 30).notes if note.bar == 15]
    bumpy = Chart(easy.bars, (*(note for note in easy.notes if note.bar != 15), *hard))
    assert estimate_level(easy) + 0.5 < estimate_level(bumpy) < estimate_level(chart_of(BLAST, 30)) - 1


@pytest.mark.parametrize("seed", range(8))
def test_taking_any_note_away_never_raises_the_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chart = random_chart(seed, 4)
    level = estimate_level(chart)
    for _ in range(12):
        left = tuple(note for note in chart.notes if rng.random() < 0.9)
        chart, before = Chart(chart.bars, left), level
        level = estimate_level(chart)
        assert level <= before


def test_hours_are_thinned_in_seconds() -> None:
    import time

    chart = chart_of(FUNK, 1000, bpm=100.0)
    began = time.process_time()
    for tier in TIERS:
        estimate_level(thin(chart, tier))
    assert time.process_time() - began < 10
