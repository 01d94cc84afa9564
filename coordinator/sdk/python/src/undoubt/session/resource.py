"""What a participant guards, and the contract of whoever guards it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Generic, TypeVar

from undoubt.session import session_pb2 as pb

MAX_DETAIL_BYTES = 512
MAX_RESULT_BYTES = 1_048_576

Connection = TypeVar("Connection")


class Why(Enum):
    """The reason of a refusal, as the coordinator knows it."""

    CONDITION = pb.REFUSAL_CODE_CONDITION
    """A condition of the work does not hold."""
    INVALID_WORK = pb.REFUSAL_CODE_INVALID_WORK
    """The work cannot be read or is not allowed."""
    TOO_LARGE = pb.REFUSAL_CODE_TOO_LARGE
    """The work or its result is over a limit."""
    LOCK_CONFLICT = pb.REFUSAL_CODE_LOCK_CONFLICT
    """Another transaction is in the way. Worth another try."""
    UNAVAILABLE = pb.REFUSAL_CODE_UNAVAILABLE
    """It can take no work now. Worth another try."""
    LATE = pb.REFUSAL_CODE_LATE
    """It came after it was over."""


class Refused(Exception):
    """Says no to a piece of work: what was refused, why, what to do. What it changed is rolled back."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(detail)
        self.why = why

    @property
    def refusal(self) -> pb.Refusal:
        """Returns it as it is sent."""
        detail = str(self).encode(errors="replace")[:MAX_DETAIL_BYTES].decode(errors="ignore")
        return pb.Refusal(code=self.why.value, detail=detail)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a piece of work touches. Prepared work that writes has its keys alone, work that reads shares them with others that read."""

    writes: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()


NOTHING = Keys()


@dataclass(frozen=True, slots=True)
class StepId:
    """One step of one saga. `attempt_number` grows from one transaction of a coordinator to its next."""

    coordinator: bytes
    tx: bytes
    attempt_number: int
    number: int


@dataclass(frozen=True, slots=True)
class Step:
    """A step's action, or what ends it.

    `inputs` are the results of the steps that it uses. `result` is what its own action answered; empty where there was none here.
    """

    id: StepId
    work: bytes
    inputs: tuple[bytes, ...] = ()
    result: bytes = b""


class Resource(ABC, Generic[Connection]):
    """What a participant guards.

    Each call gets the connection in the very transaction that keeps what is answered: it neither commits nor rolls back, and is done
    exactly if its answer is kept. An exception undoes what the call changed: `Refused` is told, any other one is logged, and told as
    UNAVAILABLE, which is tried again. Calls come one at a time, from one thread.
    """

    kind: ClassVar[str]
    """The kind of resource, for people."""
    max_work_bytes: ClassVar[int] = 65_536
    """Longer work is refused before it is read."""

    @abstractmethod
    def create(self, db: Connection) -> None:
        """Makes its tables, if they are absent."""

    @abstractmethod
    def keys(self, work: bytes) -> Keys:
        """Returns what a piece of work touches, by the work alone. Work that writes nothing is only read."""

    @abstractmethod
    def prepare(self, db: Connection, work: bytes) -> bytes:
        """Returns what the work will have read, or refuses it. Changes nothing that others see before the commit.

        What it refuses for, no other work changes from here on: until the decision the keys are its own.
        """

    @abstractmethod
    def commit(self, db: Connection, work: bytes) -> None:
        """Carries out what was prepared. It must not fail: what fails is tried again, and its keys stay locked."""

    def abort(self, db: Connection, work: bytes) -> None:
        """Lets go of what was prepared. Nothing, unless `prepare` wrote something."""

    def act(self, db: Connection, step: Step) -> bytes:
        """Does a step's action and returns its result. As it stands: prepares the work and commits it."""
        result = self.prepare(db, step.work)
        self.commit(db, step.work)
        return result

    def compensate(self, db: Connection, step: Step) -> None:
        """Undoes an action that is in effect. As it stands: by its own work, done as an action is."""
        self.act(db, step)

    def complete(self, db: Connection, step: Step) -> None:
        """Completes a step of an open saga that was closed. As it stands: by its own work, done as an action is."""
        self.act(db, step)

    def check_back(self, db: Connection, step: Step) -> bytes:
        """Answers whether what an open saga belongs to was done; if it was not and never will be, refuses with CONDITION."""
        raise Refused(Why.INVALID_WORK, f"a {self.kind} is asked no check-backs")
