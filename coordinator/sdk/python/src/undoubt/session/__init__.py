"""A participant of your own: guards a resource in two-phase commit and sagas. Needs the extra `undoubt[session]`.

It keeps the promises 1 to 8 and 10 of `session.proto`. The rules (`machine`, `branches`, `steps`, `marks`, `trust`) are pure; `carry`
carries out what they ask, on a store and a resource; `server` talks.
"""

from undoubt.session.resource import Keys, Refused, Resource, Step, StepId, Why
from undoubt.session.server import Participant
from undoubt.session.sqlite import SqliteStore
from undoubt.session.store import Store, StoreFailed

__all__ = [
    "Keys",
    "Participant",
    "Refused",
    "Resource",
    "SqliteStore",
    "Step",
    "StepId",
    "Store",
    "StoreFailed",
    "Why",
]
