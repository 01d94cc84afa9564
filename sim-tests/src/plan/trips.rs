//! Choreographed sagas of a world, and all that its participants declare of events.

use super::{Host, Shape};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use undoubt_stream::choreography::from_saga::{self, SagaStep, Terms, from_saga};
use undoubt_stream::declarations::{Declarations, DeclaredTopic, Heard};
use undoubt_vocabulary::Topic;

/// Trips: sagas with a step at each of the first participants, one after the other, that are moved by events. Each takes a seat at
/// every participant, and leaves a row there with its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trips {
    pub steps: u8,
    pub backward: Backward,
    /// The time after which one that has not ended is undone; without it the last step is not undone at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_ms: Option<u64>,
    /// The seats that there are at each participant under one key: who finds none is refused.
    pub seats: u16,
    /// The share of the work at the first participant that begins a trip, in percent.
    pub percent: u8,
    /// Clients do nothing but trips, moved by events or carried out by the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<MovedBy>,
}

/// What moves a saga from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MovedBy {
    Events,
    Coordinator,
}

/// How a trip that fails is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backward {
    /// Each step hears of the one behind it.
    Chain,
    /// Each step hears of every refusal behind it.
    Broadcast,
}

impl From<Backward> for from_saga::Backward {
    fn from(backward: Backward) -> Self {
        match backward {
            Backward::Chain => from_saga::Backward::Chain,
            Backward::Broadcast => from_saga::Backward::Broadcast,
        }
    }
}

impl Trips {
    /// The topic of all events of trips, at each participant.
    pub const TOPIC: &str = "trip";

    /// The type of the events with which trips begin.
    pub const BEGUN: &str = "trip.begun";

    /// The type of the events that say that a trip's time is over.
    pub const EXPIRED: &str = "trip.expired";

    /// Partitions of that topic: trips of different keys overtake each other.
    const PARTITIONS: u16 = 2;

    /// Returns what a participant declares of trips, as the text of a file; empty if it has no step.
    fn text(&self, participant: u8) -> String {
        let seats = format!("add seats/KEY -1 floor=-{}", self.seats);
        let step = |at: u8| SagaStep {
            name: format!("s{at}"),
            participant: Host::Participant(at).to_string(),
            action: match at {
                1 => vec![seats.clone(), "put trip/TRIP KEY".to_owned(), "put note/TRIP NOTE".to_owned()],
                _ => vec![seats.clone(), "put trip/TRIP KEY".to_owned()],
            },
            compensation: Some(vec!["add seats/KEY 1".to_owned(), "delete trip/TRIP".to_owned()]),
            ..SagaStep::default()
        };
        let steps: Vec<SagaStep> = (1..=self.steps).map(step).collect();
        let expire = self.expire_ms.map(Duration::from_millis);
        let terms = Terms { name: Trips::TOPIC.to_owned(), backward: self.backward.into(), expire };
        let files =
            from_saga(&steps, &terms).expect("steps one after the other, each with what undoes it, are a choreography");
        let own = files.into_iter().find(|(name, _)| name.as_str() == Host::Participant(participant).to_string());
        // A saga's definition knows no places of events.
        own.map_or_else(String::new, |(_, text)| {
            text.replace("KEY", "{key}").replace("TRIP", "{correlation}").replace("NOTE", "{data.note}")
        })
    }

    /// Returns the key of a row that a trip leaves where it is in effect; the row holds the trip's key.
    pub fn row(correlation: &str) -> String {
        format!("trip/{correlation}")
    }
}

impl Shape {
    /// The topic of the changes that work makes, with an event of each.
    pub const MOVES: &str = "moves";

    /// The topic of whole parts of transactions, with versions.
    pub const DEEDS: &str = "deeds";

    /// The topic to which views publish what they have taken.
    pub const ECHOES: &str = "echoes";

    /// Returns the trips if events move them.
    pub fn choreographed(&self) -> Option<&Trips> {
        self.trips.as_ref().filter(|trips| trips.alone != Some(MovedBy::Coordinator))
    }

    /// Returns all that a participant declares of events.
    pub fn declarations(&self, participant: u8) -> Declarations {
        let trips = self.choreographed().map_or_else(String::new, |trips| trips.text(participant));
        let view = self.viewed_by(participant).map_or_else(String::new, |from| {
            let (from, moves, echoes) = (Host::Participant(from), Shape::MOVES, Shape::ECHOES);
            format!(
                "\n[[topic]]\nname = \"{echoes}\"\nheard-outside = [\"viewed\"]\n\n[[on]]\nname = \"view\"\nfrom = \"{from}\"\ntopic = \"{moves}\"\n\
                 type = \"changed\"\ndo = [\"add viewed/{{key}} 1\"]\nemit = {{ topic = \"{echoes}\", type = \"viewed\" }}\nattempts = 3\n"
            )
        });
        let mut declarations = Declarations::read(&(trips + &view)).expect("what is written here can be read");
        for declared in &mut declarations.topics {
            if declared.topic.name.as_str() == Trips::TOPIC {
                declared.topic.partitions = Trips::PARTITIONS;
            }
        }
        let topic = |name: &str, partitions, sourced| {
            let name = name.parse().expect("it is a topic's name");
            DeclaredTopic { topic: Topic { name, partitions, sourced }, heard_outside: Vec::new() }
        };
        declarations.topics.extend([topic(Shape::MOVES, 3, false), topic(Shape::DEEDS, 2, true)]);
        declarations
    }
}

/// The name of a subscription, the participant whose events it hears, their topic and their type.
pub type HeardBy = (String, u8, String, String);

impl Shape {
    /// Returns all that moves a participant, by each of its subscriptions.
    pub fn heard(&self, participant: u8) -> Vec<HeardBy> {
        let declarations = self.declarations(participant);
        let reactions = declarations.reactions.iter().flat_map(|reaction| {
            let name = reaction.name.as_str();
            reaction.heard().map(move |heard| (name, heard))
        });
        let expiries = declarations.beginnings.iter().filter_map(|beginning| beginning.expire.as_ref());
        let expiries = expiries.flat_map(|expiry| expiry.unless.iter().map(|heard| (expiry.name.as_str(), heard)));
        let of = |(name, heard): (&str, &Heard)| match heard.from.as_str().parse() {
            Ok(Host::Participant(from)) => {
                Some((name.to_owned(), from, heard.topic.as_str().to_owned(), heard.kind.as_str().to_owned()))
            }
            Ok(_) | Err(_) => None,
        };
        reactions.chain(expiries).filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use undoubt_stream::choreography::{Choreography, Finding, Weight};

    #[test]
    fn trips_of_every_shape_end_well_by_the_check_of_choreographies() {
        for (steps, backward) in (2..=6).flat_map(|steps| [(steps, Backward::Chain), (steps, Backward::Broadcast)]) {
            for expire_ms in [None, Some(1_000)] {
                let trips = Some(Trips { steps, backward, expire_ms, seats: 5, percent: 50, alone: None });
                let shape = Shape { participants: 6, trips, ..Shape::default() };
                let name = |at| Host::Participant(at).to_string().parse().unwrap();
                let all: BTreeMap<_, _> = (1..=steps).map(|at| (name(at), shape.declarations(at))).collect();
                let found = Choreography::of(all).unwrap().check();
                let faults: Vec<Finding> = found.into_iter().filter(|found| found.weight() == Weight::Fault).collect();
                assert_eq!(faults, [], "{steps} {backward:?} {expire_ms:?}");
            }
        }
    }

    #[test]
    fn views_go_round() {
        let shape = Shape { participants: 3, views: true, ..Shape::default() };
        assert_eq!([1, 2, 3].map(|at| shape.viewed_by(at)), [Some(2), Some(3), Some(1)]);
        assert_eq!(shape.declarations(3).reactions[0].on.to_string(), "changed (moves at p1)");
        let alone = Shape { participants: 1, ..shape };
        assert_eq!(alone.viewed_by(1), None);
    }
}
