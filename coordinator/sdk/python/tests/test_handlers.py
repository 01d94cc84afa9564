"""Handlers in FastAPI, Starlette, Flask and plain WSGI: the framework's own ways work behind the barrier."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults

import flask
import psycopg
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from undoubt.barrier import Call, Refuse, asgi, record, wsgi

from stores import connect, note, notes, sql

Asked = Callable[..., tuple[int, Any]]
"""Posts to a path: path, operation, effect, JSON. Returns the status and the body."""


class Seat(BaseModel):
    seat: str
    price: int = 30


def headers(operation: str, effect: str) -> dict[str, str]:
    return {"Undoubt-Effect": effect, "Undoubt-Operation": operation, "Undoubt-Transaction": "order-17"}


def fastapi_app(store: str) -> Asked:
    app, seats = FastAPI(), asgi.Handlers(lambda: connect(store))

    @app.post("/shows/{show}/seats")
    @seats.action
    def book(show: str, seat: Seat, connection: Any, call: Call) -> Seat:
        note(connection, call.effect, f"book {show} {seat.seat}")
        if seat.seat == "taken":
            raise HTTPException(409, "it is taken")
        if seat.seat == "refused":
            raise Refuse("no")
        if seat.seat == "bug":
            raise RuntimeError
        return seat

    @app.post("/shows/{show}/seats/cancel")
    @seats.compensation
    def cancel(show: str, connection: Any, call: Call) -> None:
        note(connection, call.effect, f"cancel {show}")

    @app.post("/shows/{show}/seats/release")
    @seats.compensation_always
    def release(show: str, connection: Any, call: Call) -> None:
        note(connection, call.effect, f"release {show}")

    @app.post("/check")
    @seats.check_back
    def committed() -> None: ...

    client = TestClient(app, raise_server_exceptions=False)

    def ask(path: str, operation: str, effect: str, body: Any = None) -> tuple[int, Any]:
        answer = client.post(path, headers=headers(operation, effect), json=body)
        return answer.status_code, answer.json() if answer.content.startswith((b"{", b"[")) else answer.text

    return ask


def flask_app(store: str) -> Asked:
    app, seats = flask.Flask("seats"), wsgi.Handlers(lambda: connect(store))

    @app.post("/shows/<show>/seats")
    @seats.action
    def book(show: str, connection: Any, call: Call) -> Any:
        seat = Seat(**flask.request.get_json())
        note(connection, call.effect, f"book {show} {seat.seat}")
        if seat.seat == "taken":
            flask.abort(flask.make_response({"detail": "it is taken"}, 409))
        if seat.seat == "refused":
            raise Refuse("no")
        if seat.seat == "bug":
            raise RuntimeError
        return seat.model_dump()

    @app.post("/shows/<show>/seats/cancel")
    @seats.compensation
    def cancel(show: str, connection: Any, call: Call) -> None:
        note(connection, call.effect, f"cancel {show}")

    @app.post("/shows/<show>/seats/release")
    @seats.compensation_always
    def release(show: str, connection: Any, call: Call) -> None:
        note(connection, call.effect, f"release {show}")

    @app.post("/check")
    @seats.check_back
    def committed() -> None: ...

    client = app.test_client()

    def ask(path: str, operation: str, effect: str, body: Any = None) -> tuple[int, Any]:
        answer = client.post(path, headers=headers(operation, effect), json=body)
        return answer.status_code, json.loads(answer.data) if answer.data.startswith((b"{", b"[")) else answer.text

    return ask


@pytest.mark.parametrize("store", ["sqlite", "mysql"], indirect=True)
@pytest.mark.parametrize("make", [fastapi_app, flask_app])
def test_a_service_of_a_framework(make: Callable[[str], Asked], store: str) -> None:
    ask = make(store)
    seat = {"seat": "7A", "price": 30}
    assert ask("/shows/hamlet/seats", "action", "E", {"seat": "7A"}) == (200, seat)
    assert ask("/shows/hamlet/seats", "action", "E", {"seat": "7B"}) == (200, seat)
    assert ask("/shows/hamlet/seats", "try", "T", {"seat": "7C"})[0] == 200
    assert ask("/shows/hamlet/seats/cancel", "compensation", "E", {}) == (200, "")
    assert ask("/shows/hamlet/seats/cancel", "compensation", "E", {}) == (200, "")
    assert ask("/shows/hamlet/seats/cancel", "compensation", "F", {}) == (200, "")
    assert ask("/shows/hamlet/seats/release", "compensation", "G", {}) == (200, "")
    status, late = ask("/shows/hamlet/seats", "action", "F", {"seat": "7A"})
    assert (status, late["code"]) == (409, "LATE")
    for _ in range(2):
        assert ask("/shows/hamlet/seats", "action", "H", {"seat": "taken"}) == (409, {"detail": "it is taken"})
    assert ask("/shows/hamlet/seats", "action", "H", {"seat": "free"}) == (409, {"detail": "it is taken"})
    assert ask("/shows/hamlet/seats", "action", "I", {"seat": "refused"})[1]["code"] == "REFUSED"
    assert ask("/shows/hamlet/seats", "action", "J", {"seat": "bug"})[0] == 500
    status, wrong = ask("/shows/hamlet/seats", "compensation", "E", {"seat": "7A"})
    assert (status, wrong["code"]) == (400, "WRONG_OPERATION")
    status, none = ask("/shows/hamlet/seats", "action", "", {"seat": "7A"})
    assert (status, none["code"]) == (400, "NO_EFFECT")
    connection = connect(store)
    expected = [("E", "book hamlet 7A"), ("T", "book hamlet 7C"), ("E", "cancel hamlet"), ("G", "release hamlet")]
    assert notes(connection) == expected
    record(connection, "order-17")
    connection.commit()
    connection.close()
    assert ask("/check", "check-back", "K") == (200, "")


def test_fastapi_with_asyncio(postgres: Any) -> None:
    url = postgres.url
    connection = connect(url)
    sql(connection, "CREATE TABLE IF NOT EXISTS async_notes (note text)")
    from undoubt.barrier import create_table

    create_table(connection)
    sql(connection, "DELETE FROM undoubt_barrier")
    connection.commit()
    app = FastAPI()
    seats = asgi.Handlers(lambda: psycopg.AsyncConnection.connect(url))

    @app.post("/seats")
    @seats.action
    async def book(seat: Seat, connection: psycopg.AsyncConnection[Any]) -> Seat:
        await connection.execute("INSERT INTO async_notes VALUES (%s)", [seat.seat])
        if seat.seat == "taken":
            raise HTTPException(409, "it is taken")
        return seat

    with TestClient(app) as client:
        for seat in ("7A", "7B"):
            answer = client.post("/seats", headers=headers("action", "E"), json={"seat": seat})
            assert answer.json() == {"seat": "7A", "price": 30}
        for seat in ("taken", "free"):
            answer = client.post("/seats", headers=headers("action", "F"), json={"seat": seat})
            assert (answer.status_code, answer.json()) == (409, {"detail": "it is taken"})
        assert client.post("/seats", headers=headers("action", "G"), json={}).status_code == 422
        described = app.openapi()["paths"]["/seats"]["post"]
        assert "parameters" not in described, "the barrier's own parameters are nobody's business"
    assert sql(connection, "SELECT note FROM async_notes") == [("7A",)]
    connection.close()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_starlette(store: str) -> None:
    seats = asgi.Handlers(lambda: connect(store))

    @seats.handler
    def handle(request: Request, connection: Any, call: Call) -> JSONResponse:
        note(connection, call.effect, call.operation.value)
        return JSONResponse({"by": request.query_params["by"]}, 201, {"x-made": "yes"})

    client = TestClient(Starlette(routes=[Route("/seats", handle, methods=["POST"])]))
    for by in ("one", "another"):
        answer = client.post("/seats", params={"by": by}, headers=headers("action", "E"))
        assert (answer.status_code, answer.json()) == (201, {"by": "one"})
    assert client.post("/seats?by=one", headers=headers("cancel", "E")).status_code == 201
    assert client.post("/seats?by=one", headers=headers("check-back", "E")).json()["code"] == "WRONG_OPERATION"
    assert notes(connect(store)) == [("E", "action"), ("E", "cancel")]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_any_wsgi_application(store: str) -> None:
    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        call = environ["undoubt.call"]
        note(environ["undoubt.connection"], call.effect, environ["PATH_INFO"])
        start("200 OK" if environ["PATH_INFO"] == "/seats" else "409 Conflict", [("Content-Type", "text/plain")])
        return [b"seat ", environ["QUERY_STRING"].encode()]

    guarded = wsgi.guarded(app, lambda: connect(store))

    def ask(path: str, query: str, effect: str) -> tuple[str, bytes, dict[str, str]]:
        environ: WSGIEnvironment = {"PATH_INFO": path, "QUERY_STRING": query, "HTTP_UNDOUBT_EFFECT": effect}
        environ["HTTP_UNDOUBT_OPERATION"] = "action"
        setup_testing_defaults(environ)
        started: list[tuple[str, dict[str, str]]] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            started.append((status, dict(headers)))
            return lambda _: None

        body = guarded(environ, start)
        ((status, answered),) = started
        return status, b"".join(body), answered

    for query in ("7A", "7B"):
        status, body, answered = ask("/seats", query, "E")
        assert (status, body) == ("200 OK", b"seat 7A")
        assert answered == {"Content-Type": "text/plain", "Content-Length": "7"}
    assert ask("/taken", "7A", "F")[:2] == ("409 Conflict", b"seat 7A")
    assert ask("/seats", "7A", "F")[:2] == ("409 Conflict", b"seat 7A")
    assert ask("/seats", "7A", "")[0] == "400 Bad Request"
    assert notes(connect(store)) == [("E", "/seats")]
