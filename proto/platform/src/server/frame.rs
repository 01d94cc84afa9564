//! The frame of every request: a count of those under way, room for what it brings and for its answer, and the date.

use super::answers::AnswerBody;
use super::calls::Calls;
use super::connection::ConnectionInfo;
use super::exchange::Exchange;
use super::limits::MAX_REQUESTS_UNDER_WAY;
use super::requests::{RequestBody, turned_away};
use crate::clock::Clock;
use crate::date::dated;
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tower::{Layer, Service};

#[derive(Clone)]
pub(super) struct FrameLayer {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) calls: Calls,
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
        let method = self.layer.calls.method(request.uri().path());
        let is_stream = method.streams.request;
        let Some(exchange) = Exchange::begin(parts, &self.layer.under_way, MAX_REQUESTS_UNDER_WAY, method) else {
            return Answering::TurnedAway { clock };
        };
        request.extensions_mut().insert(exchange.clone());
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
                    exchange.note_code(response.headers());
                    response = response.map(|body| Body::new(AnswerBody::new(body, exchange)));
                }
                Poll::Ready(Ok(dated(response, clock.as_ref())))
            }
        }
    }
}
