//! The coordinators behind a gateway, and which of them a transaction belongs to.
//!
//! Each id has a home: the coordinator that rendezvous hashing over their own ids gives it. So it is the same at every gateway, in whatever
//! order and at whatever addresses they are named, and where one is added only ids change their home that go to it. Two coordinators that
//! run one id would both carry it out; so nothing is ever begun elsewhere because its home does not answer. Ids that were begun before the
//! set was changed may be elsewhere: unless the set is settled, the home is asked for an id, and then all others, before anything is done under it.

use crate::link::{Link, Links};
use crate::problem::Problem;
use futures::future::join_all;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use undoubt_client::{Channel, Client, ClientOptions, Transaction, TxId};
use undoubt_platform::Reason;
use undoubt_vocabulary::{CoordinatorId, CoordinatorPhase};

/// The time that a coordinator has to say how it stands, or whether it has a transaction.
pub(crate) const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(2);

/// The period in which several coordinators are asked how they stand.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Ids that are drawn for a new transaction in search of a home that takes some.
const MAX_DRAWS: usize = 64;

/// Coordinators that a gateway may have behind it.
pub(crate) const MAX_COORDINATORS: usize = 64;

/// A coordinator behind a gateway.
pub struct Behind {
    /// The id that it has, where that is known before it is asked.
    pub id: Option<CoordinatorId>,
    /// Its address, by which callers are told of it.
    pub address: String,
    /// Opens a channel to it. It has to let the gateway ask on others' behalf.
    pub connect: Box<dyn Fn() -> Channel + Send + Sync>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Coordinators {
    all: Vec<Coordinator>,
    /// True if the set is what it was when the oldest id was begun that anybody may ask for.
    settled: bool,
}

#[derive(Debug)]
pub(crate) struct Coordinator {
    address: String,
    given: Option<CoordinatorId>,
    links: Links,
    seen: Mutex<Seen>,
}

/// A coordinator, as it was seen last.
#[derive(Clone, Debug, Default)]
struct Seen {
    id: Option<CoordinatorId>,
    name: String,
    takes_new: bool,
}

impl Coordinators {
    pub(crate) fn new(behind: Vec<Behind>, options: &ClientOptions, settled: bool) -> Coordinators {
        let coordinator = |Behind { id, address, connect }: Behind| {
            let options = options.clone();
            let links = Links::new(move || Client::with_channel(connect(), options.clone()));
            Coordinator { address, given: id, links, seen: Mutex::new(Seen { id, ..Seen::default() }) }
        };
        Coordinators { all: behind.into_iter().map(coordinator).collect(), settled }
    }

    pub(crate) fn all(&self) -> &[Coordinator] {
        &self.all
    }

    /// Asks several how they stand, again and again, for as long as anybody waits for this. One alone is not asked: it gets everything.
    pub(crate) async fn watch(&self) -> Infallible {
        if self.all.len() < 2 {
            return std::future::pending().await;
        }
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            join_all(self.all.iter().map(Coordinator::look)).await;
        }
    }

    /// Returns why this gateway can serve nobody, if so: it does not know all ids that it needs, or no coordinator serves.
    pub(crate) async fn unready(&self) -> Option<String> {
        let looked = join_all(self.all.iter().map(Coordinator::look)).await;
        if self.all.len() > 1
            && let Err(problem) = self.ids()
        {
            return Some(problem.to_string());
        }
        if looked.iter().any(Result::is_ok) { None } else { looked.into_iter().find_map(Result::err) }
    }

    /// Returns the coordinator that is named by its id, its name or its address; without, the only one.
    pub(crate) fn named(&self, name: Option<&str>) -> Result<&Coordinator, Problem> {
        match (name, &self.all[..]) {
            (None, [one]) => Ok(one),
            (None, all) => {
                let count = all.len();
                let why = format!(
                    "coordinator: there are {count} behind this gateway, and this is about one; add ?coordinator= and its id, which \
                     /v1/coordinators tells"
                );
                Err(Problem::new(Reason::InvalidRequest, why))
            }
            (Some(name), all) => all.iter().find(|one| one.is_called(name)).ok_or_else(|| {
                let why = format!(
                    "there is no coordinator {name:?} behind this gateway; /v1/coordinators tells which there are"
                );
                Problem::new(Reason::NotFound, why)
            }),
        }
    }

    /// Returns the coordinator that has this transaction, or else the one that is to have it.
    pub(crate) async fn place(&self, tx: &TxId) -> Result<&Coordinator, Problem> {
        let home = self.home(tx)?;
        if self.settled || self.all.len() < 2 {
            return Ok(home);
        }
        if let Ok(true) = home.knows(tx).await {
            return Ok(home);
        }
        let told = join_all(self.all.iter().map(|one| one.knows(tx))).await;
        if let Some(place) = told.iter().position(|told| matches!(told, Ok(true))) {
            return Ok(&self.all[place]);
        }
        match self.all.iter().zip(told).find_map(|(one, told)| told.err().map(|why| (one, why))) {
            None => Ok(home),
            Some((silent, why)) => Err(Problem::unreached(format!(
                "the coordinator at {} does not answer ({why}), and may have this id; nothing was done: come back. A gateway whose set of \
                 coordinators is settled (gateway.settled) asks the home of an id alone",
                silent.address
            ))),
        }
    }

    /// Returns a new id, and the coordinator that is to have it: one that takes new transactions, if there is one.
    pub(crate) fn draw(&self) -> Result<(TxId, &Coordinator), Problem> {
        let draw = || {
            let tx = Transaction::new().id().clone();
            let home = self.home(&tx)?;
            Ok::<_, Problem>((tx, home))
        };
        let mut drawn = draw()?;
        for _ in 1..MAX_DRAWS {
            if self.all.len() < 2 || drawn.1.seen().takes_new {
                break;
            }
            drawn = draw()?;
        }
        Ok(drawn)
    }

    fn home(&self, tx: &TxId) -> Result<&Coordinator, Problem> {
        if let [one] = &self.all[..] {
            return Ok(one);
        }
        let ids = self.ids()?;
        let place = home(&ids, tx);
        Ok(&self.all[place])
    }

    /// Returns the ids of all.
    pub(crate) fn ids(&self) -> Result<Vec<CoordinatorId>, Problem> {
        let id = |one: &Coordinator| {
            one.id().ok_or_else(|| {
                Problem::unreached(format!(
                    "the coordinator at {} has not answered since this gateway was started, so it is not known which ids are its; nothing was \
                     done: come back. A gateway that is told its id (ID=URL) need not wait for it",
                    one.address
                ))
            })
        };
        self.all.iter().map(id).collect()
    }
}

/// Returns the place of the home of an id: the coordinator whose id has the highest hash with it.
fn home(ids: &[CoordinatorId], tx: &TxId) -> usize {
    let score = |id: &CoordinatorId| *blake3::Hasher::new().update(&id.0).update(tx.as_bytes()).finalize().as_bytes();
    ids.iter().enumerate().max_by_key(|(_, id)| score(id)).map_or(0, |(place, _)| place)
}

impl Coordinator {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn link(&self) -> Link {
        self.links.link()
    }

    /// Returns its id, if that is known by now.
    pub(crate) fn id(&self) -> Option<CoordinatorId> {
        self.seen().id
    }

    fn is_called(&self, name: &str) -> bool {
        let seen = self.seen();
        self.address == name || seen.name == name || seen.id.is_some_and(|id| id.to_string() == name)
    }

    fn seen(&self) -> Seen {
        // Nothing panics while it is locked.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn see(&self, seen: Seen) {
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), seen.clone());
        let address = &self.address;
        if let (Some(before), Some(now)) = (before.id, seen.id)
            && before != now
        {
            tracing::warn!(address, %before, %now, "another coordinator answers here now, so ids have other homes");
        }
        if before.takes_new && !seen.takes_new {
            tracing::warn!(address, "this coordinator takes no new transactions any more, or does not answer");
        } else if !before.takes_new && seen.takes_new {
            tracing::info!(address, name = seen.name, "this coordinator takes new transactions");
        }
    }

    /// Looks how it stands, and says why it does not serve.
    async fn look(&self) -> Result<(), String> {
        let link = self.link();
        let before = self.seen();
        let silent = Seen { takes_new: false, ..before.clone() };
        let view = match timeout(COORDINATOR_TIMEOUT, link.client().describe()).await {
            Ok(Ok(view)) => view,
            Ok(Err(error)) => {
                self.see(silent);
                return Err(error.to_string());
            }
            Err(_elapsed) => {
                self.see(silent);
                return Err(format!("the coordinator at {} does not answer", self.address));
            }
        };
        if let (Some(given), Some(told)) = (self.given, view.id)
            && given != told
        {
            self.see(Seen { id: Some(given), ..silent });
            let why = format!("the coordinator at {} is {told}, and {given} is said of it; correct that", self.address);
            tracing::error!("{why}");
            return Err(why);
        }
        let is_serving =
            view.phase == Some(CoordinatorPhase::Serving) || view.phase == Some(CoordinatorPhase::RecoveryPaused);
        let takes_new = is_serving && view.refusing_work_because.is_none();
        self.see(Seen { id: view.id.or(before.id), name: view.name, takes_new });
        if is_serving {
            Ok(())
        } else {
            let phase = view.phase.map_or_else(|| "unknown".to_owned(), |phase| format!("{phase:?}").to_lowercase());
            Err(format!("the coordinator at {} does not serve yet, or no more ({phase})", self.address))
        }
    }

    /// Returns whether it has this transaction, if it can say that.
    async fn knows(&self, tx: &TxId) -> Result<bool, String> {
        use undoubt_client::QueryError;
        let link = self.link();
        let asking = async {
            match link.client().get(tx).await {
                Ok(_) => Ok(true),
                // One that is held does not know what it has lost.
                Err(QueryError::NotFound { .. }) => match link.client().describe().await {
                    Ok(view) if view.phase == Some(CoordinatorPhase::Recovering) => Err("it recovers".to_owned()),
                    Ok(view) if self.given.is_some_and(|given| view.id.is_some_and(|id| id != given)) => {
                        Err("it is another".to_owned())
                    }
                    Ok(_) => Ok(false),
                    Err(error) => Err(error.to_string()),
                },
                Err(error) => Err(error.to_string()),
            }
        };
        timeout(COORDINATOR_TIMEOUT, asking).await.unwrap_or_else(|_elapsed| Err("no answer came in time".to_owned()))
    }
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u8) -> Vec<CoordinatorId> {
        (1..=count).map(|number| CoordinatorId([number; 16])).collect()
    }

    fn txs() -> Vec<TxId> {
        (0..1_000).map(|number| format!("order-{number}").parse().unwrap()).collect()
    }

    #[test]
    fn homes_are_spread_and_the_same_in_whatever_order_coordinators_are_named() {
        let (all, mut reversed) = (ids(3), ids(3));
        reversed.reverse();
        let mut counts = [0; 3];
        for tx in txs() {
            let place = home(&all, &tx);
            assert_eq!(all[place], reversed[home(&reversed, &tx)]);
            counts[place] += 1;
        }
        assert!(counts.iter().all(|count| (250..420).contains(count)), "{counts:?}");
    }

    #[test]
    fn where_one_is_added_no_id_changes_its_home_but_to_go_to_that_one() {
        let (before, after) = (ids(3), ids(4));
        let moved = txs()
            .iter()
            .filter(|tx| home(&before, tx) != home(&after, tx))
            .map(|tx| home(&after, tx))
            .collect::<Vec<_>>();
        assert!((180..320).contains(&moved.len()) && moved.iter().all(|place| *place == 3), "{}", moved.len());
    }
}
