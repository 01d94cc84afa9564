"""One face of each database for the tests of the barrier: how to connect, and a table of notes that handlers write."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

NOTES = {
    "postgresql": "CREATE TABLE IF NOT EXISTS notes (id bigserial PRIMARY KEY, effect text, operation text)",
    "mysql": "CREATE TABLE IF NOT EXISTS notes (id bigint AUTO_INCREMENT PRIMARY KEY, effect varchar(512), operation varchar(20))",
    "sqlite": "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, effect TEXT, operation TEXT)",
}


def kind(url: str) -> str:
    return urlsplit(url).scheme


def connect(url: str) -> Any:
    """Opens a connection: postgresql://…, mysql://root@HOST:PORT/DATABASE, sqlite:/FILE."""
    parts = urlsplit(url)
    if parts.scheme == "postgresql":
        return psycopg.connect(url)
    if parts.scheme == "mysql":
        database = parts.path.strip("/")
        return pymysql.connect(host=parts.hostname or "", port=parts.port or 0, user=parts.username, database=database)
    return sqlite3.connect(Path(parts.path), timeout=10)


def sql(connection: Any, statement: str, *values: Any) -> list[Any]:
    """Runs a statement whose parameters are written `%s`."""
    cursor = connection.cursor()
    if isinstance(connection, sqlite3.Connection):
        statement = statement.replace("%s", "?")
    cursor.execute(statement, values)
    rows = list(cursor.fetchall()) if cursor.description else []
    cursor.close()
    return rows


def note(connection: Any, effect: str, operation: str) -> None:
    sql(connection, "INSERT INTO notes (effect, operation) VALUES (%s, %s)", effect, operation)


def notes(connection: Any) -> list[tuple[str, str]]:
    rows = sql(connection, "SELECT effect, operation FROM notes ORDER BY id")
    connection.rollback()
    return [(effect, operation) for effect, operation in rows]
