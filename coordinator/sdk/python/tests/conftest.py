"""Fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from undoubt import Client
from undoubt.barrier import create_table

from databases import MariaDb, Postgres
from processes import Coordinator, Proxy, Service
from stores import NOTES, connect, kind, sql


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture(scope="session")
def coordinator(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Coordinator]:
    folder: Path = tmp_path_factory.mktemp("coordinator")
    coordinator = Coordinator(folder, [service.url])
    yield coordinator
    coordinator.kill()


@pytest.fixture
def proxy(coordinator: Coordinator) -> Iterator[Proxy]:
    proxy = Proxy(coordinator.port)
    yield proxy
    proxy.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.url) as client:
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.end()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    yield server
    server.end()


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns the URL of a database with an empty table of the barrier, and an empty one of notes."""
    match request.param:
        case "sqlite":
            url = f"sqlite:{tmp_path}/store.db"
        case "postgresql":
            url = request.getfixturevalue("postgres").url
        case _:
            url = f"mysql://root@127.0.0.1:{request.getfixturevalue('mariadb').port}/services"
    connection = connect(url)
    create_table(connection)
    sql(connection, NOTES[kind(url)])
    for table in ("undoubt_barrier", "notes"):
        sql(connection, f"DELETE FROM {table}")
    connection.commit()
    connection.close()
    return url
