//! What the answers of hosts mean.

use std::fmt::Display;
use std::io::{Read, copy, sink};
use std::time::Duration;

use easel::error::Error;
use serde::{Deserialize, Serialize};

use super::access::Access;

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remote {
    pub(super) size: u64,
    pub(super) sha256: Option<String>,
    /// `ETag` or `Last-Modified`.
    pub(super) validator: Option<String>,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may succeed later.
    Passing {
        reason: String,
        wanted: Option<Duration>,
    },
    Final(Error),
}

impl Failure {
    pub(super) fn into_error(self, path: &str) -> Error {
        match self {
            Self::Final(error) => error,
            Self::Passing { reason, .. } => {
                let reason = format!("{path} could not be fetched: {reason}; run the command again to go on");
                Error::Source { code: "network".to_owned(), reason }
            }
        }
    }
}

/// A failure that may pass.
pub(super) fn passing(reason: &dyn Display) -> Failure {
    Failure::Passing { reason: reason.to_string(), wanted: None }
}

fn refused(code: &str, reason: String) -> Failure {
    Failure::Final(Error::Source { code: code.to_owned(), reason })
}

/// An answer, with the SHA-256 that it or a redirect before it told.
pub(super) struct Answer {
    response: ureq::http::Response<ureq::Body>,
    pub(super) sha256: Option<String>,
}

impl Answer {
    pub(super) fn new(response: ureq::http::Response<ureq::Body>, told: Option<String>) -> Self {
        let is_sha256 = |tag: &&str| tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut answer = Self { response, sha256: told };
        let tag = answer.header("x-linked-etag").map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
        if let Some(tag) = tag.filter(is_sha256).map(str::to_lowercase) {
            answer.sha256 = Some(tag);
        }
        answer
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub(super) fn commit(&self) -> Option<&str> {
        self.header("x-repo-commit")
    }

    pub(super) fn redirect(&self) -> Option<&str> {
        let is_redirect = matches!(self.response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        self.header("location").filter(|_| is_redirect)
    }

    /// No range of an empty file can be satisfied.
    fn is_empty(&self) -> bool {
        self.header("content-range") == Some("bytes */0")
    }

    /// The answer of `url` when it has bytes; `None` when the file is not there. A host that `may_lack` the file says so with
    /// 403 as well, as storage does that lists nothing, or with a page of its own.
    pub(super) fn checked(
        self,
        path: &str,
        url: &str,
        access: &Access,
        may_lack: bool,
    ) -> Result<Option<Self>, Failure> {
        let status = self.response.status().as_u16();
        let is_page = self.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        match status {
            200 | 206 if is_page && may_lack => Ok(None),
            403 if may_lack => Ok(None),
            200 | 206 if is_page => {
                let reason =
                    format!("the server answered with a web page instead of {path}: check the address");
                Err(refused("not_a_model_file", reason))
            }
            200 | 206 => Ok(Some(self)),
            416 if self.is_empty() => Ok(Some(self)),
            404 | 410 => match self.header("x-error-code") {
                reason @ Some("RepoNotFound" | "RevisionNotFound") => {
                    Err(Failure::Final(access.refusal(url, path, status, reason)))
                }
                _ => Ok(None),
            },
            401 | 403 => {
                let reason = self.header("x-error-code");
                Err(Failure::Final(access.refusal(url, path, status, reason)))
            }
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                let wanted = self.header("retry-after").and_then(|text| text.trim().parse().ok());
                let reason = format!("the server said {status}");
                Err(Failure::Passing { reason, wanted: wanted.map(Duration::from_secs) })
            }
            416 => Err(changed(path, "it is shorter than it was")),
            _ => Err(refused("http", format!("{path} could not be fetched: the server said {status}"))),
        }
    }

    /// Start, end and size of the whole file.
    fn part(&self) -> Option<(u64, u64, u64)> {
        let text = self.header("content-range")?.strip_prefix("bytes ")?;
        let (range, total) = text.split_once('/')?;
        let (start, last) = range.split_once('-')?;
        Some((start.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?, total.parse().ok()?))
    }

    fn is_part(&self) -> bool {
        self.response.status().as_u16() == 206
    }

    fn size(&self) -> Option<u64> {
        if self.is_empty() {
            Some(0)
        } else if self.is_part() {
            self.part().map(|(_, _, total)| total)
        } else {
            self.header("content-length")?.parse().ok()
        }
    }

    fn validator(&self) -> Option<String> {
        self.header("etag").or_else(|| self.header("last-modified")).map(str::to_owned)
    }

    /// What it says of the file.
    pub(super) fn remote(&self, path: &str) -> Result<Remote, Failure> {
        let unsaid = || refused("http", format!("the server does not say how large {path} is"));
        let size = self.size().ok_or_else(unsaid)?;
        Ok(Remote { size, sha256: self.sha256.clone(), validator: self.validator() })
    }

    /// The bytes from `start` on.
    pub(super) fn from(self, path: &str, file: &Remote, start: u64) -> Result<Box<dyn Read>, Failure> {
        if let (Some(now), Some(then)) = (self.validator(), &file.validator)
            && now != *then
        {
            return Err(changed(path, "it is not what it was when the import began"));
        }
        if self.size().is_some_and(|size| size != file.size) {
            return Err(changed(path, "it has another size than when the import began"));
        }
        let pass = match (self.is_part(), self.part()) {
            (true, Some((first, ..))) if first == start => 0,
            (true, _) => return Err(passing(&"the server sent another part than was asked for")),
            // A server that ignores ranges is read from its first byte.
            (false, _) => start,
        };
        let mut reader = self.response.into_body().into_reader();
        let passed = copy(&mut Read::by_ref(&mut reader).take(pass), &mut sink());
        passed.map_err(|error| passing(&error))?;
        Ok(Box::new(reader))
    }
}

fn changed(path: &str, how: &str) -> Failure {
    refused("changed_file", format!("{path} has changed on the server: {how}; delete the unfinished folder"))
}
