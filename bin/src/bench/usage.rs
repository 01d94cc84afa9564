//! The usage of processes, as Linux counts it.

use anyhow::Context;
use std::time::Duration;

/// CPU time and memory of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub resident_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

/// Linux counts CPU time in hundredths of a second for whoever reads `/proc`.
const TICK: Duration = Duration::from_millis(10);

/// Returns the usage of a process by its number; of this one without.
pub fn of(pid: Option<u32>) -> anyhow::Result<Usage> {
    let name = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let read = |file: &str| {
        let path = format!("/proc/{name}/{file}");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}, which only Linux has"))
    };
    let stat = read("stat")?;
    // The second field is the program's name in parentheses, which may hold blanks.
    let after_name = stat.rsplit_once(')').context("/proc/PID/stat has no name")?.1;
    let field = |place: usize| -> anyhow::Result<u32> {
        let text = after_name.split_whitespace().nth(place).context("/proc/PID/stat is too short")?;
        text.parse().context("/proc/PID/stat has another form")
    };
    let ticks = field(11)? + field(12)?;
    let status = read("status")?;
    let bytes = |what: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        let kib = line.with_context(|| format!("/proc/{name}/status has no {what}"))?.trim().trim_end_matches("kB");
        Ok(1024 * kib.trim().parse::<u64>().with_context(|| format!("{what} has another form"))?)
    };
    Ok(Usage { cpu: TICK * ticks, resident_bytes: bytes("VmRSS")?, peak_bytes: bytes("VmHWM")? })
}
