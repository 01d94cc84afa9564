//! The service's machine: opens its disk, takes connections, troubles callers, and lets other hands do what they do.

use super::books::FAMILIES;
use super::desk::Desk;
use super::wire::{Answer, Asked, NoRequest, Sent, half, whole};
use crate::plan::Host;
use crate::plan::points::OPENED;
use crate::world::net;
use crate::world::server::Machine;
use crate::world::shared_state::Trouble;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use undoubt_platform::StoreError;

/// The connection is broken instead of an answer.
#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service breaks the connection")
    }
}

impl std::error::Error for Broken {}

/// A service that runs.
struct Service {
    desk: Desk,
    participant: Host,
    /// Why its disk cannot be written any more.
    failed: watch::Sender<Option<StoreError>>,
}

/// Runs until the service's disk fails, or its machine does.
pub(in crate::world) async fn serve(machine: Machine) -> turmoil::Result {
    let Machine { shared, host, process, random: _, network } = machine;
    let Host::Service(number) = host else { return Ok(()) };
    let store = Arc::new(shared.disk(host).open(&FAMILIES, process)?);
    shared.reach(host, OPENED);
    let desk = Desk::open(shared, host, number, store)?;
    let service = Arc::new(Service { desk, participant: Host::Participant(number), failed: watch::Sender::new(None) });
    let mut connections = std::pin::pin!(net::accepted(network).await?);
    let taking = async {
        while let Some(connection) = connections.next().await {
            let Ok(stream) = connection else { continue };
            let service = service.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| receive(service.clone(), request));
                // What breaks a connection is the caller's to notice. The date would come from the machine's clock.
                let _ =
                    http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    };
    let mut failed = service.failed.subscribe();
    tokio::select! {
        biased;
        failed = failed.wait_for(Option::is_some) => match failed?.clone() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        },
        () = other_hands(&service) => Ok(()),
        () = taking => Ok(()),
    }
}

async fn receive(service: Arc<Service>, request: http::Request<Incoming>) -> Result<Sent, Broken> {
    let shared = service.desk.shared.clone();
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(NoRequest::Broken) => return Err(Broken),
        Err(NoRequest::Wrong(why)) => {
            shared.finals().failures.push(format!("{} was asked what it cannot read: {why}", service.desk.host));
            return whole(&Answer::says(400, &why), false).map_err(|_| Broken);
        }
    };
    shared.reach(service.desk.host, "asked");
    let trouble = shared.trouble(service.participant);
    match trouble {
        Trouble::Slow { by_ms } => sleep(Duration::from_millis(by_ms)).await,
        Trouble::Deaf => return Err(Broken),
        Trouble::Says { status, retry } => return whole(&says(status), retry).map_err(|_| Broken),
        Trouble::None
        | Trouble::SlowToAnswer { .. }
        | Trouble::Mute
        | Trouble::HalfAnswer
        | Trouble::SaysAfter { .. }
        | Trouble::Refuses => {}
    }
    // What was begun goes on, whether or not somebody waits for it.
    let at_work = service.clone();
    let answered = tokio::spawn(async move { at_work.desk.answer(&asked, trouble == Trouble::Refuses).await });
    let answer = match answered.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(StoreError::Unavailable { .. })) => return whole(&says(503), true).map_err(|_| Broken),
        Ok(Err(error)) => {
            service.failed.send_replace(Some(error));
            return Err(Broken);
        }
        Err(_ended) => return Err(Broken),
    };
    let sent = match trouble {
        Trouble::Mute => return Err(Broken),
        Trouble::HalfAnswer => half(&answer),
        Trouble::SaysAfter { status, retry } => whole(&says(status), retry),
        Trouble::SlowToAnswer { by_ms } => {
            sleep(Duration::from_millis(by_ms)).await;
            whole(&answer, false)
        }
        Trouble::None | Trouble::Slow { .. } | Trouble::Deaf | Trouble::Says { .. } | Trouble::Refuses => {
            whole(&answer, false)
        }
    };
    sent.map_err(|_| Broken)
}

fn says(status: u16) -> Answer {
    Answer::says(status, "it is in trouble")
}

/// Drops what is held whenever somebody else is to.
async fn other_hands(service: &Service) {
    let (shared, Host::Participant(number)) = (&service.desk.shared, service.participant) else { return };
    let stirred = shared.stirred(service.participant);
    loop {
        while service.desk.holds_something() && shared.next_other_hand(service.participant).is_some() {
            // If it cannot be written, it is held as before.
            let Ok(Some(tx)) = service.desk.drop_a_hold().await else { continue };
            let mut finals = shared.finals();
            let found = finals.participants.entry(number).or_default();
            found.ended_by_others.insert(tx.clone());
            // Whether or not the participant ever hears of it.
            found.heuristics.insert(tx, false);
        }
        stirred.notified().await;
    }
}
