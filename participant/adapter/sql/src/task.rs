//! The calls of one branch or step as they are run: arguments bound, lock keys filled in.

use crate::emits::{Emits, Outgoing};
use crate::parameter::shown;
use crate::procedure::{Declared, Isolation, Procedure, Procedures};
use crate::table_log::Outbox;
use crate::template::Template;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use undoubt_lock::Mode;
use undoubt_participant::event_log::Topics;
use undoubt_vocabulary::{Refusal, RefusalCode, TxId};
use undoubt_work::call::{self, Calls, Given};
use undoubt_work::{Datum, Input, Inputs};

/// A lock key with its arguments filled in.
pub const MAX_LOCK_KEY_BYTES: usize = 1_024;

/// The place that work belongs to, which decides what it may ask for.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Branch,
    Action {
        inputs: &'a [Bytes],
    },
    /// The work that ends a step for good: its compensation or its completion.
    Ending {
        inputs: &'a [Bytes],
    },
}

impl<'a> Place<'a> {
    /// Returns what references to earlier steps refer to.
    pub(crate) fn inputs(self) -> Inputs<'a> {
        match self {
            Place::Branch => Inputs::of_branch(),
            Place::Action { inputs } | Place::Ending { inputs } => Inputs::of_step(inputs),
        }
    }
}

/// A call with its arguments in the order of the procedure's parameters, converted to their types.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub procedure: Arc<Procedure>,
    pub arguments: Vec<Datum>,
}

/// The work of one branch or step; by default it does nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    pub calls: Vec<Bound>,
    /// A key and the value that the participant keeps under it, in the same transaction.
    pub outcome: Option<(Bytes, Bytes)>,
    /// Keys to be marked as pending.
    pub pend: BTreeSet<Bytes>,
    /// Keys that no other saga may have marked.
    pub respect: BTreeSet<Bytes>,
    locks: BTreeMap<Bytes, Mode>,
    emits: Emits,
}

impl Task {
    /// Reads work and binds it to the procedures and the topics that are declared.
    ///
    /// # Errors
    /// With [`RefusalCode::InvalidWork`], naming procedure and argument.
    pub fn read(work: &Bytes, place: Place<'_>, procedures: &Procedures, topics: &Topics) -> Result<Task, Refusal> {
        let (Calls { calls, outcome }, emits) = call::read_with_events(work)?;
        let mut inputs = place.inputs();
        let outcome = outcome.map(|kept| {
            let value = match (place, kept.value_in_branch) {
                (Place::Branch, Some(value)) => value,
                (Place::Branch, None) | (Place::Action { .. } | Place::Ending { .. }, _) => kept.value,
            };
            (kept.key, value)
        });
        let mut task = Task {
            calls: Vec::new(),
            outcome,
            pend: BTreeSet::new(),
            respect: BTreeSet::new(),
            locks: BTreeMap::new(),
            emits: Emits::default(),
        };
        for call in calls {
            let bound = bind(&call, procedures, &mut inputs)?;
            task.take_locks(&call, &bound, place)?;
            task.calls.push(bound);
        }
        task.emits = Emits::take(emits, &mut inputs, topics, &mut task.locks)?;
        Ok(task)
    }

    fn take_locks(&mut self, call: &call::Call<Input>, bound: &Bound, place: Place<'_>) -> Result<(), Refusal> {
        let keys = bound.lock_keys()?;
        if call.pend && keys.is_empty() {
            let name = &bound.procedure.name;
            let detail =
                format!("procedure {name} declares no locks, so there is nothing to mark as pending; declare them");
            return Err(invalid(detail));
        }
        let mode = if bound.procedure.only_reads() && !call.pend { Mode::Shared } else { Mode::Exclusive };
        for key in keys {
            if call.pend {
                match place {
                    Place::Action { .. } => drop(self.pend.insert(key.clone())),
                    // Its locks keep others off until it has ended, so it needs no mark.
                    Place::Branch => {}
                    Place::Ending { .. } => {
                        return Err(invalid("only the action of a saga's step can mark keys as pending".to_owned()));
                    }
                }
            }
            if call.pend || call.respect_pending {
                self.respect.insert(key.clone());
            }
            let held = self.locks.entry(key).or_insert(mode);
            *held = (*held).max(mode);
        }
        Ok(())
    }

    /// Returns the keys that it locks before the database is asked.
    pub fn locks(&self) -> &BTreeMap<Bytes, Mode> {
        &self.locks
    }

    /// Returns true if it publishes events.
    pub fn publishes(&self) -> bool {
        !self.emits.is_empty()
    }

    /// Returns true if one of its events takes something from what its calls return.
    pub fn publishes_results(&self) -> bool {
        self.emits.need_results()
    }

    /// Returns its events, in order. `results`: what its calls returned; empty where no event takes anything from that.
    pub fn events(
        &self,
        place: Place<'_>,
        results: &Bytes,
        outbox: &Outbox,
        tx: &TxId,
    ) -> Result<Vec<Outgoing>, Refusal> {
        outbox.outgoing(self.emits.resolve(place, results)?, tx)
    }

    /// Returns true if nothing of it writes.
    pub fn only_reads(&self) -> bool {
        self.outcome.is_none() && !self.publishes() && self.calls.iter().all(|call| call.procedure.only_reads())
    }

    /// Returns true if it locks rows that it reads.
    pub fn locks_rows(&self) -> bool {
        self.calls.iter().any(|call| call.procedure.locks_rows())
    }

    /// Returns the isolation that it needs.
    pub fn isolation(&self) -> Isolation {
        self.calls.iter().map(|call| call.procedure.isolation).max().unwrap_or_default()
    }

    /// Returns the names of what it calls, for people.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.calls.iter().map(|call| call.procedure.name.as_str()).collect();
        names.join(", ")
    }
}

impl Bound {
    /// Returns the arguments of one of its statements, in the order of the statement's parameters.
    pub fn arguments_of<'a>(&'a self, declared: &'a Declared) -> impl ExactSizeIterator<Item = &'a Datum> {
        declared.parameters.iter().map(|place| &self.arguments[*place])
    }

    /// Returns the refusal of a statement that wrote or returned another number of rows than it has to. `statement`: from 0.
    pub fn refusal(&self, statement: usize) -> Refusal {
        let declared = &self.procedure.statements[statement];
        let detail = match (&declared.otherwise, declared.rows) {
            (Some(otherwise), _) => self.fill(otherwise),
            (None, rows) => {
                let (name, at, rows) = (&self.procedure.name, statement + 1, rows.unwrap_or_default());
                format!("statement {at} of procedure {name} is to have {rows} rows, and has another number")
            }
        };
        Refusal::new(RefusalCode::Condition, detail)
    }

    fn lock_keys(&self) -> Result<Vec<Bytes>, Refusal> {
        let key = |lock: &Template| {
            let key = lock.fill(|name| self.argument(name).map_or_else(String::new, full));
            match key.len() {
                1..=MAX_LOCK_KEY_BYTES => Ok(key.into()),
                length => Err(Refusal::new(
                    RefusalCode::TooLarge,
                    format!(
                        "a lock key of procedure {} has {length} bytes with its arguments, and may have 1 to \
                         {MAX_LOCK_KEY_BYTES}; use other arguments",
                        self.procedure.name
                    ),
                )),
            }
        };
        self.procedure.locks.iter().map(key).collect()
    }

    fn fill(&self, template: &Template) -> String {
        template.fill(|name| self.argument(name).map_or_else(String::new, shown))
    }

    fn argument(&self, name: &str) -> Option<&Datum> {
        let place = self.procedure.parameters.iter().position(|parameter| parameter.name == name)?;
        self.arguments.get(place)
    }
}

/// Returns all of a value, unlike what people are shown.
fn full(datum: &Datum) -> String {
    match (crate::parameter::text_of(datum), datum) {
        (Some(text), _) => text,
        (None, Datum::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        (None, _) => "null".to_owned(),
    }
}

fn bind(call: &call::Call<Input>, procedures: &Procedures, inputs: &mut Inputs<'_>) -> Result<Bound, Refusal> {
    let name = &call.procedure;
    let unknown = || {
        let known: Vec<&str> = procedures.iter().map(|procedure| procedure.name.as_str()).collect();
        invalid(format!("there is no procedure {name} here; this participant declares {}", known.join(", ")))
    };
    let mut procedure = procedures.get(name).ok_or_else(unknown)?;
    if call.undo {
        let undo = procedure.undo.as_deref().and_then(|undo| procedures.get(undo));
        procedure = undo.ok_or_else(|| {
            invalid(format!(
                "procedure {name} declares no undo; let its owner declare one, or call what undoes it by name"
            ))
        })?;
    }
    let mut given = BTreeMap::new();
    for argument in &call.arguments {
        let value = match &argument.given {
            Given::Value(value) => value.clone(),
            Given::From(from) => inputs.datum(from)?,
        };
        if given.insert(argument.name.as_str(), value).is_some() {
            return Err(invalid(format!("procedure {name} is given {} twice; give it once", argument.name)));
        }
    }
    let mut arguments = Vec::with_capacity(procedure.parameters.len());
    for parameter in &procedure.parameters {
        let name = &procedure.name;
        let Some(value) = given.remove(parameter.name.as_str()) else {
            let (missing, kind) = (&parameter.name, parameter.kind);
            return Err(invalid(format!("procedure {name} needs {missing}, a {kind}; give it, null if there is none")));
        };
        let converted = parameter.kind.convert(&value);
        arguments
            .push(converted.map_err(|mismatch| invalid(format!("procedure {name}, {}: {mismatch}", parameter.name)))?);
    }
    // What undoes may need less than what it undoes.
    if let (false, Some(superfluous)) = (call.undo, given.keys().next()) {
        return Err(invalid(format!("procedure {name} has no parameter {superfluous}; leave it out")));
    }
    Ok(Bound { procedure: procedure.clone(), arguments })
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidWork, detail)
}
