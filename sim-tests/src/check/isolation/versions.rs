//! The order of a register's versions.

use std::collections::{BTreeMap, BTreeSet};

/// A register's value: its writer, or `None` before the first.
pub(super) type Version<'a> = Option<&'a str>;

/// The writers of registers, with the version that each replaced, where that is known.
pub(super) type Writers<'a> = BTreeMap<&'a str, Option<Version<'a>>>;

/// Returns for each version the writers that come after it with no other known in between. More than one is a fork, if
/// each says that it replaced that version.
///
/// Each write names the version that it replaced, so the writers form chains. One chain begins with the register's
/// first version, and one ends with its `last`, if that is known. A writer that nobody heard of any more begins another
/// chain, which can only lie between these two.
pub(super) fn following<'a>(writers: &Writers<'a>, last: Option<Version<'a>>) -> BTreeMap<Version<'a>, Vec<&'a str>> {
    let mut next: BTreeMap<Version, Vec<&str>> = BTreeMap::new();
    for (writer, replaced) in writers {
        if let Some(replaced) = replaced {
            next.entry(*replaced).or_default().push(writer);
        }
    }
    let heads: Vec<&str> = writers.iter().filter(|(_, replaced)| replaced.is_none()).map(|(head, _)| *head).collect();
    let chains: BTreeMap<Version, BTreeSet<Version>> =
        heads.iter().map(|head| Some(*head)).chain([None]).map(|head| (head, chain(&next, head))).collect();
    let head_of_last = heads.iter().find(|head| last.is_some_and(|last| chains[&Some(**head)].contains(&last)));
    let whole = next.clone();
    let mut link = |head: Version, followers: &[&'a str]| {
        for tail in chains[&head].iter().filter(|version| !whole.contains_key(*version)) {
            next.entry(*tail).or_default().extend(followers);
        }
    };
    if !heads.is_empty() {
        link(None, &heads);
    }
    if let Some(head_of_last) = head_of_last {
        let others = heads.iter().filter(|head| *head != head_of_last);
        others.for_each(|head| link(Some(head), &[head_of_last]));
    }
    next
}

fn chain<'a>(next: &BTreeMap<Version<'a>, Vec<&'a str>>, head: Version<'a>) -> BTreeSet<Version<'a>> {
    let mut seen = BTreeSet::from([head]);
    let mut open = vec![head];
    while let Some(at) = open.pop() {
        let followers = next.get(&at).into_iter().flatten().map(|writer| Some(*writer));
        open.extend(followers.filter(|version| seen.insert(*version)));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(writers: &[(&'static str, Option<Version<'static>>)], last: Version<'static>) -> Vec<String> {
        let next = following(&writers.iter().copied().collect(), Some(last));
        let shown = |version: &Version| version.unwrap_or("-").to_owned();
        next.iter().map(|(version, writers)| format!("{} < {}", shown(version), writers.join(" "))).collect()
    }

    #[test]
    fn each_version_follows_the_one_it_replaced() {
        let writers = [("a", Some(None)), ("b", Some(Some("a")))];
        assert_eq!(order(&writers, Some("b")), ["- < a", "a < b"]);
    }

    #[test]
    fn a_writer_that_nobody_heard_of_lies_between_what_is_known() {
        let writers = [("a", Some(None)), ("x", None), ("b", Some(Some("x")))];
        assert_eq!(order(&writers, Some("b")), ["- < a", "a < x", "x < b"]);
        assert_eq!(order(&[("x", None), ("b", Some(Some("x")))], Some("b")), ["- < x", "x < b"]);
    }

    #[test]
    fn of_several_unknown_writers_only_the_last_is_known_to_follow_the_others() {
        let writers = [("x", None), ("y", None), ("z", None)];
        assert_eq!(order(&writers, Some("z")), ["- < x y z", "x < z", "y < z"]);
    }

    #[test]
    fn a_circle_of_versions_ends_no_chain_and_the_search_all_the_same() {
        assert_eq!(order(&[("a", Some(Some("b"))), ("b", Some(Some("a")))], None), ["a < b", "b < a"]);
    }
}
