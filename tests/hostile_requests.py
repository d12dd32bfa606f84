"""Requests that mean harm, each with its right answer; `tests/hostile_inputs.py` has the files."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hostile_inputs import DAMAGED, FOREIGN, HEARD, LARGE, Answer

VALUE: Answer = (422, "wrong_value")
TYPE: Answer = (415, "wrong_type")
BAD: Answer = (400, "bad_request")
NONE: Answer = (404, "not_found")
UNKNOWN: Answer = (404, "unknown_item")
METHOD: Answer = (405, "wrong_method")


@dataclass(frozen=True)
class Asked:
    """A request as it goes over the wire, and what it should get."""

    name: str
    answer: Answer
    target: str = "/v1/beats"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"
    #: As what the name of the file is shown.
    shown: str | None = None

    def wire(self) -> bytes:
        """Return its bytes."""
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        told = {name for name, _ in self.headers}
        for name, value in (("Host", "localhost"), ("Content-Length", str(len(self.body))), ("Connection", "close")):
            if name not in told and (name, "Transfer-Encoding" in told) != ("Content-Length", True):
                lines.append(f"{name}: {value}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


_FORM = (("Content-Type", "multipart/form-data; boundary=b"),)
_AUDIO = (("Content-Type", "audio/wav"),)
_JSON = (("Content-Type", "application/json"),)


def part(content: bytes, name: str = "file", filename: str | bytes | None = "song.wav", more: bytes = b"") -> bytes:
    """Return a part of a form, behind its boundary."""
    called = filename.encode() if isinstance(filename, str) else filename
    told = b"" if called is None else b'; filename="' + called + b'"'
    head = b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + told
    return head + b"\r\n" + more + b"\r\n" + content + b"\r\n"


def form_requests(song: bytes) -> Iterator[Asked]:
    """Forms that are odd, or try names; `song` can be heard."""
    end = b"--b--\r\n"

    def sent(name: str, answer: Answer, body: bytes, kind: str = _FORM[0][1], target: str = "/v1/beats") -> Asked:
        return Asked(f"form {name}", answer, target, body, (("Content-Type", kind),))

    yield sent("plain", HEARD, part(song) + end)
    for address in ("http://127.0.0.1:9/a.wav", "file:///etc/passwd", "data:audio/wav;base64,UklGRg==", "/etc/passwd"):
        yield sent(f"text {address}", VALUE, part(address.encode(), filename=None) + end)
    yield sent("no file", VALUE, end)
    yield sent("no file but fields", VALUE, part(b"x", "model", None) + end)
    yield sent("wrong field", VALUE, part(song, "song") + end)
    yield sent("wrong field beside", VALUE, part(song) + part(song, "other") + end)
    yield sent("field of no name", VALUE, part(song, "") + end)
    yield sent("two files", VALUE, part(song) + part(song) + end)
    yield sent("file and text", VALUE, part(song) + part(b"http://x", filename=None) + end)
    yield sent("batch of 40", BAD, part(b"x") * 40 + end, target="/v1/analyze/batch")
    yield sent("no boundary", BAD, part(song) + end, "multipart/form-data")
    yield sent("empty boundary", BAD, part(song) + end, "multipart/form-data; boundary=")
    yield sent("other boundary", BAD, part(song) + end, "multipart/form-data; boundary=c")
    yield sent("boundary of 10 kB", BAD, part(song) + end, f"multipart/form-data; boundary={'b' * 10000}")
    yield sent("boundary of two", BAD, part(song) + end, "multipart/form-data; boundary=b; boundary=c")
    yield sent("not ended", VALUE, part(song))
    yield sent("cut in a header", VALUE, part(song)[:30])
    yield sent("cut in a boundary", VALUE, part(song) + b"--")
    yield sent("only a boundary", VALUE, b"--b\r\n")
    yield sent("empty", VALUE, b"")
    yield sent("words", BAD, b"words " * 100)
    yield sent("preamble", BAD, b"preamble\r\n" + part(song) + end)
    yield sent("epilogue", HEARD, part(song) + end + b"epilogue " * 100)
    inner = part(song).replace(b"--b", b"--c") + b"--c--\r\n"
    yield sent("in a form", FOREIGN, part(inner, more=b"Content-Type: multipart/mixed; boundary=c\r\n") + end)
    yield sent("ten thousand parts", BAD, part(b"x", "a", None) * 10000 + end)
    yield sent("a hundred fields", BAD, part(song) + part(b"x", "a", None) * 100 + end)
    yield sent("field of 1 MB", BAD, part(bytes(1_000_000), "a", None) + part(song) + end)
    yield sent("name of 1 MB", BAD, part(song, "a" * 1_000_000) + end)
    yield sent("header of 1 MB", BAD, part(song, more=b"X-A: " + b"a" * 1_000_000 + b"\r\n") + end)
    yield sent("ten thousand headers", BAD, part(song, more=b"X-A: a\r\n" * 10000) + end)
    yield sent("header without colon", BAD, part(song, more=b"words\r\n") + end)
    yield sent("part without disposition", BAD, b"--b\r\nX-A: a\r\n\r\nx\r\n" + end)
    yield sent("part without name", BAD, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + end)
    yield sent("charset unknown", HEARD, part(song) + end, "multipart/form-data; boundary=b; charset=words")
    yield sent("type of a part lies", HEARD, part(song, more=b"Content-Type: text/html\r\n") + end)
    yield sent("transfer encoding of a part", HEARD, part(song, more=b"Content-Transfer-Encoding: base64\r\n") + end)
    yield sent("file name of 5 kB", BAD, part(song, filename="a" * 5000) + end)
    yield sent("empty file", DAMAGED, part(b"") + end)
    for name, shown in NAMES.items():
        target, body = "/v1/analyze?fields=path", part(song, filename=name) + end
        yield Asked(f"form file {name[:30]!r}", HEARD, target, body, _FORM, shown=shown)


#: Names of files that somebody may send, and as what each is shown.
NAMES: dict[bytes, str] = {
    b"../../../etc/passwd": "passwd",
    b"/etc/shadow": "shadow",
    b"..": "..",
    b"C:\\..\\boot.ini": "boot.ini",
    b"..%2f..%2fetc%2fpasswd": "..%2f..%2fetc%2fpasswd",
    b"a\0.wav": "a.wav",
    b"a" * 1000 + b".wav": "a" * 255,
    "\u202egnp.wav".encode(): "gnp.wav",
    b"\xff\xfe.wav": "ÿþ.wav",
    b"\xed\xa0\x80.wav": "í\xa0.wav",
    b"\x1b[31mred.wav": "[31mred.wav",
    b"$(touch x);`id`|.wav": "$(touch x);`id`|.wav",
    b"<script>alert(1)</script>": "script>",
    b"http://127.0.0.1:9/a.wav": "a.wav",
    b"-rf": "-rf",
    b"CON": "CON",
    "\N{MUSICAL SYMBOL G CLEF}.wav".encode(): "\N{MUSICAL SYMBOL G CLEF}.wav",
}


def other_requests(song: bytes, features: list[float]) -> Iterator[Asked]:
    """Types, addresses, ids, headers and JSON that nobody should send."""
    for kind in ("", "text/plain", "application/json", "audio", "image/png", "application/x-www-form-urlencoded"):
        yield Asked(f"type {kind!r}", TYPE, body=song, headers=(("Content-Type", kind),))
    yield Asked("type of 10 kB", TYPE, body=song, headers=(("Content-Type", "a" * 10000),))
    yield Asked("type of controls", TYPE, body=song, headers=(("Content-Type", "\xff\xfe;\xa0"),))
    yield Asked("type audio and nothing", VALUE, headers=_AUDIO)
    yield Asked("type in capitals", HEARD, body=song, headers=(("Content-Type", "AUDIO/X"),))
    yield Asked(
        "gzip as encoding", FOREIGN, body=gzip.compress(song, mtime=0), headers=(*_AUDIO, ("Content-Encoding", "gzip"))
    )
    yield Asked("5 MB", LARGE, body=bytes(5_000_000), headers=_AUDIO)
    yield Asked("5 MB as a form", LARGE, body=part(bytes(5_000_000)) + b"--b--\r\n", headers=_FORM)
    yield Asked("length of 20 digits", LARGE, body=b"x", headers=(*_AUDIO, ("Content-Length", "9" * 18)))

    def chunked(*pieces: bytes) -> bytes:
        return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    told = (*_AUDIO, ("Transfer-Encoding", "chunked"))
    pieces = [song[at : at + 997] for at in range(0, len(song), 997)]
    yield Asked("chunked", HEARD, body=chunked(*pieces), headers=told)
    yield Asked("chunked 5 MB", LARGE, body=chunked(*[bytes(50_000)] * 100), headers=told)
    yield Asked("chunked nothing", VALUE, body=chunked(), headers=told)
    for fields in (
        "../",
        "",
        ",",
        "path/../..",
        "beats%00",
        "%ff%fe",
        "beats;drop",
        "a" * 8000,
        "beats,mood",
        "__class__",
    ):
        yield Asked(f"fields {fields[:20]!r}", VALUE, f"/v1/analyze?fields={fields}", song, _AUDIO)
    yield Asked("fields twice", VALUE, "/v1/analyze?fields=beats&fields=mood", song, _AUDIO)
    yield Asked("fields ten thousand times", HEARD, f"/v1/analyze?fields={'path,' * 5000}", song, _AUDIO)
    yield Asked("query unknown", HEARD, "/v1/beats?__proto__=1&a[]=2&&&=", song, _AUDIO)
    for asked in (
        "model=../../etc/passwd",
        "model=",
        "model=spleeter:%00stems",
        "model=" + "a" * 8000,
        "model=%ff",
        "stems=../vocals",
        "stems=" + "vocals," * 1000 + "x",
        "format=../wav",
        "format=exe",
        "bits=-1",
        "bits=" + "9" * 400,
        "bits=" + "9" * 5000,
        "bits=sixteen",
        "bitrate=0",
        "bitrate=1e3",
        "rate=-1",
        "rate=0",
        "rate=" + "9" * 30,
        "highpass=nan",
        "highpass=inf",
        "highpass=-1",
        "loudness=1e999",
        "loudness=nan",
        "denoise=2",
        "denoise=-0.1",
        "silence=nan",
        "silence=-inf",
    ):
        yield Asked(f"separate {asked[:30]} {len(asked)}", VALUE, f"/v1/separate?{asked}", song, _AUDIO)
    for asked in (
        "title=" + "a" * 10_000,
        "title=" + "%F0%9F%A5%81" * 1000,
        "title=a%00b",
        "title=a%0d%0aX-A:b",
        "artist=%1b[31m",
        "tiers=../extreme",
        "tiers=,",
        "tiers=" + "basic," * 1000,
        "time_signature=99/7",
        "time_signature=" + "9" * 5000 + "/4",
        "time_signature=4/%00",
        "bpm=nan",
        "bpm=-inf",
        "bpm=-120",
        "bpm=1e999",
        "bpm=" + "9" * 5000,
        "expressive=perhaps",
        "plot=%ff",
        "separation=../../etc/passwd",
        "separation=/etc",
        "separation=",
        "separation=spleeter:2stems",
    ):
        yield Asked(f"chart {asked[:30]} {len(asked)}", VALUE, f"/v1/chart?{asked}", song, _AUDIO)
    yield Asked("chart by no model", (409, "conflict"), "/v1/chart?separation=spleeter:4stems", song, _AUDIO)
    yield Asked("separate stems of no name, which are all", (409, "conflict"), "/v1/separate?stems=,", song, _AUDIO)
    yield from recommendation_requests(song)
    for identity in (
        "none",
        "..",
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff%fe",
        "%ed%a0%80",
        "'%20OR%201=1--",
        "a" * 8000,
        "*",
        "%F0%9F%8E%B5",
        "0" * 32,
    ):
        for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/result"), ("GET", "/result/..%2f..%2finput")):
            yield Asked(f"job {identity[:20]}{end} {method}", NONE, f"/v1/jobs/{identity}{end}", method=method)
    for target in (
        "/",
        "/v1",
        "/v1/",
        "/v2/analyze",
        "/v1/analyze/x",
        "//v1/beats",
        "/v1/%62eats/..",
        "/.env",
        "/metrics/x",
    ):
        yield Asked(f"nowhere {target}", NONE, target, method="GET")
    yield Asked("nowhere of 20 kB", NONE, "/" + "a" * 20_000, method="GET")
    yield Asked("nowhere of NUL", NONE, "/%00", method="GET")
    yield Asked("nowhere in UTF-8 that is none", NONE, "/%c0%ae%c0%ae/", method="GET")
    yield Asked("docs of the framework", NONE, "/schema.json", method="GET")
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PURGE", "PROPFIND"):
        yield Asked(f"method {method}", METHOD, method=method)
    yield Asked("key of junk", (401, "no_access"), "/v1/models", method="GET", headers=(("X-API-Key", "bb_x"),))
    yield Asked(
        "key of 20 kB", (401, "no_access"), "/v1/models", method="GET", headers=(("X-API-Key", "bb_" + "a" * 20_000),)
    )
    yield Asked(
        "token of junk", (401, "no_access"), "/v1/models", method="GET", headers=(("Authorization", "Bearer a.b.c"),)
    )
    yield Asked(
        "from afar", (403, "not_allowed"), "/v1/models", method="GET", headers=(("X-Forwarded-For", "127.0.0.1"),)
    )
    yield Asked(
        "id of a request is a line", HEARD, "/v1/models", method="GET", headers=(("X-Request-ID", "a\tb\x85{}"),)
    )
    yield Asked(
        "a hundred headers", HEARD, "/v1/models", method="GET", headers=tuple((f"X-{n}", "a") for n in range(100))
    )
    yield Asked("ranges", HEARD, "/v1/models", method="GET", headers=(("Range", "bytes=" + "0-1," * 1000),))
    yield Asked("expects", HEARD, body=song, headers=(*_AUDIO, ("Expect", "100-continue")))

    def genre(name: str, answer: Answer, body: bytes | str) -> Asked:
        content = body.encode() if isinstance(body, str) else body
        return Asked(f"json {name}", answer, "/v1/genre/features", content, _JSON)

    good = json.dumps(features)
    yield genre("plain", HEARD, f'{{"features": {good}}}')
    yield genre("key twice", HEARD, f'{{"features": [1], "features": {good}}}')
    yield genre("more keys", HEARD, f'{{"features": {good}, "__class__": "x"}}')
    for value in ("NaN", "Infinity", "-Infinity", "1e999", "1e7", "null", "true,[]", '"a"', "{}", "[[1]]"):
        yield genre(f"[{value}]", VALUE, f'{{"features": [{value}]}}')
    yield genre("too few", VALUE, '{"features": [1.0]}')
    yield genre("none", VALUE, '{"features": []}')
    yield genre("too many", VALUE, '{"features": [' + "1," * 400_000 + "1]}")
    yield genre("a text", VALUE, '{"features": "1,2,3"}')
    yield genre("no key", VALUE, "{}")
    yield genre("a list", VALUE, "[]")
    yield genre("a number", VALUE, "1")
    yield genre("null", VALUE, "null")
    yield genre("nothing", VALUE, "")
    yield genre("cut", BAD, '{"features": [1')
    yield genre("words", BAD, "words")
    yield genre("deep", BAD, '{"features": ' + "[" * 100_000 + "]" * 100_000 + "}")
    yield genre("digits", BAD, '{"features": [' + "9" * 100_000 + "]}")
    yield genre("UTF-8 that is none", BAD, b'{"features": ["\xff\xfe"]}')
    yield genre("lone surrogates", VALUE, '{"features": ["\\ud800"]}')
    yield genre("UTF-16", VALUE, '{"features": [1]}'.encode("utf-16"))
    yield genre("NUL", BAD, b"\0" * 100)
    yield genre("pickle", BAD, pickle.dumps({"features": features}))
    yield genre("3.9 MB of spaces", BAD, b" " * 3_900_000)


def recommendation_requests(song: bytes) -> Iterator[Asked]:
    """What recommends, the catalogue and listeners, asked what nobody should ask; nothing is in the catalogue."""
    for asked in (
        "count=0",
        "count=-1",
        "count=" + "9" * 5000,
        "count=1e3",
        "count=101",
        "tempo_min=nan",
        "tempo_min=-inf",
        "tempo_max=1e999",
        "tempo_min=200&tempo_max=100",
        "tempo_max=0",
        "max_stretch=-0.1",
        "max_stretch=nan",
        "max_stretch=1e9",
        "max_transpose=-1",
        "max_transpose=" + "9" * 5000,
        "max_transpose=0.5",
        "labels=" + "house," * 1000,
        "exclude=" + "a" * 8000,
    ):
        yield Asked(f"beat {asked[:30]} {len(asked)}", VALUE, f"/v1/recommend/beat?{asked}", song, _AUDIO)
    yield Asked("beat of an empty catalogue", (409, "not_in_catalogue"), "/v1/recommend/beat", song, _AUDIO)
    yield Asked("beat of a take and an item", VALUE, "/v1/recommend/beat?like=a", song, _AUDIO)
    yield Asked("beat of words", FOREIGN, "/v1/recommend/beat", b"words" * 100, _AUDIO)
    yield Asked("beat of nothing", TYPE, "/v1/recommend/beat")
    for identity in (
        "none",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff%fe",
        "'%20OR%201=1--",
        "*",
        "%F0%9F%8E%B5",
        "0" * 128,
    ):
        yield Asked(f"beat like {identity[:20]}", UNKNOWN, f"/v1/recommend/beat?like={identity}")
        slashes = "%2f" in identity
        for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/similar")):
            answer = NONE if slashes else UNKNOWN
            yield Asked(
                f"item {identity[:20]}{end} {method}", answer, f"/v1/catalogue/items/{identity}{end}", method=method
            )
        answer = NONE if slashes else UNKNOWN
        yield Asked(f"user {identity[:20]}", answer, f"/v1/users/{identity}", method="DELETE")
    yield Asked("beat like of 8 kB", VALUE, "/v1/recommend/beat?like=" + "a" * 8000)
    yield Asked("item of 8 kB", UNKNOWN, "/v1/catalogue/items/" + "a" * 8000, method="GET")
    for asked in ("kind=song", "kind=", "limit=0", "limit=" + "9" * 400, "limit=-1", "after=" + "a" * 8000):
        yield Asked(f"items {asked[:20]} {len(asked)}", VALUE, f"/v1/catalogue/items?{asked}", method="GET")
    for asked in ("after=%00", "after='%20OR%201=1--", "kind=beat&after=%ff", "limit=1000"):
        yield Asked(f"items {asked}", HEARD, f"/v1/catalogue/items?{asked}", method="GET")
    for asked in (
        "kind=song",
        "kind=beat&id=../x",
        "kind=beat&id=" + "a" * 129,
        "kind=beat&id=a%00",
        "kind=beat&title=a%00b",
        "kind=beat&artist=%1b[31m",
        "kind=beat&label=a%0d%0aX-A:b",
        "kind=beat&licence=" + "a" * 10_000,
        "title=a",
    ):
        yield Asked(f"add {asked[:30]} {len(asked)}", VALUE, f"/v1/catalogue/items?{asked}", song, _AUDIO)
    yield Asked("add words", FOREIGN, "/v1/catalogue/items?kind=beat", b"words" * 100, _AUDIO)
    yield Asked("add nothing", VALUE, "/v1/catalogue/items?kind=beat", b"", _AUDIO)
    yield Asked("add JSON", TYPE, "/v1/catalogue/items?kind=beat", b"{}", _JSON)

    def told(path: str, name: str, answer: Answer, body: bytes | str) -> Asked:
        content = body.encode() if isinstance(body, str) else body
        return Asked(f"{path} {name}", answer, f"/v1/{path}", content, _JSON)

    for path in ("recommend/tracks", "interactions"):
        yield told(path, "nothing", VALUE, "")
        yield told(path, "null", VALUE, "null")
        yield told(path, "a list", VALUE, "[]")
        yield told(path, "a number", VALUE, "1")
        yield told(path, "cut", BAD, '{"user": "a')
        yield told(path, "words", BAD, "words")
        yield told(path, "NUL", BAD, b"\0" * 100)
        yield told(path, "UTF-8 that is none", BAD, b'{"user": "\xff\xfe"}')
        yield told(path, "deep", BAD, '{"user": ' + "[" * 100_000 + "]" * 100_000 + "}")
        yield told(path, "pickle", BAD, pickle.dumps({"user": "a"}))
        yield told(path, "more keys", VALUE, '{"user": "a", "item": "b", "kind": "like", "__class__": "x"}')
        yield told(path, "user of 1 MB", VALUE, '{"user": "' + "a" * 1_000_000 + '"}')
        yield told(path, "user is a list", VALUE, '{"user": ["a"], "item": "b", "kind": "like"}')
    tracks = (
        '{"count": 0}',
        '{"count": 1e9}',
        '{"likes": "a"}',
        '{"likes": [1]}',
        '{"likes": [' + '"a",' * 200 + '"a"]}',
        '{"method": "../hybrid"}',
        '{"method": "__class__"}',
        '{"diversity": NaN}',
        '{"diversity": 2}',
        '{"diversity": -1e999}',
        '{"filters": {"tempo_range": [NaN, NaN]}}',
        '{"filters": {"tempo_range": [1]}}',
        '{"filters": {"tempo_range": [-5, -1]}}',
        '{"filters": {"duration_range": [60, 30]}}',
        '{"filters": {"labels": [' + '"a",' * 100 + '"a"]}}',
        '{"filters": {"labels": [""]}}',
        '{"filters": {"mood": 1}}',
    )
    for body in tracks:
        yield told("recommend/tracks", f"{body[:40]} {len(body)}", VALUE, body)
    yield told("recommend/tracks", "of an empty catalogue", (409, "not_in_catalogue"), '{"likes": ["\\u0000"]}')
    one = '"user": "a", "item": "b"'
    for body in (
        f'{{{one}, "kind": "adore"}}',
        f'{{{one}, "kind": "like", "at": NaN}}',
        f'{{{one}, "kind": "like", "at": 1e999}}',
        f'{{{one}, "kind": "like", "at": -1}}',
        f'{{{one}, "kind": "like", "at": 9e12}}',
        f'{{{one}, "kind": "like", "id": ""}}',
        f'{{{one}, "kind": "like", "id": "../a"}}',
        '{"user": "../a", "item": "b", "kind": "like"}',
        '{"user": "a\\u0000", "item": "b", "kind": "like"}',
        '{"user": "a", "item": "\\ud800", "kind": "like"}',
        '{"interactions": []}',
        '{"interactions": 1}',
        '{"interactions": [1]}',
        '{"interactions": [{}], "user": "a"}',
    ):
        yield told("interactions", f"{body[:60]} {len(body)}", VALUE, body)
    yield told("interactions", "of no item", UNKNOWN, f'{{{one}, "kind": "like"}}')
    many = ",".join([f'{{{one}, "kind": "like"}}'] * 5000)
    yield told("interactions", "too many", LARGE, f'{{"interactions": [{many}]}}')


_CHUNKED = b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n"
#: What is no HTTP, or two requests for one server and one for another: each is refused with 4xx, or hung up on.
WIRES: dict[str, bytes] = {
    "lengths that differ": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length below 0": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "length with a plus": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
    "length in words": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
    "length of 100 digits": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 100 + b"\r\n\r\n",
    "length and chunks": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunks and length": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 40\r\n\r\n"
    b"0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunks twice": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunks not last": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks in disguise": b"POST /v1/beats HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunk of words": _CHUNKED + b"\r\nzz\r\n",
    "chunk below 0": _CHUNKED + b"\r\n-1\r\na",
    "chunk of 30 digits": _CHUNKED + b"\r\n" + b"f" * 30 + b"\r\n",
    "chunk longer than told": _CHUNKED + b"\r\n1\r\nabcdef\r\n0\r\n\r\n",
    "header without colon": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nwords\r\n\r\n",
    "header with space": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-A : a\r\n\r\n",
    "header of no name": b"GET /v1/models HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
    "header of NUL": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-A: a\0b\r\n\r\n",
    "header of 1 MB": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "headers without end": b"GET /v1/models HTTP/1.1\r\nHost: a\r\n" + b"X-A: a\r\n" * 100_000 + b"\r\n",
    "address of 1 MB": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "address of two": b"GET /v1/models /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "address of bytes": b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "method of junk": b"G(T /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/9.9": b"GET /v1/models HTTP/9.9\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "SOCKS": b"\5\1\0",
    "words": b"words\r\n\r\n",
    "noise": np.random.default_rng(24).bytes(5000) + b"\r\n\r\n",
    "lines": b"\r\n" * 100_000,
    "NULs": bytes(100_000),
    "proxy": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
    "absolute address": b"GET http://127.0.0.1:9/x HTTP/1.1\r\nHost: a\r\n\r\n",
}
