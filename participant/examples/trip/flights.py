"""Seats of flights, in Python with FastAPI and a SQLite: `FLIGHTS_DB=flights.db uvicorn flights:app --port 9001`."""

import os
import sqlite3
from contextlib import closing

from fastapi import FastAPI
from pydantic import BaseModel

from undoubt.barrier import Call, Refuse, create_table
from undoubt.barrier.asgi import Handlers

FILE = os.environ["FLIGHTS_DB"]
app, handlers = FastAPI(), Handlers(lambda: sqlite3.connect(FILE))

with closing(sqlite3.connect(FILE)) as db:
    create_table(db)
    db.execute("CREATE TABLE IF NOT EXISTS seats (seat TEXT PRIMARY KEY, effect TEXT, transaction_id TEXT)")


class Wanted(BaseModel):
    seat: str


@app.post("/seats")
@handlers.action
def book(wanted: Wanted, connection: sqlite3.Connection, call: Call) -> dict[str, int]:
    if connection.execute("SELECT 1 FROM seats WHERE seat = ?", [wanted.seat]).fetchone():
        raise Refuse(f"seat {wanted.seat} is taken")
    connection.execute("INSERT INTO seats VALUES (?, ?, ?)", [wanted.seat, call.effect, call.transaction])
    return {"price": 120}


@app.post("/seats/cancel")
@handlers.compensation
def cancel(connection: sqlite3.Connection, call: Call) -> None:
    connection.execute("DELETE FROM seats WHERE effect = ?", [call.effect])


@app.get("/seats")
def seats() -> dict[str, str]:
    with closing(sqlite3.connect(FILE)) as db:
        return dict(db.execute("SELECT seat, transaction_id FROM seats ORDER BY seat").fetchall())
