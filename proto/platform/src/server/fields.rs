//! Fields that requests of operators have, whichever server they go to.

use crate::reason::Reason;
use bytes::Bytes;
use tonic::Status;
use undoubt_vocabulary::TxId;

/// The longest name of an operator, and the longest reason, in bytes.
pub(crate) const MAX_REASON_BYTES: usize = 256;

/// Returns the id of the transaction that a request names.
pub fn parse_tx(tx: Bytes) -> Result<TxId, Status> {
    TxId::new(tx).map_err(|bad| Reason::InvalidRequest.refuse_field("tx", bad.to_string()))
}

/// Checks the fields that say who does something and why, which is recorded for good.
pub fn check_reason(who: &str, reason: &str) -> Result<(), Status> {
    for (field, text) in [("who", who), ("reason", reason)] {
        let wrong = match text.len() {
            0 => format!("{field} is missing; it is recorded for good"),
            1..=MAX_REASON_BYTES => continue,
            given => format!("{field} has {given} bytes, more than {MAX_REASON_BYTES}"),
        };
        return Err(Reason::InvalidRequest.refuse_field(field, wrong));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_something_says_who_and_why_and_not_at_length() {
        assert!(check_reason("ada", "it was paid by hand").is_ok());
        let long = "x".repeat(MAX_REASON_BYTES + 1);
        for (who, reason, wrong) in
            [("", "because", "who is missing"), ("ada", "", "reason is missing"), ("ada", &long, "257 bytes")]
        {
            let refused = check_reason(who, reason).unwrap_err();
            assert!(refused.message().contains(wrong), "{refused}");
        }
    }
}
