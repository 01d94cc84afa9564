//! Making tokens and certificates.

use crate::args::{Global, InitCerts};
use crate::exit::{Exit, Failure};
use crate::output::{Format, json_line};
use serde_json::json;
use undoubt::certificates::{self, Wanted};
use undoubt_platform::OsRandom;
use undoubt_platform::access::{self, TokenHash};
use undoubt_platform::terminal::say;

pub fn new_token(global: &Global) -> Result<Exit, Failure> {
    let token = access::new_token(&OsRandom::new());
    let hash = TokenHash::of(&token).to_string();
    Exit::shown(match global.output {
        Format::Json => json_line(&json!({ "token": token, "hash": hash })),
        Format::Table => say(format!(
            "token  {token}\nhash   {hash}\n\nThe token goes to its owner, in a file that only he reads; it cannot be shown again. The hash \
             goes\nto the identities of the servers: tokens = [\"{hash}\"]"
        )),
    })
}

pub fn init_certificates(init: &InitCerts, global: &Global) -> Result<Exit, Failure> {
    let wanted = |(name, list): &(String, String)| Wanted {
        name: name.clone(),
        list: list.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect(),
    };
    let servers: Vec<Wanted> = init.server.iter().map(wanted).collect();
    let clients: Vec<Wanted> = init.client.iter().map(wanted).collect();
    let made = certificates::init(&init.folder, &servers, &clients, init.days);
    let files = made.map_err(|error| Failure::new(Exit::Usage, format!("{error:#}")))?;
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Exit::shown(match global.output {
        Format::Json => json_line(&json!({ "files": files })),
        Format::Table => say(files.join("\n")),
    })
}
