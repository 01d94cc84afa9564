"""Where a participant keeps what it has promised."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from undoubt.session.effects import Barrier, Branch, BranchId, Known, SagaId
from undoubt.session.marks import LowWaterMark
from undoubt.session.resource import Keys, StepId

C_co = TypeVar("C_co", covariant=True)


class StoreFailed(Exception):
    """The store failed, and what has landed is not known: the process has to end, and a new start reads what is there."""


class Store(Protocol[C_co]):
    """Where a participant keeps what it has promised, in the same transactions as what it guards.

    All calls come from one thread. What fails in the store itself is `StoreFailed`.
    """

    def open(self, participant: str) -> None:
        """Opens it, and takes it for this participant alone; refuses a store that is another participant's."""

    def close(self) -> None:
        """Closes it."""

    @property
    def connection(self) -> C_co:
        """Returns what the resource works on."""

    def transaction(self) -> AbstractContextManager[None]:
        """Returns a transaction: at its end all of it is on stable storage, after an exception nothing is."""

    def attempt(self) -> AbstractContextManager[None]:
        """Returns a part of the transaction: an exception undoes this part alone, and goes on."""

    def coordinator(self, id: bytes) -> Known | None:
        """Returns what is known of a coordinator."""

    def keep_coordinator(self, id: bytes, known: Known) -> None:
        """Stores its epoch and its key."""

    def unvouched(self) -> int:
        """Returns the number of coordinators that came without an operator's word."""

    def keep_mark(self, id: bytes, mark: LowWaterMark) -> None:
        """Stores what is over with a coordinator, and drops what was kept of it, save branches that are prepared."""

    def in_doubt(self, coordinator: bytes) -> set[tuple[bytes, int]]:
        """Returns the branches in doubt: transactions, and their attempt numbers."""

    def branch(self, id: BranchId) -> Branch | None:
        """Returns a branch."""

    def keep_branch(self, id: BranchId, branch: Branch, keys: Keys) -> None:
        """Stores a branch, and the keys that it holds."""

    def are_taken(self, keys: Keys) -> bool:
        """Returns true if a branch holds one of these keys, other than both for reading."""

    def step(self, id: StepId) -> tuple[Barrier, bytes] | None:
        """Returns a step's barrier, and its action's result."""

    def keep_step(self, id: StepId, barrier: Barrier, result: bytes) -> None:
        """Stores a step's barrier."""

    def is_closed(self, id: SagaId) -> bool:
        """Returns true if the saga was closed."""

    def keep_closed(self, id: SagaId) -> None:
        """Stores that the saga was closed."""
