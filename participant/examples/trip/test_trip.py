"""Trips over three services in three languages, while all of them and the coordinator are killed; then each database is asked."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import trip

from undoubt import Client, StepRefused

from databases import MariaDb, Postgres
from processes import Coordinator, free_port, program

HERE = Path(__file__).parent
TYPESCRIPT = HERE.parents[2] / "coordinator/sdk/typescript"
START_TIMEOUT_S = 30.0
TRIPS = 48
KILLS = int(os.environ.get("KILLS", "16"))
TAKEN = 3
"""Each trip with a number that this divides wants the room of another."""


class Service:
    """A process of a service, which can be killed and started again."""

    def __init__(self, port: int, shown: str, command: list[str | Path], folder: Path, **env: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._shown, self._command, self._folder = shown, [str(word) for word in command], folder
        self._env = {**os.environ, **env}
        self.start()

    def start(self) -> None:
        log = (self._folder / f"{self._shown[1:]}.log").open("ab")
        self._process = subprocess.Popen(self._command, cwd=self._folder, env=self._env, stdout=log, stderr=log)
        until = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.05)

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + self._shown, timeout=2).status_code == 200
        return False

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def log(self) -> str:
        return (self._folder / f"{self._shown[1:]}.log").read_text()

    def taken(self) -> dict[str, str]:
        """Returns what its database has: things, and by which transaction each was taken."""
        told: dict[str, str] = httpx.get(self.url + self._shown, timeout=10).raise_for_status().json()
        return told


def flights(folder: Path) -> Service:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "flights:app", "--app-dir", HERE, "--port", str(port)]
    return Service(port, "/seats", command, folder, FLIGHTS_DB=str(folder / "flights.db"))


def hotels(folder: Path, postgres: Postgres) -> Service:
    modules = folder / "node_modules"
    modules.mkdir()
    (modules / "undoubt").symlink_to(TYPESCRIPT)
    for name in ("@types", "express", "pg"):
        (modules / name).symlink_to(TYPESCRIPT / "node_modules" / name)
    shutil.copy(HERE / "hotels.ts", folder)
    (folder / "package.json").write_text('{ "type": "module" }\n')
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "--types", "node"]
    subprocess.run([TYPESCRIPT / "node_modules/.bin/tsc", *options, "hotels.ts"], cwd=folder, check=True)
    port = free_port()
    at = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
    return Service(port, "/rooms", ["node", "hotels.js", str(port)], folder, **at)


def cars(folder: Path, mariadb: MariaDb) -> Service:
    port = free_port()
    program = os.environ.get("CARS_PROGRAM")
    assert program, "set CARS_PROGRAM to the built example, as interop.sh does"
    return Service(port, "/cars", [program, str(port), f"mysql://root@127.0.0.1:{mariadb.port}/services"], folder)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.end()


@pytest.fixture
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    yield server
    server.end()


@pytest.fixture
def services(tmp_path: Path, postgres: Postgres, mariadb: MariaDb) -> Iterator[list[Service]]:
    all = [flights(tmp_path), hotels(tmp_path, postgres), cars(tmp_path, mariadb)]
    yield all
    for service in all:
        service.kill()


@pytest.fixture
def coordinator(tmp_path: Path, services: list[Service]) -> Iterator[Coordinator]:
    coordinator = Coordinator(tmp_path, [service.url for service in services])
    yield coordinator
    coordinator.kill()


def test_each_service_keeps_the_contract(services: list[Service]) -> None:
    flights, hotels, cars = services
    handlers = [
        (flights, '/seats {"seat": "{n}"}', "/seats/cancel", "/seats"),
        (hotels, '/rooms {"room": "{n}"}', "/rooms", "/rooms"),
        (cars, '/cars {"car": "{n}"}', '/cars {"car": "{n}"}', "/cars"),
    ]
    for service, act, undo, look in handlers:
        asked = ["--act", f"post {act}", "--undo", f"post {undo}", "--look", f"get {look}"]
        told = subprocess.run(
            [program("undoubt"), "conformance", service.url, *asked], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stdout + told.stderr
        assert "11 kept, 0 broken" in told.stdout


def wanted(number: int) -> tuple[str, str, str]:
    room = number - 1 if number % TAKEN == 0 and number else number
    return f"s{number}", f"r{room}", f"c{number}"


def test_each_trip_is_whole_or_nothing(services: list[Service], coordinator: Coordinator) -> None:
    trip.FLIGHTS, trip.HOTELS, trip.CARS = (service.url for service in services)
    done, refused = set(), set()

    def book(number: int) -> None:
        tx = f"trip-{number}"
        with Client(coordinator.url, timeout=120) as client:
            try:
                assert trip.book(client, *wanted(number), tx) == (tx, 240)
                done.add(tx)
            except StepRefused:
                refused.add(tx)

    def kill_until(over: threading.Event) -> int:
        victims = itertools.islice(itertools.cycle([*services, coordinator]), KILLS)
        for number, victim in enumerate(victims):
            if over.wait(random.uniform(0.05, 0.5)):
                return number
            victim.kill()
            victim.start()
        return KILLS

    over = threading.Event()
    with ThreadPoolExecutor(9) as threads:
        killing = threads.submit(kill_until, over)
        trips = [threads.submit(book, number) for number in range(TRIPS)]
        for booked in trips:
            booked.result()
        over.set()
        assert killing.result() >= min(KILLS, 4)
    assert len(done | refused) == TRIPS
    assert not done & refused
    # Whichever of two came first has the room.
    assert refused
    with Client(coordinator.url) as client:
        states = {tx: client.get(tx, wait=60).state for tx in done | refused}
    assert states == {tx: "committed" if tx in done else "aborted" for tx in done | refused}
    for service in services:
        taken = service.taken()
        assert sorted(taken.values()) == sorted(done), service.log()
        assert all(thing in wanted(int(tx.removeprefix("trip-"))) for thing, tx in taken.items())
