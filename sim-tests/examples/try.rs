use std::time::Instant;
use undoubt_sim_tests::check::check_all;
use undoubt_sim_tests::plan::Plan;
use undoubt_sim_tests::run::Reply;
use undoubt_sim_tests::world::simulate;
fn main() {
    let arg = |n: usize, d: u64| std::env::args().nth(n).and_then(|s| s.parse().ok()).unwrap_or(d);
    let (first, count) = (arg(1, 1), arg(2, 20));
    let t0 = Instant::now();
    let (mut sim, mut com, mut bad) = (0.0, 0, 0);
    for seed in first..first + count {
        let mut plan = Plan::of_seed(seed);
        if let Ok(m) = std::env::var("M") {
            plan.mutant = Some(serde_json::from_str(&format!("{m:?}")).unwrap());
        }
        if let Ok(o) = std::env::var("ONLY") {
            let keep: Vec<usize> = o.split(',').filter_map(|s| s.parse().ok()).collect();
            let mut i = 0;
            plan.faults.retain(|_| {
                i += 1;
                keep.contains(&(i - 1))
            });
        }
        let t = Instant::now();
        let Ok(run) = std::panic::catch_unwind(|| simulate(&plan)) else {
            bad += 1;
            println!("seed {seed} PANIC");
            for f in &plan.faults {
                println!("      {f}");
            }
            continue;
        };
        let v = check_all(&run);
        let committed = run.calls.iter().filter(|c| matches!(c.reply, Reply::Committed(_))).count();
        sim += run.simulated_us as f64 / 1e6;
        com += committed;
        if std::env::var("A").is_ok() || !v.is_empty() {
            println!(
                "seed {seed} hash {:x} sim {:.1}s wall {:?} committed {committed} settled {:?} excused {} all {}",
                run.hash,
                run.simulated_us as f64 / 1e6,
                t.elapsed(),
                run.finals.settled_after_us,
                run.finals.excused.len(),
                run.finals.excused_epochs
            );
        }
        if !v.is_empty() {
            bad += 1;
            for f in &plan.faults {
                println!("      {f}");
            }
            for v in v.iter().take(5) {
                println!("   !! {} {:?} {}", v.rule, v.at_us, v.what);
            }
            if let Ok(tx) = std::env::var("TX") {
                for e in &run.trace {
                    let s = serde_json::to_string(&e.event).unwrap();
                    if s.contains(&format!("\"{tx}\""))
                        || s.contains("\"fault\"")
                        || s.contains("started")
                        || s.contains("stopped")
                        || s.contains("crashed")
                        || s.contains("healed")
                        || s.contains("serving")
                    {
                        println!(
                            "{:>10.3} {:<12} {}",
                            e.at_us as f64 / 1e3,
                            e.host.map(|h| h.to_string()).unwrap_or_default(),
                            s
                        );
                    }
                }
            }
        }
        if std::env::var("D").is_ok() {
            let (_, d) = undoubt_sim_tests::world::simulate_in_detail(&plan);
            std::fs::write(format!("/tmp/detail{seed}"), d.join("\n")).unwrap();
        }
        if std::env::var("V").is_ok() {
            let s: String = run
                .trace
                .iter()
                .map(|e| {
                    format!(
                        "{} {:?} {}\n",
                        e.at_us,
                        e.host.map(|h| h.to_string()),
                        serde_json::to_string(&e.event).unwrap()
                    )
                })
                .collect();
            std::fs::write(format!("/tmp/trace{seed}"), s).unwrap();
            println!("{:#?}", run.finals);
        }
    }
    let w = t0.elapsed().as_secs_f64();
    println!(
        "{count} seeds, {bad} bad, sim {sim:.0}s, {:.0} sim/wall, {:.1} committed/seed, {:.1} seeds/s",
        sim / w,
        com as f64 / count as f64,
        count as f64 / w
    );
}
