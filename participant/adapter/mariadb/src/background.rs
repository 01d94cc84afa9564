//! The participant's own work: signs of life, a look at what is prepared, and how the database is.

use crate::connect::Absent;
use crate::owner::PING;
use crate::record::branch_of;
use crate::session::Session;
use crate::shared::Shared;
use crate::standing::{all_prepared, lost, xid_of};
use crate::witness::store_remembered;
use mysql_async::Error;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{Health, ResourceError};
use undoubt_sql::{PreparedName, Xid};

/// The age from which on what is prepared is warned of.
const OLD: Duration = Duration::from_secs(60);

pub(crate) async fn run(shared: &Shared, stop: CancellationToken) -> Result<(), ResourceError> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(PING / 2) => {}
        }
        let look = async {
            let mut control = shared.sessions.control().await?;
            look_at_procedures(shared, &mut control).await?;
            look(&mut control).await.map_err(|error| Absent::away(&error))
        };
        match look.await {
            Ok(seen) => note(shared, &seen),
            Err(Absent::Away(why)) => tracing::warn!(why, "the database is away"),
            Err(ends @ (Absent::Fenced(_) | Absent::Foreign(_))) => return Err(ends.into()),
        }
        if let Err(error) = store_remembered(shared).await {
            tracing::debug!(%error, "what was seen of others is not stored yet");
        }
        if let Err(error) = shared.sessions.end_suspects().await {
            tracing::warn!(%error, "a broken session has not ended yet");
        }
    }
    if let Err(error) = store_remembered(shared).await {
        tracing::warn!(%error, "what was seen of others is not stored");
    }
    Ok(())
}

/// Ends all sessions.
pub(crate) async fn end(shared: &Shared) {
    for worker in shared.forget_all() {
        worker.session.close().await;
    }
    shared.sessions.end().await;
}

/// Has the server describe what it may see otherwise by now: all procedures after the control session was connected anew, else those
/// that did not fit.
async fn look_at_procedures(shared: &Shared, control: &mut Session) -> Result<(), Absent> {
    let all = shared.sessions.take_anew();
    shared.unfit.look(control, &shared.procedures, all).await.map_err(|error| {
        if all {
            shared.sessions.look_again();
        }
        Absent::away(&error)
    })
}

/// The state of the server, as one look shows it.
#[derive(Debug)]
struct Seen {
    prepared: Vec<Xid>,
    /// The time by the server's clock, since 1970.
    now: Duration,
}

async fn look(control: &mut Session) -> Result<Seen, Error> {
    let prepared = all_prepared(control).await?;
    let rows = control.rows("SELECT UNIX_TIMESTAMP()").await?;
    let now_s: u64 = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    Ok(Seen { prepared, now: Duration::from_secs(now_s) })
}

fn note(shared: &Shared, Seen { prepared, now }: &Seen) {
    let known: Vec<String> = shared.names().iter().map(xid_of).collect();
    let hold = shared.sessions.hold().ok();
    let (mut warnings, mut here, mut others, mut oldest) = (Vec::new(), 0_u64, 0_u64, Duration::ZERO);
    for xid in prepared {
        let ours = PreparedName::from_xid(xid).ok();
        let Some(name) = ours.filter(|name| hold.as_ref().is_some_and(|hold| hold.identity == name.identity)) else {
            others += 1;
            continue;
        };
        here += 1;
        let age = now.saturating_sub(Duration::from_micros(name.begun_at.0));
        oldest = oldest.max(age);
        let tx = branch_of(&name).tx;
        if !known.contains(&xid_of(&name)) && age > PING {
            warnings.push(format!("{tx} is prepared and not known to this process; a restart takes it up"));
        } else if age > OLD {
            warnings.push(format!("{tx} is in doubt for {} s; it keeps its locks", age.as_secs()));
        }
    }
    warnings.extend(shared.lost().iter().map(lost));
    let numbers = vec![
        ("prepared_here", here),
        ("prepared_by_others", others),
        ("prepared_oldest_age_ms", u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
        ("prepared_lost", shared.lost().len() as u64),
    ];
    *shared.health.lock().expect("health is whole") = Health { refuses_work: None, warnings, numbers };
}

pub(crate) fn health(shared: &Shared) -> Health {
    let mut health = shared.health.lock().expect("health is whole").clone();
    health.refuses_work = shared.sessions.away();
    health.warnings.extend(shared.unfit.warnings());
    health.numbers.extend(shared.sessions.counts());
    health.numbers.extend([
        ("sessions_broken", shared.sessions.suspects() as u64),
        ("locked_keys", shared.locks.locked_keys()),
        ("transactions_waiting_for_locks", shared.locks.waiting()),
    ]);
    health
}
