"""A trip: a seat, a room and a car, or nothing of it: `python trip.py SEAT ROOM CAR`."""

import os
import sys
from typing import Any

from undoubt import Client, StepRefused, post

GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:7480")
FLIGHTS = os.environ.get("FLIGHTS", "http://127.0.0.1:9001")
HOTELS = os.environ.get("HOTELS", "http://127.0.0.1:9002")
CARS = os.environ.get("CARS", "http://127.0.0.1:9003")


def book(client: Client, seat: str, room: str, car: str, tx: str | None = None) -> tuple[str, int]:
    """Books all three and returns the saga's id and the price; raises what the SDK raises if one cannot be had."""
    price = 0
    with client.saga(tx, deadline="2m") as trip:
        steps: list[tuple[str, str, str, dict[str, Any]]] = [
            ("seat", f"{FLIGHTS}/seats", f"{FLIGHTS}/seats/cancel", {"seat": seat}),
            ("room", f"{HOTELS}/rooms", f"{HOTELS}/rooms", {"room": room}),
            ("car", f"{CARS}/cars", f"{CARS}/cars", {"car": car}),
        ]
        for name, do, undo, wanted in steps:
            done = trip.run(name, at="http", do=post(do, wanted), undo=post(undo, wanted), attempts=60)
            price += done.json["price"]
    return trip.id, price


if __name__ == "__main__":
    with Client(GATEWAY) as client:
        try:
            print("{} is booked for {}".format(*book(client, *sys.argv[1:4])))
        except StepRefused as refused:
            print(f"{refused.tx} is undone: {refused.detail}")
