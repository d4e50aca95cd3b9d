//! The header of a safetensors file (format: `huggingface/safetensors`, README "Format").
//!
//! Eight bytes of little-endian length, that much JSON, then the tensors without gaps. The JSON is hostile
//! until every offset is known to lie in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::source::Source;
use crate::error::{Error, Result};

/// Most bytes that a header may have, as in the reference implementation.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Bytes before the JSON.
const LENGTH_BYTES: u64 = 8;

/// The tensors of files that are written begin at a multiple of this, as wide as the widest number.
const ALIGNMENT: usize = 8;

const METADATA: &str = "__metadata__";

/// Number format of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
    /// Signed integer of 64 bits.
    I64,
    /// Signed integer of 32 bits.
    I32,
    /// Any other, as the file spells it.
    Other(String),
}

impl Dtype {
    fn from_name(name: String) -> Self {
        match name.as_str() {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I64" => Self::I64,
            "I32" => Self::I32,
            _ => Self::Other(name),
        }
    }

    /// The name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::Other(name) => name,
        }
    }

    /// Bytes of one number; `None` where a byte may hold several or the format is unknown.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::F64 | Self::I64 => Some(8),
            Self::F32 | Self::I32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::Other(name) => match name.as_str() {
                "U64" | "C64" => Some(8),
                "U32" => Some(4),
                "I16" | "U16" => Some(2),
                "BOOL" | "I8" | "U8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" => Some(1),
                _ => None,
            },
        }
    }
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Number format.
    pub dtype: Dtype,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Bytes from the beginning of the file.
    pub range: Range<u64>,
}

/// What the header of a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The tensors, by name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Free texts of the writer.
    pub metadata: BTreeMap<String, String>,
}

/// Reads and checks the header of `path`.
///
/// # Errors
/// [`Error::FileNotFound`], and [`Error::Safetensors`] for any damage that the header can show.
pub async fn read_header(source: &dyn Source, path: &str) -> Result<Header> {
    let size = source.size(path).await?.ok_or_else(|| Error::FileNotFound { file: path.to_owned() })?;
    if size < LENGTH_BYTES {
        return Err(damaged(path, format!("it has {size} bytes, too few for a header")));
    }
    let length = source.read(path, 0..LENGTH_BYTES).await?;
    let length = <[u8; 8]>::try_from(length).map_err(|_| damaged(path, "its length field is cut short"))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > size - LENGTH_BYTES {
        let rest = size - LENGTH_BYTES;
        return Err(damaged(path, format!("its header claims {length} bytes and {rest} follow")));
    }
    let json = source.read(path, LENGTH_BYTES..LENGTH_BYTES + length).await?;
    parse_header(path, &json, size)
}

/// What a file with this JSON begins with: its length, and blanks after it so that the tensors are aligned.
pub(super) fn header(mut json: Vec<u8>) -> Vec<u8> {
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

/// Checks the JSON of a header against the size of the whole file.
///
/// # Errors
/// [`Error::Safetensors`]: no JSON, a name twice, a tensor outside the file, overlaps, gaps, or a byte count
/// that is not shape times dtype.
pub fn parse_header(file: &str, json: &[u8], file_size: u64) -> Result<Header> {
    let Entries { entries, metadata } = serde_json::from_slice(json)
        .map_err(|error| damaged(file, format!("its header does not parse: {error}")))?;
    let data = LENGTH_BYTES + json.len() as u64;
    let mut header = Header { metadata: metadata.unwrap_or_default(), ..Header::default() };
    for (name, entry) in entries {
        let info = entry
            .check(data, file_size)
            .map_err(|reason| damaged(file, format!("tensor `{name}` {reason}")))?;
        header.tensors.insert(name, info);
    }
    check_contiguous(file, &header, data, file_size)?;
    Ok(header)
}

fn check_contiguous(file: &str, header: &Header, data: u64, file_size: u64) -> Result<()> {
    let mut tensors: Vec<_> = header.tensors.iter().map(|(name, info)| (&info.range, name)).collect();
    tensors.sort_by_key(|(range, _)| (range.start, range.end));
    let mut end = data;
    for (range, name) in tensors {
        if range.start != end {
            let what = if range.start < end { "overlaps another" } else { "comes after a gap" };
            return Err(damaged(file, format!("tensor `{name}` {what}")));
        }
        end = range.end;
    }
    if end != file_size {
        return Err(damaged(file, format!("its tensors end at byte {end}, the file at {file_size}")));
    }
    Ok(())
}

fn damaged(file: &str, reason: impl Into<String>) -> Error {
    Error::Safetensors { file: file.to_owned(), reason: reason.into() }
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Entry {
    fn check(self, data: u64, file_size: u64) -> std::result::Result<TensorInfo, String> {
        let (begin, end) = self.data_offsets;
        if begin > end || end > file_size - data {
            return Err(format!("claims the bytes {begin} to {end} of {}", file_size - data));
        }
        let dtype = Dtype::from_name(self.dtype);
        let count = self.shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size as u64));
        let count = count.ok_or_else(|| format!("has the impossible shape {:?}", self.shape))?;
        if let Some(bytes) = dtype.bytes()
            && count.checked_mul(bytes) != Some(end - begin)
        {
            let (name, shape) = (dtype.name(), &self.shape);
            return Err(format!("of {name} and shape {shape:?} has {} bytes", end - begin));
        }
        Ok(TensorInfo { dtype, shape: self.shape, range: data + begin..data + end })
    }
}

/// The members of the header, refusing a name that comes twice (readers would differ on which one counts).
#[derive(Default)]
struct Entries {
    entries: BTreeMap<String, Entry>,
    metadata: Option<BTreeMap<String, String>>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries, A::Error> {
        let mut all = Entries::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                if all.metadata.replace(map.next_value()?).is_some() {
                    return Err(A::Error::custom("`__metadata__` comes twice"));
                }
            } else {
                let entry = map.next_value()?;
                if all.entries.insert(name.clone(), entry).is_some() {
                    return Err(A::Error::custom(format!("tensor `{name}` comes twice")));
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = concat!(
        r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#,
        r#""b":{"dtype":"F16","shape":[],"data_offsets":[24,26]},"#,
        r#""e":{"dtype":"BF16","shape":[0,5],"data_offsets":[26,26]}}  "#
    );

    fn parse(json: &str, data: u64) -> Result<Header> {
        parse_header("x.safetensors", json.as_bytes(), LENGTH_BYTES + json.len() as u64 + data)
    }

    #[test]
    fn good() {
        let header = parse(GOOD, 26).unwrap();
        let data = 8 + GOOD.len() as u64;
        assert_eq!(header.tensors.keys().collect::<Vec<_>>(), ["a", "b", "e"]);
        assert_eq!(header.metadata, [("format".to_owned(), "pt".to_owned())].into());
        assert_eq!(header.tensors["a"].shape, [2, 3]);
        assert_eq!(header.tensors["b"].range, data + 24..data + 26);
        assert!(parse("{}", 0).unwrap().tensors.is_empty());
    }

    #[test]
    fn bad() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let cases = [
            (String::new(), 0),
            ("[]".to_owned(), 0),
            (GOOD.to_owned(), 25),
            (GOOD.to_owned(), 27),
            (GOOD.replace("[24,26]", "[22,24]"), 26),
            (GOOD.replace("[24,26]", "[25,27]").replace("[26,26]", "[27,27]"), 27),
            (GOOD.replace("\"b\"", "\"a\""), 26),
            (GOOD.replace("\"pt\"", "1"), 26),
            (one("F32", "[2]", "[8,0]"), 8),
            (one("F32", "[2]", "[0,9]"), 8),
            (one("F32", "[1]", "[0,8]"), 8),
            (one("F32", "[-2]", "[0,8]"), 8),
            (one("F32", "[2.0]", "[0,8]"), 8),
            (one("F32", "[4294967296,4294967296,4]", "[0,0]"), 0),
            (one("F64", "[4611686018427387904,2]", "[0,0]"), 0),
            (one("F32", "[1]", "[18446744073709551612,0]"), 4),
            (one("F32", "[1]", "[4]"), 4),
            (one("F32", "[1]", "[0,4],\"shape\":[1]"), 4),
        ];
        for (json, data) in cases {
            let error = parse(&json, data).expect_err(&json);
            assert_eq!(error.code(), "bad_safetensors", "{json}");
        }
        let unknown = parse(&one("F4", "[8]", "[0,4]"), 4).unwrap();
        assert_eq!(unknown.tensors["a"].dtype, Dtype::Other("F4".to_owned()));
    }

    /// Every cut and many random changes of a good header: an error or a header inside the file, no panic.
    #[test]
    fn damage_never_panics() {
        let size = LENGTH_BYTES + GOOD.len() as u64 + 26;
        for cut in 0..GOOD.len() {
            let _ = parse_header("x", &GOOD.as_bytes()[..cut], size);
        }
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let alphabet = b"0123456789[]{},:\"-.eF\xff\0 ";
        for _ in 0..20_000 {
            let mut json = GOOD.as_bytes().to_vec();
            for _ in 0..=random(3) {
                let at = random(json.len());
                json[at] = alphabet[random(alphabet.len())];
            }
            for info in parse_header("x", &json, size).iter().flat_map(|header| header.tensors.values()) {
                assert!(info.range.start <= info.range.end && info.range.end <= size);
            }
        }
    }
}
