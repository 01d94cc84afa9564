//! The guard before all services: it admits a request, and tells them who its caller is.

use super::connection::ConnectionInfo;
use crate::access::{Access, Refused, action};
use crate::audit::{Audit, Call, Origin};
use crate::server::Peer;
use futures::future::Either;
use http::{Request, Response};
use std::future::{Ready, ready};
use std::sync::Weak;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::{Layer, Service};

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
    fn note(&self, path: &str, peer: &Peer, refused: &Refused) {
        let Some(audit) = self.audit.upgrade() else { return };
        let origin = Origin { who: refused.who().map(Into::into), ..Origin::stranger(peer) };
        audit.note_refusal(&Call::new(origin, action(path)), Some(refused.reason()));
    }
}

impl<S: Service<Request<Body>, Response = Response<Body>>> Service<Request<Body>> for Guard<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

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
                self.layer.note(request.uri().path(), &peer, &refused);
                tracing::debug!(path = request.uri().path(), address = ?peer.address, %refused, "a request is refused");
                Either::Right(ready(Ok(refused.status().into_http())))
            }
        }
    }
}
