//! Problems in the form of RFC 9457: `application/problem+json`, with the stable words of the catalogue.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use undoubt_client::{
    CancelError, Code, InvalidSubmission, JoinError, OperatorError, QueryError, SubmitError, TxId, Unanswered,
    WaitError,
};
use undoubt_platform::Reason;
use undoubt_platform::access::Refused;

/// The word of a problem after which nobody knows whether what was asked for is done.
const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

/// The words of problems with a step of an open saga.
const STEP_REFUSED: &str = "STEP_REFUSED";
const STEP_UNANSWERED: &str = "STEP_UNANSWERED";

/// The word of a problem of which the coordinator gives no reason that this version knows.
const UNREACHED: &str = "UNREACHED";

/// A request that was not carried out, or of which that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    /// The very same request may come back.
    retryable: bool,
    after: Option<Duration>,
    tx: Option<Box<TxId>>,
    /// The code of a participant's refusal.
    refusal: Option<Box<str>>,
}

/// The form in which it is told.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Problem")]
pub(crate) struct Told<'a> {
    /// `urn:undoubt:problem:` and the code.
    r#type: String,
    /// The meaning of the code.
    title: &'a str,
    status: u16,
    /// The problem in this case, its cause, and the way out.
    detail: &'a str,
    /// The stable word of the reason.
    code: &'a str,
    /// The very same request may come back, and may then be carried out.
    retryable: bool,
    /// The transaction that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    tx: Option<String>,
    /// The code with which the participant refused the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Problem {
        Problem {
            status: status(reason),
            code: reason.as_str(),
            title: reason.meaning(),
            detail: detail.into(),
            retryable: reason.retry_after().is_some(),
            after: reason.retry_after(),
            tx: None,
            refusal: None,
        }
    }

    /// Returns the same with another status.
    pub(crate) fn with(self, status: StatusCode) -> Problem {
        Problem { status, ..self }
    }

    fn about(self, tx: TxId) -> Problem {
        Problem { tx: Some(Box::new(tx)), ..self }
    }

    /// Returns the problem of this reason, or else of `otherwise`.
    fn of(reason: Option<&str>, otherwise: Reason, detail: String) -> Problem {
        let known = reason.and_then(|word| Reason::ALL.iter().copied().find(|reason| reason.as_str() == word));
        Problem::new(known.unwrap_or(otherwise), detail)
    }

    /// Returns the problem of a call that was not answered.
    fn unanswered(cause: &Unanswered, detail: String) -> Problem {
        if let Some(reason) = cause.reason.as_deref()
            && !cause.maybe_received
        {
            return Problem { retryable: true, ..Problem::of(Some(reason), Reason::Internal, detail) };
        }
        Problem::unreached(detail)
    }

    /// Returns the problem of a coordinator that does not answer; nothing was done.
    pub(crate) fn unreached(detail: String) -> Problem {
        Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: UNREACHED,
            title: "The coordinator does not answer. Come back.",
            detail,
            retryable: true,
            after: Some(Duration::from_secs(1)),
            tx: None,
            refusal: None,
        }
    }

    /// Returns the stable word of the reason.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Returns true if somebody was asked and did not answer.
    pub(crate) fn is_unreached(&self) -> bool {
        self.code == UNREACHED
    }

    /// Returns the problem of something that may have been done or not. `repeatable`: to ask for the very same again does no harm.
    fn unknown(detail: String, repeatable: bool) -> Problem {
        Problem {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: OUTCOME_UNKNOWN,
            title: "It may have been done or not. Find out before anything else is done.",
            detail,
            retryable: repeatable,
            after: None,
            tx: None,
            refusal: None,
        }
    }

    fn unexpected(code: Code, reason: Option<&str>, detail: String) -> Problem {
        let otherwise = if code == Code::Unavailable { Reason::Stopping } else { Reason::Internal };
        Problem::of(reason, otherwise, detail)
    }
}

/// Returns the status of HTTP that goes with a reason.
fn status(reason: Reason) -> StatusCode {
    const OWN: [(Reason, StatusCode); 7] = [
        (Reason::TooManySubmissions, StatusCode::TOO_MANY_REQUESTS),
        (Reason::ShareTaken, StatusCode::TOO_MANY_REQUESTS),
        (Reason::MessageTooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        (Reason::MessageIncomplete, StatusCode::BAD_REQUEST),
        (Reason::RecordCollected, StatusCode::GONE),
        (Reason::LogPutBack, StatusCode::CONFLICT),
        (Reason::EventsTrimmed, StatusCode::GONE),
    ];
    match OWN.iter().find(|(known, _)| *known == reason) {
        Some((_, status)) => *status,
        None => match reason.code() {
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        },
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let told = Told {
            r#type: format!("urn:undoubt:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            retryable: self.retryable,
            tx: self.tx.as_ref().map(ToString::to_string),
            refusal: self.refusal.as_deref(),
        };
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.after {
            // The header knows whole seconds.
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1_000) as u64));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        Problem::new(refused.reason(), refused.to_string())
    }
}

impl From<InvalidSubmission> for Problem {
    fn from(error: InvalidSubmission) -> Problem {
        let reason = match &error {
            InvalidSubmission::NoBranches | InvalidSubmission::NoSteps => Reason::NoBranches,
            InvalidSubmission::TooManyBranches { .. } => Reason::TooManyBranches,
            InvalidSubmission::WorkTooLarge { .. } | InvalidSubmission::TooLarge { .. } => Reason::TooLarge,
            InvalidSubmission::Saga(_) | InvalidSubmission::NoSuchStep { .. } | InvalidSubmission::StepWork { .. } => {
                Reason::InvalidSaga
            }
            InvalidSubmission::Name(_)
            | InvalidSubmission::NotMergeable { .. }
            | InvalidSubmission::NoWorkForOutcome { .. }
            | InvalidSubmission::Work { .. }
            | _ => Reason::InvalidRequest,
        };
        Problem::new(reason, error.to_string())
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Problem {
        let detail = error.to_string();
        match error {
            SubmitError::Invalid(invalid) => invalid.into(),
            SubmitError::Refused { tx, reason, .. } => {
                Problem::of(reason.as_deref(), Reason::InvalidRequest, detail).about(tx)
            }
            SubmitError::UnknownParticipant { tx, reason, .. } => {
                Problem::of(reason.as_deref(), Reason::UnknownParticipant, detail).about(tx)
            }
            SubmitError::NotPossible { tx, reason, .. } => {
                Problem::of(reason.as_deref(), Reason::WrongState, detail).about(tx)
            }
            SubmitError::IdReused { tx, reason, .. } => {
                Problem::of(reason.as_deref(), Reason::OtherContent, detail).about(tx)
            }
            SubmitError::NotOffered { tx, reason, .. } => {
                Problem::of(reason.as_deref(), Reason::NotOffered, detail).about(tx)
            }
            SubmitError::NotAccepted { tx, cause } => Problem::unanswered(&cause, detail).about(tx),
            SubmitError::OutcomeUnknown { tx, .. } => Problem::unknown(detail, true).about(tx),
            SubmitError::Malformed { tx, .. } => Problem::unknown(detail, true).about(tx),
            SubmitError::Unexpected { tx, code, reason, .. } => {
                Problem::unexpected(code, reason.as_deref(), detail).about(tx)
            }
            SubmitError::Stuck { tx, .. } => Problem::new(Reason::NotDecidedYet, detail).about(tx),
            _ => Problem::unknown(detail, true),
        }
    }
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Problem {
        let detail = error.to_string();
        match error {
            JoinError::Refused { tx, refusal, .. } => Problem {
                status: StatusCode::CONFLICT,
                code: STEP_REFUSED,
                title: "The step was refused, and nothing of it is in effect. The saga is as open as before.",
                detail,
                retryable: false,
                after: None,
                tx: Some(Box::new(tx)),
                refusal: Some(refusal.code.to_string().into()),
            },
            JoinError::Unanswered { tx, .. } => Problem {
                status: StatusCode::GATEWAY_TIMEOUT,
                code: STEP_UNANSWERED,
                title: "The step may be in effect. Run it again, or cancel the saga.",
                detail,
                retryable: true,
                after: None,
                tx: Some(Box::new(tx)),
                refusal: None,
            },
            JoinError::Skipped { tx, .. } => Problem::new(Reason::StepSettled, detail).about(tx),
            JoinError::NoAction { tx, .. } => Problem::new(Reason::InvalidRequest, detail).about(tx),
            JoinError::Over { tx, .. } => Problem::new(Reason::NotOpen, detail).about(tx),
            JoinError::Call(error) => error.into(),
            _ => Problem::unknown(detail, true),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Problem {
        let detail = error.to_string();
        match error {
            QueryError::NotFound { tx } => Problem::new(Reason::NotFound, detail).about(tx),
            QueryError::Refused { reason, .. } => Problem::of(reason.as_deref(), Reason::InvalidRequest, detail),
            QueryError::NotOffered { reason, .. } => Problem::of(reason.as_deref(), Reason::NotOffered, detail),
            QueryError::Unanswered(cause) => Problem::unanswered(&cause, detail),
            QueryError::Unexpected { code, reason, .. } => Problem::unexpected(code, reason.as_deref(), detail),
            QueryError::Malformed(_) | _ => Problem::new(Reason::Internal, detail),
        }
    }
}

impl From<WaitError> for Problem {
    fn from(error: WaitError) -> Problem {
        let detail = error.to_string();
        match error {
            WaitError::StillPending { tx, .. } | WaitError::Stuck { tx, .. } => {
                Problem::new(Reason::NotDecidedYet, detail).about(tx)
            }
            WaitError::Query(error) => error.into(),
            _ => Problem::new(Reason::Internal, detail),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Problem {
        let detail = error.to_string();
        match error {
            CancelError::TooLate { tx, reason, .. } => {
                Problem::of(reason.as_deref(), Reason::TooLate, detail).about(tx)
            }
            CancelError::NotOver { tx, .. } => Problem::unknown(detail, true).about(tx),
            CancelError::Query(error) => error.into(),
            _ => Problem::unknown(detail, true),
        }
    }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Problem {
        let detail = error.to_string();
        match error {
            OperatorError::NotFound { tx, .. } => Problem::new(Reason::NotFound, detail).about(tx),
            OperatorError::WrongState { reason, .. } => Problem::of(reason.as_deref(), Reason::WrongState, detail),
            OperatorError::Refused { reason, .. } => Problem::of(reason.as_deref(), Reason::InvalidRequest, detail),
            OperatorError::NotOffered { reason, .. } => Problem::of(reason.as_deref(), Reason::NotOffered, detail),
            OperatorError::NotReached(cause) => Problem::unanswered(&cause, detail),
            OperatorError::Unclear(_) | OperatorError::Malformed { .. } => Problem::unknown(detail, false),
            OperatorError::Unexpected { code, reason, .. } => Problem::unexpected(code, reason.as_deref(), detail),
            _ => Problem::unknown(detail, false),
        }
    }
}
