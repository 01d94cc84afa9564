//! One connection to a coordinator or a participant, and calls on it that are repeated until their deadline.

use crate::credentials::Asker;
use crate::error::{InvalidAddress, Unanswered};
use crate::options::{ClientOptions, LONGEST, Patience};
use crate::retry::{Pauses, Verdict, explain, is_untrusted, judge, reason};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

pub(crate) use undoubt_vocabulary::limits::MAX_RESPONSE_BYTES;

/// A channel whose requests say who asks.
pub(crate) type Authorized = InterceptedService<Channel, Asker>;

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) address: Arc<str>,
    pub(crate) channel: Channel,
    pub(crate) options: Arc<ClientOptions>,
    pub(crate) asker: Arc<Asker>,
}

/// The leave to repeat a call though an earlier attempt may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Always,
    OnlyIfNotReceived,
}

/// The cause for which a call has no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The other side's definite answer.
    Answered(Status),
    Unanswered(Unanswered),
}

impl Connection {
    /// Connects when the first call is made. Must be called within a tokio runtime.
    pub(crate) fn open(address: &str, options: ClientOptions) -> Result<Self, InvalidAddress> {
        let invalid = |why: &str| InvalidAddress { address: address.to_owned(), why: why.to_owned() };
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(url).map_err(|error| invalid(&error.to_string()))?;
        if endpoint.uri().authority().is_some_and(|authority| authority.as_str().contains('@')) {
            // Nor may it be shown: there may be a password in it.
            let (address, why) =
                ("http://…@…".to_owned(), "a user and a password have no use here; leave them out".to_owned());
            return Err(InvalidAddress { address, why });
        }
        let is_encrypted = match endpoint.uri().scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(invalid("only http:// and https:// are supported")),
        };
        if !is_encrypted && options.token.is_some() && !is_on_this_machine(endpoint.uri().host().unwrap_or_default()) {
            return Err(invalid("a token would be read by whoever is on the way; use https://"));
        }
        if endpoint.uri().port_u16().is_none() {
            return Err(invalid("the port is missing"));
        }
        let endpoint = endpoint
            .connect_timeout(options.connect_timeout)
            .http2_keep_alive_interval(options.keep_alive_interval)
            .keep_alive_timeout(options.keep_alive_timeout)
            .keep_alive_while_idle(true);
        let channel =
            if is_encrypted { encrypted(endpoint, &options).map_err(invalid)? } else { endpoint.connect_lazy() };
        Ok(Connection::over(address, channel, options))
    }

    /// `callee`: what errors call the other side.
    pub(crate) fn over(callee: &str, channel: Channel, options: ClientOptions) -> Self {
        let asker = Arc::new(Asker::new(options.token.clone()));
        Connection { address: callee.into(), channel, options: Arc::new(options), asker }
    }

    /// Returns the channel for requests.
    pub(crate) fn authorized(&self) -> Authorized {
        InterceptedService::new(self.channel.clone(), (*self.asker).clone())
    }

    /// Returns the moment when a call that begins now gives up.
    pub(crate) fn deadline(&self) -> Instant {
        self.options.deadline_from(Instant::now())
    }

    /// Makes `attempt`s until one is answered for good, or until the deadline.
    pub(crate) async fn call<T, F>(
        &self,
        deadline: Instant,
        repeat: Repeat,
        seed: impl Hash,
        attempt: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_patiently(Patience::until(deadline), Duration::ZERO, repeat, seed, attempt).await
    }

    /// As [`Self::call`], for what takes long and is not to be done twice: once the other side may have heard, its answer is
    /// waited for as long as the connection lives.
    pub(crate) async fn call_once_heard<T, F>(&self, seed: impl Hash, attempt: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let patience = Patience::until(self.deadline());
        self.call_patiently(patience, LONGEST, Repeat::OnlyIfNotReceived, seed, attempt).await
    }

    /// As [`Self::call`], with more patience once somebody may have heard. For questions that the other side itself answers
    /// by the deadline, the attempt under way then has `grace` for its answer to arrive, or else a busy machine would look
    /// like one that does not answer.
    pub(crate) async fn call_patiently<T, F>(
        &self,
        patience: Patience,
        grace: Duration,
        repeat: Repeat,
        seed: impl Hash,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let began = Instant::now();
        let mut pauses = Pauses::new(&self.options, seed);
        let mut maybe_received = false;
        loop {
            let until = patience.heard.min(Instant::now() + self.options.attempt_timeout) + grace;
            let mut is_hopeless = false;
            let (cause, reason, after) = match timeout_at(until, attempt()).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => match judge(&status) {
                    Verdict::Final => return Err(Failure::Answered(status)),
                    Verdict::Again { after, maybe_received: this_one } => {
                        maybe_received |= this_one;
                        is_hopeless = is_untrusted(&status);
                        (explain(&status), reason(&status), after)
                    }
                },
                Err(_elapsed) => {
                    maybe_received = true;
                    ("no answer came in time".to_owned(), None, None)
                }
            };
            let pause = pauses.next(after);
            let deadline = patience.deadline(maybe_received);
            let out_of_time = pause >= deadline.saturating_duration_since(Instant::now());
            if is_hopeless || out_of_time || (maybe_received && repeat == Repeat::OnlyIfNotReceived) {
                return Err(Failure::Unanswered(Unanswered {
                    address: self.address.to_string(),
                    after: began.elapsed(),
                    cause,
                    reason,
                    maybe_received,
                }));
            }
            tracing::debug!(address = %self.address, cause, ?pause, "trying again");
            sleep(pause).await;
        }
    }
}

/// Returns true of the addresses that no other machine reads along with.
fn is_on_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(feature = "tls")]
fn encrypted(endpoint: Endpoint, options: &ClientOptions) -> Result<Channel, &'static str> {
    match &options.tls {
        Some(tls) => Ok(crate::encrypted::connect_lazily(endpoint, tls.clone())),
        None => Err("https:// needs to know whom to trust: name the CA's certificate (ClientOptions::tls, or --ca)"),
    }
}

#[cfg(not(feature = "tls"))]
fn encrypted(_: Endpoint, _: &ClientOptions) -> Result<Channel, &'static str> {
    Err("this program is built without TLS; build it with the feature `tls` of undoubt-client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credentials_in_an_address_are_refused_and_not_shown() {
        let error = Connection::open("http://me:secret@127.0.0.1:1", ClientOptions::default()).unwrap_err().to_string();
        assert!(error.contains("leave them out") && !error.contains("secret"), "{error}");
    }

    #[tokio::test]
    async fn a_token_goes_to_this_machine_or_is_encrypted_and_is_never_shown() {
        let options = ClientOptions::default().token("undoubt_secret").unwrap();
        assert!(!format!("{options:?}").contains("secret"));
        for address in ["http://127.0.0.1:1", "http://[::1]:1", "localhost:1"] {
            assert!(Connection::open(address, options.clone()).is_ok(), "{address}");
        }
        let error = Connection::open("http://shop.example:1", options).unwrap_err().to_string();
        assert!(error.contains("use https://") && !error.contains("secret"), "{error}");
        assert!(ClientOptions::default().token("two words").is_err());
    }

    #[tokio::test]
    async fn an_address_needs_a_port_and_may_leave_out_http() {
        let open = |address| Connection::open(address, ClientOptions::default());
        assert!(open("127.0.0.1:7400").is_ok());
        assert!(open("http://localhost:7400").is_ok());
        for bad in ["", "localhost", "http://", "https://localhost:1", "ftp://a:1", "a b:1", "http://a:port", "\0"] {
            let error = open(bad).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:7400"), "{error}");
        }
    }
}
