"""The rules of a participant, on a real store, without a network: what repeats, what is late, what is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from undoubt.session import Refused, SqliteStore, Step, StoreFailed, Why
from undoubt.session import session_pb2 as pb
from undoubt.session.carry import Guard
from undoubt.session.machine import Conversation
from undoubt.session.marks import LowWaterMark
from undoubt.session.server import MAX_BATCH_BYTES, batches
from undoubt.session.trust import NotTaken

from ledger import Committing, Ledger, add

COORDINATOR, KEY = b"c" * 16, b"k" * 32
FORWARD, BACK, ON = pb.DIRECTION_FORWARD, pb.DIRECTION_COMPENSATING, pb.DIRECTION_COMPLETING


class World:
    """A participant that can be started anew, and one session with it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.epoch = 0
        self.ledger = Ledger()
        self._open()

    def restart(self) -> None:
        self.guard.close()
        self._open()

    def _open(self) -> None:
        self.store = SqliteStore(self.file)
        self.guard = Guard("ledger", self.store, self.ledger)
        self.guard.open()
        self.connect()

    def connect(self) -> None:
        self.epoch += 1
        self.talk: Conversation = self.guard.join(self.hello(self.epoch))

    def hello(self, epoch: int, key: bytes = KEY) -> pb.Hello:
        return pb.Hello(coordinator_id=COORDINATOR, epoch=epoch, public_key=key)

    def say(self, *messages: pb.ToParticipant, over: int = 0, open: list[int] | None = None) -> list[pb.ToCoordinator]:
        still_open = None if open is None else pb.StillOpen(attempt_numbers=open)
        batch = pb.CoordinatorBatch(messages=messages, low_water_mark=over, still_open=still_open)
        return self.guard.take(self.talk, batch)

    def one(self, message: pb.ToParticipant) -> pb.ToCoordinator | None:
        answers = self.say(message)
        return answers[0] if answers else None

    def branch(self, number: int, tx: bytes = b"tx", **body: Any) -> pb.ToCoordinator | None:
        return self.one(pb.ToParticipant(tx=tx, attempt_number=number, **body))

    def vote(self, number: int, work: bytes, tx: bytes = b"tx", one_phase: bool = False) -> pb.Vote | None:
        answer = self.branch(number, tx, prepare=pb.Prepare(work=work, one_phase=one_phase))
        return None if answer is None else answer.vote

    def step(self, number: int, direction: pb.Direction, work: bytes, attempt: int = 1, **more: Any) -> str:
        run = pb.RunStep(step=more.pop("step", 0), direction=direction, work=work, attempt=attempt, **more)
        answer = self.one(pb.ToParticipant(tx=b"saga", attempt_number=number, run=run))
        if answer is None:
            return "nothing"
        ran = answer.ran
        assert (ran.step, ran.direction, ran.attempt) == (run.step, direction, attempt)
        match ran.WhichOneof("outcome"):
            case "done":
                return f"done {ran.done.result.decode()}".strip()
            case "empty":
                return "empty"
            case _:
                return pb.RefusalCode.Name(ran.refused.code).removeprefix("REFUSAL_CODE_")

    def journal(self) -> list[tuple[str, str, int]]:
        return self.store.connection.execute("SELECT what, key, by FROM journal").fetchall()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "ledger.db")
    yield world
    world.guard.close()


def test_a_vote_is_repeated_and_its_commit_done_once(world: World) -> None:
    first = world.vote(1, add("a", 3))
    assert first == pb.Vote(prepared=b"3")
    world.restart()
    assert world.vote(1, add("a", 3)) == first
    assert world.guard.in_doubt(world.talk) == {(b"tx", 1)}
    assert world.journal() == []
    for _ in range(2):
        answer = world.branch(1, commit=pb.Commit())
        assert answer is not None
        assert answer.finished.outcome == pb.BRANCH_OUTCOME_COMMITTED
        world.restart()
    assert world.journal() == [("commit", "a", 3)]
    assert world.guard.in_doubt(world.talk) == set()


def test_keys_are_held_from_the_vote_to_the_decision(world: World) -> None:
    world.vote(1, add("a", 3))
    world.restart()
    rival = world.vote(2, add("a", 1), b"rival")
    assert rival is not None
    assert rival.refused.code == pb.REFUSAL_CODE_LOCK_CONFLICT
    assert world.step(3, FORWARD, add("a", 1)) == "LOCK_CONFLICT"
    world.branch(1, abort=pb.Abort())
    assert world.step(3, FORWARD, add("a", 1), attempt=2) == "done 1"


def test_those_who_read_share_and_are_confirmed(world: World) -> None:
    for number, tx in ((1, b"one"), (2, b"other")):
        assert world.vote(number, add("a", 0), tx) == pb.Vote(read_only=b"0")
    writer = world.vote(3, add("a", 1), b"writer")
    assert writer is not None
    assert writer.refused.code == pb.REFUSAL_CODE_LOCK_CONFLICT
    for number, tx in ((1, b"one"), (2, b"other")):
        answer = world.branch(number, tx, confirm=pb.Confirm())
        assert answer is not None
        assert answer.confirmed.held
    assert world.vote(4, add("a", 1), b"writer") == pb.Vote(prepared=b"1")


def test_an_abort_before_its_prepare_leaves_nothing_behind(world: World) -> None:
    assert world.branch(1, abort=pb.Abort()) is None
    assert world.vote(1, add("a", 3)) is None
    assert world.guard.in_doubt(world.talk) == set()


def test_a_higher_attempt_replaces_and_a_lower_one_is_stale(world: World) -> None:
    world.vote(1, add("a", 3))
    assert world.vote(2, add("a", 5)) == pb.Vote(prepared=b"5")
    assert world.branch(1, commit=pb.Commit()) is None
    world.branch(2, commit=pb.Commit())
    assert world.journal() == [("commit", "a", 5)]


def test_one_phase_commits_at_once_and_is_settled_by_its_vote(world: World) -> None:
    committed = world.vote(1, add("a", 3), one_phase=True)
    assert committed == pb.Vote(committed=b"3")
    world.restart()
    assert world.vote(1, add("a", 3), one_phase=True) == committed
    settled = world.branch(1, settle=pb.Settle())
    assert settled is not None
    assert settled.vote == committed
    unknown = world.branch(2, b"unknown", settle=pb.Settle())
    assert unknown is not None
    assert unknown.finished.outcome == pb.BRANCH_OUTCOME_ABORTED
    assert world.vote(2, add("a", 3), b"unknown", one_phase=True) is None
    assert world.journal() == [("commit", "a", 3)]


def test_a_step_runs_once_and_is_undone_once(world: World) -> None:
    for attempt in (1, 1, 2):
        assert world.step(1, FORWARD, add("a", 3), attempt) == "done 3"
    world.restart()
    assert world.step(1, FORWARD, add("a", 3)) == "done 3"
    for attempt in (1, 1, 2):
        assert world.step(1, BACK, add("a", -3), attempt) == "done"
    world.restart()
    assert world.step(1, BACK, add("a", -3)) == "done"
    assert world.step(1, FORWARD, add("a", 3), 9) == "LATE"
    assert world.journal() == [("act", "a", 3), ("compensate", "a", -3)]
    assert world.store.connection.execute("SELECT result FROM journal").fetchall() == [(b"",), (b"3",)]


def test_a_compensation_that_comes_first_is_empty_and_its_action_late(world: World) -> None:
    assert world.step(1, BACK, add("a", -3)) == "empty"
    assert world.step(1, FORWARD, add("a", 3)) == "LATE"
    world.restart()
    assert world.step(1, FORWARD, add("a", 3), 2) == "LATE"
    assert world.step(1, BACK, add("a", -3), 2) == "empty"
    assert world.step(1, ON, add("a", 3)) == "LATE"
    assert world.journal() == []


def test_a_refused_attempt_stays_refused_and_a_higher_one_may_do(world: World) -> None:
    assert world.step(1, FORWARD, add("a", -3, floor=0)) == "CONDITION"
    world.step(2, FORWARD, add("a", 5), step=1)
    assert world.step(1, FORWARD, add("a", -3, floor=0)) == "CONDITION"
    assert world.step(1, FORWARD, add("a", -3, floor=0), 2) == "done 2"
    assert world.step(1, BACK, add("a", -3, floor=0)) == "CONDITION"
    world.step(2, FORWARD, add("a", 5), step=2)
    assert world.step(1, BACK, add("a", -3, floor=0)) == "CONDITION"
    assert world.step(1, BACK, add("a", -3, floor=0), 2) == "done"


def test_a_new_session_counts_attempts_anew(world: World) -> None:
    assert world.step(1, FORWARD, add("a", -3, floor=0), 7) == "CONDITION"
    world.step(2, FORWARD, add("a", 5))
    world.connect()
    assert world.step(1, FORWARD, add("a", -3, floor=0), 1) == "done 2"


def test_a_completed_step_stays_so(world: World) -> None:
    assert world.step(1, ON, add("b", 1)) == "LATE"
    world.step(1, FORWARD, add("a", 3))
    for _ in range(2):
        assert world.step(1, ON, add("b", 1)) == "done"
        world.restart()
    assert world.step(1, BACK, add("a", -3)) == "LATE"
    assert world.step(1, FORWARD, add("a", 3)) == "LATE"
    assert world.journal() == [("act", "a", 3), ("complete", "b", 1)]


def test_what_its_caller_has_done_himself_is_ended_once(world: World) -> None:
    for _ in range(2):
        assert world.step(1, ON, add("a", 1), acted_elsewhere=True) == "done"
        assert world.step(2, BACK, add("b", 1), acted_elsewhere=True, inputs=[b"told"]) == "done"
        world.restart()
    assert world.step(1, FORWARD, add("a", 1)) == "LATE"
    assert world.step(1, cast(pb.Direction, 9), add("a", 1)) == "nothing", (
        "a direction that is not known counts as never sent"
    )
    lines = world.store.connection.execute("SELECT what, result FROM journal").fetchall()
    assert lines == [("complete", b""), ("compensate", b"told")]


def test_nothing_of_a_closed_saga_begins(world: World) -> None:
    world.step(1, FORWARD, add("a", 3))
    for _ in range(2):
        answer = world.one(pb.ToParticipant(tx=b"saga", attempt_number=1, close=pb.CloseSaga()))
        assert answer is not None
        assert answer.HasField("closed")
        world.restart()
    assert world.step(1, FORWARD, add("b", 3), step=1) == "LATE"
    assert world.step(1, BACK, add("a", -3)) == "LATE"
    assert world.step(1, FORWARD, add("a", 3)) == "done 3"


def test_an_attempt_that_goes_on_as_a_saga_is_undone(world: World) -> None:
    world.vote(1, add("a", 3), b"saga")
    assert world.step(2, FORWARD, add("a", 3)) == "done 3"
    assert world.guard.in_doubt(world.talk) == set()
    assert world.journal() == [("act", "a", 3)]


def test_what_is_over_is_late_and_forgotten_and_stays_over(world: World) -> None:
    for number in (1, 2, 3):
        world.step(number, FORWARD, add("a", 1))
    world.vote(4, add("b", 1))
    world.say(over=6, open=[2])
    world.restart()
    kept = world.store.connection.execute("SELECT hex(attempt_number) FROM undoubt_steps").fetchall()
    assert kept == [("0000000000000002",)]
    assert world.step(2, FORWARD, add("a", 1)) == "done 2"
    assert world.step(1, FORWARD, add("a", 1)) == "LATE"
    assert world.step(1, BACK, add("a", -1)) == "LATE"
    late = world.vote(5, add("c", 1), b"late")
    assert late is not None
    assert late.refused.code == pb.REFUSAL_CODE_LATE
    # It missed its decision: it asks, and has its keys until it is told.
    assert world.guard.in_doubt(world.talk) == {(b"tx", 4)}
    assert world.step(7, FORWARD, add("b", 1)) == "LOCK_CONFLICT"
    world.say(over=3, open=[1])
    assert world.step(1, FORWARD, add("a", 1)) == "LATE"
    world.say(over=6, open=[])
    assert world.step(2, FORWARD, add("a", 1)) == "LATE"
    answer = world.branch(4, commit=pb.Commit())
    assert answer is not None
    assert answer.finished.outcome == pb.BRANCH_OUTCOME_COMMITTED


@pytest.mark.parametrize(
    ("known", "told", "both"),
    [
        ((0, []), (5, [2]), (5, [2])),
        ((5, [2, 3]), (5, [3]), (5, [3])),
        ((5, [2]), (3, []), (5, [])),
        ((5, [4]), (3, []), (5, [4])),
        ((5, [2]), (9, [2, 3, 7]), (9, [2, 7])),
    ],
)
def test_marks_join(known: tuple[int, list[int]], told: tuple[int, list[int]], both: tuple[int, list[int]]) -> None:
    made = [LowWaterMark(below, frozenset(still_open)) for below, still_open in (known, told, both)]
    assert made[0].joined(made[1]) == made[2]
    assert made[1].joined(made[0]) == made[2]


class Faulty(Ledger):
    fails = True

    def commit(self, db: sqlite3.Connection, work: bytes) -> None:
        super().commit(db, work)
        if self.fails:
            raise ZeroDivisionError

    def act(self, db: sqlite3.Connection, step: Step) -> bytes:
        super().act(db, step)
        return b"." * (2**20 + 1) if self.fails else b"short"

    def compensate(self, db: sqlite3.Connection, step: Step) -> None:
        super().compensate(db, step)
        if self.fails:
            raise Refused(Why.CONDITION, "no" * 1_000)


def test_what_fails_is_undone_and_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path / "faulty.db")
    world.ledger = faulty = Faulty()
    world.restart()
    assert world.vote(1, add("a", 3)) == pb.Vote(prepared=b"3")
    assert world.branch(1, commit=pb.Commit()) is None
    alone = world.vote(2, add("b", 3), b"alone", one_phase=True)
    assert alone is not None
    assert alone.refused.code == pb.REFUSAL_CODE_UNAVAILABLE
    assert world.step(3, FORWARD, add("b", 3)) == "TOO_LARGE"
    assert world.journal() == []
    assert world.guard.in_doubt(world.talk) == {(b"tx", 1)}
    faulty.fails = False
    world.branch(1, commit=pb.Commit())
    assert world.step(3, FORWARD, add("b", 3), 2) == "done short"
    faulty.fails = True
    assert world.step(3, BACK, add("b", -3)) == "CONDITION"
    assert world.journal() == [("commit", "a", 3), ("act", "b", 3)]


def test_a_resource_that_commits_by_itself_ends_the_participant(tmp_path: Path) -> None:
    world = World(tmp_path / "committing.db")
    world.ledger = Committing()
    world.restart()
    with pytest.raises(StoreFailed):
        world.step(1, FORWARD, add("a", 3))
    with pytest.raises(StoreFailed):
        world.vote(2, add("a", 3))


def test_a_store_is_one_participants(world: World) -> None:
    with pytest.raises(StoreFailed, match="locked"):
        SqliteStore(world.file).open("ledger")
    world.guard.close()
    with pytest.raises(StoreFailed, match="store of participant 'ledger'"):
        SqliteStore(world.file).open("another")
    world.restart()


def test_who_may_join(world: World) -> None:
    world.connect()
    with pytest.raises(NotTaken) as lower:
        world.guard.join(world.hello(world.epoch - 1))
    assert (lower.value.code, lower.value.known_epoch) == ("FAILED_PRECONDITION", world.epoch)
    with pytest.raises(NotTaken, match="known by another key") as other:
        world.guard.join(world.hello(world.epoch, b"o" * 32))
    assert other.value.code == "PERMISSION_DENIED"
    world.store.pin(COORDINATOR, b"o" * 32)
    world.guard.join(world.hello(world.epoch, b"o" * 32))
    assert world.say(pb.ToParticipant(tx=b"tx", attempt_number=1, prepare=pb.Prepare(work=add("a", 1)))) == []


def test_batches_are_closed_in_time() -> None:
    message = pb.ToCoordinator(tx=b"tx", vote=pb.Vote(prepared=b"." * 2**20))
    made = list(batches([message] * 9))
    assert [len(batch.messages) for batch in made] == [3, 3, 3]
    assert all(batch.ByteSize() <= MAX_BATCH_BYTES for batch in made)
    assert list(batches([])) == []
