//! What a saga has come to, by its events and by what participants have said.

use super::evidence::Dealing;
use super::saga::{Saga, Seen};
use super::verdict::{Awaited, Fate, Standing, Verdict, What};
use super::{Observer, Source};
use crate::choreography::{Origin, Step, StepId};
use crate::declarations::{Beginning, Expiry, Heard};
use std::collections::BTreeMap;
use undoubt_vocabulary::{SubscriptionName, Timestamp};

/// One saga while it is looked at.
struct Judging<'a> {
    observer: &'a Observer,
    saga: &'a Saga,
    now: Timestamp,
    fates: BTreeMap<StepId, Fate>,
    awaited: Vec<Awaited>,
    /// Something failed: a reaction was refused, or undone, or the time was over.
    has_failed: bool,
    has_expired: bool,
    /// Reactions in effect that are no answer to a failure.
    in_effect: Vec<StepId>,
    /// What cannot be told, or has gone wrong.
    why: Vec<String>,
}

pub(super) fn judge(observer: &Observer, saga: &Saga, now: Timestamp) -> Verdict {
    let mut judging = Judging {
        observer,
        saga,
        now,
        fates: BTreeMap::new(),
        awaited: Vec::new(),
        has_failed: false,
        has_expired: false,
        in_effect: Vec::new(),
        why: Vec::new(),
    };
    for step in observer.choreography.steps() {
        if let Some(fate) = judging.step(step) {
            judging.note(step, fate);
        }
    }
    for (begun, beginning) in observer.choreography.beginnings() {
        if let (Some(seen), Some(expiry)) = (saga.events_of(&begun).next(), &beginning.expire) {
            judging.limit(seen, beginning, expiry);
        }
    }
    judging.verdict()
}

/// The same of a reaction as one event after the other shows it.
struct Acts<'a> {
    visible: bool,
    refused: bool,
    /// All that it publishes is there.
    whole: bool,
    dealt: Vec<&'a Seen>,
    not_yet: Vec<(&'a Seen, Option<String>)>,
    parked: Vec<(&'a Seen, Option<String>)>,
    given_up: bool,
}

impl<'a> Judging<'a> {
    fn source(&self, what: &Heard) -> Option<&'a Source> {
        self.observer.sources.get(&what.from)
    }

    fn dealing(&self, step: Step<'_>, seen: &Seen) -> Dealing {
        let subscription = step.reaction.subscription();
        self.observer.evidence.dealing(step.participant, &subscription, seen, self.source(&seen.event))
    }

    /// Returns true if this event was published because of another.
    fn has(&self, what: &Heard, because_of: &Seen) -> bool {
        self.saga.events_of(what).any(|seen| seen.caused_by == Some(because_of.id))
    }

    fn acts(&self, step: Step<'_>) -> Acts<'a> {
        let mut acts = Acts {
            visible: false,
            refused: false,
            whole: true,
            dealt: Vec::new(),
            not_yet: Vec::new(),
            parked: Vec::new(),
            given_up: false,
        };
        let emits: Vec<Heard> = step.emits().collect();
        let refused = step.refused();
        let saga = self.saga;
        for seen in saga.events.iter().filter(|seen| seen.event == step.reaction.on) {
            if refused.as_ref().is_some_and(|refused| self.has(refused, seen)) {
                acts.refused = true;
                continue;
            }
            if emits.iter().any(|event| self.has(event, seen)) {
                acts.visible = true;
                acts.whole &= emits.iter().all(|event| self.has(event, seen));
                continue;
            }
            match self.dealing(step, seen) {
                Dealing::Dealt => acts.dealt.push(seen),
                Dealing::NotYet(why) => acts.not_yet.push((seen, why)),
                Dealing::Parked(refusal) => acts.parked.push((seen, refusal)),
                Dealing::GivenUp => acts.given_up = true,
            }
        }
        acts
    }

    /// Returns what has become of a reaction; `None`: it has nothing to do with this saga.
    fn step(&mut self, step: Step<'_>) -> Option<Fate> {
        self.saga.events_of(&step.reaction.on).next()?;
        let acts = self.acts(step);
        let undoing = step.reaction.undo_on.iter().flat_map(|event| self.saga.events_of(event));
        let undoing: Vec<&Seen> = undoing.collect();
        if !undoing.is_empty() {
            self.has_failed = true;
            if let Some(fate) = self.undone(step, &acts, &undoing) {
                return Some(fate);
            }
        }
        Some(self.acted(step, acts))
    }

    /// Returns what has become of a reaction that something undoes; `None`: that was given up, and nothing has acted so far.
    fn undone(&mut self, step: Step<'_>, acts: &Acts<'_>, undoing: &[&Seen]) -> Option<Fate> {
        if acts.refused {
            return Some(Fate::Refused);
        }
        let shown = step.undone().is_some_and(|undone| undoing.iter().any(|seen| self.has(&undone, seen)));
        let (mut parked, mut not_yet, mut given_up) = (None, None, false);
        for &seen in undoing {
            match self.dealing(step, seen) {
                Dealing::Dealt => return Some(if acts.visible || shown { Fate::Undone } else { Fate::NotInEffect }),
                Dealing::Parked(refusal) => parked = parked.or(Some((seen, refusal))),
                Dealing::NotYet(why) => not_yet = not_yet.or(Some((seen, why))),
                Dealing::GivenUp => given_up = true,
            }
        }
        if shown {
            return Some(Fate::Undone);
        }
        if let Some((seen, refusal)) = parked {
            self.wait(step.id(), What::Undo, seen, Some(refusal), None);
        } else if let Some((seen, why)) = not_yet {
            self.wait(step.id(), What::Undo, seen, None, why);
        } else if given_up && (acts.visible || !acts.dealt.is_empty()) {
            self.why.push(format!("an operator has given up what was to undo {}", step.id()));
            return Some(Fate::Remains);
        } else {
            return None;
        }
        Some(Fate::Undoing)
    }

    /// Returns what has become of a reaction that nothing undoes, so far.
    fn acted(&mut self, step: Step<'_>, acts: Acts<'_>) -> Fate {
        let is_silent = step.reaction.emit.is_empty();
        for (seen, refusal) in &acts.parked {
            self.wait(step.id(), What::Act, seen, Some(refusal.clone()), None);
        }
        for (seen, why) in &acts.not_yet {
            self.wait(step.id(), What::Act, seen, None, why.clone());
        }
        if !acts.parked.is_empty() || !acts.not_yet.is_empty() {
            return Fate::Awaited;
        }
        if acts.refused {
            self.has_failed = true;
            if !acts.visible && acts.dealt.is_empty() {
                return Fate::Refused;
            }
        }
        if acts.given_up {
            self.why.push(format!("an operator has given up an event on which {} was to act", step.id()));
            if !acts.visible && acts.dealt.is_empty() {
                return Fate::Skipped;
            }
        }
        if !acts.dealt.is_empty() && !is_silent {
            self.why.push(format!(
                "{} has dealt with {}, and published nothing of what is declared",
                step.id(),
                step.reaction.on.kind
            ));
            return Fate::Unknown;
        }
        if acts.visible && !acts.whole {
            // The rest stands behind it in the same log.
            let seen = self.saga.events_of(&step.reaction.on).next();
            if let Some(seen) = seen {
                self.wait(step.id(), What::Act, seen, None, None);
            }
            return Fate::Awaited;
        }
        Fate::Acted
    }

    fn note(&mut self, step: Step<'_>, fate: Fate) {
        let answers_failure = self.is_failure(&step.reaction.on);
        let counts = step.reaction.has_barrier() || !answers_failure;
        if matches!(fate, Fate::Acted | Fate::Remains) && counts {
            self.in_effect.push(step.id());
        }
        if matches!(fate, Fate::Refused | Fate::Undone | Fate::NotInEffect | Fate::Undoing) {
            self.has_failed = true;
        }
        self.fates.insert(step.id(), fate);
    }

    /// Returns true if nothing but failures publishes this event.
    fn is_failure(&self, event: &Heard) -> bool {
        let origins = self.observer.origins.get(event).map_or(&[][..], Vec::as_slice);
        let of_failure = |origin: &Origin| match origin {
            Origin::Begin | Origin::Emit(_) => false,
            Origin::Refused(_) | Origin::Undone(_) | Origin::Expired(_) => true,
        };
        !origins.is_empty() && origins.iter().all(of_failure)
    }

    fn limit(&mut self, begun: &Seen, beginning: &Beginning, expiry: &Expiry) {
        let participant = begun.event.from.clone();
        let over =
            Heard { from: participant.clone(), topic: expiry.emit.topic.clone(), kind: expiry.emit.kind.clone() };
        debug_assert_eq!(beginning.kind, begun.event.kind);
        if self.saga.events_of(&over).next().is_some() {
            self.has_failed = true;
            self.has_expired = true;
            return;
        }
        let step = StepId { participant: participant.clone(), name: expiry.name.clone() };
        let subscription: SubscriptionName = expiry.name.as_str().parse().expect("both names have the same characters");
        let ends: Vec<&Seen> = expiry.unless.iter().flat_map(|event| self.saga.events_of(event)).collect();
        let dealings: Vec<(&Seen, Dealing)> = ends
            .into_iter()
            .map(|seen| {
                let source = self.source(&seen.event);
                (seen, self.observer.evidence.dealing(&participant, &subscription, seen, source))
            })
            .collect();
        if dealings.iter().any(|(_, dealing)| *dealing == Dealing::Dealt) {
            return;
        }
        for (seen, dealing) in dealings {
            match dealing {
                Dealing::Parked(refusal) => return self.wait(step, What::Limit, seen, Some(refusal), None),
                Dealing::NotYet(why) => return self.wait(step, What::Limit, seen, None, why),
                Dealing::Dealt | Dealing::GivenUp => {}
            }
        }
        let due = begun.published_at.plus(expiry.after);
        self.wait(step, What::Time { due }, begun, None, None);
    }

    fn wait(&mut self, step: StepId, what: What, seen: &Seen, parked: Option<Option<String>>, held_up: Option<String>) {
        let mut since = seen.published_at;
        if let What::Time { due } = what {
            since = due;
        }
        let source = self.observer.sources.get(&step.participant);
        let away = source.and_then(|source| source.contact().away);
        let quiet_until = source.and_then(|source| self.quiet_until(source, since)).filter(|_| parked.is_none());
        let held_up = held_up.or_else(|| away.map(|(_, why)| format!("{} is away: {why}", step.participant)));
        let event = seen.event.kind.clone();
        self.awaited.push(Awaited { step, what, event, since: seen.published_at, parked, quiet_until, held_up });
    }

    /// Returns the time up to which nothing was heard of a participant since then, if that is too long: it was listened to in vain.
    fn quiet_until(&self, source: &Source, since: Timestamp) -> Option<Timestamp> {
        let bound = self.observer.terms.quiet_after;
        let is_quiet = |from: Timestamp, until: Timestamp| until > from && until.since(from) >= bound;
        let contact = source.contact();
        let heard = source.heard_until().filter(|until| is_quiet(since, *until));
        let in_vain = contact.away.map(|_| self.now).filter(|now| is_quiet(since.max(contact.listening_since), *now));
        heard.or(in_vain)
    }

    fn verdict(mut self) -> Verdict {
        let rank = |awaited: &Awaited| {
            let is_time = matches!(awaited.what, What::Limit | What::Time { .. });
            (is_time, awaited.parked.is_none(), awaited.quiet_until.is_none(), awaited.since)
        };
        self.awaited.sort_by_key(rank);
        let unheard =
            self.saga.events.iter().find(|seen| seen.caused_by.is_some_and(|id| self.saga.event(id).is_none()));
        if let Some(seen) = unheard {
            self.why.push(format!("the event that led to {} was not heard", seen.event));
        }
        self.why.extend(self.saga.missed.clone());
        // As long as a log was not read so far, it may be there.
        let all_read = |seen: &Seen| {
            self.observer.sources.values().all(|source| source.contact().caught_up_at >= Some(seen.published_at))
        };
        let is_unknown = unheard.is_some_and(all_read)
            || self.saga.missed.is_some()
            || self.fates.values().any(|fate| *fate == Fate::Unknown);
        let seems = self.standing();
        let standing = if is_unknown {
            Standing::Unknown
        } else if seems.has_ended() && unheard.is_some() {
            Standing::Running
        } else {
            seems
        };
        let why = (!self.why.is_empty()).then(|| self.why.join("; "));
        Verdict { standing, fates: self.fates, awaited: self.awaited, why }
    }

    fn standing(&mut self) -> Standing {
        if !self.awaited.is_empty() {
            let is_parked = self.awaited.iter().any(|awaited| awaited.parked.is_some());
            let is_quiet = self.awaited.iter().any(|awaited| awaited.quiet_until.is_some());
            return match (is_parked, is_quiet, self.has_failed) {
                (true, _, _) => Standing::Parked,
                (false, true, _) => Standing::Quiet,
                (false, false, true) => Standing::Undoing,
                (false, false, false) => Standing::Running,
            };
        }
        let is_given_up = self.fates.values().any(|fate| matches!(fate, Fate::Skipped | Fate::Remains));
        if is_given_up {
            return Standing::Mixed;
        }
        if !self.has_failed {
            return Standing::Done;
        }
        if self.in_effect.is_empty() {
            return if self.has_expired { Standing::Expired } else { Standing::Undone };
        }
        let remain: Vec<String> = self.in_effect.iter().map(ToString::to_string).collect();
        self.why.push(format!("something failed, and these remain in effect: {}", remain.join(", ")));
        Standing::Mixed
    }
}
