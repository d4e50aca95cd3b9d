//! CLIP's tokenizer: text to token ids, equal to transformers' `CLIPTokenizer`.
//!
//! Vocabulary, merges and special tokens come from the model's files. The rules around them (normalisation, splitting,
//! end-of-word mark) are CLIP's own and fixed here: a `tokenizer.json` cannot bring regular expressions of its own.

mod files;

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::error::{Error, Result};
use crate::weights::source::{MAX_VOCABULARY_BYTES, Source, read_to_string};
use files::{Vocabulary, failed};

pub use files::TokenizerFiles;

/// What a text is cut into before the merges (`tokenization_clip.py`); the rest is dropped.
const PATTERN: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Mark of the last piece of a word.
const END_OF_WORD: &str = "</w>";

/// A tokenizer of one model.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: u32,
    eos: u32,
    pad: u32,
    comma: Option<u32>,
    max_length: usize,
}

impl Tokenizer {
    /// Reads the files in `folder` of a model. `max_position_embeddings` is that of the text encoder.
    ///
    /// # Errors
    /// Those of the source and of [`Self::from_files`]; [`Error::FileNotFound`] when there is neither
    /// `tokenizer.json` nor `vocab.json` with `merges.txt`.
    pub async fn load(source: &dyn Source, folder: &str, max_position_embeddings: usize) -> Result<Self> {
        let read = async |name: &str| {
            let path = format!("{folder}/{name}");
            read_to_string(source, &path, MAX_VOCABULARY_BYTES).await
        };
        let tokenizer = read("tokenizer.json").await?;
        let (vocab, merges) = match tokenizer {
            Some(_) => (None, None),
            None => (read("vocab.json").await?, read("merges.txt").await?),
        };
        let files = TokenizerFiles {
            folder: folder.to_owned(),
            tokenizer,
            vocab,
            merges,
            tokenizer_config: read("tokenizer_config.json").await?,
            special_tokens_map: read("special_tokens_map.json").await?,
            added_tokens: read("added_tokens.json").await?,
        };
        Self::from_files(&files, max_position_embeddings)
    }

    /// Builds the tokenizer from texts of files.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] or [`Error::Config`] with the file, and [`Error::FileNotFound`] as for
    /// [`Self::load`].
    pub fn from_files(files: &TokenizerFiles, max_position_embeddings: usize) -> Result<Self> {
        let vocabulary = Vocabulary::parse(files)?;
        let id = |token: &str| vocabulary.id(token);
        let [bos, eos, pad] = [id(&vocabulary.bos)?, id(&vocabulary.eos)?, id(&vocabulary.pad)?];
        let max_length = vocabulary.max_length.min(max_position_embeddings);
        if max_length < 3 {
            let reason = "model_max_length leaves no room for a word between the begin and the end";
            return Err(failed(&vocabulary.file, reason));
        }
        let comma = vocabulary.tokens.get(&format!(",{END_OF_WORD}")).copied();
        let file = vocabulary.file.clone();
        let inner = assemble(vocabulary).map_err(|error| failed(&file, error.to_string()))?;
        Ok(Self { inner, bos, eos, pad, comma, max_length })
    }

    /// Token ids of a text, without begin, end and padding. `<|startoftext|>` and `<|endoftext|>` in it become those
    /// tokens, as with transformers.
    ///
    /// # Errors
    /// [`Error::Prompt`] when the vocabulary cannot express the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|error| Error::Prompt { reason: error.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Begin, at most [`Self::capacity`] of the `ids`, end, and padding up to [`Self::max_length`].
    #[must_use]
    pub fn frame(&self, ids: &[u32]) -> Vec<u32> {
        let mut framed = Vec::with_capacity(self.max_length);
        framed.push(self.bos);
        framed.extend(ids.iter().take(self.capacity()));
        framed.push(self.eos);
        framed.resize(self.max_length, self.pad);
        framed
    }

    /// Id of the token before a text.
    #[must_use]
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// Id of the token after a text.
    #[must_use]
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// Id of the token that fills up.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Id of a comma that ends a word, where the vocabulary has it.
    #[must_use]
    pub fn comma(&self) -> Option<u32> {
        self.comma
    }

    /// Tokens that the text encoder takes at once: 77 in published models.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Tokens of text that fit between begin and end: 75 in published models.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.max_length - 2
    }
}

fn assemble(vocabulary: Vocabulary) -> tokenizers::Result<tokenizers::Tokenizer> {
    let model = BPE::builder()
        .vocab_and_merges(vocabulary.tokens, vocabulary.merges)
        .unk_token(vocabulary.unk)
        .end_of_word_suffix(END_OF_WORD.to_owned())
        .build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")?;
    tokenizer.with_normalizer(Some(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()])))?;
    let pattern = SplitPattern::Regex(PATTERN.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Removed, true)?;
    // transformers leaves the byte level's own splitting on, which cuts some pieces again.
    let bytes = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![split.into(), bytes.into()])));
    let added: Vec<AddedToken> = vocabulary.added;
    tokenizer.add_tokens(added)?;
    Ok(tokenizer)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
