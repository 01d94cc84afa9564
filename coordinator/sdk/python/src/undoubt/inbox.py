"""How far a subscription has come, in a table of your own database: written in the transaction in which you do what follows from an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from undoubt.barrier.run import dialect
from undoubt.published import Published

_TABLE = """
CREATE TABLE IF NOT EXISTS undoubt_inbox (
    subscription varchar(64) NOT NULL,
    source       varchar(64) NOT NULL,
    topic        varchar(64) NOT NULL,
    part         integer     NOT NULL,
    incarnation  varchar(32) NOT NULL,
    reached      bigint      NOT NULL,
    PRIMARY KEY (subscription, source, topic, part)
)
"""
_FOUND = "SELECT topic, part, incarnation, reached FROM undoubt_inbox WHERE subscription = %s AND source = %s"
_ONE = _FOUND + " AND topic = %s AND part = %s"
_BEGIN = "INSERT INTO undoubt_inbox (subscription, source, topic, part, incarnation, reached) VALUES (%s, %s, %s, %s, %s, %s)"
_MOVE = (
    "UPDATE undoubt_inbox SET incarnation = %s, reached = %s "
    "WHERE subscription = %s AND source = %s AND topic = %s AND part = %s AND incarnation = %s AND reached = %s"
)


@dataclass(frozen=True, slots=True)
class Lane:
    """A partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Watermark:
    """The last event of a lane that was dealt with."""

    incarnation: str
    position: int

    @property
    def id(self) -> str:
        """The id of that event."""
        return f"{self.incarnation}-{self.position}"

    @classmethod
    def of(cls, event: Published) -> Watermark:
        """Returns the watermark of one who has dealt with an event."""
        return cls(event.incarnation, event.position)


class Inbox:
    """The positions of one subscription to one source, over one connection of psycopg, PyMySQL or sqlite3."""

    def __init__(self, connection: Any, subscription: str, source: str) -> None:
        self._connection = connection
        self._over = dialect(connection)
        self._whose = (subscription, source)
        self._is_sqlite = any(kind.__module__.partition(".")[0] == "sqlite3" for kind in type(connection).__mro__)

    def found(self) -> dict[Lane, Watermark]:
        """Returns all positions."""
        rows = self._all(_FOUND, *self._whose)
        self.roll_back()
        return {Lane(topic, part): Watermark(incarnation, reached) for topic, part, incarnation, reached in rows}

    def begin(self) -> None:
        """Begins a transaction."""
        if self._is_sqlite:
            self._connection.execute("BEGIN IMMEDIATE")
        elif hasattr(self._connection, "begin"):
            self._connection.begin()
        elif self._connection.autocommit:
            self._connection.execute("BEGIN")

    def move(self, lane: Lane, old: Watermark | None, new: Watermark) -> bool:
        """Moves a position, within the transaction that is open, if it is where it is believed to be. False: it is elsewhere."""
        place = (*self._whose, lane.topic, lane.partition)
        if old is not None:
            return self._count(_MOVE, new.incarnation, new.position, *place, old.incarnation, old.position) == 1
        if self._all(_ONE, *place):
            return False
        # Who does the same at the same time fails with the key, and tries again.
        return self._count(_BEGIN, *place, new.incarnation, new.position) == 1

    def commit(self) -> None:
        """Commits."""
        self._over.commit()

    def roll_back(self) -> None:
        """Rolls back."""
        self._over.roll_back()

    def conflicted(self, error: BaseException) -> bool:
        """Returns true if the database rolled back for the sake of another transaction, so that trying again may help."""
        return self._over.conflicted(error)

    def create(self) -> None:
        """Makes the table, if it is absent, and commits."""
        self._count(_TABLE)
        self.commit()

    def _all(self, sql: str, *values: Any) -> list[Any]:
        cursor = self._run(sql, values)
        try:
            return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def _count(self, sql: str, *values: Any) -> int:
        cursor = self._run(sql, values)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def _run(self, sql: str, values: tuple[Any, ...]) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("%s", "?") if self._is_sqlite else sql, values or ())
        return cursor
