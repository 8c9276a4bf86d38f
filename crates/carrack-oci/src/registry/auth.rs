//! Answers to challenges, and tokens while they are good.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::challenge::Challenge;
use crate::transport::{Body, Method, Request, Transport, TransportError};

/// Tokens without a word about it are good for this long (the specification's default).
const TOKEN_LIFE: u64 = 60;
const TOKEN_LIMIT: u64 = 1024 * 1024;

/// Who we are at a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and its password, or what a registry wants in its place.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that only buys other tokens (docker's `identitytoken`).
    IdentityToken(String),
}

/// Asks for the credentials of a registry's host, as written in image names. May be called from any thread.
pub type AskCredentials = dyn Fn(&str) -> Option<Credentials> + Send + Sync;

/// What one registry knows about us, and we about it.
pub(super) struct Authenticator {
    host: String,
    is_secure: bool,
    ask: Arc<AskCredentials>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// By scope.
    tokens: HashMap<String, Token>,
}

struct Token {
    value: String,
    until: Instant,
}

/// Why there is no answer to a challenge.
#[derive(Debug)]
pub(super) enum AuthError {
    Refused { had_credentials: bool },
    Transport(TransportError),
    Malformed(String),
}

/// What a token server answers.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authenticator {
    pub(super) fn new(host: &str, is_secure: bool, ask: Arc<AskCredentials>) -> Self {
        Self { host: host.to_owned(), is_secure, ask, state: Mutex::default() }
    }

    /// The header for a request within `scope`, as far as the registry's wishes are known. `None`: send it without.
    pub(super) fn header(&self, transport: &Transport, scope: &str) -> Result<Option<String>, AuthError> {
        let challenge = {
            let state = self.state();
            if let Some(token) = state.tokens.get(scope).filter(|token| token.until > Instant::now()) {
                return Ok(Some(format!("Bearer {}", token.value)));
            }
            state.challenge.clone()
        };
        match challenge {
            None => Ok(None),
            Some(challenge) => self.answer(transport, scope, challenge).map(Some),
        }
    }

    /// The header after the registry refused `sent` and said what it wants.
    pub(super) fn challenged<'h>(
        &self,
        transport: &Transport,
        scope: &str,
        sent: Option<&str>,
        wishes: impl Iterator<Item = &'h str>,
    ) -> Result<String, AuthError> {
        let refused = |had_credentials| AuthError::Refused { had_credentials };
        let challenges: Vec<Challenge> = wishes.filter_map(Challenge::read).collect();
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let challenge = bearer.or(challenges.first()).ok_or(refused(sent.is_some()))?.clone();
        self.state().tokens.remove(scope);
        let header = self.answer(transport, scope, challenge.clone())?;
        if sent == Some(header.as_str()) {
            return Err(refused(true));
        }
        self.state().challenge = Some(challenge);
        Ok(header)
    }

    fn answer(&self, transport: &Transport, scope: &str, challenge: Challenge) -> Result<String, AuthError> {
        let credentials = (self.ask)(&self.host);
        match challenge {
            Challenge::Basic => match credentials {
                Some(Credentials::Password { user, password }) => Ok(basic(&user, &password)),
                other => Err(AuthError::Refused { had_credentials: other.is_some() }),
            },
            Challenge::Bearer { realm, service, scope: wanted } => {
                let token = self.token(transport, &realm, service, scope, wanted, credentials)?;
                let header = format!("Bearer {}", token.value);
                self.state().tokens.insert(scope.to_owned(), token);
                Ok(header)
            }
        }
    }

    fn token(
        &self,
        transport: &Transport,
        realm: &str,
        service: Option<String>,
        scope: &str,
        wanted: Option<String>,
        credentials: Option<Credentials>,
    ) -> Result<Token, AuthError> {
        if self.is_secure && !realm.starts_with("https://") {
            return Err(AuthError::Malformed(format!("its token server {realm} is not secure")));
        }
        let had_credentials = credentials.is_some();
        // What the registry asks for beyond our own scope, say another repository to mount from.
        let wanted = wanted.filter(|wanted| !covers(scope, wanted));
        let mut parameters = Vec::new();
        parameters.extend(service.as_deref().map(|service| ("service", service)));
        parameters.push(("scope", scope));
        parameters.extend(wanted.as_deref().map(|wanted| ("scope", wanted)));
        let form;
        let request = match &credentials {
            Some(Credentials::IdentityToken(token)) => {
                parameters.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "carrack"),
                    ("refresh_token", token),
                ]);
                form = query(&parameters);
                Request::new(Method::Post, realm)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(Body::Bytes(form.as_bytes()))
            }
            other => {
                let separator = if realm.contains('?') { '&' } else { '?' };
                let request = Request::new(Method::Get, format!("{realm}{separator}{}", query(&parameters)));
                match other {
                    Some(Credentials::Password { user, password }) => {
                        request.header("authorization", basic(user, password))
                    }
                    _ => request,
                }
            }
        };
        let send = || transport.send(&request).map_err(AuthError::Transport);
        let (response, body) = transport.document(TOKEN_LIMIT, send, AuthError::Transport)?;
        match response.status() {
            200 => {}
            400 | 401 | 403 | 404 => return Err(AuthError::Refused { had_credentials }),
            status => return Err(AuthError::Malformed(format!("its token server answered {status}"))),
        }
        let malformed = |what: &str| AuthError::Malformed(format!("its token server gave {what}"));
        let body = body.ok_or_else(|| malformed("too long an answer"))?;
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| malformed("no JSON"))?;
        let value = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let value = value.ok_or_else(|| malformed("no token"))?;
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("a token that cannot be sent"));
        }
        // A little less than promised: the request that it is for takes time, too.
        let life = answer.expires_in.unwrap_or(TOKEN_LIFE).clamp(10, 24 * 3600);
        Ok(Token { value, until: Instant::now() + Duration::from_secs(life * 9 / 10) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether our scope has all actions that the registry wants on the same repository.
fn covers(scope: &str, wanted: &str) -> bool {
    match (scope.rsplit_once(':'), wanted.rsplit_once(':')) {
        (Some((ours, actions)), Some((theirs, wanted))) => {
            ours == theirs
                && wanted.split(',').all(|wanted| actions.split(',').any(|action| action == wanted))
        }
        _ => false,
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn query(parameters: &[(&str, &str)]) -> String {
    let parameters = parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value)));
    parameters.collect::<Vec<_>>().join("&")
}

/// For a query or a form.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(formatter, "Password({user}, …)"),
            Self::IdentityToken(_) => formatter.write_str("IdentityToken(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_cover_what_they_name() {
        for (scope, wanted, covered) in [
            ("repository:a/b:pull,push", "repository:a/b:pull", true),
            ("repository:a/b:pull,push", "repository:a/b:push,pull", true),
            ("repository:a/b:pull", "repository:a/b:pull,push", false),
            ("repository:a/b:pull", "repository:c:pull", false),
            ("repository:a/b:pull", "repository:a/b:pull repository:c:pull", false),
        ] {
            assert_eq!(covers(scope, wanted), covered, "{scope} {wanted}");
        }
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let credentials = Credentials::Password { user: "mara".to_owned(), password: "hunter2".to_owned() };
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert!(!format!("{:?}", Credentials::IdentityToken("hunter2".to_owned())).contains("hunter2"));
    }
}
