//! Whoever asks for something, as services see it.

use super::role::{Role, Roles};
use crate::server::check_reason;
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::{Extensions, Status};

/// Whoever makes a request. Outside the frame of a server it is nobody, who may do nothing.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The identity; none where callers without one are let in.
    pub name: Option<Arc<str>>,
    /// The gateway that asks on its behalf.
    pub through: Option<Arc<str>>,
    pub roles: Roles,
    /// The address that it calls from, where the transport has some.
    pub address: Option<SocketAddr>,
}

/// What an operator does, as records have it: who, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub who: String,
    pub reason: String,
}

impl Caller {
    /// Returns the caller of a request.
    pub fn of(extensions: &Extensions) -> Caller {
        extensions.get::<Caller>().cloned().unwrap_or_default()
    }

    pub fn has_any(&self, roles: &[Role]) -> bool {
        self.roles.has_any(roles)
    }

    /// Returns true if it may learn the ids of coordinators.
    pub fn may_know_ids(&self) -> bool {
        self.has_any(&[Role::Read, Role::Operate])
    }

    /// Returns who does something and why, for the records. Who it is, is the identity; what the request says of it is a note
    /// beside the reason. Of a caller without identity it is what the request says.
    pub fn sign(&self, who: String, reason: String) -> Result<Signed, Status> {
        let Some(name) = &self.name else {
            check_reason(&who, &reason)?;
            return Ok(Signed { who, reason });
        };
        let name = match &self.through {
            Some(gateway) => format!("{name} (through {gateway})"),
            None => name.to_string(),
        };
        check_reason(if who.is_empty() { &name } else { &who }, &reason)?;
        let reason = if who.is_empty() || who == name { reason } else { format!("{reason} (as {who})") };
        Ok(Signed { who: name, reason })
    }
}
