"""A participant for tests: sums in a SQLite file, and a journal of all that took effect. As a program it dies or stalls where it is told."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from undoubt.session import Keys, Participant, Refused, Resource, SqliteStore, Step, Why
from undoubt.session.session_pb2 import DIRECTION_COMPENSATING, DIRECTION_FORWARD, ToCoordinator

DIED = 86


def add(key: str, by: int, floor: int | None = None) -> bytes:
    """Returns work that adds to a sum; 0 only reads it."""
    return json.dumps({"key": key, "by": by, "floor": floor}).encode()


class Ledger(Resource[sqlite3.Connection]):
    """Sums. `journal` has a line for all that took effect, and for nothing else."""

    kind = "ledger"
    dies_before_acting = False

    def create(self, db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE IF NOT EXISTS sums (key TEXT PRIMARY KEY, sum INTEGER)")
        db.execute("CREATE TABLE IF NOT EXISTS journal (what TEXT, key TEXT, by INTEGER, result BLOB)")

    def keys(self, work: bytes) -> Keys:
        asked = self._read(work)
        key = frozenset([asked["key"]])
        return Keys(writes=key) if asked["by"] else Keys(reads=key)

    def prepare(self, db: sqlite3.Connection, work: bytes) -> bytes:
        asked = self._read(work)
        [before] = db.execute("SELECT sum FROM sums WHERE key = ?", [asked["key"]]).fetchone() or [0]
        after: int = before + asked["by"]
        if asked["floor"] is not None and after < asked["floor"]:
            raise Refused(Why.CONDITION, f"{asked['key']} would be {after}")
        return str(after).encode()

    def commit(self, db: sqlite3.Connection, work: bytes) -> None:
        self._apply(db, "commit", work)

    def act(self, db: sqlite3.Connection, step: Step) -> bytes:
        if self.dies_before_acting:
            os.kill(os.getpid(), signal.SIGKILL)
        result = self.prepare(db, step.work)
        self._apply(db, "act", step.work)
        return result

    def compensate(self, db: sqlite3.Connection, step: Step) -> None:
        self.prepare(db, step.work)
        self._apply(db, "compensate", step.work, step.result)

    def complete(self, db: sqlite3.Connection, step: Step) -> None:
        self.prepare(db, step.work)
        self._apply(db, "complete", step.work, step.result)

    def _apply(self, db: sqlite3.Connection, what: str, work: bytes, result: bytes = b"") -> None:
        asked = self._read(work)
        insert = "INSERT INTO sums VALUES (?1, ?2) ON CONFLICT DO UPDATE SET sum = sum + ?2"
        db.execute(insert, [asked["key"], asked["by"]])
        db.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", [what, asked["key"], asked["by"], result])

    def _read(self, work: bytes) -> dict[str, Any]:
        try:
            asked: dict[str, Any] = json.loads(work)
        except ValueError as error:
            raise Refused(Why.INVALID_WORK, str(error)) from None
        return asked


class Committing(Ledger):
    """A faulty one, which tears its work from its answer."""

    def act(self, db: sqlite3.Connection, step: Step) -> bytes:
        db.execute("COMMIT")
        return b""


def kind_of(answer: ToCoordinator) -> str | None:
    """Returns the word for an answer that tells of something durable."""
    if answer.vote.HasField("prepared"):
        return "vote"
    if answer.HasField("finished"):
        return "commit"
    if answer.ran.HasField("done"):
        named = {DIRECTION_FORWARD: "action", DIRECTION_COMPENSATING: "compensation"}
        return named.get(answer.ran.direction, "completion")
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("listen")
    parser.add_argument("--die-after", help="the first answer of this kind is durable and not sent")
    parser.add_argument("--stall-after", help="as above, but it does not die")
    parser.add_argument("--die-before-acting", action="store_true")
    args = parser.parse_args()

    def crash(answers: Sequence[ToCoordinator]) -> None:
        kinds = {kind_of(answer) for answer in answers}
        if args.die_after in kinds - {None}:
            os.kill(os.getpid(), signal.SIGKILL)
        if args.stall_after in kinds - {None}:
            args.file.with_suffix(".stalled").touch()
            os.kill(os.getpid(), signal.SIGSTOP)

    def ready(address: str) -> None:
        part = args.file.with_suffix(".part")
        part.write_text(address)
        part.rename(args.file.with_suffix(".address"))

    ledger = Ledger()
    ledger.dies_before_acting = args.die_before_acting
    participant = Participant("ledger", SqliteStore(args.file), ledger, before_sending=crash)
    asyncio.run(participant.run(args.listen, ready=ready))


if __name__ == "__main__":
    main()
