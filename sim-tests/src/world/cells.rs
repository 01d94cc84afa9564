//! Which fault met what: a cell of the table of faults and protocol states.

use crate::plan::{Host, What};
use crate::trace::Recorder;

/// The states of all that this fault concerns, at the moment when it strikes.
pub(super) fn states_hit(what: &What, recorder: &Recorder) -> Vec<String> {
    let (phases, branches) = recorder.standing();
    let hosts = what.hosts();
    let mut states = Vec::new();
    for host in &hosts {
        match host {
            Host::Coordinator | Host::Standby => states.extend(phases.iter().map(word)),
            Host::Participant(number) => {
                states.extend(branches.iter().filter(|(at, _)| at == number).map(|(_, state)| word(state)));
            }
            Host::Client(_) => {}
        }
    }
    states.sort();
    states.dedup();
    if states.is_empty() { vec!["idle".to_owned()] } else { states }
}

fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
