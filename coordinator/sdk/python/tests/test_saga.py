"""Sagas as blocks of code, against a real coordinator: whatever happens ends in what the README says."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from undoubt import (
    Aborted,
    AsyncClient,
    Client,
    NotFound,
    OutcomeUnknown,
    Refused,
    StepRefused,
    Stuck,
    Unreachable,
    new_id,
    post,
)

from processes import Coordinator, Proxy, Service


def add(key: str, number: int) -> dict[str, Any]:
    """Returns a step that adds to a number, and is undone."""
    return {"at": "store", "do": f"add {key} {number}", "undo": f"add {key} {-number}"}


def value(client: Client, key: str) -> str | None:
    return client.submit({"branches": {"store": [f"get {key}"]}}).results["store"].values[0]


def test_leaving_the_block_commits(client: Client, service: Service) -> None:
    key = new_id()
    with client.saga(deadline="1m") as saga:
        assert saga.run("count", **add(key, 3)).values == ["3"]
        seat = saga.run(
            "seat", at="http", do=post(f"{service.url}/seats", {"seat": "7A"}), undo=post(f"{service.url}/no")
        )
        assert seat.json == {"price": 30}
        saga.join("note", at="store", complete=f"put {key}/note done")
    assert saga.outcome is not None
    assert saga.outcome.state == "committed"
    assert value(client, key) == "3"
    assert value(client, f"{key}/note") == "done"


def test_an_exception_undoes_and_goes_on(client: Client) -> None:
    key = new_id()
    with pytest.raises(ZeroDivisionError) as raised, client.saga() as saga:
        saga.run("count", **add(key, 3))
        _ = 1 // 0
    assert not hasattr(raised.value, "__notes__")
    assert saga.outcome is not None
    assert saga.outcome.state == "aborted"
    assert value(client, key) in (None, "0")


def test_a_refused_step_leaves_it_open(client: Client, service: Service) -> None:
    key = new_id()
    with client.saga() as saga:
        saga.run("count", **add(key, 3))
        with pytest.raises(StepRefused) as refused:
            saga.run("seat", at="http", do=post(f"{service.url}/refuse", {}), undo=post(f"{service.url}/no"))
        assert refused.value.refusal == "condition"
        assert refused.value.tx == saga.id
    assert value(client, key) == "3"


def test_a_block_that_cancels_itself_raises_nothing(client: Client) -> None:
    key = new_id()
    with client.saga() as saga:
        saga.run("count", **add(key, 3))
        saga.cancel()
    assert saga.outcome is not None
    assert saga.outcome.state == "aborted"
    assert value(client, key) in (None, "0")


def test_a_block_whose_time_is_over_is_told(client: Client) -> None:
    key = new_id()
    with pytest.raises(Aborted) as aborted, client.saga(deadline="300ms") as saga:
        saga.run("count", **add(key, 3))
        time.sleep(0.6)
    assert aborted.value.reason == "deadline"
    assert aborted.value.retryable
    with pytest.raises(Refused) as late:
        client.open(saga.id).run("more", **add(key, 3))
    assert late.value.code == "NOT_OPEN"
    assert value(client, key) in (None, "0")


def test_all_or_nothing_at_the_close(client: Client) -> None:
    key = new_id()
    with client.saga(completions="two-phase") as saga:
        saga.join("count", at="store", complete=f"add {key} 3")
    assert value(client, key) == "3"
    with pytest.raises(Aborted) as aborted, client.saga(completions="two-phase") as saga:
        saga.join("count", at="store", complete=f"add {key} -5 floor=0")
    assert (aborted.value.reason, aborted.value.participant) == ("condition", "store")


def test_nested_blocks_end_together(client: Client) -> None:
    key = new_id()
    with client.saga() as trip, client.saga(parent=trip.id) as flight:
        flight.run("count", **add(key, 3))
    assert flight.outcome is not None
    assert flight.outcome.state == "closed"
    assert client.get(flight.id, wait=5).state == "committed"
    with pytest.raises(ZeroDivisionError), client.saga() as trip:
        with client.saga(parent=trip.id) as flight:
            flight.run("count", **add(key, 3))
        _ = 1 // 0
    assert client.get(flight.id, wait=5).state == "aborted"
    assert value(client, key) == "3"


def test_what_cannot_be_undone_is_noted(client: Client) -> None:
    key = new_id()
    with pytest.raises(ZeroDivisionError) as raised, client.saga() as saga:
        saga.run("count", at="store", do=f"add {key} 3", undo=f"add {key} -3 floor=100", attempts=1)
        _ = 1 // 0
    assert isinstance(saga.problem, Stuck)
    assert "resolve-step" in raised.value.__notes__[0]


def test_a_step_that_may_be_in_effect_turns_the_saga_back(client: Client, service: Service) -> None:
    key = new_id()
    with pytest.raises(Refused) as refused, client.saga() as saga:
        saga.run("count", **add(key, 3))
        slow: dict[str, Any] = {"attempts": 1, "attempt_timeout": 0.2}
        with pytest.raises(OutcomeUnknown) as unknown:
            saga.run("seat", at="http", do=post(f"{service.url}/slow", {}), undo=post(f"{service.url}/no"), **slow)
        assert unknown.value.code == "STEP_UNANSWERED"
    assert refused.value.code == "STEP_UNSETTLED"
    assert saga.outcome is not None
    assert saga.outcome.state == "aborted"
    assert value(client, key) in (None, "0")


@pytest.mark.parametrize("lost", [1, 2])
def test_every_answer_may_be_lost(client: Client, proxy: Proxy, service: Service, lost: int) -> None:
    key, url = new_id(), f"{service.url}/{new_id()}"
    proxy.lose(lost)
    with client.saga() as saga:
        proxy.lose(lost)
        saga.run("count", **add(key, 3))
        proxy.lose(lost)
        saga.run("seat", at="http", do=post(url, {}), undo=post(url))
        proxy.lose(lost)
        saga.join("note", at="store", complete=f"add {key} 1")
        proxy.lose(lost)
    assert proxy.lost == 5 * lost
    proxy.lose(lost)
    assert client.submit({"id": f"{key}-more", "branches": {"store": [f"add {key} 1"]}}).state == "committed"
    proxy.lose(0)
    assert value(client, key) == "5"
    assert service.operations(url.removeprefix(service.url)) == ["action"]


def test_what_stays_unknown_says_so(proxy: Proxy, coordinator: Coordinator) -> None:
    key = new_id()
    with Client(proxy.url, timeout=0.5) as hasty, Client(coordinator.url) as sure:
        proxy.lose(1000)
        with pytest.raises(OutcomeUnknown) as unknown:
            hasty.submit({"branches": {"store": [f"add {key} 1"]}}, wait=0)
        assert unknown.value.tx is not None
        assert sure.get(unknown.value.tx, wait=5).state == "committed"
        with pytest.raises(Unreachable):
            hasty.get("any")
    with Client("http://127.0.0.1:9", timeout=0.3) as nobody, pytest.raises(Unreachable), nobody.saga():
        raise AssertionError("the block is not entered")


def test_the_coordinator_restarts_within_a_block(client: Client, coordinator: Coordinator) -> None:
    key = new_id()
    with client.saga(deadline="1m") as saga:
        saga.run("one", **add(key, 1))
        coordinator.kill()
        restarted = threading.Timer(0.7, coordinator.start)
        restarted.start()
        saga.run("two", **add(key, 2))
        restarted.join()
        coordinator.kill()
        restarted = threading.Timer(0.7, coordinator.start)
        restarted.start()
    restarted.join()
    assert value(client, key) == "3"


def test_listing_and_watching(client: Client, coordinator: Coordinator) -> None:
    prefix = new_id()
    for number in range(5):
        client.submit({"id": f"{prefix}-{number}", "branches": {"store": [f"add {prefix} 1"]}})
    listed = {one.tx for one in client.list(id_prefix=prefix, limit=2)}
    assert listed == {f"{prefix}-{number}" for number in range(5)}
    opened = client.begin(f"{prefix}-open")
    seen: list[str | None] = []
    watching = threading.Thread(target=lambda: seen.extend(event.event for event in client.watch(opened.id)))
    watching.start()
    time.sleep(0.3)
    opened.run("count", **add(prefix, 1))
    opened.cancel()
    watching.join(10)
    assert not watching.is_alive()
    assert "acted" in seen
    assert seen[-1] == "decided" or "compensated" in seen
    with pytest.raises(NotFound):
        client.get("there is none")


def test_a_watch_goes_on_after_a_cut(coordinator: Coordinator) -> None:
    proxy = Proxy(coordinator.port)
    with Client(proxy.url) as watcher, Client(coordinator.url) as client:
        opened = client.begin()
        seen: list[str] = []

        def watch() -> None:
            for event in watcher.watch(opened.id):
                seen.append(f"{event.event} {event.detail}")

        watching = threading.Thread(target=watch)
        watching.start()
        for number in range(4):
            time.sleep(0.2)
            # Of a stream that has told nothing nobody knows where to go on.
            proxy.lose(1 if number else 0)
            opened.run(f"step{number}", **add("cut", 1))
        time.sleep(0.2)
        proxy.lose(0)
        opened.close()
        watching.join(10)
    assert not watching.is_alive()
    assert proxy.lost >= 3
    assert [event for event in seen if event.startswith("acted")] == [
        f"acted step{number}: done" for number in range(4)
    ]


async def settled(client: AsyncClient, id: str) -> str:
    return (await client.get(id, wait=5)).state


def test_asyncio_commits_and_undoes(coordinator: Coordinator) -> None:
    async def all_of_it() -> None:
        async with AsyncClient(coordinator.url) as client:
            key = new_id()
            async with client.saga() as saga:
                both = await asyncio.gather(saga.run("one", **add(key, 1)), saga.run("two", **add(key, 2)))
                assert {one.state for one in both} == {"done"}
            with pytest.raises(ZeroDivisionError):
                async with client.saga() as undone:
                    await undone.run("one", **add(key, 1))
                    _ = 1 // 0
            assert await settled(client, undone.id) == "aborted"
            read = await client.submit({"branches": {"store": [f"get {key}"]}})
            assert read.results["store"].values == ["3"]
            assert [one.tx async for one in client.list(id_prefix=saga.id)] == [saga.id]

    asyncio.run(all_of_it())


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancelled_task_turns_its_saga_back(coordinator: Coordinator, service: Service, times: int) -> None:
    async def all_of_it() -> None:
        client = AsyncClient(coordinator.url)
        key, saga, reached = new_id(), client.saga(deadline="10m"), asyncio.Event()

        async def block() -> None:
            async with saga:
                await saga.run("one", **add(key, 1))
                reached.set()
                await saga.run("slow", at="http", do=post(f"{service.url}/slow", {}), undo=post(f"{service.url}/no"))

        task = asyncio.create_task(block())
        await reached.wait()
        await asyncio.sleep(0.2)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.aclose()
        async with AsyncClient(coordinator.url) as another:
            assert await settled(another, saga.id) == "aborted"

    started = time.monotonic()
    asyncio.run(all_of_it())
    assert time.monotonic() - started < 15


def test_a_task_that_is_cancelled_while_it_leaves_turns_its_saga_back(coordinator: Coordinator) -> None:
    async def all_of_it() -> None:
        async with AsyncClient(coordinator.url) as client:
            saga = client.saga(deadline="10m")

            async def block() -> None:
                async with saga:
                    await saga.run("one", **add(new_id(), 1))
                    task.cancel()

            task = asyncio.create_task(block())
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert await settled(client, saga.id) == "aborted"

    asyncio.run(all_of_it())


def test_a_cancellation_while_an_exception_turns_back_is_not_lost(coordinator: Coordinator) -> None:
    async def all_of_it() -> None:
        async with AsyncClient(coordinator.url) as client:
            saga = client.saga(deadline="10m")

            async def block() -> None:
                async with saga:
                    await saga.run("one", **add(new_id(), 1))
                    asyncio.get_running_loop().call_soon(task.cancel)
                    _ = 1 // 0

            task = asyncio.create_task(block())
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await settled(client, saga.id) == "aborted"

    asyncio.run(all_of_it())


def test_an_interrupted_program_turns_its_saga_back(client: Client) -> None:
    key = new_id()
    with pytest.raises(KeyboardInterrupt), client.saga(deadline="10m") as saga:
        saga.run("count", **add(key, 3))
        raise KeyboardInterrupt
    assert client.get(saga.id, wait=5).state == "aborted"


def test_a_cancelled_task_that_cannot_tell_ends_in_time(coordinator: Coordinator) -> None:
    async def all_of_it() -> None:
        proxy = Proxy(coordinator.port)
        client = AsyncClient(proxy.url)
        saga, reached = client.saga(deadline="1s"), asyncio.Event()

        async def block() -> None:
            async with saga:
                reached.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(block())
        await reached.wait()
        proxy.close()
        proxy.lose(1_000)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 7
        await client.aclose()
        async with AsyncClient(coordinator.url) as another:
            assert await settled(another, saga.id) == "aborted"

    asyncio.run(all_of_it())
