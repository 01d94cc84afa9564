"""The barrier over PyMySQL: MariaDB and MySQL."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pymysql
from pymysql.constants import ER, SERVER_STATUS
from pymysql.cursors import Cursor

from undoubt.barrier.calls import Column, Reply
from undoubt.barrier.dialects import COLUMNS, Ended, row, statements
from undoubt.barrier.rules import Row

MAX_LOCK_ATTEMPTS = 10

_MAKE = "INSERT INTO undoubt_barrier (effect) VALUES (%s) ON DUPLICATE KEY UPDATE effect = effect"
_READ = f"SELECT {COLUMNS} FROM undoubt_barrier WHERE effect = %s FOR UPDATE"
_WAIT = "SET @undoubt_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = %s"
_WAIT_AS_BEFORE = "SET SESSION innodb_lock_wait_timeout = @undoubt_wait"


class MySql:
    """A connection to MariaDB or MySQL."""

    def __init__(self, connection: pymysql.Connection[Any]) -> None:
        self._connection = connection

    def lock(self, effect: str, timeout: float) -> Row | None:
        if self._in_transaction():
            raise Ended("a transaction is open already: commit it or roll it back before the barrier begins its own")
        self._all(_WAIT, max(1, round(timeout)))
        try:
            return self._lock(effect)
        finally:
            with contextlib.suppress(pymysql.Error):
                self._all(_WAIT_AS_BEFORE)

    def _lock(self, effect: str) -> Row | None:
        # Where the first of many rolls back, the server grants its row's gap to all who wait, and ends their deadlock by rolling
        # all but one back. Nothing but this has run in them, so they come again; each time one at least gets on.
        for _ in range(MAX_LOCK_ATTEMPTS):
            self._connection.begin()
            try:
                self._all(_MAKE, effect)
                return row(self._all(_READ, effect)[0])
            except pymysql.err.OperationalError as error:
                if not self.conflicted(error):
                    raise
                self.roll_back()
                if error.args[0] == ER.LOCK_WAIT_TIMEOUT:
                    return None
        return None

    def store(self, effect: str, column: Column, reply: Reply) -> None:
        if not self._in_transaction():
            raise Ended(
                "the handler ended the transaction that the barrier began: leave commit and rollback to the barrier"
            )
        name = column.value
        self._all(
            f"UPDATE undoubt_barrier SET {name}_status = %s, {name}_type = %s, {name}_body = %s WHERE effect = %s",
            reply.status,
            reply.content_type,
            reply.body,
            effect,
        )

    def own(self, effect: str) -> bool:
        with self._connection.cursor(Cursor) as cursor:
            sql = "INSERT IGNORE INTO undoubt_barrier (effect, action_status) VALUES (%s, 200)"
            return cursor.execute(sql, [effect]) == 1

    def commit(self) -> None:
        self._connection.commit()

    def roll_back(self) -> None:
        with contextlib.suppress(pymysql.Error, OSError):
            self._connection.rollback()

    def conflicted(self, error: BaseException) -> bool:
        return isinstance(error, pymysql.Error) and error.args[:1] in ((ER.LOCK_DEADLOCK,), (ER.LOCK_WAIT_TIMEOUT,))

    def create(self) -> None:
        for statement in statements("mysql"):
            self._all(statement)

    def purge(self, older_than: timedelta) -> int:
        with self._connection.cursor(Cursor) as cursor:
            sql = "DELETE FROM undoubt_barrier WHERE touched_at < NOW() - INTERVAL %s SECOND"
            purged = cursor.execute(sql, [round(older_than.total_seconds())])
        self.commit()
        return purged

    def _in_transaction(self) -> bool:
        status: int = getattr(self._connection, "server_status", 0)
        return bool(status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def _all(self, sql: str, *values: Any) -> Any:
        with self._connection.cursor(Cursor) as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall()
