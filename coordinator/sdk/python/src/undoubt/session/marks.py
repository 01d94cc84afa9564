"""What is over between a coordinator and a participant (promise 5 of session.proto). Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LowWaterMark:
    """The attempt number below which all is over, save what is still open."""

    below: int = 0
    still_open: frozenset[int] = frozenset()

    def is_over(self, attempt_number: int) -> bool:
        """Returns true if the attempt is over."""
        return attempt_number < self.below and attempt_number not in self.still_open

    def joined(self, told: LowWaterMark) -> LowWaterMark:
        """Returns what is over by either. What is over stays over, whatever is told later."""
        below = max(self.below, told.below)
        named = self.still_open | told.still_open
        still_open = (one for one in named if one < below and not self.is_over(one) and not told.is_over(one))
        return LowWaterMark(below, frozenset(still_open))


NOTHING_IS_OVER = LowWaterMark()
