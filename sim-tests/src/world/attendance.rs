//! Operators who see to the keys that subscriptions have parked: each is tried again, and what is refused even so is given up.

use super::net;
use super::operator::options;
use super::shared_state::{Order, Shared};
use crate::plan::Host;
use crate::run::Listed;
use crate::trace::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use undoubt_client::{ParticipantClient, SubscriptionState};

/// The time between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(700);

/// The number of times that a key is tried again before it is given up.
const MAX_RETRIES: u32 = 3;

/// The number of times that a participant is asked how its subscriptions stand.
const MAX_ASKED: u32 = 10;

const REASON: &str = "it cannot be applied";

/// Looks until the world is healed.
pub(super) async fn watch(shared: Arc<Shared>) -> turmoil::Result {
    let mut attendance = Attendance::new(&shared);
    while !*shared.healed.borrow() {
        sleep(LOOK_PERIOD).await;
        attendance.look().await;
    }
    Ok(())
}

pub(super) struct Attendance {
    participants: BTreeMap<u8, (ParticipantClient, Vec<(String, u8)>)>,
    retries: BTreeMap<(u8, String, Vec<u8>), u32>,
    started_anew: BTreeSet<u8>,
}

impl Attendance {
    pub(super) fn new(shared: &Arc<Shared>) -> Attendance {
        let shape = &shared.plan.shape;
        let participant = |number: u8| {
            let channel = net::channel(move || net::address(Host::Participant(number)));
            let heard = shape.heard(number).into_iter().map(|(subscription, source, _, _)| (subscription, source));
            let subscriptions: BTreeSet<(String, u8)> = heard.collect();
            (number, (ParticipantClient::with_channel(channel, options()), subscriptions.into_iter().collect()))
        };
        let reacting = (1..=shape.participants).filter(|at| shape.reacts() && shape.publishes(*at));
        Attendance {
            participants: reacting.map(participant).collect(),
            retries: BTreeMap::new(),
            started_anew: BTreeSet::new(),
        }
    }

    /// Sees to all that is parked.
    pub(super) async fn look(&mut self) {
        for (number, (participant, subscriptions)) in &self.participants {
            let names: BTreeSet<&String> = subscriptions.iter().map(|(name, _)| name).collect();
            for subscription in names {
                let Ok((parked, _)) = participant.parked(subscription).await else { continue };
                let keys: BTreeSet<_> = parked.into_iter().map(|event| event.key).collect();
                for key in keys {
                    let tried = self.retries.entry((*number, subscription.clone(), key.to_vec())).or_default();
                    *tried += 1;
                    // What came of it is seen when it is looked at again.
                    if *tried <= MAX_RETRIES {
                        let _ = participant.retry_parked(subscription, &key, "operator", REASON).await;
                    } else {
                        let _ = participant.give_up_parked(subscription, &key, None, "operator", REASON).await;
                        self.retries.remove(&(*number, subscription.clone(), key.to_vec()));
                    }
                }
            }
        }
    }

    /// Looks at subscriptions that have stopped, and starts their participants anew, each once: who has only read what its source has
    /// lost, and not dealt with it, reads on then. The others stop again.
    pub(super) async fn start_stopped_anew(&mut self, shared: &Shared) {
        for (number, (participant, _)) in &self.participants {
            let Ok(states) = participant.subscriptions().await else { continue };
            let has_stopped = states.iter().any(|state| state.standing == "stopped");
            if has_stopped && self.started_anew.insert(*number) {
                let host = Host::Participant(*number);
                shared.process(host).kill();
                shared.recorder.record(host, Event::Stopped { why: "an operator starts it anew".to_owned() });
                shared.order(Order::Exited { host });
            }
        }
    }

    /// Returns how all subscriptions stand, as far as participants say; each is asked until it does.
    pub(super) async fn list(&self) -> Vec<Listed> {
        let mut listed = Vec::new();
        for (number, (participant, subscriptions)) in &self.participants {
            // Whoever was started just now has yet to hear whether its source has what it reads next.
            let has_heard = |state: &SubscriptionState| !["beginning", "away"].contains(&state.standing.as_str());
            let heard = async || participant.subscriptions().await.ok().filter(|states| states.iter().all(has_heard));
            asked(heard).await;
            let Some(states) = asked(async || participant.subscriptions().await.ok()).await else { continue };
            for (subscription, source) in subscriptions {
                let parked = asked(async || participant.parked(subscription).await.ok()).await;
                let Some((parked, _)) = parked else { continue };
                let from = Host::Participant(*source).to_string();
                let own = states.iter().find(|state| state.name == *subscription && state.source == from);
                let stopped = own.filter(|state| state.standing == "stopped").map(|state| state.why.clone());
                let parked = parked.iter().map(|event| (event.id.incarnation.0, event.id.position.0)).collect();
                let (participant, subscription) = (*number, subscription.clone());
                listed.push(Listed { participant, subscription, source: *source, stopped, parked });
            }
        }
        listed
    }
}

/// Asks until there is an answer, some times.
async fn asked<T>(question: impl AsyncFn() -> Option<T>) -> Option<T> {
    for _ in 0..MAX_ASKED {
        if let Some(answer) = question().await {
            return Some(answer);
        }
        sleep(LOOK_PERIOD).await;
    }
    None
}
