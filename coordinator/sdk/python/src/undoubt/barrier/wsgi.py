"""Handlers for WSGI: decorators for Flask, and a barrier around any application."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from undoubt.barrier import handlers
from undoubt.barrier.calls import Call, Operation, Reply
from undoubt.barrier.dialects import LOCK_TIMEOUT_S
from undoubt.barrier.handlers import Function, asked, connected, injecting
from undoubt.barrier.run import carry_out, dialect


class Handlers(handlers.Handlers):
    """Makes handlers for Flask, of functions that may have the parameters `connection` (the barrier's, in its open transaction) and `call`.

    The decorator stands under Flask's: `@app.post("/seats")`, `@handlers.action`. What the function returns, and what it does by
    `abort(…)`, is taken as Flask does. `connect` opens or borrows a connection for each call.
    """

    def _guarded(self, function: Function, does: Collection[Operation], always: bool) -> Function:
        import flask
        from werkzeug.exceptions import HTTPException

        injected = injecting(function)

        @functools.wraps(function)
        def guarded(*args: Any, **given: Any) -> Any:
            call = asked(dict(flask.request.headers), does)
            if isinstance(call, Reply):
                return response(call)
            with connected(self._connect) as connection:

                def work(call: Call) -> Reply:
                    result: Any
                    try:
                        result = function(*args, **given, **injected(connection, call))
                    except HTTPException as error:
                        result = error.get_response()
                    if result is None or isinstance(result, Reply):
                        return Reply.of(result)
                    made = flask.make_response(result)
                    headers = {
                        n: v for n, v in made.headers.items() if n.lower() not in ("content-length", "content-type")
                    }
                    return Reply(made.status_code, made.get_data(), made.content_type, headers)

                return response(carry_out(dialect(connection), call, work, always, self._lock_timeout))

        def response(reply: Reply) -> Any:
            made = flask.Response(reply.body, reply.status, dict(reply.headers))
            if reply.content_type is None:
                del made.headers["Content-Type"]
            else:
                made.headers["Content-Type"] = reply.content_type
            return made

        return guarded


def guarded(
    app: WSGIApplication,
    connect: handlers.Connect,
    *,
    always: bool = False,
    lock_timeout: float = LOCK_TIMEOUT_S,
) -> WSGIApplication:
    """Returns an application that carries out each call of `app` once. The `environ` that `app` gets has `undoubt.connection`, in its open
    transaction, and `undoubt.call`. What is no call of a participant's is answered with 400: put only such addresses behind it."""

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        names = {name: name[5:].replace("_", "-") for name in environ if name.startswith("HTTP_")}
        call = asked({header: environ[name] for name, header in names.items()}, tuple(Operation))
        if isinstance(call, Reply):
            return _answer(call, start)
        with connected(connect) as connection:

            def work(call: Call) -> Reply:
                return _asked(app, {**environ, "undoubt.connection": connection, "undoubt.call": call})

            return _answer(carry_out(dialect(connection), call, work, always, lock_timeout), start)

    return application


def _asked(app: WSGIApplication, environ: WSGIEnvironment) -> Reply:
    """Asks an application, and returns its answer whole."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return written.append

    parts = app(environ, start)
    try:
        written.extend(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers = started[-1]
    plain = {name: value for name, value in headers if name.lower() not in ("content-length", "content-type")}
    content_type = next((value for name, value in headers if name.lower() == "content-type"), None)
    return Reply(int(status.split(" ", 1)[0]), b"".join(written), content_type, plain)


def _answer(reply: Reply, start: StartResponse) -> Iterable[bytes]:
    headers = [("Content-Length", str(len(reply.body))), *reply.headers.items()]
    if reply.content_type is not None:
        headers.append(("Content-Type", reply.content_type))
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "-"
    start(f"{reply.status} {phrase}", headers)
    return [reply.body]
