//! The meaning of a service's answer, by its status and by what was asked.

use crate::convention::Operation;
use undoubt_vocabulary::RefusalCode;

/// The meaning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in effect, or there is nothing to undo.
    Done,
    /// The service will not do it, and has done nothing.
    Refused(RefusalCode),
    /// The service is at it, or busy: the same is asked again, as soon as it says.
    Later,
    /// Nobody knows whether it took effect.
    Unclear,
}

/// Returns what a status means. `tried`: what is to be undone was answered with success before.
pub fn verdict(operation: Operation, tried: bool, status: u16) -> Verdict {
    let undoes = matches!(operation, Operation::Compensation | Operation::Cancel);
    match status {
        // Only one answer says that it has failed, and never will be done.
        400..500 if operation == Operation::CheckBack && !matches!(status, 409 | 425 | 429) => Verdict::Unclear,
        200..300 => Verdict::Done,
        // The service does not know it. That is well where it may never have heard of it.
        404 | 410 if undoes && !tried => Verdict::Done,
        425 | 429 | 503 => Verdict::Later,
        408 => Verdict::Unclear,
        413 => Verdict::Refused(RefusalCode::TooLarge),
        423 => Verdict::Refused(RefusalCode::LockTimeout),
        400..500 => Verdict::Refused(RefusalCode::Condition),
        _ => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Operation; 6] = [
        Operation::Action,
        Operation::Compensation,
        Operation::Completion,
        Operation::Try,
        Operation::Confirm,
        Operation::Cancel,
    ];

    #[test]
    fn each_status_has_one_meaning() {
        use Verdict::{Done, Later, Refused, Unclear};
        let condition = Refused(RefusalCode::Condition);
        // By what is asked: where the work was answered with success before, and where not.
        let table: [(&[u16], Verdict, Verdict, Verdict); 9] = [
            // statuses; what does something; what undoes what was not answered; what undoes what was done
            (&[200, 201, 202, 204, 207, 226, 299], Done, Done, Done),
            (&[409, 400, 401, 403, 405, 406, 411, 412, 415, 418, 422, 451, 499], condition, condition, condition),
            (&[404, 410], condition, Done, condition),
            (&[425, 429, 503], Later, Later, Later),
            (&[408], Unclear, Unclear, Unclear),
            (&[300, 301, 302, 303, 304, 307, 308, 399], Unclear, Unclear, Unclear),
            (&[500, 501, 502, 504, 505, 507, 599], Unclear, Unclear, Unclear),
            (&[0, 100, 101, 199, 600, 999], Unclear, Unclear, Unclear),
            (&[413], Refused(RefusalCode::TooLarge), Refused(RefusalCode::TooLarge), Refused(RefusalCode::TooLarge)),
        ];
        for (statuses, does, undoes, undoes_what_was_done) in table {
            for (operation, status) in ALL.into_iter().flat_map(|one| statuses.iter().map(move |status| (one, *status)))
            {
                let (fresh, tried) = match operation {
                    Operation::Compensation | Operation::Cancel => (undoes, undoes_what_was_done),
                    Operation::Action
                    | Operation::Completion
                    | Operation::CheckBack
                    | Operation::Try
                    | Operation::Confirm => (does, does),
                };
                assert_eq!(verdict(operation, false, status), fresh, "{operation} {status}");
                assert_eq!(verdict(operation, true, status), tried, "{operation} {status}, after success");
            }
        }
        assert_eq!(verdict(Operation::Action, false, 423), Refused(RefusalCode::LockTimeout));
        let asked = [200, 409, 425, 404, 403, 413, 500].map(|status| verdict(Operation::CheckBack, false, status));
        assert_eq!(asked, [Done, condition, Later, Unclear, Unclear, Unclear, Unclear]);
    }
}
