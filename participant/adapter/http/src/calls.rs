//! One thing asked of a service, until there is an answer that means something, or no time left.

use crate::HttpServices;
use crate::client::{Answer, NoAnswer};
use crate::convention::{Convention, Identity, Operation};
use crate::message::Message;
use crate::verdict::Verdict;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{Refusal, TraceContext};
use undoubt_work::http::HttpResult;

/// The pause before a service is asked again that is at it, and does not say for how long.
const IN_PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// The least pause before a service is asked again, whatever it says.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// The characters of an answer that a refusal tells.
const SHOWN_CHARACTERS: usize = 300;

/// A thing that is asked of a service.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    pub(crate) identity: &'a Identity,
    pub(crate) message: &'a Message,
    /// True if the call that is to be undone was answered with success before.
    pub(crate) tried: bool,
    pub(crate) deadline: Instant,
    pub(crate) trace: Option<TraceContext>,
}

/// The answer of a service, or the lack of one.
#[derive(Debug)]
pub(crate) enum Said {
    Done(HttpResult),
    /// The service will not do it, and has done nothing.
    Refused(Refusal),
    /// Nobody knows whether it took effect.
    Unclear(String),
    /// The request has not left this process.
    NotSent(String),
}

impl HttpServices {
    /// Asks, and asks again as long as the service says that it will answer later. Stops waiting once cancelled.
    pub(crate) async fn ask(&self, call: Call<'_>, cancelled: &CancellationToken) -> Said {
        let Call { operation, identity, message, tried, deadline, trace } = call;
        let headers = Convention::Own.headers(identity, operation, trace.as_ref());
        let mut was_sent = false;
        loop {
            let answered = tokio::select! {
                answered = self.client.call(message, &headers, deadline) => answered,
                () = cancelled.cancelled() => return Said::Unclear("it was called off before there was an answer".to_owned()),
            };
            let to = &message.address;
            let answer = match answered {
                Ok(answer) => answer,
                Err(NoAnswer::NotSent(why)) if !was_sent => return Said::NotSent(format!("{to} was not asked: {why}")),
                Err(NoAnswer::NotSent(why) | NoAnswer::Broken(why)) => {
                    return Said::Unclear(format!("{to} gave no answer: {why}"));
                }
            };
            was_sent = true;
            let told = told(&answer);
            match Convention::Own.verdict(operation, tried, answer.status) {
                Verdict::Done => match answer.body {
                    Err(why) if operation.has_result() => {
                        return Said::Unclear(format!("{to} answered {told}, and {why}"));
                    }
                    body => {
                        let (status, is_json) = (answer.status, answer.is_json);
                        return Said::Done(HttpResult { status, body: body.unwrap_or_default(), is_json });
                    }
                },
                Verdict::Refused(code) => return Said::Refused(Refusal::new(code, format!("{to} answered {told}"))),
                Verdict::Unclear => return Said::Unclear(format!("{to} answered {told}")),
                Verdict::Later => {
                    let in_progress = (answer.status == 425).then_some(IN_PROGRESS_PAUSE);
                    let pause = answer.retry_after.or(in_progress).map(|pause| pause.max(LEAST_PAUSE));
                    let is_in_time =
                        |pause: &Duration| Instant::now().checked_add(*pause).is_some_and(|at| at < deadline);
                    let Some(pause) = pause.filter(is_in_time) else {
                        let when =
                            answer.retry_after.map(|after| format!(", to be asked again after {} s", after.as_secs()));
                        return Said::Unclear(format!("{to} answered {told}{}", when.unwrap_or_default()));
                    };
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = cancelled.cancelled() => return Said::Unclear(format!("{to} answered {told}, and it was called off")),
                    }
                }
            }
        }
    }
}

/// Returns the status, and the beginning of what the service said, on one line.
fn told(answer: &Answer) -> String {
    let body = answer.body.as_ref().map(Bytes::as_ref).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARACTERS).collect();
    match text.trim() {
        "" => answer.status.to_string(),
        text => format!("{} ({text})", answer.status),
    }
}
