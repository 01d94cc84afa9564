"""Branches of two-phase commit: the promises 1 to 5 of session.proto. Pure."""

from __future__ import annotations

from dataclasses import replace

from undoubt.session import session_pb2 as pb
from undoubt.session.effects import Branch, BranchId, Do, FindBranch, Flow, KeepBranch, State, Work, keys_for, refusal
from undoubt.session.resource import NOTHING

_LATE = refusal(pb.REFUSAL_CODE_LATE, "the transaction was over when this prepare came")


def abort(id: BranchId, branch: Branch) -> Flow[bool]:
    """Undoes what a branch in doubt has prepared. Returns false if the resource cannot, and it is as before."""
    if branch.state is State.PREPARED and isinstance((yield Work(Do.ABORT, branch.work)), pb.Refusal):
        return False
    if branch.state.is_in_doubt:
        yield KeepBranch(id, Branch(branch.attempt_number, State.ABORTED))
    return True


def handle(id: BranchId, message: pb.ToParticipant, is_over: bool) -> Flow[pb.ToCoordinator | None]:
    """Returns the answer to a message about a branch, if there is one."""
    known: Branch | None = yield FindBranch(id)
    number = message.attempt_number
    if known is not None and number < known.attempt_number:
        return None  # Stale.
    branch = known if known is not None and number == known.attempt_number else None
    body = message.WhichOneof("body")
    if body == "prepare" and is_over:
        return _say(message, vote=pb.Vote(refused=_LATE))
    if body == "prepare" and branch is not None:
        return _say(message, vote=branch.vote) if branch.vote else None
    if body in ("prepare", "abort", "settle") and known is not None and branch is None:
        # A higher attempt: the earlier one was aborted. What cannot be undone yet leaves it unanswered, and it comes again.
        is_undone = yield from abort(id, known)
        if not is_undone:
            return None
    if body == "prepare":
        return _say(message, vote=(yield from _vote(id, number, message.prepare)))
    if body == "confirm":
        if branch is not None and branch.state is State.READ_ONLY:
            yield KeepBranch(id, replace(branch, state=State.LEFT, vote=None))
        held = branch is not None and branch.state in (State.READ_ONLY, State.LEFT)
        return _say(message, confirmed=pb.Confirmed(held=held))
    if body == "commit":
        outcome = yield from _commit(id, branch, is_over)
        return None if outcome is None else _say(message, finished=pb.Finished(outcome=outcome))
    if body == "abort":
        if branch is not None:
            yield from abort(id, branch)
        elif not is_over:  # Remembered, so that its prepare does nothing if it comes yet.
            yield KeepBranch(id, Branch(number, State.ABORTED))
        return None
    if body == "settle":
        return (yield from _settle(id, branch, message, is_over))
    return None


def _vote(id: BranchId, number: int, prepare: pb.Prepare) -> Flow[pb.Vote]:
    keys = yield from keys_for(prepare.work)
    if isinstance(keys, pb.Refusal):
        return (yield from _refuse(id, number, keys))
    is_alone = prepare.one_phase and bool(keys.writes)
    result: bytes | pb.Refusal = yield Work(Do.COMMIT_ALONE if is_alone else Do.PREPARE, prepare.work)
    if isinstance(result, pb.Refusal):
        return (yield from _refuse(id, number, result))
    match bool(keys.writes), prepare.one_phase:
        case True, True:
            state, vote = State.COMMITTED, pb.Vote(committed=result)
        case True, False:
            state, vote = State.PREPARED, pb.Vote(prepared=result)
        case _, one_phase:  # Alone, it read at one instant and needs no lock.
            state, vote = State.LEFT if one_phase else State.READ_ONLY, pb.Vote(read_only=result)
    yield KeepBranch(id, Branch(number, state, prepare.work, vote), keys if state.is_in_doubt else NOTHING)
    return vote


def _refuse(id: BranchId, number: int, why: pb.Refusal) -> Flow[pb.Vote]:
    vote = pb.Vote(refused=why)
    yield KeepBranch(id, Branch(number, State.ABORTED, vote=vote))
    return vote


def _commit(id: BranchId, branch: Branch | None, is_over: bool) -> Flow[pb.BranchOutcome | None]:
    if branch is None:
        # What is over was acknowledged once. Else a vote of ours was lost.
        return pb.BRANCH_OUTCOME_COMMITTED if is_over else pb.BRANCH_OUTCOME_UNKNOWN
    match branch.state:
        case State.PREPARED:
            if isinstance((yield Work(Do.COMMIT, branch.work)), pb.Refusal):
                return None  # It stays in doubt, asks, and is told again.
            yield KeepBranch(id, Branch(branch.attempt_number, State.COMMITTED))
            return pb.BRANCH_OUTCOME_COMMITTED
        case State.COMMITTED:
            return pb.BRANCH_OUTCOME_COMMITTED
        case State.ABORTED:
            return pb.BRANCH_OUTCOME_ABORTED
        case State.READ_ONLY | State.LEFT:
            return None


def _settle(
    id: BranchId, branch: Branch | None, message: pb.ToParticipant, is_over: bool
) -> Flow[pb.ToCoordinator | None]:
    if branch is not None and branch.state.is_in_doubt:
        return None  # Only what is alone is settled.
    if branch is not None and branch.vote is not None:  # What it came to, and the result with it.
        return _say(message, vote=branch.vote)
    if branch is None and is_over:
        return _say(message, finished=pb.Finished(outcome=pb.BRANCH_OUTCOME_UNKNOWN))
    if branch is None:
        yield KeepBranch(id, Branch(message.attempt_number, State.ABORTED))
    return _say(message, finished=pb.Finished(outcome=pb.BRANCH_OUTCOME_ABORTED))


def _say(
    to: pb.ToParticipant,
    *,
    vote: pb.Vote | None = None,
    confirmed: pb.Confirmed | None = None,
    finished: pb.Finished | None = None,
) -> pb.ToCoordinator:
    return pb.ToCoordinator(
        tx=to.tx, attempt_number=to.attempt_number, vote=vote, confirmed=confirmed, finished=finished
    )
