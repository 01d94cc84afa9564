"""Events that a participant has published, and the stream that tells them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from undoubt.calls import FIRST_PAUSE_S, LONGEST_PAUSE_S, Call
from undoubt.errors import Refused, UndoubtError
from undoubt.ids import part_of_path


@dataclass(frozen=True, slots=True)
class Published:
    """An event in a participant's log."""

    id: str
    """The life of the log that published it, and the position, joined by `-`. No other event has it."""
    position: int
    topic: str
    partition: int
    previous: int
    """The position of the event before it in its topic's partition; 0: it is the first."""
    key: str
    type: str
    data: Any
    """JSON where that is its content type; else text, or `0x` and hexadecimal digits."""
    content_type: str
    published_at: str
    correlation: str
    """The id of the transaction, or of the choreographed saga."""
    raw: Mapping[str, Any]

    @property
    def incarnation(self) -> str:
        """The life of the log that published it."""
        return self.id.partition("-")[0]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        return cls(
            raw["id"],
            raw["position"],
            raw["topic"],
            raw["partition"],
            raw["previous"],
            raw["key"],
            raw["type"],
            raw["data"],
            raw["content_type"],
            raw["published_at"],
            raw["correlation"],
            raw,
        )


class LogPutBack(Refused):
    """The participant's log is an older copy than was read before: what was made of the rest is of a past that there is not any more."""


class EventsTrimmed(Refused):
    """Events behind the position are not kept any more."""


def reading(
    participant: str,
    topics: Sequence[str] = (),
    key: str | None = None,
    after: str | None = None,
    until_now: bool = False,
) -> Call[None]:
    """Returns the call that asks for a participant's events."""
    headers = {"accept": "text/event-stream"}
    if after:
        headers["last-event-id"] = after
    query = {"topic": ",".join(topics)} if topics else {}
    if key is not None:
        query["key"] = key
    if until_now:
        query["until_now"] = "true"
    return Call("GET", f"/v1/participants/{part_of_path(participant)}/events", lambda _: None, query, headers)


def told_as(error: UndoubtError) -> UndoubtError:
    """Returns an error of this kind of stream as what it means to a reader."""
    kinds = {"LOG_PUT_BACK": LogPutBack, "EVENTS_TRIMMED": EventsTrimmed}
    kind = kinds.get(error.code)
    return error if kind is None else kind(error.code, error.detail, status=error.status)


@dataclass(slots=True)
class PublishedStream:
    """A stream of published events across its connections."""

    after: str | None
    """The id behind which the next connection goes on."""
    ended: bool = False
    pause: float = FIRST_PAUSE_S
    _id: str = field(default="", init=False)
    _name: str = field(default="", init=False)
    _data: list[str] = field(default_factory=list, init=False)

    def line(self, line: str) -> Published | None:
        """Takes a line, without its end. Returns the event that it completes, if it does."""
        self.pause = FIRST_PAUSE_S
        if line.startswith(":"):
            return None
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self._id = value
            elif name == "event":
                self._name = value
            elif name == "data":
                self._data.append(value)
            return None
        id, name, data = self._id, self._name, "\n".join(self._data)
        self._id, self._name, self._data = "", "", []
        if name == "undoubt.end":
            self.ended = True
            return None
        if name == "undoubt.failed":
            told = json.loads(data)
            code = str(told.get("code", "EVENTS_FAILED"))
            retryable = code not in ("LOG_PUT_BACK", "EVENTS_TRIMMED")
            raise told_as(UndoubtError(code, str(told.get("error", data)), retryable=retryable))
        self.after = id or self.after
        return Published.read(json.loads(data)) if data else None

    def broken(self, chance: float) -> float:
        """Forgets what came in half. Returns for how long to pause before the next connection. `chance`: a random number from 0 to 1."""
        self._id, self._name, self._data = "", "", []
        pause, self.pause = self.pause * (0.5 + 0.5 * chance), min(2 * self.pause, LONGEST_PAUSE_S)
        return pause
