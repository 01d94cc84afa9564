//! The README's first page, as it stands.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

const README: &str = include_str!("../README.md");
const EXAMPLE: &str = include_str!("../examples/seats.rs");

/// What whoever types does by himself: it waits for what was started, and ends it.
const WAIT: &str = r#"
for try in $(seq 400); do
    curl -sf http://127.0.0.1:7480/v1/participants | grep -q '"connected":true' \
        && curl -sf http://127.0.0.1:9001/seats http://127.0.0.1:9002/seats > /dev/null && break
    sleep 0.05
done
"#;

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port().to_string()
}

#[test]
fn the_service_is_the_example() {
    assert!(README.contains(EXAMPLE), "copy examples/seats.rs into the README");
}

#[test]
fn the_first_page_runs() {
    let programs =
        std::env::var("UNDOUBT_BIN").expect("UNDOUBT_BIN is the folder with the program undoubt (make build)");
    let folder = tempfile::tempdir().expect("a folder");
    let test = std::env::current_exe().expect("this has a path");
    let examples: PathBuf = test.parent().and_then(|deps| deps.parent()).expect("cargo's folder").join("examples");

    let (_, block) = README.split_once("```console\n").expect("a console");
    let (block, _) = block.split_once("```").expect("its end");
    let mut script = format!("trap 'kill $(jobs -p)' EXIT\nseats={}/seats\n", examples.display());
    for line in block.lines().filter(|line| !line.contains("cargo build")) {
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let settings = "--listen 127.0.0.1:0 --set gateway.listen=127.0.0.1:7480 --set";
        script += &line.replacen("--set", settings, usize::from(line.starts_with("undoubt serve")));
        script += "\n";
        if line.starts_with("undoubt serve") {
            script += WAIT;
        }
    }
    for port in ["7480", "9001", "9002"] {
        script = script.replace(port, &free_port());
    }
    script = script.replace("/tmp/", &format!("{}/", folder.path().display()));

    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let told = Command::new("bash").args(["-c", &script]).env("PATH", path).output().expect("bash is there");
    let (output, errors) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    let lines: Vec<&str> = output.lines().filter(|line| line.starts_with(['{', '['])).collect();
    let context = format!("{output}\n{errors}");
    assert!(lines[0].contains("trip-1") && lines[0].contains("committed"), "{context}");
    assert!(lines[1].contains("trip-2") && lines[1].contains("aborted"), "{context}");
    assert_eq!(lines[2], r#"["7A"]["12"]"#, "{context}");
}
