"""What is guarded: an inventory of seats, and work on it written as JSON."""

import json
from dataclasses import dataclass
from typing import Optional

from wire import messages as m

MAX_WORK_BYTES = 4_096
MAX_DETAIL_BYTES = 512
WORK = '{"reserve": "12A", "for": "alice"} or {"release": "12A"} or {"read": "12A"}'

SCHEMA = "CREATE TABLE IF NOT EXISTS seats (seat TEXT PRIMARY KEY, holder TEXT) WITHOUT ROWID"
ALL_SEATS = [f"{row}{letter}" for row in range(1, 31) for letter in "ABCDEF"]


class Refused(Exception):
    """A vote of no."""

    def __init__(self, code, detail):
        super().__init__(detail)
        detail = detail.encode()[:MAX_DETAIL_BYTES].decode(errors="ignore")
        self.vote = m.Vote(refused=m.Refusal(code=code, detail=detail))


@dataclass
class Work:
    seat: str
    writes: bool
    holder: Optional[str] = None  # Who has the seat afterwards, where it writes.

    @staticmethod
    def parse(work):
        if len(work) > MAX_WORK_BYTES:
            detail = f"{len(work)} bytes of work are more than the {MAX_WORK_BYTES} allowed"
            raise Refused(m.REFUSAL_CODE_TOO_LARGE, detail)
        try:
            asked = json.loads(work)
            json.dumps(asked, ensure_ascii=False).encode()  # Half a surrogate is JSON, but no text.
        except (ValueError, RecursionError) as error:
            raise Refused(m.REFUSAL_CODE_INVALID_WORK, f"work is {WORK}, and this cannot be read: {error}") from None
        match asked:
            case {"reserve": str(seat), "for": str(holder)} if len(asked) == 2 and holder:
                return Work(seat, True, holder)
            case {"release": str(seat)} if len(asked) == 1:
                return Work(seat, True)
            case {"read": str(seat)} if len(asked) == 1:
                return Work(seat, False)
        raise Refused(m.REFUSAL_CODE_INVALID_WORK, f"work is {WORK}, and nothing else")

    def check(self, db):
        """Refuses what cannot be done; else answers what will have been read. Changes nothing yet."""
        found = db.execute("SELECT holder FROM seats WHERE seat = ?", [self.seat]).fetchone()
        if found is None:
            raise Refused(m.REFUSAL_CODE_CONDITION, f"there is no seat {self.seat}")
        if self.writes and self.holder and found[0]:
            raise Refused(m.REFUSAL_CODE_CONDITION, f"seat {self.seat} is taken")
        if self.writes and not self.holder and not found[0]:
            raise Refused(m.REFUSAL_CODE_CONDITION, f"seat {self.seat} is free already")
        return json.dumps({"seat": self.seat, "for": self.holder if self.writes else found[0]}).encode()


def create(db):
    db.execute(SCHEMA)
    db.executemany("INSERT OR IGNORE INTO seats VALUES (?, NULL)", [[seat] for seat in ALL_SEATS])


def apply(db, seat, holder):
    db.execute("UPDATE seats SET holder = ? WHERE seat = ?", [holder, seat])
