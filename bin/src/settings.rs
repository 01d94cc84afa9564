//! Settings from four places; each overrules those before it: built-in defaults, a TOML file, environment variables,
//! flags.
//!
//! Every setting has a variable of its own: `UNDOUBT_COORDINATOR_LISTEN`, say, and `UNDOUBT_COORDINATOR_STORE_KIND` for `kind` in the
//! table `store`, whose flag is `--set store.kind=…`. Its text, like that of a flag, is read as
//! TOML where the setting is not a text itself. A number that may be absent is `"none"` then, and a text is empty; so every setting is among
//! the defaults, and is known, printed and checked like all others.

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// Text for one setting, as it comes from a variable or a flag.
pub type Given = (String, String);

/// The value of a number that may be absent, and is.
const NONE: &str = "none";

/// The effective configuration. `flags` are `key=value`. Unknown keys are refused wherever they come from, also from
/// variables that begin with the prefix and an underscore.
pub fn effective<C: Default + Serialize + DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
    flags: &[Given],
) -> anyhow::Result<C> {
    effective_beside(file, prefix, flags, &[]).map(|(config, _none)| config)
}

/// The effective configuration, and the tables of these names, which somebody else reads: they are not known here, so of theirs a
/// variable's or a flag's text is a text wherever it is no other value of TOML.
pub fn effective_beside<C: Default + Serialize + DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
    flags: &[Given],
    others: &[&str],
) -> anyhow::Result<(C, Table)> {
    let mut beside = Table::new();
    let defaults = Table::try_from(C::default()).context("the defaults are not TOML")?;
    let mut table = defaults.clone();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut file: Table = text.parse().with_context(|| format!("{} is not TOML", path.display()))?;
        beside.extend(others.iter().filter_map(|other| file.remove_entry(*other)));
        table.extend(file);
    }
    for (variable, text) in std::env::vars_os() {
        let Some(variable) = variable.to_str() else { continue };
        let Some(name) = variable.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else { continue };
        let wrong = || format!("in the variable {variable}");
        let text = text.into_string().ok().context("it is not UTF-8").with_context(wrong)?;
        let name = name.to_lowercase();
        if !set_beside(&mut beside, others, &name, '_', &text).with_context(wrong)? {
            set(&mut table, &defaults, &name, '_', &text).with_context(wrong)?;
        }
    }
    for (key, text) in flags {
        let wrong = || format!("in the flag for {key}");
        if !set_beside(&mut beside, others, key, '.', text).with_context(wrong)? {
            set(&mut table, &defaults, key, '.', text).with_context(wrong)?;
        }
    }
    let source = file.map_or_else(|| "the settings".to_owned(), |path| path.display().to_string());
    let config = Value::Table(table).try_into().with_context(|| format!("{source}: not a valid configuration"))?;
    Ok((config, beside))
}

/// Takes a table of those that [`effective_beside`] leaves to somebody else.
pub fn table<C: DeserializeOwned + Default>(tables: &mut Table, name: &str) -> anyhow::Result<C> {
    match tables.remove(name) {
        Some(table @ Value::Table(_)) => {
            table.try_into().with_context(|| format!("[{name}]: not a valid configuration"))
        }
        Some(_) => bail!("{name} is a table; write [{name}]"),
        None => Ok(C::default()),
    }
}

/// Sets one in a table of somebody else. Returns false if it is in none of them.
fn set_beside(beside: &mut Table, others: &[&str], name: &str, between: char, text: &str) -> anyhow::Result<bool> {
    let of = |other: &&str| name.strip_prefix(*other).and_then(|rest| rest.strip_prefix(between));
    let Some((other, inner)) = others.iter().find_map(|other| Some((*other, of(other)?))) else { return Ok(false) };
    let line: Result<Table, _> = format!("value = {text}").parse();
    let value = line.ok().and_then(|mut line| line.remove("value").filter(|_| line.is_empty()));
    let table = beside.entry(other).or_insert_with(|| Value::Table(Table::new()));
    let table = table.as_table_mut().with_context(|| format!("{other} is no table"))?;
    table.insert(inner.to_owned(), value.unwrap_or_else(|| Value::String(text.to_owned())));
    Ok(true)
}

/// The effective configuration as TOML, to print.
pub fn to_toml<C: Serialize>(config: &C) -> anyhow::Result<String> {
    toml::to_string(config).context("the configuration cannot be written as TOML")
}

/// `key=value`, from a `--set` flag.
pub fn parse_assignment(text: &str) -> Result<Given, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is not of the form key=value")),
    }
}

/// Sets one setting by its name. That of one in a table begins with the table's, with `between` behind it.
fn set(table: &mut Table, defaults: &Table, name: &str, between: char, text: &str) -> anyhow::Result<()> {
    if !is_set(table, defaults, name, between, text)? {
        bail!("there is no setting {name:?}; there are: {}", flat(defaults).into_keys().collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// Sets one setting, and returns false if there is no such one.
fn is_set(table: &mut Table, defaults: &Table, name: &str, between: char, text: &str) -> anyhow::Result<bool> {
    if let Some(default) = defaults.get(name).filter(|default| !default.is_table()) {
        table.insert(name.to_owned(), read(default, text)?);
        return Ok(true);
    }
    for (outer, default) in defaults {
        let Value::Table(defaults) = default else { continue };
        let inner = name.strip_prefix(outer.as_str()).and_then(|rest| rest.strip_prefix(between));
        let Some(inner) = inner else { continue };
        let settings = table.entry(outer.clone()).or_insert_with(|| Value::Table(Table::new()));
        let settings = settings.as_table_mut().with_context(|| format!("{outer} is no table"))?;
        if is_set(settings, defaults, inner, between, text)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns all settings by their names, that of one in a table with the table's before it.
pub fn flat(settings: &Table) -> BTreeMap<String, Value> {
    let of = |(outer, value): (&String, &Value)| match value {
        Value::Table(inner) => {
            flat(inner).into_iter().map(|(inner, value)| (format!("{outer}.{inner}"), value)).collect::<Vec<_>>()
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => vec![(outer.clone(), value.clone())],
    };
    settings.iter().flat_map(of).collect()
}

fn read(default: &Value, text: &str) -> anyhow::Result<Value> {
    let may_be_absent = default.as_str() == Some(NONE);
    if text == NONE && may_be_absent || default.is_str() && !may_be_absent {
        return Ok(Value::String(text.to_owned()));
    }
    let wanted = if may_be_absent { "value, or none" } else { default.type_str() };
    let line = format!("value = {text}");
    let mut table: Table = line.parse().with_context(|| format!("{text:?} is not a {wanted}"))?;
    // Text with a line break would set more than one.
    let value = table.remove("value").filter(|_| table.is_empty());
    value.with_context(|| format!("{text:?} is not a {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_coordinator::Config;
    use undoubt_platform::range::Ranged;

    fn given(key: &str, value: &str) -> Given {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn flags_overrule_the_file_and_the_file_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "name = \"from-file\"\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let config: Config =
            effective(Some(&file), "UNDOUBT_TEST_NONE", &[given("listen", "127.0.0.1:2"), given("retention_s", "7")])
                .unwrap();
        assert_eq!((config.name.as_str(), config.listen.as_str(), config.retention_s), ("from-file", "127.0.0.1:2", 7));
        assert_eq!(config.max_open_transactions, Config::default().max_open_transactions);
    }

    #[test]
    fn unknown_settings_and_wrong_types_are_refused_by_name() {
        let wrong = |key, value| effective::<Config>(None, "UNDOUBT_TEST_NONE", &[given(key, value)]).unwrap_err();
        assert!(format!("{:#}", wrong("retentoin_s", "7")).contains("retentoin_s"));
        assert!(format!("{:#}", wrong("retention_s", "soon")).contains("soon"));
        assert!(format!("{:#}", wrong("retention_s", "\"7\"")).contains("retention_s"));
    }

    #[test]
    fn the_effective_configuration_reads_back_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        let config = Config::default();
        std::fs::write(&file, to_toml(&config).unwrap()).unwrap();
        assert_eq!(effective::<Config>(Some(&file), "UNDOUBT_TEST_NONE", &[]).unwrap(), config);
    }

    #[test]
    fn a_setting_that_may_be_absent_is_set_and_taken_back() {
        let set = |value| effective::<Config>(None, "UNDOUBT_TEST_NONE", &[given("two_phase_from_value", value)]);
        assert_eq!(set("7").unwrap().two_phase_from_value, Some(7));
        assert_eq!(set("none").unwrap().two_phase_from_value, None);
        for wrong in ["-1", "soon", "\"7\"", "7\nname = \"x\""] {
            assert!(format!("{:#}", set(wrong).unwrap_err()).contains("two_phase_from_value"), "{wrong}");
        }
    }

    #[test]
    fn a_setting_in_a_table_within_a_table_is_set_beside_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "[access]\nidentities = \"i.toml\"\n[access.oidc]\nissuer = \"a\"\n").unwrap();
        let groups = "[{ group = \"ops\", roles = [\"read\"] }]";
        let flags = [given("access.oidc.issuer", "b"), given("access.oidc.groups", groups)];
        let config: Config = effective(Some(&file), "UNDOUBT_TEST_NONE", &flags).unwrap();
        let oidc = &config.access.oidc;
        assert_eq!((oidc.issuer.as_str(), oidc.claim.as_str(), oidc.groups.len()), ("b", "sub", 1));
        assert_eq!(config.access.identities(), Some(Path::new("i.toml")));
        for unknown in ["access.oidc", "access.oidc.", "access.oidc.issuers", "access.oidc.issuer.x"] {
            let refused = effective::<Config>(None, "UNDOUBT_TEST_NONE", &[given(unknown, "x")]).unwrap_err();
            assert!(format!("{refused:#}").contains("access.oidc.issuer"), "{refused:#}");
        }
    }

    #[test]
    fn tables_of_somebody_else_come_from_the_file_and_the_flags_and_are_not_held_to_what_is_known_here() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "name = \"mine\"\n[other]\na = 1\nb = \"x\"\n").unwrap();
        let flags = [given("other.b", "postgresql://h/d"), given("other.c", "7"), given("other.d", "7\ne = 8")];
        let read = |others: &[&str]| effective_beside::<Config>(Some(&file), "UNDOUBT_TEST_NONE", &flags, others);
        let (config, beside) = read(&["other", "another"]).unwrap();
        assert_eq!(config.name, "mine");
        let expected = "[other]\na = 1\nb = \"postgresql://h/d\"\nc = 7\nd = \"7\\ne = 8\"\n";
        assert_eq!(beside, expected.parse::<Table>().unwrap());
        assert!(format!("{:#}", read(&["another"]).unwrap_err()).contains("other"));
    }

    #[test]
    fn text_with_a_line_break_sets_nothing_beside() {
        let two = effective::<Config>(None, "UNDOUBT_TEST_NONE", &[given("retention_s", "7\nstart_paused = true")]);
        assert!(two.is_err());
    }

    /// Returns the numbers of a server's settings that have no entry in its table, where each has to have one.
    fn numbers_without_a_range<C: Default + Serialize>(ranges: &[Ranged]) -> Vec<String> {
        let settings = Table::try_from(C::default()).unwrap();
        let unbounded = |key: &&String| !ranges.iter().any(|range| range.setting == key.as_str());
        settings.iter().filter(|(_, value)| value.is_integer()).map(|(key, _)| key).filter(unbounded).cloned().collect()
    }

    fn observed() -> undoubt_observer::Observed {
        let (name, address, settings) = ("shop".into(), "http://127.0.0.1:7401".into(), "shop.toml".into());
        undoubt_observer::Observed { name, address, settings }
    }

    #[test]
    fn every_number_has_a_range_and_its_ends_are_taken_while_what_lies_beyond_is_refused_by_name() {
        use undoubt_observer::Config as OfObserver;
        use undoubt_participant::Config as OfParticipant;
        assert_eq!(numbers_without_a_range::<Config>(&Config::default().ranges()), [""; 0]);
        assert_eq!(numbers_without_a_range::<OfParticipant>(&OfParticipant::default().ranges()), [""; 0]);
        assert_eq!(numbers_without_a_range::<OfObserver>(&OfObserver::default().ranges()), [""; 0]);
        fn check<C: Default + Serialize + DeserializeOwned>(ranges: Vec<Ranged>, check: impl Fn(&C) -> Option<String>) {
            for Ranged { setting, value: _, min, max } in ranges {
                let set = |value: u64| {
                    let read = effective::<C>(None, "UNDOUBT_TEST_NONE", &[given(setting, &value.to_string())]);
                    read.map_or_else(|error| Some(format!("{error:#}")), |config| check(&config))
                };
                for within in [min, max] {
                    // Another setting may have to be above or below it.
                    let refused = set(within);
                    assert!(
                        refused.as_ref().is_none_or(|why| why.contains("is above")),
                        "{setting}={within}: {refused:?}"
                    );
                }
                for beyond in [min.checked_sub(1), max.checked_add(1), Some(1 << 63), Some(u64::MAX)] {
                    let Some(beyond) = beyond else { continue };
                    let refusal = set(beyond).unwrap_or_else(|| panic!("{setting}={beyond} is taken"));
                    assert!(refusal.contains(setting), "{setting}={beyond}: {refusal}");
                }
            }
        }
        check::<Config>(Config::default().ranges(), |config| config.check().err().map(|error| error.to_string()));
        check::<OfParticipant>(OfParticipant::default().ranges(), |config| config.check().err().map(|e| e.to_string()));
        // It observes somebody.
        let observed = |config: &OfObserver| OfObserver { participants: vec![observed()], ..config.clone() };
        check::<OfObserver>(OfObserver::default().ranges(), |config| {
            observed(config).check().err().map(|e| e.to_string())
        });
    }
}
