"""Streams of events (server-sent events). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from undoubt.calls import FIRST_PAUSE_S, LONGEST_PAUSE_S
from undoubt.errors import UndoubtError
from undoubt.forms import Event

SILENCE_TIMEOUT_S = 45.0
"""A stream that says nothing for so long is dead: the gateway gives a sign of life every 15 s."""


@dataclass(slots=True)
class Stream:
    """A stream of events across its connections."""

    tx: str | None
    after: str | None
    """The cursor behind which the next connection goes on."""
    ended: bool = False
    pause: float = FIRST_PAUSE_S
    _name: str = field(default="", init=False)
    _data: list[str] = field(default_factory=list, init=False)

    def line(self, line: str) -> Event | None:
        """Takes a line, without its end. Returns the event that it completes, if it does."""
        self.pause = FIRST_PAUSE_S
        if line.startswith(":"):
            return None
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._name = value
            elif name == "data":
                self._data.append(value)
            return None
        name, data = self._name, "\n".join(self._data)
        self._name, self._data = "", []
        if name == "end":
            self.ended = True
            return None
        if name == "failed":
            raise UndoubtError("WATCH_FAILED", json.loads(data).get("error", data), retryable=True, tx=self.tx)
        if not data:
            return None
        event = Event.read(json.loads(data))
        self.after = event.cursor or self.after
        return event

    def broken(self, chance: float) -> float:
        """Forgets what came in half. Returns for how long to pause before the next connection. `chance`: a random number from 0 to 1."""
        self._name, self._data = "", []
        pause, self.pause = self.pause * (0.5 + 0.5 * chance), min(2 * self.pause, LONGEST_PAUSE_S)
        return pause
