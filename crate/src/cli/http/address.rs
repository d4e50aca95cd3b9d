//! Addresses of files on hosts.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but slashes and what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A path as addresses spell it.
pub(super) fn encoded(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// The name that an address spells; as it stands where that is no text.
pub(super) fn decoded(name: &str) -> String {
    percent_decode_str(name).decode_utf8().map_or_else(|_| name.to_owned(), Cow::into_owned)
}

/// Where a redirect of `url` to `to` leads.
pub(super) fn joined(url: &str, to: &str) -> String {
    let is_scheme =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if to.split_once("://").is_some_and(|(before, _)| is_scheme(before)) {
        return to.to_owned();
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    if let Some(host) = to.strip_prefix("//") {
        return format!("{scheme}://{host}");
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match to.strip_prefix('/') {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!(
            "{scheme}://{host}/{}{to}",
            path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"))
        ),
    }
}

/// Scheme and host of an address, with its port where it names one.
pub(super) fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url.get(host..)?.find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    url.get(..end)
}

/// Whether nobody on the way can read what is sent to an origin.
pub(super) fn is_private(origin: &str) -> bool {
    let own = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let is_own =
        |own: &str| origin.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    origin.starts_with("https://") || own.into_iter().any(is_own)
}

/// The folder of a hub at a commit; `None` for what is no folder of a hub, or of a commit already.
pub(super) fn pinned(base: &str, commit: Option<&str>) -> Option<String> {
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let commit = commit.filter(|commit| is_commit(commit))?;
    let (before, rest) = base.split_once("/resolve/")?;
    let (revision, folder) = rest.split_once('/')?;
    (!is_commit(revision)).then(|| format!("{before}/resolve/{commit}/{folder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects() {
        let url = "https://a.example/x/resolve/main/y.bin";
        for (to, expected) in [
            ("https://b.example/z?q", "https://b.example/z?q"),
            ("//b.example/z", "https://b.example/z"),
            ("/z", "https://a.example/z"),
            ("z", "https://a.example/x/resolve/main/z"),
            ("/get?of=https://b.example/z", "https://a.example/get?of=https://b.example/z"),
        ] {
            assert_eq!(joined(url, to), expected);
        }
        assert_eq!(joined("https://a.example", "z"), "https://a.example/z");
    }

    #[test]
    fn origins() {
        for (url, expected) in [
            ("https://a.example/x?y", Some("https://a.example")),
            ("https://a.example:8443?y/z", Some("https://a.example:8443")),
            ("https://a.example@b.example/x", Some("https://a.example@b.example")),
            ("https://a.example", Some("https://a.example")),
            ("a.example/x", None),
        ] {
            assert_eq!(origin(url), expected);
        }
        for (origin, expected) in [
            ("https://a.example", true),
            ("http://a.example", false),
            ("http://127.0.0.1:80", true),
            ("http://127.0.0.1.a.example", false),
            ("http://localhost", true),
        ] {
            assert_eq!(is_private(origin), expected, "{origin}");
        }
    }

    #[test]
    fn commits() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let base = "https://a.example/o/n/resolve/main/sub/";
        let pinned_base = format!("https://a.example/o/n/resolve/{commit}/sub/");
        assert_eq!(pinned(base, Some(commit)), Some(pinned_base.clone()));
        assert_eq!(pinned(&pinned_base, Some(commit)), None);
        assert_eq!(pinned(base, Some("main")), None);
        assert_eq!(pinned("https://a.example/models/", Some(commit)), None);
        assert_eq!(encoded("a b/ü.json"), "a%20b/%C3%BC.json");
        for name in ["My model (1).safetensors", "ü%.safetensors", "100%25"] {
            assert_eq!(decoded(&encoded(name)), name);
        }
        for name in ["a%", "a%2", "a%zz", "%ff"] {
            assert_eq!(decoded(name), name);
        }
    }
}
