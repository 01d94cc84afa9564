//! libFuzzer on the target that `UNDOUBT_FUZZ_TARGET` names. With `UNDOUBT_FUZZ_SEEDS` it writes the seeds of all targets there, a
//! folder for each, and ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use undoubt_fuzz::{Target, note_panics, target, targets};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("UNDOUBT_FUZZ_TARGET").expect("UNDOUBT_FUZZ_TARGET names a target");
    target(&name).unwrap_or_else(|| panic!("there is no target {name}"))
});

fn write_seeds(folder: &Path) {
    for target in targets() {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder).expect("there is room for it");
        for (place, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{place}")), seed).expect("there is room for it");
        }
    }
}

fuzz_target!(
    init: {
        if let Some(folder) = std::env::var_os("UNDOUBT_FUZZ_SEEDS") {
            write_seeds(Path::new(&folder));
            std::process::exit(0);
        }
        note_panics();
    },
    |input: &[u8]| TARGET.try_out(input)
);
