//! The tokenizer of a checkpoint, which carries none: CLIP's, made from its merges.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::weights::source::MAX_VOCABULARY_BYTES;

const END_OF_WORD: &str = "</w>";
const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
const VERSION: &str = "#version";

/// Bytes that stand for themselves; the others become characters from 256 on, so that every byte can be seen
/// (`bytes_to_unicode` in `clip/simple_tokenizer.py`).
fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..)
}

/// The characters of the bytes, in the order of their ids.
fn characters() -> impl Iterator<Item = char> {
    let visible = (0..=u8::MAX).filter(|byte| is_visible(*byte)).map(char::from);
    let hidden = (0..=u8::MAX).filter(|byte| !is_visible(*byte)).count() as u32;
    visible.chain((256..256 + hidden).filter_map(char::from_u32))
}

/// `vocab.json` of `merges`, the text of `merges.txt`: bytes, bytes that end a word, one token for each merge, and the
/// marks of a text (`SimpleTokenizer` in `clip/simple_tokenizer.py`).
///
/// # Errors
/// [`Error::Tokenizer`] for a line that is not two tokens, and for a text over [`MAX_VOCABULARY_BYTES`].
pub(super) fn vocabulary(merges: &str) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Tokenizer { file: "merges.txt".to_owned(), reason };
    if merges.len() as u64 > MAX_VOCABULARY_BYTES {
        return Err(failed("is too large".to_owned()));
    }
    let mut tokens: Vec<String> = characters().map(String::from).collect();
    tokens.extend(characters().map(|character| format!("{character}{END_OF_WORD}")));
    for line in merges.lines().filter(|line| !line.is_empty() && !line.starts_with(VERSION)) {
        let pair = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
        let (left, right) =
            pair.ok_or_else(|| failed(format!("has the line `{line}`, which is not two tokens")))?;
        tokens.push(format!("{left}{right}"));
    }
    tokens.extend([BEGIN, END].map(str::to_owned));
    let ids: BTreeMap<String, usize> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id)).collect();
    serde_json::to_vec(&ids).map_err(|error| failed(error.to_string()))
}

/// `tokenizer_config.json`. OpenAI's encoder is padded with the end mark, OpenCLIP's with id 0, which is `!`.
pub(super) fn config(open_clip: bool, max_length: usize) -> Value {
    let pad = if open_clip { "!" } else { END };
    json!({
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": max_length,
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": END,
        "pad_token": pad,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_clip() {
        let merges = include_str!("../../../../assets/clip/merges.txt");
        let ids: BTreeMap<String, usize> = serde_json::from_slice(&vocabulary(merges).unwrap()).unwrap();
        assert_eq!(ids.len(), 49408);
        // Of openai/clip-vit-large-patch14's vocab.json.
        for (token, id) in [
            ("!", 0),
            ("a", 64),
            ("\u{100}", 188),
            ("!</w>", 256),
            ("a</w>", 320),
            ("in", 512),
            ("photo</w>", 1125),
            ("cat</w>", 2368),
            (BEGIN, 49406),
            (END, 49407),
        ] {
            assert_eq!(ids.get(token), Some(&id), "{token}");
        }
    }

    #[test]
    fn lines_are_two_tokens() {
        for line in ["a", "a b c", "a  b"] {
            assert_eq!(vocabulary(line).unwrap_err().code(), "bad_tokenizer", "{line}");
        }
    }
}
