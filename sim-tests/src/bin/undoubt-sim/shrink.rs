//! `undoubt-sim shrink`: a failing plan, as small as it gets.

use crate::failure::{Keeping, told_broken};
use crate::output::line;
use crate::source::Source;
use clap::Args;
use undoubt_sim_tests::sweep::examine;

#[derive(Args)]
pub(crate) struct Shrink {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    keeping: Keeping,
    /// Keep breaking this rule [default: the first one that it breaks].
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
}

impl Shrink {
    /// Sound if there is nothing to shrink.
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let plan = self.source.plan()?;
        let broken = examine(&plan).broken;
        let wanted = broken.iter().find(|broken| self.rule.as_ref().is_none_or(|rule| *rule == broken.rule));
        let Some(wanted) = wanted else {
            let rule = self.rule.as_deref().unwrap_or("any rule");
            line(format!("seed {} does not break {rule}", plan.seed))?;
            return Ok(true);
        };
        line(told_broken(&broken, 0))?;
        let name = format!("seed-{}", plan.seed);
        line(self.keeping.keep(&name, &plan, &wanted.rule, self.source.command())?.told())?;
        Ok(false)
    }
}
