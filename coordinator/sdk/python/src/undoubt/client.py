"""The client of a coordinator, for threads."""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from json import JSONEncoder
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import urlencode

import httpx

from undoubt import requests
from undoubt.calls import Answer, Attempts, Call, Done, Silence
from undoubt.errors import UndoubtError
from undoubt.forms import Event, Outcome, Page, Transaction
from undoubt.ids import new_id
from undoubt.published import Published, PublishedStream, reading, told_as
from undoubt.saga import OpenTransaction, Saga
from undoubt.stream import SILENCE_TIMEOUT_S, Stream
from undoubt.work import Duration

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 1_000
"""Calls under way at a time; more wait for one that ends."""

_written = JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What happens before anything was sent."""


class Client:
    """Asks a coordinator through its gateway. May be shared between threads.

    `token`: says who asks. `ca`: a file with the authorities that are trusted for `https://`. `timeout`: seconds for which a call is
    repeated until it is answered, on top of the time that the coordinator was asked to wait. `http`: a client of your own, for
    certificates or proxies; then it is yours to close. Each call may be repeated without harm, and is: what remains
    unknown after that is `OutcomeUnknown`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:7480",
        *,
        token: str | None = None,
        ca: str | None = None,
        timeout: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        self._base = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        self._timeout = timeout
        self._owns = http is None
        self._http = http or httpx.Client(verify=tls(ca), limits=limits())
        self._now = time.monotonic
        self._sleep = time.sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        if self._owns:
            self._http.close()

    def submit(
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
        return self.call(requests.submit(document, wait, callback, traceparent, tracestate), timeout)

    def get(self, id: str, *, wait: Duration | None = None, timeout: float | None = None) -> Transaction:
        """Returns how a transaction stands, once it is decided or `wait` is over."""
        return self.call(requests.get(id, wait), timeout)

    def cancel(self, id: str, *, timeout: float | None = None) -> Outcome:
        """Turns a transaction back that is not decided, and waits until that is over; `pending` if it takes longer."""
        return self.call(requests.cancel(id), timeout)

    def page(self, **wanted: Unpack[requests.Wanted]) -> Page:
        """Returns a page of a list of transactions."""
        return self.call(requests.listed(wanted))

    def list(self, **wanted: Unpack[requests.Wanted]) -> Iterator[Transaction]:
        """Lists transactions, page by page, without their histories and results."""
        while True:
            page = self.page(**wanted)
            yield from page.transactions
            if not page.more or page.cursor is None:
                return
            wanted["after"] = page.cursor

    def begin(
        self, id: str | None = None, *, timeout: float | None = None, **terms: Unpack[requests.Terms]
    ) -> OpenTransaction:
        """Begins an open transaction: steps join it until it is closed or cancelled. Without an id one is drawn."""
        begun = self.call(requests.begin(id or new_id(), terms), timeout)
        return OpenTransaction(self, begun.tx)

    def open(self, id: str) -> OpenTransaction:
        """Returns an open transaction that was begun before, by whomever. Asks nothing."""
        return OpenTransaction(self, id)

    def saga(
        self, id: str | None = None, *, wait: float = 60.0, turn_back: float = 60.0, **terms: Unpack[requests.Terms]
    ) -> Saga:
        """Returns a block of code that is a saga: see `Saga`. `wait`: seconds for which leaving the block waits for the end. `turn_back`:
        seconds for which an exception waits until the saga is turned back."""
        return Saga(self, id or new_id(), terms, wait, turn_back)

    def watch(self, id: str, *, after: str | None = None) -> Iterator[Event]:
        """Tells what happens to a transaction, as it happens, until it has ended. A connection that breaks is made anew."""
        return self._events(id, after, None)

    def events(self, *, after: str | None = None, coordinator: str | None = None) -> Iterator[Event]:
        """Tells what happens to all transactions, as it happens, without an end."""
        return self._events(None, after, coordinator)

    def published(
        self,
        participant: str,
        *,
        topics: Sequence[str] = (),
        key: str | None = None,
        after: str | None = None,
        until_now: bool = False,
    ) -> Iterator[Published]:
        """Tells the events that a participant has published, from the first there is or the one behind `after`, and then those that come. A
        connection that breaks is made anew, and the events go on exactly where they were.

        `after`: the id of an event, or a position. `until_now`: ends with the last event that there is now.
        """
        stream = PublishedStream(after)
        alive = self._now()
        while True:
            call = reading(participant, topics, key, stream.after, until_now)
            asked = request(self._http, self._base, self._headers, call, SILENCE_TIMEOUT_S)
            answer: Answer | Silence
            try:
                response = self._http.send(asked, stream=True)
                with contextlib.closing(response):
                    if response.status_code == 200:
                        for line in response.iter_lines():
                            alive = self._now()
                            event = stream.line(line)
                            if event is not None:
                                yield event
                            if stream.ended:
                                return
                        answer = Silence(received=True, cause="the stream ended")
                    else:
                        answer = Answer(response.status_code, response.headers, response.read())
            except httpx.TransportError as error:
                answer = silence(error)
            except UndoubtError as error:
                if not error.retryable:
                    raise
                answer = Silence(received=True, cause=str(error))
            try:
                # Raises unless it makes sense to come again.
                Attempts(call, alive + self._timeout).after(answer, self._now(), 0.0)
            except UndoubtError as error:
                raise told_as(error) from None
            self._sleep(stream.broken(random.random()))

    def coordinator_id(self) -> str:
        """Returns the id of the coordinator, for `undoubt.enlist`. Empty: it does not tell it to this caller."""
        return self.call(requests.coordinator_id())

    def call(self, call: Call[T], timeout: float | None = None) -> T:
        """Makes a call, again and again until it is answered or `timeout` is over."""
        waits = self._timeout if timeout is None else timeout
        attempts = Attempts(call, self._now() + call.waits + waits)
        while True:
            answer = self._once(call, attempts.patience(self._now()))
            then = attempts.after(answer, self._now(), random.random())
            if isinstance(then, Done):
                return then.result
            self._sleep(then.seconds)

    def _once(self, call: Call[Any], patience: float) -> Answer | Silence:
        try:
            response = self._http.send(request(self._http, self._base, self._headers, call, patience))
        except httpx.TransportError as error:
            return silence(error)
        return Answer(response.status_code, response.headers, response.content)

    def _events(self, tx: str | None, after: str | None, coordinator: str | None) -> Iterator[Event]:
        stream = Stream(tx, after)
        alive = self._now()
        while True:
            call = requests.events(tx, stream.after, coordinator)
            asked = request(self._http, self._base, self._headers, call, SILENCE_TIMEOUT_S)
            answer: Answer | Silence
            try:
                response = self._http.send(asked, stream=True)
                with contextlib.closing(response):
                    if response.status_code == 200:
                        for line in response.iter_lines():
                            alive = self._now()
                            event = stream.line(line)
                            if event is not None:
                                yield event
                            if stream.ended:
                                return
                        answer = Silence(received=True, cause="the stream ended")
                    else:
                        answer = Answer(response.status_code, response.headers, response.read())
            except httpx.TransportError as error:
                answer = silence(error)
            # Raises unless it makes sense to come again.
            Attempts(call, alive + self._timeout).after(answer, self._now(), 0.0)
            self._sleep(stream.broken(random.random()))


def tls(ca: str | None) -> ssl.SSLContext | bool:
    """Returns how servers are checked."""
    return True if ca is None else ssl.create_default_context(cafile=ca)


def limits() -> httpx.Limits:
    """Returns the bounds of a client's connections."""
    return httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100, keepalive_expiry=20.0)


def request(
    http: httpx.Client | httpx.AsyncClient, base: str, who: Mapping[str, str], call: Call[Any], patience: float
) -> httpx.Request:
    """Returns the request of a call. `who`: the headers that say who asks."""
    headers = {**who, **call.headers}
    content = None
    if call.body is not None:
        content = _written(call.body).encode()
        headers["content-type"] = "application/json"
    timeout = {"connect": min(patience, CONNECT_TIMEOUT_S), "read": patience, "write": patience, "pool": patience}
    url = f"{base}{call.path}?{urlencode(call.query)}" if call.query else base + call.path
    return http.build_request(call.method, url, headers=headers, content=content, extensions={"timeout": timeout})


def silence(error: httpx.TransportError) -> Silence:
    """Returns what it means that no answer came. Raises an address that makes no sense as it is."""
    if isinstance(error, httpx.UnsupportedProtocol):
        raise error
    return Silence(not isinstance(error, NOT_SENT), str(error) or type(error).__name__)
