//! A saga's definition as it is sent, checked as the coordinator will check it.

use crate::error::InvalidSubmission;
use crate::step::Step;
use undoubt_proto::v1;
use undoubt_vocabulary::limits::MAX_WORK_BYTES;
use undoubt_vocabulary::{InvalidId, InvalidSaga, ParticipantName, SagaStep, StepIndex, saga};
use undoubt_work::{PlaceInSaga, Work};

/// All steps in their wire form, checked as the coordinator will check them; with auto they may be no saga.
pub(crate) fn to_wire(steps: &[Step], is_saga: bool) -> Result<Vec<v1::SagaStep>, InvalidSubmission> {
    let resolved: Vec<SagaStep> =
        steps.iter().enumerate().map(|(index, step)| resolve(steps, index, step, is_saga)).collect::<Result<_, _>>()?;
    check_policies(&resolved)?;
    if is_saga {
        saga::check(&resolved).map_err(InvalidSubmission::Saga)?;
    }
    check_work(steps, &resolved)?;
    Ok(resolved.iter().map(v1::SagaStep::from).collect())
}

/// On the wire 0 asks for the default, so it is refused here.
fn check_policies(steps: &[SagaStep]) -> Result<(), InvalidSubmission> {
    for (index, SagaStep { retry, .. }) in steps.iter().enumerate() {
        let fault = |field: &str, what: &str| {
            Err(InvalidSubmission::Saga(InvalidSaga { path: format!("steps[{index}].{field}"), what: what.to_owned() }))
        };
        if retry.max_attempts == 0 {
            return fault("retry.max_attempts", "0 attempts would never run it; give at least 1");
        }
        if retry.attempt_timeout.is_zero() {
            return fault("retry.attempt_timeout", "0 leaves no time for an answer; give at least 1 ms");
        }
        if retry.first_pause.is_zero() || retry.max_pause.is_zero() {
            return fault("retry", "a pause of 0 would repeat it without end; give at least 1 ms");
        }
        if retry.first_pause > retry.max_pause {
            return fault("retry.first_pause", "it is longer than max_pause, which bounds it; make that longer");
        }
    }
    Ok(())
}

/// Refuses work that could never be done, where it stands. The coordinator does not know what work means.
fn check_work(steps: &[Step], resolved: &[SagaStep]) -> Result<(), InvalidSubmission> {
    let action_of = |name: &str| steps.iter().find(|step| step.name == name).map(Step::action);
    for (index, step) in steps.iter().enumerate() {
        let is_after = || saga::ancestors(resolved, index).iter().any(|before| resolved[*before].pivot);
        let action = if step.pivot {
            PlaceInSaga::Pivot
        } else if is_after() {
            PlaceInSaga::AfterPivot
        } else {
            PlaceInSaga::ActionThatCanBeUndone
        };
        let directions = [
            ("action", Some(&step.action), action),
            ("compensation", step.compensation.as_ref(), PlaceInSaga::Compensation),
        ];
        for (name, work, direction) in directions {
            if let Some(work) = work {
                work.check_in_saga(direction, action_of).map_err(|(operation, cause)| InvalidSubmission::StepWork {
                    path: format!("steps[{index}].{name}[{operation}]"),
                    cause,
                })?;
            }
        }
    }
    Ok(())
}

fn resolve(steps: &[Step], index: usize, step: &Step, is_saga: bool) -> Result<SagaStep, InvalidSubmission> {
    let name = |text: &str| text.parse::<ParticipantName>().map_err(|bad: InvalidId| InvalidSubmission::Name(bad));
    let place = |wanted: &str| {
        let at = steps.iter().position(|other| other.name == wanted);
        let at = at.and_then(|at| u16::try_from(at).ok()).map(StepIndex);
        at.ok_or_else(|| InvalidSubmission::NoSuchStep { step: step.name.clone(), named: wanted.to_owned() })
    };
    let uses = step.all_used();
    let after = match &step.after {
        Some(after) => after.iter().map(|name| place(name)).collect::<Result<_, _>>()?,
        None => index.checked_sub(1).and_then(|before| u16::try_from(before).ok()).map(StepIndex).into_iter().collect(),
    };
    let encode = |work: &Work, own: Option<&str>| {
        let inputs: Vec<&str> = uses.iter().copied().chain(own).collect();
        let participant = name(&step.participant)?;
        let invalid = |cause| InvalidSubmission::Work { participant: participant.clone(), cause };
        let work = if is_saga { work.as_step_only().encode(&inputs) } else { work.encode(&inputs) }.map_err(invalid)?;
        let (length, max) = (work.len(), MAX_WORK_BYTES);
        if length > max { Err(InvalidSubmission::WorkTooLarge { participant, length, max }) } else { Ok(work) }
    };
    Ok(SagaStep {
        name: step.name.parse().map_err(InvalidSubmission::Name)?,
        participant: name(&step.participant)?,
        action: Some(encode(&step.action, None)?),
        compensation: step.compensation.as_ref().map(|work| encode(work, Some(&step.name))).transpose()?,
        completion: None,
        after,
        uses: uses.iter().map(|name| place(name)).collect::<Result<_, _>>()?,
        pivot: step.pivot,
        retry: step.retry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_vocabulary::RetryPolicy;
    use undoubt_work::Reference;
    use undoubt_work::kv::KvWork;

    fn step(name: &str) -> Step {
        Step::new(name, "bank", KvWork::new().add("x", 1)).undo(KvWork::new().add("x", -1))
    }

    #[test]
    fn steps_are_a_sequence_unless_they_say_otherwise() {
        let wire = to_wire(&[step("a"), step("b"), step("c").after(&["a"])], true).unwrap();
        assert_eq!(wire.iter().map(|step| step.after.clone()).collect::<Vec<_>>(), [vec![], vec![0], vec![0]]);
    }

    #[test]
    fn what_work_refers_to_is_used_once_in_the_order_of_its_names() {
        let book = KvWork::new()
            .put("seat", "")
            .value_from(Reference::to("b", 0))
            .get("x")
            .key_suffix_from(Reference::to("a", 0));
        let undo = KvWork::new().delete("seat/").key_suffix_from(Reference::to("c", 1));
        let wire = to_wire(&[step("a"), step("b"), Step::new("c", "bank", book).undo(undo)], true).unwrap();
        assert_eq!(wire[2].uses, [1, 0]);
    }

    #[test]
    fn what_cannot_be_is_refused_before_it_is_sent() {
        let error = |steps: &[Step]| to_wire(steps, true).unwrap_err().to_string();
        assert!(error(&[Step::new("a", "bank", KvWork::new().get("x"))]).contains("steps[0].compensation"));
        assert!(error(&[step("a").after(&["z"])]).contains("z"));
        let unknown = KvWork::new().get("x").key_suffix_from(Reference::to("z", 0));
        assert!(error(&[Step::new("a", "bank", unknown).pivot()]).contains("z"));
        let own = KvWork::new().get("x").key_suffix_from(Reference::to("a", 0));
        assert!(error(&[Step::new("a", "bank", own).pivot()]).contains("a"));
        assert!(error(&[step("a b")]).contains("a b"));
    }

    #[test]
    fn work_that_could_never_be_done_is_refused_with_the_path_to_it() {
        let error = |steps: &[Step]| to_wire(steps, true).unwrap_err().to_string();
        let get = || KvWork::new().get("x");
        let from = |step, operation| get().put("y", "").value_from(Reference::to(step, operation));
        let refused = |steps: &[Step], path: &str, why: &str| {
            let error = error(steps);
            assert!(error.starts_with(path) && error.contains(why), "{error}");
        };
        let pivot = |work| Step::new("p", "bank", work).pivot();
        let last = |work| Step::new("z", "bank", work);
        refused(&[step("a").undo(get().pend())], "steps[0].compensation[0]", "pend");
        refused(&[step("a").undo(get().respect_pending())], "steps[0].compensation[0]", "respect-pending");
        refused(&[step("a"), pivot(get().pend())], "steps[1].action[0]", "pend");
        refused(&[pivot(get()), last(get().get("y").pend())], "steps[1].action[1]", "pend");
        refused(&[pivot(get()), last(get().respect_pending())], "steps[1].action[0]", "respect-pending");
        refused(&[step("a"), pivot(get()), last(from("a", 1))], "steps[2].action[1]", "no operation");
        let removes = Step::new("a", "bank", KvWork::new().delete("x")).undo(from("a", 0));
        refused(&[removes], "steps[0].compensation[1]", "never leaves a value");
        let guarded = Step::new("a", "bank", get().guarded()).undo(from("a", 0));
        assert!(to_wire(&[guarded, pivot(get().respect_pending()), last(from("a", 0))], true).is_ok());
        let elsewhere = Step::new("r", "other", Work::raw("w")).undo(Work::raw("w"));
        assert!(to_wire(&[elsewhere, step("b").undo(from("r", 77))], true).is_ok(), "others' results are not known");
    }

    #[test]
    fn a_policy_that_contradicts_itself_is_refused_in_either_mode() {
        let step = |retry| [step("a").retry(retry)];
        let default = RetryPolicy::default();
        let (none, long) = (std::time::Duration::ZERO, std::time::Duration::from_secs(60));
        for retry in [
            RetryPolicy { max_attempts: 0, ..default },
            RetryPolicy { attempt_timeout: none, ..default },
            RetryPolicy { first_pause: none, ..default },
            RetryPolicy { first_pause: long, ..default },
        ] {
            for whole in [false, true] {
                let error = to_wire(&step(retry), whole).unwrap_err().to_string();
                assert!(error.contains("steps[0].retry"), "{error}");
            }
        }
        assert!(to_wire(&step(RetryPolicy { first_pause: long, max_pause: long, ..default }), true).is_ok());
    }
}
