"""Ids of transactions."""

from __future__ import annotations

import os
import time
from urllib.parse import quote


def new_id() -> str:
    """Returns a new id: a UUID of version 7, so that ids sort by the time at which they were drawn."""
    milliseconds = time.time_ns() // 1_000_000
    drawn = int.from_bytes(os.urandom(10))
    version_and_random = 0x7000 | (drawn >> 68)
    variant_and_random = 0x8000_0000_0000_0000 | (drawn & 0x3FFF_FFFF_FFFF_FFFF)
    number = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | version_and_random << 64 | variant_and_random
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def encoded(tx: str) -> str:
    """Returns an id as one part of a path, and as the header `Undoubt-Transaction` has it."""
    return quote(tx, safe="-._~")


def part_of_path(tx: str) -> str:
    """Returns an id as one part of a path that nothing on the way takes for a folder."""
    return f"0x{tx.encode().hex()}" if tx in (".", "..") else encoded(tx)
