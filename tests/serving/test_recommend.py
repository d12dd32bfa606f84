"""What is recommended, the catalogue and interactions over HTTP: asked in-process, of items that were made up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from catalogue_items import descriptors, item, many, unit
from serving_asks import ask, codes, settings_of

from backbeat.errors import ModelError
from backbeat.features import FeatureParams
from backbeat.files import write_json
from backbeat.model import ModelSpec
from backbeat.music import Key
from backbeat.recommend.catalogue import Catalogue
from backbeat.recommend.interactions import Interaction
from serving import recommending
from serving.cataloguing import open_catalogue
from serving.keys import KeyStore
from serving.settings import Settings

SPACE = "genre:0123456789ab"
TRACKS, BEATS = 30, 20


def fill(folder: Path) -> None:
    """Make a catalogue of tracks and beats, and of what three listeners did."""
    catalogue = Catalogue.open(str(folder), make=True)
    tracks, beats = list(many(TRACKS, "track", 1)), list(many(BEATS, "beat", 2))
    for one, vector in zip([*tracks, *beats], unit(TRACKS + BEATS, 16, 3), strict=True):
        catalogue.add(one, {SPACE: vector})
    catalogue.add(item("fast", "beat", descriptors(174.0, Key("A", "minor")), "trap"), {SPACE: unit(1, 16, 4)[0]})
    catalogue.add_interactions(
        [
            Interaction(user, one.id, "like" if place % 3 else "play", 1e9 + place)
            for number, user in enumerate(("anna", "bert", "cleo"))
            for place, one in enumerate(tracks[number : number + 8])
        ]
    )
    catalogue.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    fill(tmp_path / "catalogue")
    return settings_of(tmp_path, "local")


def post(url: str, body: Any = None, **how: Any) -> dict[str, Any]:
    return {"method": "POST", "url": url, **({} if body is None else {"json": body}), **how}


def tracks(**body: Any) -> dict[str, Any]:
    return post("/v1/recommend/tracks", body)


def told(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def ids(answer: httpx.Response) -> list[str]:
    return [one["item"]["id"] for one in told(answer)["answers"]]


def test_tracks_for_a_user_for_likes_and_for_nobody(settings: Settings) -> None:
    by_user, by_likes, popular, alike = ask(
        settings,
        tracks(user="anna", count=5),
        tracks(likes=["track-000000", "track-000001"], count=5),
        tracks(count=3),
        tracks(likes=["track-000000"], count=4, method="content"),
        choosing=True,
    )
    known = {f"track-{number:06d}" for number in range(8)}
    assert len(ids(by_user)) == 5
    assert not known & set(ids(by_user))  # what she knows is not recommended to her
    assert len(set(ids(by_likes))) == 5
    assert not {"track-000000", "track-000001"} & set(ids(by_likes))
    assert len(ids(popular)) == 3
    first = told(alike)["answers"][0]
    assert first["method"] == "content"
    assert first["reason"]
    assert set(first["item"]) >= {"id", "kind", "title", "label", "tempo_bpm", "key", "licence"}
    assert "path" not in first["item"]
    scores = [one["score"] for one in told(alike)["answers"]]
    assert scores == sorted(scores, reverse=True)


def test_a_method_whose_model_is_not_there_is_the_callers_to_change(settings: Settings) -> None:
    (answer,) = ask(settings, tracks(user="anna", method="deep"), choosing=True)
    assert codes([answer]) == ["conflict"]
    assert "method deep: no listening model" in answer.json()["error"]["message"]


def test_the_same_question_has_the_same_answer(settings: Settings) -> None:
    asked = [tracks(user="bert"), post("/v1/recommend/beat?like=track-000003"), tracks(likes=["track-000003"])]
    once = ask(settings, *asked, *asked, choosing=True)
    again = ask(settings, *asked, choosing=True)  # another process would say the same
    texts = [answer.text for answer in once]
    assert all(answer.status_code == 200 for answer in once)
    assert texts[:3] == texts[3:] == [answer.text for answer in again]


def test_filters_hold_and_absurd_ones_are_refused(settings: Settings) -> None:
    good = ask(
        settings,
        tracks(likes=["track-000000"], filters={"labels": ["jazz"], "exclude": ["track-000002"]}),
        tracks(likes=["track-000000"], filters={"tempo_range": [90, 120]}),
        post("/v1/recommend/beat?like=track-000000&labels=Trap,%20boom%20bap&max_stretch=0.5"),
        post("/v1/recommend/beat?like=track-000000&tempo_min=100&max_stretch=0.5"),
        choosing=True,
    )
    assert {one["item"]["label"] for one in told(good[0])["answers"]} == {"jazz"}
    assert all(90 <= one["item"]["tempo_bpm"] <= 120 for one in told(good[1])["answers"])
    assert {one["item"]["label"] for one in told(good[2])["answers"]} <= {"trap", "boom_bap"}
    assert all(one["item"]["tempo_bpm"] >= 100 for one in told(good[3])["answers"])
    absurd = [
        tracks(filters={"tempo_range": [120, 90]}),
        tracks(filters={"tempo_range": [-1, 0]}),
        tracks(filters={"moods": ["happy"]}),
        tracks(filters={"labels": "jazz"}),
        tracks(diversity=1.5),
        tracks(count=0),
        tracks(count=101),
        tracks(method="magic"),
        tracks(user=7),
        tracks(likes=["track-000000"] * 101),
        post("/v1/recommend/beat?like=track-000000&tempo_min=-3"),
        post("/v1/recommend/beat?like=track-000000&tempo_min=nan"),
        post("/v1/recommend/beat?like=track-000000&tempo_min=130&tempo_max=90"),
        post("/v1/recommend/beat?like=track-000000&max_stretch=40"),
        post("/v1/recommend/beat?like=track-000000&max_transpose=-1"),
        post("/v1/recommend/beat?like=track-000000&count=100000"),
        post("/v1/recommend/beat?like=track-000000", content=b"RIFF", headers={"Content-Type": "audio/wav"}),
    ]
    assert codes(ask(settings, *absurd, choosing=True)) == ["wrong_value"] * len(absurd)
    nothing = [
        tracks(filters={"labels": ["polka"]}),
        post("/v1/recommend/beat?like=track-000000&labels=polka"),
        post("/v1/recommend/beat?like=track-000000&tempo_min=500"),
    ]
    assert codes(ask(settings, *nothing, choosing=True)) == ["not_in_catalogue"] * 3


def test_what_is_not_known_is_not_found(settings: Settings) -> None:
    asked = [
        tracks(user="nobody"),
        tracks(likes=["nothing"]),
        tracks(likes=["../../etc/passwd"]),
        post("/v1/recommend/beat?like=nothing"),
        {"url": "/v1/catalogue/items/nothing"},
        {"url": "/v1/catalogue/items/%00"},
        {"url": "/v1/catalogue/items/nothing/similar"},
        {"url": "/v1/catalogue/items/nothing", "method": "DELETE"},
        {"url": "/v1/users/nobody", "method": "DELETE"},
        post("/v1/interactions", {"user": "anna", "item": "nothing", "kind": "like"}),
    ]
    answers = ask(settings, *asked, choosing=True)
    assert codes(answers) == ["unknown_item"] * len(asked)
    assert {answer.status_code for answer in answers} == {404}


def test_where_the_catalogue_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBEAT_CATALOGUE__FOLDER", "elsewhere")  # of the command line's
    places = {"": tmp_path / "catalogue", f"sqlite:///{tmp_path}/music/all.db": tmp_path / "music"}
    for where, place in {**places, str(tmp_path / "own"): tmp_path / "own"}.items():
        opened = open_catalogue(settings_of(tmp_path, recommend__catalogue=where))
        assert (opened.place, opened.count()) == (place, 0)
        opened.close()


def test_an_empty_catalogue_says_what_to_do(tmp_path: Path) -> None:
    asked = [tracks(), post("/v1/recommend/beat?like=x"), {"url": "/v1/catalogue/items"}]
    answers = ask(settings_of(tmp_path, "local"), *asked, choosing=True)
    assert codes(answers[:2]) == ["not_in_catalogue", "unknown_item"]
    assert "backbeat catalogue" in answers[0].json()["error"]["message"]
    assert told(answers[2]) == {"items": [], "next": None, "total": 0}
    assert codes(ask(settings_of(tmp_path, "local"), *asked)) == ["not_ready"] * 3


def test_the_catalogue_is_listed_a_page_at_a_time(settings: Settings) -> None:
    whole, first, one, alike, beats = ask(
        settings,
        {"url": "/v1/catalogue/items?limit=1000"},
        {"url": "/v1/catalogue/items?kind=track&limit=12"},
        {"url": "/v1/catalogue/items/fast"},
        {"url": "/v1/catalogue/items/fast/similar?count=4"},
        {"url": "/v1/catalogue/items/track-000005/similar?kind=beat"},
        choosing=True,
    )
    assert told(whole)["total"] == len(told(whole)["items"]) == TRACKS + BEATS + 1
    assert told(whole)["next"] is None
    assert told(first)["total"] == TRACKS
    assert [shown["id"] for shown in told(first)["items"]] == [f"track-{number:06d}" for number in range(12)]
    (second,) = ask(settings, {"url": f"/v1/catalogue/items?kind=track&after={told(first)['next']}"}, choosing=True)
    assert told(second)["items"][0]["id"] == "track-000012"
    assert told(second)["next"] is None
    assert told(one)["key"] == "A minor"
    assert told(one)["descriptors"]["tempo_bpm"] == 174.0
    assert told(one)["has_audio"] is False
    assert told(alike)["space"] == SPACE
    assert len(ids(alike)) == 4
    assert "fast" not in ids(alike)
    assert {shown["item"]["kind"] for shown in told(beats)["answers"]} == {"beat"}


def test_interactions_count_once_and_are_all_taken_or_none(settings: Settings) -> None:
    like = {"user": "dora", "item": "track-000010", "kind": "like"}
    at = {**like, "at": 1.7e9}
    answers = ask(
        settings,
        post("/v1/interactions", {**like, "id": "click-1"}),
        post("/v1/interactions", {**like, "id": "click-1"}),
        post("/v1/interactions", {"interactions": [at, {**at, "kind": "save"}]}),
        post("/v1/interactions", {"interactions": [at, {**at, "kind": "save"}]}),
        post("/v1/interactions", {"interactions": [{**at, "kind": "play"}, {**at, "item": "nothing"}]}),
        tracks(user="dora", count=3),
        choosing=True,
    )
    assert [told(answer, 201) for answer in answers[:4]] == [
        {"told": 1, "new": 1},
        {"told": 1, "new": 0},
        {"told": 2, "new": 2},
        {"told": 2, "new": 0},
    ]
    assert codes(answers[4:5]) == ["unknown_item"]
    assert "track-000010" not in ids(answers[5])
    catalogue = Catalogue.open(str(settings.place("catalogue")))
    assert sorted(catalogue.interactions("dora").kind.tolist()) == ["like", "like", "save"]
    catalogue.close()
    bad = [
        {**like, "kind": "adore"},
        {**like, "user": "a b"},
        {**like, "user": ""},
        {**like, "at": -1},
        {**like, "at": time.time() + 3600},
        {**like, "extra": 1},
        {"interactions": []},
        {"interactions": {}},
        [like],
        {},
    ]
    assert codes(ask(settings, *(post("/v1/interactions", body) for body in bad), choosing=True)) == [
        "wrong_value"
    ] * len(bad)
    many_more = {"interactions": [{**at, "at": float(second)} for second in range(1001)]}
    assert codes(ask(settings, post("/v1/interactions", many_more), choosing=True)) == ["too_large"]


def test_a_track_and_a_user_that_are_deleted_are_gone_everywhere(settings: Settings) -> None:
    asked = tracks(user="anna", count=20)
    before, similar = ask(settings, asked, {"url": "/v1/catalogue/items/fast/similar?kind=track"}, choosing=True)
    gone = ids(similar)[0]
    answers = ask(
        settings,
        {"url": f"/v1/catalogue/items/{gone}", "method": "DELETE"},
        {"url": f"/v1/catalogue/items/{gone}"},
        {"url": "/v1/catalogue/items?limit=1000"},
        {"url": "/v1/catalogue/items/fast/similar?kind=track&count=100"},
        asked,
        tracks(count=100),
        tracks(likes=[gone]),
        {"url": "/v1/users/anna", "method": "DELETE"},
        asked,
        {"url": "/v1/users/anna", "method": "DELETE"},
        choosing=True,
    )
    removed = told(answers[0])
    assert removed["id"] == gone
    assert (removed["removed"]["items"], removed["removed"]["vectors"]) == (1, 1)
    assert codes([answers[1], answers[6], answers[8], answers[9]]) == ["unknown_item"] * 4
    assert gone not in {shown["id"] for shown in told(answers[2])["items"]}
    for answer in answers[3:6]:
        assert gone not in ids(answer)
    assert told(answers[7])["removed"]["interactions"] >= 7
    catalogue = Catalogue.open(str(settings.place("catalogue")))
    assert gone not in set(catalogue.interactions().items.tolist())
    assert "anna" not in catalogue.users()
    catalogue.close()
    assert before.status_code == 200


def test_every_scope_is_asked_for(tmp_path: Path) -> None:
    fill(tmp_path / "catalogue")
    settings = settings_of(tmp_path)
    store = KeyStore(tmp_path / "keys.json")
    keys = {scope: store.create(scope, (scope,)) for scope in ("recommend", "interactions", "catalogue", "read")}
    wanted: list[tuple[dict[str, Any], set[str]]] = [
        (tracks(), {"recommend"}),
        (post("/v1/recommend/beat?like=fast&max_stretch=0.5"), {"recommend"}),
        ({"url": "/v1/catalogue/items"}, {"recommend", "catalogue"}),
        ({"url": "/v1/catalogue/items/fast"}, {"recommend", "catalogue"}),
        ({"url": "/v1/catalogue/items/fast/similar"}, {"recommend", "catalogue"}),
        (post("/v1/interactions", {"user": "eve", "item": "fast", "kind": "like"}), {"interactions"}),
        (post("/v1/catalogue/items?kind=beat"), {"catalogue"}),
        ({"url": "/v1/catalogue/items/nothing", "method": "DELETE"}, {"catalogue"}),
        ({"url": "/v1/users/nobody", "method": "DELETE"}, {"interactions"}),
    ]
    for scope, key in keys.items():
        answers = ask(settings, *({**one, "headers": {"X-API-Key": key}} for one, _ in wanted), choosing=True)
        refused = [answer.status_code == 403 for answer in answers]
        assert refused == [scope not in scopes for _, scopes in wanted], scope
    assert codes(ask(settings, *(one for one, _ in wanted), choosing=True)) == ["no_access"] * len(wanted)


def test_champions_are_taken_up_and_broken_ones_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec("pairing", "backbeat-pairing", "1", {}, FeatureParams(), ())
    with_registry = replace(settings, models=replace(settings.models, registry="sqlite:///x", registry_s=0.1))
    with_registry = replace(with_registry, recommend=replace(settings.recommend, fresh_s=0.02))

    def load(task: str, folder: Path) -> Any:
        if folder.name == "broken":
            raise ModelError(f"{folder}: is damaged")
        return SimpleNamespace(spec=replace(spec, version=folder.name), space=f"pairing:{folder.name}")

    monkeypatch.setattr(recommending, "load", load)
    monkeypatch.setattr(recommending, "_SHIPPED", tmp_path / "none")

    async def versions(steps: list[dict[str, str] | None]) -> list[str | None]:
        found = []
        made = recommending.Recommending(with_registry)
        made.start()
        for step in steps:
            if step is not None:
                write_json(tmp_path / "champions.json", {task: f"/models/{name}" for task, name in step.items()})
            await asyncio.sleep(0.5)
            found.append(made.models.get("pairing", {}).get("version"))
        await made.close()
        return found

    # Until the registry has been asked nobody knows what to choose by.
    steps = [None, {"beat": "1"}, {"pairing": "7"}, {"pairing": "broken"}, {"pairing": "8"}]
    assert asyncio.run(versions(steps)) == [None, None, "7", "7", "8"]
    # A start at which the champion does not load has the one that worked last.
    assert asyncio.run(versions([{"pairing": "broken"}])) == ["8"]
