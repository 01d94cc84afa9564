"""A psycopg session of one's own as a part of a transaction, beside a real participant and a coordinator."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from undoubt import Client, new_id
from undoubt.enlist import AlreadyCommitted, AlreadyPrepared, EndedByHand, Enlisted, RolledBack

from databases import Postgres
from processes import Coordinator, free_port, program


class Shop:
    """A database `shop` with a participant `orders` in front, and a coordinator that has it and a store."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        with psycopg.connect(server.url, autocommit=True) as admin:
            for statement in (
                "CREATE ROLE undoubt LOGIN",
                "CREATE ROLE orders LOGIN",
                "GRANT undoubt TO orders",
                "CREATE DATABASE shop OWNER undoubt",
            ):
                admin.execute(statement)
        at = f"127.0.0.1:{server.port}/shop"
        with psycopg.connect(f"postgresql://postgres@{at}") as admin:
            admin.execute("CREATE TABLE orders (id text PRIMARY KEY, amount bigint)")
            admin.execute("GRANT INSERT, SELECT ON orders TO orders")
        port, config = free_port(), folder / "orders.toml"
        resource = f'kind = "postgresql"\nurl = "postgresql://undoubt@{at}"\nenlist_grace_ms = 1500'
        config.write_text(f'name = "orders"\nlisten = "127.0.0.1:{port}"\n\n[resource]\n{resource}\n')
        subprocess.run([program("undoubt-participant"), "init", "--config", config], check=True, capture_output=True)
        log = (folder / "participant.log").open("wb")
        command = [program("undoubt-participant"), "--config", str(config)]
        self.participant = subprocess.Popen(command, stdout=log, stderr=log)
        self.coordinator = Coordinator(folder, [], {"orders": f"http://127.0.0.1:{port}"})
        self.url = f"postgresql://orders@{at}"

    def end(self) -> None:
        self.coordinator.kill()
        self.participant.kill()
        self.participant.wait()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"), postgres)
    yield shop
    shop.end()


@pytest.fixture
def client(shop: Shop) -> Iterator[Client]:
    with Client(shop.coordinator.url) as client:
        yield client


@pytest.fixture(params=[False, True], ids=["", "autocommit"])
def session(shop: Shop, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(shop.url, autocommit=request.param) as session:
        yield session


def enlisted(session: psycopg.Connection[Any], client: Client, tx: str) -> Enlisted:
    return Enlisted(session, tx, coordinator=client.coordinator_id(), role="undoubt")


def ordered(session: psycopg.Connection[Any], tx: str, within: float = 0.0) -> bool:
    """Returns whether the order is there. `within`: seconds in which it comes to be, for branches end soon after the decision."""
    until = time.monotonic() + within
    while True:
        found = session.execute("SELECT 1 FROM orders WHERE id = %s", [tx]).fetchone()
        session.rollback()
        if found is not None or time.monotonic() > until:
            return found is not None
        time.sleep(0.02)


INSERT = "INSERT INTO orders VALUES (%s, 3)"


def test_it_commits_with_the_rest(client: Client, session: psycopg.Connection[Any]) -> None:
    tx = new_id()
    with enlisted(session, client, tx) as own:
        session.execute(INSERT, [tx])
    assert not ordered(session, tx)
    outcome = client.submit({"id": tx, "branches": {"orders": own.work, "store": [f"put order/{tx} 3"]}})
    assert outcome.state == "committed"
    assert ordered(session, tx, within=5)
    with pytest.raises(AlreadyCommitted), enlisted(session, client, tx):
        raise AssertionError("the block is not entered")


def test_it_aborts_with_the_rest(client: Client, session: psycopg.Connection[Any]) -> None:
    tx = new_id()
    with enlisted(session, client, tx) as own:
        session.execute(INSERT, [tx])
    with pytest.raises(AlreadyPrepared), enlisted(session, client, tx):
        raise AssertionError("the block is not entered")
    outcome = client.submit({"id": tx, "branches": {"orders": own.work, "store": [f"add {tx} -1 floor=0"]}})
    assert (outcome.state, outcome.abort and outcome.abort.participant) == ("aborted", "store")
    assert not ordered(session, tx)


def test_it_joins_an_open_transaction(client: Client, session: psycopg.Connection[Any]) -> None:
    with client.saga(completions="two-phase", deadline="30s") as saga:
        with enlisted(session, client, saga.id) as own:
            session.execute(INSERT, [saga.id])
        saga.join("order", at="orders", complete=own.work)
        saga.join("stock", at="store", complete=f"put order/{saga.id} 3")
    assert ordered(session, saga.id, within=5)


def test_an_exception_leaves_nothing(client: Client, session: psycopg.Connection[Any]) -> None:
    tx = new_id()
    with pytest.raises(ZeroDivisionError), enlisted(session, client, tx):
        session.execute(INSERT, [tx])
        _ = 1 // 0
    with pytest.raises(psycopg.errors.UniqueViolation), enlisted(session, client, tx):
        session.execute(INSERT, [tx])
        session.execute(INSERT, [tx])
    with pytest.raises((RolledBack, psycopg.errors.InFailedSqlTransaction)), enlisted(session, client, tx):
        session.execute(INSERT, [tx])
        with pytest.raises(psycopg.errors.UniqueViolation):
            session.execute(INSERT, [tx])
    with pytest.raises(EndedByHand), enlisted(session, client, tx):
        session.rollback()
    assert not ordered(session, tx)


def test_what_is_missing_is_told(client: Client, session: psycopg.Connection[Any]) -> None:
    with (
        pytest.raises(psycopg.errors.InvalidParameterValue) as missing,
        Enlisted(session, new_id(), coordinator=client.coordinator_id(), role="nobody-there"),
    ):
        raise AssertionError("the block is not entered")
    assert "GRANT undoubt" in missing.value.__notes__[0]
