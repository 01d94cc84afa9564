//! Which fault met what: a cell of the table of faults and protocol states.

use crate::plan::{Host, What};
use crate::trace::Recorder;

/// The states of all that this fault concerns, at the moment when it strikes.
pub(super) fn states_hit(what: &What, recorder: &Recorder) -> Vec<String> {
    let mut states: Vec<String> = what.hosts().into_iter().flat_map(|host| states_at(host, recorder)).collect();
    states.sort();
    states.dedup();
    if states.is_empty() { vec!["idle".to_owned()] } else { states }
}

/// Whether anything is in this state there.
pub(super) fn stands(host: Host, state: &str, recorder: &Recorder) -> bool {
    states_at(host, recorder).iter().any(|standing| standing == state)
}

fn states_at(host: Host, recorder: &Recorder) -> Vec<String> {
    let (phases, branches) = recorder.standing();
    match host {
        Host::Coordinator | Host::Standby => phases.iter().map(word).collect(),
        Host::Participant(number) => {
            branches.iter().filter(|(at, _)| *at == number).map(|(_, state)| word(state)).collect()
        }
        Host::Client(_) => Vec::new(),
    }
}

fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
