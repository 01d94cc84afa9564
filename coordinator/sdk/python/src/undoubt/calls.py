"""Calls of the coordinator, and what their answers mean. Pure: no I/O, no clock, no randomness."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from undoubt.errors import NotFound, OutcomeUnknown, Refused, StepRefused, StepUnanswered, UndoubtError, Unreachable

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
GATEWAY_WAITS_S = 60.0
"""The longest time for which the gateway waits for anything before it answers."""
ANSWER_TIMEOUT_S = 10.0
"""The time that one answer may take on top of the time that the gateway was asked to wait."""

_UNCLEAR = frozenset(
    {
        "OUTCOME_UNKNOWN",
        "STEP_UNANSWERED",
        "OUTCOME_KNOWN",
        "NO_ROOM_FOR_ANSWER",
        "STOPPING",
        "NOT_DECIDED_YET",
        "RECORD_COLLECTED",
        "INTERNAL",
    }
)
"""Codes after which nobody knows whether it was done."""

_REPEATED = frozenset({"OUTCOME_KNOWN", "NO_ROOM_FOR_ANSWER", "STOPPING", "NOT_DECIDED_YET"})
"""Codes after which it is asked again, though the very same answer does not say so."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call. To make it again does what making it once does."""

    method: str
    path: str
    read: Callable[[Mapping[str, Any]], T]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """JSON; None is no body."""
    tx: str | None = None
    waits: float = 0.0
    """Seconds for which the gateway itself may wait before it answers."""

    @property
    def only_reads(self) -> bool:
        """Returns true if it changes nothing."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of HTTP. Header names are small."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer came. `received`: the request may have been read."""

    received: bool
    cause: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The call is to be made again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The call is over."""

    result: T


@dataclass(frozen=True, slots=True)
class _Bad:
    """An answer that is no result. `unclear`: it may have been done."""

    error: UndoubtError
    again: bool
    unclear: bool
    after: float = 0.0


class Attempts(Generic[T]):
    """The attempts of one call, until a deadline. Times are seconds of one steady clock."""

    def __init__(self, call: Call[T], deadline: float) -> None:
        self._call = call
        self._deadline = deadline
        self._unclear = False
        self._pause = FIRST_PAUSE_S

    def patience(self, now: float) -> float:
        """Returns for how long the next answer is waited for."""
        return max(0.001, min(self._call.waits + ANSWER_TIMEOUT_S, self._deadline - now))

    def after(self, answer: Answer | Silence, now: float, chance: float) -> Pause | Done[T]:
        """Returns what follows. `chance`: a random number from 0 to 1. Raises what became of the call if it is over and has no result."""
        told = _told(self._call, answer)
        if isinstance(told, Done):
            return told
        self._unclear = self._unclear or told.unclear
        pause = max(self._pause * (0.5 + 0.5 * chance), told.after)
        if told.again and now + pause < self._deadline:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            return Pause(pause)
        raise self._final(told)

    def _final(self, last: _Bad) -> UndoubtError:
        error = last.error
        if isinstance(error, StepUnanswered) or not (last.again or last.unclear):
            return error
        about: dict[str, Any] = {"retryable": error.retryable, "status": error.status, "tx": error.tx}
        if self._call.only_reads:
            if isinstance(error, Refused | Unreachable):
                return error
            return Unreachable("UNREACHABLE" if error.code == "OUTCOME_UNKNOWN" else error.code, error.detail, **about)
        if not self._unclear or (last.unclear and isinstance(error, OutcomeUnknown)):
            return error
        detail = f"it may have been done or not: an answer was lost; ask about it, or do the very same again ({error.detail})"
        return OutcomeUnknown("OUTCOME_UNKNOWN", detail, **about)


def _told(call: Call[T], answer: Answer | Silence) -> Done[T] | _Bad:
    if isinstance(answer, Silence):
        about: dict[str, Any] = {"retryable": True, "tx": call.tx}
        if answer.received:
            detail = f"no answer came, so it may have been done or not: {answer.cause}"
            return _Bad(OutcomeUnknown("OUTCOME_UNKNOWN", detail, **about), again=True, unclear=True)
        return _Bad(Unreachable("UNREACHABLE", f"nobody answers: {answer.cause}", **about), again=True, unclear=False)
    parsed = _json(answer.body)
    if 200 <= answer.status < 300:
        try:
            return Done(call.read(parsed))
        except (KeyError, TypeError, AttributeError, ValueError):
            return _unread(call, answer, f"an answer with status {answer.status} cannot be read")
    if not isinstance(parsed, dict) or not isinstance(parsed.get("code"), str):
        if answer.status == 429:
            refused = Refused("HTTP_429", "too many requests", retryable=True, status=429, tx=call.tx)
            return _Bad(refused, again=True, unclear=False, after=_retry_after(answer))
        if answer.status >= 500:
            return _unread(call, answer, f"somebody on the way answered {answer.status}")
        detail = f"{call.path} answered {answer.status}, and no coordinator did that; check the address"
        code = f"HTTP_{answer.status}"
        return _Bad(Refused(code, detail, status=answer.status, tx=call.tx), again=False, unclear=False)
    return _problem(call, answer, parsed)


def _problem(call: Call[Any], answer: Answer, told: Mapping[str, Any]) -> _Bad:
    code, tx = told["code"], told.get("tx") or call.tx
    retryable = told.get("retryable") is True
    detail = str(told.get("detail", code))
    about: dict[str, Any] = {"status": answer.status, "tx": tx}
    error: UndoubtError
    if code == "STEP_REFUSED":
        error = StepRefused(code, detail, refusal=told.get("refusal"), **about)
    elif code == "STEP_UNANSWERED":
        error = StepUnanswered(code, detail, retryable=retryable, **about)
    elif code == "NOT_FOUND":
        error = NotFound(code, detail, retryable=retryable, **about)
    elif code == "UNREACHED":
        error = Unreachable(code, detail, retryable=retryable, **about)
    elif code in _UNCLEAR:
        error = OutcomeUnknown(code, detail, retryable=retryable or code in _REPEATED, **about)
    else:
        error = Refused(code, detail, retryable=retryable, **about)
    again = (retryable and code != "STEP_UNANSWERED") or code in _REPEATED
    return _Bad(error, again=again, unclear=code in _UNCLEAR, after=_retry_after(answer))


def _unread(call: Call[Any], answer: Answer, why: str) -> _Bad:
    error = OutcomeUnknown("OUTCOME_UNKNOWN", why, retryable=True, status=answer.status, tx=call.tx)
    return _Bad(error, again=True, unclear=True, after=_retry_after(answer))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _retry_after(answer: Answer) -> float:
    try:
        return max(0.0, float(answer.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
