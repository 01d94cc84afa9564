//! Frames as they look, at 80 and at 120 columns: `golden/` holds them. `UNDOUBT_GOLDEN=write` writes them anew.

use super::super::frame::{InDoubt, Order, Rates};
use super::*;
use std::path::Path;

fn participant(name: &str, connected: bool) -> Participant {
    Participant {
        name: name.to_owned(),
        state: if connected { "connected" } else { "away" }.to_owned(),
        for_s: Some(304.2),
        open: Some(3),
        queued: Some(0),
        in_doubt: Some(0),
        ..Participant::default()
    }
}

fn alive() -> Frame {
    let away = "cannot connect: Connection refused (os error 111)".to_owned();
    let bank_b = Participant {
        queued: Some(1_204),
        in_doubt: None,
        spared: true,
        note: Some(away),
        ..participant("bank-b", false)
    };
    let bank_c = Participant { in_doubt: Some(2), oldest_in_doubt_s: Some(12.34), ..participant("bank-c", true) };
    let transaction = |tx: &str, age_s, waits_at: &str| Transaction {
        tx: tx.to_owned(),
        age_s,
        phase: "committing".to_owned(),
        waits_at: waits_at.to_owned(),
    };
    Frame {
        at: "2030-01-31T12:00:00Z".to_owned(),
        address: "http://127.0.0.1:7400".to_owned(),
        coordinator: Some(Coordinator {
            name: "coordinator".to_owned(),
            epoch: 3,
            phase: "serving".to_owned(),
            per_second: Some(Rates { begun: 12_345.4, committed: 12_300.0, aborted: 0.4 }),
            open: 1_234,
            max_open: 100_000,
            oldest_open_s: Some(304.0),
            unacknowledged: 12,
            oldest_unacknowledged_s: Some(304.0),
            stuck: 1,
            oldest_stuck_s: Some(90_000.0),
            damaged: 2,
            paused: 0,
            free_bytes: Some(68 << 30),
            min_free_bytes: 64 << 20,
            ..Coordinator::default()
        }),
        in_doubt: InDoubt { branches: 2, participants: 1, oldest_s: Some(12.34), unknown: 1 },
        participants: vec![bank_c, participant("bank-a", true), bank_b],
        oldest: vec![
            transaction("22cb22bc-0262-456d-a81f-9e4ff3d43145", 304.0, "bank-b decided, bank-c decided"),
            transaction("order-17", 12.0, "bank-b decided"),
            transaction("order-18", 0.25, "bank-b decided"),
        ],
        more: true,
        ..Frame::default()
    }
}

fn dead() -> Frame {
    let answers = Participant {
        name: "bank-a".to_owned(),
        state: "answers".to_owned(),
        in_doubt: Some(1),
        oldest_in_doubt_s: Some(62.0),
        ..Participant::default()
    };
    let silent = Participant {
        name: "bank-b".to_owned(),
        state: "silent".to_owned(),
        note: Some("no answer from http://127.0.0.1:7502 within 1.0s, last because: Connection refused".to_owned()),
        ..Participant::default()
    };
    Frame {
        at: "2030-01-31T12:00:00Z".to_owned(),
        address: "http://127.0.0.1:7400".to_owned(),
        coordinator_is_away: Some(
            "no answer from http://127.0.0.1:7400 within 1.0s, last because: Connection refused".to_owned(),
        ),
        in_doubt: InDoubt { branches: 1, participants: 1, oldest_s: Some(62.0), unknown: 1 },
        participants: vec![answers, silent],
        oldest: vec![Transaction {
            tx: "order-17".to_owned(),
            age_s: 62.0,
            phase: "prepared".to_owned(),
            waits_at: "bank-a".to_owned(),
        }],
        ..Frame::default()
    }
}

#[track_caller]
fn looks(frame: &Frame, width: usize, golden: &str) {
    let window = Window { width, height: None, skip: 0 };
    let found = lines(frame, window).join("\n") + "\n";
    let too_long = found.lines().find(|line| line.chars().count() > width);
    assert_eq!(too_long, None, "a line is longer than {width} columns");
    // Relative to the package: several checkouts share what is compiled.
    let path = Path::new("src/bin/undoubt/top/golden").join(golden);
    if std::env::var_os("UNDOUBT_GOLDEN").is_some_and(|mode| mode == "write") {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{golden} looks otherwise:\n{found}");
}

#[test]
fn a_frame_looks_as_it_did_at_80_and_at_120_columns() {
    looks(&alive(), 80, "alive-80.txt");
    looks(&alive(), 120, "alive-120.txt");
}

#[test]
fn without_its_coordinator_a_frame_says_so_and_tells_what_is_in_doubt() {
    looks(&dead(), 80, "dead-80.txt");
    looks(&dead(), 120, "dead-120.txt");
}

#[test]
fn ids_stay_whole_and_what_steers_a_terminal_is_escaped() {
    let mut frame = alive();
    frame.participants[0].note = Some("\u{1b}[2Jgone\nand more".to_owned());
    for width in [80, 120] {
        let shown = lines(&frame, Window { width, height: None, skip: 0 }).join("\n");
        assert!(shown.contains("22cb22bc-0262-456d-a81f-9e4ff3d43145"), "{shown}");
        assert!(!shown.contains('\u{1b}') && shown.contains("bank-c"), "{shown}");
    }
}

#[test]
fn a_low_window_shows_what_fits_and_the_arrows_move_it() {
    let window = |skip| Window { width: 80, height: Some(17), skip };
    let shown = lines(&alive(), window(0));
    assert!(shown.len() <= 17, "{shown:#?}");
    assert!(shown.iter().any(|line| line.starts_with("22cb22bc")) && !shown.join("\n").contains("order-18"));
    let moved = lines(&alive(), window(1)).join("\n");
    assert!(!moved.contains("22cb22bc") && moved.contains("order-17"), "{moved}");
    assert!(lines(&alive(), window(99)).join("\n").contains("order-18"));
}

#[test]
fn participants_stand_by_name_or_with_those_first_that_have_more() {
    let mut frame = alive();
    let names = |frame: &Frame| frame.participants.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    frame.sort(Order::Name);
    assert_eq!(names(&frame), ["bank-a", "bank-b", "bank-c"]);
    frame.sort(Order::Name.next());
    assert_eq!(names(&frame), ["bank-c", "bank-a", "bank-b"]);
}

#[test]
fn a_frame_of_nothing_has_its_lines_too() {
    let shown = lines(&Frame::default(), Window { width: 80, height: None, skip: 0 }).join("\n");
    assert!(shown.contains("COORDINATOR IS AWAY") && shown.contains("no participants are known"), "{shown}");
    assert_eq!(
        (bytes(1_023), bytes(1 << 30), grouped(1_234_567)),
        ("1023 B".into(), "1.0 GiB".into(), "1,234,567".into())
    );
}
