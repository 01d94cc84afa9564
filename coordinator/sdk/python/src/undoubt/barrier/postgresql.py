"""The barrier over psycopg, for threads and for asyncio."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from undoubt.barrier.calls import Column, Reply
from undoubt.barrier.dialects import COLUMNS, Ended, row, statements
from undoubt.barrier.rules import Row

_CONFLICTS = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
_WAIT = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)"
# Waits for whoever has made the row or has it locked, and then reads what that one left: one statement, and no deadlock.
_LOCK = (
    "INSERT INTO undoubt_barrier (effect) VALUES (%s) ON CONFLICT (effect) DO UPDATE SET effect = excluded.effect "
    f"RETURNING {', '.join(f'undoubt_barrier.{column}' for column in COLUMNS.split(', '))}, set_config('lock_timeout', %s, true)"
)
_OWN = "INSERT INTO undoubt_barrier (effect, action_status) VALUES (%s, 200) ON CONFLICT (effect) DO NOTHING"
_PURGE = "DELETE FROM undoubt_barrier WHERE touched_at < now() - %s"
_OPEN = "a transaction is open already: commit it or roll it back before the barrier begins its own"
_ENDED = "the handler ended the transaction that the barrier began: leave commit and rollback to the barrier"


def _store(column: Column) -> str:
    name = column.value
    sets = f"{name}_status = %s, {name}_type = %s, {name}_body = %s, touched_at = now()"
    return f"UPDATE undoubt_barrier SET {sets} WHERE effect = %s"


def _conflicted(error: BaseException) -> bool:
    return isinstance(error, _CONFLICTS)


class Postgres:
    """A connection to PostgreSQL."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def lock(self, effect: str, timeout: float) -> Row | None:
        if self._connection.info.transaction_status is not TransactionStatus.IDLE:
            raise Ended(_OPEN)
        if self._connection.autocommit:
            self._connection.execute("BEGIN")
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            before = cursor.execute(_WAIT, [f"{round(timeout * 1000)}ms"]).fetchone()
            try:
                return row(cursor.execute(_LOCK, [effect, before[0] if before else "0"]).fetchone())
            except _CONFLICTS:
                self.roll_back()
                return None

    def store(self, effect: str, column: Column, reply: Reply) -> None:
        if self._connection.info.transaction_status is TransactionStatus.IDLE:
            raise Ended(_ENDED)
        self._connection.execute(_store(column), [reply.status, reply.content_type, reply.body, effect])

    def own(self, effect: str) -> bool:
        return self._connection.execute(_OWN, [effect]).rowcount == 1

    def commit(self) -> None:
        self._connection.commit()

    def roll_back(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.rollback()

    def conflicted(self, error: BaseException) -> bool:
        return _conflicted(error)

    def create(self) -> None:
        for statement in statements("postgresql"):
            self._connection.execute(statement)
        self.commit()

    def purge(self, older_than: timedelta) -> int:
        purged = self._connection.execute(_PURGE, [older_than]).rowcount
        self.commit()
        return purged


class AsyncPostgres:
    """An asyncio connection to PostgreSQL. As `Postgres`, with `await`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def lock(self, effect: str, timeout: float) -> Row | None:
        if self._connection.info.transaction_status is not TransactionStatus.IDLE:
            raise Ended(_OPEN)
        if self._connection.autocommit:
            await self._connection.execute("BEGIN")
        async with self._connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_WAIT, [f"{round(timeout * 1000)}ms"])
            before = await cursor.fetchone()
            try:
                await cursor.execute(_LOCK, [effect, before[0] if before else "0"])
                return row(await cursor.fetchone())
            except _CONFLICTS:
                await self.roll_back()
                return None

    async def store(self, effect: str, column: Column, reply: Reply) -> None:
        if self._connection.info.transaction_status is TransactionStatus.IDLE:
            raise Ended(_ENDED)
        await self._connection.execute(_store(column), [reply.status, reply.content_type, reply.body, effect])

    async def own(self, effect: str) -> bool:
        return (await self._connection.execute(_OWN, [effect])).rowcount == 1

    async def commit(self) -> None:
        await self._connection.commit()

    async def roll_back(self) -> None:
        with contextlib.suppress(psycopg.Error):
            await self._connection.rollback()

    def conflicted(self, error: BaseException) -> bool:
        return _conflicted(error)
