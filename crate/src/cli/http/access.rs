//! The access token of a hub: where it goes, and what to do when it is missing or refused.

use std::path::Path;

use easel::error::{Error, Result};

use super::address::{is_private, origin};

/// Variable of the environment that has the token where no file is named.
const VARIABLE: &str = "HF_TOKEN";

/// Most bytes of a token's file.
const LONGEST: usize = 4096;

const HOW: &str = "give an access token by HF_TOKEN or --token-file";

/// What may be shown to a hub, and to nobody else.
pub(in crate::cli) struct Access {
    /// Of the hub.
    origin: String,
    token: Option<String>,
}

impl Access {
    /// For the hub at an address, with the token in a file or else in the environment: never in an argument, which every
    /// user of the machine can read.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a file or variable that holds no token.
    pub(in crate::cli) fn new(hub: &str, file: Option<&Path>) -> Result<Self> {
        let token = match file {
            Some(file) => Some(read(file)?),
            None => std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty()),
        };
        let token = token.map(|text| text.trim().to_owned());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(refused("holds more than a token: one line without blanks"));
        }
        Ok(Self { origin: origin(hub).unwrap_or_default().to_owned(), token })
    }

    /// The header `Authorization` of a request: only the hub itself gets one, and only where nobody can read it on the way.
    pub(super) fn authorization(&self, url: &str) -> Option<String> {
        let token = self.token.as_ref().filter(|_| self.is_hub(url) && is_private(&self.origin))?;
        Some(format!("Bearer {token}"))
    }

    /// Whether an address is the hub's.
    pub(super) fn is_hub(&self, url: &str) -> bool {
        origin(url) == Some(self.origin.as_str())
    }

    /// The error of a request for `path` at `url` that was answered with `status`, for the `reason` that a hub may give.
    pub(super) fn refusal(&self, url: &str, path: &str, status: u16, reason: Option<&str>) -> Error {
        let (code, reason) = match (self.is_hub(url), status, reason) {
            (false, 404, _) => ("model_not_found", "there is no such model: check the address".to_owned()),
            (false, ..) => {
                let why = "the model may be private, or its address misspelt";
                ("forbidden", format!("the server refused {path} ({status}): {why}"))
            }
            (true, _, Some("RevisionNotFound")) => {
                ("model_not_found", "the model has no such revision: check the address".to_owned())
            }
            (true, 403, _) | (true, _, Some("GatedRepo")) => {
                let then = if self.token.is_some() { "run the command again" } else { HOW };
                let page = format!("{}/{}", self.origin, model(url));
                let first = format!("sign in at {page} and accept its terms");
                ("forbidden", format!("the model is for those who accept its terms: {first}, then {then}"))
            }
            (true, 401, _) if self.token.is_some() => {
                let advice = "check that it is whole, still valid, and may read this model";
                ("forbidden", format!("the hub did not take the access token: {advice}"))
            }
            (true, ..) => {
                let advice = format!("check the spelling; for a private or gated model {HOW}");
                ("model_not_found", format!("the hub shows no model {}: {advice}", model(url)))
            }
        };
        Error::Source { code: code.to_owned(), reason }
    }
}

/// `owner/name` of an address on a hub.
fn model(url: &str) -> String {
    let path = origin(url).and_then(|origin| url.strip_prefix(origin)).unwrap_or_default();
    path.split('/').filter(|part| !part.is_empty()).take(2).collect::<Vec<_>>().join("/")
}

fn read(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| refused(&error.to_string()))?;
    if text.trim().is_empty() || text.len() > LONGEST {
        return Err(refused("holds no token"));
    }
    Ok(text)
}

fn refused(reason: &str) -> Error {
    Error::Parameter { name: "token-file".to_owned(), reason: reason.to_owned() }
}
