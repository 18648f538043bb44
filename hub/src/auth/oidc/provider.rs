//! One provider: its description, the way to it, and what its signed word says.

use std::collections::BTreeMap;
use std::time::Duration;

use machine_config::types::Secret;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse, TokenResponse as _,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::Person;
use super::error::{OidcError, causes};
use super::fetch::Fetch;
use super::options::{Options, OptionsError};
use super::roles::GroupRole;
use crate::model::Time;
use crate::model::text::bounded;

/// The description of the provider, its keys included, is read again after so long.
const FRESH: Duration = Duration::from_secs(3600);
/// And after so long when a token did not hold: its keys may have changed.
const STALE: Duration = Duration::from_secs(60);
/// Where the provider sends browsers back to, on this hub.
const CALLBACK: &str = "/sign-in/oidc/callback";
/// Groups of one person at most.
const MAX_GROUPS: usize = 256;

/// Claims beyond the standard's.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    #[serde(flatten)]
    all: BTreeMap<String, Value>,
}

impl AdditionalClaims for Claims {}

type Fields =
    IdTokenFields<Claims, EmptyExtraTokenFields, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Tokens = StandardTokenResponse<Fields, CoreTokenType>;
type Ready = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider.
pub struct Provider {
    issuer: IssuerUrl,
    client: ClientId,
    secret: Option<Secret>,
    redirect: RedirectUrl,
    roles: Vec<GroupRole>,
    scopes: Vec<String>,
    groups_claim: String,
    fetch: Fetch,
    known: Mutex<Option<(CoreProviderMetadata, Time)>>,
}

/// Where to send a browser, and what to keep until it comes back.
pub(super) struct Outgoing {
    pub(super) url: String,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

impl Provider {
    /// The provider these options name, if they do; `url` is how people reach this hub. Nothing is asked of it yet.
    ///
    /// # Errors
    /// A file or an address is wrong.
    pub fn new(options: &Options, url: &str) -> Result<Option<Self>, OptionsError> {
        let (Some(issuer), Some(client)) = (&options.issuer, &options.client_id) else { return Ok(None) };
        let address = |text: &str, error: &dyn std::error::Error| OptionsError::Address {
            text: text.to_owned(),
            reason: error.to_string(),
        };
        let redirect = format!("{}{CALLBACK}", url.trim_end_matches('/'));
        Ok(Some(Self {
            issuer: IssuerUrl::new(issuer.clone()).map_err(|error| address(issuer, &error))?,
            client: ClientId::new(client.clone()),
            secret: options.secret()?,
            redirect: RedirectUrl::new(redirect.clone()).map_err(|error| address(&redirect, &error))?,
            roles: options.roles.clone(),
            scopes: options.scopes.clone(),
            groups_claim: options.groups_claim.clone(),
            fetch: Fetch::new(options.ca.as_ref())?,
            known: Mutex::new(None),
        }))
    }

    /// Which groups have which role.
    pub fn roles(&self) -> &[GroupRole] {
        &self.roles
    }

    /// Begins a sign-in.
    pub(super) async fn begin(&self, now: Time) -> Result<Outgoing, OidcError> {
        let client = self.client(FRESH, now).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random);
        let scopes = self.scopes.iter().map(|scope| Scope::new(scope.clone()));
        let (url, state, nonce) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
        let (state, nonce) = (state.into_secret(), nonce.secret().clone());
        Ok(Outgoing { url: url.to_string(), state, nonce, verifier: verifier.into_secret() })
    }

    /// Exchanges the code that the browser brought, and reads the token.
    pub(super) async fn finish(&self, code: Secret, verifier: String, nonce: String, now: Time) -> Result<Person, OidcError> {
        let client = self.client(FRESH, now).await?;
        let no_token = |reason: String| OidcError::Exchange { reason };
        let request =
            client.exchange_code(AuthorizationCode::new(code.expose().to_owned())).map_err(|error| no_token(causes(&error)))?;
        let send = self.fetch.asking();
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier));
        let tokens = request.request_async(&send).await.map_err(|error| no_token(causes(&error)))?;
        let nonce = Nonce::new(nonce);
        match self.read(&client, &tokens, &nonce) {
            Ok(person) => Ok(person),
            Err(_) => self.read(&self.client(STALE, now).await?, &tokens, &nonce),
        }
    }

    fn read(&self, client: &Ready, tokens: &Tokens, nonce: &Nonce) -> Result<Person, OidcError> {
        let wrong = |reason: String| OidcError::Token { reason };
        let token = tokens.id_token().ok_or_else(|| wrong("there is none".into()))?;
        let verifier = client.id_token_verifier();
        let claims = token.claims(&verifier, nonce).map_err(|error| wrong(causes(&error)))?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|error| wrong(causes(&error)))?;
            let key = token.signing_key(&verifier).map_err(|error| wrong(causes(&error)))?;
            let found =
                AccessTokenHash::from_token(tokens.access_token(), algorithm, key).map_err(|error| wrong(causes(&error)))?;
            if found != *expected {
                return Err(wrong("it is of another access token".into()));
            }
        }
        person(claims, &self.groups_claim).ok_or_else(|| wrong("its subject is no name".into()))
    }

    /// A client with the provider's description, not older than `age`.
    async fn client(&self, age: Duration, now: Time) -> Result<Ready, OidcError> {
        let mut known = self.known.lock().await;
        let metadata = match &*known {
            Some((metadata, read_at)) if now.since(*read_at) < age => metadata.clone(),
            Some(_) | None => {
                let send = self.fetch.asking();
                let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &send).await;
                let found = found.map_err(|error| OidcError::Discovery { reason: causes(&error) })?;
                known.insert((found, now)).0.clone()
            }
        };
        let secret = self.secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let client = Client::from_provider_metadata(metadata, self.client.clone(), secret);
        Ok(client.set_redirect_uri(self.redirect.clone()))
    }
}

/// What a token that holds says; none: its subject cannot be anybody's name.
fn person(claims: &IdTokenClaims<Claims, CoreGenderClaim>, groups_claim: &str) -> Option<Person> {
    let subject = claims.subject().as_str();
    // OpenID Connect Core 1.0, section 2: at most 255 ASCII characters.
    if subject.is_empty() || subject.len() > 255 || !subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    let name = claims.name().and_then(|name| name.get(None)).map(|name| name.as_str());
    let name = name
        .or_else(|| claims.preferred_username().map(|name| name.as_str()))
        .or_else(|| claims.email().map(|email| email.as_str()));
    let groups = groups(claims.additional_claims().all.get(groups_claim));
    Some(Person { subject: subject.to_owned(), display_name: bounded(name.unwrap_or(subject), 128), groups })
}

/// A list of groups, or one as a text.
fn groups(claim: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().filter(|text| text.len() <= 128).map(str::to_owned);
    match claim {
        Some(Value::Array(values)) => values.iter().filter_map(text).take(MAX_GROUPS).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => vec![],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_are_read_in_the_forms_providers_write() {
        assert_eq!(groups(Some(&json!(["a", 1, "b", "x".repeat(200)]))), ["a", "b"]);
        assert_eq!(groups(Some(&json!("a"))), ["a"]);
        assert_eq!(groups(Some(&json!(vec!["a"; 1000]))).len(), MAX_GROUPS);
        assert!(groups(Some(&json!({"a": 1}))).is_empty() && groups(None).is_empty());
    }
}
