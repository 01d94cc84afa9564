//! Reading what comes in. Whatever is wrong is refused before anything is done.

use crate::callback::{self, BadUrl};
use crate::config::Config;
use crate::engine::{NewStep, NewTransaction, Opening};
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Uri;
use tonic::{Request, Status};
use undoubt_coordinator_core::{Completions, Content, Terms};
use undoubt_platform::Reason;
use undoubt_platform::audit::Origin;
use undoubt_proto::convert::Malformed;
use undoubt_proto::v1;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_WORK_BYTES};
use undoubt_vocabulary::trace_context::MAX_TRACE_STATE_BYTES;
use undoubt_vocabulary::{InvalidId, InvalidSaga, ParticipantName, SagaStep, TxId, saga};

/// The metadata of a trace context, as HTTP's headers are called.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The longest `traceparent` that is looked at; later versions may add to the 55 bytes of the present one.
const MAX_TRACEPARENT_BYTES: usize = 256;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error(
        "the work for {participant} has {given} bytes, more than the {max} allowed for one branch; make it smaller"
    )]
    WorkTooLarge { participant: ParticipantName, given: usize, max: usize },
    #[error("{given} branches are more than the {max} a transaction may have; split it")]
    TooManyBranches { given: usize, max: usize },
    #[error("timeout_ms {given} is more than the {max} allowed (max_timeout_ms); give it less")]
    TimeoutTooLong { given: u32, max: u64 },
    #[error("mode {0} is not known here; leave it out, or update this coordinator")]
    Mode(i32),
    #[error("{given} are given, and {mode} takes {wanted}; give those, or choose another mode")]
    OtherMode { given: &'static str, mode: &'static str, wanted: &'static str },
    #[error("{given} is given, which is for auto, where the coordinator chooses; choose auto, or leave it out")]
    ForAutoOnly { given: &'static str },
    #[error("steps: there are none, and auto chooses between ways to carry them out; give it one at least")]
    NoSteps,
    #[error("step {index}: {cause}")]
    Step { index: usize, cause: Malformed },
    #[error("{cause}")]
    Joining { cause: Malformed },
    #[error(
        "owner_only: it is not known here who asks, so nobody would own it; ask as an identity that this server knows (access.identities: a \
         token or a certificate), or leave it out"
    )]
    NobodyOwns,
    #[error("completion_order {0} is not known here; leave it out, or update this coordinator")]
    CompletionOrder(i32),
    #[error("{0}; nothing was done")]
    Saga(#[from] InvalidSaga),
    #[error(transparent)]
    Callback(#[from] BadUrl),
    #[error("a callback is for single submissions; submit it by itself, or leave the callback out")]
    CallbackInStream,
    #[error(
        "no_wait and applied_within_ms are both given, and whoever does not wait is not told what was applied; leave one out"
    )]
    AppliedWithoutWaiting,
    #[error(
        "applied_within_ms {given} is more than the {max} allowed; wait less, and submit the same again to wait on"
    )]
    AppliedTooLate { given: u32, max: u32 },
    #[error("applied_within_ms is for single submissions; submit it by itself, or leave that out")]
    AppliedInStream,
}

/// The longest time for which a submission waits until it is applied.
pub(crate) const MAX_APPLIED_WITHIN_MS: u32 = 60_000;

impl From<BadRequest> for Status {
    fn from(bad: BadRequest) -> Status {
        let (reason, path) = match &bad {
            BadRequest::Id(_) => (Reason::InvalidRequest, "tx".to_owned()),
            BadRequest::WorkTooLarge { participant, .. } => (Reason::TooLarge, format!("branches.{participant}.work")),
            BadRequest::TooManyBranches { .. } => (Reason::TooManyBranches, "branches".to_owned()),
            BadRequest::TimeoutTooLong { .. } => (Reason::InvalidRequest, "timeout_ms".to_owned()),
            BadRequest::Mode(_) | BadRequest::OtherMode { .. } => (Reason::InvalidRequest, "mode".to_owned()),
            BadRequest::ForAutoOnly { given } => (Reason::InvalidRequest, (*given).to_owned()),
            BadRequest::NoSteps => (Reason::NoBranches, "steps".to_owned()),
            BadRequest::Step { index, .. } => (Reason::InvalidRequest, format!("steps[{index}]")),
            BadRequest::Joining { .. } => (Reason::InvalidRequest, "step".to_owned()),
            BadRequest::CompletionOrder(_) => (Reason::InvalidRequest, "completion_order".to_owned()),
            BadRequest::NobodyOwns => (Reason::InvalidRequest, "owner_only".to_owned()),
            BadRequest::Saga(invalid) => (Reason::InvalidSaga, invalid.path.clone()),
            BadRequest::Callback(_) | BadRequest::CallbackInStream => (Reason::InvalidRequest, "callback".to_owned()),
            BadRequest::AppliedWithoutWaiting | BadRequest::AppliedTooLate { .. } | BadRequest::AppliedInStream => {
                (Reason::InvalidRequest, "applied_within_ms".to_owned())
            }
        };
        reason.refuse_field(&path, bad.to_string())
    }
}

/// The request, and who is to hear its outcome.
pub(super) fn parse(
    request: v1::SubmitRequest,
    config: &Config,
    origin: &Origin,
) -> Result<(NewTransaction, Option<Uri>), BadRequest> {
    let v1::SubmitRequest {
        tx,
        branches,
        timeout_ms,
        no_wait,
        mode,
        steps,
        two_phase_only,
        value,
        callback,
        trace_context,
        applied_within_ms,
    } = request;
    let tx = TxId::new(own(&tx))?;
    let known = v1::Mode::try_from(mode).map_err(|_| BadRequest::Mode(mode))?;
    if known != v1::Mode::Auto && (two_phase_only || value != 0) {
        let given = if two_phase_only { "two_phase_only" } else { "a value" };
        return Err(BadRequest::ForAutoOnly { given });
    }
    let content = match known {
        v1::Mode::Unspecified | v1::Mode::TwoPhase if !steps.is_empty() => {
            return Err(BadRequest::OtherMode { given: "steps", mode: "two-phase commit", wanted: "branches" });
        }
        v1::Mode::Saga | v1::Mode::Auto if !branches.is_empty() => {
            return Err(BadRequest::OtherMode { given: "branches", mode: "a saga or auto", wanted: "steps" });
        }
        v1::Mode::Unspecified | v1::Mode::TwoPhase => Content::TwoPhase(parse_branches(branches)?),
        v1::Mode::Saga => {
            let steps = parse_steps(steps)?;
            saga::check(&steps)?;
            Content::Saga(steps)
        }
        v1::Mode::Auto if steps.is_empty() => return Err(BadRequest::NoSteps),
        v1::Mode::Auto => Content::Auto {
            steps: parse_steps(steps)?,
            two_phase_only: if two_phase_only {
                Some("it was asked for")
            } else {
                config
                    .two_phase_from_value
                    .filter(|from| value >= *from)
                    .map(|_| "its value is high (two_phase_from_value)")
            },
        },
    };
    let timeout_ms = timeout(timeout_ms, config)?;
    let callback = if callback.is_empty() { None } else { Some(callback::admit(&callback, config)?) };
    if callback.is_some() && !no_wait {
        return Err(BadRequest::OtherMode { given: "a callback", mode: "waiting", wanted: "none: add no_wait" });
    }
    applied_within(applied_within_ms, no_wait)?;
    let digest = digest_of_content(&content);
    let (timeout, origin) = (Duration::from_millis(timeout_ms), origin.clone());
    let trace = trace_context.map(|context| Box::new(bounded(context)));
    Ok((NewTransaction { tx, digest, content, timeout, wait: !no_wait, origin, trace }, callback))
}

/// A request on a stream of many.
pub(super) fn parse_in_stream(
    request: v1::SubmitRequest,
    config: &Config,
    origin: &Origin,
) -> Result<(NewTransaction, Option<Uri>), BadRequest> {
    if request.applied_within_ms != 0 {
        return Err(BadRequest::AppliedInStream);
    }
    parse(request, config, origin)
}

/// Returns the time for which its application is waited for; `None`: it is not.
pub(super) fn applied_within(ms: u32, no_wait: bool) -> Result<Option<Duration>, BadRequest> {
    match ms {
        0 => Ok(None),
        _ if no_wait => Err(BadRequest::AppliedWithoutWaiting),
        1..=MAX_APPLIED_WITHIN_MS => Ok(Some(Duration::from_millis(ms.into()))),
        given => Err(BadRequest::AppliedTooLate { given, max: MAX_APPLIED_WITHIN_MS }),
    }
}

/// Returns the request with the trace context of its metadata, unless it has one itself.
pub(super) fn with_metadata(request: Request<v1::SubmitRequest>) -> v1::SubmitRequest {
    let text = |key| request.metadata().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let of_metadata = request.metadata().get(TRACEPARENT).is_some();
    let of_metadata =
        of_metadata.then(|| v1::TraceContext { traceparent: text(TRACEPARENT), tracestate: text(TRACESTATE) });
    let submission = request.into_inner();
    let trace_context = submission.trace_context.clone().or(of_metadata);
    v1::SubmitRequest { trace_context, ..submission }
}

/// Returns a context that waits for the engine with little memory, whatever was sent. What is cut is no context any more.
fn bounded(mut context: v1::TraceContext) -> v1::TraceContext {
    if context.traceparent.len() > MAX_TRACEPARENT_BYTES {
        context.traceparent = String::new();
    }
    if context.tracestate.len() > MAX_TRACE_STATE_BYTES {
        context.tracestate = String::new();
    }
    context
}

fn parse_steps(steps: Vec<v1::SagaStep>) -> Result<Vec<SagaStep>, BadRequest> {
    let step = |(index, step)| {
        let step = SagaStep::try_from(step).map_err(|cause| BadRequest::Step { index, cause })?;
        // Work that is empty is no different on the wire.
        let action = Some(step.action.as_ref().map(own).unwrap_or_default());
        Ok(SagaStep { action, compensation: step.compensation.as_ref().map(own), ..step })
    };
    steps.into_iter().enumerate().map(step).collect()
}

/// Returns the open saga that is asked for.
pub(super) fn parse_opening(
    request: v1::BeginRequest,
    config: &Config,
    origin: &Origin,
) -> Result<Opening, BadRequest> {
    let v1::BeginRequest { tx, timeout_ms, completion_order, trace_context, check_back, parent, owner_only } = request;
    let check_back = check_back.map(parse_check_back).transpose()?;
    let completions = match v1::CompletionOrder::try_from(completion_order) {
        Ok(v1::CompletionOrder::Unspecified | v1::CompletionOrder::Together) => Completions::Together,
        Ok(v1::CompletionOrder::AsJoined) => Completions::AsJoined,
        Ok(v1::CompletionOrder::Reversed) => Completions::Reversed,
        Ok(v1::CompletionOrder::TwoPhase) => Completions::TwoPhase,
        Err(_) => return Err(BadRequest::CompletionOrder(completion_order)),
    };
    let order: &[u8] = match completions {
        Completions::Together => b"together",
        Completions::AsJoined => b"as joined",
        Completions::Reversed => b"reversed",
        Completions::TwoPhase => b"two-phase",
    };
    let owner = match (owner_only, &origin.who) {
        (false, _) => None,
        (true, None) => return Err(BadRequest::NobodyOwns),
        (true, Some(who)) => Some(who.as_bytes()),
    };
    let asked = check_back.as_ref().map(plain).unwrap_or_default();
    let digest = match parent.is_empty() {
        true => digest_of([&b"open saga"[..], order, &asked].into_iter().chain(owner)),
        false => digest_of([&b"nested saga"[..], order, &asked, &parent].into_iter().chain(owner)),
    };
    let parent = (!parent.is_empty()).then(|| TxId::new(own(&parent))).transpose()?;
    Ok(Opening {
        tx: TxId::new(own(&tx))?,
        digest,
        owner_only,
        terms: Terms { completions },
        check_back: check_back.map(Arc::new),
        parent,
        timeout: Duration::from_millis(timeout(timeout_ms, config)?),
        origin: origin.clone(),
        trace: trace_context.map(|context| Box::new(bounded(context))),
    })
}

/// Returns the step that is to join.
pub(super) fn parse_joining(request: v1::JoinRequest, origin: &Origin) -> Result<NewStep, BadRequest> {
    let v1::JoinRequest { tx, step, no_wait } = request;
    let tx = TxId::new(own(&tx))?;
    let malformed = |cause| BadRequest::Joining { cause };
    let step = SagaStep::try_from(step.unwrap_or_default()).map_err(malformed)?;
    let [action, compensation, completion] =
        [&step.action, &step.compensation, &step.completion].map(|work| work.as_ref().map(own));
    let step = SagaStep { action, compensation, completion, ..step };
    saga::check_joining(&step)?;
    let digest = digest_of(std::iter::once(plain(&step).as_slice()));
    Ok(NewStep { tx, step, digest, wait: !no_wait, origin: origin.clone() })
}

/// Returns the check-back that is asked for.
fn parse_check_back(step: v1::SagaStep) -> Result<SagaStep, BadRequest> {
    let step = SagaStep::try_from(v1::SagaStep { name: saga::CHECK_BACK.to_owned(), ..step });
    let step = step.map_err(|cause| BadRequest::Joining { cause })?;
    let step = SagaStep { action: step.action.as_ref().map(own), ..step };
    saga::check_check_back(&step)?;
    Ok(step)
}

/// Returns the parts of a step that make it the same.
fn plain(step: &SagaStep) -> Vec<u8> {
    v1::SagaStep { retry: None, ..v1::SagaStep::from(step) }.encode_to_vec()
}

fn timeout(timeout_ms: u32, config: &Config) -> Result<u64, BadRequest> {
    match timeout_ms {
        0 => Ok(config.default_timeout_ms),
        given if u64::from(given) > config.max_timeout_ms => {
            Err(BadRequest::TimeoutTooLong { given, max: config.max_timeout_ms })
        }
        given => Ok(given.into()),
    }
}

fn parse_branches(branches: Vec<v1::BranchWork>) -> Result<Vec<(ParticipantName, Bytes)>, BadRequest> {
    if branches.len() > MAX_BRANCHES_PER_TRANSACTION {
        return Err(BadRequest::TooManyBranches { given: branches.len(), max: MAX_BRANCHES_PER_TRANSACTION });
    }
    let mut parsed: Vec<(ParticipantName, Bytes)> = Vec::with_capacity(branches.len());
    for v1::BranchWork { participant, work } in branches {
        let participant: ParticipantName = participant.parse()?;
        if work.len() > MAX_WORK_BYTES {
            return Err(BadRequest::WorkTooLarge { participant, given: work.len(), max: MAX_WORK_BYTES });
        }
        parsed.push((participant, own(&work)));
    }
    Ok(parsed)
}

/// A part of what was read keeps all of it in memory, and a transaction may stay for long.
fn own(part: &Bytes) -> Bytes {
    Bytes::copy_from_slice(part)
}

/// Returns the digest of what makes two submissions the same (R10): who does what, in which mode, after what. The order of
/// branches does not count, nor in which words a step says what it comes after, nor do timeouts and how often a step is tried.
fn digest_of_content(content: &Content) -> [u8; 32] {
    match content {
        Content::TwoPhase(branches) => {
            let mut ordered: Vec<_> = branches.iter().collect();
            ordered.sort();
            digest_of(ordered.into_iter().flat_map(|(name, work)| [name.as_str().as_bytes(), work.as_ref()]))
        }
        Content::Saga(steps) | Content::Auto { steps, .. } => {
            let mode = if matches!(content, Content::Saga(_)) { "saga" } else { "auto" };
            let plain = |index: usize| v1::SagaStep {
                after: saga::directly_before(steps, index).into_iter().map(|step| step.0.into()).collect(),
                retry: None,
                ..v1::SagaStep::from(&steps[index])
            };
            let steps: Vec<_> = (0..steps.len()).map(|index| plain(index).encode_to_vec()).collect();
            digest_of(std::iter::once(mode.as_bytes()).chain(steps.iter().map(Vec::as_slice)))
        }
    }
}

fn digest_of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(name: &str, work: &'static str) -> (ParticipantName, Bytes) {
        (name.parse().unwrap(), Bytes::from_static(work.as_bytes()))
    }

    #[test]
    fn the_digest_tells_content_apart_but_not_order() {
        let digest = |branches: &[_]| digest_of_content(&Content::TwoPhase(branches.to_vec()));
        let one = digest(&[branch("a", "x"), branch("b", "y")]);
        assert_eq!(one, digest(&[branch("b", "y"), branch("a", "x")]));
        assert_ne!(one, digest(&[branch("a", "xb"), branch("b", "y")]));
        assert_ne!(one, digest(&[branch("a", "x"), branch("by", "")]));
        assert_ne!(one, digest(&[branch("a", "x")]));
    }

    #[test]
    fn a_mode_that_does_not_fit_and_a_saga_that_cannot_be_undone_are_refused() {
        let config = Config::default();
        let step = v1::SagaStep { name: "a".into(), participant: "bank".into(), ..v1::SagaStep::default() };
        let saga = v1::SubmitRequest {
            tx: "t".into(),
            mode: v1::Mode::Saga.into(),
            steps: vec![step.clone()],
            ..v1::SubmitRequest::default()
        };
        let error = |request| parse(request, &config, &Origin::default()).unwrap_err().to_string();
        assert!(error(saga.clone()).contains("steps[0].compensation"));
        let branch = v1::BranchWork { participant: "bank".into(), work: Bytes::new() };
        assert!(error(v1::SubmitRequest { branches: vec![branch], ..saga.clone() }).contains("branches are given"));
        assert!(error(v1::SubmitRequest { mode: 0, ..saga.clone() }).contains("steps are given"));
        assert!(error(v1::SubmitRequest { mode: 77, ..saga.clone() }).contains("mode 77"));
        assert!(error(v1::SubmitRequest { two_phase_only: true, ..saga.clone() }).contains("two_phase_only"));
        assert!(error(v1::SubmitRequest { value: 7, ..saga.clone() }).contains("a value"));
        for mode in [v1::Mode::Saga, v1::Mode::Auto] {
            let none = v1::SubmitRequest { steps: Vec::new(), mode: mode.into(), ..saga.clone() };
            assert!(error(none).starts_with("steps: "));
        }
        let undoable = v1::SagaStep { compensation: Some(Bytes::new()), ..step };
        assert!(parse(v1::SubmitRequest { steps: vec![undoable], ..saga }, &config, &Origin::default()).is_ok());
    }

    fn step(name: &str, after: &[u16], max_attempts: u32) -> SagaStep {
        SagaStep {
            name: name.parse().unwrap(),
            participant: "bank".parse().unwrap(),
            action: Some(Bytes::new()),
            compensation: Some(Bytes::new()),
            completion: None,
            after: after.iter().copied().map(undoubt_vocabulary::StepIndex).collect(),
            uses: Vec::new(),
            pivot: false,
            retry: undoubt_vocabulary::RetryPolicy { max_attempts, ..Default::default() },
        }
    }

    #[test]
    fn how_often_a_step_is_tried_does_not_make_it_another_saga() {
        let saga = |name, attempts| digest_of_content(&Content::Saga(vec![step(name, &[], attempts)]));
        assert_eq!(saga("a", 1), saga("a", 2));
        assert_ne!(saga("a", 1), saga("b", 1));
        let auto = digest_of_content(&Content::Auto { steps: vec![step("a", &[], 1)], two_phase_only: None });
        assert_ne!(saga("a", 1), auto);
    }

    #[test]
    fn in_which_words_a_step_says_what_it_comes_after_does_not_make_it_another_saga() {
        let first = || vec![step("a", &[], 1), step("b", &[], 1), step("c", &[0], 1)];
        let saga = |after| digest_of_content(&Content::Saga([first(), vec![step("d", after, 1)]].concat()));
        let plain = saga(&[1, 2]);
        for same in [&[2, 1][..], &[1, 1, 2], &[0, 1, 2]] {
            assert_eq!(saga(same), plain, "{same:?}");
        }
        assert_ne!(saga(&[0, 1]), plain);
        assert_ne!(saga(&[2]), plain);
        // Auto may be given what is no saga.
        digest_of_content(&Content::Auto {
            steps: vec![step("a", &[0, 1, 9], 1), step("b", &[0, 9], 1)],
            two_phase_only: None,
        });
    }
}
