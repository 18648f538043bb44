//! How the hub is told of an identity provider, on its command line.

use std::path::PathBuf;

use clap::Args;
use machine_config::types::Secret;

use super::roles::GroupRole;

/// The identity provider with which people sign in.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// The identity provider (OpenID Connect) with which people sign in; needs --url
    #[arg(long = "oidc-issuer", value_name = "URL", requires_all = ["client_id", "url"])]
    pub issuer: Option<String>,
    /// What the provider calls this hub
    #[arg(long = "oidc-client-id", value_name = "ID", requires = "issuer")]
    pub client_id: Option<String>,
    /// A file with the secret that the provider knows this hub by; without it, PKCE alone proves the hub
    #[arg(long = "oidc-client-secret-file", value_name = "FILE", requires = "issuer")]
    pub client_secret_file: Option<PathBuf>,
    /// Members of GROUP have ROLE (admin, operator, reader, installer); may be given several times
    #[arg(long = "oidc-role", value_name = "ROLE=GROUP", requires = "issuer")]
    pub roles: Vec<GroupRole>,
    /// The claim in which the provider lists a person's groups
    #[arg(long = "oidc-groups-claim", value_name = "NAME", default_value = "groups", requires = "issuer")]
    pub groups_claim: String,
    /// What to ask the provider for beside `openid`; may be given several times
    #[arg(long = "oidc-scope", value_name = "SCOPE", default_values = ["profile", "email", "groups"], requires = "issuer")]
    pub scopes: Vec<String>,
    /// Authorities for the provider's certificate, PEM; without it, those of this host
    #[arg(long = "oidc-ca", value_name = "FILE", requires = "issuer")]
    pub ca: Option<PathBuf>,
}

/// Why the options make no provider.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An address that is none.
    #[error("cannot use `{text}` as an address of the identity provider or of this hub: {reason}")]
    Address {
        /// As given.
        text: String,
        /// Why.
        reason: String,
    },
    /// No authority.
    #[error("cannot check the identity provider's certificate: {} holds no certificate; name one with --oidc-ca", path.display())]
    NoAuthority {
        /// Which file.
        path: PathBuf,
    },
}

impl Options {
    /// The secret in its file, without line breaks.
    pub(super) fn secret(&self) -> Result<Option<Secret>, OptionsError> {
        let Some(path) = &self.client_secret_file else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|source| OptionsError::Read { path: path.clone(), source })?;
        Ok(Some(Secret::from(text.trim().to_owned())))
    }
}
