use super::*;
use crate::choreography::{Choreography, Finding, Weight};
use crate::declarations::Declarations;

fn step(name: &str, participant: &str, action: &str, undo: Option<&str>) -> SagaStep {
    SagaStep {
        name: name.to_owned(),
        participant: participant.to_owned(),
        action: vec![action.to_owned()],
        compensation: undo.map(|undo| vec![undo.to_owned()]),
        ..SagaStep::default()
    }
}

/// A flight, a hotel beside it, and the payment of both, from which on all goes forward.
fn trip() -> Vec<SagaStep> {
    let hotel = SagaStep {
        after: Some(Vec::new()),
        ..step("hotel", "hotels", "put room/7 \"{taken}\"", Some("delete room/7"))
    };
    let pay = SagaStep {
        after: Some(vec!["flight".to_owned(), "hotel".to_owned()]),
        pivot: true,
        ..step("pay", "bank", "call withdraw seat-from=flight.0 amount=300", None)
    };
    let tell = SagaStep {
        attempts: Some(20),
        ..step("tell", "airline", "put mail/ key-from=pay.0.id value-from=flight.0", None)
    };
    vec![step("flight", "airline", "add seats -1 floor=0", Some("put back value-from=flight.0")), hotel, pay, tell]
}

fn terms(backward: Backward) -> Terms {
    Terms { name: "trip".to_owned(), backward, expire: None }
}

fn check(files: &BTreeMap<ParticipantName, String>) -> Vec<Finding> {
    let read = files.iter().map(|(name, text)| (name.clone(), Declarations::read(text).unwrap()));
    let found = Choreography::of(read).unwrap().check();
    found.into_iter().filter(|finding| finding.weight() == Weight::Fault).collect()
}

#[test]
fn either_way_back_ends_well() {
    for (backward, name) in [(Backward::Chain, "chain"), (Backward::Broadcast, "broadcast")] {
        let files = from_saga(&trip(), &terms(backward)).unwrap();
        assert_eq!(check(&files), [], "{name}");
        let text: String = files.iter().map(|(name, text)| format!("## {name}\n\n{text}\n")).collect();
        let path = format!("tests/golden/from-saga-{name}.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&path).unwrap_or_default(),
            "{path} differs; run with UPDATE_GOLDEN=1"
        );
    }
}

#[test]
fn steps_of_any_number_end_well_with_and_without_an_expiry() {
    for count in 1..7 {
        let undoable = |at: usize| step(&format!("s{at}"), &format!("p{}", at % 3), "add x 1", Some("add x -1"));
        let steps: Vec<SagaStep> = (0..count).map(undoable).collect();
        for backward in [Backward::Chain, Backward::Broadcast] {
            for expire in [None, Some(Duration::from_secs(30))] {
                let files = from_saga(&steps, &Terms { expire, ..terms(backward) }).unwrap();
                assert_eq!(check(&files), [], "{count} steps, {backward:?}, {expire:?}: {files:#?}");
            }
            for pivot in 0..count {
                let mut steps = steps.clone();
                steps[pivot].pivot = true;
                steps[pivot..].iter_mut().for_each(|step| step.compensation = None);
                let files = from_saga(&steps, &terms(backward)).unwrap();
                assert_eq!(check(&files), [], "{count} steps, pivot {pivot}, {backward:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_a_choreography_is_said() {
    let why = |steps: &[SagaStep]| from_saga(steps, &terms(Backward::Chain)).unwrap_err().to_string();
    assert!(why(&[]).contains("no steps"));
    let mut steps = trip();
    steps[0].action = vec!["add seats -1 pend".to_owned()];
    assert!(why(&steps).contains("step flight: pend"));
    let mut steps = trip();
    steps[0].action = vec!["http post http://a/".to_owned()];
    assert!(from_saga(&steps, &terms(Backward::Chain)).is_ok(), "a participant over HTTP services reacts by requests");
    let mut steps = trip();
    steps[1].compensation = None;
    assert!(why(&steps).contains("step hotel may have to be undone"));
    let mut steps = trip();
    steps[0].after = Some(vec!["tell".to_owned()]);
    assert!(why(&steps).contains("step flight comes after tell"));
    let mut steps = trip();
    steps[1].name = "flight".to_owned();
    assert!(why(&steps).contains("two steps"));
    let expire = Some(Duration::from_secs(1));
    let late = from_saga(&trip(), &Terms { expire, ..terms(Backward::Chain) }).unwrap_err();
    assert!(late.to_string().contains("step pay is the pivot"));
}
