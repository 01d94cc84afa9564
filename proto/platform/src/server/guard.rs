//! The guard before all services: it admits a request, and tells them who its caller is.

use super::connection::ConnectionInfo;
use crate::access::Access;
use futures::future::Either;
use http::{Request, Response};
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::{Layer, Service};

#[derive(Clone)]
pub(super) struct GuardLayer {
    pub(super) access: Access,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, access: self.access.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    access: Access,
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
        match self.access.admit(request.uri().path(), request.headers(), &peer) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(refused) => {
                tracing::debug!(path = request.uri().path(), address = ?peer.address, %refused, "a request is refused");
                Either::Right(ready(Ok(refused.status().into_http())))
            }
        }
    }
}
