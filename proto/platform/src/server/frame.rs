//! The frame of every request: a count of those under way, room for what it brings and for its answer, and the date.

use super::answers::AnswerBody;
use super::connection::ConnectionInfo;
use super::exchange::Exchange;
use super::limits::MAX_REQUESTS_UNDER_WAY;
use super::requests::{RequestBody, turned_away};
use crate::clock::Clock;
use crate::date::dated;
use http::{Request, Response};
use pin_project_lite::pin_project;
use prost::Message as _;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tower::{Layer, Service};

/// Paths of the methods whose requests are streams.
static STREAMS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let known = [undoubt_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let files = known.into_iter().filter_map(|set| prost_types::FileDescriptorSet::decode(set).ok());
    let services = files.flat_map(|set| set.file).flat_map(|file| {
        let package = file.package.clone().unwrap_or_default();
        file.service.into_iter().map(move |service| (package.clone(), service))
    });
    let streams = services.flat_map(|(package, service)| {
        let of_streams = service.method.into_iter().filter(|method| method.client_streaming());
        let name = service.name.unwrap_or_default();
        of_streams.map(|method| format!("/{package}.{name}/{}", method.name.unwrap_or_default())).collect::<Vec<_>>()
    });
    streams.chain(["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned()]).collect()
});

#[derive(Clone)]
pub(super) struct FrameLayer {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) max_message_bytes: usize,
    pub(super) under_way: Arc<AtomicUsize>,
}

impl<S> Layer<S> for FrameLayer {
    type Service = Frame<S>;

    fn layer(&self, inner: S) -> Frame<S> {
        Frame { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Frame<S> {
    inner: S,
    layer: FrameLayer,
}

impl<S: Service<Request<Body>, Response = Response<Body>>> Service<Request<Body>> for Frame<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering<S::Future> {
        let clock = self.layer.clock.clone();
        let info = request.extensions_mut().get_mut::<ConnectionInfo>();
        let Some(parts) = info.and_then(|info| info.parts.take()) else {
            return Answering::Framed { answer: self.inner.call(request), exchange: None, clock };
        };
        let Some(exchange) = Exchange::begin(parts, &self.layer.under_way, MAX_REQUESTS_UNDER_WAY) else {
            return Answering::TurnedAway { clock };
        };
        request.extensions_mut().insert(exchange.clone());
        let is_stream = STREAMS.contains(request.uri().path());
        let (framed, max) = (exchange.clone(), self.layer.max_message_bytes);
        let request = request.map(|body| Body::new(RequestBody::new(body, framed, max, is_stream)));
        Answering::Framed { answer: self.inner.call(request), exchange: Some(exchange), clock }
    }
}

pin_project! {
    #[project = Stage]
    pub(super) enum Answering<F> {
        TurnedAway { clock: Arc<dyn Clock> },
        Framed {
            #[pin]
            answer: F,
            exchange: Option<Exchange>,
            clock: Arc<dyn Clock>,
        },
    }
}

impl<F: Future<Output = Result<Response<Body>, E>>, E> Future for Answering<F> {
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Stage::TurnedAway { clock } => {
                let why = format!(
                    "{MAX_REQUESTS_UNDER_WAY} requests are under way, as many as may be, and nothing was done with this \
                     one; come back later"
                );
                Poll::Ready(Ok(dated(turned_away(&why).into_http(), clock.as_ref())))
            }
            Stage::Framed { answer, exchange, clock } => {
                let mut response = ready!(answer.poll(cx))?;
                if let Some(exchange) = exchange.take() {
                    exchange.is_taken();
                    response = response.map(|body| Body::new(AnswerBody::new(body, exchange)));
                }
                Poll::Ready(Ok(dated(response, clock.as_ref())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_that_take_streams_are_known() {
        let streams: Vec<&str> = STREAMS.iter().map(String::as_str).collect();
        assert!(streams.contains(&"/undoubt.v1.Coordinator/SubmitMany"), "{streams:?}");
        assert!(streams.contains(&"/undoubt.v1.Participant/Session"), "{streams:?}");
        assert!(!streams.contains(&"/undoubt.v1.Coordinator/Submit"), "{streams:?}");
    }
}
