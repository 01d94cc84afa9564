"""The vectors that all SDKs share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("UNDOUBT_VECTORS", Path(__file__).parents[2] / "vectors"))


def vectors(name: str, *known: str) -> dict[str, Any]:
    """Reads a file of vectors. One that has kinds beyond the known ones fails."""
    read: dict[str, Any] = json.loads((FOLDER / name).read_text())
    unknown = set(read) - set(known)
    assert not unknown, f"{name} has vectors of a kind that is not known here: {unknown}"
    return read


def named(vectors: list[dict[str, Any]]) -> list[Any]:
    """Returns the vectors as pytest's parameters."""
    import pytest

    return [
        pytest.param(vector, id=vector.get("name") or f"{vector.get('call', '')}: {vector['why']}")
        for vector in vectors
    ]
