//! Finding the programs of the servers, and running those that end by themselves.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::ServerError;

const PROGRAM_LIMIT_MS: u64 = 120_000;

/// The user and group that servers run as where root starts them; `None` where somebody else does.
pub(crate) type RunAs = Option<(u32, u32)>;

pub(crate) async fn run_as() -> Result<RunAs, ServerError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let mut ids = [0; 2];
    for (id, flag) in ids.iter_mut().zip(["-u", "-g"]) {
        let mut command = Command::new("id");
        command.args([flag, "nobody"]);
        let output = run(command, "").await.map_err(|_| ServerError::NoUnprivilegedUser)?;
        *id = output.parse().map_err(|_| ServerError::NoUnprivilegedUser)?;
    }
    Ok(Some(ids.into()))
}

/// Returns the folder with PostgreSQL's programs: the newest that Debian's packages installed.
pub(crate) fn postgres_folder() -> Result<PathBuf, ServerError> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin"))))
        .filter(|(_, folder)| is_program(&folder.join("postgres")) && is_program(&folder.join("initdb")))
        .max()
        .map(|(_, folder)| folder)
        .ok_or(ServerError::Missing { program: "postgres", package: "postgresql" })
}

/// Returns the path of a program of MariaDB, from `PATH` or `/usr/sbin`.
pub(crate) fn mariadb_program(program: &'static str, package: &'static str) -> Result<PathBuf, ServerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(program))
        .find(|program| is_program(program))
        .ok_or(ServerError::Missing { program, package })
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Returns a command that runs as the servers' user, in a folder that this user may enter.
pub(crate) fn command(program: impl AsRef<OsStr>, run_as: RunAs, folder: &Path) -> std::process::Command {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(program);
    command.current_dir(folder).env("HOME", folder);
    if let Some((user, group)) = run_as {
        command.uid(user).gid(group);
    }
    command
}

/// Runs a program to its end and returns what it printed, without space around.
pub(crate) async fn run(command: impl Into<Command>, input: &str) -> Result<String, ServerError> {
    let mut command = command.into();
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let work = async {
        let mut child = command.spawn().map_err(ServerError::io(format!("starting {program}")))?;
        let mut stdin = child.stdin.take().expect("it was asked for above");
        // One that ends before it has read all says why by its status.
        let writing = async move {
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let ((), output) = tokio::join!(writing, child.wait_with_output());
        let output = output.map_err(ServerError::io(format!("waiting for {program}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let output_text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(ServerError::Failed {
            program: program.clone(),
            status: output.status,
            output: output_text.trim().to_owned(),
        })
    };
    match tokio::time::timeout(Duration::from_millis(PROGRAM_LIMIT_MS), work).await {
        Ok(result) => result,
        Err(_) => Err(ServerError::TooSlow { program: program.clone(), limit_ms: PROGRAM_LIMIT_MS }),
    }
}
