"""The barrier keeps what all SDKs do alike, over each database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import psycopg
import pytest

from undoubt.barrier import (
    Call,
    Ended,
    InProgress,
    Operation,
    Refuse,
    Reply,
    TooLate,
    async_barrier,
    async_record,
    barrier,
    create_table,
    purge,
    record,
)
from undoubt.barrier.calls import read
from undoubt.ids import encoded

from stores import connect, note, notes, sql
from vectors import FOLDER, named, vectors

VECTORS = vectors("barrier.json", "sequences", "headers")


class Failed(Exception):
    pass


def handler(does: dict[str, Any]) -> Any:
    """Does what a vector's handler does after its note."""
    ((kind, what),) = does.items()
    match kind:
        case "result":
            return what
        case "answer":
            assert set(what) == {"status", "text"}
            return Reply(what["status"], what["text"].encode(), "text/plain")
        case "refuse":
            raise Refuse(what)
        case "in_progress":
            raise InProgress(what)
        case "fail":
            raise Failed(what)
        case _:
            raise AssertionError(f"a vector's handler does {kind}, which is not known here")


def headers(call: dict[str, Any]) -> dict[str, str]:
    given = {"undoubt-effect": call.get("effect", "E"), "undoubt-operation": call["operation"]}
    return given | {"undoubt-transaction": encoded(call.get("transaction", "t"))}


def check(call: dict[str, Any], reply: Reply | None, ran: bool) -> None:
    expect = call["expect"]
    assert set(expect) <= {"status", "json", "text", "code", "retry_after", "ran"}
    assert ran == expect.get("ran", False)
    if reply is None:
        assert expect["status"] == 500
        return
    assert reply.status == expect["status"]
    if "json" in expect:
        assert json.loads(reply.body) == expect["json"]
        assert reply.content_type == "application/json"
    if "text" in expect:
        assert reply.body.decode() == expect["text"]
    if "code" in expect:
        assert json.loads(reply.body)["code"] == expect["code"]
        assert reply.content_type == "application/problem+json"
    assert reply.headers.get("Retry-After") == expect.get("retry_after")


def one_call(connection: Any, call: dict[str, Any]) -> None:
    if call["operation"] == "own":
        try:
            record(connection, call["transaction"])
            connection.commit()
            recorded = True
        except TooLate:
            connection.rollback()
            recorded = False
        assert recorded == call["expect"]["recorded"]
        return
    ran = False

    def work(asked: Call) -> Any:
        nonlocal ran
        ran = True
        note(connection, asked.effect, asked.operation.value)
        return handler(call["handler"])

    try:
        reply = barrier(connection, headers(call), work, always=call.get("always", False))
    except Failed:
        reply = None
    check(call, reply, ran)


@pytest.mark.parametrize("vector", named(VECTORS["sequences"]))
def test_a_service_answers_so(vector: dict[str, Any], store: str) -> None:
    connection = connect(store)
    for call in vector["calls"]:
        assert set(call) <= {"operation", "effect", "transaction", "always", "handler", "expect"}
        one_call(connection, call)
    assert [" ".join(noted) for noted in notes(connection)] == vector["left"]
    connection.close()


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("vector", named(VECTORS["sequences"]))
def test_a_service_answers_so_with_asyncio(vector: dict[str, Any], store: str) -> None:
    async def all_of_it() -> None:
        connection = await psycopg.AsyncConnection.connect(store)
        for call in vector["calls"]:
            if call["operation"] == "own":
                try:
                    await async_record(connection, call["transaction"])
                    await connection.commit()
                    recorded = True
                except TooLate:
                    await connection.rollback()
                    recorded = False
                assert recorded == call["expect"]["recorded"]
                continue
            ran: list[Call] = []

            async def work(asked: Call, ran: list[Call] = ran, call: dict[str, Any] = call) -> Any:
                ran.append(asked)
                values = [asked.effect, asked.operation.value]
                await connection.execute("INSERT INTO notes (effect, operation) VALUES (%s, %s)", values)
                return handler(call["handler"])

            reply: Reply | None
            try:
                reply = await async_barrier(connection, headers(call), work, always=call.get("always", False))
            except Failed:
                reply = None
            check(call, reply, bool(ran))
        await connection.close()

    asyncio.run(all_of_it())
    connection = connect(store)
    assert [" ".join(noted) for noted in notes(connection)] == vector["left"]
    connection.close()


@pytest.mark.parametrize("vector", named(VECTORS["headers"]))
def test_what_cannot_be_read_is_refused(vector: dict[str, Any]) -> None:
    given = {name: "e" * 513 if value == "<513 x e>" else value for name, value in vector["given"].items()}
    reply = read(given)
    assert isinstance(reply, Reply)
    assert reply.status == vector["expect"]["status"]
    told = json.loads(reply.body)
    assert told["code"] == vector["expect"]["code"]
    assert vector["expect"]["names"] in told["detail"]


def test_what_can_be_read() -> None:
    given = {
        "Undoubt-Effect": "E",
        "UNDOUBT-OPERATION": "compensation",
        "undoubt-transaction": "t",
        "Undoubt-Step": "2",
    }
    assert read(given) == Call("E", Operation.COMPENSATION, "t", 2)


def test_the_schema_is_the_one_that_all_share() -> None:
    for path in FOLDER.glob("schema.*.sql"):
        own = Path(__file__).parents[1] / "src" / "undoubt" / "barrier" / path.name
        assert own.read_text() == path.read_text(), f"copy {path.name} from the vectors"


def test_a_compensation_hears_of_the_completion(store: str) -> None:
    connection = connect(store)
    heard: list[bool] = []

    def work(asked: Call) -> None:
        heard.append(asked.completed)

    for operation in ("action", "completion", "compensation"):
        assert barrier(connection, headers({"operation": operation}), work).status == 200
    assert heard == [False, False, True]
    connection.close()


def test_old_rows_go(store: str) -> None:
    connection = connect(store)
    create_table(connection)
    assert barrier(connection, headers({"operation": "action"}), lambda _: None).status == 200
    assert purge(connection) == 0
    assert purge(connection, timedelta(seconds=-2)) == 1
    assert barrier(connection, headers({"operation": "action"}), lambda _: 1).body == b"1"
    connection.close()


def test_a_held_row_is_not_waited_for_for_ever(store: str) -> None:
    holder, other = connect(store), connect(store)
    late: list[Reply] = []

    def work(_: Call) -> None:
        asked = headers({"operation": "compensation"})
        late.append(barrier(other, asked, lambda _: pytest.fail("it ran beside the action"), lock_timeout=1))

    assert barrier(holder, headers({"operation": "action"}), work).status == 200
    assert late[0].status == 425
    assert late[0].headers == {"Retry-After": "1"}
    assert barrier(other, headers({"operation": "compensation"}), lambda _: None).status == 200
    holder.close()
    other.close()


def test_a_commit_under_way_is_waited_for_by_its_check_back(store: str) -> None:
    own, other = connect(store), connect(store)
    if store.startswith("sqlite"):
        sql(own, "BEGIN IMMEDIATE")
    record(own, "order-17")
    asked = headers({"operation": "check-back", "transaction": "order-17"})
    assert barrier(other, asked, lambda _: None, lock_timeout=1).status == 425
    own.commit()
    assert barrier(other, asked, lambda _: None).status == 200
    own.close()
    other.close()


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_handler_that_ends_the_transaction_is_told(store: str, ends: str) -> None:
    connection = connect(store)
    ended: Callable[[], None] = getattr(connection, ends)

    def work(_: Call) -> None:
        note(connection, "E", "action")
        ended()

    with pytest.raises(Ended):
        barrier(connection, headers({"operation": "action"}), work)
    connection.close()


def test_an_open_transaction_is_told(store: str) -> None:
    connection = connect(store)
    note(connection, "E", "before")
    with pytest.raises(Ended):
        barrier(connection, headers({"operation": "action"}), lambda _: None)
    connection.close()


def test_autocommit_is_no_matter(store: str) -> None:
    connection = connect(store)
    if store.startswith("postgresql"):
        connection.autocommit = True
    elif store.startswith("mysql"):
        connection.autocommit(True)
    else:
        connection.isolation_level = None

    def work(asked: Call) -> None:
        note(connection, asked.effect, asked.operation.value)
        raise Failed

    with pytest.raises(Failed):
        barrier(connection, headers({"operation": "action"}), work)
    assert notes(connection) == []
    connection.close()


@pytest.mark.parametrize("store", ["postgresql", "mysql"], indirect=True)
def test_a_transaction_that_the_database_rolled_back_is_asked_again(store: str) -> None:
    one, other = connect(store), connect(store)
    lock = "SELECT id FROM notes WHERE id = %s FOR UPDATE"
    for name in ("A", "B"):
        note(one, name, "-")
    first_row, second_row = [id for (id,) in sql(one, "SELECT id FROM notes ORDER BY id")]
    one.commit()
    both, replies = Barrier(2), []

    def call(connection: Any, effect: str, first: int, second: int) -> None:
        def work(_: Call) -> None:
            sql(connection, lock, first)
            both.wait(5)
            sql(connection, lock, second)

        replies.append(barrier(connection, headers({"operation": "action", "effect": effect}), work).status)

    threads = [
        Thread(target=call, args=(one, "A", first_row, second_row)),
        Thread(target=call, args=(other, "B", second_row, first_row)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(replies) == [200, 425]
    one.close()
    other.close()
