"""Sagas and two-phase commit over your own services: the client of an Undoubt coordinator. Participants: `undoubt.barrier`."""

from undoubt.aio import AsyncClient, AsyncOpenTransaction, AsyncSaga
from undoubt.client import Client
from undoubt.errors import (
    Aborted,
    Committed,
    Damaged,
    NotAsWanted,
    NotFound,
    OutcomeUnknown,
    Refused,
    StepRefused,
    StepUnanswered,
    Stuck,
    UndoubtError,
    Unreachable,
)
from undoubt.forms import Abort, Branch, Event, Outcome, Page, Results, StepStanding, StuckStep, Transaction
from undoubt.ids import new_id
from undoubt.published import EventsTrimmed, LogPutBack, Published
from undoubt.saga import OpenTransaction, Saga
from undoubt.work import http, post

__all__ = [
    "Abort",
    "Aborted",
    "AsyncClient",
    "AsyncOpenTransaction",
    "AsyncSaga",
    "Branch",
    "Client",
    "Committed",
    "Damaged",
    "Event",
    "EventsTrimmed",
    "LogPutBack",
    "NotAsWanted",
    "NotFound",
    "OpenTransaction",
    "Outcome",
    "OutcomeUnknown",
    "Page",
    "Published",
    "Refused",
    "Results",
    "Saga",
    "StepRefused",
    "StepStanding",
    "StepUnanswered",
    "Stuck",
    "StuckStep",
    "Transaction",
    "UndoubtError",
    "Unreachable",
    "http",
    "new_id",
    "post",
]
