"""The calls that a client can make, by their arguments. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from undoubt.calls import GATEWAY_WAITS_S, Call
from undoubt.forms import Outcome, Page, StepStanding, Transaction
from undoubt.ids import new_id, part_of_path
from undoubt.work import Duration, Work, duration, pieces, seconds

GATEWAYS_OWN_WAIT_S = 30.0
"""The time for which the gateway waits for an outcome where it is not told."""


class CheckBack(TypedDict):
    """What is asked, and of which participant, when an open transaction's time is over."""

    at: str
    ask: Work


class Terms(TypedDict, total=False):
    """The terms of an open transaction."""

    deadline: Duration
    """The time after which it is turned back, unless it is closed before."""
    completions: Literal["together", "as-joined", "reversed", "two-phase"]
    """How its steps are completed; `two-phase`: all or none, by one two-phase commit when it is closed."""
    check_back: CheckBack
    """What is asked when the time is over, instead of turning it back."""
    parent: str
    """The id of the open transaction that it is a part of."""
    owner_only: bool
    """True to take steps and its end from nobody but whoever begins it."""
    traceparent: str
    """The W3C trace context in which it is recorded."""
    tracestate: str


class Policy(TypedDict, total=False):
    """How often and how fast a step is tried."""

    attempts: int
    attempt_timeout: Duration
    first_pause: Duration
    max_pause: Duration


class Joining(Policy):
    """A step that joins: what undoes it, what completes it."""

    at: str
    """The participant."""
    undo: NotRequired[Work]
    complete: NotRequired[Work]


class Running(Joining):
    """A step that joins and whose action is run."""

    do: Work


class Wanted(TypedDict, total=False):
    """What is listed."""

    filter: Literal["all", "open", "unacknowledged", "ended", "damaged", "stuck"]
    state: Literal["pending", "committed", "aborted"]
    older_than: Duration
    younger_than: Duration
    participant: str
    id_prefix: str
    limit: int
    """The most on one page, up to 1,000."""
    after: str
    """The cursor with which an earlier page ended."""
    coordinator: str


_DURATIONS = frozenset({"deadline", "attempt_timeout", "first_pause", "max_pause", "older_than", "younger_than"})
_WORK = frozenset({"do", "undo", "complete", "ask"})
_HEADERS = ("traceparent", "tracestate")


def submit(
    document: Mapping[str, Any],
    wait: Duration | None = None,
    callback: str | None = None,
    traceparent: str | None = None,
    tracestate: str | None = None,
) -> Call[Outcome]:
    """Returns the call that submits a transaction."""
    document = document if document.get("id") else {"id": new_id(), **{k: v for k, v in document.items() if k != "id"}}
    query = _wait(wait)
    if callback is not None:
        query["callback"] = callback
    given = (("traceparent", traceparent), ("tracestate", tracestate))
    headers = {name: value for name, value in given if value is not None}
    waits = _waits(wait, GATEWAYS_OWN_WAIT_S)
    return Call("POST", "/v1/transactions", Outcome.read, query, headers, document, str(document["id"]), waits)


def get(tx: str, wait: Duration | None = None) -> Call[Transaction]:
    """Returns the call that asks how a transaction stands."""
    return Call("GET", place(tx), Transaction.read, _wait(wait), tx=tx, waits=_waits(wait, 0.0))


def cancel(tx: str, waits: float = GATEWAY_WAITS_S) -> Call[Outcome]:
    """Returns the call that turns a transaction back. `waits`: seconds for which its answer is waited for before it is asked again."""
    return Call("POST", f"{place(tx)}/cancel", Outcome.read, tx=tx, waits=waits)


def listed(wanted: Wanted) -> Call[Page]:
    """Returns the call that asks for a page of a list."""
    return Call("GET", "/v1/transactions", Page.read, {name: str(value) for name, value in _plain(wanted).items()})


def begin(tx: str, terms: Terms) -> Call[Outcome]:
    """Returns the call that begins an open transaction."""
    headers = {name: str(terms[name]) for name in _HEADERS if name in terms}  # type: ignore[literal-required]
    body = {name: value for name, value in _plain(terms).items() if name not in _HEADERS}
    return Call("POST", f"{place(tx)}/begin", Outcome.read, headers=headers, body=body, tx=tx)


def run(tx: str, step: str, running: Running) -> Call[StepStanding]:
    """Returns the call that has a step join and run."""
    path = f"{place(tx)}/steps/{part_of_path(step)}/run"
    return Call("POST", path, StepStanding.read, body=_plain(running), tx=tx, waits=GATEWAY_WAITS_S)


def join(tx: str, step: str, joining: Joining) -> Call[StepStanding]:
    """Returns the call that has a step join whose action is the caller's."""
    path = f"{place(tx)}/steps/{part_of_path(step)}/join"
    return Call("POST", path, StepStanding.read, body=_plain(joining), tx=tx)


def close(tx: str, wait: Duration | None = None) -> Call[Outcome]:
    """Returns the call that closes an open transaction."""
    waits = _waits(wait, GATEWAYS_OWN_WAIT_S)
    return Call("POST", f"{place(tx)}/close", Outcome.read, _wait(wait), tx=tx, waits=waits)


def coordinator_id(which: str | None = None) -> Call[str]:
    """Returns the call that asks for a coordinator's id. `which`: of several behind the gateway."""
    query = {"coordinator": which} if which else {}
    return Call("GET", "/v1/coordinator", lambda told: str(told["id"] or ""), query)


def events(tx: str | None, after: str | None, coordinator: str | None = None) -> Call[None]:
    """Returns the call that asks for a stream of events."""
    headers = {"accept": "text/event-stream"}
    if after:
        headers["last-event-id"] = after
    query = {"coordinator": coordinator} if coordinator else {}
    path = "/v1/events" if tx is None else f"{place(tx)}/events"
    return Call("GET", path, lambda _: None, query, headers, tx=tx)


def place(tx: str) -> str:
    """Returns the path of a transaction."""
    return f"/v1/transactions/{part_of_path(tx)}"


def _wait(wait: Duration | None) -> dict[str, str]:
    return {} if wait is None else {"wait": duration(wait)}


def _waits(wait: Duration | None, otherwise: float) -> float:
    return otherwise if wait is None else seconds(wait, GATEWAY_WAITS_S)


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in given.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    if name in _DURATIONS:
        return duration(value)
    if name in _WORK:
        return pieces(value)
    if name == "check_back":
        return _plain(value)
    return value
