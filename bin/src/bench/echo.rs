//! The floor under every message: a gRPC service that answers what it is sent, one call at a time or on a stream.

use anyhow::Context;
use futures::StreamExt;
use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::future::Ready;
use std::task::Poll;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::server::{NamedService, StreamingService, UnaryService};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use undoubt_proto::v1::{SubmitBatch, SubmitRequest};

const ONE: &str = "/undoubt.bench.Echo/One";
const MANY: &str = "/undoubt.bench.Echo/Many";

#[derive(Clone, Copy, Debug)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "undoubt.bench.Echo";
}

impl UnaryService<SubmitRequest> for Echo {
    type Response = SubmitRequest;
    type Future = Ready<Result<Response<SubmitRequest>, Status>>;

    fn call(&mut self, request: Request<SubmitRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(request.into_inner())))
    }
}

impl StreamingService<SubmitBatch> for Echo {
    type Response = SubmitBatch;
    type ResponseStream = Streaming<SubmitBatch>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<SubmitBatch>>) -> Self::Future {
        std::future::ready(Ok(Response::new(request.into_inner())))
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                ONE => tonic::server::Grpc::new(codec_of_one()).unary(Echo, request).await,
                MANY => tonic::server::Grpc::new(codec_of_many()).streaming(Echo, request).await,
                other => Status::unimplemented(format!("no method {other}")).into_http(),
            })
        })
    }
}

fn codec_of_one() -> ProstCodec<SubmitRequest, SubmitRequest> {
    ProstCodec::default()
}

fn codec_of_many() -> ProstCodec<SubmitBatch, SubmitBatch> {
    ProstCodec::default()
}

/// Serves on `listener` until the process ends.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let incoming = TcpListenerStream::new(listener).map(|accepted| {
        accepted.inspect(|stream| {
            // Without it lone answers would be held back; then the floor is higher, which the figures show.
            let _ = stream.set_nodelay(true);
        })
    });
    Server::builder().add_service(Echo).serve_with_incoming(incoming).await.context("the echo's server")
}

/// Sends one message and waits for it to come back.
pub async fn one(channel: Channel, message: SubmitRequest) -> Result<SubmitRequest, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(ONE);
    Ok(grpc.unary(Request::new(message), path, codec_of_one()).await?.into_inner())
}

/// Opens a stream on which batches come back.
pub async fn many(
    channel: Channel,
    batches: impl futures::Stream<Item = SubmitBatch> + Send + 'static,
) -> Result<Streaming<SubmitBatch>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(MANY);
    Ok(grpc.streaming(Request::new(batches), path, codec_of_many()).await?.into_inner())
}
