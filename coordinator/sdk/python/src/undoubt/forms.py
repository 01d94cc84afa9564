"""What the coordinator tells, as dataclasses. Members that a later version adds are in `raw`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Results:
    """What one participant handed back, as `raw`."""

    raw: Mapping[str, Any]

    @property
    def values(self) -> list[str | None]:
        """One value for each piece of work of a key-value participant; empty for others."""
        values: list[str | None] = self.raw.get("values", [])
        return values

    @property
    def calls(self) -> list[Any]:
        """One result for each call of a database's procedure; empty for others."""
        calls: list[Any] = self.raw.get("calls", [])
        return calls

    @property
    def status(self) -> int | None:
        """The status of an HTTP service's answer; None for others."""
        return self._http.get("status")

    @property
    def json(self) -> Any:
        """The body of an HTTP service's answer, if it was JSON; else None."""
        return self._http.get("json")

    @property
    def text(self) -> str | None:
        """The body of an HTTP service's answer, if it was another text; else None."""
        return self._http.get("body")

    @property
    def _http(self) -> dict[str, Any]:
        http: dict[str, Any] = self.raw.get("http", {})
        return http


@dataclass(frozen=True, slots=True)
class Abort:
    """Why a transaction aborted. `worth_retrying`: the same work may succeed under a new id."""

    reason: str
    message: str
    participant: str | None = None
    worth_retrying: bool = False

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        return cls(raw["reason"], raw["message"], raw.get("participant"), bool(raw.get("worth_retrying", False)))


@dataclass(frozen=True, slots=True)
class StuckStep:
    """A step that an operator has to end."""

    step: str
    participant: str
    direction: str
    refusal: str

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        return cls(raw["step"], raw["participant"], raw["direction"], raw["refusal"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction stands. `state`: pending, closed (nested: it ends with its parent), committed or aborted."""

    tx: str
    state: str
    abort: Abort | None
    results: Mapping[str, Results]
    """By participant, or by step of a saga."""
    stuck: StuckStep | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        abort, stuck, results = raw.get("abort"), raw.get("stuck"), raw.get("results") or {}
        return cls(
            tx=raw["tx"],
            state=raw["state"],
            abort=Abort.read(abort) if abort else None,
            results={name: Results(result) for name, result in results.items()},
            stuck=StuckStep.read(stuck) if stuck else None,
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class StepStanding:
    """How a step stands that joined an open saga. `state`: joined (its action is the caller's), running, done or skipped."""

    tx: str
    step: str
    state: str
    results: Results
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        return cls(raw["tx"], raw["step"], raw["state"], Results(raw.get("results") or {}), raw)

    @property
    def json(self) -> Any:
        """The JSON that an HTTP service answered; else None."""
        return self.results.json

    @property
    def values(self) -> list[str | None]:
        """The values that a key-value participant handed back."""
        return self.results.values


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch, or a step of a saga."""

    participant: str
    step: str | None
    state: str | None
    outcome: str | None
    detail: str | None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        return cls(raw["participant"], raw.get("step"), raw.get("state"), raw.get("outcome"), raw.get("detail"))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a transaction; or, of a stream, that `lost` events are missing, that the coordinator `restarted` (what it
    had not told before is not known), or that its connection was `interrupted` and is made anew."""

    tx: str | None
    event: str | None
    at: str | None
    participant: str | None
    detail: str
    count: int
    cursor: str | None = None
    """A stream that is asked for with `after=cursor` goes on behind this event."""
    lost: int = 0
    restarted: bool = False
    interrupted: str | None = None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        return cls(
            raw.get("tx"),
            raw.get("event"),
            raw.get("at"),
            raw.get("participant"),
            raw.get("detail", ""),
            raw.get("count", 0),
            raw.get("cursor"),
            raw.get("lost", 0),
            raw.get("restarted", False),
            raw.get("interrupted"),
        )


@dataclass(frozen=True, slots=True)
class Transaction(Outcome):
    """All that is known of a transaction. Those of a list have neither history nor results."""

    phase: str | None
    begun_at: str
    ended_at: str | None
    damaged: bool
    """Some of it is not as was decided."""
    saga: bool
    parent: str | None
    children: tuple[str, ...]
    branches: tuple[Branch, ...]
    history: tuple[Event, ...]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        known = Outcome.read(raw)
        return cls(
            tx=known.tx,
            state=known.state,
            abort=known.abort,
            results=known.results,
            stuck=known.stuck,
            raw=raw,
            phase=raw.get("phase"),
            begun_at=raw.get("begun_at", ""),
            ended_at=raw.get("ended_at"),
            damaged=bool(raw.get("heuristic_damage", False)),
            saga=bool(raw.get("saga", False)),
            parent=raw.get("parent"),
            children=tuple(raw.get("children", ())),
            branches=tuple(Branch.read(branch) for branch in raw.get("branches", ())),
            history=tuple(Event.read(event) for event in raw.get("history", ())),
        )


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list. `cursor` asks for the next one, if there are `more`."""

    transactions: tuple[Transaction, ...]
    more: bool
    cursor: str | None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Reads it as it is told."""
        listed = tuple(Transaction.read(one) for one in raw["transactions"])
        return cls(listed, bool(raw["more"]), raw.get("cursor"))
