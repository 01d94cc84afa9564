"""A participant as a machine: batches in, effects out, answers last. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from undoubt.session import branches, steps
from undoubt.session import session_pb2 as pb
from undoubt.session.effects import BranchId, Flow, KeepMark
from undoubt.session.marks import LowWaterMark
from undoubt.session.steps import Refusals

ABILITIES = ("saga-steps", "one-phase", "two-phase", "open-sagas", "still-open")
"""What it can do. What is not named is not asked of it."""

MAX_TX_BYTES = 64
MAX_MESSAGES = 100_000
"""The most messages of one batch."""
MAX_STILL_OPEN = 1_024


class Unreadable(Exception):
    """What came is not what session.proto allows, and ends the session."""


@dataclass(slots=True)
class Conversation:
    """One session with a coordinator, and what is over between the two as far as is stored."""

    coordinator: bytes
    mark: LowWaterMark
    still_open: frozenset[int] = frozenset()
    refusals: Refusals = field(default_factory=Refusals)

    def take(self, batch: pb.CoordinatorBatch) -> Flow[list[pb.ToCoordinator]]:
        """Carries out a batch in one transaction. Returns the answers, to be sent once that is on stable storage."""
        if len(batch.messages) > MAX_MESSAGES or len(batch.still_open.attempt_numbers) > MAX_STILL_OPEN:
            raise Unreadable(
                f"over {MAX_MESSAGES} messages, or over {MAX_STILL_OPEN} attempts still open, in one batch"
            )
        if batch.HasField("still_open"):
            self.still_open = frozenset(batch.still_open.attempt_numbers)
        mark = self.mark.joined(LowWaterMark(batch.low_water_mark, self.still_open))
        if mark != self.mark:
            yield KeepMark(self.coordinator, mark)
            self.refusals.forget(mark)
            self.mark = mark
        answers = []
        for message in batch.messages:
            answer = yield from self._answer(message)
            if answer is not None:
                answers.append(answer)
        return answers

    def _answer(self, message: pb.ToParticipant) -> Flow[pb.ToCoordinator | None]:
        if not 1 <= len(message.tx) <= MAX_TX_BYTES:
            return None  # What cannot be read counts as never sent.
        is_over = self.mark.is_over(message.attempt_number)
        match message.WhichOneof("body"):
            case "run":
                return (yield from steps.handle(self.coordinator, message, is_over, self.refusals))
            case "close":
                return (yield from steps.close(self.coordinator, message))
            case _:
                return (yield from branches.handle(BranchId(self.coordinator, message.tx), message, is_over))
