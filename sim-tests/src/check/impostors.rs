//! The promise that nobody is taken for a coordinator who is not (R14).
//!
//! * `welcomed`: no stranger's session is welcomed. Nothing excuses it. What else a stranger could do, such as to have a coordinator
//!   ended by a higher epoch, shows in what that leaves undone.

use super::Violation;
use crate::run::Run;

pub fn check(run: &Run) -> Vec<Violation> {
    let welcomed = run.finals.impostors_welcomed.iter();
    welcomed
        .map(|(participant, epoch)| {
            let what = format!("p{participant} has taken a stranger for the coordinator, in epoch {epoch}");
            Violation::new("impostors.welcomed", what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{healthy, rules};

    #[test]
    fn a_stranger_who_is_welcomed_is_found() {
        let mut run = healthy();
        assert_eq!(rules(check, &run), [""; 0]);
        run.finals.impostors_welcomed.push((1, 9));
        assert_eq!(rules(check, &run), ["impostors.welcomed"]);
    }
}
