//! Token ids against those of transformers (`tests/goldens/tokenizers_made.py`).

use std::collections::BTreeMap;
use std::error::Error;

use cubecl::future::block_on;
use easel::prompt::{Segment, chunks};
use easel::tokenizer::{Tokenizer, TokenizerFiles};
use easel::weights::source::FolderSource;
use serde::Deserialize;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens");

#[derive(Deserialize)]
struct Golden {
    /// Folder of the tokenizer, relative to the goldens.
    tokenizer: String,
    text: String,
    /// With begin, end and padding, cut to the length of the model.
    ids: Vec<u32>,
    /// Count of ids with begin and end, before the cut.
    untruncated: usize,
}

fn load(folder: &str, length: usize) -> easel::error::Result<Tokenizer> {
    block_on(Tokenizer::load(&FolderSource::new(GOLDENS), folder, length))
}

#[test]
fn ids_equal_transformers() -> Result<(), Box<dyn Error>> {
    let goldens: Vec<Golden> =
        serde_json::from_str(&std::fs::read_to_string(format!("{GOLDENS}/tokens.json"))?)?;
    let mut tokenizers = BTreeMap::new();
    for Golden { tokenizer: folder, text, ids, untruncated } in &goldens {
        if !tokenizers.contains_key(folder) {
            tokenizers.insert(folder, load(folder, ids.len())?);
        }
        let tokenizer = &tokenizers[folder];
        let found = tokenizer.encode(text)?;
        assert_eq!(found.len() + 2, *untruncated, "{folder}: {text:?}");
        assert_eq!(tokenizer.frame(&found), *ids, "{folder}: {text:?}");
        let segment = Segment::Text { text: text.clone(), weight: 1.0 };
        let chunks = chunks(&[segment], tokenizer)?;
        if *untruncated <= ids.len() {
            assert_eq!(chunks.len(), 1, "{folder}: {text:?}");
            assert_eq!(chunks[0].ids, *ids, "{folder}: {text:?}");
        }
    }
    assert!(tokenizers.len() > 1, "only {} tokenizers", tokenizers.len());
    Ok(())
}

#[test]
fn the_two_layouts_of_a_tokenizer_agree() -> Result<(), Box<dyn Error>> {
    let folder = "models/sd2/tokenizer";
    let read = |name: &str| std::fs::read_to_string(format!("{GOLDENS}/{folder}/{name}"));
    let settings = TokenizerFiles {
        folder: folder.to_owned(),
        tokenizer_config: Some(read("tokenizer_config.json")?),
        special_tokens_map: Some(read("special_tokens_map.json")?),
        ..TokenizerFiles::default()
    };
    let (vocab, merges) = (Some(read("vocab.json")?), Some(read("merges.txt")?));
    let separate = Tokenizer::from_files(&TokenizerFiles { vocab, merges, ..settings.clone() }, 77)?;
    let tokenizer = Some(read("tokenizer.json")?);
    let whole = Tokenizer::from_files(&TokenizerFiles { tokenizer, ..settings }, 77)?;
    for text in ["a photo of a cat", "it's 3 o'clock, naïve façade — 日本 <|endoftext|>!!"] {
        assert_eq!(separate.encode(text)?, whole.encode(text)?, "{text}");
    }
    assert_eq!(separate.pad(), whole.pad());
    Ok(())
}
