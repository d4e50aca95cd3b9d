//! Where the files of a model come from: a folder, memory, or (in the page) the network and its cache.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::pin::Pin;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A boxed future that stays on its thread: in a browser nothing is `Send`.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Most bytes that a configuration file may have.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Most bytes that a vocabulary, a merge list, a `tokenizer.json` or a shard index may have.
pub const MAX_VOCABULARY_BYTES: u64 = 64 << 20;

/// Read access to the files of one model.
///
/// Paths are relative to the model's root, with `/` between the parts, and have passed [`check_path`];
/// implementations call it first.
pub trait Source {
    /// Size of a file in bytes, `None` when there is no such file.
    ///
    /// # Errors
    /// [`Error::Io`] when that cannot be told.
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>>;

    /// Exactly the bytes `range` of a file.
    ///
    /// # Errors
    /// [`Error::FileNotFound`], or [`Error::Io`] when the range is not wholly inside the file.
    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>>;
}

/// Refuses a path that is absolute, leaves the model's root, or is written for one system only.
///
/// # Errors
/// [`Error::Io`] that names the path.
pub fn check_path(path: &str) -> Result<()> {
    let odd = |c: char| c == '\\' || c == ':' || c.is_control();
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.contains(odd) || path.split('/').any(bad_part) {
        return Err(io(path, &"a path inside a model is relative, with `/` between its parts and no `..`"));
    }
    Ok(())
}

/// A whole file of at most `limit` bytes, `None` when it is absent.
///
/// # Errors
/// Those of the source, and [`Error::Config`] for a file over the limit.
pub async fn read_bytes(source: &dyn Source, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(size) = source.size(path).await? else {
        return Ok(None);
    };
    if size > limit {
        return Err(document(
            path,
            format!("has {size} bytes, more than the {limit} that such a file may have"),
        ));
    }
    source.read(path, 0..size).await.map(Some)
}

/// A whole UTF-8 file of at most `limit` bytes, `None` when it is absent.
///
/// # Errors
/// Those of [`read_bytes`], and [`Error::Config`] when it is not UTF-8.
pub async fn read_to_string(source: &dyn Source, path: &str, limit: u64) -> Result<Option<String>> {
    let Some(bytes) = read_bytes(source, path, limit).await? else {
        return Ok(None);
    };
    let text =
        String::from_utf8(bytes).map_err(|error| document(path, format!("is not UTF-8 text: {error}")))?;
    Ok(Some(text))
}

/// A configuration file of at most [`MAX_CONFIG_BYTES`].
///
/// # Errors
/// [`Error::FileNotFound`]; [`Error::Config`] with the field when the JSON does not fit `T`.
pub async fn read_json<T: DeserializeOwned>(source: &dyn Source, path: &str) -> Result<T> {
    let text = read_to_string(source, path, MAX_CONFIG_BYTES).await?;
    let text = text.ok_or_else(|| Error::FileNotFound { file: path.to_owned() })?;
    parse_json(path, &text)
}

/// Parses the JSON text of `file` into `T`.
///
/// # Errors
/// [`Error::Config`] with the field that does not fit, or `(document)`.
pub fn parse_json<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let field = if error.is_data() { field_of(&error, text) } else { None };
        let Some(field) = field else {
            return document(file, format!("is not the JSON expected: {error}"));
        };
        Error::Config { file: file.to_owned(), field, reason: format!("is not what it must be: {error}") }
    })
}

/// The field a serde error is about: named in its message, else the last key before its position.
fn field_of(error: &serde_json::Error, text: &str) -> Option<String> {
    let message = error.to_string();
    for start in ["missing field `", "duplicate field `", "unknown field `"] {
        if let Some(rest) = message.strip_prefix(start) {
            return rest.split('`').next().map(str::to_owned);
        }
    }
    let mut before: Vec<&str> = text.lines().take(error.line()).collect();
    let last = before.pop()?;
    before.push(last.get(..error.column()).unwrap_or(last));
    let before = before.join("\n");
    let key = before.rsplit_once("\":").or_else(|| before.rsplit_once("\" :"))?.0;
    key.rsplit_once('"').map(|(_, key)| key.to_owned())
}

fn document(file: &str, reason: String) -> Error {
    Error::Config { file: file.to_owned(), field: "(document)".to_owned(), reason }
}

fn io(file: &str, reason: &dyn Display) -> Error {
    Error::Io { file: file.to_owned(), reason: reason.to_string() }
}

/// Files held in memory, by path.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    files: BTreeMap<String, Vec<u8>>,
}

impl MemorySource {
    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), bytes.into());
    }

    /// The bytes of a file, which begins empty.
    pub fn file_mut(&mut self, path: &str) -> &mut Vec<u8> {
        self.files.entry(path.to_owned()).or_default()
    }
}

impl Source for MemorySource {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            check_path(path)?;
            Ok(self.files.get(path).map(|bytes| bytes.len() as u64))
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            check_path(path)?;
            let bytes = self.files.get(path).ok_or_else(|| Error::FileNotFound { file: path.to_owned() })?;
            let inside = || bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?);
            inside().map(<[u8]>::to_vec).ok_or_else(|| io(path, &"it ends before the bytes asked for"))
        })
    }
}

#[cfg(not(target_family = "wasm"))]
pub use folder::FolderSource;

#[cfg(not(target_family = "wasm"))]
mod folder {
    use std::fs::File;
    use std::io::{ErrorKind, Read, Seek, SeekFrom};
    use std::ops::Range;
    use std::path::{Path, PathBuf};

    use super::{LocalBoxFuture, Source, check_path, io};
    use crate::error::{Error, Result};

    /// A model in a folder of the local disk.
    #[derive(Debug, Clone)]
    pub struct FolderSource {
        root: PathBuf,
    }

    impl FolderSource {
        /// Reads below `root`. Nothing is opened yet.
        #[must_use]
        pub fn new(root: impl AsRef<Path>) -> Self {
            Self { root: root.as_ref().to_owned() }
        }

        fn size_now(&self, path: &str) -> Result<Option<u64>> {
            check_path(path)?;
            match std::fs::metadata(self.root.join(path)) {
                Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
                Ok(_) => Ok(None),
                Err(error) if absent(error.kind()) => Ok(None),
                Err(error) => Err(io(path, &error)),
            }
        }

        fn read_now(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>> {
            let size = self.size_now(path)?.ok_or_else(|| Error::FileNotFound { file: path.to_owned() })?;
            let length = range.end.checked_sub(range.start).filter(|_| range.end <= size);
            let length = length.and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or_else(|| io(path, &"it ends before the bytes asked for"))?;
            let mut file = File::open(self.root.join(path)).map_err(|error| io(path, &error))?;
            file.seek(SeekFrom::Start(range.start)).map_err(|error| io(path, &error))?;
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes).map_err(|error| io(path, &error))?;
            Ok(bytes)
        }
    }

    fn absent(kind: ErrorKind) -> bool {
        matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
    }

    impl Source for FolderSource {
        fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
            Box::pin(async move { self.size_now(path) })
        }

        fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
            Box::pin(async move { self.read_now(path, range) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::block_on;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "only parsed")]
    struct Sample {
        width: usize,
        height: Option<usize>,
    }

    #[test]
    fn paths_stay_inside_the_model() {
        for path in ["unet/config.json", "model_index.json", "a/b/c.d"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a\\b", "C:x", "a/", "./a", "a\0b"] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn json_errors_name_the_field() {
        let cases = [
            ("{}", "width"),
            ("{\"width\": \"wide\"}", "width"),
            ("{\n \"width\": 1,\n \"height\": [1]\n}", "height"),
            ("{\"width\": 1, \"height\": -1, \"z\": 2}", "height"),
            ("not json", "(document)"),
            ("{\"width\": 1", "(document)"),
            ("[1]", "(document)"),
            ("", "(document)"),
        ];
        for (text, expected) in cases {
            match parse_json::<Sample>("config.json", text) {
                Err(Error::Config { file, field, .. }) => {
                    assert_eq!((file.as_str(), field.as_str()), ("config.json", expected), "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(parse_json::<Sample>("config.json", "{\"width\": 3, \"new\": 1}").unwrap().width, 3);
    }

    #[test]
    fn memory_and_limits() {
        let mut source = MemorySource::default();
        source.insert("a.txt", "hello");
        assert_eq!(block_on(source.size("b.txt")).unwrap(), None);
        assert_eq!(block_on(source.read("a.txt", 1..3)).unwrap(), b"el");
        for range in [3..6, u64::MAX - 1..u64::MAX, Range { start: 3, end: 1 }] {
            assert!(matches!(block_on(source.read("a.txt", range)), Err(Error::Io { .. })));
        }
        assert!(matches!(block_on(read_bytes(&source, "a.txt", 4)), Err(Error::Config { .. })));
        assert!(matches!(block_on(read_json::<Sample>(&source, "b.json")), Err(Error::FileNotFound { .. })));
    }

    #[test]
    fn folder() {
        let source = FolderSource::new(env!("CARGO_MANIFEST_DIR"));
        let size = block_on(source.size("Cargo.toml")).unwrap().unwrap();
        assert_eq!(block_on(source.read("Cargo.toml", 1..size)).unwrap().len() as u64, size - 1);
        assert!(matches!(block_on(source.read("Cargo.toml", 0..size + 1)), Err(Error::Io { .. })));
        assert_eq!(block_on(source.size("src")).unwrap(), None);
        assert_eq!(block_on(source.size("Cargo.toml/x")).unwrap(), None);
        assert!(matches!(block_on(source.read("absent", 0..1)), Err(Error::FileNotFound { .. })));
    }
}
