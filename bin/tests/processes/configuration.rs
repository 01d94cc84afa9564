//! Settings from file, environment and flags, and what else is done without a server.

use crate::support::cli::{command, run as run_undoubt};
use crate::support::program::{Ended, coordinator, participant, run};
use toml::{Table, Value};

async fn printed(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = coordinator(&[arguments, &["--print-config"]].concat());
    run({
        command.envs(environment.iter().copied());
        command
    })
    .await
}

#[tokio::test]
async fn the_printed_configuration_is_read_back_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coordinator.toml");
    let given =
        ["--name", "north", "--set", "retention_s=7", "--start-paused", "--participant", "a=http://127.0.0.1:1"];
    let first = printed(&given, &[]).await;
    assert!(first.success, "{first:?}");
    std::fs::write(&file, &first.out).unwrap();
    let again = printed(&["--config", file.to_str().unwrap()], &[]).await;
    assert_eq!(again.out, first.out);
    let table: Table = first.out.parse().unwrap();
    assert_eq!((table["name"].as_str(), table["retention_s"].as_integer()), (Some("north"), Some(7)));
    assert_eq!(table["start_paused"].as_bool(), Some(true));

    let first = run(participant(&["--name", "bank", "--set", "sweep_period_ms=9", "--print-config"])).await;
    std::fs::write(&file, &first.out).unwrap();
    let again = run(participant(&["--config", file.to_str().unwrap(), "--print-config"])).await;
    assert!(again.success && again.out == first.out, "{again:?}");
}

#[tokio::test]
async fn flags_overrule_variables_and_variables_overrule_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coordinator.toml");
    std::fs::write(&file, "name = \"file\"\nretention_s = 1\nlazy_flush_ms = 11\n").unwrap();
    let variables = [("UNDOUBT_COORDINATOR_NAME", "variable"), ("UNDOUBT_COORDINATOR_RETENTION_S", "2")];
    let printed = printed(&["--config", file.to_str().unwrap(), "--name", "flag"], &variables).await;
    let table: Table = printed.out.parse().unwrap();
    let number = |key: &str| table[key].as_integer();
    assert_eq!(
        (table["name"].as_str(), number("retention_s"), number("lazy_flush_ms")),
        (Some("flag"), Some(2), Some(11))
    );
}

#[tokio::test]
async fn what_is_no_usable_setting_is_named_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coordinator.toml");
    std::fs::write(&file, "retentoin_s = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--set", "retentoin_s=1"], &["retentoin_s", "retention_s"]),
        (&["--set", "retention_s=soon"], &["retention_s", "soon"]),
        (&["--set", "retention_s=-1"], &["retention_s"]),
        (&["--set", "retention_s"], &["key=value"]),
        (&["--config", file], &["retentoin_s", file]),
        (&["--config", "/no/such/file"], &["/no/such/file"]),
        (&["--name", "a b"], &["a b", "character"]),
        (&["--participant", "a=127.0.0.1:1"], &["a", "http://host:port"]),
        (&["--set", "max_open_transactions=0"], &["max_open_transactions", "at least 1"]),
    ];
    for (arguments, words) in cases {
        printed(arguments, &[]).await.refused_with(words);
    }
    let twice = ["--participant", "a=http://127.0.0.1:1", "--participant", "a=http://127.0.0.1:2"];
    printed(&twice, &[]).await.refused_with(&["a", "twice"]);
    printed(&[], &[("UNDOUBT_COORDINATOR_RETENTION_S", "x")]).await.refused_with(&["UNDOUBT_COORDINATOR_RETENTION_S"]);
    run(participant(&["--set", "sweep_period_ms=0", "--print-config"])).await.refused_with(&["sweep_period_ms"]);
    let data_dir = folder.path().join("data").display().to_string();
    let started = run(participant(&["--data-dir", &data_dir, "--listen", "nowhere:x"])).await;
    started.refused_with(&["nowhere:x", "--listen"]);
    let started = run(participant(&["--data-dir", &data_dir, "--crash-at", "nonsense"])).await;
    started.refused_with(&["nonsense", "count"]);
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        run_undoubt(command(&["completions", shell])).await.expect(0, &["undoubt", "submit"]);
    }
    run_undoubt(command(&["completions", "tcsh"])).await.expect(2, &["tcsh", "bash"]);
}

/// A value for each setting that differs from its default.
fn other_value(key: &str, default: &Value) -> Value {
    let others = [
        ("callback_allow", r#"["http://127.0.0.1:1/hooks"]"#),
        ("participants", r#"[{ name = "a", address = "http://127.0.0.1:1" }]"#),
        ("sources", r#"[{ name = "a", address = "http://127.0.0.1:1" }]"#),
        ("metrics.listen", r#""127.0.0.1:1""#),
        ("traces.endpoint", r#""http://127.0.0.1:1""#),
        ("traces.sample_percent", "2.5"),
        ("alarm.url", r#""http://127.0.0.1:1/alarms""#),
        ("tls.client_certificates", r#""optional""#),
        ("limits.open_percent", "50"),
        ("access.anonymous", r#"["read"]"#),
        ("access.oidc.groups", r#"[{ group = "ops", roles = ["read"] }]"#),
    ];
    if let Some((_, value)) = others.iter().find(|(other, _)| *other == key) {
        return format!("value = {value}").parse::<Table>().unwrap()["value"].clone();
    }
    match default {
        Value::String(text) if text == "none" => Value::Integer(7),
        Value::String(text) if key == "listen" => Value::String(text.replace("127.0.0.1", "127.0.0.2")),
        Value::String(_) => Value::String("other".to_owned()),
        Value::Integer(number) => Value::Integer(number + 1),
        Value::Boolean(set) => Value::Boolean(!set),
        Value::Array(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_) => panic!("{key} is {default}"),
    }
}

/// Returns all settings; those in a table by the table's name, a point and theirs.
fn settings(table: &Table) -> Vec<(String, Value)> {
    undoubt::settings::flat(table).into_iter().collect()
}

#[tokio::test]
async fn the_kind_of_store_is_chosen_by_file_variable_and_flag_and_an_unknown_one_is_refused_with_those_there_are() {
    type Start = fn(&[&str]) -> tokio::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let file_name = file.to_str().unwrap();
    for (start, prefix) in [(coordinator as Start, "UNDOUBT_COORDINATOR"), (participant, "UNDOUBT_PARTICIPANT")] {
        for (kind, is_known) in [("rocksdb", true), ("paper", false)] {
            std::fs::write(&file, format!("[store]\nkind = \"{kind}\"\n")).unwrap();
            let by_file = run(start(&["--config", file_name, "--print-config"])).await;
            let by_flag = run(start(&["--set", &format!("store.kind={kind}"), "--print-config"])).await;
            let mut by_variable = start(&["--print-config"]);
            by_variable.env(format!("{prefix}_STORE_KIND"), kind);
            for ended in [by_file, by_flag, run(by_variable).await] {
                if is_known {
                    assert_eq!(ended.out.parse::<Table>().unwrap()["store"]["kind"].as_str(), Some(kind), "{ended:?}");
                } else {
                    ended.refused_with(&["paper", "there are: rocksdb"]);
                }
            }
        }
        run(start(&["--set", "store.knid=x", "--print-config"])).await.refused_with(&["store.knid", "store.kind"]);
        std::fs::write(&file, "[store]\nknid = \"x\"\n").unwrap();
        run(start(&["--config", file_name, "--print-config"])).await.refused_with(&["knid", file_name]);
    }
}

#[tokio::test]
async fn every_setting_is_set_by_file_variable_and_flag_and_is_printed() {
    type Start = fn(&[&str]) -> tokio::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let file_name = file.to_str().unwrap();
    for (start, prefix) in [(coordinator as Start, "UNDOUBT_COORDINATOR"), (participant, "UNDOUBT_PARTICIPANT")] {
        let defaults: Table = run(start(&["--print-config"])).await.out.parse().unwrap();
        assert!(prefix != "UNDOUBT_COORDINATOR" || defaults.contains_key("two_phase_from_value"));
        // There is one kind of store.
        for (key, default) in settings(&defaults).into_iter().filter(|(key, _)| key != "store.kind") {
            let wanted = other_value(&key, &default);
            let text = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
            // TOML takes a key with points for one in a table.
            std::fs::write(&file, format!("{key} = {wanted}\n")).unwrap();
            let by_file = run(start(&["--config", file_name, "--print-config"])).await;
            let by_flag = run(start(&["--set", &format!("{key}={text}"), "--print-config"])).await;
            let mut by_variable = start(&["--print-config"]);
            by_variable.env(format!("{prefix}_{}", key.to_uppercase().replace('.', "_")), &text);
            for ended in [by_file, by_flag, run(by_variable).await] {
                assert!(ended.success, "{key}: {ended:?}");
                let printed = settings(&ended.out.parse().unwrap());
                assert!(printed.contains(&(key.clone(), wanted.clone())), "{key}: {printed:?}");
            }
        }
        let mut unknown = start(&["--print-config"]);
        unknown.env(format!("{prefix}_RETENTOIN_S"), "1");
        run(unknown).await.refused_with(&[&format!("{prefix}_RETENTOIN_S"), "there are"]);
    }
}

#[tokio::test]
async fn servers_start_with_every_number_at_its_least_and_at_its_most() {
    type Start = fn(&[&str]) -> tokio::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let ranges = [undoubt_coordinator::Config::default().ranges(), undoubt_participant::Config::default().ranges()];
    for ((start, ranges), name) in [coordinator as Start, participant].into_iter().zip(ranges).zip(["c", "p"]) {
        for (which, least) in [("least", true), ("most", false)] {
            let home = folder.path().join(format!("{name}-{which}"));
            std::fs::create_dir(&home).unwrap();
            let (data, log) = (home.join("data").display().to_string(), home.join("log"));
            let set = |range: &undoubt_platform::range::Ranged| {
                format!("{}={}", range.setting, if least { range.min } else { range.max })
            };
            let settings: Vec<String> = ranges.iter().flat_map(|range| ["--set".to_owned(), set(range)]).collect();
            let mut arguments = vec!["--listen", "127.0.0.1:0", "--data-dir", &data];
            arguments.extend(settings.iter().map(String::as_str));
            let mut server = start(&arguments).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
            let text = || std::fs::read_to_string(&log).unwrap();
            crate::support::until("it serves", async || text().contains("recovery done").then_some(())).await;
            // Until it has looked after itself a few times.
            for _ in 0..5 {
                assert!(server.try_wait().unwrap().is_none(), "{which}: {}", text());
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            assert!(!text().contains("panicked"), "{which}: {}", text());
            server.kill().await.unwrap();
        }
    }
}
