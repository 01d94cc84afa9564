//! `undoubt observe`: an observer of choreographed sagas as a process.

use undoubt::process::{EXIT_CODES, Failed, ServerArgs};
use undoubt::servers::observer;

/// Says where choreographed sagas are: it reads the events of all participants, and answers list, history, status, watch and wait as a coordinator
/// does (undoubt list --coordinator http://127.0.0.1:7490).
///
/// It decides nothing, and nothing waits for it. It may be away for as long as participants keep their events. Its settings name the
/// participants, each with its address and the file of its settings:
///
///   [[participants]]
///   name = "shop"
///   address = "http://127.0.0.1:7401"
///   settings = "shop.toml"
///
/// At participants that know their callers it shows its certificate ([tls]), and needs the role `read`.
///
/// Settings come from defaults, a TOML file, environment variables (UNDOUBT_OBSERVER_<SETTING>) and flags, of which the later overrule the
/// earlier. SIGTERM ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub struct Observe {
    #[command(flatten)]
    server: ServerArgs,
}

impl Observe {
    pub async fn carry_out(self) -> Result<(), Failed> {
        observer::serve(self.server).await
    }
}
