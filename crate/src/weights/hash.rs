//! The SHA-256 of a file whose bytes come in order, over interruptions.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

use super::manifest::hex;

/// The hash of the first bytes of a file.
#[derive(Debug, Clone, Default)]
pub struct FileHash {
    bytes: u64,
    state: Sha256,
}

impl FileHash {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many bytes have been taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of these bytes, lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.state.clone().finalize())
    }

    /// What [`Self::restore`] makes it of again.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        [&self.bytes.to_le_bytes()[..], &self.state.serialize()].concat()
    }

    /// What was saved; `None` for other bytes.
    #[must_use]
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (bytes, state) = saved.split_first_chunk()?;
        let state = SerializedState::<Sha256>::try_from(state).ok()?;
        Some(Self { bytes: u64::from_le_bytes(*bytes), state: Sha256::deserialize(&state).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_after_it_was_saved() {
        let bytes: Vec<u8> = (0..200).collect();
        let mut whole = FileHash::default();
        whole.update(&bytes);
        for cut in [0, 1, 64, 130, 200] {
            let mut first = FileHash::default();
            first.update(&bytes[..cut]);
            let mut rest = FileHash::restore(&first.save()).unwrap();
            assert_eq!(rest.bytes(), cut as u64);
            rest.update(&bytes[cut..]);
            assert_eq!(rest.hex(), whole.hex());
        }
        assert_eq!(whole.hex(), hex(&Sha256::digest(&bytes)));
        for bad in [&b""[..], b"12345678", &whole.save()[1..]] {
            assert!(FileHash::restore(bad).is_none());
        }
    }
}
