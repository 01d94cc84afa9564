//! The identity provider of `[access.oidc]`. Its keys stand in a file, which is read again when it changes.

use super::guard::read_text;
use anyhow::{Context as _, anyhow};
use undoubt_platform::Access;
use undoubt_platform::access::{OidcConfig, Provider};

/// The file of a provider's keys.
#[derive(Debug)]
pub(super) struct KeysFile {
    settings: OidcConfig,
    /// The content that it had when it was looked at last.
    seen: Result<String, String>,
}

/// The number of keys in a file.
#[derive(Clone, Copy, Debug)]
struct Counts {
    usable: usize,
    left_out: usize,
}

impl KeysFile {
    /// Reads the keys of the provider, if there is one, and has its tokens taken.
    pub(super) fn load(settings: &OidcConfig, access: &Access) -> anyhow::Result<Option<KeysFile>> {
        let Some(settings) = settings.provider()? else { return Ok(None) };
        let file = KeysFile { settings: settings.clone(), seen: read_text(&settings.keys) };
        let named = || format!("access.oidc.keys: {}", settings.keys.display());
        let (provider, Counts { usable, left_out }) = file.provider().with_context(named)?;
        access.trust(provider);
        tracing::info!(issuer = settings.issuer, usable, left_out, "tokens of an identity provider are taken");
        Ok(Some(file))
    }

    /// Returns true if there was anything to tell.
    pub(super) fn look(&mut self, access: &Access) -> bool {
        let now = read_text(&self.settings.keys);
        if now == self.seen {
            return false;
        }
        self.seen = now;
        let path = self.settings.keys.display();
        match self.provider() {
            Ok((provider, Counts { usable, left_out })) => {
                access.trust(provider);
                tracing::info!(%path, usable, left_out, "new keys of the identity provider hold from the next request on");
            }
            Err(error) => tracing::warn!(
                %path,
                error = format!("{error:#}"),
                "new keys of the identity provider cannot be used and are kept out: those that were read before go on. Mend the file, and \
                 send SIGHUP or wait"
            ),
        }
        true
    }

    /// Returns the provider with the keys that were read last.
    fn provider(&self) -> anyhow::Result<(Provider, Counts)> {
        let text = self.seen.as_ref().map_err(|cause| anyhow!("it cannot be read ({cause}); name a file that can"))?;
        provider_of(&self.settings, text)
    }
}

#[cfg(feature = "oidc")]
fn provider_of(settings: &OidcConfig, keys: &str) -> anyhow::Result<(Provider, Counts)> {
    use std::sync::Arc;
    use undoubt_oidc::{Checker, Expected, Keys};
    use undoubt_platform::SystemClock;
    use undoubt_platform::access::Holder;

    let keys = Keys::parse(keys)?;
    let counts = Counts { usable: keys.count(), left_out: keys.left_out() };
    let expected = Expected {
        issuer: settings.issuer.clone(),
        audience: settings.audience.clone(),
        claim: settings.claim.clone(),
        groups_claim: (!settings.groups.is_empty()).then(|| settings.groups_claim.clone()),
    };
    let checker = Checker::new(expected, keys);
    let verify = move |token: &str, now| {
        let undoubt_oidc::Holder { name, groups, until } =
            checker.check(token, now).map_err(|refused| refused.to_string())?;
        Ok(Holder { name: name.into(), groups, until })
    };
    Ok((Provider::new(Arc::new(SystemClock), &settings.groups, Box::new(verify)), counts))
}

#[cfg(not(feature = "oidc"))]
fn provider_of(_settings: &OidcConfig, _keys: &str) -> anyhow::Result<(Provider, Counts)> {
    Err(anyhow!(
        "this program was built without tokens of identity providers; build it with them (cargo build --features oidc), or take \
         access.oidc out of the settings"
    ))
}
