"""A store in one SQLite file, in which the resource has its own tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from undoubt.session import session_pb2 as pb
from undoubt.session.effects import Barrier, Branch, BranchId, Known, SagaId, State
from undoubt.session.marks import LowWaterMark
from undoubt.session.resource import Keys, StepId
from undoubt.session.store import StoreFailed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS undoubt_participant (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS undoubt_coordinators (
    id BLOB PRIMARY KEY, epoch INTEGER NOT NULL, public_key BLOB NOT NULL, vouched INTEGER NOT NULL,
    low_water_mark BLOB NOT NULL, still_open BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS undoubt_branches (
    coordinator BLOB, tx BLOB, attempt_number BLOB NOT NULL, state TEXT NOT NULL, work BLOB NOT NULL, vote BLOB,
    PRIMARY KEY (coordinator, tx)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS undoubt_in_doubt ON undoubt_branches (coordinator) WHERE state IN ('prepared', 'read-only');
CREATE TABLE IF NOT EXISTS undoubt_keys (
    coordinator BLOB, tx BLOB, key TEXT, writes INTEGER NOT NULL, PRIMARY KEY (key, coordinator, tx)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS undoubt_keys_of ON undoubt_keys (coordinator, tx);
CREATE TABLE IF NOT EXISTS undoubt_steps (
    coordinator BLOB, attempt_number BLOB, tx BLOB, step INTEGER, barrier TEXT NOT NULL, result BLOB NOT NULL,
    PRIMARY KEY (coordinator, attempt_number, tx, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS undoubt_closed (
    coordinator BLOB, attempt_number BLOB, tx BLOB, PRIMARY KEY (coordinator, attempt_number, tx)) WITHOUT ROWID;
"""

_NUMBER_BYTES = 8


def _stored(number: int) -> bytes:
    """Returns a uint64 as it is kept: SQLite's integers are signed, and bytes compare in the same way."""
    return number.to_bytes(_NUMBER_BYTES, "big")


def _read(number: bytes) -> int:
    return int.from_bytes(number, "big")


class SqliteStore:
    """A store in one SQLite file. A vote, its keys and all that a commit needs are one row beside what the resource guards: after a crash
    there is nothing to rebuild or to reconcile."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._db: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """Returns what the resource works on. It is in a transaction already: the resource neither commits nor rolls back."""
        if self._db is None:
            raise StoreFailed(f"{self._path} is not open")
        return self._db

    def open(self, participant: str) -> None:
        """Opens the file, and takes it for this participant alone."""
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=1)
            # WAL with FULL: what is committed is on stable storage. EXCLUSIVE: a second process on this file is refused.
            for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._db.execute(f"PRAGMA {setting}")
            self._db.executescript(_SCHEMA)
            with self.transaction():
                self._belong_to(participant)
        except sqlite3.Error as error:
            self.close()
            raise StoreFailed(f"{self._path} cannot be opened: {error}") from error
        except StoreFailed:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Returns a transaction: at its end all of it is on stable storage, after an exception nothing is."""
        self._do("BEGIN IMMEDIATE")
        try:
            yield
            self._do("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self._do("ROLLBACK")
            raise

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Returns a part of the transaction: an exception undoes this part alone, and goes on."""
        self._do("SAVEPOINT undoubt")
        try:
            yield
        except Exception:
            self._do("ROLLBACK TO undoubt")
            self._do("RELEASE undoubt")
            raise
        # Fails if the resource has committed or rolled back, and so has torn its work from its answer.
        self._do("RELEASE undoubt")

    def pin(self, coordinator: bytes, public_key: bytes) -> None:
        """Pins a coordinator's key on an operator's word, in place of the one that is pinned. To be called while nobody serves the file."""
        known = self.coordinator(coordinator) or Known()
        with self.transaction():
            self.keep_coordinator(coordinator, Known(known.epoch, public_key, True))

    def coordinator(self, id: bytes) -> Known | None:
        """Returns what is known of a coordinator."""
        query = "SELECT epoch, public_key, vouched, low_water_mark, still_open FROM undoubt_coordinators WHERE id = ?"
        row = self._one(query, [id])
        if row is None:
            return None
        epoch, public_key, vouched, below, numbers = row
        parts = (numbers[at : at + _NUMBER_BYTES] for at in range(0, len(numbers), _NUMBER_BYTES))
        mark = LowWaterMark(_read(below), frozenset(_read(part) for part in parts))
        return Known(epoch, public_key, bool(vouched), mark)

    def keep_coordinator(self, id: bytes, known: Known) -> None:
        """Stores its epoch and its key."""
        row = [id, known.epoch, known.public_key, known.vouched, _stored(0)]
        kept = "epoch = excluded.epoch, public_key = excluded.public_key, vouched = excluded.vouched"
        self._do(f"INSERT INTO undoubt_coordinators VALUES (?, ?, ?, ?, ?, x'') ON CONFLICT DO UPDATE SET {kept}", row)

    def unvouched(self) -> int:
        """Returns the number of coordinators that came without an operator's word."""
        [number] = self._one("SELECT count(*) FROM undoubt_coordinators WHERE NOT vouched") or [0]
        return int(number)

    def keep_mark(self, id: bytes, mark: LowWaterMark) -> None:
        """Stores what is over with a coordinator, and drops what was kept of it, save branches that are prepared."""
        below, still_open = _stored(mark.below), [_stored(number) for number in sorted(mark.still_open)]
        update = "UPDATE undoubt_coordinators SET low_water_mark = ?, still_open = ? WHERE id = ?"
        self._do(update, [below, b"".join(still_open), id])
        marks = ", ".join("?" * len(still_open))
        over = f"coordinator = ? AND attempt_number < ? AND attempt_number NOT IN ({marks})"
        args = [id, below, *still_open]
        gone = f"SELECT tx FROM undoubt_branches WHERE {over} AND state <> 'prepared'"
        self._do(f"DELETE FROM undoubt_keys WHERE coordinator = ? AND tx IN ({gone})", [id, *args])
        self._do(f"DELETE FROM undoubt_branches WHERE {over} AND state <> 'prepared'", args)
        for table in ("undoubt_steps", "undoubt_closed"):
            self._do(f"DELETE FROM {table} WHERE {over}", args)

    def in_doubt(self, coordinator: bytes) -> set[tuple[bytes, int]]:
        """Returns the branches in doubt: transactions, and their attempt numbers."""
        states = "state IN ('prepared', 'read-only')"
        rows = self._all(
            f"SELECT tx, attempt_number FROM undoubt_branches WHERE coordinator = ? AND {states}", [coordinator]
        )
        return {(tx, _read(number)) for tx, number in rows}

    def branch(self, id: BranchId) -> Branch | None:
        """Returns a branch."""
        query = "SELECT attempt_number, state, work, vote FROM undoubt_branches WHERE coordinator = ? AND tx = ?"
        row = self._one(query, [id.coordinator, id.tx])
        if row is None:
            return None
        number, state, work, vote = row
        return Branch(_read(number), State(state), work, None if vote is None else pb.Vote.FromString(vote))

    def keep_branch(self, id: BranchId, branch: Branch, keys: Keys) -> None:
        """Stores a branch, and the keys that it holds."""
        vote = None if branch.vote is None else branch.vote.SerializeToString()
        row = [id.coordinator, id.tx, _stored(branch.attempt_number), branch.state.value, branch.work, vote]
        self._do("REPLACE INTO undoubt_branches VALUES (?, ?, ?, ?, ?, ?)", row)
        if not branch.state.is_in_doubt:
            self._do("DELETE FROM undoubt_keys WHERE coordinator = ? AND tx = ?", [id.coordinator, id.tx])
        for key in sorted(keys.writes | keys.reads):
            held = [id.coordinator, id.tx, key, key in keys.writes]
            self._do("REPLACE INTO undoubt_keys VALUES (?, ?, ?, ?)", held)

    def are_taken(self, keys: Keys) -> bool:
        """Returns true if a branch holds one of these keys, other than both for reading."""
        held = "SELECT 1 FROM undoubt_keys WHERE key = ?"
        return any(self._one(held, [key]) for key in keys.writes) or any(
            self._one(f"{held} AND writes", [key]) for key in keys.reads
        )

    def step(self, id: StepId) -> tuple[Barrier, bytes] | None:
        """Returns a step's barrier, and its action's result."""
        key = "coordinator = ? AND attempt_number = ? AND tx = ? AND step = ?"
        args = [id.coordinator, _stored(id.attempt_number), id.tx, id.number]
        row = self._one(f"SELECT barrier, result FROM undoubt_steps WHERE {key}", args)
        return None if row is None else (Barrier(row[0]), row[1])

    def keep_step(self, id: StepId, barrier: Barrier, result: bytes) -> None:
        """Stores a step's barrier."""
        row = [id.coordinator, _stored(id.attempt_number), id.tx, id.number, barrier.value, result]
        self._do("REPLACE INTO undoubt_steps VALUES (?, ?, ?, ?, ?, ?)", row)

    def is_closed(self, id: SagaId) -> bool:
        """Returns true if the saga was closed."""
        key = "coordinator = ? AND attempt_number = ? AND tx = ?"
        args = [id.coordinator, _stored(id.attempt_number), id.tx]
        return self._one(f"SELECT 1 FROM undoubt_closed WHERE {key}", args) is not None

    def keep_closed(self, id: SagaId) -> None:
        """Stores that the saga was closed."""
        row = [id.coordinator, _stored(id.attempt_number), id.tx]
        self._do("INSERT OR IGNORE INTO undoubt_closed VALUES (?, ?, ?)", row)

    def _belong_to(self, participant: str) -> None:
        [owner] = self._one("SELECT name FROM undoubt_participant") or [None]
        if owner is None:
            self._do("INSERT INTO undoubt_participant VALUES (?)", [participant])
        elif owner != participant:
            raise StoreFailed(f"{self._path} is the store of participant {owner!r}, not of {participant!r}")

    def _all(self, statement: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            # Whatever row factory the resource has set, these are tuples.
            cursor = self.connection.cursor()
            cursor.row_factory = None
            return cursor.execute(statement, args).fetchall()
        except sqlite3.Error as error:
            raise StoreFailed(f"{self._path}: {error}") from error

    def _one(self, statement: str, args: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        return next(iter(self._all(statement, args)), None)

    def _do(self, statement: str, args: Sequence[Any] = ()) -> None:
        self._all(statement, args)
