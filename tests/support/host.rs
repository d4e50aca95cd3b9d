//! A host of model files that behaves like a hub, and like a bad one.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use easel::weights::manifest::hex;
use sha2::{Digest as _, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the host does wrong, and what it has done.
#[derive(Default)]
pub(crate) struct Conduct {
    /// Answers with a body that break off after so many bytes; each does it once.
    pub(crate) cuts: Vec<usize>,
    /// Whether those fall silent and stay open.
    pub(crate) silent: bool,
    /// Answers of 503 before it behaves.
    pub(crate) busy: usize,
    /// After so many bytes it breaks off and refuses everything.
    pub(crate) refuse_after: Option<usize>,
    /// What it answers where it has no file, in place of a 404.
    pub(crate) absence: Option<&'static str>,
    /// Whether it takes no notice of ranges.
    pub(crate) no_ranges: bool,
    /// Turns a bit of the last byte of files with this ending.
    pub(crate) flip: Option<&'static str>,
    /// The hub's model is for those who have this token, and its storage for those who show none.
    pub(crate) token: Option<&'static str>,
    /// Answers of the hub to others: status and reason.
    pub(crate) refusal: Option<(u16, &'static str)>,
    /// Origin that the hub's storage has; the hub's own where it is empty.
    pub(crate) storage: String,
    /// Bytes sent.
    pub(crate) sent: usize,
    /// First bytes of ranges asked for.
    pub(crate) starts: Vec<usize>,
    /// Addresses asked for.
    pub(crate) asked: Vec<String>,
}

/// A running host; it ends with the test's process.
pub(crate) struct Host {
    pub(crate) address: String,
    pub(crate) conduct: Arc<Mutex<Conduct>>,
}

impl Host {
    /// Serves `folder` as `/{owner}/{name}/resolve/{revision}/`, with redirects to a storage, and as `/plain/`.
    pub(crate) fn new(folder: PathBuf, conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let conduct = Arc::new(Mutex::new(conduct));
        let shared = Arc::clone(&conduct);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, conduct) = (folder.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &folder, &conduct));
            }
        });
        Self { address, conduct }
    }

    /// Forgets what it did wrong and counts anew.
    pub(crate) fn behave(&self) {
        *self.conduct.lock().expect("no panic") = Conduct::default();
    }

    /// Lets the storage be another origin, which is the same host by another name.
    pub(crate) fn with_storage_elsewhere(self) -> Self {
        let storage = self.address.replace("127.0.0.1", "localhost");
        self.conduct.lock().expect("no panic").storage = storage;
        self
    }
}

/// Answers one request; a client that goes away ends it.
fn serve(mut stream: TcpStream, folder: &Path, conduct: &Mutex<Conduct>) {
    let Some(request) = Request::read(&stream) else { return };
    let (head, body) = answer(&request, folder, &mut conduct.lock().expect("no panic"));
    let length = format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let (cut, silent) = {
        let mut conduct = conduct.lock().expect("no panic");
        let cut = conduct.cuts.first().copied().filter(|cut| *cut < body.len());
        if cut.is_some() {
            conduct.cuts.remove(0);
        }
        (cut, cut.is_some() && conduct.silent)
    };
    let _ = stream.write_all(format!("{head}{length}").as_bytes());
    for piece in body[..cut.unwrap_or(body.len())].chunks(1 << 14) {
        if stream.write_all(piece).is_err() {
            return;
        }
        let mut conduct = conduct.lock().expect("no panic");
        conduct.sent += piece.len();
        if conduct.refuse_after.is_some_and(|most| conduct.sent > most) {
            return;
        }
    }
    if silent {
        std::thread::sleep(Duration::from_hours(1));
    }
}

struct Request {
    path: String,
    /// First and last byte.
    range: Option<(usize, usize)>,
    authorization: Option<String>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut request = Self { path, range: None, authorization: None };
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name.to_lowercase().as_str() {
                "range" => {
                    let (start, last) = value.strip_prefix("bytes=")?.split_once('-')?;
                    request.range = start.parse().ok().zip(last.parse().ok());
                }
                "authorization" => request.authorization = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(request)
    }
}

fn answer(request: &Request, folder: &Path, conduct: &mut Conduct) -> (String, Vec<u8>) {
    let path = request.path.as_str();
    conduct.asked.push(path.to_owned());
    conduct.starts.extend(request.range.map(|(start, _)| start));
    let of_hub = path.strip_prefix("/owner/name/resolve/").and_then(|rest| rest.split_once('/'));
    if let Some(token) = conduct.token {
        let right = of_hub.map(|_| format!("Bearer {token}"));
        if request.authorization != right {
            let (status, reason) = conduct.refusal.unwrap_or((401, "GatedRepo"));
            return (format!("HTTP/1.1 {status} Refused\r\nX-Error-Code: {reason}\r\n"), Vec::new());
        }
    }
    let file = of_hub.map(|(_, file)| file);
    let file = file.or_else(|| path.strip_prefix("/storage/")).or_else(|| path.strip_prefix("/plain/"));
    let found = file.and_then(|file| std::fs::read(folder.join(file.replace("%20", " "))).ok());
    let Some(mut bytes) = found else {
        return (conduct.absence.unwrap_or("HTTP/1.1 404 Not Found\r\n").to_owned(), Vec::new());
    };
    if conduct.busy > 0 {
        conduct.busy -= 1;
        return ("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n".to_owned(), Vec::new());
    }
    if conduct.refuse_after.is_some_and(|most| conduct.sent > most) {
        return ("HTTP/1.1 403 Forbidden\r\n".to_owned(), Vec::new());
    }
    let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
    if of_hub.is_some() && path.ends_with(".safetensors") {
        let tag = hex(&Sha256::digest(&bytes));
        let file = file.unwrap_or_default();
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: {}/storage/{file}\r\nX-Linked-ETag: \"{tag}\"\r\n{commit}",
            conduct.storage
        );
        return (head, Vec::new());
    }
    if let Some(last) = bytes.last_mut().filter(|_| conduct.flip.is_some_and(|ending| path.ends_with(ending)))
    {
        *last ^= 1;
    }
    match request.range.filter(|_| !conduct.no_ranges) {
        Some((start, _)) if start >= bytes.len() => {
            let head = format!("HTTP/1.1 416 Unsatisfied\r\nContent-Range: bytes */{}\r\n", bytes.len());
            (head, Vec::new())
        }
        Some((start, last)) => {
            let total = bytes.len();
            let head =
                format!("HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{last}/{total}\r\n{commit}");
            bytes.truncate(last + 1);
            (head, bytes.split_off(start))
        }
        None => (format!("HTTP/1.1 200 OK\r\n{commit}"), bytes),
    }
}
