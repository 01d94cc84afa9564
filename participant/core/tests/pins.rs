//! Who may speak for a coordinator (R14): what is pinned, by whose word, and what strangers change: nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use undoubt_participant_core::{
    Answer, Effect, Hello, Input, Limits, Operator, Participant, Pin, Proof, Recall, Recovered, Seen, Session,
    SessionRefused, Trust, Unproven,
};
use undoubt_vocabulary::{CoordinatorId, Epoch, LowWaterMark, PublicKey, Start};

const OWN: CoordinatorId = CoordinatorId([1; 16]);
const ANOTHER: CoordinatorId = CoordinatorId([2; 16]);
const KEY: PublicKey = PublicKey([1; 32]);
const NEXT_KEY: PublicKey = PublicKey([2; 32]);
const FOREIGN_KEY: PublicKey = PublicKey([9; 32]);
const CAREFUL: Trust = Trust { max_unvouched_pins: 2, unproven: false };

fn participant(trust: Trust) -> Participant {
    Participant::new(Limits { max_open_branches: 8, largest_kept_bytes: 1_024, trust })
}

fn hello(coordinator: CoordinatorId, epoch: u32, proof: Proof) -> Hello {
    Hello { coordinator, proof, name: "c".into(), epoch: Epoch(epoch), number: None, shown: None }
}

fn put(core: &mut Participant, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.handle_input(input, &mut effects);
    effects
}

fn greet(core: &mut Participant, session: u64, hello: Hello) -> Vec<Effect> {
    put(core, Input::Hello { session: Session(session), hello })
}

/// Lets somebody in who is to be taken, and returns what was recorded for it, if anything had to be.
fn join(core: &mut Participant, session: u64, hello: Hello) -> Option<(Epoch, Option<Pin>)> {
    let mut effects = greet(core, session, hello);
    let recorded = effects.iter().find_map(|effect| {
        let Effect::RecordEpoch { epoch, pin, .. } = effect else { return None };
        Some((*epoch, *pin))
    });
    if recorded.is_some() {
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Welcome { .. })), "{effects:?}");
        effects = put(core, Input::EpochRecorded { session: Session(session) });
    }
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Welcome { .. })), "{effects:?}");
    recorded
}

/// Returns why somebody was not taken, who has changed nothing.
fn refused(core: &mut Participant, hello: Hello) -> Unproven {
    let before = core.clone();
    let effects = greet(core, 99, hello);
    assert_eq!(*core, before, "a stranger changes nothing");
    match &effects[..] {
        [Effect::Close { session: Session(99), why: SessionRefused::Unproven(why) }] => why.clone(),
        other => panic!("it is not refused but {other:?}"),
    }
}

#[test]
fn the_key_of_the_first_contact_is_recorded_with_the_epoch_before_the_welcome_and_nobody_is_taken_without_it() {
    let mut core = participant(CAREFUL);
    let pin = Pin { key: KEY, vouched: false };
    assert_eq!(join(&mut core, 1, hello(OWN, 1, Proof::of(KEY))), Some((Epoch(1), Some(pin))));
    assert_eq!(join(&mut core, 2, hello(OWN, 1, Proof::of(KEY))), None, "what is stored is not stored again");
    assert!(matches!(refused(&mut core, hello(OWN, 9, Proof::of(FOREIGN_KEY))), Unproven::OtherKey { .. }));
    assert!(matches!(refused(&mut core, hello(OWN, 9, Proof::default())), Unproven::NoProof { .. }));
    assert!(matches!(refused(&mut core, hello(ANOTHER, 1, Proof::default())), Unproven::NoProof { .. }));
    // Not even where others are taken without a proof.
    let mut trusting = participant(Trust { unproven: true, ..CAREFUL });
    join(&mut trusting, 1, hello(OWN, 1, Proof::of(KEY)));
    assert!(matches!(refused(&mut trusting, hello(OWN, 9, Proof::default())), Unproven::NoProof { .. }));
    join(&mut trusting, 2, hello(ANOTHER, 1, Proof::default()));
}

#[test]
fn a_second_hello_before_the_first_is_recorded_has_to_prove_the_same_key_and_is_recorded_too() {
    let mut core = participant(CAREFUL);
    let recorded = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::RecordEpoch { .. }));
    assert!(recorded(&greet(&mut core, 1, hello(OWN, 1, Proof::of(KEY)))));
    assert!(matches!(refused(&mut core, hello(OWN, 2, Proof::of(FOREIGN_KEY))), Unproven::OtherKey { .. }));
    // Its session is gone, and nobody knows yet whether it was written.
    put(&mut core, Input::SessionClosed { session: Session(1) });
    put(&mut core, Input::EpochRecorded { session: Session(1) });
    assert!(recorded(&greet(&mut core, 2, hello(OWN, 1, Proof::of(KEY)))));
}

#[test]
fn a_key_that_follows_the_pinned_one_takes_its_place_and_the_former_is_refused_then() {
    let mut core = participant(CAREFUL);
    join(&mut core, 1, hello(OWN, 1, Proof::of(KEY)));
    let next = Proof { key: Some(NEXT_KEY), former: vec![PublicKey([5; 32]), KEY] };
    // An older start with a newer key changes nothing.
    join(&mut core, 2, hello(OWN, 3, Proof::of(KEY)));
    let before = core.clone();
    let effects = greet(&mut core, 3, hello(OWN, 2, next.clone()));
    assert!(matches!(&effects[..], [Effect::Close { why: SessionRefused::LowerEpoch { .. }, .. }]), "{effects:?}");
    assert_eq!(core, before);
    let pin = Pin { key: NEXT_KEY, vouched: false };
    assert_eq!(join(&mut core, 4, hello(OWN, 3, next)), Some((Epoch(3), Some(pin))), "though the epoch is known");
    assert!(matches!(refused(&mut core, hello(OWN, 9, Proof::of(KEY))), Unproven::OtherKey { .. }));
    assert_eq!(join(&mut core, 5, hello(OWN, 4, Proof::of(NEXT_KEY))), Some((Epoch(4), Some(pin))));
}

#[test]
fn a_coordinator_that_is_known_without_a_key_waits_for_an_operators_word_or_for_a_trusting_participant() {
    let known = |trust| {
        let mut core = participant(trust);
        let recovered =
            Recovered::Coordinator { id: OWN, epoch: Epoch(3), low_water_mark: LowWaterMark::default(), pin: None };
        put(&mut core, Input::Recovered(recovered));
        core
    };
    let mut careful = known(CAREFUL);
    assert!(matches!(refused(&mut careful, hello(OWN, 4, Proof::of(KEY))), Unproven::NoPin { .. }));
    let operator = Operator(1);
    let effects = put(&mut careful, Input::Pin { coordinator: OWN, key: KEY, operator });
    let pin = Pin { key: KEY, vouched: true };
    assert_eq!(effects, [Effect::RecordPin { coordinator: OWN, epoch: Epoch(3), pin, operator }]);
    // Not before it is stored.
    assert!(matches!(refused(&mut careful, hello(OWN, 4, Proof::of(KEY))), Unproven::NoPin { .. }));
    let effects = put(&mut careful, Input::Pinned { coordinator: OWN, key: KEY, operator });
    assert_eq!(effects, [Effect::Answer { operator, answer: Answer::Pinned }]);
    assert_eq!(join(&mut careful, 1, hello(OWN, 4, Proof::of(KEY))), Some((Epoch(4), Some(pin))));
    let mut trusting = known(Trust { unproven: true, ..CAREFUL });
    let pin = Pin { key: KEY, vouched: false };
    assert_eq!(join(&mut trusting, 1, hello(OWN, 4, Proof::of(KEY))), Some((Epoch(4), Some(pin))));
}

#[test]
fn what_was_only_seen_of_a_log_before_a_crash_makes_nobody_known() {
    let mut core = participant(CAREFUL);
    // It is stored with whatever is written next, which may be sooner than the epoch.
    let seen = Seen { met: Some(Start { losses: 0, count: 1, mark: 7 }), number: None };
    put(&mut core, Input::Recovered(Recovered::Seen { id: OWN, seen }));
    let pin = Pin { key: KEY, vouched: false };
    assert_eq!(join(&mut core, 1, hello(OWN, 1, Proof::of(KEY))), Some((Epoch(1), Some(pin))));
}

#[test]
fn another_key_that_an_operator_pins_ends_the_session_that_was_opened_with_the_former() {
    let mut core = participant(CAREFUL);
    join(&mut core, 1, hello(OWN, 1, Proof::of(KEY)));
    let pinned = |key| Input::Pinned { coordinator: OWN, key, operator: Operator(1) };
    let effects = put(&mut core, pinned(KEY));
    assert!(matches!(effects[..], [Effect::Answer { .. }]), "{effects:?}");
    let effects = put(&mut core, pinned(FOREIGN_KEY));
    assert!(matches!(effects[..], [Effect::Close { session: Session(1), .. }, Effect::Answer { .. }]), "{effects:?}");
    assert!(matches!(refused(&mut core, hello(OWN, 2, Proof::of(KEY))), Unproven::OtherKey { .. }));
    join(&mut core, 2, hello(OWN, 2, Proof::of(FOREIGN_KEY)));
}

#[test]
fn first_contacts_are_bounded_and_those_an_operator_vouches_for_do_not_count() {
    let mut core = participant(CAREFUL);
    for other in 1..=2 {
        join(&mut core, other, hello(CoordinatorId([u8::try_from(other).unwrap(); 16]), 1, Proof::of(KEY)));
    }
    let third = hello(CoordinatorId([3; 16]), 1, Proof::of(KEY));
    assert!(matches!(refused(&mut core, third.clone()), Unproven::TooManyPins { max: 2, .. }));
    put(&mut core, Input::Pinned { coordinator: ANOTHER, key: KEY, operator: Operator(1) });
    join(&mut core, 3, third);
    // Those that are known are taken all the same.
    join(&mut core, 4, hello(OWN, 2, Proof::of(KEY)));
}

#[test]
fn an_epoch_out_of_range_is_refused_and_without_a_proof_one_near_its_end() {
    let mut core = participant(Trust { unproven: true, ..CAREFUL });
    let beyond = |core: &mut Participant, epoch, proof| {
        assert!(matches!(refused(core, hello(OWN, epoch, proof)), Unproven::EpochOutOfRange { .. }), "{epoch}");
    };
    for epoch in [Epoch::LAST.0 + 1, u32::MAX] {
        beyond(&mut core, epoch, Proof::of(KEY));
        beyond(&mut core, epoch, Proof::default());
    }
    beyond(&mut core, Epoch::LAST.0, Proof::default());
    beyond(&mut core, Epoch::LAST_UNPROVEN.0 + 1, Proof::default());
    join(&mut core, 1, hello(OWN, Epoch::LAST_UNPROVEN.0, Proof::default()));
    join(&mut core, 2, hello(ANOTHER, Epoch::LAST.0, Proof::of(KEY)));
}

#[test]
fn a_question_without_the_pinned_key_is_not_looked_at_and_has_no_answer() {
    let mut core = participant(CAREFUL);
    join(&mut core, 1, hello(OWN, 1, Proof::of(KEY)));
    let recall = |proof| Recall { coordinator: OWN, proof, name: "c".into(), shown: None };
    assert!(core.may_ask(&recall(Proof::of(KEY))).is_ok());
    for proof in [Proof::default(), Proof::of(FOREIGN_KEY)] {
        assert!(core.may_ask(&recall(proof.clone())).is_err());
        let before = core.clone();
        assert_eq!(put(&mut core, Input::Recall(recall(proof))), []);
        assert_eq!(core, before);
    }
}
