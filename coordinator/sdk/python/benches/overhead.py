"""Measures the processor's time that this package adds to a request: `python benches/overhead.py`.

Client: a step that is run through `Client` (and `AsyncClient`) beside a bare `httpx` request of the same bytes, to a server in another
process. Barrier: a FastAPI service whose handler is behind the barrier, beside one that looks its key up by hand in the same transaction;
over SQLite, a new effect in each request. Rounds alternate; the figures are medians. Exits with 1 where more than a tenth is added.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Header
from pydantic import BaseModel

from undoubt import AsyncClient, Client, post
from undoubt.barrier import Call, create_table
from undoubt.barrier.asgi import Handlers

ROUNDS = 7
CALLS = 300
"""In each round, of each kind."""
ALLOWED = 0.10
ATTEMPTS = 3
MEMORY = "/dev/shm"
"""Where databases are kept if it is there, so that a slow disk disturbs nobody."""

ANSWER = json.dumps(
    {"tx": "t", "step": "seat", "state": "done", "results": {"http": {"status": 200, "json": {"price": 30}}}}
).encode()
STEP: dict[str, Any] = {
    "at": "http",
    "do": post("http://127.0.0.1:9001/things", {"thing": "7A"}),
    "undo": post("http://127.0.0.1:9001/things/cancel"),
}
BODY = {"at": "http", "do": [STEP["do"]], "undo": [STEP["undo"]]}


class Coordinator(BaseHTTPRequestHandler):
    """Answers each request with the same."""

    protocol_version = "HTTP/1.1"
    # Head and body go in one piece: none waits for the other's acknowledgement.
    wbufsize = 65_536

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: Any) -> None:
        pass


class Thing(BaseModel):
    thing: str


def service(file: str, guarded: bool) -> FastAPI:
    """Returns a service that takes things."""
    app = FastAPI()
    handlers = Handlers(lambda: sqlite3.connect(file))
    if guarded:

        @app.post("/things")
        @handlers.action
        def take(thing: Thing, connection: sqlite3.Connection, call: Call) -> dict[str, int]:
            connection.execute("INSERT INTO things VALUES (?, ?)", [thing.thing, call.effect])
            return {"price": 30}

    else:

        @app.post("/things")
        def take_by_hand(
            thing: Thing, undoubt_effect: str = Header(), undoubt_operation: str = Header()
        ) -> dict[str, int]:
            connection = sqlite3.connect(file)
            try:
                connection.execute("BEGIN IMMEDIATE")
                known = connection.execute("SELECT action_body FROM undoubt_barrier WHERE effect = ?", [undoubt_effect])
                found = known.fetchone()
                if found:
                    answer: dict[str, int] = json.loads(found[0])
                    return answer
                connection.execute("INSERT INTO things VALUES (?, ?)", [thing.thing, undoubt_effect])
                values = [undoubt_effect, 200, "application/json", json.dumps({"price": 30})]
                columns = "effect, action_status, action_type, action_body"
                connection.execute(f"INSERT INTO undoubt_barrier ({columns}) VALUES (?, ?, ?, ?)", values)
                connection.commit()
                return {"price": 30}
            finally:
                connection.close()

    return app


def serve_coordinator(port: int) -> None:
    ThreadingHTTPServer(("127.0.0.1", port), Coordinator).serve_forever()


def serve_service(port: int, file: str, guarded: bool) -> None:
    uvicorn.run(service(file, guarded), host="127.0.0.1", port=port, log_level="error", access_log=False)


def started(target: Callable[..., None], *args: Any) -> tuple[multiprocessing.Process, str]:
    """Starts a server in a process of its own, and waits until it listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    process = multiprocessing.Process(target=target, args=(port, *args), daemon=True)
    process.start()
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, f"http://127.0.0.1:{port}"
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def spent(pid: int) -> float:
    """Returns the seconds of processor's time that a process has used."""
    # Linux makes the number of a process's clock from its id so.
    return time.clock_gettime((~pid << 3) | 2)


def microseconds(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return (time.process_time() - before) / CALLS * 1e6


def of_client(url: str) -> tuple[list[float], list[float]]:
    bare, ours = httpx.Client(), Client(url).open("t")

    def by_hand() -> None:
        for _ in range(CALLS):
            bare.post(f"{url}/v1/transactions/t/steps/seat/run", json=BODY).json()

    def by_client() -> None:
        for _ in range(CALLS):
            ours.run("seat", **STEP)

    return alternated(lambda: microseconds(by_hand), lambda: microseconds(by_client))


def of_async_client(url: str) -> tuple[list[float], list[float]]:
    async def both() -> tuple[list[float], list[float]]:
        plain: list[float] = []
        with_us: list[float] = []
        async with httpx.AsyncClient() as bare, AsyncClient(url) as client:
            ours = client.open("t")
            for _ in range(ROUNDS + 1):
                before = time.process_time()
                for _ in range(CALLS):
                    (await bare.post(f"{url}/v1/transactions/t/steps/seat/run", json=BODY)).json()
                plain.append((time.process_time() - before) / CALLS * 1e6)
                before = time.process_time()
                for _ in range(CALLS):
                    await ours.run("seat", **STEP)
                with_us.append((time.process_time() - before) / CALLS * 1e6)
        return plain[1:], with_us[1:]

    return asyncio.run(both())


def of_barrier() -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as folder:
        return of_services(folder)


def of_services(folder: str) -> tuple[list[float], list[float]]:
    services = []
    for guarded in (False, True):
        file = f"{folder}/{guarded}.db"
        connection = sqlite3.connect(file)
        create_table(connection)
        connection.execute("CREATE TABLE things (thing TEXT, effect TEXT)")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        services.append(started(serve_service, file, guarded))
    http, number = httpx.Client(timeout=30), 0

    def measured(process: multiprocessing.Process, url: str) -> float:
        nonlocal number
        pid = process.pid or 0
        before = spent(pid)
        for _ in range(CALLS):
            number += 1
            headers = {
                "undoubt-effect": f"15f7b3b49edecb3ac3fa3932f4649074/t/1.1/{number}",
                "undoubt-operation": "action",
            }
            http.post(f"{url}/things", json={"thing": "7A"}, headers=headers).raise_for_status()
        return (spent(pid) - before) / CALLS * 1e6

    figures = alternated(*((lambda one=one: measured(*one)) for one in services))
    for process, _ in services:
        process.kill()
    return figures


def alternated(one: Callable[[], float], other: Callable[[], float]) -> tuple[list[float], list[float]]:
    one(), other()
    pairs = [(one(), other()) for _ in range(ROUNDS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def measured(measure: Callable[[], tuple[list[float], list[float]]], name: str) -> bool:
    """Prints what is added. Returns false if it is more than is allowed, also where that is measured anew: neighbours only add to it."""
    for attempt in range(ATTEMPTS):
        bare, ours = measure()
        added = statistics.median(our / one for one, our in zip(bare, ours, strict=True)) - 1
        again = "" if added <= ALLOWED or attempt + 1 == ATTEMPTS else ", once more"
        print(
            f"{name}: {statistics.median(bare):.0f} us bare, {statistics.median(ours):.0f} us with it: {added:+.1%}{again}"
        )
        if not again:
            return added <= ALLOWED
    return False


def main() -> int:
    coordinator, url = started(serve_coordinator)
    kinds: list[tuple[str, Callable[[], tuple[list[float], list[float]]]]] = [
        ("client", lambda: of_client(url)),
        ("asyncio client", lambda: of_async_client(url)),
        ("barrier, whole request", of_barrier),
    ]
    kept = [measured(measure, name) for name, measure in kinds]
    coordinator.kill()
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
