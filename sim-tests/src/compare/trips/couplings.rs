//! Who has to know whom, from what is declared.

use super::{LIMIT_MS, Way};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_stream::choreography::Choreography;
use undoubt_stream::choreography::from_saga::{SagaStep, Terms, from_saga};
use undoubt_stream::declarations::Declarations;
use undoubt_vocabulary::ParticipantName;

/// What knows whom in a trip of some steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Couplings {
    /// Pairs of a participant and another one's type of events that it knows; each is a line that changes if that is renamed.
    pub events_known: usize,
    /// Pairs of participants of which one knows the other.
    pub participants_known: usize,
    /// Files that change if a step is put into the middle, besides that of the new participant.
    pub files_for_a_step: usize,
}

impl Couplings {
    pub fn of(way: Way, steps: u8) -> Couplings {
        let names: Vec<String> = (1..=steps).map(|at| format!("p{at}")).collect();
        let mut longer = names.clone();
        longer.insert(names.len() / 2, "new".to_owned());
        match way {
            // A coordinator's definition of the saga names all steps, and no participant knows any other.
            Way::Orchestrated => Couplings { files_for_a_step: 1, ..Couplings::default() },
            Way::Chain | Way::Broadcast => {
                let (now, then) = (declared(way, &names), declared(way, &longer));
                let read = now.iter().map(|(name, text)| {
                    (name.clone(), Declarations::read(text).expect("what was compiled can be read"))
                });
                let choreography = Choreography::of(read).expect("a few participants are a choreography");
                let known = choreography.couplings();
                let changed = now.iter().filter(|(name, text)| then.get(*name) != Some(*text));
                Couplings {
                    events_known: known.values().flat_map(|one| one.knows.values()).map(|kinds| kinds.len()).sum(),
                    participants_known: known.values().map(|one| one.knows.len()).sum(),
                    files_for_a_step: changed.count(),
                }
            }
        }
    }
}

fn declared(way: Way, names: &[String]) -> BTreeMap<ParticipantName, String> {
    let step = |name: &String| SagaStep {
        name: name.clone(),
        participant: name.clone(),
        action: vec!["add seats -1 floor=0".to_owned()],
        compensation: Some(vec!["add seats 1".to_owned()]),
        ..SagaStep::default()
    };
    let steps: Vec<SagaStep> = names.iter().map(step).collect();
    let expire = Some(Duration::from_millis(LIMIT_MS));
    let terms = Terms { name: "trip".to_owned(), backward: way.backward().into(), expire };
    from_saga(&steps, &terms).expect("steps one after the other are a choreography")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_couples_more_than_a_chain_and_a_coordinator_nobody() {
        for steps in 5..=6 {
            let of = |way| Couplings::of(way, steps);
            assert_eq!(of(Way::Orchestrated).participants_known, 0);
            assert!(of(Way::Broadcast).events_known > of(Way::Chain).events_known, "{steps}");
            assert!(of(Way::Broadcast).files_for_a_step >= of(Way::Chain).files_for_a_step, "{steps}");
            assert!(of(Way::Chain).files_for_a_step >= 2, "{steps}: its neighbours hear of it");
        }
    }
}
