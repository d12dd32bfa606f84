"""Who is let in: keys, tokens, this machine, rates; and the settings that say so. Asked in-process, without models."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from services import http_server
from serving_asks import ask, codes, settings_of

from backbeat.errors import ConfigError
from serving.keys import KeyStore
from serving.settings import load_settings

SECRET = "a secret of thirty-two bytes or more"


def test_production_lets_nobody_in_without_a_key(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    urls = ["/v1/models", "/metrics", "/v1/analyze", "/v1/genre/features"]
    requests = [{"url": url, "method": "POST" if url[4:5] in "ag" else "GET"} for url in urls]
    answers = ask(settings, *requests)
    assert codes(answers) == ["no_access"] * 4
    assert all("Bearer" in answer.headers["www-authenticate"] for answer in answers)
    assert codes(ask(settings, {"url": "/openapi.json"}, {"url": "/docs"})) == ["not_found"] * 2
    assert [answer.status_code for answer in ask(settings, {"url": "/livez"})] == [200]
    assert codes(ask(settings, {"url": "/readyz"}, {"url": "/health"})) == ["not_ready"] * 2


def test_keys_are_several_scoped_revocable_and_kept_as_hashes(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    store = KeyStore(tmp_path / "keys.json")
    reader, analyst = store.create("reader", ("read",)), store.create("analyst", ("analyze",))
    text = (tmp_path / "keys.json").read_text()
    assert reader not in text
    assert reader.split("_", 2)[2] not in text
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    both = [{"headers": {"X-API-Key": reader}}, {"headers": {"Authorization": f"Bearer {reader}"}}]
    assert codes(ask(settings, *both)) == ["not_ready"] * 2  # let in; there is only no model
    assert codes(ask(settings, {"headers": {"X-API-Key": analyst}})) == ["not_allowed"]
    wrong = [reader[:-1] + "x", reader.upper(), "bb_", "bb_000000000000_" + "a" * 43, "bb_é"]
    assert codes(ask(settings, *({"headers": {"X-API-Key": key.encode("latin-1")}} for key in wrong))) == [
        "no_access"
    ] * len(wrong)
    with pytest.raises(ConfigError, match="there is a key 'reader' already"):
        store.create("reader", ("read",))
    KeyStore(tmp_path / "keys.json").revoke("reader")  # as another process would
    assert codes(ask(settings, both[0])) == ["no_access"]
    assert store.find(reader) is None
    assert [key.revoked is None for key in store.all()] == [False, True]
    for bad in ("", "a b", "../a", "x" * 65, "token:anna", "local"):
        with pytest.raises(ConfigError):
            store.create(bad, ("read",))
    with pytest.raises(ConfigError, match="no scope 'all'"):
        store.create("c", ("all",))


def test_a_local_service_is_open_to_this_machine_alone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "local")
    assert codes(ask(settings, {})) == ["not_ready"]
    assert codes(ask(settings, {}, address="::1")) == ["not_ready"]
    assert codes(ask(settings, {}, address="192.0.2.7")) == ["not_allowed"]
    # Behind a proxy of this machine everybody seems to be here.
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        assert codes(ask(settings, {"headers": {header: "192.0.2.7"}})) == ["not_allowed"]
    key = KeyStore(tmp_path / "keys.json").create("far", ("read",))
    assert codes(ask(settings, {"headers": {"X-API-Key": key}}, address="192.0.2.7")) == ["not_ready"]
    assert ask(settings, {"url": "/openapi.json"})[0].status_code == 200


def token(secret: Any = SECRET, algorithm: str = "HS256", headers: dict[str, str] | None = None, **claims: Any) -> str:
    whole = {"sub": "anna", "aud": "backbeat", "exp": time.time() + 60, "scope": "read analyze", **claims}
    return jwt.encode({name: value for name, value in whole.items() if value is not None}, secret, algorithm, headers)


def bearer(text: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {text}"}}


def test_tokens_of_a_secret(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, access__jwt_secret=SECRET, access__jwt_issuer="studio")
    good = token(iss="studio")
    assert codes(ask(settings, bearer(good))) == ["not_ready"]
    assert codes(ask(settings, bearer(token(iss="studio", scope="analyze")))) == ["not_allowed"]
    assert codes(ask(settings, bearer(token(iss="studio", scope=["read"])))) == ["not_allowed"]
    bad = [
        token(iss="studio", exp=time.time() - 1),
        token(iss="studio", exp=None),
        token(iss="studio", aud="other"),
        token(iss="studio", aud=None),
        token(iss="other"),
        token("another secret of thirty-two bytes or so", iss="studio"),
        token("", "none", iss="studio"),
        good[:-3],
        "words",
    ]
    assert codes(ask(settings, *map(bearer, bad))) == ["no_access"] * len(bad)
    assert codes(ask(settings_of(tmp_path), bearer(good))) == ["no_access"]
    with pytest.raises(ConfigError, match="32 bytes"):
        settings_of(tmp_path, access__jwt_secret="short")


@contextmanager
def keys_at_an_address(content: dict[str, Any]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: Any) -> None:
            return

    with http_server(Handler) as url:
        yield f"{url}/jwks.json"


def test_tokens_of_public_keys(tmp_path: Path) -> None:
    mine, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    public = {**jwt.algorithms.RSAAlgorithm.to_jwk(mine.public_key(), as_dict=True), "kid": "one", "use": "sig"}
    with keys_at_an_address({"keys": [public]}) as address:
        settings = settings_of(tmp_path, access__jwt_jwks_url=address)
        one = {"kid": "one"}
        good = token(mine, "RS256", one)
        bad = [
            token(other, "RS256", one),
            token(mine, "RS256", {"kid": "two"}),
            token(mine, "RS384", one),
            token(SECRET, "HS256", one),
        ]
        assert codes(ask(settings, bearer(good), *map(bearer, bad))) == ["not_ready", *["no_access"] * 4]
    away = ask(settings_of(tmp_path, access__jwt_jwks_url=address), bearer(good))
    assert codes(away) == ["not_ready"]
    assert "tokens cannot be checked" in away[0].json()["error"]["message"]
    with pytest.raises(ConfigError, match="must be https"):
        settings_of(tmp_path, access__jwt_jwks_url="http://example.org/keys")


def test_too_many_calls_are_told_when_to_come_again(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    one, two = (store.create(name, ("read",)) for name in ("one", "two"))
    settings = settings_of(tmp_path, rates__per_key="3/minute", rates__per_address="2/minute")
    calls = [{"headers": {"X-API-Key": key}} for key in (one, one, one, one, two)]
    answers = ask(settings, *calls)
    assert codes(answers) == ["not_ready"] * 3 + ["too_many", "not_ready"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 62
    # Whoever guesses keys is slowed down by address.
    guesses = ask(settings, *[{"headers": {"X-API-Key": "bb_"}}] * 4)
    assert codes(guesses) == ["no_access", "no_access", "too_many", "too_many"]
    # A Redis that is away is as if there were none.
    alone = settings_of(tmp_path, rates__per_key="1/minute", rates__redis="redis://127.0.0.1:1/0")
    assert codes(ask(alone, calls[0], calls[0])) == ["not_ready", "too_many"]


def test_other_origins_may_call_only_where_it_says_so(tmp_path: Path) -> None:
    asking = {"url": "/livez", "headers": {"Origin": "https://studio.example"}}
    assert "access-control-allow-origin" not in ask(settings_of(tmp_path), asking)[0].headers
    settings = settings_of(tmp_path, access__cors_origins="[https://studio.example]")
    assert ask(settings, asking)[0].headers["access-control-allow-origin"] == "https://studio.example"
    other = {"url": "/livez", "headers": {"Origin": "https://other.example"}}
    assert "access-control-allow-origin" not in ask(settings, other)[0].headers


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LIMITS__MAX_BYTES": "0"}, "limits.max_bytes must be above 0"),
        ({"LIMITS__MAX_BITES": "1"}, "no setting 'max_bites'"),
        ({"LIMITZ__MAX_BYTES": "1"}, "no setting 'limitz'"),
        ({"MODE": "open"}, "mode"),
        ({"RATES__PER_KEY": "often"}, "is no rate"),
        ({"LIMITS__AT_ONCE": "two"}, "at_once"),
    ],
)
def test_settings_that_make_no_sense_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings({f"BACKBEAT_SERVING__{name}": value for name, value in variables.items()})


def test_settings_come_from_a_file_and_variables_go_before_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("limits: {files: 3, at_once: 2}\n")
    settings = load_settings(
        {"BACKBEAT_SERVING": str(tmp_path / "mine.yaml"), "BACKBEAT_SERVING__LIMITS__AT_ONCE": "7", "OTHER": "x"}
    )
    assert (settings.limits.files, settings.limits.at_once, settings.mode) == (3, 7, "local")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({"BACKBEAT_SERVING": str(tmp_path / "none.yaml")})
