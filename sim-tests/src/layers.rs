//! Holds the modules of this crate to their layers: each names only modules of lower ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, from the lowest layer up. Modules of one layer do not name each other, save those of the highest.
const LAYERS: [&[&str]; 8] = [
    &["process", "random"],
    &["plan"],
    &["trace"],
    &["run"],
    &["disk"],
    &["world"],
    &["check", "picture"],
    &["scenario", "compare", "shrink", "sweep", "divergence"],
];

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns the modules that a text of `module` names by their path from the crate's root and may not.
fn wrongly_named(module: &str, text: &str) -> BTreeSet<String> {
    let word = |rest: &str| rest.split(|next: char| !(next.is_alphanumeric() || next == '_')).next().map(str::to_owned);
    let highest = LAYERS.len() - 1;
    let may_name = |other: &str| match (layer_of(module), layer_of(other)) {
        (Some(here), Some(there)) => module == other || there < here || (there == here && here == highest),
        (None, _) | (_, None) => false,
    };
    text.split("crate::").skip(1).filter_map(word).filter(|other| !may_name(other)).collect()
}

/// Returns the files of a module: `name.rs` and all below `name`.
fn files_of(source: &Path, module: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (vec![source.join(module).with_extension("rs")], vec![source.join(module)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn every_module_names_only_modules_of_lower_layers() {
    let source = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("src");
    for module in LAYERS.into_iter().flatten() {
        let files = files_of(&source, module);
        for file in &files {
            let wrong = wrongly_named(module, &fs::read_to_string(file).unwrap());
            assert!(
                wrong.is_empty(),
                "{} names {wrong:?}, which is not below it; see the table in lib.rs",
                file.display()
            );
        }
    }
}

#[test]
fn every_module_has_a_layer() {
    let source = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("src/lib.rs");
    let text = fs::read_to_string(source).unwrap();
    let declared =
        text.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    for module in declared.filter(|module| *module != "layers") {
        assert!(layer_of(module).is_some(), "{module} stands in no layer");
    }
}

#[test]
fn data_that_names_its_machinery_is_found() {
    assert_eq!(wrongly_named("plan", "use crate::world::simulate;"), BTreeSet::from(["world".to_owned()]));
    assert_eq!(wrongly_named("plan", "fn f() -> crate::run::Mode {}"), BTreeSet::from(["run".to_owned()]));
    assert_eq!(wrongly_named("check", "use crate::picture::Shown;"), BTreeSet::from(["picture".to_owned()]));
    assert_eq!(wrongly_named("trace", "use crate::nothing::Known;"), BTreeSet::from(["nothing".to_owned()]));
    assert!(wrongly_named("world", "use crate::plan::Plan;\nuse crate::world::shared;").is_empty());
    assert!(wrongly_named("sweep", "use crate::shrink::shrink;").is_empty());
}
