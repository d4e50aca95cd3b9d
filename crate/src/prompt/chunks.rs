//! Prompts of any length as chunks that the text encoder takes, cut as A1111 cuts them
//! (`modules/sd_hijack_clip.py`, `tokenize_line`).

use super::attention::Segment;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// How far back a chunk that is full may be cut at a comma: A1111's default of `comma_padding_backtrack`.
const COMMA_BACKTRACK: usize = 20;

/// One call of the text encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Begin, text, end, padding: [`Tokenizer::max_length`] ids.
    pub ids: Vec<u32>,
    /// Attention factor of each id, 1 for begin, end and padding.
    pub weights: Vec<f32>,
}

/// Chunks of a parsed prompt, at least one.
///
/// A prompt that fits one chunk gives the ids that transformers gives with `padding="max_length"`. A longer one is
/// cut where it is full, or at a comma at most 20 tokens back, and goes on in the next chunk; diffusers would
/// drop the rest.
///
/// # Errors
/// [`Error::Prompt`](crate::error::Error::Prompt) from the tokenizer.
pub fn chunks(segments: &[Segment], tokenizer: &Tokenizer) -> Result<Vec<Chunk>> {
    let mut cutter = Cutter { tokenizer, tokens: Vec::new(), last_comma: None, chunks: Vec::new() };
    for segment in segments {
        match segment {
            Segment::Break => cutter.cut(),
            Segment::Text { text, weight } => {
                for id in tokenizer.encode(text)? {
                    cutter.push(id, *weight);
                }
            }
        }
    }
    if !cutter.tokens.is_empty() || cutter.chunks.is_empty() {
        cutter.cut();
    }
    Ok(cutter.chunks)
}

/// Tokens of a parsed prompt without begin, end and padding.
///
/// # Errors
/// As for [`chunks`].
pub fn token_count(segments: &[Segment], tokenizer: &Tokenizer) -> Result<usize> {
    let mut count = 0;
    for segment in segments {
        if let Segment::Text { text, .. } = segment {
            count += tokenizer.encode(text)?.len();
        }
    }
    Ok(count)
}

struct Cutter<'a> {
    tokenizer: &'a Tokenizer,
    /// The chunk in the making.
    tokens: Vec<(u32, f32)>,
    /// Index of the last comma in it.
    last_comma: Option<usize>,
    chunks: Vec<Chunk>,
}

impl Cutter<'_> {
    fn push(&mut self, id: u32, weight: f32) {
        let full = self.tokens.len() == self.tokenizer.capacity();
        if Some(id) == self.tokenizer.comma() {
            self.last_comma = Some(self.tokens.len());
            if full {
                self.cut();
            }
        } else if full {
            let near = self.last_comma.filter(|comma| self.tokens.len() - comma <= COMMA_BACKTRACK);
            let moved = near.map(|comma| self.tokens.split_off(comma + 1)).unwrap_or_default();
            self.cut();
            self.tokens = moved;
        }
        self.tokens.push((id, weight));
    }

    fn cut(&mut self) {
        let tokens = std::mem::take(&mut self.tokens);
        self.last_comma = None;
        let ids: Vec<u32> = tokens.iter().map(|(id, _)| *id).collect();
        let mut weights = vec![1.0; self.tokenizer.max_length()];
        for (weight, (_, of_token)) in weights.iter_mut().skip(1).zip(&tokens) {
            *weight = *of_token;
        }
        self.chunks.push(Chunk { ids: self.tokenizer.frame(&ids), weights });
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::tokenizer::TokenizerFiles;

    const A: u32 = 0;
    const COMMA: u32 = 1;
    const BEGIN: u32 = 2;
    const END: u32 = 3;
    const PAD: u32 = 4;

    fn tokenizer(max_length: usize) -> Tokenizer {
        let vocab = r#"{"a</w>": 0, ",</w>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3, "!": 4}"#;
        let files = TokenizerFiles {
            vocab: Some(vocab.to_owned()),
            merges: Some(String::new()),
            tokenizer_config: Some(r#"{"pad_token": "!"}"#.to_owned()),
            ..TokenizerFiles::default()
        };
        Tokenizer::from_files(&files, max_length).unwrap()
    }

    /// Tokens of text in each chunk, and all chunks well formed.
    fn lengths(prompt: &str, max_length: usize) -> Vec<usize> {
        let tokenizer = tokenizer(max_length);
        let chunks = chunks(&parse(prompt).unwrap().segments, &tokenizer).unwrap();
        let length = |chunk: &Chunk| {
            let end = chunk.ids.iter().position(|id| *id == END).unwrap();
            assert_eq!((chunk.ids.len(), chunk.weights.len(), chunk.ids[0]), (max_length, max_length, BEGIN));
            assert!(chunk.ids[end + 1..].iter().all(|id| *id == PAD));
            assert!(chunk.weights[end..].iter().all(|weight| *weight == 1.0));
            end - 1
        };
        chunks.iter().map(length).collect()
    }

    #[test]
    fn weights_stay_with_their_tokens() {
        let segments = parse("a (a, a:1.5)").unwrap().segments;
        let tokenizer = tokenizer(8);
        let chunk = &chunks(&segments, &tokenizer).unwrap()[0];
        assert_eq!(chunk.ids, [BEGIN, A, A, COMMA, A, END, PAD, PAD]);
        assert_eq!(chunk.weights, [1.0, 1.0, 1.5, 1.5, 1.5, 1.0, 1.0, 1.0]);
        assert_eq!(token_count(&segments, &tokenizer), Ok(4));
    }

    #[test]
    fn cuts() {
        let a = |count: usize| "a ".repeat(count);
        let cases = [
            (String::new(), vec![0]),
            (a(75), vec![75]),
            (a(76), vec![75, 1]),
            (a(151), vec![75, 75, 1]),
            (format!("{} BREAK {}", a(3), a(4)), vec![3, 4]),
            ("BREAK".to_owned(), vec![0]),
            ("a BREAK".to_owned(), vec![1]),
            ("BREAK BREAK a".to_owned(), vec![0, 0, 1]),
            // The comma is token 56 of 75 (index 55): 20 back from the end, so the text after it moves on.
            (format!("{}, {}", a(55), a(25)), vec![56, 25]),
            // One more token back: too far, cut in the middle.
            (format!("{}, {}", a(54), a(25)), vec![75, 5]),
            (format!("{}, {}", a(75), a(2)), vec![75, 3]),
            (format!("{}, a", a(74)), vec![75, 1]),
            // The moved text has no comma any more, so the next cut is at the end.
            (format!("{}, {}", a(60), a(90)), vec![61, 75, 15]),
        ];
        for (prompt, expected) in cases {
            assert_eq!(lengths(&prompt, 77), expected, "{prompt}");
        }
        assert_eq!(lengths(&format!("{}, {}", a(10), a(20)), 24), [11, 20]);
        assert_eq!(lengths(&a(3), 3), [1, 1, 1]);
    }
}
