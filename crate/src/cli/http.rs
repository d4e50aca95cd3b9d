//! The files of a model on a host, read over HTTP.

pub(super) mod access;
mod address;
mod answer;
pub(super) mod model_address;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use easel::error::{Error, Result};
use easel::weights::hash::FileHash;
use easel::weights::manifest::{Manifest, hex};
use easel::weights::source::{LocalBoxFuture, Source, check_path};
use serde::{Deserialize, Serialize};

use access::Access;
use address::{decoded, encoded, joined, pinned};
use answer::{Answer, Failure, Remote, passing};

/// Failures without a byte between them that end it.
const ATTEMPTS: u32 = 5;

/// Wait after the first failure; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Longest wait that a host may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(120);

const REDIRECTS: usize = 8;

/// Bytes that are read at once for the sake of a hash alone.
const PASSED_BYTES: u64 = 1 << 20;

/// How far an import got, beside the files that it wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The folder, of the commit that it was when it was first met.
    base: String,
    files: BTreeMap<String, Remote>,
    /// Saved hashes of what has been read.
    hashes: BTreeMap<String, String>,
}

/// A model's folder on a host, or the folder of a checkpoint. Requests are plain GETs with one range; where a connection
/// breaks, the next goes on. Files that are read from the first byte to the last are compared with the SHA-256 that the
/// host or the manifest tells.
#[derive(Clone)]
pub(super) struct HttpSource {
    inner: Rc<RefCell<Inner>>,
    single_file: Option<String>,
}

struct Inner {
    agent: ureq::Agent,
    base: String,
    /// What was found, `None` for what is not there.
    files: BTreeMap<String, Option<Remote>>,
    hashes: BTreeMap<String, FileHash>,
    stream: Option<Stream>,
    /// The file that is hashed as a whole, whatever is read of it.
    whole: Option<String>,
    access: Access,
}

/// A connection that is being read.
struct Stream {
    path: String,
    at: u64,
    reader: Box<dyn Read>,
}

impl HttpSource {
    /// At the address of a folder, with a slash at its end, or of a `.safetensors` file. A host that says nothing for as
    /// long as `patience` counts as lost.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an address with a name or password in it.
    pub(super) fn new(address: &str, access: Access, patience: Duration) -> Result<Self> {
        let (address, query) =
            address.split_once('?').map_or((address, ""), |(address, query)| (address, query));
        if !query.is_empty() || address.contains(['#', '@']) {
            let reason = "must be an address without a query, a name or a password".to_owned();
            return Err(Error::Parameter { name: "source".to_owned(), reason });
        }
        let (base, file) = address.rsplit_once('/').unwrap_or((address, ""));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .user_agent(concat!("easel/", env!("CARGO_PKG_VERSION")))
            .build();
        let inner = Inner {
            agent: config.into(),
            base: format!("{}/", base.replace(' ', "%20")),
            files: BTreeMap::new(),
            hashes: BTreeMap::new(),
            stream: None,
            whole: None,
            access,
        };
        let single_file = (!file.is_empty()).then(|| decoded(file));
        Ok(Self { inner: Rc::new(RefCell::new(inner)), single_file })
    }

    /// Name of the checkpoint, when the address is of one.
    pub(super) fn single_file(&self) -> Option<String> {
        self.single_file.clone()
    }

    /// Takes sizes and hashes of files from a manifest.
    pub(super) fn expect(&self, manifest: &Manifest) {
        let mut inner = self.inner.borrow_mut();
        for file in &manifest.files {
            let remote = Remote { size: file.size, sha256: Some(file.sha256.clone()), validator: None };
            inner.files.entry(file.path.clone()).or_insert(Some(remote));
        }
    }

    /// Compares all of a file with its hash, where the host tells one, although only some of it is asked for from now on:
    /// what is passed over is read as well. Reading backwards costs another pass over the file.
    pub(super) fn check_all_of(&self, path: &str) {
        self.inner.borrow_mut().whole = Some(path.to_owned());
    }

    /// Reads what is left of that file.
    ///
    /// # Errors
    /// [`Error::DamagedFile`] when it has another hash; those of reading.
    pub(super) fn finish_check(&self) -> Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        let Some(path) = inner.whole.clone() else { return Ok(()) };
        match inner.find(&path)? {
            Some(file) if file.sha256.is_some() => inner.pass_over(&path, &file, file.size),
            _ => Ok(()),
        }
    }

    /// What [`Self::go_on`] needs.
    pub(super) fn progress(&self) -> Progress {
        let inner = self.inner.borrow();
        let known = |(path, file): (&String, &Option<Remote>)| Some((path.clone(), file.clone()?));
        Progress {
            base: inner.base.clone(),
            files: inner.files.iter().filter_map(known).collect(),
            hashes: inner.hashes.iter().map(|(path, hash)| (path.clone(), hex(&hash.save()))).collect(),
        }
    }

    /// Takes what is known from before an interruption.
    pub(super) fn go_on(&self, progress: &Progress) {
        let mut inner = self.inner.borrow_mut();
        inner.base.clone_from(&progress.base);
        inner.files = progress.files.iter().map(|(path, file)| (path.clone(), Some(file.clone()))).collect();
        let hash =
            |(path, saved): (&String, &String)| Some((path.clone(), FileHash::restore(&unhex(saved)?)?));
        inner.hashes = progress.hashes.iter().filter_map(hash).collect();
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().as_chunks::<2>().0.iter();
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl Source for HttpSource {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            check_path(path)?;
            Ok(self.inner.borrow_mut().find(path)?.map(|file| file.size))
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            check_path(path)?;
            self.inner.borrow_mut().read(path, range)
        })
    }
}

impl Inner {
    fn find(&mut self, path: &str) -> Result<Option<Remote>> {
        if let Some(found) = self.files.get(path) {
            return Ok(found.clone());
        }
        let found = self.retried(path, |inner| {
            let Some(answer) = inner.ask(path, 0..1)? else { return Ok(None) };
            answer.remote(path).map(Some)
        })?;
        self.files.insert(path.to_owned(), found.clone());
        Ok(found)
    }

    fn read(&mut self, path: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let missing = || Error::FileNotFound { file: path.to_owned() };
        let file = self.find(path)?.ok_or_else(missing)?;
        if self.whole.as_deref() == Some(path) && file.sha256.is_some() {
            if range.start < self.hashed(path) {
                // What was read so far has proved right only when all of the file has.
                self.pass_over(path, &file, file.size)?;
                self.hashes.remove(path);
            }
            self.pass_over(path, &file, range.start)?;
        }
        self.fetch(path, &file, range)
    }

    fn hashed(&self, path: &str) -> u64 {
        self.hashes.get(path).map_or(0, FileHash::bytes)
    }

    /// Hashes a file up to byte `until`.
    fn pass_over(&mut self, path: &str, file: &Remote, until: u64) -> Result<()> {
        while self.hashed(path) < until {
            let start = self.hashed(path);
            self.fetch(path, file, start..until.min(start + PASSED_BYTES))?;
        }
        Ok(())
    }

    fn fetch(&mut self, path: &str, file: &Remote, range: Range<u64>) -> Result<Vec<u8>> {
        let outside =
            || Error::Io { file: path.to_owned(), reason: "it ends before the bytes asked for".into() };
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= file.size);
        let length = usize::try_from(length.ok_or_else(outside)?).map_err(|_| outside())?;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let (start, rest) = (range.start + filled as u64, bytes.get_mut(filled..).unwrap_or_default());
            // What came before a failure is kept, so that only failures in a row count.
            filled += self.retried(path, |inner| inner.read_some(path, file, start, rest))?;
        }
        self.note(path, file, range.start, &bytes)?;
        Ok(bytes)
    }

    /// Reads at least one byte.
    fn read_some(
        &mut self,
        path: &str,
        file: &Remote,
        start: u64,
        into: &mut [u8],
    ) -> std::result::Result<usize, Failure> {
        let open = self.stream.take().filter(|stream| stream.path == path && stream.at == start);
        let mut stream = match open {
            Some(stream) => stream,
            None => {
                let answer = self.ask(path, start..file.size)?;
                let answer =
                    answer.ok_or_else(|| Failure::Final(Error::FileNotFound { file: path.to_owned() }))?;
                Stream { path: path.to_owned(), at: start, reader: answer.from(path, file, start)? }
            }
        };
        let count = stream.reader.read(into).map_err(|error| passing(&error))?;
        if count == 0 {
            return Err(passing(&"the connection broke off"));
        }
        stream.at += count as u64;
        self.stream = Some(stream);
        Ok(count)
    }

    /// Compares a file with its hash, as far as it is read in order.
    fn note(&mut self, path: &str, file: &Remote, start: u64, bytes: &[u8]) -> Result<()> {
        let Some(expected) = &file.sha256 else { return Ok(()) };
        let hash = self.hashes.entry(path.to_owned()).or_default();
        let known = hash.bytes().saturating_sub(start).min(bytes.len() as u64) as usize;
        if start > hash.bytes() || known == bytes.len() {
            return Ok(());
        }
        hash.update(bytes.get(known..).unwrap_or_default());
        if hash.bytes() == file.size && hash.hex() != *expected {
            let reason = "its SHA-256 is not what its host says".to_owned();
            return Err(Error::DamagedFile { file: path.to_owned(), reason });
        }
        Ok(())
    }

    /// Asks for bytes of a file; `None` when it is not there.
    fn ask(&mut self, path: &str, range: Range<u64>) -> std::result::Result<Option<Answer>, Failure> {
        let mut url = format!("{}{}", self.base, encoded(path));
        let mut told = None;
        for _ in 0..REDIRECTS {
            let mut asked =
                self.agent.get(&url).header("Range", format!("bytes={}-{}", range.start, range.end - 1));
            // Redirects lead to hosts that it is not for.
            if let Some(authorization) = self.access.authorization(&url) {
                asked = asked.header("Authorization", authorization);
            }
            let response = asked.call().map_err(|error| passing(&error))?;
            let answer = Answer::new(response, told);
            if let Some(pinned) = pinned(&self.base, answer.commit()) {
                self.base = pinned;
            }
            match answer.redirect() {
                Some(to) => url = joined(&url, to),
                None => {
                    // A hub has a status for it, and what was met before is there.
                    let may_lack = !self.access.is_hub(&self.base) && !self.files.contains_key(path);
                    return answer.checked(path, &url, &self.access, may_lack);
                }
            }
            told = answer.sha256;
        }
        Err(passing(&"it redirects without an end"))
    }

    fn retried<T>(
        &mut self,
        path: &str,
        mut attempt: impl FnMut(&mut Self) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut delay = FIRST_DELAY;
        for _ in 1..ATTEMPTS {
            match attempt(self) {
                Err(Failure::Passing { wanted, .. }) if wanted.is_none_or(|wait| wait <= LONGEST_DELAY) => {
                    std::thread::sleep(wanted.unwrap_or(delay));
                    delay *= 2;
                }
                other => return other.map_err(|failure| failure.into_error(path)),
            }
        }
        attempt(self).map_err(|failure| failure.into_error(path))
    }
}
