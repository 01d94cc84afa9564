"""The barrier, carried out over a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from undoubt.barrier.calls import Call, InProgress, Refuse, Reply, in_progress, read, refused
from undoubt.barrier.dialects import LOCK_TIMEOUT_S, Dialect
from undoubt.barrier.rules import OWN, Commit, Effect, Lock, RollBack, Run, Store, once
from undoubt.ids import encoded

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from undoubt.barrier.postgresql import AsyncPostgres

A_WEEK = timedelta(days=7)

Work = Callable[[Call], Any]
"""A handler. What it returns is JSON, nothing, or a `Reply`."""


class TooLate(Exception):
    """Somebody was told that this transaction's commit did not happen, or it was recorded before. Roll back."""


def barrier(
    connection: Any,
    headers: Mapping[str, str],
    work: Work,
    *,
    always: bool = False,
    lock_timeout: float = LOCK_TIMEOUT_S,
) -> Reply:
    """Does what a request asks for, once: `work` runs in the transaction in which the barrier keeps its answer.

    `connection`: of psycopg, PyMySQL or sqlite3, without an open transaction. It begins one and ends it. `headers`: the request's.
    `always`: a compensation runs though its action was never heard; for steps that joined without one. `lock_timeout`: seconds for which
    another call with the same effect is waited for.

    What `work` raises goes on to the caller once all is rolled back, but `Refuse`, `InProgress`, and what a database raises when it rolls
    back for the sake of another transaction. So does a commit that failed: whether it happened nobody knows. Answer either with 500.
    """
    call = read(headers)
    if isinstance(call, Reply):
        return call
    return carry_out(dialect(connection), call, work, always, lock_timeout)


def carry_out(over: Dialect, call: Call, work: Work, always: bool, lock_timeout: float) -> Reply:
    """Carries a call out over a connection."""

    def perform(effect: Effect) -> Any:
        match effect:
            case Lock():
                return over.lock(effect.effect, lock_timeout)
            case Run():
                try:
                    return Reply.of(work(effect.call))
                except BaseException as error:
                    return _raised(error, over.conflicted(error))
            case Store():
                return over.store(effect.effect, effect.column, effect.reply)
            case Commit():
                return over.commit()
            case RollBack():
                return over.roll_back()

    flow = once(call, always)
    try:
        effect = next(flow)
        while True:
            effect = flow.send(perform(effect))
    except StopIteration as over_with:
        reply: Reply = over_with.value
        return reply
    except BaseException:
        over.roll_back()
        raise


async def async_barrier(
    connection: AsyncConnection[Any],
    headers: Mapping[str, str],
    work: Callable[[Call], Awaitable[Any]],
    *,
    always: bool = False,
    lock_timeout: float = LOCK_TIMEOUT_S,
) -> Reply:
    """Does what `barrier` does, over an asyncio connection of psycopg."""
    from undoubt.barrier.postgresql import AsyncPostgres

    call = read(headers)
    if isinstance(call, Reply):
        return call
    return await carry_out_async(AsyncPostgres(connection), call, work, always, lock_timeout)


async def carry_out_async(
    over: AsyncPostgres, call: Call, work: Callable[[Call], Awaitable[Any]], always: bool, lock_timeout: float
) -> Reply:
    """Carries a call out over a connection."""

    async def perform(effect: Effect) -> Any:
        match effect:
            case Lock():
                return await over.lock(effect.effect, lock_timeout)
            case Run():
                try:
                    return Reply.of(await work(effect.call))
                except BaseException as error:
                    return _raised(error, over.conflicted(error))
            case Store():
                return await over.store(effect.effect, effect.column, effect.reply)
            case Commit():
                return await over.commit()
            case RollBack():
                return await over.roll_back()

    flow = once(call, always)
    try:
        effect = next(flow)
        while True:
            effect = flow.send(await perform(effect))
    except StopIteration as over_with:
        reply: Reply = over_with.value
        return reply
    except BaseException:
        await over.roll_back()
        raise


def _raised(error: BaseException, conflicted: bool) -> Reply | None:
    """Returns the answer to what a handler raised; None: the database rolled it back. Raises what is no answer."""
    if isinstance(error, Refuse):
        return refused(str(error))
    if isinstance(error, InProgress):
        return in_progress(str(error))
    if conflicted:
        return None
    raise error


def record(connection: Any, transaction: str) -> None:
    """Writes, within your own open transaction, that it is committed if it is: what a check-back of `transaction` is answered with.

    `transaction`: the id as the coordinator told it (`saga.id`). Raises `TooLate` if it must not be committed any more.
    """
    if not dialect(connection).own(OWN + encoded(transaction)):
        raise TooLate(f"transaction {transaction} was recorded before, or somebody was told that it was not committed")


async def async_record(connection: AsyncConnection[Any], transaction: str) -> None:
    """Does what `record` does, over an asyncio connection of psycopg."""
    from undoubt.barrier.postgresql import AsyncPostgres

    if not await AsyncPostgres(connection).own(OWN + encoded(transaction)):
        raise TooLate(f"transaction {transaction} was recorded before, or somebody was told that it was not committed")


def create_table(connection: Any) -> None:
    """Makes the barrier's table, if it is absent, and commits."""
    dialect(connection).create()


def purge(connection: Any, older_than: timedelta = A_WEEK) -> int:
    """Deletes rows that were last touched before, and commits. Returns how many.

    Keep them for longer than the coordinator's `retention_s`, and than transactions may stay open.
    """
    return dialect(connection).purge(older_than)


def dialect(connection: Any) -> Dialect:
    """Returns the dialect of a connection."""
    modules = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    if "sqlite3" in modules:
        from undoubt.barrier.sqlite import Sqlite

        return Sqlite(connection)
    if "psycopg" in modules:
        from undoubt.barrier.postgresql import Postgres

        return Postgres(connection)
    if "pymysql" in modules:
        from undoubt.barrier.mysql import MySql

        return MySql(connection)
    raise TypeError(f"{type(connection)} is no connection of psycopg, PyMySQL or sqlite3")
