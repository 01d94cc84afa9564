//! The log of a process: its form, and what is logged.

use super::{LogFormat, has_colours, log_fields};
use anyhow::Context as _;
use std::fmt;
use tracing_subscriber::EnvFilter;

/// The filter of the log, which may change while the process runs.
pub struct LogLevel(Box<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync>);

/// Reads what is to be logged.
pub fn log_filter(text: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(text).with_context(|| {
        format!("log: {text:?} is not a filter; say error, warn, info, debug, trace, or a filter of tracing")
    })
}

impl LogLevel {
    /// Begins to log to the standard error.
    pub fn start(format: LogFormat, text: &str) -> anyhow::Result<LogLevel> {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(log_filter(text)?)
            .with_writer(std::io::stderr)
            .with_ansi(has_colours())
            // A log that cannot be written, on a full device say, ends no server: telling of it on the same standard error
            // would panic.
            .log_internal_errors(false);
        Ok(match format {
            LogFormat::Human => {
                let builder = builder.fmt_fields(log_fields()).with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                LogLevel(Box::new(move |filter| Ok(handle.reload(filter)?)))
            }
            LogFormat::Json => {
                let builder = builder.json().with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                LogLevel(Box::new(move |filter| Ok(handle.reload(filter)?)))
            }
        })
    }

    /// Returns one that changes nothing, for tests.
    #[cfg(test)]
    pub(super) fn none() -> LogLevel {
        LogLevel(Box::new(|_| Ok(())))
    }

    pub fn set(&self, filter: EnvFilter) -> anyhow::Result<()> {
        (self.0)(filter)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevel")
    }
}
