"""What the rules ask of whoever has the store and the resource: values, each with what is handed back."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from undoubt.session import session_pb2 as pb
from undoubt.session.marks import NOTHING_IS_OVER, LowWaterMark
from undoubt.session.resource import NOTHING, Keys, Step, StepId


@dataclass(frozen=True, slots=True)
class BranchId:
    """A transaction's branch here, whichever attempt it is at."""

    coordinator: bytes
    tx: bytes


@dataclass(frozen=True, slots=True)
class SagaId:
    """One attempt at a saga."""

    coordinator: bytes
    tx: bytes
    attempt_number: int


class State(StrEnum):
    """The state of a branch."""

    PREPARED = "prepared"
    READ_ONLY = "read-only"
    COMMITTED = "committed"
    ABORTED = "aborted"
    LEFT = "left"

    @property
    def is_in_doubt(self) -> bool:
        """Returns true if it has voted and does not know the decision: it holds its keys."""
        return self in (State.PREPARED, State.READ_ONLY)


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch, from its vote until it is over. `vote` is said again if it is asked for again; None: nobody waits for it any more."""

    attempt_number: int
    state: State
    work: bytes = b""
    vote: pb.Vote | None = None


class Barrier(StrEnum):
    """What became of a saga's step."""

    ACTED = "acted"
    COMPENSATED = "compensated"
    COMPLETED = "completed"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Known:
    """A coordinator that was here. Without a key nobody can prove to be it."""

    epoch: int = 0
    public_key: bytes = b""
    vouched: bool = False
    mark: LowWaterMark = NOTHING_IS_OVER


@dataclass(frozen=True, slots=True)
class FindBranch:
    """Hands back the branch, or None."""

    id: BranchId


@dataclass(frozen=True, slots=True)
class KeepBranch:
    """Stores the branch in place of what it was, and the keys that it holds in place of those that it held."""

    id: BranchId
    branch: Branch
    keys: Keys = NOTHING


@dataclass(frozen=True, slots=True)
class AreTaken:
    """Hands back true if a branch in doubt is in the way of these keys."""

    keys: Keys


@dataclass(frozen=True, slots=True)
class FindStep:
    """Hands back the step's barrier and its action's result, or None."""

    id: StepId


@dataclass(frozen=True, slots=True)
class KeepStep:
    """Stores the step's barrier in place of what it was."""

    id: StepId
    barrier: Barrier
    result: bytes = b""


@dataclass(frozen=True, slots=True)
class IsClosed:
    """Hands back true if the saga was closed."""

    id: SagaId


@dataclass(frozen=True, slots=True)
class KeepClosed:
    """Stores that the saga is closed."""

    id: SagaId


@dataclass(frozen=True, slots=True)
class KeepMark:
    """Stores what is over, and forgets what was remembered of it, save branches that are prepared."""

    coordinator: bytes
    mark: LowWaterMark


class Do(StrEnum):
    """What a resource is asked to do."""

    PREPARE = "prepare"
    COMMIT = "commit"
    COMMIT_ALONE = "prepare and commit"
    ABORT = "abort"
    ACT = "act"
    CHECK_BACK = "check_back"
    COMPENSATE = "compensate"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks the resource what work touches. Hands back keys, or the refusal."""

    work: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """Has the resource do it. Hands back the result, or the refusal: then nothing of it is left."""

    do: Do
    work: bytes | Step


Effect = FindBranch | KeepBranch | AreTaken | FindStep | KeepStep | IsClosed | KeepClosed | KeepMark | Ask | Work

Value = TypeVar("Value")
Flow = Generator[Effect, Any, Value]


def refusal(code: pb.RefusalCode, detail: str) -> pb.Refusal:
    """Returns a refusal of the participant's own."""
    return pb.Refusal(code=code, detail=detail)


def keys_for(work: bytes) -> Flow[Keys | pb.Refusal]:
    """Returns the keys of work that may begin; or why it may not. Nobody waits for keys, so nobody waits in a circle."""
    keys: Keys | pb.Refusal = yield Ask(work)
    if isinstance(keys, pb.Refusal):
        return keys
    if (yield AreTaken(keys)):
        return refusal(pb.REFUSAL_CODE_LOCK_CONFLICT, "another transaction has locked what this work touches")
    return keys
