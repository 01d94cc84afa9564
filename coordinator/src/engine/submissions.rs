//! Transactions and steps that callers hand in: who is let in, and what is put to the core.

use super::Engine;
use super::commands::{Replied, Reply};
use crate::log::LogError;
use crate::metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_coordinator_core::{Beginning, Content, Input, Joining, Request, Submission, Terms, TransactionView};
use undoubt_platform::audit::Origin;
use undoubt_proto::v1;
use undoubt_vocabulary::{ParticipantName, SagaStep, TxId};

/// A submission before it has a client's number.
#[derive(Debug)]
pub(crate) struct NewTransaction {
    pub(crate) tx: TxId,
    pub(crate) digest: [u8; 32],
    pub(crate) content: Content,
    pub(crate) timeout: Duration,
    pub(crate) wait: bool,
    /// The caller that submits it.
    pub(crate) origin: Origin,
    /// The caller's trace context, as it came.
    pub(crate) trace: Option<Box<v1::TraceContext>>,
}

/// An open saga before it has a client's number.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) tx: TxId,
    pub(crate) digest: [u8; 32],
    pub(crate) terms: Terms,
    pub(crate) check_back: Option<Arc<SagaStep>>,
    pub(crate) parent: Option<TxId>,
    /// True if nobody but the caller may let steps join it, close it or cancel it.
    pub(crate) owner_only: bool,
    pub(crate) timeout: Duration,
    pub(crate) origin: Origin,
    /// The caller's trace context, as it came.
    pub(crate) trace: Option<Box<v1::TraceContext>>,
}

/// A step that joins an open saga, before it has a client's number.
#[derive(Clone, Debug)]
pub(crate) struct NewStep {
    pub(crate) tx: TxId,
    pub(crate) step: SagaStep,
    pub(crate) digest: [u8; 32],
    pub(crate) wait: bool,
    pub(crate) origin: Origin,
}

impl Engine {
    pub(super) fn submit(&mut self, request: NewTransaction, reply: Reply) -> Result<(), LogError> {
        let NewTransaction { tx, digest, content, timeout, wait, origin, trace } = request;
        if let Some(why) = self.not_let_in(content.participants(), Some(&origin))
            && !self.is_known(&tx)?
        {
            self.reject(why, reply);
            return Ok(());
        }
        let client = self.client(&tx, reply)?;
        self.traced.offer(&tx, trace.as_deref());
        let submission = Submission { tx: tx.clone(), digest, content, timeout, client, wait };
        let put = self.put(tx, origin, Request::Submit(submission));
        self.traced.put();
        put
    }

    pub(super) fn begin(&mut self, request: Opening, reply: Reply) -> Result<(), LogError> {
        let Opening { tx, digest, terms, check_back, parent, owner_only, timeout, origin, trace } = request;
        if parent.as_ref().is_some_and(|parent| self.is_anothers(parent, &origin)) {
            self.reject(Replied::NotOwner, reply);
            return Ok(());
        }
        let asked = check_back.iter().map(|step| &step.participant);
        if let Some(why) = self.not_let_in(asked, Some(&origin))
            && !self.is_known(&tx)?
        {
            self.reject(why, reply);
            return Ok(());
        }
        let client = self.client(&tx, reply)?;
        self.traced.offer(&tx, trace.as_deref());
        let owner = if owner_only { origin.who.clone() } else { None };
        let beginning = Beginning { tx: tx.clone(), digest, terms, check_back, parent, owner, timeout, client };
        let put = self.put(tx, origin, Request::Begin(beginning));
        self.traced.put();
        put
    }

    pub(super) fn join(&mut self, request: NewStep, reply: Reply) -> Result<(), LogError> {
        let NewStep { tx, step, digest, wait, origin } = request;
        if self.is_anothers(&tx, &origin) {
            self.reject(Replied::NotOwner, reply);
            return Ok(());
        }
        let has_joined =
            |view: TransactionView| view.branches.iter().any(|part| part.step.as_ref() == Some(&step.name));
        if let Some(why) = self.not_let_in([&step.participant], None)
            && !self.core.view(&tx).is_some_and(has_joined)
            && self.log.ended(&tx)?.is_none()
        {
            self.reject(why, reply);
            return Ok(());
        }
        let client = self.client(&tx, reply)?;
        let joining = Joining { tx: tx.clone(), step, digest, client, wait };
        self.put(tx, origin, Request::Join(Box::new(joining)))
    }

    pub(super) fn close(&mut self, tx: TxId, wait: bool, origin: Origin, reply: Reply) -> Result<(), LogError> {
        if self.is_anothers(&tx, &origin) {
            self.reject(Replied::NotOwner, reply);
            return Ok(());
        }
        let client = self.client(&tx, reply)?;
        self.put(tx.clone(), origin, Request::Close { tx, client, wait })
    }

    /// Cancels for a caller, or for an operator, who may cancel what is somebody's alone.
    pub(super) fn cancel(
        &mut self,
        tx: TxId,
        by_operator: bool,
        origin: &Origin,
        reply: Reply,
    ) -> Result<(), LogError> {
        if !by_operator && self.is_anothers(&tx, origin) {
            self.reject(Replied::NotOwner, reply);
            return Ok(());
        }
        let client = self.client(&tx, reply)?;
        self.handle_input(Input::Request(Request::Cancel { tx, client }))
    }

    /// Returns true if the transaction is open, its owner's alone, and this caller is another.
    fn is_anothers(&self, tx: &TxId, origin: &Origin) -> bool {
        self.core.owner(tx).is_some_and(|owner| origin.who.as_ref() != Some(owner))
    }

    /// Returns why new work is not let in: it names a participant that nobody knows, or one that leaves; there is no room; or its
    /// `holder` has taken as much as it may.
    fn not_let_in<'a>(
        &mut self,
        named: impl IntoIterator<Item = &'a ParticipantName>,
        holder: Option<&Origin>,
    ) -> Option<Replied> {
        let is_unknown = |name: &&ParticipantName| self.links.get(*name).is_none_or(|link| link.leaving);
        if let Some(unknown) = named.into_iter().find(is_unknown) {
            return Some(Replied::UnknownParticipant(unknown.clone()));
        }
        if let Some(why) = &self.refusing {
            return Some(Replied::NoRoom(why.clone()));
        }
        self.holders.admit(&holder?.who, Instant::now() - self.began).err().map(Replied::Exceeded)
    }

    /// Returns true if the transaction is open or has ended: then it is answered, whoever else is let in (R10).
    fn is_known(&self, tx: &TxId) -> Result<bool, LogError> {
        Ok(self.core.view(tx).is_some() || self.log.ended(tx)?.is_some())
    }

    fn reject(&mut self, why: Replied, reply: Reply) {
        self.figures.rejected(match &why {
            Replied::UnknownParticipant(_) => metrics::UNKNOWN_PARTICIPANT,
            Replied::Exceeded(exceeded) => metrics::exceeded(exceeded.limit),
            Replied::NotOwner => metrics::NOT_OWNER,
            Replied::NoRoom(_) | Replied::Core(_) | Replied::Again(_) => metrics::NO_ROOM,
        });
        reply.give(why);
    }

    /// Puts a caller's request to the core. Who it is stands in the audit record, if the core takes it.
    fn put(&mut self, tx: TxId, origin: Origin, request: Request) -> Result<(), LogError> {
        self.submitting = Some((tx, origin));
        let put = self.handle_input(Input::Request(request));
        self.submitting = None;
        put
    }
}
