use std::path::PathBuf;

/// The reason why a server could not be started, asked or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("the program {program} is not installed; it is in Debian's package {package}: apt-get install {package}")]
    Missing { program: &'static str, package: &'static str },

    #[error("the user `nobody` is needed to run servers when root starts them, and `id` does not know it")]
    NoUnprivilegedUser,

    #[error("{doing}: {error}")]
    Io { doing: String, error: std::io::Error },

    #[error("{program} failed ({status}): {output}")]
    Failed { program: String, status: std::process::ExitStatus, output: String },

    #[error("{program} did not end within {limit_ms} ms")]
    TooSlow { program: String, limit_ms: u64 },

    #[error("the server ended while it started ({status}); the end of its log:\n{log}")]
    Ended { status: std::process::ExitStatus, log: String },

    #[error("the server did not answer within {limit_ms} ms; the end of its log:\n{log}")]
    Silent { limit_ms: u64, log: String },

    #[error("pgbench tells no rate: {told}")]
    NoRate { told: String },

    #[error("the server is running; stop or kill it before its folder {0} is copied or replaced")]
    Running(PathBuf),

    #[error("nothing passed the proxy whose text contains `{text}` within {limit_ms} ms")]
    NotSeen { text: String, limit_ms: u64 },
}

impl ServerError {
    /// Returns what turns an error of the system into one that says what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io { doing, error }
    }
}
