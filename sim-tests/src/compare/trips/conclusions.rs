//! What the comparison says, in sentences that follow from its numbers, whichever way those are.

use super::{Cost, Report, Row, STEPS, WAYS, Way};

/// The number of steps of whose costs the sentences tell.
const STEPS_TOLD: u8 = 4;

/// Returns what the numbers say, one sentence each.
pub fn conclusions(report: &Report) -> Vec<String> {
    let costs = |way, steps| report.costs.iter().find(move |cost: &&Cost| (cost.way, cost.steps) == (way, steps));
    let mut said = Vec::new();
    let told: Vec<&Cost> = WAYS.iter().filter_map(|way| costs(*way, STEPS_TOLD)).collect();
    if let [orchestrated, chain, broadcast] = told[..] {
        let three = |of: fn(&Cost) -> f64| [of(orchestrated), of(chain), of(broadcast)];
        said.push(sentence("messages", "takes", three(|cost| cost.messages)));
        said.push(sentence("forced records", "takes", three(|cost| cost.forced)));
        said.push(sentence("ms", "is done after", three(|cost| cost.latency_ms as f64)));
        let [none, of_chain, of_broadcast] = [orchestrated, chain, broadcast].map(|cost| cost.couplings);
        said.push(format!(
            "Who has to know whom: with a coordinator participants know {} of each other's events, in a chain {}, with a broadcast {}; a step \
             more in the middle changes {} file, {} and {}.",
            none.events_known,
            of_chain.events_known,
            of_broadcast.events_known,
            none.files_for_a_step,
            of_chain.files_for_a_step,
            of_broadcast.files_for_a_step
        ));
    }
    if let (Some(short), Some(long)) = (costs(Way::Broadcast, *STEPS.start()), costs(Way::Broadcast, *STEPS.end())) {
        said.push(format!(
            "A broadcast couples {} events in a trip of {} steps, and {} in one of {}.",
            short.couplings.events_known, short.steps, long.couplings.events_known, long.steps
        ));
    }
    said.extend(noticed(report));
    for failure in ["the coordinator dies", "the second participant dies, for a while", "partition between two"] {
        said.extend(went_on(report, failure));
    }
    said.extend(half_done(report));
    said
}

/// Returns a sentence on a number of three ways.
fn sentence(what: &str, does: &str, [orchestrated, chain, broadcast]: [f64; 3]) -> String {
    format!(
        "A trip of {STEPS_TOLD} steps {does} {} {what} with a coordinator, {} in a chain ({}), {} with a broadcast ({}).",
        number(orchestrated),
        number(chain),
        against(chain, orchestrated),
        number(broadcast),
        against(broadcast, orchestrated)
    )
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// `12 % less`, `5 % more` or `the same`
fn against(value: f64, base: f64) -> String {
    let percent = if base > 0.0 { 100.0 * (value - base) / base } else { 0.0 };
    match percent.round() {
        0.0 => "the same".to_owned(),
        less if less < 0.0 => format!("{:.0} % less", -less),
        more => format!("{more:.0} % more"),
    }
}

fn row<'a>(report: &'a Report, failure: &str, way: Way) -> Option<&'a Row> {
    report.rows.iter().find(|row| row.failure.starts_with(failure) && row.way == way)
}

fn noticed(report: &Report) -> Option<String> {
    let failure = "the second participant dies, for a while";
    let [orchestrated, chain] = [Way::Orchestrated, Way::Chain].map(|way| row(report, failure, way));
    let said = |after: Option<u64>| after.map_or_else(|| "never".to_owned(), |ms| format!("after {ms} ms"));
    let (of_orchestrated, of_chain) = (orchestrated?.noticed_after_ms, chain?.noticed_after_ms);
    let who = match (of_orchestrated, of_chain) {
        (Some(one), Some(other)) if one < other => "a coordinator knows first",
        (Some(one), Some(other)) if one > other => "a choreography knows first",
        (Some(_), None) => "only a coordinator knows",
        (None, Some(_)) => "only a choreography knows",
        (Some(_), Some(_)) | (None, None) => "there is no difference",
    };
    Some(format!(
        "{failure:?}: somebody knows that a trip does not go well {} with a coordinator, and {} in a chain, whose first participant minds the \
         time: {who}.",
        said(of_orchestrated),
        said(of_chain)
    ))
}

fn went_on(report: &Report, failure: &str) -> Option<String> {
    let rows: Vec<&Row> = WAYS.iter().filter_map(|way| row(report, failure, *way)).collect();
    let share = |row: &&&Row| (row.went_on * 1_000).checked_div(row.under_way).unwrap_or_default();
    let (best, worst) = (rows.iter().max_by_key(share)?, rows.iter().min_by_key(share)?);
    let each: Vec<String> =
        rows.iter().map(|row| format!("{} of {} ({})", row.went_on, row.under_way, row.way.as_str())).collect();
    let most = match share(&best) == share(&worst) {
        true => "that stops as many in every way".to_owned(),
        false => format!("that stops most that are {}, and fewest that are {}", of(worst.way), of(best.way)),
    };
    let failure = rows.first()?.failure;
    Some(format!("{failure:?}: of the trips under way {} ended while it lasted; {most}.", each.join(", ")))
}

fn of(way: Way) -> &'static str {
    match way {
        Way::Orchestrated => "carried out by a coordinator",
        Way::Chain => "moved by events in a chain",
        Way::Broadcast => "moved by events with a broadcast",
    }
}

fn half_done(report: &Report) -> Option<String> {
    let rows = report.rows.iter();
    let left: Vec<&Row> = rows.filter(|row| row.half_done > 0).collect();
    if left.is_empty() {
        let trips: u64 = report.rows.iter().map(|row| row.trips).sum();
        return Some(format!("None of {trips} trips was left half done, in any way under any failure."));
    }
    let each: Vec<String> = left
        .iter()
        .map(|row| format!("{} of {} ({}; {})", row.half_done, row.trips, row.way.as_str(), row.failure))
        .collect();
    Some(format!("Trips were left half done: {}; none in any other case.", each.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::trips::Couplings;

    fn report(messages: [f64; 3], noticed: [Option<u64>; 3], half_done: u64) -> Report {
        let cost = |(way, messages): (Way, f64)| Cost {
            way,
            steps: STEPS_TOLD,
            messages,
            forced: 4.0,
            latency_ms: 50,
            couplings: Couplings::of(way, STEPS_TOLD),
        };
        let row = |(way, noticed_after_ms): (Way, Option<u64>)| Row {
            failure: "the second participant dies, for a while",
            way,
            seeds: 1,
            struck: 1,
            atomic: 1,
            trips: 10,
            half_done,
            known_percent: 100.0,
            in_time_percent: 100.0,
            recovered_after_ms: 0,
            noticed_after_ms,
            under_way: 4,
            went_on: if way == Way::Orchestrated { 1 } else { 3 },
            seed: 1,
        };
        Report {
            costs: WAYS.into_iter().zip(messages).map(cost).collect(),
            rows: WAYS.into_iter().zip(noticed).map(row).collect(),
        }
    }

    fn all(messages: [f64; 3], noticed: [Option<u64>; 3], half_done: u64) -> String {
        conclusions(&report(messages, noticed, half_done)).join("\n")
    }

    #[test]
    fn conclusions_carry_their_numbers_and_flip_with_them() {
        let one = all([10.0, 8.0, 12.0], [Some(600), Some(1_500), Some(1_500)], 0);
        for part in
            ["10 messages", "8 in a chain (20 % less)", "12 with a broadcast (20 % more)", "a coordinator knows first"]
        {
            assert!(one.contains(part), "{part}: {one}");
        }
        assert!(
            one.contains("1 of 4 (orchestrated)")
                && one.contains("that stops most that are carried out by a coordinator"),
            "{one}"
        );
        assert!(one.contains("None of 30 trips was left half done"), "{one}");
        let other = all([8.0, 10.0, 8.0], [Some(1_600), Some(1_500), None], 2);
        for part in [
            "10 in a chain (25 % more)",
            "8 with a broadcast (the same)",
            "a choreography knows first",
            "2 of 10 (chain;",
        ] {
            assert!(other.contains(part), "{part}: {other}");
        }
    }
}
