//! What was tried of a service, and what was found.

use serde::{Serialize, Serializer};

/// The rules of `participant/HTTP.md`, by their numbers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    EachKeyOnce = 1,
    UndoMayComeAlone = 2,
    UndoneStaysSo = 3,
    TriedIsHeld = 4,
    UndoSucceeds = 5,
    RefusedMeansNever = 6,
    CheckBackIsFinal = 7,
}

impl Rule {
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn sentence(self) -> &'static str {
        match self {
            Rule::EachKeyOnce => {
                "a request with a key that was answered with 2xx before is answered the same, and does nothing"
            }
            Rule::UndoMayComeAlone => {
                "an undo of an effect that is not known is answered with 2xx, or 404, and remembered"
            }
            Rule::UndoneStaysSo => "an action whose effect was undone before is refused, and does nothing",
            Rule::TriedIsHeld => {
                "what was tried is held until its confirm comes; that, like a completion of what was done, succeeds"
            }
            Rule::UndoSucceeds => {
                "an undo of what was done succeeds in the end, whether or not its action was answered"
            }
            Rule::RefusedMeansNever => "what is refused under a key leaves nothing behind, and is never done under it",
            Rule::CheckBackIsFinal => "a check-back of what never was begun is answered with 409, and stays so",
        }
    }
}

/// One thing that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    ActTwice,
    ActAtOnce,
    ActCutOffBeforeAnswer,
    ActCutOffInRequest,
    UndoTwice,
    UndoAtOnce,
    UndoCutOff,
    UndoFirst,
    ActLate,
    ActAfterUndo,
    ActAgainstUndo,
    FinishTwice,
    FinishAtOnce,
    FinishCutOff,
    RefusedTwice,
    RefusedAtOnce,
    AskedBack,
    ActAtSlowDatabase,
    UndoAtSlowDatabase,
}

impl Case {
    pub const ALL: [Case; 19] = [
        Case::ActTwice,
        Case::ActAtOnce,
        Case::ActCutOffBeforeAnswer,
        Case::ActCutOffInRequest,
        Case::UndoTwice,
        Case::UndoAtOnce,
        Case::UndoCutOff,
        Case::UndoFirst,
        Case::ActLate,
        Case::ActAfterUndo,
        Case::ActAgainstUndo,
        Case::FinishTwice,
        Case::FinishAtOnce,
        Case::FinishCutOff,
        Case::RefusedTwice,
        Case::RefusedAtOnce,
        Case::AskedBack,
        Case::ActAtSlowDatabase,
        Case::UndoAtSlowDatabase,
    ];

    /// Returns the rule that it is about; others may show to be broken too.
    pub fn rule(self) -> Rule {
        match self {
            Case::ActTwice
            | Case::ActAtOnce
            | Case::ActCutOffBeforeAnswer
            | Case::ActCutOffInRequest
            | Case::ActAtSlowDatabase
            | Case::FinishTwice
            | Case::FinishAtOnce
            | Case::FinishCutOff
            | Case::UndoAtOnce => Rule::EachKeyOnce,
            Case::UndoTwice | Case::UndoCutOff => Rule::UndoSucceeds,
            Case::UndoFirst => Rule::UndoMayComeAlone,
            Case::ActLate | Case::ActAfterUndo | Case::ActAgainstUndo | Case::UndoAtSlowDatabase => Rule::UndoneStaysSo,
            Case::RefusedTwice | Case::RefusedAtOnce => Rule::RefusedMeansNever,
            Case::AskedBack => Rule::CheckBackIsFinal,
        }
    }

    /// Returns its name, for programs and tests.
    pub fn name(self) -> &'static str {
        match self {
            Case::ActTwice => "act-twice",
            Case::ActAtOnce => "act-at-once",
            Case::ActCutOffBeforeAnswer => "act-cut-off-before-answer",
            Case::ActCutOffInRequest => "act-cut-off-in-request",
            Case::UndoTwice => "undo-twice",
            Case::UndoAtOnce => "undo-at-once",
            Case::UndoCutOff => "undo-cut-off",
            Case::UndoFirst => "undo-first",
            Case::ActLate => "act-late",
            Case::ActAfterUndo => "act-after-undo",
            Case::ActAgainstUndo => "act-against-undo",
            Case::FinishTwice => "finish-twice",
            Case::FinishAtOnce => "finish-at-once",
            Case::FinishCutOff => "finish-cut-off",
            Case::RefusedTwice => "refused-twice",
            Case::RefusedAtOnce => "refused-at-once",
            Case::AskedBack => "asked-back",
            Case::ActAtSlowDatabase => "act-at-slow-database",
            Case::UndoAtSlowDatabase => "undo-at-slow-database",
        }
    }

    /// Returns what is done, in words.
    pub fn words(self) -> &'static str {
        match self {
            Case::ActTwice => "asked to act, and asked again",
            Case::ActAtOnce => "asked to act eight times at once",
            Case::ActCutOffBeforeAnswer => "asked to act, cut off before the answer, asked again",
            Case::ActCutOffInRequest => "cut off in the middle of the request to act, asked again",
            Case::UndoTwice => "acted, asked to undo, and asked again",
            Case::UndoAtOnce => "acted, asked to undo eight times at once",
            Case::UndoCutOff => "acted, asked to undo, cut off before the answer, asked again",
            Case::UndoFirst => "asked to undo what it never heard of, and asked again",
            Case::ActLate => "asked to act after it was asked to undo",
            Case::ActAfterUndo => "acted, undid, and asked to act again",
            Case::ActAgainstUndo => "asked to act and to undo at once",
            Case::FinishTwice => "acted, asked to complete or confirm, and asked again",
            Case::FinishAtOnce => "acted, asked to complete or confirm eight times at once",
            Case::FinishCutOff => "acted, asked to complete or confirm, cut off before the answer, asked again",
            Case::RefusedTwice => "asked for what it refuses, asked again, then asked to undo",
            Case::RefusedAtOnce => "asked eight times at once for what it refuses",
            Case::AskedBack => "asked about a transaction that never was begun, and asked again",
            Case::ActAtSlowDatabase => "asked to act while its database is slow, given up, and asked again and again",
            Case::UndoAtSlowDatabase => "asked to act while its database is slow, and to undo meanwhile",
        }
    }
}

impl Serialize for Case {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

/// A request that was made, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Exchange {
    /// The command by which it is made again.
    pub curl: String,
    pub answer: String,
    /// The number of times that this came in a row.
    pub times: u32,
}

/// The result of a case.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    Kept,
    /// A rule is broken, perhaps not the one that the case is about.
    Broken {
        rule: Rule,
        why: String,
        requests: Vec<Exchange>,
    },
    NotTried {
        why: String,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub case: Case,
    #[serde(flatten)]
    pub found: Found,
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// The limits of what the findings say, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Report {
    pub fn keeps_the_contract(&self) -> bool {
        self.findings.iter().all(|finding| !matches!(finding.found, Found::Broken { .. }))
    }

    /// Returns how many cases were kept, were broken, and were not tried.
    pub fn counts(&self) -> [usize; 3] {
        let count = |is: fn(&Found) -> bool| self.findings.iter().filter(|finding| is(&finding.found)).count();
        [
            count(|found| matches!(found, Found::Kept)),
            count(|found| matches!(found, Found::Broken { .. })),
            count(|found| matches!(found, Found::NotTried { .. })),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_of_its_own_and_every_rule_a_case() {
        let names: BTreeSet<&str> = Case::ALL.iter().map(|case| case.name()).collect();
        assert_eq!(names.len(), Case::ALL.len());
        let rules: BTreeSet<u8> = Case::ALL.iter().map(|case| case.rule().number()).collect();
        // A confirm that is refused shows in the cases of what finishes.
        assert_eq!(rules, BTreeSet::from([1, 2, 3, 5, 6, 7]));
    }
}
