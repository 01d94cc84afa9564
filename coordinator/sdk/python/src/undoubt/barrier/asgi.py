"""Handlers for FastAPI and Starlette: decorators under those of the framework.

A handler may have the parameters `connection` (the barrier's, in its open transaction) and `call`. It is `def` over a connection for
threads, or `async def` over one of psycopg for asyncio. A response of its own and an `HTTPException` are taken as they are; anything
else is the JSON of a 200.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from undoubt.barrier import handlers
from undoubt.barrier.calls import Call, Operation, Reply
from undoubt.barrier.handlers import INJECTED, Function, asked, connected, injecting
from undoubt.barrier.run import carry_out, carry_out_async, dialect

_REQUEST = "undoubt_request"


class Handlers(handlers.Handlers):
    """Makes handlers. `connect` opens or borrows a connection for each call: `pool.connection`, or `lambda: sqlite3.connect(…)`."""

    def _guarded(self, function: Function, does: Collection[Operation], always: bool) -> Function:
        injected = injecting(function)

        @functools.wraps(function)
        def with_threads(*args: Any, **given: Any) -> Response:
            call = asked(_request(args, given).headers, does)
            if isinstance(call, Reply):
                return _response(call)
            with connected(self._connect) as connection:

                def work(call: Call) -> Reply:
                    try:
                        return _reply(function(*args, **given, **injected(connection, call)))
                    except HTTPException as error:
                        return _told(error)

                return _response(carry_out(dialect(connection), call, work, always, self._lock_timeout))

        @functools.wraps(function)
        async def with_asyncio(*args: Any, **given: Any) -> Response:
            from undoubt.barrier.postgresql import AsyncPostgres

            call = asked(_request(args, given).headers, does)
            if isinstance(call, Reply):
                return _response(call)
            opened = self._connect()
            async with await opened if inspect.isawaitable(opened) else opened as connection:

                async def work(call: Call) -> Reply:
                    try:
                        return _reply(await function(*args, **given, **injected(connection, call)))
                    except HTTPException as error:
                        return _told(error)

                over = AsyncPostgres(connection)
                return _response(await carry_out_async(over, call, work, always, self._lock_timeout))

        guarded: Function = with_asyncio if inspect.iscoroutinefunction(function) else with_threads
        guarded.__signature__ = _signature(function)  # type: ignore[attr-defined]
        return guarded


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Returns what FastAPI is to give: what the handler has of its own, and the request."""
    hints = typing.get_type_hints(function, include_extras=True)
    own = inspect.signature(function).parameters.values()
    kept = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in own if one.name not in INJECTED]
    if not any(one.annotation is Request or one.name == "request" for one in kept):
        keyword = inspect.Parameter.KEYWORD_ONLY
        kept.append(inspect.Parameter(_REQUEST, keyword, default=inspect.Parameter.empty, annotation=Request))
    kept.sort(key=lambda one: one.kind)
    return inspect.Signature(kept, return_annotation=Response)


def _request(args: tuple[Any, ...], given: dict[str, Any]) -> Request:
    added = given.pop(_REQUEST, None)
    found = next((one for one in (added, *args, *given.values()) if isinstance(one, Request)), None)
    if found is None:
        raise TypeError("the handler was called without a request; put the barrier's decorator under the framework's")
    return found


def _reply(result: Any) -> Reply:
    if isinstance(result, Response):
        if not hasattr(result, "body"):
            raise TypeError("a response that is streamed cannot be kept for repetitions; return one that is whole")
        length_and_type = ("content-length", "content-type")
        headers = {name: value for name, value in result.headers.items() if name not in length_and_type}
        return Reply(result.status_code, bytes(result.body), result.headers.get("content-type"), headers)
    if result is None or isinstance(result, Reply):
        return Reply.of(result)
    try:
        # Knows models and dates. Whoever returns such has FastAPI.
        from fastapi.encoders import jsonable_encoder
    except ImportError:
        return Reply.of(result)
    return Reply.of(jsonable_encoder(result))


def _told(error: HTTPException) -> Reply:
    told = Reply.of({"detail": error.detail})
    headers: Mapping[str, str] = error.headers or {}
    return Reply(error.status_code, told.body, told.content_type, headers)


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers), reply.content_type)
