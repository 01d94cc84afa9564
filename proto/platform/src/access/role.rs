//! The roles that an identity may have.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Something that a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Submit transactions, wait for their outcomes, cancel them.
    Submit,
    /// Look at everything.
    Read,
    /// Decide for others: what `Operator` and `ParticipantAdmin` change.
    Operate,
    /// Open sessions at participants, as a coordinator.
    Coordinator,
    /// Say on whose behalf it asks, as a gateway does that has asked its callers who they are.
    Delegate,
}

impl Role {
    pub const ALL: [Role; 5] = [Role::Submit, Role::Read, Role::Operate, Role::Coordinator, Role::Delegate];

    fn word(self) -> &'static str {
        match self {
            Role::Submit => "submit",
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Coordinator => "coordinator",
            Role::Delegate => "delegate",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role {0:?}; there are: {all}", all = Roles::ALL)]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Role, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.word() == word).ok_or_else(|| UnknownRole(word.to_owned()))
    }
}

/// The text of no roles.
const NO_ROLES: &str = "none";

/// A set of roles.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    pub const NONE: Roles = Roles(0);
    pub const ALL: Roles = Roles((1 << Role::ALL.len()) - 1);

    pub fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    pub fn has_any(self, wanted: &[Role]) -> bool {
        wanted.iter().any(|role| self.has(*role))
    }

    /// Returns the roles of both.
    #[must_use]
    pub fn and(self, more: Roles) -> Roles {
        Roles(self.0 | more.0)
    }

    /// Returns the roles that both have.
    #[must_use]
    pub fn shared(self, others: Roles) -> Roles {
        Roles(self.0 & others.0)
    }

    pub fn is_empty(self) -> bool {
        self == Roles::NONE
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Roles {
        Roles(roles.into_iter().fold(0, |all, role| all | role.bit()))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = Role::ALL.into_iter().filter(|role| self.has(*role)).map(Role::word).collect();
        f.write_str(if words.is_empty() { NO_ROLES } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

/// Reads what [`Display`](fmt::Display) writes.
impl FromStr for Roles {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Roles, UnknownRole> {
        if text == NO_ROLES {
            Ok(Roles::NONE)
        } else {
            text.split(',').map(|word| word.trim().parse::<Role>()).collect()
        }
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}
