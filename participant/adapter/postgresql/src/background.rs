//! The participant's own work: signs of life, a look at what is prepared, and how the database is.
//!
//! A transaction that is prepared under a name of this participant and unknown to this process landed late. It is handed to the server,
//! which asks its coordinator. A look tells such a name from one that is prepared just now: this process knows each name from before it is
//! prepared until it has ended. So a name that one look has shown, that was not known before the next look, and that this shows again,
//! was never this process's own.

use crate::attempt::in_time;
use crate::connect::Absent;
use crate::enlisted::{self, InDoubt};
use crate::owner::PING;
use crate::recovery::finish_intents;
use crate::session::Session;
use crate::shared::Shared;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{Health, ResourceError};
use undoubt_sql::{EnlistedName, Identity, PreparedName};

/// The age from which on what is prepared is warned of.
const OLD: Duration = Duration::from_secs(60);

/// Warned of when more than this share of the slots is taken, in per cent.
const CROWDED_PER_CENT: u64 = 80;

pub(crate) async fn run(shared: &Arc<Shared>, stop: CancellationToken) -> Result<(), ResourceError> {
    let mut seen_before = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(PING / 2) => {}
        }
        match look_at(shared).await {
            Ok((unknown, unsubmitted)) => {
                undo_late(shared, unsubmitted).await;
                let now = unknown.iter().map(PreparedName::to_gid).collect();
                let seen_before = std::mem::replace(&mut seen_before, now);
                let found = unknown.into_iter().filter(|name| seen_before.contains(&name.to_gid()));
                if let Err(error) = find(shared, found.collect()).await {
                    tracing::warn!(%error, "what is prepared here and not known cannot be taken up yet");
                }
            }
            Err(Absent::Away(why)) => tracing::warn!(why, "the database is away"),
            Err(Absent::Silent) => tracing::warn!("the database did not answer in time"),
            Err(ends @ (Absent::Fenced(_) | Absent::Foreign(_))) => return Err(ends.into()),
        }
        // In the midst of a long outage it is tried again with the next look.
        if let Some(Err(error)) = in_time(keep_up(shared)).await {
            tracing::warn!(%error, "how far the writes came is not kept yet");
        }
        if let Err(error) = shared.sessions.end_suspects().await {
            tracing::warn!(%error, "a broken session has not ended yet");
        }
    }
    Ok(())
}

/// Stores what is remembered of coordinators' logs.
async fn keep_up(shared: &Shared) -> Result<(), ResourceError> {
    shared.numbers()?.store_remembered().await
}

/// Looks at the server, and notes what it shows. Returns the names of this participant that were not known before: its own, and
/// those under which applications prepare.
pub(crate) async fn look_at(shared: &Shared) -> Result<(Vec<PreparedName>, Vec<EnlistedName>), Absent> {
    let known = shared.gids();
    let control = shared.sessions.control().await?;
    let seen = in_time(look(&control)).await.ok_or(Absent::Silent)?.map_err(|error| Absent::away(&error))?;
    let (mut own, mut enlisted) = note(shared, &seen);
    own.retain(|name| !known.contains(&name.to_gid()));
    enlisted.retain(|name| !known.contains(&name.to_gid()));
    Ok((own, enlisted))
}

/// Undoes what an application has prepared, was not submitted in time, and belongs to no open transaction.
async fn undo_late(shared: &Shared, unsubmitted: Vec<EnlistedName>) {
    let grace = Duration::from_millis(shared.sessions.connector().settings().enlist_grace_ms);
    let late = shared.unsubmitted().look(unsubmitted, Instant::now(), grace);
    for name in late {
        match enlisted::undo(shared, &name).await {
            Ok(()) => {
                tracing::warn!(tx = %name.tx, "what an application has prepared belongs to no open transaction, and is undone")
            }
            Err(error) => {
                tracing::warn!(tx = %name.tx, %error, "what an application has prepared and not submitted cannot be undone yet")
            }
        }
    }
}

/// Notes what was found, for the server to take up; or ends it as an operator has decided.
async fn find(shared: &Shared, found: Vec<PreparedName>) -> Result<(), ResourceError> {
    if found.is_empty() {
        return Ok(());
    }
    for InDoubt { id, gid, begun_at } in finish_intents(shared, found.into_iter().map(InDoubt::from).collect()).await? {
        tracing::warn!(tx = %id.tx, "a prepared transaction was found that this process did not prepare; its coordinator is asked");
        shared.find(id, gid, begun_at);
    }
    Ok(())
}

/// The state of the server, as one look shows it.
#[derive(Debug)]
struct Seen {
    slots: u64,
    /// All that is prepared in the server, by whomever: the slots are shared.
    taken: u64,
    /// The prepared transactions of this database, by name, with their ages.
    here: Vec<(String, Duration)>,
    xid_age: u64,
}

async fn look(control: &Session) -> Result<Seen, Error> {
    let rows = control
        .query(
            "SELECT current_setting('max_prepared_transactions')::bigint, (SELECT count(*) FROM pg_prepared_xacts), (SELECT \
             coalesce(max(age(transaction)), 0)::bigint FROM pg_prepared_xacts)",
            &[],
        )
        .await?;
    let number =
        |place: usize| rows[0].try_get::<_, i64>(place).map(|number| u64::try_from(number).unwrap_or_default());
    let (slots, taken, xid_age) = (number(0)?, number(1)?, number(2)?);
    let rows = control
        .query(
            "SELECT gid, (extract(epoch FROM clock_timestamp() - prepared) * 1000)::bigint FROM pg_prepared_xacts WHERE database = \
             current_database()",
            &[],
        )
        .await?;
    let here = rows.iter().map(|row| {
        let age_ms: i64 = row.try_get(1)?;
        Ok((row.try_get(0)?, Duration::from_millis(u64::try_from(age_ms).unwrap_or_default())))
    });
    Ok(Seen { slots, taken, here: here.collect::<Result<_, Error>>()?, xid_age })
}

/// Returns the names of this participant.
fn note(shared: &Shared, seen: &Seen) -> (Vec<PreparedName>, Vec<EnlistedName>) {
    shared.slots.store(seen.slots, Ordering::Relaxed);
    let hold = shared.sessions.hold().ok();
    let mut warnings = Vec::new();
    let Seen { slots, taken, here, xid_age } = seen;
    if *slots > 0 && taken * 100 > slots * CROWDED_PER_CENT {
        warnings.push(format!(
            "{taken} of {slots} prepared transactions are taken, and none is left soon; end what is in doubt, or raise \
             max_prepared_transactions in postgresql.conf, which needs a restart"
        ));
    }
    let is_ours = |identity: Identity| hold.is_some_and(|hold| hold.identity == identity);
    let (mut oldest, mut own, mut enlisted) = (Duration::ZERO, Vec::new(), Vec::new());
    for (gid, age) in here {
        let (name, adopted) = (PreparedName::from_gid(gid).ok(), EnlistedName::from_gid(gid).ok());
        let name = name.filter(|name| is_ours(name.identity));
        let adopted = adopted.filter(|name| is_ours(name.identity));
        match name.as_ref().map(|name| &name.tx).or(adopted.as_ref().map(|name| &name.tx)) {
            Some(tx) => {
                oldest = oldest.max(*age);
                if *age > OLD {
                    warnings.push(format!(
                        "{tx} is in doubt for {} s; it keeps its locks (the oldest holds {xid_age} transactions)",
                        age.as_secs()
                    ));
                }
            }
            None if *age > OLD => {
                warnings.push(format!(
                    "somebody else's transaction {gid:?} is prepared for {} s, and keeps its locks",
                    age.as_secs()
                ));
            }
            None => {}
        }
        own.extend(name);
        enlisted.extend(adopted);
    }
    let numbers = vec![
        ("prepared_slots_left", slots.saturating_sub(*taken)),
        ("prepared_here", here.len() as u64),
        ("prepared_oldest_age_ms", u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
        ("prepared_oldest_transactions", *xid_age),
        ("prepared_slots", *slots),
    ];
    *shared.health.lock().expect("health is whole") = Health { refuses_work: None, warnings, numbers };
    (own, enlisted)
}

pub(crate) fn health(shared: &Shared) -> Health {
    let mut health = shared.health.lock().expect("health is whole").clone();
    health.refuses_work = shared.sessions.away();
    health.numbers.extend([
        ("sessions_working", shared.sessions.working() as u64),
        ("sessions_broken", shared.sessions.suspects() as u64),
        ("places_in_doubt_left", shared.places_left() as u64),
        ("readers_left", shared.sessions.readers_left() as u64),
        ("locked_keys", shared.locks.locked_keys()),
        ("transactions_waiting_for_locks", shared.locks.waiting()),
    ]);
    health
}

/// Returns false if the server is known to have no room for prepared transactions at all.
pub(crate) fn can_prepare(shared: &Shared) -> bool {
    shared.slots.load(Ordering::Relaxed) > 0
}
