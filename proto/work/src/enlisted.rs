//! The work of a branch that the application has prepared itself, in the participant's own database, and the participant adopts. `work.proto` is the
//! contract.
//!
//! The name under which it is prepared follows from the coordinator and the transaction's id, so the work says nothing but that
//! there is something. Applications get it from whoever prepared it.

use crate::invalid_work::InvalidWork;
use crate::kinds::{ENLISTED, refused};
use crate::wire::{Fields, Writer};
use crate::work::Work;
use bytes::Bytes;

/// The grammar of it as text; part of the help.
pub const GRAMMAR: &str = "  enlisted

What an application has prepared in the participant's database, by itself and under this transaction's id. It stands alone, and only in
two-phase commit.";

/// The one word of it as text.
pub(crate) const WORD: &str = "enlisted";

/// Returns whether work is of this kind, for a resource that takes other kinds too.
///
/// # Errors
/// If anything stands beside or in it. What is no work of this kind is not looked at further.
pub fn read(work: &Bytes) -> Result<bool, InvalidWork> {
    let (mut fields, mut found, mut beside) = (Fields::of(work), false, None);
    while let Some(field) = fields.next()? {
        if field.number != ENLISTED {
            beside = Some(field.number);
            continue;
        }
        if let Some(inner) = field.message()?.next()? {
            return Err(InvalidWork::UnknownField { place: WORD.to_owned(), number: inner.number });
        }
        found = true;
    }
    match (found, beside) {
        (true, Some(number)) => Err(refused(number, ENLISTED)),
        (found, _) => Ok(found),
    }
}

pub(crate) fn encode() -> Bytes {
    let mut out = Writer::default();
    out.message(3, |_| {});
    out.finish()
}

/// Returns the fault of it in a saga, whose steps commit at once.
pub(crate) fn check_in_saga() -> Result<(), (usize, InvalidWork)> {
    Err((0, InvalidWork::EnlistedInSaga))
}

impl Work {
    /// Reads the text behind the first word, of which there is none.
    pub(crate) fn enlisted_from_text(text: &str) -> Result<Work, String> {
        if text.split_whitespace().nth(1).is_none() {
            return Ok(Work::enlisted());
        }
        Err(format!("{text:?} says more than `{WORD}`; write it as\n{GRAMMAR}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;
    use crate::work::PlaceInSaga;
    use undoubt_vocabulary::RefusalCode;

    #[test]
    fn it_is_two_bytes_and_stands_alone() {
        let work = Work::enlisted().encode(&[]).unwrap();
        assert_eq!(work, &[0x1a, 0][..]);
        assert_eq!(read(&work), Ok(true));
        let calls = Work::from(Call::new("p")).encode(&[]).unwrap();
        assert_eq!(read(&calls), Ok(false));
        let beside: Bytes = [&work[..], &calls[..]].concat().into();
        assert!(read(&beside).unwrap_err().to_string().contains("calls"));
        let fuller = Bytes::from_static(&[0x1a, 2, 8, 1]);
        assert!(read(&fuller).unwrap_err().to_string().contains("enlisted has a field 1"));
        assert_eq!(read(&Bytes::from_static(&[0x1a])).unwrap_err().code(), RefusalCode::InvalidWork);
        assert!(Work::enlisted().then(Call::new("p").into()).is_err());
        assert!(Work::from(Call::new("p")).then(Work::enlisted()).is_err());
    }

    #[test]
    fn it_is_one_word_as_text_and_in_json() {
        assert_eq!(Work::enlisted().texts(), ["enlisted"]);
        assert_eq!("enlisted".parse(), Ok(Work::enlisted()));
        assert!("enlisted 7".parse::<Work>().unwrap_err().contains("says more than"));
        assert_eq!(serde_json::from_str::<Work>(r#"["enlisted"]"#).unwrap(), Work::enlisted());
        assert!(serde_json::from_str::<Work>(r#"["enlisted", "call p"]"#).unwrap_err().to_string().contains("merged"));
    }

    #[test]
    fn it_is_no_step_of_a_saga() {
        let (_, fault) = Work::enlisted().check_in_saga(PlaceInSaga::Pivot, |_| None).unwrap_err();
        assert_eq!(fault, InvalidWork::EnlistedInSaga);
    }
}
