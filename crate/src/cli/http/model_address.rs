//! How people name models, and where those names lead.

use easel::error::{Error, Result};
use easel::weights::single_file::is_pickle;

use super::address::origin;

/// Address of a model's folder, with a slash at its end, or of a file. `source` is `owner/name` of the hub, the address of
/// a page of the hub about a model or a file, or an address of a folder, of a `model_index.json` in it or of a file.
///
/// # Errors
/// [`Error::Parameter`] for what is none of these.
pub(in crate::cli) fn model_address(source: &str, hub: &str) -> Result<String> {
    let refused = |name: &str, reason: String| Error::Parameter { name: name.to_owned(), reason };
    if !is_address(hub) {
        return Err(refused("hub", format!("must be an address (https), not {hub:?}")));
    }
    let hub = hub.trim_end_matches('/');
    let on_hub = source.strip_prefix(hub).and_then(|rest| rest.strip_prefix('/'));
    let path = on_hub.or_else(|| (!source.contains("://")).then_some(source));
    let address = match path.and_then(|path| of_repository(path, hub)) {
        Some(address) => address,
        None if is_address(source) && origin(source).is_some() => source.to_owned(),
        None => {
            let reason = format!("is no folder, file, `owner/name` or address (https): {source:?}");
            return Err(refused("source", reason));
        }
    };
    let address = address.trim_end_matches("model_index.json");
    let is_file = address.ends_with(".safetensors") || is_pickle(address);
    let is_whole = is_file || address.ends_with('/') || address.contains('?');
    Ok(if is_whole { address.to_owned() } else { format!("{address}/") })
}

/// Where the files are of `owner/name`, `owner/name/tree/REVISION/FOLDER` or `owner/name/blob/REVISION/FILE`.
fn of_repository(path: &str, hub: &str) -> Option<String> {
    // Links to a file that is to be downloaded say so in their query.
    let path = path.split(['?', '#']).next()?;
    let mut parts = path.trim_end_matches('/').splitn(5, '/');
    let (owner, name) = (parts.next()?, parts.next()?);
    let is_page = parts.next().is_none_or(|kind| ["tree", "blob", "resolve"].contains(&kind));
    if !is_page || !is_name(owner) || !is_name(name) {
        return None;
    }
    let revision = parts.next().unwrap_or("main");
    let inside = parts.next().unwrap_or_default();
    Some(format!("{hub}/{owner}/{name}/resolve/{revision}/{inside}"))
}

fn is_name(text: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(is_known)
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_folders_and_files() {
        let hub = "https://hub.example/";
        for (source, expected) in [
            ("o/n", "https://hub.example/o/n/resolve/main/"),
            ("https://hub.example/o/n", "https://hub.example/o/n/resolve/main/"),
            ("https://hub.example/o/n/tree/main", "https://hub.example/o/n/resolve/main/"),
            ("https://hub.example/o/n/tree/fp16/sub/", "https://hub.example/o/n/resolve/fp16/sub/"),
            (
                "https://hub.example/o/n/blob/main/x.safetensors?download=true",
                "https://hub.example/o/n/resolve/main/x.safetensors",
            ),
            ("o/n/blob/main/a/x.safetensors", "https://hub.example/o/n/resolve/main/a/x.safetensors"),
            ("o/n/resolve/v1/model_index.json", "https://hub.example/o/n/resolve/v1/"),
            ("https://a.example/models/x", "https://a.example/models/x/"),
            ("https://a.example/x/model_index.json", "https://a.example/x/"),
            ("https://a.example/x.safetensors", "https://a.example/x.safetensors"),
            ("https://a.example/x.ckpt", "https://a.example/x.ckpt"),
            ("https://a.example/x?y", "https://a.example/x?y"),
        ] {
            assert_eq!(model_address(source, hub).unwrap(), expected, "{source}");
        }
        for source in ["nothing", "a b", "../n", "o/n/issues/4", "x.ckpt", "C:/x/y/z", ""] {
            assert_eq!(model_address(source, hub).unwrap_err().code(), "bad_parameter", "{source}");
        }
        assert!(model_address("o/n", "hub").is_err());
    }
}
