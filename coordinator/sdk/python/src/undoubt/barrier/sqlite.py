"""The barrier over `sqlite3`. A transaction that writes has the whole database, so there is no row to lock."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import timedelta
from typing import Any

from undoubt.barrier.calls import Column, Reply
from undoubt.barrier.dialects import COLUMNS, Ended, row, statements
from undoubt.barrier.rules import Row


class Sqlite:
    """A connection to SQLite."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def lock(self, effect: str, timeout: float) -> Row | None:
        if self._connection.in_transaction:
            raise Ended(
                "a transaction is open already (autocommit=False opens one always): give the barrier a connection without"
            )
        ((before,),) = self._all("PRAGMA busy_timeout")
        self._all(f"PRAGMA busy_timeout = {round(timeout * 1000)}")
        try:
            self._all("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if self.conflicted(error):
                return None
            raise
        finally:
            self._all(f"PRAGMA busy_timeout = {before}")
        found = self._all(f"SELECT {COLUMNS} FROM undoubt_barrier WHERE effect = ?", effect)
        return row(found[0] if found else None)

    def store(self, effect: str, column: Column, reply: Reply) -> None:
        if not self._connection.in_transaction:
            raise Ended(
                "the handler ended the transaction that the barrier began: leave commit and rollback to the barrier"
            )
        name = column.value
        self._all(
            f"INSERT INTO undoubt_barrier (effect, {name}_status, {name}_type, {name}_body) VALUES (?, ?, ?, ?) "
            f"ON CONFLICT (effect) DO UPDATE SET {name}_status = excluded.{name}_status, {name}_type = excluded.{name}_type, "
            f"{name}_body = excluded.{name}_body, touched_at = CURRENT_TIMESTAMP",
            effect,
            reply.status,
            reply.content_type,
            reply.body,
        )

    def own(self, effect: str) -> bool:
        sql = "INSERT INTO undoubt_barrier (effect, action_status) VALUES (?, 200) ON CONFLICT (effect) DO NOTHING"
        return self._connection.execute(sql, [effect]).rowcount == 1

    def commit(self) -> None:
        self._connection.commit()

    def roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()

    def conflicted(self, error: BaseException) -> bool:
        # The extended codes have the plain one in their last byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return isinstance(error, sqlite3.Error) and code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def create(self) -> None:
        for statement in statements("sqlite"):
            self._all(statement)
        self.commit()

    def purge(self, older_than: timedelta) -> int:
        sql = "DELETE FROM undoubt_barrier WHERE touched_at < datetime('now', ?)"
        purged = self._connection.execute(sql, [f"{-older_than.total_seconds():+} seconds"]).rowcount
        self.commit()
        return purged

    def _all(self, sql: str, *values: Any) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, values).fetchall()
