//! `undoubt-sim replay`: one plan again.

use crate::failure::{count, draw, told_broken, world};
use crate::output::line;
use crate::source::Source;
use clap::Args;
use std::path::PathBuf;
use undoubt_sim_tests::picture;
use undoubt_sim_tests::run::Run;
use undoubt_sim_tests::sweep::{Summary, examine};

#[derive(Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    source: Source,
    /// Draw it into this file.
    #[arg(long, value_name = "FILE.html")]
    picture: Option<PathBuf>,
    /// Print every event, one a line.
    #[arg(long)]
    trace: bool,
    /// With --trace: only what concerns this transaction.
    #[arg(long, value_name = "ID", requires = "trace")]
    tx: Option<String>,
    /// Print the plan as JSON, and end.
    #[arg(long, conflicts_with_all = ["picture", "trace"])]
    expand: bool,
}

impl Replay {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let plan = self.source.plan()?;
        if self.expand {
            line(serde_json::to_string_pretty(&plan)?)?;
            return Ok(true);
        }
        let examined = examine(&plan);
        if let Some(run) = &examined.run {
            if self.trace {
                let mut told = String::new();
                picture::tell(run, self.tx.as_deref(), &mut told)?;
                line(told)?;
            }
            line(format!("seed {}: {}", plan.seed, world(&plan)))?;
            line(faults(run))?;
            let Summary { committed, simulated_us, .. } = Summary::of(plan.seed, &examined);
            line(format!(
                "{} committed in {:.1} simulated seconds, hash {:016x}",
                count(usize::try_from(committed)?, "transaction"),
                simulated_us as f64 / 1e6,
                run.hash
            ))?;
            if let Some(file) = &self.picture {
                draw(run, &examined.broken, &self.source.command(), file)?;
                line(format!("drawn into {}", file.display()))?;
            }
        }
        let sound = examined.broken.is_empty();
        line(if sound { "no rule is broken".to_owned() } else { told_broken(&examined.broken, 0) })?;
        Ok(sound)
    }
}

/// Each fault in words, and what it met.
fn faults(run: &Run) -> String {
    if run.plan.faults.is_empty() {
        return "no faults".to_owned();
    }
    let told = run.plan.faults.iter().enumerate().map(|(index, fault)| {
        let met = match run.hits.iter().find(|(hit, _)| *hit == index) {
            Some((_, states)) => format!("met {}", states.join(", ")),
            None => "never struck".to_owned(),
        };
        format!("  {fault} ({met})")
    });
    told.collect::<Vec<_>>().join("\n")
}
