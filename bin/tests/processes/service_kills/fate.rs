//! A transaction as whoever asked for it knows it.

/// The way in which a part of a transaction takes effect at a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An action that moves money, and a compensation.
    Moved,
    /// An action or a try that holds money, what completes it, and what undoes it.
    Reserved,
    /// The same, but its action is the caller's own, after the step has joined.
    Own,
    /// A local transaction of the service, about which the coordinator asks back.
    Local,
    /// A completion alone: what follows a local transaction.
    Delivered,
}

impl Form {
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Moved => "moved",
            Form::Reserved => "reserved",
            Form::Own => "own",
            Form::Local => "local",
            Form::Delivered => "delivered",
        }
    }

    /// Returns how often it is done first, and how often completed, where it is in effect.
    pub fn in_effect(self) -> (u64, u64) {
        match self {
            Form::Moved | Form::Local => (1, 0),
            Form::Reserved | Form::Own => (1, 1),
            Form::Delivered => (0, 1),
        }
    }
}

/// A part of a transaction at a service.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    pub service: usize,
    pub form: Form,
    pub account: String,
    pub amount: i64,
    /// Its caller was told that it is not in effect; the transaction went on without it.
    pub was_refused: bool,
    /// It is a part of a nested saga, so what was completed may have been undone.
    pub nested: bool,
}

/// A transaction, and what its caller heard of it.
#[derive(Clone, Debug)]
pub struct Fate {
    pub id: String,
    pub kind: &'static str,
    pub parts: Vec<Part>,
    /// It leaves its id at the store.
    pub has_key: bool,
    /// True: that it committed. None: nothing.
    pub told: Option<bool>,
    /// The transaction that it is a part of, and comes out as.
    pub parent: Option<String>,
    /// The answers that make no sense.
    pub odd: Vec<String>,
}

impl Fate {
    pub fn new(id: String, kind: &'static str, parts: Vec<Part>) -> Fate {
        Fate { id, kind, parts, has_key: false, told: None, parent: None, odd: Vec::new() }
    }
}
