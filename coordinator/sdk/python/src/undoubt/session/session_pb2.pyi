from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefusalCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_CODE_UNSPECIFIED: _ClassVar[RefusalCode]
    REFUSAL_CODE_CONDITION: _ClassVar[RefusalCode]
    REFUSAL_CODE_INVALID_WORK: _ClassVar[RefusalCode]
    REFUSAL_CODE_TOO_LARGE: _ClassVar[RefusalCode]
    REFUSAL_CODE_LOCK_CONFLICT: _ClassVar[RefusalCode]
    REFUSAL_CODE_LOCK_TIMEOUT: _ClassVar[RefusalCode]
    REFUSAL_CODE_UNAVAILABLE: _ClassVar[RefusalCode]
    REFUSAL_CODE_LATE: _ClassVar[RefusalCode]
    REFUSAL_CODE_PENDING: _ClassVar[RefusalCode]
    REFUSAL_CODE_UNCLEAR: _ClassVar[RefusalCode]

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTION_FORWARD: _ClassVar[Direction]
    DIRECTION_COMPENSATING: _ClassVar[Direction]
    DIRECTION_COMPLETING: _ClassVar[Direction]

class BranchOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BRANCH_OUTCOME_UNSPECIFIED: _ClassVar[BranchOutcome]
    BRANCH_OUTCOME_COMMITTED: _ClassVar[BranchOutcome]
    BRANCH_OUTCOME_ABORTED: _ClassVar[BranchOutcome]
    BRANCH_OUTCOME_HEURISTICALLY_COMMITTED: _ClassVar[BranchOutcome]
    BRANCH_OUTCOME_HEURISTICALLY_ABORTED: _ClassVar[BranchOutcome]
    BRANCH_OUTCOME_UNKNOWN: _ClassVar[BranchOutcome]
REFUSAL_CODE_UNSPECIFIED: RefusalCode
REFUSAL_CODE_CONDITION: RefusalCode
REFUSAL_CODE_INVALID_WORK: RefusalCode
REFUSAL_CODE_TOO_LARGE: RefusalCode
REFUSAL_CODE_LOCK_CONFLICT: RefusalCode
REFUSAL_CODE_LOCK_TIMEOUT: RefusalCode
REFUSAL_CODE_UNAVAILABLE: RefusalCode
REFUSAL_CODE_LATE: RefusalCode
REFUSAL_CODE_PENDING: RefusalCode
REFUSAL_CODE_UNCLEAR: RefusalCode
DIRECTION_FORWARD: Direction
DIRECTION_COMPENSATING: Direction
DIRECTION_COMPLETING: Direction
BRANCH_OUTCOME_UNSPECIFIED: BranchOutcome
BRANCH_OUTCOME_COMMITTED: BranchOutcome
BRANCH_OUTCOME_ABORTED: BranchOutcome
BRANCH_OUTCOME_HEURISTICALLY_COMMITTED: BranchOutcome
BRANCH_OUTCOME_HEURISTICALLY_ABORTED: BranchOutcome
BRANCH_OUTCOME_UNKNOWN: BranchOutcome

class CoordinatorBatch(_message.Message):
    __slots__ = ("hello", "low_water_mark", "messages", "stable_writes", "proof", "still_open")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LOW_WATER_MARK_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    STABLE_WRITES_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    STILL_OPEN_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    low_water_mark: int
    messages: _containers.RepeatedCompositeFieldContainer[ToParticipant]
    stable_writes: int
    proof: Proof
    still_open: StillOpen
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., low_water_mark: _Optional[int] = ..., messages: _Optional[_Iterable[_Union[ToParticipant, _Mapping]]] = ..., stable_writes: _Optional[int] = ..., proof: _Optional[_Union[Proof, _Mapping]] = ..., still_open: _Optional[_Union[StillOpen, _Mapping]] = ...) -> None: ...

class StillOpen(_message.Message):
    __slots__ = ("attempt_numbers",)
    ATTEMPT_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    attempt_numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, attempt_numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class ParticipantBatch(_message.Message):
    __slots__ = ("welcome", "messages", "stable_writes", "challenge")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    STABLE_WRITES_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    messages: _containers.RepeatedCompositeFieldContainer[ToCoordinator]
    stable_writes: int
    challenge: bytes
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[ToCoordinator, _Mapping]]] = ..., stable_writes: _Optional[int] = ..., challenge: _Optional[bytes] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("signature",)
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    signature: bytes
    def __init__(self, signature: _Optional[bytes] = ...) -> None: ...

class Succession(_message.Message):
    __slots__ = ("former_public_key", "signature")
    FORMER_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    former_public_key: bytes
    signature: bytes
    def __init__(self, former_public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class LogNumber(_message.Message):
    __slots__ = ("log_id", "losses", "start", "mark", "writes")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    log_id: bytes
    losses: int
    start: int
    mark: int
    writes: int
    def __init__(self, log_id: _Optional[bytes] = ..., losses: _Optional[int] = ..., start: _Optional[int] = ..., mark: _Optional[int] = ..., writes: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "coordinator_id", "coordinator_name", "epoch", "participant_name", "number", "seen", "newest_protocol_version", "abilities", "public_key", "successions")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_NAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    NEWEST_PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ABILITIES_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SUCCESSIONS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    coordinator_id: bytes
    coordinator_name: str
    epoch: int
    participant_name: str
    number: LogNumber
    seen: LogNumber
    newest_protocol_version: int
    abilities: _containers.RepeatedScalarFieldContainer[str]
    public_key: bytes
    successions: _containers.RepeatedCompositeFieldContainer[Succession]
    def __init__(self, protocol_version: _Optional[int] = ..., coordinator_id: _Optional[bytes] = ..., coordinator_name: _Optional[str] = ..., epoch: _Optional[int] = ..., participant_name: _Optional[str] = ..., number: _Optional[_Union[LogNumber, _Mapping]] = ..., seen: _Optional[_Union[LogNumber, _Mapping]] = ..., newest_protocol_version: _Optional[int] = ..., abilities: _Optional[_Iterable[str]] = ..., public_key: _Optional[bytes] = ..., successions: _Optional[_Iterable[_Union[Succession, _Mapping]]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_version", "participant_name", "resource", "max_work_bytes", "cannot_prepare", "number", "seen", "abilities")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    MAX_WORK_BYTES_FIELD_NUMBER: _ClassVar[int]
    CANNOT_PREPARE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    ABILITIES_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    participant_name: str
    resource: str
    max_work_bytes: int
    cannot_prepare: bool
    number: LogNumber
    seen: LogNumber
    abilities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol_version: _Optional[int] = ..., participant_name: _Optional[str] = ..., resource: _Optional[str] = ..., max_work_bytes: _Optional[int] = ..., cannot_prepare: _Optional[bool] = ..., number: _Optional[_Union[LogNumber, _Mapping]] = ..., seen: _Optional[_Union[LogNumber, _Mapping]] = ..., abilities: _Optional[_Iterable[str]] = ...) -> None: ...

class RecallRequest(_message.Message):
    __slots__ = ("coordinator_id", "coordinator_name", "participant_name", "seen", "attempts", "from_attempt_number", "public_key", "successions", "challenge", "signature")
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_NAME_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_NAME_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FROM_ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SUCCESSIONS_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    coordinator_id: bytes
    coordinator_name: str
    participant_name: str
    seen: LogNumber
    attempts: bool
    from_attempt_number: int
    public_key: bytes
    successions: _containers.RepeatedCompositeFieldContainer[Succession]
    challenge: bytes
    signature: bytes
    def __init__(self, coordinator_id: _Optional[bytes] = ..., coordinator_name: _Optional[str] = ..., participant_name: _Optional[str] = ..., seen: _Optional[_Union[LogNumber, _Mapping]] = ..., attempts: _Optional[bool] = ..., from_attempt_number: _Optional[int] = ..., public_key: _Optional[bytes] = ..., successions: _Optional[_Iterable[_Union[Succession, _Mapping]]] = ..., challenge: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class RecallResponse(_message.Message):
    __slots__ = ("number", "seen", "epoch", "low_water_mark", "connected", "put_back", "other_coordinator_id", "attempts", "next_attempt_number", "challenge", "still_open")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOW_WATER_MARK_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    PUT_BACK_FIELD_NUMBER: _ClassVar[int]
    OTHER_COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    STILL_OPEN_FIELD_NUMBER: _ClassVar[int]
    number: LogNumber
    seen: LogNumber
    epoch: int
    low_water_mark: int
    connected: bool
    put_back: str
    other_coordinator_id: bytes
    attempts: _containers.RepeatedCompositeFieldContainer[KnownAttempt]
    next_attempt_number: int
    challenge: bytes
    still_open: StillOpen
    def __init__(self, number: _Optional[_Union[LogNumber, _Mapping]] = ..., seen: _Optional[_Union[LogNumber, _Mapping]] = ..., epoch: _Optional[int] = ..., low_water_mark: _Optional[int] = ..., connected: _Optional[bool] = ..., put_back: _Optional[str] = ..., other_coordinator_id: _Optional[bytes] = ..., attempts: _Optional[_Iterable[_Union[KnownAttempt, _Mapping]]] = ..., next_attempt_number: _Optional[int] = ..., challenge: _Optional[bytes] = ..., still_open: _Optional[_Union[StillOpen, _Mapping]] = ...) -> None: ...

class KnownAttempt(_message.Message):
    __slots__ = ("tx", "attempt_number", "state", "in_effect")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[KnownAttempt.State]
        STATE_PREPARED: _ClassVar[KnownAttempt.State]
        STATE_COMMITTED: _ClassVar[KnownAttempt.State]
        STATE_HEURISTIC: _ClassVar[KnownAttempt.State]
        STATE_STEPS: _ClassVar[KnownAttempt.State]
    STATE_UNSPECIFIED: KnownAttempt.State
    STATE_PREPARED: KnownAttempt.State
    STATE_COMMITTED: KnownAttempt.State
    STATE_HEURISTIC: KnownAttempt.State
    STATE_STEPS: KnownAttempt.State
    TX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IN_EFFECT_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    attempt_number: int
    state: KnownAttempt.State
    in_effect: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tx: _Optional[bytes] = ..., attempt_number: _Optional[int] = ..., state: _Optional[_Union[KnownAttempt.State, str]] = ..., in_effect: _Optional[_Iterable[int]] = ...) -> None: ...

class ToParticipant(_message.Message):
    __slots__ = ("tx", "attempt_number", "prepare", "confirm", "commit", "abort", "settle", "undecided", "noted", "run", "close", "trace_context")
    TX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    UNDECIDED_FIELD_NUMBER: _ClassVar[int]
    NOTED_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    TRACE_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    attempt_number: int
    prepare: Prepare
    confirm: Confirm
    commit: Commit
    abort: Abort
    settle: Settle
    undecided: Undecided
    noted: Noted
    run: RunStep
    close: CloseSaga
    trace_context: TraceContext
    def __init__(self, tx: _Optional[bytes] = ..., attempt_number: _Optional[int] = ..., prepare: _Optional[_Union[Prepare, _Mapping]] = ..., confirm: _Optional[_Union[Confirm, _Mapping]] = ..., commit: _Optional[_Union[Commit, _Mapping]] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ..., settle: _Optional[_Union[Settle, _Mapping]] = ..., undecided: _Optional[_Union[Undecided, _Mapping]] = ..., noted: _Optional[_Union[Noted, _Mapping]] = ..., run: _Optional[_Union[RunStep, _Mapping]] = ..., close: _Optional[_Union[CloseSaga, _Mapping]] = ..., trace_context: _Optional[_Union[TraceContext, _Mapping]] = ...) -> None: ...

class TraceContext(_message.Message):
    __slots__ = ("traceparent", "tracestate")
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    traceparent: str
    tracestate: str
    def __init__(self, traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...

class Prepare(_message.Message):
    __slots__ = ("begun_at_us", "timeout_ms", "one_phase", "work")
    BEGUN_AT_US_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    ONE_PHASE_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    begun_at_us: int
    timeout_ms: int
    one_phase: bool
    work: bytes
    def __init__(self, begun_at_us: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., one_phase: _Optional[bool] = ..., work: _Optional[bytes] = ...) -> None: ...

class Confirm(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Commit(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Abort(_message.Message):
    __slots__ = ("certain",)
    CERTAIN_FIELD_NUMBER: _ClassVar[int]
    certain: bool
    def __init__(self, certain: _Optional[bool] = ...) -> None: ...

class Settle(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Undecided(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Noted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ToCoordinator(_message.Message):
    __slots__ = ("tx", "attempt_number", "vote", "confirmed", "finished", "inquiry", "ran", "closed", "emitted")
    TX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    INQUIRY_FIELD_NUMBER: _ClassVar[int]
    RAN_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    attempt_number: int
    vote: Vote
    confirmed: Confirmed
    finished: Finished
    inquiry: Inquiry
    ran: StepRan
    closed: SagaClosed
    emitted: EventId
    def __init__(self, tx: _Optional[bytes] = ..., attempt_number: _Optional[int] = ..., vote: _Optional[_Union[Vote, _Mapping]] = ..., confirmed: _Optional[_Union[Confirmed, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., inquiry: _Optional[_Union[Inquiry, _Mapping]] = ..., ran: _Optional[_Union[StepRan, _Mapping]] = ..., closed: _Optional[_Union[SagaClosed, _Mapping]] = ..., emitted: _Optional[_Union[EventId, _Mapping]] = ...) -> None: ...

class EventId(_message.Message):
    __slots__ = ("incarnation", "position")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    incarnation: bytes
    position: int
    def __init__(self, incarnation: _Optional[bytes] = ..., position: _Optional[int] = ...) -> None: ...

class Vote(_message.Message):
    __slots__ = ("prepared", "read_only", "committed", "refused")
    PREPARED_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    prepared: bytes
    read_only: bytes
    committed: bytes
    refused: Refusal
    def __init__(self, prepared: _Optional[bytes] = ..., read_only: _Optional[bytes] = ..., committed: _Optional[bytes] = ..., refused: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: RefusalCode
    detail: str
    def __init__(self, code: _Optional[_Union[RefusalCode, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class Confirmed(_message.Message):
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: bool
    def __init__(self, held: _Optional[bool] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: BranchOutcome
    def __init__(self, outcome: _Optional[_Union[BranchOutcome, str]] = ...) -> None: ...

class Inquiry(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RunStep(_message.Message):
    __slots__ = ("step", "direction", "attempt", "begun_at_us", "timeout_ms", "work", "inputs", "acted_elsewhere", "check_back")
    STEP_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_US_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    ACTED_ELSEWHERE_FIELD_NUMBER: _ClassVar[int]
    CHECK_BACK_FIELD_NUMBER: _ClassVar[int]
    step: int
    direction: Direction
    attempt: int
    begun_at_us: int
    timeout_ms: int
    work: bytes
    inputs: _containers.RepeatedScalarFieldContainer[bytes]
    acted_elsewhere: bool
    check_back: bool
    def __init__(self, step: _Optional[int] = ..., direction: _Optional[_Union[Direction, str]] = ..., attempt: _Optional[int] = ..., begun_at_us: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., work: _Optional[bytes] = ..., inputs: _Optional[_Iterable[bytes]] = ..., acted_elsewhere: _Optional[bool] = ..., check_back: _Optional[bool] = ...) -> None: ...

class CloseSaga(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StepRan(_message.Message):
    __slots__ = ("step", "direction", "attempt", "done", "empty", "refused")
    STEP_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    step: int
    direction: Direction
    attempt: int
    done: StepDone
    empty: StepEmpty
    refused: Refusal
    def __init__(self, step: _Optional[int] = ..., direction: _Optional[_Union[Direction, str]] = ..., attempt: _Optional[int] = ..., done: _Optional[_Union[StepDone, _Mapping]] = ..., empty: _Optional[_Union[StepEmpty, _Mapping]] = ..., refused: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class StepDone(_message.Message):
    __slots__ = ("result", "pending")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    result: bytes
    pending: bool
    def __init__(self, result: _Optional[bytes] = ..., pending: _Optional[bool] = ...) -> None: ...

class StepEmpty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SagaClosed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BackupRequest(_message.Message):
    __slots__ = ("folder",)
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    folder: str
    def __init__(self, folder: _Optional[str] = ...) -> None: ...

class BackupResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeParticipantRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeParticipantResponse(_message.Message):
    __slots__ = ("name", "resource", "branches_open", "branches_in_doubt", "coordinators", "refusing_work_because", "put_back", "losses", "warnings", "numbers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_OPEN_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_IN_DOUBT_FIELD_NUMBER: _ClassVar[int]
    COORDINATORS_FIELD_NUMBER: _ClassVar[int]
    REFUSING_WORK_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    PUT_BACK_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    resource: str
    branches_open: int
    branches_in_doubt: int
    coordinators: _containers.RepeatedCompositeFieldContainer[KnownCoordinator]
    refusing_work_because: str
    put_back: str
    losses: _containers.RepeatedCompositeFieldContainer[AcceptedLoss]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    numbers: _containers.RepeatedCompositeFieldContainer[NamedNumber]
    def __init__(self, name: _Optional[str] = ..., resource: _Optional[str] = ..., branches_open: _Optional[int] = ..., branches_in_doubt: _Optional[int] = ..., coordinators: _Optional[_Iterable[_Union[KnownCoordinator, _Mapping]]] = ..., refusing_work_because: _Optional[str] = ..., put_back: _Optional[str] = ..., losses: _Optional[_Iterable[_Union[AcceptedLoss, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., numbers: _Optional[_Iterable[_Union[NamedNumber, _Mapping]]] = ...) -> None: ...

class NamedNumber(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class AcceptedLoss(_message.Message):
    __slots__ = ("at_us", "who", "reason", "put_back", "kept")
    AT_US_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PUT_BACK_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    at_us: int
    who: str
    reason: str
    put_back: str
    kept: LogNumber
    def __init__(self, at_us: _Optional[int] = ..., who: _Optional[str] = ..., reason: _Optional[str] = ..., put_back: _Optional[str] = ..., kept: _Optional[_Union[LogNumber, _Mapping]] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("number", "at_us", "who", "through", "address", "action", "txs", "about", "note", "refused", "count")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TXS_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    number: int
    at_us: int
    who: str
    through: str
    address: str
    action: str
    txs: _containers.RepeatedScalarFieldContainer[bytes]
    about: str
    note: str
    refused: str
    count: int
    def __init__(self, number: _Optional[int] = ..., at_us: _Optional[int] = ..., who: _Optional[str] = ..., through: _Optional[str] = ..., address: _Optional[str] = ..., action: _Optional[str] = ..., txs: _Optional[_Iterable[bytes]] = ..., about: _Optional[str] = ..., note: _Optional[str] = ..., refused: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ("tx", "who", "since_us", "until_us", "refused", "limit", "after")
    TX_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    who: str
    since_us: int
    until_us: int
    refused: bool
    limit: int
    after: bytes
    def __init__(self, tx: _Optional[bytes] = ..., who: _Optional[str] = ..., since_us: _Optional[int] = ..., until_us: _Optional[int] = ..., refused: _Optional[bool] = ..., limit: _Optional[int] = ..., after: _Optional[bytes] = ...) -> None: ...

class AuditResponse(_message.Message):
    __slots__ = ("entries", "more", "cursor")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    more: bool
    cursor: bytes
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., more: _Optional[bool] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class AcceptParticipantLossRequest(_message.Message):
    __slots__ = ("who", "reason")
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    who: str
    reason: str
    def __init__(self, who: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class AcceptParticipantLossResponse(_message.Message):
    __slots__ = ("put_back",)
    PUT_BACK_FIELD_NUMBER: _ClassVar[int]
    put_back: str
    def __init__(self, put_back: _Optional[str] = ...) -> None: ...

class PinCoordinatorRequest(_message.Message):
    __slots__ = ("coordinator_id", "public_key", "who", "reason")
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    coordinator_id: bytes
    public_key: bytes
    who: str
    reason: str
    def __init__(self, coordinator_id: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., who: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PinCoordinatorResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class KnownCoordinator(_message.Message):
    __slots__ = ("coordinator_id", "epoch", "low_water_mark", "connected", "public_key", "vouched", "still_open")
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOW_WATER_MARK_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    VOUCHED_FIELD_NUMBER: _ClassVar[int]
    STILL_OPEN_FIELD_NUMBER: _ClassVar[int]
    coordinator_id: bytes
    epoch: int
    low_water_mark: int
    connected: bool
    public_key: bytes
    vouched: bool
    still_open: int
    def __init__(self, coordinator_id: _Optional[bytes] = ..., epoch: _Optional[int] = ..., low_water_mark: _Optional[int] = ..., connected: _Optional[bool] = ..., public_key: _Optional[bytes] = ..., vouched: _Optional[bool] = ..., still_open: _Optional[int] = ...) -> None: ...

class ListBranchesRequest(_message.Message):
    __slots__ = ("in_doubt_only", "limit", "after")
    IN_DOUBT_ONLY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    in_doubt_only: bool
    limit: int
    after: bytes
    def __init__(self, in_doubt_only: _Optional[bool] = ..., limit: _Optional[int] = ..., after: _Optional[bytes] = ...) -> None: ...

class ListBranchesResponse(_message.Message):
    __slots__ = ("branches", "more", "steps", "cursor")
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    branches: _containers.RepeatedCompositeFieldContainer[Branch]
    more: bool
    steps: _containers.RepeatedCompositeFieldContainer[StepUnderWay]
    cursor: bytes
    def __init__(self, branches: _Optional[_Iterable[_Union[Branch, _Mapping]]] = ..., more: _Optional[bool] = ..., steps: _Optional[_Iterable[_Union[StepUnderWay, _Mapping]]] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class StepUnderWay(_message.Message):
    __slots__ = ("tx", "attempt_number", "coordinator_id", "step", "state", "begun_at_us")
    TX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_US_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    attempt_number: int
    coordinator_id: bytes
    step: int
    state: str
    begun_at_us: int
    def __init__(self, tx: _Optional[bytes] = ..., attempt_number: _Optional[int] = ..., coordinator_id: _Optional[bytes] = ..., step: _Optional[int] = ..., state: _Optional[str] = ..., begun_at_us: _Optional[int] = ...) -> None: ...

class ListMarksRequest(_message.Message):
    __slots__ = ("after", "limit")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    after: bytes
    limit: int
    def __init__(self, after: _Optional[bytes] = ..., limit: _Optional[int] = ...) -> None: ...

class ListMarksResponse(_message.Message):
    __slots__ = ("marks", "more", "cursor")
    MARKS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    marks: _containers.RepeatedCompositeFieldContainer[Mark]
    more: bool
    cursor: bytes
    def __init__(self, marks: _Optional[_Iterable[_Union[Mark, _Mapping]]] = ..., more: _Optional[bool] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class Mark(_message.Message):
    __slots__ = ("key", "tx", "attempt_number", "coordinator_id", "step", "begun_at_us")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_US_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    tx: bytes
    attempt_number: int
    coordinator_id: bytes
    step: int
    begun_at_us: int
    def __init__(self, key: _Optional[bytes] = ..., tx: _Optional[bytes] = ..., attempt_number: _Optional[int] = ..., coordinator_id: _Optional[bytes] = ..., step: _Optional[int] = ..., begun_at_us: _Optional[int] = ...) -> None: ...

class ReleaseMarksRequest(_message.Message):
    __slots__ = ("coordinator_id", "tx", "who", "reason")
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    TX_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    coordinator_id: bytes
    tx: bytes
    who: str
    reason: str
    def __init__(self, coordinator_id: _Optional[bytes] = ..., tx: _Optional[bytes] = ..., who: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ReleaseMarksResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Branch(_message.Message):
    __slots__ = ("tx", "attempt_number", "coordinator_id", "state", "begun_at_us", "heuristic")
    TX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_US_FIELD_NUMBER: _ClassVar[int]
    HEURISTIC_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    attempt_number: int
    coordinator_id: bytes
    state: str
    begun_at_us: int
    heuristic: Heuristic
    def __init__(self, tx: _Optional[bytes] = ..., attempt_number: _Optional[int] = ..., coordinator_id: _Optional[bytes] = ..., state: _Optional[str] = ..., begun_at_us: _Optional[int] = ..., heuristic: _Optional[_Union[Heuristic, _Mapping]] = ...) -> None: ...

class Heuristic(_message.Message):
    __slots__ = ("outcome", "at_us", "who", "reason", "decision")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    outcome: BranchOutcome
    at_us: int
    who: str
    reason: str
    decision: BranchOutcome
    def __init__(self, outcome: _Optional[_Union[BranchOutcome, str]] = ..., at_us: _Optional[int] = ..., who: _Optional[str] = ..., reason: _Optional[str] = ..., decision: _Optional[_Union[BranchOutcome, str]] = ...) -> None: ...

class ResolveBranchRequest(_message.Message):
    __slots__ = ("tx", "commit", "who", "reason")
    TX_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    commit: bool
    who: str
    reason: str
    def __init__(self, tx: _Optional[bytes] = ..., commit: _Optional[bool] = ..., who: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResolveBranchResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: BranchOutcome
    def __init__(self, outcome: _Optional[_Union[BranchOutcome, str]] = ...) -> None: ...

class ForgetBranchRequest(_message.Message):
    __slots__ = ("tx",)
    TX_FIELD_NUMBER: _ClassVar[int]
    tx: bytes
    def __init__(self, tx: _Optional[bytes] = ...) -> None: ...

class ForgetBranchResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
