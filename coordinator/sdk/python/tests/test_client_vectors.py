"""The client keeps what all SDKs do alike: its requests, and what it makes of answers. Over threads and over asyncio."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, cast
from urllib.parse import parse_qsl

import httpx
import pytest

import undoubt
from undoubt import AsyncClient, Client, outcomes, work
from undoubt.forms import Transaction

from vectors import named, vectors

REQUESTS = vectors("requests.json", "token", "requests", "work")
ANSWERS = vectors("answers.json", "answers", "outcomes")
UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
EVENTS = "event: end\ndata: {}\n\n"
OUTCOME: dict[str, Any] = {"tx": "a", "state": "committed", "abort": None, "results": {}, "stuck": None}
DEFAULTS: dict[str, dict[str, Any]] = {
    "submit": {"document": {"id": "a", "branches": {}}},
    "get": {"id": "a"},
    "cancel": {"id": "a"},
    "begin": {"id": "a"},
    "run": {"id": "a", "step": "s", "at": "store", "do": "get x", "undo": "get x"},
    "close": {"id": "a"},
}


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.now += seconds


def call(client: Any, name: str, given: dict[str, Any]) -> Any:
    """Makes the call of a vector, by its name. What it returns is awaited by the caller where it has to be."""
    given = dict(given)
    if name in ("run", "join"):
        return getattr(client.open(given.pop("id")), name)(given.pop("step"), **given)
    if name == "close":
        return client.open(given.pop("id")).close(**given)
    if name == "submit":
        return client.submit(given.pop("document"), **given)
    if name in ("get", "cancel", "watch"):
        return getattr(client, name)(given.pop("id"), **given)
    if name in ("begin", "list", "events"):
        return getattr(client, name)(**given)
    raise AssertionError(f"a vector has the call {name}, which is not known here")


Respond = Callable[[httpx.Request], httpx.Response]


def with_threads(respond: Respond, name: str, given: dict[str, Any], token: str | None = None) -> Any:
    client = Client(
        "http://gateway", token=token, timeout=10.0, http=httpx.Client(transport=httpx.MockTransport(respond))
    )
    clock = Clock()
    client._now = lambda: clock.now
    client._sleep = clock.sleep  # type: ignore[assignment]
    result = call(client, name, given)
    return list(result) if inspect.isgenerator(result) else result


def with_asyncio(respond: Respond, name: str, given: dict[str, Any], token: str | None = None) -> Any:
    async def all_of_it() -> Any:
        http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
        client = AsyncClient("http://gateway", token=token, timeout=10.0, http=http)
        clock = Clock()
        client._now = lambda: clock.now
        client._sleep = clock.sleep_async  # type: ignore[assignment]
        result = call(client, name, given)
        return (
            [one async for one in result]
            if inspect.isasyncgen(result)
            else await cast(Coroutine[Any, Any, Any], result)
        )

    return asyncio.run(all_of_it())


WAYS = [pytest.param(with_threads, id="threads"), pytest.param(with_asyncio, id="asyncio")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vector", named(REQUESTS["requests"]))
def test_a_call_makes_this_request(vector: dict[str, Any], way: Callable[..., Any]) -> None:
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if vector["call"] in ("watch", "events"):
            return httpx.Response(200, text=EVENTS)
        if vector["call"] == "list":
            return httpx.Response(200, json={"transactions": [], "more": False, "cursor": None})
        return httpx.Response(200, json={**OUTCOME, "step": "s"})

    way(respond, vector["call"], vector["with"], REQUESTS["token"])
    (request,), expect = asked, vector["expect"]
    assert set(expect) <= {"method", "path", "query", "headers", "absent", "body"}
    path, _, query = request.url.raw_path.decode().partition("?")
    assert request.method == expect["method"]
    assert re.fullmatch(re.escape(expect["path"]).replace("<uuid7>", UUID7), path)
    assert dict(parse_qsl(query, keep_blank_values=True)) == expect["query"]
    assert {name: request.headers.get(name) for name in expect.get("headers", {})} == expect.get("headers", {})
    assert not [name for name in expect.get("absent", []) if name in request.headers]
    if "body" in expect:
        body = json.loads(request.content)
        if expect["body"].get("id") == "<uuid7>":
            assert re.fullmatch(UUID7, body.pop("id"))
        assert body == {name: value for name, value in expect["body"].items() if value != "<uuid7>"}
    else:
        assert request.content == b""


@pytest.mark.parametrize("vector", named(REQUESTS["work"]))
def test_work_has_this_form(vector: dict[str, Any]) -> None:
    makers: dict[str, Callable[..., Any]] = {"post": work.post, "http": work.http}
    assert makers[vector["call"]](**vector["with"]) == vector["expect"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vector", named(ANSWERS["answers"]))
def test_answers_mean_this(vector: dict[str, Any], way: Callable[..., Any]) -> None:
    asked = 0

    def respond(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        given = vector["given"][min(asked, len(vector["given"]) - 1)]
        asked += 1
        if given == "cut":
            raise httpx.RemoteProtocolError("cut", request=request)
        if given == "refused":
            raise httpx.ConnectError("refused", request=request)
        assert set(given) <= {"status", "headers", "json", "text"}
        content = json.dumps(given["json"]) if "json" in given else given["text"]
        return httpx.Response(given["status"], headers=given.get("headers"), text=content)

    expect = vector["expect"]
    assert set(expect) <= {"asked", "result", "error"}
    if "result" in expect:
        result = way(respond, vector["call"], DEFAULTS[vector["call"]])
        told = {"tx": result.id, "state": "pending"} if vector["call"] == "begin" else result.raw
        assert {name: told[name] for name in expect["result"]} == expect["result"]
    else:
        assert_error(expect["error"], lambda: way(respond, vector["call"], DEFAULTS[vector["call"]]))
    if expect["asked"] == "until timeout":
        assert asked > len(vector["given"]) + 1
    else:
        assert asked == expect["asked"]


@pytest.mark.parametrize("vector", named(ANSWERS["outcomes"]))
def test_a_block_ends_so(vector: dict[str, Any]) -> None:
    against = outcomes.against(vector["wanted"], Transaction.read(vector["known"]))
    assert set(vector["expect"]) <= {"error"}
    if vector["expect"]:
        assert against is not None

        def end() -> None:
            raise against

        assert_error(vector["expect"]["error"], end)
    else:
        assert against is None


def assert_error(expect: dict[str, Any], does: Callable[[], Any]) -> None:
    with pytest.raises(undoubt.UndoubtError) as raised:
        does()
    assert type(raised.value) is getattr(undoubt, expect["class"])
    members = {name: value for name, value in expect.items() if name != "class"}
    assert {name: getattr(raised.value, name) for name in members} == members
