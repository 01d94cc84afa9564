//! The states that a fault meets: cells of the table of faults and protocol states.

use super::observation::Recorder;
use crate::plan::{Host, IDLE, What};

/// The states of all that this fault concerns, at the moment when it strikes.
pub(super) fn states_hit(what: &What, recorder: &Recorder) -> Vec<String> {
    let mut states: Vec<String> = what.hosts().into_iter().flat_map(|host| states_at(host, recorder)).collect();
    states.sort();
    states.dedup();
    if states.is_empty() { vec![IDLE.to_owned()] } else { states }
}

/// Returns true if anything is in this state there; for [`IDLE`], if nothing is in any.
pub(super) fn stands(host: Host, state: &str, recorder: &Recorder) -> bool {
    let standing = states_at(host, recorder);
    if state == IDLE { standing.is_empty() } else { standing.iter().any(|one| one == state) }
}

fn states_at(host: Host, recorder: &Recorder) -> Vec<String> {
    let (phases, branches) = recorder.standing();
    match host {
        Host::Coordinator | Host::Standby => phases.iter().map(word).collect(),
        Host::Participant(number) | Host::Database(number) | Host::Service(number) => {
            branches.iter().filter(|(at, _)| *at == number).map(|(_, state)| word(state)).collect()
        }
        Host::Client(_) | Host::Reader(_) => Vec::new(),
    }
}

fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
