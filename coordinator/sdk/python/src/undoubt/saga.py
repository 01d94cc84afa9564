"""Open transactions, and sagas as blocks of code, for threads."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from undoubt import outcomes, requests
from undoubt.errors import Refused, UndoubtError
from undoubt.forms import Outcome, StepStanding, Transaction
from undoubt.work import Duration

if TYPE_CHECKING:
    from undoubt.client import Client

ASKED_FOR_S = 20.0
"""The longest time for which one question waits for an end; then it is asked again."""

IN_A_HURRY_S = 5.0
"""The time that turning back gets when the program is being ended, or its task cancelled."""

LAST_QUESTION_S = 1.0
"""The time that the question gets how it ended, when all other time is used up."""


class OpenTransaction:
    """A transaction that steps join while its client's code runs. Anybody who knows its id goes on with it; dropping this changes nothing."""

    def __init__(self, client: Client, id: str) -> None:
        self._client = client
        self.id = id

    def run(self, step: str, *, timeout: float | None = None, **running: Unpack[requests.Running]) -> StepStanding:
        """Has a step join, its action (`do`) run, and returns what it handed back. To run the same again tells the same.

        Raises `StepRefused`, which leaves the transaction as open as before, and `StepUnanswered`.
        """
        return self._client.call(requests.run(self.id, step, running), timeout)

    def join(self, step: str, *, timeout: float | None = None, **joining: Unpack[requests.Joining]) -> StepStanding:
        """Has a step join whose action, if there is one, is the caller's to do from then on."""
        return self._client.call(requests.join(self.id, step, joining), timeout)

    def close(self, *, wait: Duration | None = None, timeout: float | None = None) -> Outcome:
        """Closes it, and waits until its steps are completed, 30 s or `wait`. From then on nothing is undone."""
        return self._client.call(requests.close(self.id, wait), timeout)

    def cancel(self, *, timeout: float | None = None) -> Outcome:
        """Cancels it, and waits until all is undone."""
        return self._client.cancel(self.id, timeout=timeout)

    def get(self, *, wait: Duration | None = None) -> Transaction:
        """Returns how it stands."""
        return self._client.get(self.id, wait=wait)


class Saga(OpenTransaction):
    """A block of code that is a saga.

    It begins where the block is entered. Where the block is left it is closed, and its end is waited for; an end that is not the one that
    was wanted is an exception (`Aborted`, `Stuck`, `Damaged`, `OutcomeUnknown`). An exception within the block cancels the saga, waits
    until all is undone, and goes on to the caller; what stood against the cancellation is in a note of it, and in `problem`.
    A block that calls `cancel()` itself wants an abort. `outcome` is how it ended.
    """

    def __init__(self, client: Client, id: str, terms: requests.Terms, wait: float, turn_back: float) -> None:
        super().__init__(client, id)
        self._terms = terms
        self._wait = wait
        self._turn_back_s = turn_back
        self._wanted: outcomes.Wanted | None = None
        self._closed = False
        self.outcome: Transaction | None = None
        self.problem: UndoubtError | None = None

    def __enter__(self) -> Self:
        self.id = self._client.call(requests.begin(self.id, self._terms)).tx
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if raised is not None:
            self._undo(raised)
            return
        try:
            self._leave()
        except BaseException as error:
            # Interrupted before the close was answered: either it was heard, and then this comes too late, or all is undone.
            if not (isinstance(error, Exception) or self._closed):
                self._undo(error)
            raise

    def _undo(self, raised: BaseException) -> None:
        try:
            self._turn_back(self._turn_back_s if isinstance(raised, Exception) else IN_A_HURRY_S)
        except UndoubtError as problem:
            self._note(raised, problem)

    def close(self, *, wait: Duration | None = None, timeout: float | None = None) -> Outcome:
        """Closes it before the block is left."""
        self._wanted = self._wanted or "committed"
        outcome = super().close(wait=wait, timeout=timeout)
        self._closed = True
        return outcome

    def cancel(self, *, timeout: float | None = None) -> Outcome:
        """Cancels it: all is undone, and leaving the block raises nothing for it."""
        self._wanted = "aborted"
        return super().cancel(timeout=timeout)

    def _leave(self) -> None:
        if self._wanted is None:
            try:
                self.close(wait=min(self._wait, ASKED_FOR_S))
            except Refused as refused:
                # It cannot be closed as it is: a step may be in effect or not.
                self._undo(refused)
                raise
        self._end(self._wanted or "committed", self._wait)

    def _turn_back(self, within: float) -> None:
        until = time.monotonic() + within
        self._client.call(requests.cancel(self.id, waits=0.0), within)
        self._end("aborted", max(0.0, until - time.monotonic()))

    def _end(self, wanted: outcomes.Wanted, within: float) -> None:
        """Waits for the end, and raises if it is another one than was wanted."""
        until = time.monotonic() + within
        while True:
            left = max(0.0, until - time.monotonic())
            known = self._client.call(requests.get(self.id, min(left, ASKED_FOR_S)), max(left, LAST_QUESTION_S))
            self.outcome = known
            if known.state != "pending" or known.stuck is not None or left <= ASKED_FOR_S:
                break
        against = outcomes.against(wanted, known)
        if against is not None:
            raise against

    def _note(self, raised: BaseException, problem: UndoubtError) -> None:
        self.problem = problem
        raised.add_note(f"the saga {self.id} was to be turned back: {problem}")
