"""A subscription of a service: each event of a participant is handled once, in your own database transaction, in which it is also written
how far the subscription has come.

A crash between two events, or in the midst of one, loses nothing and does nothing twice: the handler's work and the position are there
together, or neither is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from undoubt.client import Client
from undoubt.errors import UndoubtError
from undoubt.inbox import Inbox, Lane, Watermark
from undoubt.published import Published

Handle = Callable[[Published, Any], None]
"""What is done about an event, on the connection, whose transaction is open. Leave commit and rollback to the subscription."""

MAX_CONFLICTS = 20
"""How often an event is handled again whose transaction the database rolled back for the sake of another one."""

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 2.0


class Gap(UndoubtError):
    """An event came though the one before it in its partition did not. Nothing was done about it."""


class Moved(UndoubtError):
    """Another process has this subscription, and has gone on with it. Nothing was done by this one."""


def create_table(connection: Any) -> None:
    """Makes the table of positions (`undoubt_inbox`), if it is absent, and commits."""
    Inbox(connection, "", "").create()


class Subscription:
    """The subscription of a service to the events of one participant.

    `name`: its own, under which its positions are kept; two subscriptions of one database have two names. `topics`: those that it reads; else
    all. One that is added later is read from where the subscription is then. `after`: where one begins that has read nothing yet, as the id of
    an event or a position; else with the first event there is.
    """

    def __init__(
        self, client: Client, participant: str, name: str, *, topics: Sequence[str] = (), after: str | None = None
    ) -> None:
        self._client = client
        self._participant = participant
        self._name = name
        self._topics = tuple(topics)
        self._after = after

    def run(self, connection: Any, handle: Handle, *, until_now: bool = False) -> int:
        """Hands each event to `handle`, in their order, each in a transaction of `connection` that it begins and ends. Goes on with those that
        come; with `until_now` it returns when all that there are now are handled. Returns how many it has handled.

        `connection`: of psycopg, PyMySQL or sqlite3, without an open transaction; nobody else uses it meanwhile.

        What `handle` raises rolls the transaction back and is raised: the same event is the first that the next run is given. So an event that
        is never to be handled holds up what comes behind it until the handler lets it pass; what cannot be done it can write down, and return.
        A transaction that the database rolls back for the sake of another one is done again. Raises `LogPutBack`, `EventsTrimmed`, `Gap` and
        `Moved`, after which somebody has to look, and `Unreachable` once the gateway does not answer for longer than the client waits.
        """
        inbox = Inbox(connection, self._name, self._participant)
        lanes = inbox.found()
        last = max(lanes.values(), key=lambda watermark: watermark.position, default=None)
        begins = self._after if last is None else last.id
        floor = 0 if begins is None else int(begins.rpartition("-")[2])
        handled = 0
        for event in self._client.published(self._participant, topics=self._topics, after=begins, until_now=until_now):
            lane = Lane(event.topic, event.partition)
            before = lanes.get(lane)
            if before is not None and event.position <= before.position:
                continue
            expected = floor if before is None else before.position
            if event.previous > expected or (before is not None and event.previous != before.position):
                detail = (
                    f"event {event.id} follows on {event.previous} in partition {event.partition} of {event.topic}, and "
                    f"{expected} was the last one here"
                )
                raise Gap("GAP", detail)
            now = Watermark.of(event)
            self._handle(inbox, connection, (lane, before, now), event, handle)
            lanes[lane] = now
            handled += 1
        return handled

    def _handle(
        self,
        inbox: Inbox,
        connection: Any,
        step: tuple[Lane, Watermark | None, Watermark],
        event: Published,
        handle: Handle,
    ) -> None:
        pause = FIRST_PAUSE_S
        for attempt in range(1, MAX_CONFLICTS + 1):
            try:
                inbox.begin()
                if not inbox.move(*step):
                    detail = (
                        f"subscription {self._name} is not where it was left: another process has gone on from there"
                    )
                    raise Moved("MOVED", detail)
                handle(event, connection)
                inbox.commit()
                return
            except BaseException as error:
                inbox.roll_back()
                if attempt == MAX_CONFLICTS or not inbox.conflicted(error):
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE_S)
