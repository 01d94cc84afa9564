"""What a service is asked, and what it answers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

MAX_EFFECT_CHARACTERS = 512
PROBLEM = "application/problem+json"
NOT_NOW = frozenset({408, 423, 425, 429})
"""Statuses of 4xx that are no refusal for good."""


class Column(Enum):
    """What a row of the barrier keeps the answer to."""

    ACTION = "action"
    COMPLETION = "completion"
    COMPENSATION = "compensation"


class Operation(Enum):
    """What is to be done, as `Undoubt-Operation` says it."""

    ACTION = "action"
    COMPENSATION = "compensation"
    COMPLETION = "completion"
    TRY = "try"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    CHECK_BACK = "check-back"

    @property
    def column(self) -> Column:
        """Returns the answer's place in the row."""
        return _COLUMNS[self]


_COLUMNS = {
    Operation.ACTION: Column.ACTION,
    Operation.TRY: Column.ACTION,
    Operation.CHECK_BACK: Column.ACTION,
    Operation.COMPLETION: Column.COMPLETION,
    Operation.CONFIRM: Column.COMPLETION,
    Operation.COMPENSATION: Column.COMPENSATION,
    Operation.CANCEL: Column.COMPENSATION,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What a service is asked. `transaction` is percent-encoded; `step` is its place in the saga, from 0."""

    effect: str
    operation: Operation
    transaction: str | None = None
    step: int | None = None
    completed: bool = False
    """Of a compensation: the completion of the same effect was done before."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answers."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, result: Any) -> Reply:
        """Returns the answer with a result: JSON, or nothing."""
        if isinstance(result, Reply):
            return result
        if result is None:
            return cls()
        return cls(200, json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode(), "application/json")

    @classmethod
    def problem(
        cls, status: int, code: str, title: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Returns an answer of the barrier's own."""
        urn = f"urn:undoubt:problem:{code}"
        told = {"type": urn, "title": title, "status": status, "code": code, "detail": detail}
        return cls(status, json.dumps(told, ensure_ascii=False).encode(), PROBLEM, headers or {})

    @property
    def is_done(self) -> bool:
        """Returns true if it says that what was asked for is done."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Returns true if it says: never."""
        return 400 <= self.status < 500 and self.status not in NOT_NOW


class Refuse(Exception):
    """Raised by a handler: never. Its changes are rolled back, the answer is 409, and of an action or a try each repetition gets the same."""


class InProgress(Exception):
    """Raised by a handler: not now. Its changes are rolled back, and it is asked again a second later."""


def refused(why: str) -> Reply:
    """Returns the answer to what is refused."""
    return Reply.problem(409, "REFUSED", "The service refuses this, for good.", why or "refused")


def in_progress(why: str) -> Reply:
    """Returns the answer to what has to be asked again."""
    title = "Not now. Ask again."
    return Reply.problem(425, "IN_PROGRESS", title, why or "it is under way", {"Retry-After": "1"})


def read(headers: Mapping[str, str]) -> Call | Reply:
    """Reads what is asked from a request's headers. Returns the answer to one that cannot be read."""
    small = {name.lower(): value for name, value in headers.items()}
    effect, word, transaction = (small.get(f"undoubt-{name}", "") for name in ("effect", "operation", "transaction"))
    if not effect:
        return _unread(
            "NO_EFFECT", "the header Undoubt-Effect is missing: only a coordinator's participant may call this"
        )
    if len(effect) > MAX_EFFECT_CHARACTERS or not effect.isascii():
        return _unread(
            "NO_EFFECT", f"the header Undoubt-Effect has more than {MAX_EFFECT_CHARACTERS} characters of ASCII"
        )
    if not word:
        return _unread(
            "NO_OPERATION", "the header Undoubt-Operation is missing: only a coordinator's participant may call this"
        )
    try:
        operation = Operation(word)
    except ValueError:
        return _unread(
            "UNKNOWN_OPERATION",
            f"the header Undoubt-Operation says {word}, which this version does not know; update it",
        )
    if operation is Operation.CHECK_BACK and not transaction:
        return _unread(
            "NO_TRANSACTION", "the header Undoubt-Transaction is missing, so it is unknown whose commit is asked about"
        )
    step = small.get("undoubt-step", "")
    return Call(effect, operation, transaction or None, int(step) if step.isdecimal() else None)


def _unread(code: str, detail: str) -> Reply:
    return Reply.problem(400, code, "The request does not say what is to be done.", detail)
