"""The client of a coordinator, open transactions and sagas, for asyncio. As `Client`, `OpenTransaction` and `Saga`, with `await`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from undoubt import outcomes, requests
from undoubt.calls import Answer, Attempts, Call, Done, Silence
from undoubt.client import limits, request, silence, tls
from undoubt.errors import Refused, UndoubtError
from undoubt.forms import Event, Outcome, Page, StepStanding, Transaction
from undoubt.ids import new_id
from undoubt.saga import ASKED_FOR_S, IN_A_HURRY_S, LAST_QUESTION_S
from undoubt.stream import SILENCE_TIMEOUT_S, Stream
from undoubt.work import Duration

T = TypeVar("T")


class AsyncClient:
    """Asks a coordinator through its gateway, within one event loop. See `Client` for the arguments.

    A cancelled task ends its call at once; what was asked for may have been done. A block of a saga turns back first: see `AsyncSaga`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:7480",
        *,
        token: str | None = None,
        ca: str | None = None,
        timeout: float = 30.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._base = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        self._timeout = timeout
        self._owns = http is None
        self._http = http or httpx.AsyncClient(verify=tls(ca), limits=limits())
        self._now = time.monotonic
        self._sleep = asyncio.sleep
        self._turning_back: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Waits for sagas that are being turned back (5 s at most), and closes its connections."""
        if self._turning_back:
            await asyncio.wait(self._turning_back, timeout=IN_A_HURRY_S)
        if self._owns:
            await self._http.aclose()

    async def submit(
        self,
        document: Mapping[str, Any],
        *,
        wait: Duration | None = None,
        callback: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Carries a transaction out, and waits for its outcome, 30 s or `wait`; after that it is `pending`. An abort is an outcome, not an
        error. Without an id one is drawn."""
        return await self.call(requests.submit(document, wait, callback, traceparent, tracestate), timeout)

    async def get(self, id: str, *, wait: Duration | None = None, timeout: float | None = None) -> Transaction:
        """Returns how a transaction stands, once it is decided or `wait` is over."""
        return await self.call(requests.get(id, wait), timeout)

    async def cancel(self, id: str, *, timeout: float | None = None) -> Outcome:
        """Turns a transaction back that is not decided, and waits until that is over; `pending` if it takes longer."""
        return await self.call(requests.cancel(id), timeout)

    async def page(self, **wanted: Unpack[requests.Wanted]) -> Page:
        """Returns a page of a list of transactions."""
        return await self.call(requests.listed(wanted))

    async def list(self, **wanted: Unpack[requests.Wanted]) -> AsyncIterator[Transaction]:
        """Lists transactions, page by page, without their histories and results."""
        while True:
            page = await self.page(**wanted)
            for transaction in page.transactions:
                yield transaction
            if not page.more or page.cursor is None:
                return
            wanted["after"] = page.cursor

    async def begin(
        self,
        id: str | None = None,
        *,
        timeout: float | None = None,
        **terms: Unpack[requests.Terms],
    ) -> AsyncOpenTransaction:
        """Begins an open transaction: steps join it until it is closed or cancelled. Without an id one is drawn."""
        begun = await self.call(requests.begin(id or new_id(), terms), timeout)
        return AsyncOpenTransaction(self, begun.tx)

    def open(self, id: str) -> AsyncOpenTransaction:
        """Returns an open transaction that was begun before, by whomever. Asks nothing."""
        return AsyncOpenTransaction(self, id)

    def saga(
        self, id: str | None = None, *, wait: float = 60.0, turn_back: float = 60.0, **terms: Unpack[requests.Terms]
    ) -> AsyncSaga:
        """Returns a block of code that is a saga: see `AsyncSaga`. `wait`: seconds for which leaving the block waits for the end.
        `turn_back`: seconds for which an exception waits until the saga is turned back."""
        return AsyncSaga(self, id or new_id(), terms, wait, turn_back)

    def watch(self, id: str, *, after: str | None = None) -> AsyncIterator[Event]:
        """Tells what happens to a transaction, as it happens, until it has ended. A connection that breaks is made anew."""
        return self._events(id, after, None)

    def events(self, *, after: str | None = None, coordinator: str | None = None) -> AsyncIterator[Event]:
        """Tells what happens to all transactions, as it happens, without an end."""
        return self._events(None, after, coordinator)

    async def coordinator_id(self) -> str:
        """Returns the id of the coordinator, for `undoubt.enlist`. Empty: it does not tell it to this caller."""
        return await self.call(requests.coordinator_id())

    async def call(self, call: Call[T], timeout: float | None = None) -> T:
        """Makes a call, again and again until it is answered or `timeout` is over."""
        waits = self._timeout if timeout is None else timeout
        attempts = Attempts(call, self._now() + call.waits + waits)
        while True:
            answer = await self._once(call, attempts.patience(self._now()))
            then = attempts.after(answer, self._now(), random.random())
            if isinstance(then, Done):
                return then.result
            await self._sleep(then.seconds)

    async def _once(self, call: Call[Any], patience: float) -> Answer | Silence:
        try:
            response = await self._http.send(request(self._http, self._base, self._headers, call, patience))
        except httpx.TransportError as error:
            return silence(error)
        return Answer(response.status_code, response.headers, response.content)

    async def _events(self, tx: str | None, after: str | None, coordinator: str | None) -> AsyncIterator[Event]:
        stream = Stream(tx, after)
        alive = self._now()
        while True:
            call = requests.events(tx, stream.after, coordinator)
            asked = request(self._http, self._base, self._headers, call, SILENCE_TIMEOUT_S)
            answer: Answer | Silence
            try:
                response = await self._http.send(asked, stream=True)
                async with contextlib.aclosing(response):
                    if response.status_code == 200:
                        async for line in response.aiter_lines():
                            alive = self._now()
                            event = stream.line(line)
                            if event is not None:
                                yield event
                            if stream.ended:
                                return
                        answer = Silence(received=True, cause="the stream ended")
                    else:
                        answer = Answer(response.status_code, response.headers, await response.aread())
            except httpx.TransportError as error:
                answer = silence(error)
            # Raises unless it makes sense to come again.
            Attempts(call, alive + self._timeout).after(answer, self._now(), 0.0)
            await self._sleep(stream.broken(random.random()))

    async def finish(self, turning_back: asyncio.Task[None]) -> None:
        """Waits for a saga that is being turned back, also where the waiting task is cancelled, but not where it is cancelled twice."""
        self._turning_back.add(turning_back)
        turning_back.add_done_callback(self._turning_back.discard)
        # What it came to is of no interest where nobody waits for it any more.
        turning_back.add_done_callback(lambda task: task.cancelled() or task.exception())
        cancelled: asyncio.CancelledError | None = None
        for _ in range(2):
            try:
                await asyncio.wait({turning_back})
                break
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled
        turning_back.result()


class AsyncOpenTransaction:
    """A transaction that steps join while its client's code runs. Anybody who knows its id goes on with it; dropping this changes nothing."""

    def __init__(self, client: AsyncClient, id: str) -> None:
        self._client = client
        self.id = id

    async def run(
        self,
        step: str,
        *,
        timeout: float | None = None,
        **running: Unpack[requests.Running],
    ) -> StepStanding:
        """Has a step join, its action (`do`) run, and returns what it handed back. To run the same again tells the same.

        Raises `StepRefused`, which leaves the transaction as open as before, and `StepUnanswered`.
        """
        return await self._client.call(requests.run(self.id, step, running), timeout)

    async def join(
        self,
        step: str,
        *,
        timeout: float | None = None,
        **joining: Unpack[requests.Joining],
    ) -> StepStanding:
        """Has a step join whose action, if there is one, is the caller's to do from then on."""
        return await self._client.call(requests.join(self.id, step, joining), timeout)

    async def close(self, *, wait: Duration | None = None, timeout: float | None = None) -> Outcome:
        """Closes it, and waits until its steps are completed, 30 s or `wait`. From then on nothing is undone."""
        return await self._client.call(requests.close(self.id, wait), timeout)

    async def cancel(self, *, timeout: float | None = None) -> Outcome:
        """Cancels it, and waits until all is undone."""
        return await self._client.cancel(self.id, timeout=timeout)

    async def get(self, *, wait: Duration | None = None) -> Transaction:
        """Returns how it stands."""
        return await self._client.get(self.id, wait=wait)


class AsyncSaga(AsyncOpenTransaction):
    """A block of code that is a saga: see `Saga`.

    Where its task is cancelled, the saga is cancelled too, within 5 s: in a task of its own, so that it goes on though this one is
    cancelled once more. If that cannot be told to the coordinator in time, or the event loop ends before, the saga is turned back when its
    deadline passes.
    """

    def __init__(self, client: AsyncClient, id: str, terms: requests.Terms, wait: float, turn_back: float) -> None:
        super().__init__(client, id)
        self._terms = terms
        self._wait = wait
        self._turn_back_s = turn_back
        self._wanted: outcomes.Wanted | None = None
        self._closed = False
        self.outcome: Transaction | None = None
        self.problem: UndoubtError | None = None

    async def __aenter__(self) -> Self:
        self.id = (await self._client.call(requests.begin(self.id, self._terms))).tx
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if raised is not None:
            await self._undo(raised)
            return
        try:
            await self._leave()
        except BaseException as error:
            # Cancelled before the close was answered: either it was heard, and then this comes too late, or all is undone.
            if not (isinstance(error, Exception) or self._closed):
                await self._undo(error)
            raise

    async def _undo(self, raised: BaseException) -> None:
        within = self._turn_back_s if isinstance(raised, Exception) else IN_A_HURRY_S
        try:
            await self._client.finish(asyncio.create_task(self._turn_back(within)))
        except UndoubtError as problem:
            self._note(raised, problem)

    async def close(self, *, wait: Duration | None = None, timeout: float | None = None) -> Outcome:
        """Closes it before the block is left."""
        self._wanted = self._wanted or "committed"
        outcome = await super().close(wait=wait, timeout=timeout)
        self._closed = True
        return outcome

    async def cancel(self, *, timeout: float | None = None) -> Outcome:
        """Cancels it: all is undone, and leaving the block raises nothing for it."""
        self._wanted = "aborted"
        return await super().cancel(timeout=timeout)

    async def _leave(self) -> None:
        if self._wanted is None:
            try:
                await self.close(wait=min(self._wait, ASKED_FOR_S))
            except Refused as refused:
                # It cannot be closed as it is: a step may be in effect or not.
                await self._undo(refused)
                raise
        await self._end(self._wanted or "committed", self._wait)

    async def _turn_back(self, within: float) -> None:
        until = time.monotonic() + within
        await self._client.call(requests.cancel(self.id, waits=0.0), within)
        await self._end("aborted", max(0.0, until - time.monotonic()))

    async def _end(self, wanted: outcomes.Wanted, within: float) -> None:
        """Waits for the end, and raises if it is another one than was wanted."""
        until = time.monotonic() + within
        while True:
            left = max(0.0, until - time.monotonic())
            known = await self._client.call(requests.get(self.id, min(left, ASKED_FOR_S)), max(left, LAST_QUESTION_S))
            self.outcome = known
            if known.state != "pending" or known.stuck is not None or left <= ASKED_FOR_S:
                break
        against = outcomes.against(wanted, known)
        if against is not None:
            raise against

    def _note(self, raised: BaseException, problem: UndoubtError) -> None:
        self.problem = problem
        raised.add_note(f"the saga {self.id} was to be turned back: {problem}")
