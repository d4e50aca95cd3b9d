use super::*;

/// `a`, `b`, `ab`, a comma, `!` and the special tokens.
const VOCAB: &str = r#"{"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, ",": 5, ",</w>": 6, "!": 7, "!</w>": 8,
    "<|startoftext|>": 9, "<|endoftext|>": 10}"#;
const MERGES: &str = "#version: 0.2\na b</w>\n";

fn files() -> TokenizerFiles {
    TokenizerFiles {
        folder: "tokenizer".to_owned(),
        vocab: Some(VOCAB.to_owned()),
        merges: Some(MERGES.to_owned()),
        ..TokenizerFiles::default()
    }
}

fn document(merges: &str, added: &str) -> TokenizerFiles {
    let text = format!(r#"{{"model": {{"vocab": {VOCAB}, "merges": {merges}}}, "added_tokens": {added}}}"#);
    TokenizerFiles { folder: "tokenizer".to_owned(), tokenizer: Some(text), ..TokenizerFiles::default() }
}

#[test]
fn ids_and_frame() {
    let tokenizer = Tokenizer::from_files(&files(), 6).unwrap();
    assert_eq!(tokenizer.encode(" AB  ba,\n<|endoftext|>b").unwrap(), [4, 1, 2, 6, 10, 3]);
    assert_eq!(tokenizer.encode("").unwrap(), [0u32; 0]);
    // Characters outside of the vocabulary become the unknown token, which CLIP shares with the end.
    assert_eq!(tokenizer.encode("z").unwrap(), [10]);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.pad(), tokenizer.comma()), (9, 10, 10, Some(6)));
    assert_eq!((tokenizer.max_length(), tokenizer.capacity()), (6, 4));
    assert_eq!(tokenizer.frame(&[4]), [9, 4, 10, 10, 10, 10]);
    assert_eq!(tokenizer.frame(&[0, 1, 2, 3, 4, 5]), [9, 0, 1, 2, 3, 10]);
}

#[test]
fn both_layouts_give_the_same_ids() {
    for merges in [r#"["a b</w>"]"#, r#"[["a", "b</w>"]]"#] {
        let tokenizer = Tokenizer::from_files(&document(merges, "[]"), 77).unwrap();
        assert_eq!(tokenizer.encode("ab a<|startoftext|>").unwrap(), [4, 2, 9]);
    }
    let added = r#"[{"id": 11, "content": "<x>", "normalized": false, "special": false}]"#;
    let tokenizer = Tokenizer::from_files(&document("[]", added), 77).unwrap();
    assert_eq!(tokenizer.encode("a<x>b").unwrap(), [2, 11, 3]);
}

/// As transformers wrote them before it kept their flags in `tokenizer_config.json`.
#[test]
fn learnt_words_of_old_files_are_tokens() {
    let mut files = files();
    let plain = Tokenizer::from_files(&files, 77).unwrap().encode("a<x>b").unwrap();
    files.added_tokens = Some(r#"{"<x>": 11}"#.to_owned());
    let tokenizer = Tokenizer::from_files(&files, 77).unwrap();
    assert_eq!(tokenizer.encode("a<X>b").unwrap(), [2, 11, 3]);
    files.tokenizer_config = Some(r#"{"added_tokens_decoder": {}}"#.to_owned());
    assert_eq!(Tokenizer::from_files(&files, 77).unwrap().encode("a<x>b").unwrap(), plain);
    (files.tokenizer_config, files.added_tokens) = (None, Some(r#"{"<x>": "11"}"#.to_owned()));
    let error = Tokenizer::from_files(&files, 77).unwrap_err();
    assert!(error.to_string().contains("added_tokens.json"), "{error}");
}

#[test]
fn the_pad_token_and_the_length_come_from_the_settings() {
    let mut files = files();
    files.tokenizer_config = Some(r#"{"pad_token": "<|endoftext|>", "model_max_length": 5}"#.to_owned());
    files.special_tokens_map = Some(r#"{"pad_token": {"content": "!", "lstrip": false}}"#.to_owned());
    let tokenizer = Tokenizer::from_files(&files, 77).unwrap();
    assert_eq!((tokenizer.pad(), tokenizer.max_length()), (7, 5));
    assert_eq!(tokenizer.encode("a!!").unwrap(), [2, 7, 7]);
    let config = r#"{"pad_token": "<|endoftext|>", "added_tokens_decoder": {"10": {"content": "<|endoftext|>"}},
        "model_max_length": 1000000000000000019884624838656}"#;
    files.tokenizer_config = Some(config.to_owned());
    let tokenizer = Tokenizer::from_files(&files, 77).unwrap();
    assert_eq!((tokenizer.pad(), tokenizer.max_length()), (10, 77));
}

#[test]
fn refused() {
    let with = |vocab: Option<&str>, merges: Option<&str>, config: &str| TokenizerFiles {
        vocab: vocab.map(str::to_owned),
        merges: merges.map(str::to_owned),
        tokenizer_config: Some(config.to_owned()),
        ..files()
    };
    let long = VOCAB.replace(": 8,", ": 4294967295,");
    let no_end = VOCAB.replace("<|endoftext|>", "<|end|>");
    let cases = [
        (with(None, Some(MERGES), "{}"), "file_not_found", "tokenizer/vocab.json"),
        (with(Some(VOCAB), None, "{}"), "file_not_found", "tokenizer/merges.txt"),
        (with(Some("[]"), Some(MERGES), "{}"), "bad_config", "tokenizer/vocab.json"),
        (with(Some("{\"a\": -1}"), Some(MERGES), "{}"), "bad_config", "`a`"),
        (with(Some(VOCAB), Some("a"), "{}"), "bad_tokenizer", "tokenizer/merges.txt: has the merge `a`"),
        (with(Some(VOCAB), Some("a b c"), "{}"), "bad_tokenizer", "`a b c`"),
        (with(Some(VOCAB), Some("a z"), "{}"), "bad_tokenizer", "tokenizer/merges.txt: merges to `z`"),
        (with(Some(VOCAB), Some("<|startoftext|> <|endoftext|>"), "{}"), "bad_tokenizer", "<|endoftext|>"),
        (with(Some(&long), Some(MERGES), "{}"), "bad_tokenizer", "4294967295"),
        (with(Some(&no_end), Some(MERGES), "{}"), "bad_tokenizer", "`<|endoftext|>`"),
        (with(Some(VOCAB), Some(MERGES), "{\"model_max_length\": 2}"), "bad_tokenizer", "model_max_length"),
        (with(Some(VOCAB), Some(MERGES), "{\"pad_token\": \"?\"}"), "bad_tokenizer", "`?`"),
        (with(Some(VOCAB), Some(MERGES), "{\"pad_token\": 3}"), "bad_config", "pad_token"),
    ];
    for (files, code, names) in cases {
        let error = Tokenizer::from_files(&files, 77).expect_err(names);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(names), "{error}");
    }
}

#[test]
fn too_many_added_tokens_are_refused_at_once() {
    // All of one text: they would be one token, found by comparing each with those before it.
    let token = |id: usize| format!(r#"{{"id": {id}, "content": "<x>"}}"#);
    let added: Vec<String> = (0..5000).map(token).collect();
    let error =
        Tokenizer::from_files(&document("[]", &format!("[{}]", added.join(","))), 77).expect_err("many");
    assert_eq!(error.code(), "bad_tokenizer");
    assert!(error.to_string().contains("5004 added tokens; Easel takes 4096"), "{error}");
}
