//! The declarations of events in participants' settings.

use serde::Deserialize;
use std::fs;
use std::path::Path;
use undoubt_stream::declarations::Declarations;

/// A file of a participant's settings.
const MAX_SETTINGS_BYTES: u64 = 4 << 20;

/// The reason why declarations were not read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    #[error("cannot read {path}: {cause}")]
    Unreadable { path: String, cause: String },
    #[error("{path}: {faults}")]
    Faulty { path: String, faults: String },
}

/// Whatever else is in the file is somebody else's.
#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

/// Reads what a participant's settings declare, and the name that they give it, if they give one.
pub fn read_declarations(path: &Path) -> Result<(Option<String>, Declarations), NotRead> {
    let shown = || path.display().to_string();
    let unreadable = |cause: String| NotRead::Unreadable { path: shown(), cause };
    let bytes = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if bytes > MAX_SETTINGS_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_SETTINGS_BYTES} bytes, more than any settings are")));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let faulty = |faults: undoubt_stream::fault::Faults| NotRead::Faulty { path: shown(), faults: faults.to_string() };
    let declarations = Declarations::read(&text).map_err(faulty)?;
    Ok((toml::from_str::<Named>(&text).ok().and_then(|named| named.name), declarations))
}
