"""Work for participants, and durations, as the coordinator reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

Duration = str | int | float | timedelta
"""Seconds, a `timedelta`, or the coordinator's own text: `500ms`, `10s`, `1m30s`."""

Piece = str | Mapping[str, Any]
"""One piece of work: `add alice -10 floor=0`, or an object like that of `post`."""

Work = Piece | Sequence[Piece]
"""Work for a participant: pieces, or one of them; or `{"raw": "0x…"}` for one that has a language of its own."""

_UNSET: Any = object()
_SPANS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def http(
    method: str,
    url: str,
    *,
    json: Any = _UNSET,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    take: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns a request to a service. `take` names members of what earlier steps answered, `{"price": "seat.0.price"}`: `{price}` stands for
    it in the URL, `"{price}"` in the JSON."""
    request: dict[str, Any] = {"method": method, "url": url}
    if json is not _UNSET:
        request["json"] = json
    if body is not None:
        request["body"] = body
    if headers is not None:
        request["headers"] = dict(headers)
    if take is not None:
        request["from"] = dict(take)
    return {"http": request}


def post(
    url: str, json: Any = _UNSET, *, headers: Mapping[str, str] | None = None, take: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns a POST to a service, as `http` does."""
    return http("POST", url, json=json, headers=headers, take=take)


def pieces(work: Work) -> Any:
    """Returns work in the one form that is sent: a list, or an object with `raw`."""
    if isinstance(work, str):
        return [work]
    if isinstance(work, Mapping):
        return work if "raw" in work else [work]
    return list(work)


def duration(given: Duration) -> str:
    """Returns a duration as the coordinator reads it. Fractions of a millisecond are lost."""
    if isinstance(given, str):
        return given
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    return f"{round(seconds * 1000)}ms"


def seconds(given: Duration, otherwise: float) -> float:
    """Returns the length of a duration; `otherwise` for a text that only the coordinator can read."""
    if isinstance(given, timedelta):
        return given.total_seconds()
    if not isinstance(given, str):
        return float(given)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)(?![a-z])", given)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)(?![a-z])|\s", "", given):
        return otherwise
    return sum(float(number) * _SPANS[unit] for number, unit in parts)
