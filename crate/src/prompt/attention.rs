//! The attention grammar: `(more)`, `[less]`, `(this much:1.3)`, `\(` for a bracket itself, `BREAK`. Tags such as
//! `<lora:name>` are taken out first.
//!
//! The meaning is that of `parse_prompt_attention` in A1111 (`modules/prompt_parser.py`); where that would
//! misread a slip silently, this says so.

use super::networks::{LoraTag, Untagged, take_out};
use crate::error::{Error, Result};

/// Most bytes of a prompt.
const MAX_PROMPT_BYTES: usize = 64 << 10;

/// Most open brackets at one place.
const MAX_DEPTH: usize = 100;

/// Largest weight, either sign. Beyond a few units a prompt falls apart; this catches slips like `(a 12:30)`.
const MAX_WEIGHT: f64 = 10.0;

/// Factor of a bracket without a number.
const BRACKET: f64 = 1.1;

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// A text and the factor of its attention.
    Text {
        /// The text, without brackets and escapes.
        text: String,
        /// Factor, 1 where nothing was said.
        weight: f32,
    },
    /// `BREAK`: what follows begins a new chunk.
    Break,
}

/// A prompt taken apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParsedPrompt {
    /// Its pieces; neighbours differ in weight.
    pub segments: Vec<Segment>,
    /// The LoRAs that it asks for, in its order.
    pub loras: Vec<LoraTag>,
    /// What was left out, or is taken for words although other tools read more in it; one sentence each.
    pub warnings: Vec<String>,
}

/// Takes a prompt apart.
///
/// # Errors
/// [`Error::Prompt`] for a broken weight or tag, with the piece and how to write it, and for a prompt over 64 KiB.
pub fn parse(prompt: &str) -> Result<ParsedPrompt> {
    if prompt.len() > MAX_PROMPT_BYTES {
        return fail(format!("it has {} bytes; at most {MAX_PROMPT_BYTES} are taken", prompt.len()));
    }
    let Untagged { text, loras, mut warnings } = take_out(prompt)?;
    let mut parser = Parser { rest: &text, ..Parser::default() };
    while !parser.rest.is_empty() {
        parser.step()?;
    }
    warnings.extend(parser.scheduled.take());
    if words(&text).any(|word| word == "AND") {
        warnings.push("`AND` is read as a word: prompts are not combined".to_owned());
    }
    Ok(ParsedPrompt { segments: parser.finish()?, loras, warnings })
}

/// A text with the weight so far, or a break (`None`).
type Piece = (Option<String>, f64);

#[derive(Default)]
struct Parser<'a> {
    rest: &'a str,
    pieces: Vec<Piece>,
    /// Where the open `(` stand: the first piece inside.
    round: Vec<usize>,
    /// The same for `[`.
    square: Vec<usize>,
    /// What is to be said of the first piece that other tools read as a schedule.
    scheduled: Option<String>,
}

impl<'a> Parser<'a> {
    fn step(&mut self) -> Result<()> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(());
        };
        match first {
            '\\' => self.escape(),
            '(' | '[' => self.open(first)?,
            ')' | ']' => self.close(first),
            ':' if !self.round.is_empty() => self.colon()?,
            _ => self.plain(),
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn push(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push((Some(text.to_owned()), 1.0));
        }
    }

    /// A backslash shields a bracket or a backslash; before anything else it is text.
    fn escape(&mut self) {
        let backslash = self.advance(1);
        let shielded = self.rest.starts_with(['(', ')', '[', ']', '\\']);
        let text = if shielded { self.advance(1) } else { backslash };
        self.push(text);
    }

    fn open(&mut self, bracket: char) -> Result<()> {
        if self.round.len() + self.square.len() >= MAX_DEPTH {
            return fail(format!(
                "more than {MAX_DEPTH} brackets are open at once; write `\\{bracket}` for the sign"
            ));
        }
        self.advance(1);
        let stack = if bracket == '(' { &mut self.round } else { &mut self.square };
        stack.push(self.pieces.len());
        Ok(())
    }

    fn close(&mut self, bracket: char) {
        let text = self.advance(1);
        let (stack, factor) =
            if bracket == ')' { (&mut self.round, BRACKET) } else { (&mut self.square, 1.0 / BRACKET) };
        match stack.pop() {
            Some(from) => {
                if bracket == ']' {
                    self.note_schedule(from);
                }
                self.multiply(from, factor);
            }
            None => self.push(text),
        }
    }

    /// In A1111, `[cat:dog:0.5]` and `[cat|dog]` are one thing first and another in later steps.
    fn note_schedule(&mut self, from: usize) {
        let pieces = self.pieces.get(from..).unwrap_or_default();
        let text: String = pieces.iter().filter_map(|(text, _)| text.as_deref()).collect();
        let is_schedule = text.contains('|')
            || text
                .rsplit_once(':')
                .is_some_and(|(before, last)| !before.is_empty() && is_number(last.trim()));
        if is_schedule {
            let shown: String = text.chars().take(40).collect();
            self.scheduled
                .get_or_insert(format!("`[{shown}]` is read as words: a prompt is the same in all steps"));
        }
    }

    /// A colon inside round brackets: the weight where a number and `)` follow, else text or a slip.
    fn colon(&mut self) -> Result<()> {
        let after = self.rest.get(1..).unwrap_or_default();
        let tail = after.split(['(', ')', '[', ']', '\\', ':']).next().unwrap_or_default();
        let end = after.get(tail.len()..).unwrap_or_default().chars().next();
        let number = tail.trim();
        match end {
            Some(')') if is_number(number) => {
                let weight = self.weight(number)?;
                self.advance(1 + tail.len() + 1);
                if let Some(from) = self.round.pop() {
                    self.multiply(from, weight);
                }
                Ok(())
            }
            Some(')') if !tail.starts_with(char::is_whitespace) => self.slip(&format!(":{tail})")),
            None if is_number(number) => {
                let piece = self.around(&format!(":{tail}"));
                fail(format!("`{piece}` is never closed; write `{piece})`"))
            }
            _ => {
                let colon = self.advance(1);
                self.push(colon);
                Ok(())
            }
        }
    }

    fn weight(&self, number: &str) -> Result<f64> {
        match number.parse::<f64>() {
            Ok(weight) if weight.abs() <= MAX_WEIGHT => Ok(weight),
            Ok(_) => {
                let piece = self.around(&format!(":{number})"));
                fail(format!(
                    "the weight in `{piece}` is beyond {MAX_WEIGHT}; write one such as `(word:1.2)`"
                ))
            }
            Err(_) => self.slip(&format!(":{number})")),
        }
    }

    fn slip<T>(&self, tail: &str) -> Result<T> {
        let piece = self.around(tail);
        let how = "write a number, `(word:1.2)`, or a space after the colon where it belongs to the text";
        fail(format!("`{piece}` has no weight after its colon; {how}"))
    }

    /// The innermost bracket as written, shortened, with `tail` at its end.
    fn around(&self, tail: &str) -> String {
        let from = self.round.last().copied().unwrap_or_default();
        let inside = self.pieces.get(from..).unwrap_or_default();
        let text: String = inside.iter().map(|(text, _)| text.as_deref().unwrap_or(" BREAK ")).collect();
        let skipped = text.chars().count().saturating_sub(40);
        let text: String = text.chars().skip(skipped).collect();
        let tail: String = tail.chars().take(40).collect();
        let begin = if skipped > 0 { "(…" } else { "(" };
        format!("{begin}{text}{tail}")
    }

    fn plain(&mut self) {
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let after = self.rest.get(first..).unwrap_or_default();
        let length = after.find(['(', ')', '[', ']', '\\', ':']).unwrap_or(after.len());
        let text = self.advance(first + length);
        let mut parts = split_at_breaks(text).into_iter();
        self.push(parts.next().unwrap_or_default());
        for part in parts {
            self.pieces.push((None, 1.0));
            self.push(part);
        }
    }

    fn multiply(&mut self, from: usize, factor: f64) {
        for (_, weight) in self.pieces.iter_mut().skip(from) {
            *weight *= factor;
        }
    }

    /// Closes what is still open, as A1111 does, and joins neighbours of one weight.
    fn finish(mut self) -> Result<Vec<Segment>> {
        for from in std::mem::take(&mut self.round) {
            self.multiply(from, BRACKET);
        }
        for from in std::mem::take(&mut self.square) {
            self.multiply(from, 1.0 / BRACKET);
        }
        let mut segments: Vec<Segment> = Vec::new();
        for (text, factor) in self.pieces {
            let Some(piece) = text else {
                segments.push(Segment::Break);
                continue;
            };
            if factor.abs() > MAX_WEIGHT {
                let piece: String = piece.chars().take(40).collect();
                return fail(format!(
                    "the brackets around `{piece}` multiply to a weight beyond {MAX_WEIGHT}"
                ));
            }
            match segments.last_mut() {
                Some(Segment::Text { text, weight }) if *weight == factor as f32 => text.push_str(&piece),
                _ => segments.push(Segment::Text { text: piece, weight: factor as f32 }),
            }
        }
        Ok(segments)
    }
}

/// Whether a text is meant as a number: a sign, digits and points.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty()
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.parse::<f64>().is_ok()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !of_word(c))
}

fn of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits at each word `BREAK`, dropping the white space around it.
fn split_at_breaks(text: &str) -> Vec<&str> {
    const BREAK: &str = "BREAK";
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices(BREAK) {
        let before = text.get(begin..at).unwrap_or_default();
        let after = text.get(at + BREAK.len()..).unwrap_or_default();
        let joined =
            text.get(..at).is_some_and(|before| before.ends_with(of_word)) || after.starts_with(of_word);
        if !joined {
            parts.push(if parts.is_empty() { before.trim_end() } else { before.trim() });
            begin = at + BREAK.len();
        }
    }
    let last = text.get(begin..).unwrap_or_default();
    parts.push(if parts.is_empty() { last } else { last.trim_start() });
    parts
}

fn fail<T>(reason: String) -> Result<T> {
    Err(Error::Prompt { reason })
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
