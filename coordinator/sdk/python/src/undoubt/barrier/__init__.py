"""A barrier before your handlers: each effect once or not at all, whatever is repeated, lost, or comes in another order."""

from undoubt.barrier.calls import Call, InProgress, Operation, Refuse, Reply
from undoubt.barrier.dialects import Ended
from undoubt.barrier.run import TooLate, async_barrier, async_record, barrier, create_table, purge, record

__all__ = [
    "Call",
    "Ended",
    "InProgress",
    "Operation",
    "Refuse",
    "Reply",
    "TooLate",
    "async_barrier",
    "async_record",
    "barrier",
    "create_table",
    "purge",
    "record",
]
