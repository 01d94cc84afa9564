"""Carries out what the rules ask, on a store and a resource."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from undoubt.session import session_pb2 as pb
from undoubt.session.effects import (
    AreTaken,
    Ask,
    Do,
    Effect,
    FindBranch,
    FindStep,
    Flow,
    IsClosed,
    KeepBranch,
    KeepClosed,
    KeepMark,
    KeepStep,
    Work,
)
from undoubt.session.machine import Conversation
from undoubt.session.resource import MAX_RESULT_BYTES, Refused, Resource, Step, Why
from undoubt.session.store import Store, StoreFailed
from undoubt.session.trust import joined

Connection = TypeVar("Connection")
Value = TypeVar("Value")

MAX_UNVOUCHED_PINS = 256
"""The most coordinators that are taken without an operator's word."""

_log = logging.getLogger("undoubt.session")


class Guard(Generic[Connection]):
    """A participant without its network. All calls come from one thread."""

    def __init__(self, name: str, store: Store[Connection], resource: Resource[Connection]) -> None:
        self.name = name
        self._store, self._resource = store, resource
        self._current: dict[bytes, Conversation] = {}
        self._failed: StoreFailed | None = None

    def open(self) -> None:
        """Opens the store, and has the resource make its tables."""
        self._store.open(self.name)
        with self._store.transaction():
            self._resource.create(self._store.connection)

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def join(self, hello: pb.Hello) -> Conversation:
        """Begins a session with a coordinator that has proven its key; it replaces the one before it. Stored when it returns."""
        id = hello.coordinator_id
        known = self._store.coordinator(id)
        after = joined(known, hello, self._store.unvouched() < MAX_UNVOUCHED_PINS)
        if after != known:
            with self._transaction():
                self._store.keep_coordinator(id, after)
        self._current[id] = Conversation(id, after.mark)
        return self._current[id]

    def take(self, conversation: Conversation, batch: pb.CoordinatorBatch) -> list[pb.ToCoordinator]:
        """Acts on a batch and returns the answers; none if the session was replaced. What they say is on stable storage (promise 1)."""
        if self._current.get(conversation.coordinator) is not conversation:
            return []
        with self._transaction():
            return self._carry(conversation.take(batch))

    def in_doubt(self, conversation: Conversation) -> set[tuple[bytes, int]]:
        """Returns what to inquire about (promise 6)."""
        return self._store.in_doubt(conversation.coordinator)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # After a failure nobody knows what has landed, so nothing is built on it.
        if self._failed is not None:
            raise self._failed
        try:
            with self._store.transaction():
                yield
        except StoreFailed as failed:
            self._failed = failed
            raise

    def _carry(self, flow: Flow[Value]) -> Value:
        answer: Any = None
        try:
            while True:
                answer = self._do(flow.send(answer))
        except StopIteration as end:
            value: Value = end.value
            return value

    def _do(self, effect: Effect) -> Any:
        store = self._store
        match effect:
            case FindBranch(id):
                return store.branch(id)
            case KeepBranch(branch_id, branch, keys):
                return store.keep_branch(branch_id, branch, keys)
            case AreTaken(keys):
                return store.are_taken(keys)
            case FindStep(step_id):
                return store.step(step_id)
            case KeepStep(step_id, barrier, result):
                return store.keep_step(step_id, barrier, result)
            case IsClosed(saga):
                return store.is_closed(saga)
            case KeepClosed(saga):
                return store.keep_closed(saga)
            case KeepMark(coordinator, mark):
                return store.keep_mark(coordinator, mark)
            case Ask(work):
                return self._guarded("keys", lambda: self._keys(work))
            case Work(do, of):
                return self._guarded(do.value, lambda: self._work(do, of))

    def _guarded(self, what: str, call: Callable[[], Value]) -> Value | pb.Refusal:
        """Returns what a call of the resource returns; or a refusal, and then nothing of it is left."""
        try:
            with self._store.attempt():
                return call()
        except StoreFailed:
            raise
        except Refused as refused:
            return refused.refusal
        except Exception:
            _log.exception("%s: the resource failed to %s, and it was undone", self.name, what)
            detail = f"the participant failed to {what}, and its log says why: mend that, it is tried again"
            return Refused(Why.UNAVAILABLE, detail).refusal

    def _keys(self, work: bytes) -> Any:
        allowed = self._resource.max_work_bytes
        if len(work) > allowed:
            raise Refused(Why.TOO_LARGE, f"{len(work)} bytes of work are more than the {allowed} allowed")
        return self._resource.keys(work)

    def _work(self, do: Do, of: bytes | Step) -> bytes:
        result = self._called(do, of)
        if len(result) > MAX_RESULT_BYTES:
            raise Refused(Why.TOO_LARGE, f"{len(result)} bytes of result are more than the {MAX_RESULT_BYTES} allowed")
        return result

    def _called(self, do: Do, of: bytes | Step) -> bytes:
        db, resource = self._store.connection, self._resource
        match do, of:
            case Do.PREPARE, bytes(work):
                return resource.prepare(db, work)
            case Do.COMMIT_ALONE, bytes(work):
                result = resource.prepare(db, work)
                resource.commit(db, work)
                return result
            case Do.COMMIT, bytes(work):
                resource.commit(db, work)
            case Do.ABORT, bytes(work):
                resource.abort(db, work)
            case Do.ACT, Step() as step:
                return resource.act(db, step)
            case Do.CHECK_BACK, Step() as step:
                return resource.check_back(db, step)
            case Do.COMPENSATE, Step() as step:
                resource.compensate(db, step)
            case Do.COMPLETE, Step() as step:
                resource.complete(db, step)
        return b""
