//! The files of a CLIP tokenizer, as transformers writes and reads them (`tokenization_utils_base.py`,
//! `_from_pretrained`).

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenizers::AddedToken;
use tokenizers::models::bpe::{Merges, Vocab};

use crate::error::{Error, Result};
use crate::weights::source::parse_json;

/// Most tokens of a vocabulary, and the bound of their ids: far above CLIP's 49 408.
const MAX_TOKENS: usize = 1 << 20;

/// Most tokens that are cut out of the text; CLIP has two.
const MAX_ADDED: usize = 4096;

const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// Texts of the files of a tokenizer, `None` where a file is absent.
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    /// Folder that holds them, for errors.
    pub folder: String,
    /// `tokenizer.json`; where it is there, `vocab` and `merges` are not looked at.
    pub tokenizer: Option<String>,
    /// `vocab.json`.
    pub vocab: Option<String>,
    /// `merges.txt`.
    pub merges: Option<String>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<String>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<String>,
    /// `added_tokens.json`, which is looked at where neither `tokenizer` nor `tokenizer_config` can tell of added tokens.
    pub added_tokens: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// A token that is cut out of the text before anything else. Absent flags are false, as in transformers.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Added {
    id: Option<u32>,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Special {
    Plain(String),
    Full(Added),
}

impl Special {
    fn added(self) -> Added {
        match self {
            Self::Plain(content) => Added { content, ..Added::default() },
            Self::Full(added) => added,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    unk_token: Option<Special>,
    pad_token: Option<Special>,
    model_max_length: Option<f64>,
    added_tokens_decoder: Option<BTreeMap<u32, Added>>,
}

impl Settings {
    /// Settings of `tokenizer_config.json`. Where it has no `added_tokens_decoder`, it was written by an old
    /// version, and `special_tokens_map.json` overrides its tokens (Stable Diffusion 2 pads with `!` only there).
    fn parse(files: &TokenizerFiles) -> Result<Self> {
        let parse = |name: &str, text: &Option<String>| match text {
            Some(text) => parse_json::<Self>(&files.path(name), text),
            None => Ok(Self::default()),
        };
        let mut settings = parse("tokenizer_config.json", &files.tokenizer_config)?;
        if settings.added_tokens_decoder.is_none() {
            let map = parse("special_tokens_map.json", &files.special_tokens_map)?;
            settings.bos_token = map.bos_token.or(settings.bos_token);
            settings.eos_token = map.eos_token.or(settings.eos_token);
            settings.unk_token = map.unk_token.or(settings.unk_token);
            settings.pad_token = map.pad_token.or(settings.pad_token);
        }
        Ok(settings)
    }
}

impl TokenizerFiles {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The file that holds the merges.
    fn merges_path(&self) -> String {
        self.path(if self.tokenizer.is_some() { "tokenizer.json" } else { "merges.txt" })
    }

    /// Words that a text encoder has learnt beside its vocabulary, as versions before `added_tokens_decoder` wrote them.
    fn added_tokens(&self) -> Result<Vec<Added>> {
        let Some(text) = self.added_tokens.as_ref().filter(|_| self.tokenizer.is_none()) else {
            return Ok(Vec::new());
        };
        let ids: BTreeMap<String, u32> = parse_json(&self.path("added_tokens.json"), text)?;
        let added = |(content, id)| Added { id: Some(id), content, normalized: true, ..Added::default() };
        Ok(ids.into_iter().map(added).collect())
    }

    /// Tokens, merges, added tokens, and the path to name in errors.
    fn model(&self) -> Result<(Model, Vec<Added>, String)> {
        if let Some(text) = &self.tokenizer {
            let file = self.path("tokenizer.json");
            let document: Document = parse_json(&file, text)?;
            return Ok((document.model, document.added_tokens, file));
        }
        let missing = |name| Error::FileNotFound { file: self.path(name) };
        let file = self.path("vocab.json");
        let vocab = parse_json(&file, self.vocab.as_ref().ok_or_else(|| missing("vocab.json"))?)?;
        let lines = self.merges.as_ref().ok_or_else(|| missing("merges.txt"))?.lines();
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("#version"));
        let merges = lines.map(|line| Merge::Line(line.to_owned())).collect();
        Ok((Model { vocab, merges }, Vec::new(), file))
    }
}

/// What a tokenizer is made of.
pub(super) struct Vocabulary {
    /// Where the tokens come from, for errors.
    pub(super) file: String,
    merges_file: String,
    pub(super) tokens: Vocab,
    pub(super) merges: Merges,
    pub(super) added: Vec<AddedToken>,
    pub(super) bos: String,
    pub(super) eos: String,
    pub(super) pad: String,
    pub(super) unk: String,
    pub(super) max_length: usize,
}

impl Vocabulary {
    pub(super) fn parse(files: &TokenizerFiles) -> Result<Self> {
        let settings = Settings::parse(files)?;
        let (model, mut added, file) = files.model()?;
        match settings.added_tokens_decoder {
            Some(decoder) => {
                added.extend(decoder.into_iter().map(|(id, token)| Added { id: Some(id), ..token }));
            }
            None => added.extend(files.added_tokens()?),
        }
        let special = |token: Option<Special>, default: &str| {
            token.unwrap_or_else(|| Special::Plain(default.to_owned())).added()
        };
        let bos = special(settings.bos_token, BEGIN);
        let eos = special(settings.eos_token, END);
        let unk = special(settings.unk_token, END);
        let pad = special(settings.pad_token, END);
        let [bos_name, eos_name, unk_name, pad_name] =
            [&bos, &eos, &unk, &pad].map(|token| token.content.clone());
        added.extend([bos, eos, unk, pad]);
        check_lengths(&file, &model, &added)?;
        let merges_file = files.merges_path();
        let split = |merge| split(&merges_file, merge);
        let mut vocabulary = Self {
            tokens: model.vocab.into_iter().collect(),
            merges: model.merges.into_iter().map(split).collect::<Result<_>>()?,
            added: Vec::new(),
            bos: bos_name,
            eos: eos_name,
            pad: pad_name,
            unk: unk_name,
            max_length: settings.model_max_length.map_or(usize::MAX, |length| length as usize),
            merges_file,
            file,
        };
        vocabulary.add(added);
        vocabulary.check()?;
        Ok(vocabulary)
    }

    /// Id of a special token.
    pub(super) fn id(&self, token: &str) -> Result<u32> {
        let missing = || failed(&self.file, format!("has no token `{token}`, which marks the texts"));
        self.tokens.get(token).copied().ok_or_else(missing)
    }

    /// Takes each token once, the first mention with its flags; those with an id of their own join the vocabulary.
    fn add(&mut self, added: Vec<Added>) {
        for token in added {
            if let Some(id) = token.id {
                self.tokens.entry(token.content.clone()).or_insert(id);
            }
            if self.added.iter().any(|known| known.content == token.content) {
                continue;
            }
            let flags = AddedToken::from(token.content, true)
                .single_word(token.single_word)
                .lstrip(token.lstrip)
                .rstrip(token.rstrip)
                .normalized(token.normalized);
            self.added.push(flags);
        }
    }

    /// Rules out what the `tokenizers` crate would panic on, or would take for another token.
    fn check(&self) -> Result<()> {
        if let Some((token, id)) = self.tokens.iter().find(|(_, id)| **id as usize >= MAX_TOKENS) {
            return Err(failed(&self.file, format!("gives token `{token}` the id {id}")));
        }
        for token in [&self.bos, &self.eos, &self.pad, &self.unk] {
            self.id(token)?;
        }
        for (left, right) in &self.merges {
            for token in [left, right, &format!("{left}{right}")] {
                if !self.tokens.contains_key(token.as_str()) {
                    let reason = format!("merges to `{token}`, which is no token");
                    return Err(failed(&self.merges_file, reason));
                }
            }
        }
        Ok(())
    }
}

/// Bounds what the rest takes time over.
fn check_lengths(file: &str, model: &Model, added: &[Added]) -> Result<()> {
    let lengths = [
        ("tokens", model.vocab.len(), MAX_TOKENS),
        ("merges", model.merges.len(), MAX_TOKENS),
        ("added tokens", added.len(), MAX_ADDED),
    ];
    match lengths.into_iter().find(|(_, length, most)| length > most) {
        Some((what, length, most)) => {
            Err(failed(file, format!("has {length} {what}; Easel takes {most} at most")))
        }
        None => Ok(()),
    }
}

fn split(file: &str, merge: Merge) -> Result<(String, String)> {
    match merge {
        Merge::Pair(left, right) => Ok((left, right)),
        Merge::Line(line) => match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
            _ => Err(failed(file, format!("has the merge `{line}`, which is not two tokens"))),
        },
    }
}

pub(super) fn failed(file: &str, reason: impl Into<String>) -> Error {
    Error::Tokenizer { file: file.to_owned(), reason: reason.into() }
}
