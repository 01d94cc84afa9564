mod sample;
mod wellformedness;

use super::*;
use crate::trace::{BranchState, Event};
use sample::{Sample, failing_run, long_run};
use wellformedness::check;

fn shown(rule: &str, tx: Option<&str>, at_us: Option<u64>) -> Shown {
    Shown { rule: rule.to_owned(), what: format!("{rule} does not hold"), tx: tx.map(str::to_owned), at_us }
}

fn drawn(run: &Run) -> String {
    let violations = [shown("no orphan locks", Some("client1-7"), None), shown("atomicity", None, Some(400_000))];
    draw(run, &violations, "undoubt-sim replay --seed 42")
}

/// The groups that begin like this, up to the end of the line or group that follows.
fn groups<'a>(page: &'a str, class: &str) -> Vec<&'a str> {
    let begin = format!("<g class=\"{class}");
    page.match_indices(&begin).map(|(at, _)| &page[at..at + page[at..].find("</g>").unwrap()]).collect()
}

fn first_view(page: &str) -> &str {
    let (from, to) = (page.find("<section").unwrap(), page.find("</section>").unwrap());
    &page[from..to]
}

#[test]
fn a_drawn_run_is_one_wellformed_page_that_needs_nothing_else() {
    let page = drawn(&failing_run());
    check(&page).unwrap();
    for foreign in ["http:", "https:", "src=", "@import", "<link"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("<code>undoubt-sim replay --seed 42</code>"));
    assert!(page.contains("Seed 42: 2 violations"));
    assert!(page.contains("nothing passes between coordinator and p2 for 200 ms"));
}

#[test]
fn a_branch_that_is_never_over_is_marked_and_others_are_not() {
    let page = drawn(&failing_run());
    let view = first_view(&page);
    let never = groups(view, "hold never");
    assert_eq!(never.len(), 1);
    assert!(
        never[0].contains("still holds its locks")
            && view.contains("class=\"never\"")
            && view.contains("never over</text>"),
        "{}",
        never[0]
    );
    assert!(never[0].contains("class=\"in-doubt\""));
    let over = groups(view, "hold\"");
    assert!(over.len() == 1 && !over[0].contains("cross") && over[0].contains("over at 0.131000"), "{over:?}");
}

#[test]
fn a_lost_message_ends_in_a_cross_and_one_that_arrives_in_a_head() {
    let page = drawn(&failing_run());
    let commits = groups(first_view(&page), "message k-commit\"");
    let (lost, arrived): (Vec<&str>, Vec<&str>) =
        commits.iter().copied().partition(|commit| commit.contains("never arrived"));
    assert_eq!((lost.len(), arrived.len()), (1, 1), "{commits:?}");
    assert!(lost[0].contains("class=\"cross\"") && !lost[0].contains("class=\"head\""));
    assert!(arrived[0].contains("class=\"head\"") && !arrived[0].contains("class=\"cross\""));
}

#[test]
fn a_message_that_arrives_twice_is_dashed_the_second_time() {
    let page = drawn(&failing_run());
    let prepares = groups(first_view(&page), "message k-prepare");
    let dashed: Vec<_> = prepares.iter().filter(|it| it.contains("k-prepare odd\"")).collect();
    assert_eq!(dashed.len(), 1, "{prepares:?}");
    assert!(first_view(&page).contains("prepare again</text>") && dashed[0].contains(", once more"));
}

#[test]
fn a_decision_is_marked_once_made_and_filled_once_stable() {
    let page = drawn(&failing_run());
    let view = first_view(&page);
    assert_eq!(view.matches("class=\"decision k-commit\"").count(), 1);
    assert_eq!(view.matches("class=\"decision k-commit stable\"").count(), 1);
}

#[test]
fn faults_gaps_and_healing_are_drawn() {
    let page = drawn(&failing_run());
    let view = first_view(&page);
    let faults = groups(view, "fault\"");
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[0].matches("<rect").count(), 2, "a partition concerns both ends: {}", faults[0]);
    assert_eq!(groups(view, "gap\"").len(), 1);
    assert_eq!(groups(view, "gap paused\"").len(), 1);
    assert_eq!(groups(view, "moment disk\"").len(), 1);
    assert_eq!(groups(view, "healed\"").len(), 1);
}

#[test]
fn every_violation_leads_to_where_it_shows() {
    let page = drawn(&failing_run());
    for at in 0..2 {
        assert!(page.contains(&format!("href=\"#v{at}\"")));
        assert_eq!(page.matches(&format!("id=\"v{at}\"")).count(), 1);
        assert!(first_view(&page).contains(&format!("<g id=\"v{at}\" class=\"violation\">")));
    }
}

#[test]
fn other_transactions_are_dimmed_until_chosen() {
    let page = drawn(&failing_run());
    let view = first_view(&page);
    assert_eq!(groups(view, "hold other").len(), 1);
    for option in ["value=\"t0\"", "value=\"t1\"", "value=\"all\"", "value=\"faults\""] {
        assert!(page.contains(&format!("<option {option}")), "{option}");
    }
    assert!(page.contains("id=\"view-t1\" hidden=\"hidden\""));
}

#[test]
fn ids_with_any_characters_do_no_harm() {
    let evil = "\"><script>alert(1)</script>&\u{0}\u{202e}'";
    let mut sample = Sample::default();
    sample.transaction(1_000, evil, 1);
    let page = draw(&sample.run(), &[shown(evil, Some(evil), None)], evil);
    check(&page).unwrap();
    assert_eq!(page.matches("<script>").count(), 1);
    let mut told = String::new();
    tell(&sample.run(), Some(evil), &mut told).unwrap();
    assert!(!told.contains(['\0', '\u{202e}']) && told.lines().count() > 5);
}

#[test]
fn a_long_run_stays_under_the_cap_and_says_what_is_left_out() {
    let run = long_run(2_500);
    assert!(run.trace.len() > 50_000, "{}", run.trace.len());
    let page = draw(&run, &[shown("atomicity", Some("tx-1200"), None)], "replay");
    check(&page).unwrap();
    assert!(page.len() <= MAX_BYTES, "{}", page.len());
    assert!(page.len() > MAX_BYTES / 2, "room is used: {}", page.len());
    assert!(page.contains("entries are left out for want of room"));
    assert!(page.contains("more transactions have no picture of their own"));
    assert!(page.contains("<option value=\"t1200\""));
    assert!(page.contains("Left out here:"));
}

#[test]
fn many_violations_about_transactions_with_long_names_stay_under_the_cap_too() {
    let mut sample = Sample::default();
    let names: Vec<String> = (0..200).map(|number| format!("{}{number}", "<".repeat(2_000))).collect();
    for (at, name) in names.iter().enumerate() {
        sample.transaction(at as u64 * 10_000, name, 1);
    }
    let violations: Vec<Shown> = names.iter().map(|name| shown(name, Some(name), None)).collect();
    let page = draw(&sample.run(), &violations, "replay");
    check(&page).unwrap();
    assert!(page.len() <= MAX_BYTES, "{}", page.len());
    assert!(first_view(&page).len() <= FIRST_BYTES && first_view(&page).contains("message k-prepare"));
    assert!(page.contains("and 150 more."));
}

#[test]
fn one_transaction_that_never_stops_is_cut_in_the_middle() {
    let mut sample = Sample::default();
    for at in 0..20_000 {
        sample.message(at * 1_000, "settle", "endless", Some(at * 1_000 + 500));
    }
    let page = draw(&sample.run(), &[shown("termination", Some("endless"), None)], &"<".repeat(100_000));
    check(&page).unwrap();
    assert!(page.len() <= MAX_BYTES, "{}", page.len());
    assert!(page.contains("messages, in the middle"));
}

#[test]
fn a_run_without_violations_or_events_is_drawn_too() {
    check(&draw(&failing_run(), &[], "replay")).unwrap();
    check(&draw(&Sample::default().run(), &[], "replay")).unwrap();
    check(&draw(&Sample::default().run(), &[shown("unknown", Some("nobody"), None)], "replay")).unwrap();
}

#[test]
fn a_told_run_has_aligned_columns_and_only_what_was_asked_for() {
    let mut told = String::new();
    tell(&failing_run(), Some("client1-7"), &mut told).unwrap();
    let first: Vec<&str> = told.lines().take(3).collect();
    assert_eq!(
        first,
        [
            " 0.100000  client1      asks: submit  client1-7",
            " 0.103000  coordinator  begun: 2 branches  client1-7, preparing",
            " 0.103000  coordinator  prepare → p1  client1-7, attempt 5, message 1",
        ]
    );
    assert!(told.contains("FAULT 0: ") && told.contains("HEALED"));
    assert!(!told.contains("client2-3"));
    let mut all = String::new();
    tell(&failing_run(), None, &mut all).unwrap();
    assert!(all.contains("client2-3"));
}

#[test]
fn the_whole_trace_of_what_matters_is_in_the_table() {
    let run = failing_run();
    let page = drawn(&run);
    assert_eq!(page.matches("<tr").count(), run.trace.len());
    assert!(run.trace.iter().any(|it| it.event == Event::Branch { tx: "client1-7".into(), state: BranchState::Over }));
}
