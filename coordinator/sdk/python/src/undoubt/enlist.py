"""The part of your own psycopg session in a transaction over several services, by two-phase commit.

Your SQL runs in your session, and is prepared; a participant in front of the same database adopts it when the transaction is submitted, so
that it commits or aborts with the other parts, whatever crashes. See `participant/DATABASES.md`, "Your own SQL".

* What is prepared and not submitted the participant undoes after its `resource.enlist_grace_ms` (30 s). Under an open transaction with
  `completions="two-phase"` it waits until that is closed or cancelled, or its time is over: begin that before, and `join` with `work`.
* While it is prepared it keeps its locks. Waits are as the session's own `lock_timeout` and `statement_timeout` say; set them.
* Take no session lock, temporary table, `LISTEN` or cursor `WITH HOLD` into it: PostgreSQL prepares no such transaction.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, NoReturn, Self

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

WORK = ["enlisted"]
"""The work of the participant that adopts what was prepared. It stands alone there."""


class EnlistError(Exception):
    """Your part is not enlisted, and nothing of it is left behind, unless the class says something else."""


class AlreadyPrepared(EnlistError):
    """It is enlisted and prepared under this id: submit it as it is, or begin again once it is over or its time is."""


class AlreadyCommitted(EnlistError):
    """It committed under this id, with what was enlisted then; ask the coordinator for the outcome."""


class EndedByHand(EnlistError):
    """The transaction was committed or rolled back within the block: what it committed is not part of anything."""


class RolledBack(EnlistError):
    """The database rolled it back where it was to prepare it, for a statement had failed. Begin it again."""


class Unclear(EnlistError):
    """The connection broke: whether it is prepared nobody knows. Submit it all the same, which aborts if it is not; or leave it, and it is undone."""


class Enlisted:
    """A block of SQL that is a part of a transaction: entering it begins, leaving it prepares, an exception rolls it back.

    `connection`: yours, without an open transaction. `tx`: the id under which the rest is submitted. `coordinator`: its id, which
    `Client.coordinator_id()` tells. `role`: the participant's, which the session's role is granted. `work` is for the participant of this
    database: `{"id": tx, "branches": {"orders": own.work, …}}`.
    """

    work = WORK

    def __init__(
        self, connection: psycopg.Connection[Any], tx: str, *, coordinator: str, role: str | None = None
    ) -> None:
        self._connection = connection
        self._tx = bytes.fromhex(tx[2:]) if tx.startswith("0x") else tx.encode()
        self._coordinator = bytes.fromhex(coordinator)
        self._role = role
        self._name = ""
        self._number = ""

    def __enter__(self) -> Self:
        if self._status() is not TransactionStatus.IDLE:
            raise EnlistError("a transaction is open already: commit it or roll it back before")
        try:
            self._begin()
        except psycopg.Error as error:
            self._roll_back()
            self._refused(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if raised is not None:
            self._roll_back()
            return
        try:
            self._get_ready()
            self._prepare()
        except psycopg.Error as error:
            self._roll_back()
            self._refused(error)
        except BaseException:
            self._roll_back()
            raise

    def _begin(self) -> None:
        if self._connection.autocommit:
            self._connection.execute("BEGIN")
        (own_role,) = self._one("SELECT current_setting('role')")
        self._take_role()
        statement = "SELECT undoubt.enlist(%s, %s), pg_current_xact_id()::text, set_config('role', %s, true)"
        self._name, self._number, _ = self._one(statement, self._coordinator, self._tx, own_role)

    def _get_ready(self) -> None:
        if self._status() is TransactionStatus.IDLE:
            raise EndedByHand(EndedByHand.__doc__)
        # Deferred checks must run as the application's own role.
        self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._take_role()
        if self._one("SELECT pg_current_xact_id_if_assigned()::text") != (self._number,):
            raise EndedByHand(EndedByHand.__doc__)

    def _prepare(self) -> None:
        try:
            self._connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(sql.Literal(self._name)))
            # Where the transaction had failed before, it is rolled back, and that is reported as success.
            (prepared,) = self._one("SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = %s)", self._name)
            self._connection.rollback()
        except psycopg.OperationalError as error:
            if self._connection.broken or (error.sqlstate or "08")[:2] == "08" or (error.sqlstate or "")[:3] == "57P":
                raise Unclear(Unclear.__doc__) from error
            raise
        if not prepared:
            raise RolledBack(RolledBack.__doc__)

    def _refused(self, error: psycopg.Error) -> NoReturn:
        at_evidence = (error.diag.schema_name, error.diag.table_name) == ("undoubt", "enlisted")
        if isinstance(error, errors.DuplicateObject):
            raise AlreadyPrepared(AlreadyPrepared.__doc__) from error
        if isinstance(error, errors.UniqueViolation) and at_evidence:
            raise AlreadyCommitted(AlreadyCommitted.__doc__) from error
        if isinstance(error, errors.ObjectNotInPrerequisiteState):
            error.add_note("set max_prepared_transactions in postgresql.conf, and restart the server")
        if isinstance(error, errors.UndefinedFunction | errors.InvalidSchemaName):
            error.add_note(
                "the database has no schema undoubt that can do this; make it with `undoubt-participant init`"
            )
        if isinstance(error, errors.InsufficientPrivilege | errors.InvalidParameterValue):
            error.add_note(
                "name the participant's role, and grant that to the role of the session (GRANT undoubt TO orders)"
            )
        raise error

    def _take_role(self) -> None:
        if self._role is not None:
            self._connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self._role)))

    def _one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(statement, values).fetchone()
        return row or ()

    def _status(self) -> TransactionStatus:
        return self._connection.info.transaction_status

    def _roll_back(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.rollback()
