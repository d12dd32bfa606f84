"""Rules, silences, alerts in a transaction with their messages; measures; settings."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from databases import row
from sqlalchemy import event, insert, select

from backbeat.errors import ConfigError
from backbeat.monitoring import alerts
from backbeat.monitoring.alerts import Event, State, apply, firing, judge
from backbeat.monitoring.lead import Lead
from backbeat.monitoring.measures import MEASURES, MeasureSettings, measure
from backbeat.monitoring.rules import Rule, Silence
from backbeat.monitoring.settings import load_monitoring
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import ALERTS, DELIVERIES, FEEDBACK, RULES
from backbeat.monitoring.webhook import Target

HOUR_S = 3600.0
TEAM = {"team": Target(url="https://example.org/hook", secret="s" * 32)}
HIGH = Rule("high", "drift_share", "warning", above=0.5, clear=0.3, for_looks=2, clear_looks=2)
LOW = Rule("low", "rows_per_hour", "critical", below=10)
OPENS_ON_NOTHING = Rule("gone", "drift", "info", above=0.5, missing="open", for_looks=2)


def looks(rule: Rule, values: list[float | None], **how: Any) -> list[str]:
    """What each of several looks at one rule brings."""
    states: dict[str, State] = {}
    told = []
    for number, value in enumerate(values):
        events, states = judge([rule], {rule.measure: value}, states, 1000.0 + number, **how)
        told.append(",".join(event.kind for event in events))
    return told


# Rules


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        (HIGH, [0.6, 0.6, 0.6], ["", "opened", ""]),
        (HIGH, [0.6, 0.4, 0.6, 0.6], ["", "", "", "opened"]),  # in a row
        (HIGH, [0.5, 0.5, 0.5], ["", "", ""]),  # at the threshold is not beyond it
        (HIGH, [0.6, 0.6, 0.4, 0.4, 0.4], ["", "opened", "", "", ""]),  # not back to clear
        (HIGH, [0.6, 0.6, 0.3, 0.4, 0.3, 0.3], ["", "opened", "", "", "", "closed"]),
        (HIGH, [0.6, 0.6, 0.1, 0.1, 0.6, 0.6], ["", "opened", "", "closed", "", "opened"]),
        (HIGH, [0.6, None, math.nan, 0.6, None, 0.1, math.inf, 0.1], ["", "", "", "opened", "", "", "", "closed"]),
        (LOW, [10, 9.9, 10], ["", "opened", "closed"]),
        (OPENS_ON_NOTHING, [None, None, None, 0, None], ["", "opened", "", "closed", ""]),
    ],
)
def test_an_alert_opens_and_closes(rule: Rule, values: list[float | None], expected: list[str]) -> None:
    assert looks(rule, values) == expected


def test_no_data_is_a_state_of_its_own() -> None:
    _, states = judge([HIGH], {}, {}, 0.0)
    assert states["high"] == State(known=False)
    _, states = judge([HIGH], {"drift_share": 0.6}, states, 1.0)
    assert states["high"] == State(broken=1)


def test_an_event_says_what_is_wrong() -> None:
    rule = Rule("r", "drift_share", "critical", above=0.25, message="{rule} {severity}: {value} {side} {threshold}")
    (event,), _ = judge([rule], {"drift_share": 1 / 3}, {}, 7.0)
    assert event == Event(
        "opened", event.alert, "r", "critical", 1 / 3, 0.25, "r critical: 0.3333 above 0.25", 7.0, False
    )
    (nothing,), _ = judge([OPENS_ON_NOTHING], {}, {"gone": State(broken=1)}, 7.0)
    assert nothing.message == "drift is not known, above 0.5"
    assert nothing.value is None


def test_the_alert_of_a_rule_that_is_gone_is_closed() -> None:
    _, states = judge([LOW], {"rows_per_hour": 0}, {}, 0.0)
    events, after = judge([HIGH], {}, states, 1.0)
    assert [(event.kind, event.rule, event.severity) for event in events] == [("closed", "low", "critical")]
    assert set(after) == {"high"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"measure": "moon"}, "no measure 'moon'; there are .*check_age_s.*rows_per_hour"),
        ({"above": 0.5, "below": 0.1}, "either above or below"),
        ({"above": None}, "either above or below"),
        ({"clear": 0.6}, "clear must not be above 0.5"),
        ({"above": None, "below": 0.5, "clear": 0.4}, "clear must not be below 0.5"),
        ({"above": math.nan}, "a threshold is a number"),
        ({"for_looks": 0}, "1 or more"),
        ({"message": "{nothing}"}, "the message may have"),
        ({"message": "{"}, "the message may have"),
        ({"name": ""}, "1 to 64 characters"),
    ],
)
def test_rules_that_make_no_sense_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rule(**{"name": "r", "measure": "drift", "severity": "info", "above": 0.5, **changed})


# Silence


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def once(since: float, until: float) -> Silence:
    utc = ZoneInfo("UTC")
    return Silence([], since=datetime.fromtimestamp(since, utc), until=datetime.fromtimestamp(until, utc))


NIGHTS = Silence([], weekdays=("fri", "sat"), begin="22:00", end="07:00", zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("silence", "when", "expected"),
    [
        (NIGHTS, "2026-11-20T21:59", False),  # a Friday
        (NIGHTS, "2026-11-20T22:00", True),
        (NIGHTS, "2026-11-21T06:59", True),
        (NIGHTS, "2026-11-21T07:00", False),
        (NIGHTS, "2026-11-22T06:59", True),  # Sunday: Saturday's night
        (NIGHTS, "2026-11-22T22:30", False),
        (NIGHTS, "2026-11-20T06:00", False),  # Thursday's night is none
        # Clocks go forward at 02:00 and back at 03:00: the night ends by the wall clock.
        (NIGHTS, "2026-03-29T06:59", True),
        (NIGHTS, "2026-03-29T07:00", False),
        (NIGHTS, "2026-10-25T06:59", True),
        (NIGHTS, "2026-10-25T07:00", False),
        (Silence([], begin="09:00", end="17:00", zone="Europe/Berlin"), "2026-11-20T09:00", True),
        (Silence([], begin="09:00", end="17:00", zone="Europe/Berlin"), "2026-11-20T17:00", False),
        (Silence([], weekdays=("sun",), begin="00:00", end="00:00", zone="Europe/Berlin"), "2026-11-22T23:59", True),
        (Silence([], weekdays=("sun",), begin="00:00", end="00:00", zone="Europe/Berlin"), "2026-11-23T00:00", False),
    ],
)
def test_hours_of_silence(silence: Silence, when: str, expected: bool) -> None:
    assert silence.covers("any", at(when)) is expected


def test_a_night_has_as_many_hours_as_the_clocks_give_it() -> None:
    every_night = Silence([], begin="22:00", end="07:00", zone="Europe/Berlin")

    def hours(begin: str) -> float:
        return sum(every_night.covers("any", at(begin) + 60 * minute) for minute in range(24 * 60)) / 60

    assert hours("2026-03-28T12:00") == 8
    assert hours("2026-10-24T12:00") == 10
    assert hours("2026-11-20T12:00") == 9
    twice = Silence([], begin="02:15", end="02:45", zone="Europe/Berlin")
    assert sum(twice.covers("any", at("2026-10-25T00:00") + 60 * minute) for minute in range(1440)) == 60
    assert sum(twice.covers("any", at("2026-03-29T00:00") + 60 * minute) for minute in range(1440)) == 0


def test_silence_once_and_of_one_rule() -> None:
    since, until = (datetime.fromisoformat(f"2026-12-24T{hour}:00:00+01:00") for hour in ("18", "20"))
    silence = Silence(["high"], since=since, until=until)
    begin = at("2026-12-24T18:00")
    assert [silence.covers("high", begin + extra) for extra in (-1, 0, 7199, 7200)] == [False, True, True, False]
    assert not silence.covers("low", begin)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give begin, end and zone, or since and until"),
        ({"begin": "22:00", "end": "07:00"}, "give begin, end and zone"),
        ({"begin": "22:00", "end": "7", "zone": "UTC"}, "'7' is no time of day"),
        ({"begin": "22:00", "end": "24:00", "zone": "UTC"}, "'24:00' is no time of day"),
        ({"begin": "22:00", "end": "07:00", "zone": "Mars/Base"}, "'Mars/Base' is no time zone"),
        ({"begin": "22:00", "end": "07:00", "zone": "../../etc/passwd"}, "is no time zone"),
        ({"begin": "22:00", "end": "07:00", "zone": "UTC", "weekdays": ("day",)}, "'day' is no weekday"),
        ({"since": datetime(2026, 1, 1), "until": datetime(2026, 1, 2)}, "need their offset"),
    ],
)
def test_silences_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Silence([], **given)


def test_who_was_not_told_of_the_beginning_is_told_when_silence_ends() -> None:
    silence = [
        Silence([], since=datetime.fromtimestamp(0, ZoneInfo("UTC")), until=datetime.fromtimestamp(10, ZoneInfo("UTC")))
    ]
    (opened,), states = judge([LOW], {"rows_per_hour": 0}, {}, 1.0, silence)
    assert (opened.kind, opened.silenced) == ("opened", True)
    assert judge([LOW], {"rows_per_hour": 0}, states, 9.0, silence)[0] == []
    (closed,), _ = judge([LOW], {"rows_per_hour": 20}, states, 9.0, silence)
    assert (closed.kind, closed.silenced) == ("closed", True)
    (told,), after = judge([LOW], {"rows_per_hour": 0}, states, 10.0, silence)
    assert (told.kind, told.silenced, told.alert) == ("told", False, opened.alert)
    (end,), _ = judge([LOW], {"rows_per_hour": 20}, after, 5.0, silence)
    assert (end.kind, end.silenced) == ("closed", False), "who heard of the beginning hears of the end"


# The database


def kept(store: MonitoringStore, table: Any) -> list[dict[str, Any]]:
    with store.begin() as connection:
        return [dict(found) for found in connection.execute(select(table)).mappings()]


def look(store: MonitoringStore, value: float | None, now: float, **how: Any) -> list[str]:
    events = apply(store, [LOW], {"rows_per_hour": value}, now, targets=TEAM, service="studio", **how)
    return [event.kind for event in events]


def test_an_alert_is_kept_with_its_messages(store: MonitoringStore) -> None:
    assert firing(store) == {"info": 0, "warning": 0, "critical": 0}
    assert look(store, 3, 100.0) == ["opened"]
    assert look(store, 3, 101.0) == []
    assert firing(store) == {"info": 0, "warning": 0, "critical": 1}
    (alert,) = store.alerts(open_only=True)
    assert (alert["rule"], alert["opened"], alert["value"], alert["silenced"]) == ("low", 100.0, 3.0, False)
    assert {one["target"] for one in alert["deliveries"]} == {"log", "team"}
    assert look(store, 30, 102.0) == ["closed"]
    assert firing(store)["critical"] == 0
    assert store.alerts()[0]["closed"] == 102.0
    messages = [one["body"] for one in kept(store, DELIVERIES) if one["target"] == "team"]
    told = {name: messages[0][name] for name in messages[0] if name not in ("id", "alert")}
    assert told == {
        "event": "opened", "rule": "low", "severity": "critical", "value": 3, "threshold": 10, "at": 100.0,
        "message": "rows_per_hour is 3, below 10", "service": "studio",
    }  # fmt: skip
    assert [one["event"] for one in messages] == ["opened", "closed"]
    assert {one["alert"] for one in messages} == {alert["id"]}
    assert len({one["id"] for one in kept(store, DELIVERIES)}) == 4


def test_targets_hear_what_is_severe_enough_for_them(store: MonitoringStore) -> None:
    info = Rule("quiet", "drift", "info", above=0.5)
    targets = {**TEAM, "night": Target(url="https://example.org/", secret="s" * 32, least="warning"), "off": Target()}
    apply(store, [info, LOW], {"drift": 1, "rows_per_hour": 1}, 0.0, targets=targets, service="s")
    told = sorted((one["target"], one["body"]["rule"]) for one in kept(store, DELIVERIES))
    assert told == [("log", "low"), ("log", "quiet"), ("night", "low"), ("team", "low"), ("team", "quiet")]


def test_silenced_alerts_are_kept_and_delivered_afterwards(store: MonitoringStore) -> None:
    silences = [once(0, 10)]
    assert look(store, 0, 5.0, silences=silences) == ["opened"]
    assert [alert["silenced"] for alert in kept(store, ALERTS)] == [True]
    assert kept(store, DELIVERIES) == []
    assert look(store, 0, 10.0, silences=silences) == ["told"]
    assert [alert["silenced"] for alert in kept(store, ALERTS)] == [False]
    assert [one["body"]["event"] for one in kept(store, DELIVERIES)] == ["opened", "opened"]


def test_a_look_too_soon_after_anothers_is_none(store: MonitoringStore) -> None:
    rule = Rule("low", "rows_per_hour", "info", below=10, for_looks=2)
    how: dict[str, Any] = {"targets": {}, "service": "s", "apart_s": 30.0}
    assert apply(store, [rule], {"rows_per_hour": 0}, 100.0, **how) == []
    assert apply(store, [rule], {"rows_per_hour": 0}, 110.0, **how) == []
    assert len(apply(store, [rule], {"rows_per_hour": 0}, 140.0, **how)) == 1


def test_what_fails_half_way_leaves_nothing(store: MonitoringStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("backbeat.monitoring.alerts.add_deliveries", fails)
        with pytest.raises(RuntimeError):
            look(store, 0, 1.0)
    assert kept(store, ALERTS) == kept(store, RULES) == []
    assert look(store, 0, 2.0) == ["opened"]


def _killed_at(url: str, point: str) -> None:
    store = MonitoringStore(url)

    def bomb(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if point == "in the middle":
        alerts.add_deliveries = bomb  # type: ignore[assignment]
    elif point == "at the commit":
        event.listen(store.engine, "commit", bomb)
    apply(store, [LOW], {"rows_per_hour": 0}, 1.0, targets=TEAM, service="s")
    bomb()


@pytest.mark.parametrize("point", ["in the middle", "at the commit", "after it"])
def test_a_kill_loses_no_alert_and_opens_none_twice(store: MonitoringStore, url: str, point: str) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_killed_at, args=(url, point))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    opened = point == "after it"
    assert len(kept(store, ALERTS)) == opened
    assert look(store, 0, 2.0) == ([] if opened else ["opened"])
    assert len(kept(store, ALERTS)) == 1
    assert sorted(one["target"] for one in kept(store, DELIVERIES)) == ["log", "team"]


def _open_and_look(url: str, gate: Any, told: Any) -> None:
    store = MonitoringStore(url)
    gate.wait(30)
    rule = Rule("low", "rows_per_hour", "info", below=10, for_looks=3)
    for number in range(12):
        events = apply(
            store, [rule], {"rows_per_hour": 0 if number < 8 else None}, time.time(), targets=TEAM, service="s"
        )
        told.put([event.alert for event in events if event.kind == "opened"])
    store.close()


def test_two_processes_that_open_and_look_open_one_alert(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    gate, told = spawn.Barrier(2), spawn.Queue()
    both = [spawn.Process(target=_open_and_look, args=(url, gate, told)) for _ in range(2)]
    for one in both:
        one.start()
    opened = [alert for _ in range(24) for alert in told.get(timeout=60)]
    for one in both:
        one.join(30)
        assert one.exitcode == 0
    store = MonitoringStore(url)
    assert opened == [alert["id"] for alert in kept(store, ALERTS)]
    assert len(opened) == 1
    assert len(kept(store, DELIVERIES)) == 2
    store.close()


def test_one_leads_and_another_takes_over(url: str) -> None:
    stores = [MonitoringStore(url) for _ in range(2)]
    one, other = (Lead(store) for store in stores)
    assert one.held()
    assert not other.held()
    assert one.held()
    one.let_go()
    assert other.held()
    assert not one.held()
    other.let_go()
    for store in stores:
        store.close()


# Measures

SETTINGS = MeasureSettings(window_s=HOUR_S, most_rows=100, least_rows=4, corrections_s=1000.0, least_corrections=2)


def test_measures_of_nothing_are_not_known(store: MonitoringStore) -> None:
    assert measure(store, MEASURES, SETTINGS) == dict.fromkeys(MEASURES)


def test_measures_are_told_from_the_rows(store: MonitoringStore) -> None:
    now = 1e9
    store.add([row(0, now - 2 * HOUR_S)])
    store.add(
        [row(number, now - 60 * number, warnings=int(number == 3), genre_unsure=number < 4) for number in range(1, 6)]
    )
    store.add([row(6, now - 5, genre_unsure=None)])
    told = measure(store, MEASURES, SETTINGS, now)
    assert told["rows_per_hour"] == 6
    assert told["newest_row_age_s"] == 5
    assert told["warnings_share"] == pytest.approx(1 / 6)
    assert told["genre_unsure_share"] == pytest.approx(3 / 5)
    assert told["check_age_s"] is None
    assert measure(store, ["rows_per_hour", "warnings_share"], SETTINGS, now + HOUR_S - 30) == {
        "rows_per_hour": 1, "warnings_share": None,
    }  # fmt: skip


def test_measures_are_told_from_the_last_check(store: MonitoringStore) -> None:
    estimated = {"genre_accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}, "beat_f": {"value": None}}
    store.add_check({"drift": False, "rows": 9, "share": 0.0})
    store.add_check({"drift": True, "rows": 9, "share": 0.4, "estimated": estimated})
    told = measure(store, MEASURES, SETTINGS)
    assert (told["drift"], told["drift_share"]) == (1.0, 0.4)
    assert (told["estimated_genre_accuracy"], told["estimated_beat_f"]) == (0.8, None)
    assert told["check_age_s"] == pytest.approx(0, abs=30)
    store.add_check({"drift": None, "rows": 2, "share": None})
    assert measure(store, ["drift", "drift_share"], SETTINGS) == {"drift": None, "drift_share": None}


def test_measures_are_told_from_corrections(store: MonitoringStore) -> None:
    beats = [0.5 * number for number in range(40)]
    true = {"beats": [[time_s, None] for time_s in beats]}
    given = [
        ("genre", "jazz", {"label": "jazz"}, 10.0), ("genre", "jazz", {"label": "rock"}, 20.0),
        ("genre", "jazz", {"label": "jazz"}, 30.0), ("genre", None, {"label": "jazz"}, 30.0),
        ("genre", "folk", {"label": "rock"}, -2000.0),
        ("beat", beats, true, 10.0), ("beat", [time_s + 0.2 for time_s in beats], true, 10.0),
        ("beat", None, true, 9.0),
    ]  # fmt: skip
    with store.begin() as connection:
        for number, (task, answer, truth, when) in enumerate(given):
            fixed = {"request_id": f"r{number}", "item": 0, "author": "a", "licence": "", "sha256": "", "audio": ""}
            values = {"id": str(number), "task": task, "truth": truth, "answer": {"answer": answer}, "at": when}
            connection.execute(insert(FEEDBACK).values(**values, **fixed))
    told = measure(store, MEASURES, SETTINGS, 100.0)
    assert told["corrected_genre_accuracy"] == pytest.approx(2 / 3)
    assert told["corrected_beat_f"] == pytest.approx(0.5)


# Settings


def test_the_settings_that_come_with_the_package() -> None:
    settings = load_monitoring({})
    assert {rule.measure for rule in settings.rules} <= set(MEASURES)
    assert settings.targets == {}
    # The first alert of drift must not wait for a second check.
    assert next(rule for rule in settings.rules if rule.name == "drift").for_looks == 1
    assert settings.retention.keep_threads_d >= settings.retention.keep_rows_d


def test_settings_are_a_file_of_ones_own_and_variables(tmp_path: Path) -> None:
    own = tmp_path / "watch.yaml"
    own.write_text(
        "watch: {look_s: 5}\n"
        "rules: [{name: r, measure: drift, severity: info, above: 0.5}]\n"
        'silences: [{rules: [r], begin: "22:00", end: "07:00", zone: Europe/Berlin}]\n'
    )
    settings = load_monitoring(
        {
            "BACKBEAT_MONITORING": str(own),
            "BACKBEAT_MONITORING__WATCH__CHECK_ROWS": "7",
            "BACKBEAT_MONITORING__DATABASE": "postgresql+psycopg://user:secret@host/db",
            "BACKBEAT_MONITORING__TARGETS__TEAM": f'{{url: "https://example.org/x", secret: "{"s" * 32}"}}',
        }
    )
    assert (settings.watch.look_s, settings.watch.check_rows, len(settings.rules)) == (5, 7, 1)
    assert settings.targets["team"].url == "https://example.org/x"
    assert "secret@" not in repr(settings)
    assert "s" * 32 not in repr(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{name: r, measure: drift, severity: info, above: 1, for: 3}]", "Rule has no setting 'for'"),
        ("rules: [{name: r, measure: drift, severity: bad, above: 1}]", "rules.0.severity"),
        ("rules: [{name: r, measure: x, severity: info, above: 1}]", "no measure 'x'"),
        ("rules: [&r {name: r, measure: drift, severity: info, above: 1}, *r]", "two rules 'r'"),
        ("silences: [{rules: [x], begin: '22:00', end: '07:00', zone: UTC}]", "there is no rule 'x'"),
        ("silences: [{rules: [], begin: 22:00, end: '07:00', zone: UTC}]", "begin"),
        ("watch: {look_s: 0}", "watch.look_s must be above 0"),
        ("retention: {keep_threads_d: 1}", "threads are kept no shorter than rows"),
        ("targets: {team: {url: 'http://example.org/', secret: ''}}", "must be https"),
        ("targets: {team: {url: 'http://8.8.8.8/', allow_http: true}}", "must be https"),
        ("targets: {team: {url: 'http://[::ffff:8.8.8.8]/', allow_http: true}}", "must be https"),
        ("targets: {team: {url: 'ftp://example.org/'}}", "must begin with https"),
        ("targets: {team: {url: 'https://me:pw@example.org/'}}", "must not have a user"),
        ("targets: {team: {url: 'https://example.org:x/'}}", "is no address"),
        ("targets: {team: {url: 'https://example.org/', secret: short}}", "32 bytes or more"),
        ("targets: {log: {url: 'https://example.org/'}}", "not 'log'"),
        ("targets: {team: {link: x}}", "Target has no setting 'link'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str) -> None:
    own = tmp_path / "watch.yaml"
    own.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_monitoring({"BACKBEAT_MONITORING": str(own)})
