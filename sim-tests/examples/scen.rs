use undoubt_sim_tests::{check::check_all, scenario, world::simulate};
fn main() {
    for s in scenario::all() {
        let run = simulate(&s.plan);
        let v = check_all(&run);
        let missed: Vec<_> = (0..s.plan.faults.len())
            .filter(|i| !run.hits.iter().any(|(f, _)| f == i))
            .map(|i| s.plan.faults[i].to_string())
            .collect();
        println!(
            "{:<40} {} violations, sim {:.1}s excused {} {} {} settled {:?} missed {missed:?} hits {:?}",
            s.name,
            v.len(),
            run.simulated_us as f64 / 1e6,
            run.finals.excused.len(),
            run.finals.excused_epochs,
            run.finals.excused_data,
            run.finals.settled_after_us,
            run.hits.iter().map(|h| h.1.join(",")).collect::<Vec<_>>()
        );
        for v in v.iter().take(3) {
            println!("   !! {v}");
        }
        let damaged = run.finals.outcomes.iter().filter(|(_, o)| format!("{o:?}").contains("damaged: true")).count();
        if damaged > 0 {
            println!("   damaged {damaged}");
        }
    }
}
