use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use undoubt_platform::access::{Identities, TokenHash};

const NOW: Duration = Duration::from_secs(1);

fn who(name: &str) -> Who {
    Some(name.into())
}

fn tx(number: usize) -> TxId {
    format!("t{number}").parse().unwrap()
}

fn config(submissions_per_s: Option<u64>, open_percent: u64) -> LimitsConfig {
    LimitsConfig { submissions_per_s, submission_burst: None, open_percent }
}

/// Returns the limits that a file of identities gives to "orders".
fn own(text: &str) -> LimitsByName {
    let hash = TokenHash::of("t");
    let entry =
        format!("[[identity]]\nname = \"orders\"\nroles = [\"submit\"]\ntokens = [\"{hash}\"]\nlimits = {text}\n");
    Identities::parse(&entry).unwrap().limits().clone()
}

#[test]
fn without_limits_nothing_is_counted() {
    let mut holders = Holders::new(LimitsConfig::default(), LimitsByName::default(), 1);
    for number in 0..1_000 {
        assert_eq!(holders.admit(&who("a"), NOW), Ok(()));
        holders.begun(&tx(number), &who("a"));
    }
    assert!(holders.all.is_empty() && holders.open.is_empty());
}

#[test]
fn one_that_has_reached_its_rate_is_named_with_it_and_another_is_let_in() {
    let mut holders = Holders::new(config(Some(2), 100), LimitsByName::default(), 10);
    for caller in [who("a"), None] {
        assert_eq!([(); 2].map(|()| holders.admit(&caller, NOW)), [Ok(()), Ok(())]);
        let exceeded = holders.admit(&caller, NOW).unwrap_err();
        assert_eq!((exceeded.who.clone(), exceeded.after), (caller.clone(), Duration::from_millis(500)));
        let text = exceeded.to_string();
        assert!(text.contains("2 a second") && text.contains("limits.submissions_per_s"), "{text}");
        assert!(text.contains(if caller.is_some() { "a has" } else { "without identity" }), "{text}");
        assert_eq!(holders.admit(&caller, NOW + exceeded.after), Ok(()));
    }
    assert_eq!(holders.admit(&who("b"), NOW), Ok(()));
}

#[test]
fn one_that_holds_its_share_waits_for_an_end_and_takes_nothing_of_its_rate() {
    let mut holders = Holders::new(config(Some(3), 50), LimitsByName::default(), 4);
    for number in 0..2 {
        assert_eq!(holders.admit(&who("a"), NOW), Ok(()));
        holders.begun(&tx(number), &who("a"));
        holders.begun(&tx(number), &who("a"));
    }
    for _ in 0..5 {
        let exceeded = holders.admit(&who("a"), NOW).unwrap_err();
        assert_eq!(exceeded.limit, Limit::Share { open: 2, percent: 50 });
    }
    assert_eq!(holders.admit(&who("b"), NOW), Ok(()));
    holders.ended(&tx(0));
    holders.ended(&tx(0));
    assert_eq!(holders.admit(&who("a"), NOW), Ok(()));
    let rate = Limit::Rate(Rate { per_s: 3, burst: 3 });
    assert_eq!(holders.admit(&who("a"), NOW).unwrap_err().limit, rate);
    // However small a share is, one fits in.
    let mut holders = Holders::new(config(None, 1), LimitsByName::default(), 4);
    assert_eq!(holders.admit(&who("a"), NOW), Ok(()));
}

#[test]
fn limits_of_its_own_take_the_place_of_the_servers_and_new_ones_hold_at_once() {
    let server = config(Some(1), 100);
    for (text, expected) in [
        ("{}", server.limits()),
        ("{ submissions_per_s = 7 }", config(Some(7), 100).limits()),
        ("{ submissions_per_s = \"none\" }", Limits::NONE),
        ("{ submission_burst = 9 }", Limits { rate: Some(Rate { per_s: 1, burst: 9 }), open_percent: 100 }),
        ("{ open_percent = 5 }", config(Some(1), 5).limits()),
    ] {
        assert_eq!(limits(&server, &own(text), &who("orders")), expected, "{text}");
        assert_eq!(limits(&server, &own(text), &who("others")), server.limits(), "{text}");
        assert_eq!(limits(&server, &own(text), &None), server.limits(), "{text}");
    }
    // To a rate of its own goes none of the server's bursts.
    let server = LimitsConfig { submission_burst: Some(2), ..server };
    let rate = limits(&server, &own("{ submissions_per_s = 7 }"), &who("orders")).rate;
    assert_eq!(rate, Some(Rate { per_s: 7, burst: 7 }));

    let mut holders = Holders::new(LimitsConfig::default(), own("{ submissions_per_s = 1 }"), 4);
    assert_eq!(holders.admit(&who("orders"), NOW), Ok(()));
    assert!(holders.admit(&who("orders"), NOW).is_err());
    assert_eq!([(); 9].map(|()| holders.admit(&who("b"), NOW)), [const { Ok(()) }; 9]);
    holders.set_by_name(own("{ submissions_per_s = \"none\" }"));
    assert_eq!(holders.admit(&who("orders"), NOW), Ok(()));
    holders.set_server(config(Some(1), 100));
    assert_eq!(holders.admit(&who("b"), NOW), Ok(()));
    assert!(holders.admit(&who("b"), NOW).is_err());
    holders.set_server(LimitsConfig::default());
    holders.set_by_name(LimitsByName::default());
    assert_eq!(holders.admit(&who("b"), NOW), Ok(()));
    assert!(holders.all.is_empty());
}

#[test]
fn limits_that_cannot_be_meant_are_refused_by_the_identitys_name() {
    for text in
        ["{ open_percent = 0 }", "{ open_percent = 101 }", "{ submissions_per_s = 0 }", "{ submission_burst = 0 }"]
    {
        let entry =
            format!("[[identity]]\nname = \"orders\"\nroles = [\"submit\"]\ncertificates = [\"o\"]\nlimits = {text}\n");
        let refused = Identities::parse(&entry).unwrap_err().to_string();
        assert!(refused.contains("orders") && refused.contains("at least 1"), "{refused}");
    }
    let entry =
        "[[identity]]\nname = \"o\"\nroles = [\"submit\"]\ncertificates = [\"o\"]\nlimits = { open_percents = 1 }\n";
    assert!(Identities::parse(entry).unwrap_err().to_string().contains("open_percents"));
}

#[test]
fn names_without_end_take_bounded_memory_and_are_forgotten_when_idle() {
    let mut holders = Holders::new(config(Some(1), 50), LimitsByName::default(), 1_000_000);
    for number in 0..MAX_TOLD_APART {
        assert_eq!(holders.admit(&who(&number.to_string()), NOW), Ok(()));
    }
    assert_eq!(holders.admit(&who("one more"), NOW), Ok(()));
    assert!(holders.admit(&who("and another"), NOW).is_err(), "they count as one");
    holders.begun(&tx(1), &who("one more"));
    assert_eq!(holders.all.len(), MAX_TOLD_APART + 1);
    holders.forget_idle(NOW + Duration::from_secs(1));
    assert_eq!(holders.all.keys().collect::<Vec<_>>(), [&who("all others")], "one of them has something open");
    holders.ended(&tx(1));
    holders.forget_idle(NOW + Duration::from_secs(1));
    assert!(holders.all.is_empty());
}

proptest! {
    /// Whatever begins and ends, nobody ever holds more than its share, what is counted is what is open, and one that holds
    /// less is let in.
    #[test]
    fn nobody_holds_more_than_its_share(
        percent in 1..100_u64,
        max_open in 1..40_usize,
        events in prop::collection::vec((0..4_usize, 0..60_usize, any::<bool>()), 0..300),
    ) {
        let mut holders = Holders::new(config(None, percent), LimitsByName::default(), max_open);
        let share = (max_open * usize::try_from(percent).unwrap() / 100).max(1);
        let mut open: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (caller, number, begins) in events {
            let name = if caller == 0 { None } else { who(&caller.to_string()) };
            let number = number * 4 + caller;
            let held = open.entry(caller).or_default();
            if begins && !held.contains(&number) {
                let admitted = holders.admit(&name, NOW);
                prop_assert_eq!(admitted.is_ok(), held.len() < share);
                if admitted.is_ok() {
                    holders.begun(&tx(number), &name);
                    held.insert(number);
                }
            } else if !begins {
                holders.ended(&tx(number));
                held.remove(&number);
            }
            prop_assert!(held.len() <= share);
            prop_assert_eq!(holders.all.get(&name).map_or(0, |holder| holder.open), held.len());
            holders.forget_idle(NOW);
        }
    }
}
