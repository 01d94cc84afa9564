//! The figures of a server's requests and connections: how many, how they ended, how long they took.
//!
//! A method's counts are found by the path of the request once, and counted when the request is over: some additions to atomics, no
//! lock and no memory.

use super::exchange::Rooms;
use crate::metrics::{Distribution, LATENCY_SECONDS, Metric, Tell, Telling};
use prost::Message as _;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tonic::Code;

/// The metrics of a server's frame.
pub const METRICS: &[Metric] =
    &[REQUESTS, UNDER_WAY, DURATION, CONNECTIONS, MAX_CONNECTIONS, TURNED_AWAY, NOT_ACCEPTED, ROOM, MAX_ROOM];

const REQUESTS: Metric = Metric::counter(
    "undoubt_grpc_requests",
    &["method", "code"],
    "Requests that are over, by the code of gRPC that they ended with; `Cancelled` also where the client left",
);
const UNDER_WAY: Metric =
    Metric::gauge("undoubt_grpc_requests_under_way", &["method"], "Requests, streams among them, that are not over");
const DURATION: Metric = Metric::histogram(
    "undoubt_grpc_request_duration_seconds",
    &["method"],
    "Time from a request's head to the end of its answer, of methods without streams",
);
const CONNECTIONS: Metric = Metric::gauge("undoubt_connections_open", &[], "Connections of clients that are open");
const MAX_CONNECTIONS: Metric =
    Metric::gauge("undoubt_connections_max", &[], "The bound of undoubt_connections_open (max_connections)");
const TURNED_AWAY: Metric = Metric::counter(
    "undoubt_connections_turned_away",
    &[],
    "Connections that were closed at once because as many were open as may be",
);
const NOT_ACCEPTED: Metric =
    Metric::counter("undoubt_connections_accept_failures", &[], "Times that the system let no connection in");
const ROOM: Metric = Metric::gauge(
    "undoubt_message_room_bytes",
    &["for"],
    "Memory that is taken by requests that are not whole, or by answers that are not sent, beyond what each connection has for itself",
);
const MAX_ROOM: Metric = Metric::gauge(
    "undoubt_message_room_max_bytes",
    &["for"],
    "The bound of undoubt_message_room_bytes (max_request_room_bytes, max_answer_room_bytes)",
);

/// The codes of gRPC, by their numbers.
const CODES: [Code; 17] = [
    Code::Ok,
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// The place of paths that no service has.
const UNKNOWN: &str = "unknown";

/// The methods of all services, by their paths: whether the request is a stream, and whether the answer is.
static METHODS: LazyLock<BTreeMap<String, Streams>> = LazyLock::new(|| {
    let known = [undoubt_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let files = known.into_iter().filter_map(|set| prost_types::FileDescriptorSet::decode(set).ok());
    let services = files.flat_map(|set| set.file).flat_map(|file| {
        let package = file.package.clone().unwrap_or_default();
        file.service.into_iter().map(move |service| (package.clone(), service))
    });
    let methods = services.flat_map(|(package, service)| {
        let name = service.name.unwrap_or_default();
        let method = move |method: prost_types::MethodDescriptorProto| {
            let streams = Streams { request: method.client_streaming(), answer: method.server_streaming() };
            (format!("/{package}.{name}/{}", method.name.unwrap_or_default()), streams)
        };
        service.method.into_iter().map(method).collect::<Vec<_>>()
    });
    let reflection = ["v1", "v1alpha"].map(|version| {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        (path, Streams { request: true, answer: true })
    });
    methods.chain(reflection).collect()
});

/// The sides of a method that are streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) request: bool,
    answer: bool,
}

/// The counts of a server, of all its methods and connections. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    methods: BTreeMap<&'static str, Arc<Method>>,
    unknown: Arc<Method>,
    turned_away: AtomicU64,
    not_accepted: AtomicU64,
    /// The connections that may be open, their places, and what they may hold: known once it serves.
    bounds: std::sync::OnceLock<Bounds>,
}

#[derive(Debug)]
struct Bounds {
    max_connections: usize,
    places: Arc<tokio::sync::Semaphore>,
    requests: Room,
    answers: Room,
}

/// What is taken of a room is what is not free.
#[derive(Debug)]
struct Room {
    free: Arc<tokio::sync::Semaphore>,
    max_bytes: u32,
}

/// The counts of one method.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) streams: Streams,
    begun: AtomicU64,
    ended: [AtomicU64; CODES.len()],
    durations: Distribution,
}

impl Default for Counts {
    fn default() -> Self {
        let methods = METHODS.iter().map(|(path, streams)| (path.as_str(), Method::new(*streams))).collect();
        Counts {
            methods,
            unknown: Method::new(Streams { request: false, answer: false }),
            turned_away: AtomicU64::new(0),
            not_accepted: AtomicU64::new(0),
            bounds: std::sync::OnceLock::new(),
        }
    }
}

impl Method {
    fn new(streams: Streams) -> Arc<Method> {
        Arc::new(Method {
            streams,
            begun: AtomicU64::new(0),
            ended: std::array::from_fn(|_| AtomicU64::new(0)),
            durations: Distribution::new(LATENCY_SECONDS),
        })
    }

    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that is over.
    pub(super) fn end(&self, code: Code, took: Duration) {
        self.ended[code as usize].fetch_add(1, Ordering::Relaxed);
        if !self.streams.request && !self.streams.answer {
            self.durations.add_time(took);
        }
    }

    fn ended(&self) -> impl Iterator<Item = u64> + '_ {
        self.ended.iter().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Calls {
    pub(super) fn method(&self, path: &str) -> Arc<Method> {
        self.0.methods.get(path).unwrap_or(&self.0.unknown).clone()
    }

    pub(super) fn bounded(&self, places: &Arc<tokio::sync::Semaphore>, max_connections: usize, rooms: &Rooms) {
        let room = |room: &super::room::Room| {
            let (free, max_bytes) = room.common();
            Room { free, max_bytes }
        };
        self.0.bounds.get_or_init(|| Bounds {
            max_connections,
            places: places.clone(),
            requests: room(&rooms.requests),
            answers: room(&rooms.answers),
        });
    }

    pub(super) fn turned_away(&self) {
        self.0.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn not_accepted(&self) {
        self.0.not_accepted.fetch_add(1, Ordering::Relaxed);
    }
}

impl Room {
    fn taken(&self) -> usize {
        (self.max_bytes as usize).saturating_sub(self.free.available_permits())
    }
}

impl Tell for Calls {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let counts = &*self.0;
        let unknown = (UNKNOWN, &counts.unknown);
        let all = || {
            let named = counts.methods.iter().map(|(path, method)| (path.trim_start_matches('/'), method));
            named.chain([unknown]).filter(|(_, method)| method.begun.load(Ordering::Relaxed) > 0)
        };
        // A code that never came is left out, but for success: a rate needs a beginning.
        let names: Vec<String> = CODES.iter().map(|code| format!("{code:?}")).collect();
        let ended = all().flat_map(|(path, method)| {
            let by_code = names.iter().map(String::as_str).zip(method.ended());
            by_code.filter(|(name, count)| *count > 0 || *name == "Ok").map(move |(name, count)| ([path, name], count))
        });
        telling.each(&REQUESTS, ended)?;
        let under_way = all().map(|(path, method)| {
            let ended: u64 = method.ended().sum();
            ([path], method.begun.load(Ordering::Relaxed).saturating_sub(ended))
        });
        telling.each(&UNDER_WAY, under_way)?;
        let unary = all().filter(|(_, method)| !method.streams.request && !method.streams.answer);
        telling.each(&DURATION, unary.map(|(path, method)| ([path], &method.durations)))?;
        telling.one(&TURNED_AWAY, counts.turned_away.load(Ordering::Relaxed))?;
        telling.one(&NOT_ACCEPTED, counts.not_accepted.load(Ordering::Relaxed))?;
        let Some(bounds) = counts.bounds.get() else { return Ok(()) };
        telling.one(&CONNECTIONS, bounds.max_connections.saturating_sub(bounds.places.available_permits()))?;
        telling.one(&MAX_CONNECTIONS, bounds.max_connections)?;
        let rooms = [("requests", &bounds.requests), ("answers", &bounds.answers)];
        telling.each(&ROOM, rooms.map(|(name, room)| ([name], room.taken())))?;
        telling.each(&MAX_ROOM, rooms.map(|(name, room)| ([name], room.max_bytes as usize)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn the_methods_that_take_streams_are_known() {
        let request_is_stream = |path: &str| METHODS[path].request;
        assert!(request_is_stream("/undoubt.v1.Coordinator/SubmitMany"));
        assert!(request_is_stream("/undoubt.v1.Participant/Session"));
        assert!(!request_is_stream("/undoubt.v1.Coordinator/Submit"));
    }

    #[test]
    fn each_code_has_the_place_of_its_number() {
        for (number, code) in CODES.into_iter().enumerate() {
            assert_eq!(code as usize, number);
        }
    }

    #[tokio::test]
    async fn requests_are_told_by_method_and_code_and_those_of_no_service_together() {
        let (metrics, calls) = (Metrics::default(), Calls::default());
        metrics.add(calls.clone());
        let submit = calls.method("/undoubt.v1.Coordinator/Submit");
        submit.begin();
        submit.begin();
        submit.end(Code::Ok, Duration::from_millis(2));
        for path in ["/a", "/b"] {
            calls.method(path).begin();
            calls.method(path).end(Code::Unimplemented, Duration::ZERO);
        }
        let text = metrics.text().await.unwrap();
        for line in [
            "undoubt_grpc_requests_total{method=\"undoubt.v1.Coordinator/Submit\",code=\"Ok\"} 1",
            "undoubt_grpc_requests_under_way{method=\"undoubt.v1.Coordinator/Submit\"} 1",
            "undoubt_grpc_requests_total{method=\"unknown\",code=\"Unimplemented\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
