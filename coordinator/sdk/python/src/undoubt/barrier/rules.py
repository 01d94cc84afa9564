"""What the barrier does with a call: decided by its row, carried out by whoever has the connection. Pure."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from undoubt.barrier.calls import Call, Column, Operation, Reply, in_progress

OWN = "own/"
"""The beginning of the names of rows that a service's own transactions write."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was answered under an effect."""

    action: Reply | None = None
    completion: Reply | None = None
    compensation: Reply | None = None

    def answer(self, column: Column) -> Reply | None:
        """Returns an answer."""
        match column:
            case Column.ACTION:
                return self.action
            case Column.COMPLETION:
                return self.completion
            case Column.COMPENSATION:
                return self.compensation


@dataclass(frozen=True, slots=True)
class Answer:
    """The call is answered without the handler. `keep`: the row is to have it."""

    reply: Reply
    keep: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """Begins a transaction and locks the row of an effect, making it if it is absent. Hands back the row; None: not had in time."""

    effect: str


@dataclass(frozen=True, slots=True)
class Run:
    """Runs the handler. Hands back its answer; None: the database rolled it back and it may be tried again."""

    call: Call


@dataclass(frozen=True, slots=True)
class Store:
    """Puts an answer into the row."""

    effect: str
    column: Column
    reply: Reply


@dataclass(frozen=True, slots=True)
class Commit:
    """Commits."""


@dataclass(frozen=True, slots=True)
class RollBack:
    """Rolls all back, and so lets go of the row."""


Effect = Lock | Run | Store | Commit | RollBack
Flow = Generator[Effect, Any, Reply]

_LATE = "what was undone stays so: the compensation of this effect came before"
_NOT_HAD = "another call with this effect is under way"
_ROLLED_BACK = "the database rolled it back for the sake of another transaction"


def decide(row: Row, operation: Operation, always: bool) -> Answer | None:
    """Returns how a call is answered; None: the handler runs. `always`: a compensation runs though its action was never heard."""
    known = row.answer(operation.column)
    if known is not None:
        return Answer(known, keep=False)
    undone = row.compensation is not None
    match operation:
        case Operation.ACTION | Operation.TRY | Operation.COMPLETION | Operation.CONFIRM if undone:
            return Answer(Reply.problem(409, "LATE", "It came too late.", _LATE), keep=False)
        case Operation.ACTION | Operation.TRY | Operation.COMPLETION:
            return None
        case Operation.CONFIRM if row.action is None or not row.action.is_done:
            detail = "nothing is held for it: no try of this effect was answered with success"
            return Answer(Reply.problem(409, "NEVER_TRIED", "It was never tried.", detail), keep=False)
        case Operation.CONFIRM:
            return None
        case Operation.COMPENSATION | Operation.CANCEL:
            something = row.completion is not None or (row.action is not None and row.action.is_done)
            if something or (always and row.action is None):
                return None
            return Answer(Reply(), keep=True)
        case Operation.CHECK_BACK:
            detail = "no transaction of this service's own was committed under it, and none will be"
            return Answer(Reply.problem(409, "NOT_COMMITTED", "It was not committed.", detail), keep=True)


def once(call: Call, always: bool) -> Flow:
    """Carries a call out once, whatever comes in which order and how often."""
    effect = f"{OWN}{call.transaction}" if call.operation is Operation.CHECK_BACK else call.effect
    row: Row | None = yield Lock(effect)
    if row is None:
        return in_progress(_NOT_HAD)
    decided = decide(row, call.operation, always)
    if decided is not None:
        return (yield from _settle(effect, call, decided))
    reply: Reply | None = yield Run(replace(call, completed=row.completion is not None))
    if reply is None:
        yield RollBack()
        return in_progress(_ROLLED_BACK)
    if reply.is_done:
        return (yield from _settle(effect, call, Answer(reply, keep=True)))
    yield RollBack()
    if not (reply.is_refusal and call.operation.column is Column.ACTION):
        return reply
    # What the handler did is gone, and so is the lock: another may have come between.
    row = yield Lock(effect)
    if row is None:
        return in_progress(_NOT_HAD)
    decided = decide(row, call.operation, always)
    return (yield from _settle(effect, call, decided or Answer(reply, keep=True)))


def _settle(effect: str, call: Call, answer: Answer) -> Flow:
    if answer.keep:
        yield Store(effect, call.operation.column, answer.reply)
        yield Commit()
    else:
        yield RollBack()
    return answer.reply
