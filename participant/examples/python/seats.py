"""What is guarded: an inventory of seats, and work on it written as JSON."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Self

from undoubt.session import Keys, Refused, Resource, Why

WORK = '{"reserve": "12A", "for": "alice"} or {"release": "12A"} or {"read": "12A"}'

SCHEMA = "CREATE TABLE IF NOT EXISTS seats (seat TEXT PRIMARY KEY, holder TEXT) WITHOUT ROWID"
ALL_SEATS = [f"{row}{letter}" for row in range(1, 31) for letter in "ABCDEF"]


@dataclass
class Work:
    seat: str
    writes: bool
    holder: str | None = None  # Who has the seat afterwards, where it writes.

    @classmethod
    def parse(cls, work: bytes) -> Self:
        try:
            asked = json.loads(work)
            json.dumps(asked, ensure_ascii=False).encode()  # Half a surrogate is JSON, but no text.
        except (ValueError, RecursionError) as error:
            raise Refused(Why.INVALID_WORK, f"work is {WORK}, and this cannot be read: {error}") from None
        match asked:
            case {"reserve": str(seat), "for": str(holder)} if len(asked) == 2 and holder:
                return cls(seat, True, holder)
            case {"release": str(seat)} if len(asked) == 1:
                return cls(seat, True)
            case {"read": str(seat)} if len(asked) == 1:
                return cls(seat, False)
        raise Refused(Why.INVALID_WORK, f"work is {WORK}, and nothing else")


class Seats(Resource[sqlite3.Connection]):
    """As steps of sagas, reservations are done and undone by the same work."""

    kind = "seats"
    max_work_bytes = 4_096

    def create(self, db: sqlite3.Connection) -> None:
        db.execute(SCHEMA)
        db.executemany("INSERT OR IGNORE INTO seats VALUES (?, NULL)", [[seat] for seat in ALL_SEATS])

    def keys(self, work: bytes) -> Keys:
        asked = Work.parse(work)
        seat = frozenset([asked.seat])
        return Keys(writes=seat) if asked.writes else Keys(reads=seat)

    def prepare(self, db: sqlite3.Connection, work: bytes) -> bytes:
        asked = Work.parse(work)
        found = db.execute("SELECT holder FROM seats WHERE seat = ?", [asked.seat]).fetchone()
        if found is None:
            raise Refused(Why.CONDITION, f"there is no seat {asked.seat}")
        if asked.writes and asked.holder and found[0]:
            raise Refused(Why.CONDITION, f"seat {asked.seat} is taken")
        if asked.writes and not asked.holder and not found[0]:
            raise Refused(Why.CONDITION, f"seat {asked.seat} is free already")
        return json.dumps({"seat": asked.seat, "for": asked.holder if asked.writes else found[0]}).encode()

    def commit(self, db: sqlite3.Connection, work: bytes) -> None:
        asked = Work.parse(work)
        if asked.writes:
            db.execute("UPDATE seats SET holder = ? WHERE seat = ?", [asked.holder, asked.seat])
