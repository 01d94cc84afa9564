"""The promises 1 to 7 and 10 of session.proto, kept in one SQLite file. It takes no part in sagas.

A branch is one row, from its vote until the low-water mark passes it. That row is the vote, the lock, and all that
a commit needs; it is in the same file as the seats. So a crash loses none of them, and there is nothing to rebuild
after it.

Two simplifications. A lock that is taken is refused with LOCK_CONFLICT at once, where wait-die would let an older
transaction wait: nobody waits, so nobody waits in a circle. And read-only votes are rows too, where memory is enough.
"""

import sqlite3
from functools import partial

import seats
from keys import LAST_EPOCH, Unproven
from seats import Refused, Work
from wire import messages as m

SCHEMA = """
CREATE TABLE IF NOT EXISTS coordinators (id BLOB PRIMARY KEY, epoch INTEGER, low_water_mark BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (coordinator BLOB PRIMARY KEY, public_key BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS branches (
    coordinator BLOB, tx BLOB, attempt_number BLOB,
    state TEXT CHECK (state IN ('prepared', 'read-only', 'committed', 'aborted', 'left')),
    seat TEXT, holder TEXT,  -- What it has locked, and what a commit would write.
    vote BLOB,               -- To say it again.
    PRIMARY KEY (coordinator, tx)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS locks ON branches (seat) WHERE state IN ('prepared', 'read-only');
"""


class Unreadable(Exception):
    """What came is not what session.proto allows."""


class LowerEpoch(Exception):
    def __init__(self, epoch, known):
        super().__init__(f"epoch {epoch} is over: this coordinator was here with epoch {known}")
        self.known = known


def stored(number):
    """SQLite's integers are signed, so a uint64 is kept as bytes, which compare in the same way."""
    return number.to_bytes(8, "big")


class Branches:
    def __init__(self, path):
        self.db = sqlite3.connect(path)
        self.db.row_factory = sqlite3.Row
        # WAL with FULL: what is committed is on stable storage. EXCLUSIVE: a second process on this file is refused.
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self.db.execute(f"PRAGMA {setting}")
        self.db.executescript(SCHEMA)
        with self.db:
            seats.create(self.db)

    def join(self, coordinator, epoch, key, former):
        """Promises 7 and 10: a lower epoch is refused, a higher one stored; the key of the first contact stays, or one that
        follows it. Who wants more trust than that puts the key into the table `pins` himself."""
        pin = self.db.execute("SELECT public_key FROM pins WHERE coordinator = ?", [coordinator]).fetchone()
        known = self.db.execute("SELECT epoch FROM coordinators WHERE id = ?", [coordinator]).fetchone()
        if known and not pin:
            raise Unproven("PERMISSION_DENIED", "this coordinator is known from before there were keys: put its own into the table pins")
        if pin and pin["public_key"] != key and pin["public_key"] not in former:
            raise Unproven("PERMISSION_DENIED", "this coordinator is known by another key")
        if epoch > LAST_EPOCH:
            raise Unproven("OUT_OF_RANGE", f"epoch {epoch} is above {LAST_EPOCH}, the last that there is")
        if known and epoch < known["epoch"]:
            raise LowerEpoch(epoch, known["epoch"])
        with self.db:
            self.db.execute(
                "INSERT INTO coordinators VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET epoch = ?2",
                [coordinator, epoch, stored(0)],
            )
            self.db.execute("REPLACE INTO pins VALUES (?, ?)", [coordinator, key])

    def take(self, coordinator, batch):
        """Acts on a batch and returns the answers. When it returns, what they say is on stable storage (promise 1)."""
        with self.db:  # One forced write for the whole batch.
            mark = self._raise_low_water_mark(coordinator, stored(batch.low_water_mark))
            answers = [self._answer(coordinator, mark, message) for message in batch.messages]
        return [answer for answer in answers if answer]

    def in_doubt(self, coordinator):
        """The branches to inquire about (promise 6): voted, and the decision is unknown here."""
        query = "SELECT tx, attempt_number FROM branches WHERE coordinator = ? AND state IN ('prepared', 'read-only')"
        rows = self.db.execute(query, [coordinator])
        return {(row["tx"], int.from_bytes(row["attempt_number"], "big")) for row in rows}

    def _raise_low_water_mark(self, coordinator, offered):
        """Promise 5. A read-only branch below it will not be asked to confirm any more: it may go too."""
        [mark] = self.db.execute("SELECT low_water_mark FROM coordinators WHERE id = ?", [coordinator]).fetchone()
        if offered <= mark:
            return mark
        self.db.execute("UPDATE coordinators SET low_water_mark = ? WHERE id = ?", [offered, coordinator])
        passed = "DELETE FROM branches WHERE coordinator = ? AND attempt_number < ? AND state <> 'prepared'"
        self.db.execute(passed, [coordinator, offered])
        return offered

    def _answer(self, coordinator, mark, message):
        body = message.WhichOneof("body")
        if body is None or not 1 <= len(message.tx) <= 64:
            raise Unreadable("a message without a body, or whose tx has not 1 to 64 bytes")
        key, number = (coordinator, message.tx), stored(message.attempt_number)
        branch = self.db.execute("SELECT * FROM branches WHERE coordinator = ? AND tx = ?", key).fetchone()
        if branch and number < branch["attempt_number"]:
            return None  # Promise 4: stale.
        if branch and number > branch["attempt_number"]:
            branch = None  # Promise 4: that was an earlier attempt. Whatever is put below replaces it.
        state = branch["state"] if branch else None
        say = partial(m.ToCoordinator, tx=message.tx, attempt_number=message.attempt_number)
        match body:
            case "prepare" if number < mark:
                late = Refused(m.REFUSAL_CODE_LATE, "the transaction was over when this prepare came")
                return say(vote=late.vote)
            case "prepare" if branch:
                return branch["vote"] and say(vote=m.Vote.FromString(branch["vote"]))
            case "prepare":
                return say(vote=self._vote(key, number, message.prepare))
            case "confirm":
                self._move(key, state, {"read-only": "left"})
                return say(confirmed=m.Confirmed(held=state in ("read-only", "left")))
            case "commit":
                if state == "prepared":
                    seats.apply(self.db, branch["seat"], branch["holder"])
                self._move(key, state, {"prepared": "committed"})
                outcome = {
                    "prepared": m.BRANCH_OUTCOME_COMMITTED,
                    "committed": m.BRANCH_OUTCOME_COMMITTED,
                    "aborted": m.BRANCH_OUTCOME_ABORTED,
                    # Below the low-water mark it was acknowledged once. Else a vote of ours was lost.
                    None: m.BRANCH_OUTCOME_COMMITTED if number < mark else m.BRANCH_OUTCOME_UNKNOWN,
                }.get(state)
                return outcome and say(finished=m.Finished(outcome=outcome))
            case "settle" if branch and branch["vote"]:  # What it came to, and the result with it.
                return say(vote=m.Vote.FromString(branch["vote"]))
            case "abort" | "settle":
                self._move(key, state, {"prepared": "aborted", "read-only": "aborted"})
                if branch is None and number >= mark:  # Remembered, so that its prepare does nothing if it comes yet.
                    self._put(key, number, "aborted")
                aborted = m.Finished(outcome=m.BRANCH_OUTCOME_ABORTED)
                return say(finished=aborted) if body == "settle" else None
            case "undecided" | "noted" | "run" | "close":
                return None

    def _vote(self, key, number, prepare):
        """Does the work, or rather writes down what a commit will do. Either way there is a row for it afterwards."""
        self.db.execute("DELETE FROM branches WHERE coordinator = ? AND tx = ?", key)  # Undoes an earlier attempt.
        try:
            work = Work.parse(prepare.work)
            self._check_lock(work)
            result = work.check(self.db)
        except Refused as refused:
            self._put(key, number, "aborted", vote=refused.vote)
            return refused.vote
        match work.writes, prepare.one_phase:
            case True, True:
                state, vote = "committed", m.Vote(committed=result)
                seats.apply(self.db, work.seat, work.holder)
            case True, False:
                state, vote = "prepared", m.Vote(prepared=result)
            case False, one_phase:  # Alone, it read at one instant and needs no lock.
                state, vote = "left" if one_phase else "read-only", m.Vote(read_only=result)
        self._put(key, number, state, work.seat, work.holder, vote)
        return vote

    def _check_lock(self, work):
        locks = "SELECT state FROM branches WHERE seat = ? AND state IN ('prepared', 'read-only')"
        held = [row["state"] for row in self.db.execute(locks, [work.seat])]
        if "prepared" in held or (held and work.writes):
            raise Refused(m.REFUSAL_CODE_LOCK_CONFLICT, f"another transaction is at seat {work.seat}")

    def _put(self, key, number, state, seat=None, holder=None, vote=None):
        row = [*key, number, state, seat, holder, vote and vote.SerializeToString()]
        self.db.execute("INSERT OR REPLACE INTO branches VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _move(self, key, state, moves):
        """Into the next state, if there is one. A vote that was overtaken by the decision is not said again."""
        if state in moves:
            move = "UPDATE branches SET state = ?, vote = NULL WHERE coordinator = ? AND tx = ?"
            self.db.execute(move, [moves[state], *key])
