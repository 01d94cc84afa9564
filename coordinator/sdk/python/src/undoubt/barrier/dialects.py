"""How the barrier speaks with a database. A dialect is found by the connection it is given; no driver is imported for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from importlib import resources
from typing import Any, Protocol

from undoubt.barrier.calls import Column, Reply
from undoubt.barrier.rules import Row

COLUMNS = ", ".join(f"{column.value}_{part}" for column in Column for part in ("status", "type", "body"))

LOCK_TIMEOUT_S = 5.0
"""The time for which a row's lock is waited for."""


class Ended(RuntimeError):
    """The connection is in no state for the barrier: a transaction is open before, or was ended within."""


class Dialect(Protocol):
    """A connection as the barrier uses it."""

    def lock(self, effect: str, timeout: float) -> Row | None:
        """Begins a transaction and locks the row, making it if it is absent. None: it was not had in time, and all is rolled back."""

    def store(self, effect: str, column: Column, reply: Reply) -> None:
        """Puts an answer into the row."""

    def own(self, effect: str) -> bool:
        """Writes the row of the transaction that is open. False: it was there before."""

    def commit(self) -> None:
        """Commits."""

    def roll_back(self) -> None:
        """Rolls back. Raises nothing where the connection is broken, for then the server does it."""

    def conflicted(self, error: BaseException) -> bool:
        """Returns true if the database rolled back for the sake of another transaction, so that trying again may help."""

    def create(self) -> None:
        """Makes the table, if it is absent, and commits."""

    def purge(self, older_than: timedelta) -> int:
        """Deletes rows that were last touched before, and commits. Returns how many."""


def row(values: Sequence[Any] | None) -> Row:
    """Returns a row, of the columns in the order of `COLUMNS`."""
    if values is None:
        return Row()
    return Row(*(_reply(*values[at : at + 3]) for at in (0, 3, 6)))


def _reply(status: int | None, content_type: str | None, body: bytes | None) -> Reply | None:
    return None if status is None else Reply(status, bytes(body or b""), content_type)


def statements(dialect: str) -> list[str]:
    """Returns the statements that make the table."""
    text = resources.files("undoubt.barrier").joinpath(f"schema.{dialect}.sql").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]
