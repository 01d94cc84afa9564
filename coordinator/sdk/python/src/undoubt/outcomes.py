"""How a block of code over a transaction ends. Pure."""

from __future__ import annotations

from typing import Literal

from undoubt.errors import Aborted, Committed, Damaged, OutcomeUnknown, Stuck, UndoubtError
from undoubt.forms import Transaction

Wanted = Literal["committed", "aborted"]


def against(wanted: Wanted, known: Transaction) -> UndoubtError | None:
    """Returns what stands against the end that was wanted; None if it is as wanted."""
    tx = known.tx
    if known.damaged:
        detail = (
            f"transaction {tx} is {known.state}, and some of it is not as was decided; `undoubt status {tx}` tells what"
        )
        return Damaged("DAMAGED", detail, tx=tx)
    if known.state == "aborted":
        return None if wanted == "aborted" else _aborted(known)
    if known.state in ("committed", "closed"):
        if wanted == "committed":
            return None
        return Committed("COMMITTED", f"transaction {tx} was to be cancelled, and is {known.state}", tx=tx)
    if known.stuck is not None:
        stuck = known.stuck
        detail = (
            f"the {stuck.direction} of step {stuck.step} was refused by {stuck.participant} ({stuck.refusal}); "
            f"an operator has to end it: undoubt resolve-step {tx} {stuck.step}"
        )
        return Stuck("STUCK", detail, tx=tx)
    detail = f"transaction {tx} goes on to be {wanted}, and is not there yet; ask again"
    return OutcomeUnknown("NOT_DECIDED_YET", detail, retryable=True, tx=tx)


def _aborted(known: Transaction) -> Aborted:
    abort = known.abort
    if abort is None:
        return Aborted(f"transaction {known.tx} aborted", reason="unknown", tx=known.tx)
    return Aborted(
        abort.message, reason=abort.reason, participant=abort.participant, retryable=abort.worth_retrying, tx=known.tx
    )
