"""Who calls, and how often: keys, tokens, requests from this machine, and rates."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from dataclasses import dataclass

import jwt
import structlog
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request

from backbeat.errors import ConfigError
from serving.keys import SCOPES, KeyStore
from serving.problems import Problem
from serving.settings import Access, Rates, Settings

_LOG = structlog.get_logger("serving.access")
_WAY = {"WWW-Authenticate": 'Bearer realm="backbeat"'}
# After a failure Redis is left alone for so long.
_REDIS_REST_S = 10.0
#: Headers that a proxy adds: with one of them, a request from this machine is not of this machine.
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


@dataclass(frozen=True)
class Caller:
    """Who calls: the name of a key, "token:" and a token's subject, or "local"; and what they may do."""

    name: str
    scopes: frozenset[str]


#: Whoever is at this machine, in local mode: let in, and not counted.
LOCAL = Caller("local", frozenset(SCOPES))


class Doorkeeper:
    """Lets callers in: by a key (`X-API-Key` or bearer), by a token, or, in local mode, from this machine."""

    def __init__(self, settings: Settings) -> None:
        self._local = settings.mode == "local"
        self._keys = KeyStore(settings.place(settings.access.keys))
        self._tokens = _Tokens(settings.access)

    async def caller(self, request: Request) -> Caller:
        """Return who calls.

        Raises
        ------
        Problem
            If they may not.
        """
        kind, _, credentials = request.headers.get("authorization", "").partition(" ")
        text = request.headers.get("x-api-key") or (credentials.strip() if kind.lower() == "bearer" else "")
        if text:
            if text.startswith("bb_"):
                key = self._keys.find(text)
                if key is None:
                    raise Problem("no_access", "the key is not known, or was revoked", _WAY)
                return Caller(key.name, frozenset(key.scopes))
            if text.count(".") != 2:
                raise Problem("no_access", "this is neither a key, which begins with bb_, nor a token", _WAY)
            return await self._tokens.caller(text)
        if self._local:
            if _from_here(request):
                return LOCAL
            raise Problem(
                "not_allowed",
                "without a key only requests from this machine are let in: make a key with `python -m serving.keys`",
            )
        raise Problem("no_access", "name a key in the header X-API-Key, or a token in Authorization: Bearer", _WAY)


def _from_here(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


class _Tokens:
    """JSON web tokens: HS256 with a secret, or RS256 with public keys from an address."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._jwks = jwt.PyJWKClient(access.jwt_jwks_url, timeout=5) if access.jwt_jwks_url else None

    async def caller(self, text: str) -> Caller:
        access = self._access
        if not access.jwt_secret and self._jwks is None:
            raise Problem("no_access", "tokens are not taken here; name a key in X-API-Key", _WAY)
        try:
            if self._jwks is not None:
                # Keys are fetched when they are new, and kept; not while others wait.
                found = await asyncio.to_thread(self._jwks.get_signing_key_from_jwt, text)
                secret, algorithm = found.key, "RS256"
            else:
                secret, algorithm = access.jwt_secret, "HS256"
            claims = jwt.decode(
                text,
                secret,
                algorithms=[algorithm],
                audience=access.jwt_audience,
                issuer=access.jwt_issuer or None,
                options={"require": ["exp", "aud", "sub"]},
            )
        except jwt.PyJWKClientConnectionError:
            _LOG.warning("keys_of_tokens_unreachable")
            raise Problem("not_ready", "tokens cannot be checked at the moment", {"Retry-After": "10"}) from None
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Problem("no_access", f"the token is not valid: {error}", _WAY) from None
        scopes = claims.get("scope", "")
        told = scopes.split() if isinstance(scopes, str) else []
        return Caller(f"token:{claims['sub']}"[:64], frozenset(told) & frozenset(SCOPES))


class RateKeeper:
    """Counts calls of each key and each address; in Redis, so that replicas count together, or here."""

    def __init__(self, rates: Rates) -> None:
        self._per_key = parse(rates.per_key) if rates.per_key else None
        self._per_address = parse(rates.per_address) if rates.per_address else None
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._shared: MovingWindowRateLimiter | None = None
        if rates.redis:
            storage = storage_from_string(
                rates.redis, socket_timeout=1, socket_connect_timeout=1, key_prefix="backbeat:rates"
            )
            if not isinstance(storage, Storage):
                raise ConfigError("rates.redis: write redis://HOST:PORT/DB")
            self._shared = MovingWindowRateLimiter(storage)
        self._rests_until = 0.0

    async def check(self, address: str, caller: Caller | None) -> None:
        """Count a call of an address, or of a caller who was let in by a key; Problem when there were too many."""
        if caller is None:
            item, who = self._per_address, f"address:{address}"
        else:
            item, who = self._per_key, f"key:{caller.name}"
        if item is None or caller is LOCAL:
            return
        wait_s = await self._wait_s(item, who)
        if wait_s is not None:
            raise Problem("too_many", f"more than {item} calls", {"Retry-After": str(wait_s)})

    async def _wait_s(self, item: RateLimitItem, who: str) -> int | None:
        if self._shared is not None and time.monotonic() >= self._rests_until:
            try:
                return await asyncio.to_thread(_hit, self._shared, item, who)
            except Exception as error:  # whatever the client of Redis raises: it is away
                self._rests_until = time.monotonic() + _REDIS_REST_S
                _LOG.warning("redis_away", cause=type(error).__name__)
        return _hit(self._here, item, who)


def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItem, who: str) -> int | None:
    """Count a call; return the seconds until the next is let in where there were too many."""
    if limiter.hit(item, who):
        return None
    return max(1, round(limiter.get_window_stats(item, who).reset_time - time.time()) + 1)
