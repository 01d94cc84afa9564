//! Settings from four places; each overrules those before it: built-in defaults, a TOML file, environment variables,
//! flags.
//!
//! Every setting has a variable of its own: `UNDOUBT_COORDINATOR_LISTEN`, say. Its text, like that of a flag, is read as
//! TOML where the setting is not a text itself.

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::{Table, Value};

/// Text for one setting, as it comes from a variable or a flag.
pub type Given = (String, String);

/// The effective configuration. `flags` are `key=value`; unknown keys are refused wherever they come from, except that
/// variables are only looked up for known keys.
pub fn effective<C: Default + Serialize + DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
    flags: &[Given],
) -> anyhow::Result<C> {
    let defaults = Table::try_from(C::default()).context("the defaults are not TOML")?;
    let mut table = defaults.clone();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: Table = text.parse().with_context(|| format!("{} is not TOML", path.display()))?;
        table.extend(file);
    }
    for key in defaults.keys() {
        let variable = format!("{prefix}_{}", key.to_uppercase());
        if let Ok(text) = std::env::var(&variable) {
            let value = read(&defaults, key, &text).with_context(|| format!("in the variable {variable}"))?;
            table.insert(key.clone(), value);
        }
    }
    for (key, text) in flags {
        let value = read(&defaults, key, text).with_context(|| format!("in the flag for {key}"))?;
        table.insert(key.clone(), value);
    }
    let source = file.map_or_else(|| "the settings".to_owned(), |path| path.display().to_string());
    Value::Table(table).try_into().with_context(|| format!("{source}: not a valid configuration"))
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

fn read(defaults: &Table, key: &str, text: &str) -> anyhow::Result<Value> {
    let Some(default) = defaults.get(key) else {
        let known: Vec<&str> = defaults.keys().map(String::as_str).collect();
        bail!("there is no setting {key:?}; there are: {}", known.join(", "));
    };
    if default.is_str() {
        return Ok(Value::String(text.to_owned()));
    }
    let line = format!("value = {text}");
    let mut table: Table = line.parse().with_context(|| format!("{text:?} is not a {}", default.type_str()))?;
    table.remove("value").with_context(|| format!("{text:?} is not a {}", default.type_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_coordinator::Config;

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
}
