//! The set-up of bin/NETWORK.md: each server in a network namespace of its own, or, where this machine allows none,
//! on loopback addresses of their own.

use crate::support::cli::{Said, command, run};
use crate::support::{PATIENCE, until};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Two machines, and the addresses that they have.
struct Machines {
    namespaces: Option<[String; 2]>,
    addresses: [&'static str; 2],
}

impl Machines {
    async fn new() -> Machines {
        let names = ["a", "b"].map(|side| format!("undoubt-{}-{side}", std::process::id()));
        let mut machines = Machines { namespaces: Some(names.clone()), addresses: ["10.213.7.1", "10.213.7.2"] };
        let [a, b] = &names;
        let [one, two] = machines.addresses.map(|address| format!("{address}/24"));
        let steps: [&[&str]; 11] = [
            &["netns", "add", a],
            &["netns", "add", b],
            &["-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b],
            &["-n", a, "addr", "add", &one, "dev", "cable"],
            &["-n", b, "addr", "add", &two, "dev", "cable"],
            &["-n", a, "link", "set", "cable", "up"],
            &["-n", b, "link", "set", "cable", "up"],
            &["-n", a, "link", "set", "lo", "up"],
            &["-n", b, "link", "set", "lo", "up"],
            &["-n", a, "route", "show"],
            &["-n", b, "route", "show"],
        ];
        for step in steps {
            let done = Command::new("ip").args(step).stdin(Stdio::null()).output().await;
            let why = match done {
                Ok(done) if done.status.success() => continue,
                Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
                Err(error) => error.to_string(),
            };
            eprintln!(
                "SKIPPED two network namespaces: `ip {}` failed ({why}); the two are on loopback addresses instead",
                step.join(" ")
            );
            drop(machines);
            machines = Machines { namespaces: None, addresses: ["127.0.0.2", "127.0.0.3"] };
            break;
        }
        machines
    }

    /// Returns a command that runs on one of them.
    fn on(&self, machine: usize, command: &Command) -> Command {
        let command = command.as_std();
        let mut there = match &self.namespaces {
            Some(namespaces) => {
                let mut there = Command::new("ip");
                there.args(["netns", "exec", &namespaces[machine]]).arg(command.get_program());
                there
            }
            None => Command::new(command.get_program()),
        };
        there.args(command.get_args()).stdin(Stdio::null()).kill_on_drop(true);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for namespace in self.namespaces.iter().flatten() {
            // One that was not made cannot be removed.
            let _ = std::process::Command::new("ip").args(["netns", "del", namespace]).stderr(Stdio::null()).status();
        }
    }
}

/// Starts a server there with the certificate of its name.
fn serve(machines: &Machines, machine: usize, program: &str, name: &str, folder: &Path, more: &[String]) -> Child {
    let file = |ending: &str| folder.join("certs").join(ending).display().to_string();
    let mut server = Command::new(program);
    server.args(["--name", name, "--data-dir", &folder.join(name).display().to_string()]).args([
        "--set".to_owned(),
        format!("tls.certificate={}", file(&format!("{name}.crt"))),
        "--set".to_owned(),
        format!("tls.key={}", file(&format!("{name}.key"))),
        "--set".to_owned(),
        format!("tls.ca={}", file("ca.crt")),
        "--set".to_owned(),
        format!("access.identities={}", file("identities.toml")),
    ]);
    server.args(more);
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    machines.on(machine, &server).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[tokio::test]
async fn a_coordinator_and_a_participant_on_two_machines_serve_those_whom_they_know() {
    let machines = Machines::new().await;
    let folder = TempDir::new().unwrap();
    let certs = folder.path().join("certs").display().to_string();
    let [here, there] = machines.addresses;
    let (here, there) = (format!("coordinator={here}"), format!("bank-a={there}"));
    let init = [
        &["certs", "init", &certs, "--server", &here, "--server", &there][..],
        &["--client", "coordinator=coordinator", "--client", "ada=submit,read,operate"],
    ];
    run(command(&init.concat())).await.expect(0, &["ca.crt", "bank-a.key", "ada.crt", "identities.toml"]);

    let [here, there] = machines.addresses;
    let listen = |address: &str, port: u16| ["--listen".to_owned(), format!("{address}:{port}")];
    let participant = env!("CARGO_BIN_EXE_undoubt-participant");
    let _bank = serve(&machines, 1, participant, "bank-a", folder.path(), &listen(there, 7_401));
    let mut more = listen(here, 7_400).to_vec();
    more.extend(["--participant".to_owned(), format!("bank-a=https://{there}:7401")]);
    let coordinator = env!("CARGO_BIN_EXE_undoubt-coordinator");
    let _coordinator = serve(&machines, 0, coordinator, "coordinator", folder.path(), &more);

    let url = format!("https://{here}:7400");
    let ada = |name: &str| format!("{certs}/{name}");
    let (ca, cert, key) = (ada("ca.crt"), ada("ada.crt"), ada("ada.key"));
    let trusted = ["--coordinator", &url, "--timeout", "2s", "--ca", &ca];
    let ask = async |arguments: &[&str]| -> Said { run(machines.on(1, &command(arguments))).await };
    let submit = [&trusted[..], &["--cert", &cert, "--key", &key, "submit", "--on", "bank-a", "add alice 5"]].concat();
    let last = std::cell::RefCell::new(String::new());
    let committed = until("it commits", async || {
        let said = ask(&submit).await;
        *last.borrow_mut() = format!("{said:?}");
        (said.code == 0).then_some(said)
    });
    let Ok(said) = tokio::time::timeout(PATIENCE, committed).await else { panic!("{}", last.borrow()) };
    said.expect(0, &["committed"]);
    ask(&[&trusted[..], &["describe"]].concat()).await.expect(6, &["asks for a certificate"]);
}
