"""Subscriptions in a service's own transaction, over a real gateway and participant that are killed."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from undoubt import Client, LogPutBack, Published, Refused, new_id
from undoubt.published import PublishedStream
from undoubt.subscription import Gap, Moved, Subscription, create_table

from processes import Coordinator
from stores import connect, sql


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Coordinator]:
    coordinator = Coordinator(tmp_path, [], topics=["orders", "others"])
    yield coordinator
    coordinator.kill()


@pytest.fixture
def asks(events: Coordinator) -> Iterator[Client]:
    with Client(events.url) as client:
        yield client


@pytest.fixture
def inbox(store: str) -> Iterator[Any]:
    """Returns a connection to a database with the tables that are needed."""
    with closing(connect(store)) as connection:
        create_table(connection)
        sql(connection, "DELETE FROM undoubt_inbox")
        connection.commit()
        yield connection


def emit(client: Client, key: str, topic: str = "orders") -> None:
    work = f'emit {topic} order.placed key={key} json={{"item":"book"}}'
    outcome = client.submit({"id": new_id(), "branches": {"store": [work]}})
    assert outcome.state == "committed"


def note(event: Published, connection: Any) -> None:
    """Writes down that it was handled."""
    sql(connection, "INSERT INTO notes (effect, operation) VALUES (%s, %s)", event.key, event.topic)


def noted(connection: Any) -> list[str]:
    rows = sql(connection, "SELECT effect FROM notes ORDER BY id")
    connection.rollback()
    return [effect for (effect,) in rows]


def test_each_event_is_handled_once_whatever_is_raised(asks: Client, inbox: Any) -> None:
    for number in range(5):
        emit(asks, f"order-{number}")
        emit(asks, f"other-{number}", "others")
    subscription = Subscription(asks, "store", "mailer", topics=["orders"])
    seen = []

    def sometimes(event: Published, connection: Any) -> None:
        note(event, connection)
        seen.append(event.key)
        if len(seen) % 2:
            raise ValueError(event.key)

    handled = 0
    while len(noted(inbox)) < 5:
        try:
            handled += subscription.run(inbox, sometimes, until_now=True)
        except ValueError:
            assert len(noted(inbox)) == len(seen) // 2
    assert noted(inbox) == [f"order-{number}" for number in range(5)]
    assert len(seen) == 10
    assert subscription.run(inbox, note, until_now=True) == 0
    assert Subscription(asks, "store", "another", topics=["others"]).run(inbox, note, until_now=True) == 5


def test_it_goes_on_over_kill_9_of_gateway_and_participant(asks: Client, events: Coordinator, inbox: Any) -> None:
    subscription = Subscription(asks, "store", "mailer")
    handled = 0
    for round in range(3):
        for number in range(3):
            emit(asks, f"order-{round}-{number}")
        handled += subscription.run(inbox, note, until_now=True)
        events.kill()
        events.start()
    assert handled == 9
    assert noted(inbox) == [f"order-{round}-{number}" for round in range(3) for number in range(3)]


def work_until_it_dies(url: str, store: str) -> None:
    """Handles events, and dies in the midst of its fourth, as by kill -9."""
    handled = 0
    with Client(url) as client, closing(connect(store)) as connection:

        def handle(event: Published, connection: Any) -> None:
            nonlocal handled
            note(event, connection)
            handled += 1
            if handled == 4:
                os._exit(9)

        Subscription(client, "store", "mailer", topics=["orders"]).run(connection, handle, until_now=True)


def test_a_handler_that_dies_in_its_midst_does_nothing_twice(
    asks: Client, events: Coordinator, inbox: Any, store: str
) -> None:
    expected = [f"order-{number}" for number in range(10)]
    for key in expected:
        emit(asks, key)
    spawn = multiprocessing.get_context("spawn")
    codes = []
    while noted(inbox) != expected:
        worker = spawn.Process(target=work_until_it_dies, args=(events.url, store))
        worker.start()
        worker.join()
        codes.append(worker.exitcode)
        assert noted(inbox) == expected[: 3 * len(codes)]
    assert codes == [9, 9, 9, 0]


def test_a_process_that_was_overtaken_does_nothing(asks: Client, inbox: Any, store: str) -> None:
    for number in range(3):
        emit(asks, f"order-{number}")
    subscription = Subscription(asks, "store", "mailer")

    def overtaken(event: Published, connection: Any) -> None:
        note(event, connection)
        if event.key == "order-0":
            return
        raise AssertionError("it was overtaken before")

    with closing(connect(store)) as other:
        stale = iter(asks.published("store", until_now=True))
        first = next(stale)

        class Stale(Client):
            def published(self, *_: Any, **__: Any) -> Iterator[Published]:
                yield first
                # Meanwhile another process goes on from there.
                assert subscription.run(other, note, until_now=True) == 2
                yield from stale

        with Stale(asks._base) as old, pytest.raises(Moved):
            Subscription(old, "store", "mailer").run(inbox, overtaken)
    assert noted(inbox) == ["order-0", "order-1", "order-2"]


def test_what_is_missing_and_what_was_put_back_stops_it(asks: Client, inbox: Any) -> None:
    for number in range(3):
        emit(asks, f"order-{number}")
    first, _, third = asks.published("store", until_now=True)

    class Lossy(Client):
        def published(self, *_: Any, **__: Any) -> Iterator[Published]:
            yield first
            yield first
            yield third

    with Lossy(asks._base) as lossy, pytest.raises(Gap):
        Subscription(lossy, "store", "mailer").run(inbox, note)
    assert noted(inbox) == ["order-0"]
    sql(inbox, "UPDATE undoubt_inbox SET incarnation = %s", "0" * 32)
    inbox.commit()
    with pytest.raises(LogPutBack):
        Subscription(asks, "store", "mailer").run(inbox, note, until_now=True)
    with pytest.raises(Refused, match="nothing"):
        Subscription(asks, "store", "other", topics=["nothing"]).run(inbox, note, until_now=True)
    assert noted(inbox) == ["order-0"]


def test_it_begins_where_it_is_told(asks: Client, inbox: Any) -> None:
    for number in range(3):
        emit(asks, f"order-{number}")
    _, second, _ = asks.published("store", until_now=True)
    Subscription(asks, "store", "late", after=second.id).run(inbox, note, until_now=True)
    assert noted(inbox) == ["order-2"]


def test_a_stream_goes_on_behind_the_last_id() -> None:
    stream = PublishedStream(None)
    told = (
        '{"id": "a-1", "position": 1, "topic": "t", "partition": 0, "previous": 0, "key": "k", "type": "y", "data": 7, '
    )
    told += '"content_type": "c", "published_at": "p", "correlation": "x"}'
    for line in ("id: a-1", "event: y", f"data: {told}"):
        assert stream.line(line) is None
    event = stream.line("")
    assert event is not None
    assert (event.data, event.incarnation, stream.after) == (7, "a", "a-1")
    assert stream.line("id: a-9") is stream.line("") is None
    assert stream.after == "a-9"
    stream.line("id: a-10")
    stream.broken(0.5)
    assert stream.line("") is None
    assert stream.after == "a-9"
