use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::Answer;
use crate::answer::unreadable;
use crate::id::{decoded, encoded};

const MAX_EFFECT_BYTES: usize = 512;
/// The beginning of the names of rows that a service's own transactions write.
const OWN: &str = "own/";

/// What is to be done, as the header `Undoubt-Operation` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A step of a saga.
    Action,
    /// Undoes an action, and a completion if there was one.
    Compensation,
    /// Completes a step once its saga has succeeded.
    Completion,
    /// Asks whether the service's own transaction was committed. The barrier answers it.
    CheckBack,
    /// Holds what a confirm will take, in two-phase commit.
    Try,
    /// Takes what was tried.
    Confirm,
    /// Lets go what was tried.
    Cancel,
}

impl Operation {
    const ALL: [Self; 7] =
        [Self::Action, Self::Compensation, Self::Completion, Self::CheckBack, Self::Try, Self::Confirm, Self::Cancel];

    /// Returns the word for it in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
            Self::Completion => "completion",
            Self::CheckBack => "check-back",
            Self::Try => "try",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word of an operation that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header Undoubt-Operation says {0}, which this version does not know; update it")]
pub struct UnknownOperation(String);

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(word: &str) -> Result<Self, UnknownOperation> {
        let known = Self::ALL.into_iter().find(|operation| operation.as_str() == word);
        known.ok_or_else(|| UnknownOperation(word.to_owned()))
    }
}

/// What a service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What is to be done.
    pub operation: Operation,
    /// Names what is done and undone: the same for an action and its compensation.
    pub effect: String,
    /// The transaction's id; `None` where the request does not say.
    pub transaction: Option<String>,
    /// The step's place in its saga, from 0; `None` of a branch.
    pub step: Option<u32>,
}

impl Call {
    /// Reads a call from a request's headers. `header` returns the value of a header by its name in small letters.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// use undoubt_barrier::{Call, Operation};
    ///
    /// let headers = BTreeMap::from([("undoubt-effect", "c1/order-17/1/0"), ("undoubt-operation", "compensation")]);
    /// let call = Call::read(|name| headers.get(name).copied()).expect("both are there");
    /// assert_eq!(call.operation, Operation::Compensation);
    ///
    /// let refused = Call::read(|_| None).expect_err("nothing is there");
    /// assert_eq!(refused.status, 400);
    /// ```
    ///
    /// # Errors
    ///
    /// The answer to a request that cannot be read: 400, and which header is missing.
    pub fn read<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Result<Self, Answer> {
        let given = |name| header(name).filter(|value| !value.is_empty());
        let effect = given("undoubt-effect").ok_or_else(|| missing("NO_EFFECT", "Undoubt-Effect"))?;
        if effect.len() > MAX_EFFECT_BYTES || !effect.is_ascii() {
            let detail = format!("the header Undoubt-Effect has more than {MAX_EFFECT_BYTES} characters of ASCII");
            return Err(unreadable("NO_EFFECT", &detail));
        }
        let word = given("undoubt-operation").ok_or_else(|| missing("NO_OPERATION", "Undoubt-Operation"))?;
        let operation =
            word.parse().map_err(|unknown: UnknownOperation| unreadable("UNKNOWN_OPERATION", &unknown.to_string()))?;
        let transaction = given("undoubt-transaction").map(decoded);
        if operation == Operation::CheckBack && transaction.is_none() {
            return Err(missing("NO_TRANSACTION", "Undoubt-Transaction"));
        }
        let step = given("undoubt-step").and_then(|step| step.parse().ok());
        Ok(Self { operation, effect: effect.to_owned(), transaction, step })
    }

    /// Returns the name of the row that the call is decided by.
    pub(crate) fn row(&self) -> String {
        match (self.operation, &self.transaction) {
            (Operation::CheckBack, Some(transaction)) => own_row(transaction),
            _ => self.effect.clone(),
        }
    }
}

/// Returns the name of the row that a service's own transaction writes.
pub(crate) fn own_row(transaction: &str) -> String {
    format!("{OWN}{}", encoded(transaction))
}

fn missing(code: &str, name: &str) -> Answer {
    let detail = format!(
        "the header {name} is missing or empty: a participant over HTTP sends it, and a call by hand has to, too"
    );
    unreadable(code, &detail)
}
