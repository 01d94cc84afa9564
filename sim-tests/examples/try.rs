use std::time::Instant;
use undoubt_sim_tests::plan::{Plan, Shape};
use undoubt_sim_tests::run::Reply;
use undoubt_sim_tests::world::{simulate, simulate_in_detail};
fn main() {
    let seed: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let plan = Plan { seed, shape: Shape::default(), faults: vec![], mutant: None };
    let n: u32 = std::env::var("N").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    for i in 0..n {
        let t = Instant::now();
        let run = simulate(&plan);
        let committed = run.calls.iter().filter(|c| matches!(c.reply, Reply::Committed(_))).count();
        println!(
            "hash {:x} sim {:.1}s wall {:?} ratio {:.0} calls {} committed {committed} trace {}",
            run.hash,
            run.simulated_us as f64 / 1e6,
            t.elapsed(),
            run.simulated_us as f64 / 1e6 / t.elapsed().as_secs_f64(),
            run.calls.len(),
            run.trace.len()
        );
        if std::env::var("V").is_ok() {
            let s: String = run
                .trace
                .iter()
                .map(|e| format!("{} {:?} {}\n", e.at_us, e.host, serde_json::to_string(&e.event).unwrap()))
                .collect();
            std::fs::write(format!("/tmp/trace{i}"), s).unwrap();
        }
        if std::env::var("D").is_ok() {
            let (r, d) = simulate_in_detail(&plan);
            println!("detail {:x} {}", r.hash, d.len());
            std::fs::write(format!("/tmp/detail{i}"), d.join("\n")).unwrap();
        }
    }
}
