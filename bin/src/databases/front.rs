//! A participant's place in front of a database: its settings, and the schema that it needs.

use crate::cluster::Programs;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Writes the settings of a participant, makes its schema, and has it checked, as its owner would. Returns where the settings are.
pub async fn front(
    programs: &Programs,
    folder: &Path,
    (name, kind): (&str, &str),
    url: &str,
    procedures: &str,
) -> anyhow::Result<PathBuf> {
    let config = folder.join(format!("{name}.toml"));
    let settings = format!("name = \"{name}\"\n\n[resource]\nkind = \"{kind}\"\nurl = \"{url}\"\n{procedures}");
    std::fs::write(&config, settings).context("the participant's settings")?;
    for command in ["init", "check"] {
        let mut run = Command::new(&programs.participant);
        let output = run.args([command, "--config"]).arg(&config).kill_on_drop(true).output().await?;
        if !output.status.success() {
            let told = [output.stdout, output.stderr].concat();
            bail!("{name}: {command}: {}", String::from_utf8_lossy(&told));
        }
    }
    Ok(config)
}
