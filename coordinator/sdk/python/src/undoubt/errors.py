"""The errors of the client. Each says by its class whether anything was done, and by `retryable` whether asking again makes sense."""

from __future__ import annotations


class UndoubtError(Exception):
    """What went wrong with one call, or with one transaction.

    `code` is a stable word: of the coordinator's catalogue, or one of this package. `retryable` says that the very same call may
    succeed later. `status` is that of HTTP where there was an answer. `tx` is the id of the transaction that it is about.
    """

    def __init__(
        self, code: str, detail: str, *, retryable: bool = False, status: int | None = None, tx: str | None = None
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.status = status
        self.tx = tx

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class Refused(UndoubtError):
    """The call was refused, and nothing was done."""


class NotFound(Refused):
    """There is no trace of the transaction: it never was, or it was collected after its retention."""


class StepRefused(Refused):
    """A participant refused the step; nothing of it is in effect, and the saga is as open as before. `refusal`: the participant's code."""

    def __init__(
        self, code: str, detail: str, *, refusal: str | None = None, status: int | None = None, tx: str | None = None
    ) -> None:
        super().__init__(code, detail, status=status, tx=tx)
        self.refusal = refusal


class Unreachable(UndoubtError):
    """Nobody answered, and nothing was done."""


class OutcomeUnknown(UndoubtError):
    """It may have been done or not. Ask about `tx` before anything else is done, or make the very same call again."""


class StepUnanswered(OutcomeUnknown):
    """The step may be in effect. Run it again, or cancel the saga."""


class NotAsWanted(UndoubtError):
    """The coordinator knows how the transaction ended, or why it does not end, and that is not what was wanted."""


class Aborted(NotAsWanted):
    """All of it is undone. `reason`: a stable word; `participant`: who caused it. `retryable`: the same work may succeed under a new id."""

    def __init__(
        self,
        detail: str,
        *,
        reason: str,
        participant: str | None = None,
        retryable: bool = False,
        tx: str | None = None,
    ) -> None:
        super().__init__("ABORTED", detail, retryable=retryable, tx=tx)
        self.reason = reason
        self.participant = participant


class Committed(NotAsWanted):
    """It was to be cancelled, and it is too late for that."""


class Stuck(NotAsWanted):
    """It goes on once an operator has ended the step that the detail names (`undoubt resolve-step`)."""


class Damaged(NotAsWanted):
    """Some of it is not as was decided: an operator gave it up or skipped a step, or somebody else ended a branch the other way."""
