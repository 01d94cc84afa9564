"""Steps of sagas and their barriers: promise 8 of session.proto. Pure.

    ──▶ action ──┬─▶ ACTED ──┬─(compensation)─▶ COMPENSATED
                 │           └─(completion)───▶ COMPLETED
                 └─(refused)─▶ as before ─(compensation)─▶ EMPTY

A batch is one transaction and its messages are handled one after the other, so no message meets a step that is being worked on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from undoubt.session import session_pb2 as pb
from undoubt.session.branches import abort
from undoubt.session.effects import (
    Barrier,
    Branch,
    BranchId,
    Do,
    FindBranch,
    FindStep,
    Flow,
    IsClosed,
    KeepClosed,
    KeepStep,
    SagaId,
    Work,
    keys_for,
    refusal,
)
from undoubt.session.marks import LowWaterMark
from undoubt.session.resource import Step, StepId

Outcome = pb.StepDone | pb.StepEmpty | pb.Refusal

_UNDONE_LATER = 128
"""A completed step that is undone with its saga's parent has a number that is so much higher."""


@dataclass(slots=True)
class Refusals:
    """What was refused in this session, and must not be done because its message comes twice. No message outlives its session, and a
    coordinator that restarts counts its attempts anew: so it is kept in memory, and forgotten with the session."""

    last: dict[tuple[StepId, int], tuple[int, pb.Refusal]] = field(default_factory=dict)

    def of(self, id: StepId, run: pb.RunStep) -> pb.Refusal | None:
        """Returns the refusal, if this attempt or a later one was refused."""
        attempt, refused = self.last.get((id, run.direction), (0, None))
        return refused if run.attempt <= attempt else None

    def note(self, id: StepId, run: pb.RunStep, refused: pb.Refusal) -> None:
        """Remembers a refusal."""
        self.last[id, run.direction] = run.attempt, refused

    def forget(self, over: LowWaterMark) -> None:
        """Forgets what is over."""
        self.last = {key: refused for key, refused in self.last.items() if not over.is_over(key[0].attempt_number)}


def close(coordinator: bytes, message: pb.ToParticipant) -> Flow[pb.ToCoordinator]:
    """Closes a saga. There are no semantic locks here; but nothing of it begins any more."""
    yield KeepClosed(SagaId(coordinator, message.tx, message.attempt_number))
    return pb.ToCoordinator(tx=message.tx, attempt_number=message.attempt_number, closed=pb.SagaClosed())


def handle(
    coordinator: bytes, message: pb.ToParticipant, is_over: bool, refusals: Refusals
) -> Flow[pb.ToCoordinator | None]:
    """Returns the answer to a step's message, if there is one."""
    run = message.run
    id = StepId(coordinator, message.tx, message.attempt_number, run.step)
    outcome: Outcome | None
    if is_over:
        outcome = _late("the saga was over when this arrived")
    elif run.direction == pb.DIRECTION_FORWARD:
        outcome = yield from _act(id, run, refusals)
    elif run.direction == pb.DIRECTION_COMPENSATING:
        outcome = yield from _compensate(id, run, refusals)
    elif run.direction == pb.DIRECTION_COMPLETING:
        outcome = yield from _complete(id, run, refusals)
    else:
        return None  # A direction that is not known counts as never sent.
    if outcome is None:
        return None
    ran = pb.StepRan(step=run.step, direction=run.direction, attempt=run.attempt)
    if isinstance(outcome, pb.StepDone):
        ran.done.CopyFrom(outcome)
    elif isinstance(outcome, pb.StepEmpty):
        ran.empty.CopyFrom(outcome)
    else:
        ran.refused.CopyFrom(outcome)
    return pb.ToCoordinator(tx=message.tx, attempt_number=message.attempt_number, ran=ran)


def _act(id: StepId, run: pb.RunStep, refusals: Refusals) -> Flow[Outcome | None]:
    known: tuple[Barrier, bytes] | None = yield FindStep(id)
    match known:
        case (Barrier.ACTED, before):
            return pb.StepDone(result=before)
        case (Barrier.COMPENSATED | Barrier.EMPTY, _):
            return _late("the step's compensation came before this action")
        case (Barrier.COMPLETED, _):
            return _late("the step was completed when this action came")
        case _ if refused := refusals.of(id, run):
            return refused
    branch_id = BranchId(id.coordinator, id.tx)
    branch: Branch | None = yield FindBranch(branch_id)
    if branch is not None and branch.attempt_number < id.attempt_number and not (yield from abort(branch_id, branch)):
        return None  # The attempt by two-phase commit that goes on as this saga has to be undone first; unanswered, it comes again.
    if (yield IsClosed(_saga(id))):
        return _CLOSED
    do = Do.CHECK_BACK if run.check_back else Do.ACT
    result = yield from _run(do, Step(id, run.work, tuple(run.inputs)))
    if isinstance(result, pb.Refusal):
        refusals.note(id, run, result)
        return result
    yield KeepStep(id, Barrier.ACTED, result)
    return pb.StepDone(result=result)


def _compensate(id: StepId, run: pb.RunStep, refusals: Refusals) -> Flow[Outcome]:
    known: tuple[Barrier, bytes] | None = yield FindStep(id)
    match known:
        case (Barrier.COMPENSATED, _):
            return pb.StepDone()
        case (Barrier.EMPTY, _):
            return pb.StepEmpty()
        case (Barrier.COMPLETED, _):
            return _late("the step was completed: its saga was closed before this came")
        case (_, result):
            return (yield from _end(id, run, result, refusals))
    if run.acted_elsewhere and not (yield from _has_lost_what_is_undone(id, run)):
        return (yield from _end(id, run, b"", refusals))
    if (yield IsClosed(_saga(id))):
        return _CLOSED
    yield KeepStep(id, Barrier.EMPTY)
    return pb.StepEmpty()


def _complete(id: StepId, run: pb.RunStep, refusals: Refusals) -> Flow[Outcome]:
    known: tuple[Barrier, bytes] | None = yield FindStep(id)
    match known:
        case (Barrier.COMPLETED, _):
            return pb.StepDone()
        case (Barrier.COMPENSATED | Barrier.EMPTY, _):
            return _late("the step was undone: its saga was not closed")
        case (_, result):
            return (yield from _end(id, run, result, refusals))
    if run.acted_elsewhere:
        return (yield from _end(id, run, b"", refusals))
    return _late("the step's action is not known to be in effect")


def _end(id: StepId, run: pb.RunStep, result: bytes, refusals: Refusals) -> Flow[Outcome]:
    """Undoes or completes what is in effect. A refusal leaves it so."""
    if refused := refusals.of(id, run):
        return refused
    if (yield IsClosed(_saga(id))):
        return _CLOSED
    is_undone = run.direction == pb.DIRECTION_COMPENSATING
    step = Step(id, run.work, tuple(run.inputs), result)
    if run.acted_elsewhere and run.inputs:  # Of what was done elsewhere the coordinator may know the result.
        step = replace(step, inputs=step.inputs[:-1], result=step.inputs[-1])
    ended = yield from _run(Do.COMPENSATE if is_undone else Do.COMPLETE, step)
    if isinstance(ended, pb.Refusal):
        refusals.note(id, run, ended)
        return ended
    yield KeepStep(id, Barrier.COMPENSATED if is_undone else Barrier.COMPLETED)
    return pb.StepDone()


def _run(do: Do, step: Step) -> Flow[bytes | pb.Refusal]:
    keys = yield from keys_for(step.work)
    if isinstance(keys, pb.Refusal):
        return keys
    result: bytes | pb.Refusal = yield Work(do, step)
    return result


def _has_lost_what_is_undone(id: StepId, run: pb.RunStep) -> Flow[bool]:
    """Returns true if what was completed here is to be undone, and is not known here any more: the store was put back."""
    if id.number < _UNDONE_LATER or not run.inputs:
        return False
    return (yield FindStep(replace(id, number=id.number - _UNDONE_LATER))) is None


def _saga(id: StepId) -> SagaId:
    return SagaId(id.coordinator, id.tx, id.attempt_number)


def _late(detail: str) -> pb.Refusal:
    return refusal(pb.REFUSAL_CODE_LATE, detail)


_CLOSED = _late("the saga was closed when this arrived")
