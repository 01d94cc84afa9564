"""What handlers of ASGI and of WSGI have in common."""

from __future__ import annotations

import abc
import contextlib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from undoubt.barrier.calls import Call, Operation, Reply, read
from undoubt.barrier.dialects import LOCK_TIMEOUT_S

Function = Callable[..., Any]
"""A handler. Behind the barrier it has other parameters and another result than it had."""

Connect = Callable[[], Any]
"""Opens a connection, or borrows one: returns it, or a context manager that does (`pool.connection`)."""

DOES: Mapping[str, Collection[Operation]] = {
    "action": (Operation.ACTION, Operation.TRY),
    "completion": (Operation.COMPLETION, Operation.CONFIRM),
    "compensation": (Operation.COMPENSATION, Operation.CANCEL),
    "handler": tuple(operation for operation in Operation if operation is not Operation.CHECK_BACK),
    "check_back": (Operation.CHECK_BACK,),
}
"""What each decorator is for."""

INJECTED = ("connection", "call")
"""Parameters that a handler is given by their names, if it has them."""


class Handlers(abc.ABC):
    """Makes handlers. `connect` opens or borrows a connection for each call: `pool.connection`, or `lambda: sqlite3.connect(…)`.
    `lock_timeout`: seconds for which another call with the same effect is waited for."""

    def __init__(self, connect: Connect, *, lock_timeout: float = LOCK_TIMEOUT_S) -> None:
        self._connect = connect
        self._lock_timeout = lock_timeout

    def action(self, function: Function) -> Function:
        """Makes a handler of actions, and of tries."""
        return self._guarded(function, DOES["action"], always=False)

    def completion(self, function: Function) -> Function:
        """Makes a handler of completions, and of confirms."""
        return self._guarded(function, DOES["completion"], always=False)

    def compensation(self, function: Function) -> Function:
        """Makes a handler of compensations, and of cancels. It runs only where the action did."""
        return self._guarded(function, DOES["compensation"], always=False)

    def compensation_always(self, function: Function) -> Function:
        """Makes a handler of compensations that runs though no action was heard: for steps that joined without one."""
        return self._guarded(function, DOES["compensation"], always=True)

    def handler(self, function: Function) -> Function:
        """Makes a handler of all of these. `call.operation` tells which."""
        return self._guarded(function, DOES["handler"], always=False)

    def check_back(self, function: Function) -> Function:
        """Makes a handler of check-backs: it is answered from what `record` wrote, and the function never runs."""
        return self._guarded(function, DOES["check_back"], always=False)

    @abc.abstractmethod
    def _guarded(self, function: Function, does: Collection[Operation], always: bool) -> Function:
        """Puts the barrier before a function that does these operations."""


def asked(headers: Mapping[str, str], does: Collection[Operation]) -> Call | Reply:
    """Reads what is asked; the answer to it if it is not what the handler does."""
    call = read(headers)
    if isinstance(call, Call) and call.operation not in does:
        words = ", ".join(operation.value for operation in does)
        detail = (
            f"this address does {words}, and was asked for {call.operation.value}; correct the URL in the transaction"
        )
        return Reply.problem(400, "WRONG_OPERATION", "This address does something else.", detail)
    return call


def injecting(function: Function) -> Callable[[Any, Call], dict[str, Any]]:
    """Returns what gives a handler the parameters that it has besides its own arguments."""
    wanted = [name for name in INJECTED if name in inspect.signature(function).parameters]

    def injected(connection: Any, call: Call) -> dict[str, Any]:
        given = {"connection": connection, "call": call}
        return {name: given[name] for name in wanted}

    return injected


def connected(connect: Connect) -> contextlib.AbstractContextManager[Any]:
    """Returns a connection for as long as it is needed."""
    given = connect()
    if hasattr(given, "cursor"):
        return contextlib.closing(given)
    manager: contextlib.AbstractContextManager[Any] = given
    return manager
