//! The guard before all services: it admits a request, and tells them who its caller is.

use super::connection::ConnectionInfo;
use super::exchange::Exchange;
use crate::access::{Access, Refused, action};
use crate::audit::{Audit, Call, Origin};
use crate::server::Peer;
use futures::future::{BoxFuture, Either};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tonic::body::Body;
use tower::{Layer, Service};

/// The longest time for which a refused request is read, and the most bytes that are read of it.
pub(super) const READ_OUT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_READ_OUT_BYTES: usize = 64 << 10;

#[derive(Clone)]
pub(super) struct GuardLayer {
    pub(super) access: Access,
    pub(super) audit: Weak<Audit>,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl GuardLayer {
    /// Has the audit record count what is refused.
    fn note<B>(&self, request: &Request<B>, peer: &Peer, refused: &Refused) {
        let Some(audit) = self.audit.upgrade() else { return };
        let stranger = |_| Origin { who: refused.who().map(Into::into), ..Origin::stranger(peer) };
        let origin = self.access.caller(request.headers(), peer).map_or_else(stranger, Origin::from);
        audit.note_refusal(&Call::new(origin, action(request.uri().path())), Some(refused.reason()));
    }
}

impl<S: Service<Request<Body>, Response = Response<Body>>> Service<Request<Body>> for Guard<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<ConnectionInfo>().map(|info| info.peer.clone()).unwrap_or_default();
        match self.layer.access.admit(request.uri().path(), request.headers(), &peer) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(refused) => {
                self.layer.note(&request, &peer, &refused);
                tracing::debug!(path = request.uri().path(), address = ?peer.address, %refused, "a request is refused");
                Either::Right(Box::pin(async move {
                    read_out(request).await;
                    Ok(refused.status().into_http())
                }))
            }
        }
    }
}

/// Reads and drops what a request that is no stream brings. An answer before the request's end resets the stream, and
/// after a thousand resets HTTP/2 gives the connection up, with all that others have under way on it.
async fn read_out(request: Request<Body>) {
    if request.extensions().get::<Exchange>().is_none_or(Exchange::brings_a_stream) {
        return;
    }
    let mut body = request.into_body();
    let until_its_end = async {
        let mut read_bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read_bytes += frame.data_ref().map_or(0, |data| data.len());
            if read_bytes > MAX_READ_OUT_BYTES {
                break;
            }
        }
    };
    // A client that sends too slowly gets the answer before its request has ended.
    timeout(READ_OUT_TIMEOUT, until_its_end).await.unwrap_or_default();
}
