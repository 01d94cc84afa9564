//! The report of a sweep, for people.

use crate::failure::count;
use crate::output::table;
use crate::source::name;
use std::collections::BTreeMap;
use undoubt_sim_tests::plan::{Code, Copied};
use undoubt_sim_tests::sweep::cells::{CODES, Cell, IMPOSSIBLE, LEFT_OUT, Table, states, why_impossible};
use undoubt_sim_tests::sweep::{Report, Restored, Role, Speed, crash_points};

pub(super) fn told(report: &Report) -> String {
    let parts = [cells(report), points(report), restores(report), numbers(report)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn cells(report: &Report) -> String {
    let rows = CODES.into_iter().map(|code| {
        let cell = |state| match (why_impossible(code, state), report.cells.hits(code, state)) {
            (Some(_), 0) => "-".to_owned(),
            (_, hits) => hits.to_string(),
        };
        [code.to_string()].into_iter().chain(states().map(cell)).collect()
    });
    // Short words above short numbers.
    let header = ["fault".to_owned()].into_iter().chain(states().map(|state| state.replace('-', "\n")));
    let mut lines = vec![
        "Faults, and the states that they met".to_owned(),
        table(header, rows.collect()),
        format!("{} of {} cells were hit.", Table::possible() - report.cells_never_hit.len(), Table::possible()),
    ];
    if !report.cells_never_hit.is_empty() {
        lines.push(format!("Never hit: {}.", by_fault(&report.cells_never_hit)));
    }
    for impossible in IMPOSSIBLE {
        let codes = impossible.codes.iter().map(Code::to_string).collect::<Vec<_>>().join(", ");
        lines.push(format!("- at {codes}: {}.", impossible.why));
    }
    lines.extend(LEFT_OUT.map(|(code, why)| format!("{code} is left out: {why}.")));
    if !report.cells_hit_against_reason.is_empty() {
        lines.push(format!("Hit although it cannot be: {}.", by_fault(&report.cells_hit_against_reason)));
    }
    lines.join("\n")
}

fn by_fault(cells: &[Cell]) -> String {
    let mut faults: BTreeMap<Code, Vec<&str>> = BTreeMap::new();
    for cell in cells {
        faults.entry(cell.fault).or_default().push(&cell.state);
    }
    let all = |code| states().filter(|state| why_impossible(code, state).is_none()).count();
    let told = faults.iter().map(|(code, met)| match met.len() == all(*code) {
        true => format!("{code} in any state"),
        false => format!("{code} in {}", met.join(", ")),
    });
    told.collect::<Vec<_>>().join("; ")
}

fn points(report: &Report) -> String {
    let all = crash_points().count();
    let told = |what: &str, never: &[&str]| match never {
        [] => format!("{what} all {all} crash points."),
        some => format!("{what} {} of {all} crash points; never: {}.", all - some.len(), some.join(", ")),
    };
    let reached = told("Code reached", &report.points_never_reached);
    format!("{reached}\n{}", told("Faults struck at", &report.points_never_struck))
}

fn restores(report: &Report) -> String {
    if report.restores.is_empty() {
        return String::new();
    }
    let rows = report.restores.iter().map(|((role, copy), Restored { put_back, lossy, accepted, unnoticed })| {
        let role = match role {
            Role::Coordinator => "coordinator",
            Role::Participant => "participant",
        };
        let copy = match copy {
            Copied::Hot => "hot copy",
            Copied::Cold => "cold copy",
            Copied::Snapshot => "snapshot",
            Copied::Emptied => "emptied",
        };
        let counts = [put_back, lossy, accepted, unnoticed].map(ToString::to_string);
        [role.to_owned(), copy.to_owned()].into_iter().chain(counts).collect()
    });
    let excused = match report.excused.as_slice() {
        [] => "No seed needed the excuse for what cannot be noticed.".to_owned(),
        [first, ..] => format!(
            "{} needed the excuse for what cannot be noticed (the first: {first}).",
            count(report.excused.len(), "seed")
        ),
    };
    let header = ["disk of", "put back", "times", "lossy", "accepted", "not to\nbe noticed"];
    format!("Disks that were put back\n{}\n{excused}", table(header, rows.collect()))
}

fn numbers(report: &Report) -> String {
    let Speed { wall_s, jobs, seeds_per_s, simulated_s_per_s_and_core } = &report.speed;
    let planted = report.mutant.map(|mutant| format!(" with {} planted", name(mutant))).unwrap_or_default();
    let committed = &report.committed;
    let seeds = usize::try_from(report.seeds).unwrap_or(usize::MAX);
    let verdict = match report.failed.len() {
        0 => "no rule is broken".to_owned(),
        failed => format!("{} broke a rule", count(failed, "seed")),
    };
    format!(
        "{} from {}{planted}: {verdict}\n\
         {:.1} transactions committed per seed, at least {} (seed {})\n\
         {:.0} simulated seconds in {wall_s:.1} s on {}: {simulated_s_per_s_and_core:.0} a second and core, \
         {seeds_per_s:.1} seeds a second",
        count(seeds, "seed"),
        report.first,
        committed.mean,
        committed.min,
        committed.seed_of_min,
        report.simulated_s,
        count(*jobs, "thread"),
    )
}
