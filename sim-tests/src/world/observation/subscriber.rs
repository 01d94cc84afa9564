//! Listens to what the servers tell of themselves as `tracing` events: their own messages and notes become the trace.
//! Where details are wanted, every event of every library goes into the hash as well.

use super::Recorder;
use super::notes::{phase_after, shown};
use crate::plan::{Direction, Host};
use crate::trace::{Event, Standing};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};

/// Runs `what` with its events going to the recorder.
pub(crate) fn observing<T>(recorder: &Recorder, what: impl FnOnce() -> T) -> T {
    let details = recorder.wants_details();
    let listener = Listener { recorder: recorder.clone(), details, at: AtomicU64::new(0), nodes: Mutex::default() };
    tracing::subscriber::with_default(listener, what)
}

struct Listener {
    recorder: Recorder,
    details: bool,
    /// The span we are in: turmoil enters one with the host's name whenever it runs that host.
    at: AtomicU64,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    ids: BTreeMap<String, u64>,
    hosts: Vec<Option<Host>>,
}

impl Listener {
    fn host(&self) -> Option<Host> {
        let at = usize::try_from(self.at.load(Ordering::Relaxed)).ok()?.checked_sub(1)?;
        self.nodes.lock().ok()?.hosts.get(at).copied().flatten()
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && matches!(metadata.target(), "undoubt::wire" | "undoubt::note" | "undoubt::life")
}

fn is_node(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.name() == "node" && metadata.target().starts_with("turmoil")
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Not `never` for the others: one process may run both kinds of listeners.
        if is_ours(metadata) || is_node(metadata) { Interest::always() } else { Interest::sometimes() }
    }

    /// Returns the level that is listened to, so that what nobody listens to is not even asked about: connections tell
    /// much at the level of traces.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.details { LevelFilter::TRACE } else { LevelFilter::DEBUG })
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata) || is_node(metadata) || (self.details && metadata.is_event())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let name = fields.get("name");
        let Ok(mut nodes) = self.nodes.lock() else { return Id::from_u64(1) };
        if let Some(id) = nodes.ids.get(&name) {
            return Id::from_u64(*id);
        }
        nodes.hosts.push(name.parse().ok());
        let id = nodes.hosts.len() as u64;
        nodes.ids.insert(name, id);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, span: &Id) {
        self.at.store(span.into_u64(), Ordering::Relaxed);
    }

    fn exit(&self, _: &Id) {
        self.at.store(0, Ordering::Relaxed);
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (host, target) = (self.host(), event.metadata().target());
        if self.details && !is_ours(event.metadata()) {
            return self.recorder.detail(&format!("{host:?} {target} {}", fields.text()));
        }
        let Some(host) = host else { return };
        match target {
            "undoubt::wire" => self.wire(host, &fields),
            "undoubt::note" => self.note(host, &fields),
            _ => self.recorder.record(host, life(&fields.get("message"))),
        }
    }
}

/// Reads what a server says of its own life.
fn life(message: &str) -> Event {
    if message.starts_with("this coordinator is held") {
        Standing::Held.into()
    } else if message.starts_with("this participant was put back") {
        Standing::Refuses.into()
    } else {
        Event::Serving
    }
}

impl Listener {
    fn wire(&self, host: Host, fields: &Fields) {
        let key = || (fields.get("what"), fields.get("tx"), fields.get("attempt_number").parse().unwrap_or_default());
        let peer = |name: &str| match fields.get(name).parse() {
            Ok(Host::Participant(number)) => Some(number),
            Ok(
                Host::Coordinator
                | Host::Standby
                | Host::Database(_)
                | Host::Service(_)
                | Host::Client(_)
                | Host::Reader(_),
            )
            | Err(_) => None,
        };
        match (host, fields.get("message").as_str()) {
            (Host::Participant(number), "sent") => {
                self.recorder.sent(host, (number, Direction::ToCoordinator), key());
            }
            (Host::Participant(number), "received") => {
                self.recorder.received(host, (number, Direction::ToParticipant), key());
            }
            (_, "sent") => {
                let Some(number) = peer("to") else { return };
                self.recorder.sent(host, (number, Direction::ToParticipant), key());
            }
            (_, "received") => {
                let Some(number) = peer("from") else { return };
                self.recorder.received(host, (number, Direction::ToCoordinator), key());
            }
            (_, "welcomed") => peer("to").into_iter().for_each(|number| self.recorder.new_session(host, number)),
            _ => {}
        }
    }

    fn note(&self, host: Host, fields: &Fields) {
        let (tx, event, detail) = (fields.get("tx"), fields.get("event"), fields.get("detail"));
        let phase = phase_after(self.recorder.phase(&tx), &event, &detail);
        let note = shown(&event, &detail, &fields.get("participant"));
        self.recorder.record(host, Event::Noted { tx, phase, note });
    }
}

/// The fields of one event, as text.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn get(&self, name: &str) -> String {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}
