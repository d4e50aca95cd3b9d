//! Tags that load further networks: `<lora:name:0.8>`, as in A1111.

use crate::error::{Error, Result};

/// Largest strength, either sign: the same as of weights, and beyond what any LoRA bears.
pub const MAX_STRENGTH: f64 = 10.0;

/// A LoRA that a prompt asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraTag {
    /// The name it was loaded under.
    pub name: String,
    /// Factor of its effect; 1 where nothing was said, 0 for none.
    pub strength: f64,
}

/// A prompt without its tags.
#[derive(Debug, Default)]
pub(super) struct Untagged {
    pub(super) text: String,
    pub(super) loras: Vec<LoraTag>,
    pub(super) warnings: Vec<String>,
}

/// Takes the tags out of a prompt; `<lyco:` is another way to write `<lora:`.
///
/// # Errors
/// [`Error::Prompt`] for a tag without a name or with a broken strength.
pub(super) fn take_out(prompt: &str) -> Result<Untagged> {
    let mut all = Untagged { text: String::with_capacity(prompt.len()), ..Untagged::default() };
    let mut rest = prompt;
    while let Some((before, tag)) = rest.split_once('<') {
        all.text.push_str(before);
        match tag.split_once('>') {
            Some((tag, after)) if all.take(tag)? => rest = after,
            _ => {
                all.text.push('<');
                rest = tag;
            }
        }
    }
    all.text.push_str(rest);
    Ok(all)
}

impl Untagged {
    /// Takes what stands between `<` and `>`; false for what is no tag.
    fn take(&mut self, tag: &str) -> Result<bool> {
        let Some((kind, rest)) = tag.split_once(':') else { return Ok(false) };
        match kind {
            "lora" | "lyco" => self.loras.push(lora(tag, rest)?),
            "hypernet" => {
                self.warnings.push(format!("`<{tag}>` is left out: Easel does not load such networks"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn lora(tag: &str, rest: &str) -> Result<LoraTag> {
    let (name, strength) = match rest.split_once(':') {
        Some((name, number)) => (name, number.trim().parse().ok()),
        None => (rest, Some(1.0)),
    };
    let shown: String = tag.chars().take(60).collect();
    let fail = |what: String| {
        let reason = format!("`<{shown}>` {what}; write one such as `<lora:name:0.8>`");
        Err(Error::Prompt { reason })
    };
    match strength.filter(|strength: &f64| strength.abs() <= MAX_STRENGTH) {
        _ if name.trim().is_empty() => fail("names no LoRA".to_owned()),
        None => fail(format!("has no strength between -{MAX_STRENGTH} and {MAX_STRENGTH} at its end")),
        Some(strength) => Ok(LoraTag { name: name.trim().to_owned(), strength }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let all = take_out("a <lora:x:0.8> cat <3 <b> <lyco:my style><lora:x: -1 ><hypernet:y>").unwrap();
        assert_eq!(all.text, "a  cat <3 <b> ");
        let found: Vec<_> = all.loras.iter().map(|tag| (tag.name.as_str(), tag.strength)).collect();
        assert_eq!(found, [("x", 0.8), ("my style", 1.0), ("x", -1.0)]);
        assert_eq!(all.warnings.len(), 1);
        assert!(all.warnings[0].contains("`<hypernet:y>`"));
        assert_eq!(take_out("a <lora:open").unwrap().text, "a <lora:open");
        assert_eq!(take_out("<lora> <lora x>").unwrap().text, "<lora> <lora x>");
    }

    #[test]
    fn broken_tags_are_named() {
        let long = format!("<lora:{}:x>", "é".repeat(1000));
        for prompt in [
            "<lora:>",
            "<lora: :1>",
            "<lora:x:>",
            "<lora:x:y>",
            "<lora:x:1:1>",
            "<lora:x:11>",
            "<lora:x:nan>",
            "<lora:x:inf>",
            &long,
        ] {
            let error = take_out(prompt).unwrap_err();
            assert_eq!(error.code(), "bad_prompt", "{prompt}");
            assert!(error.to_string().contains("`<lora:") && error.to_string().len() < 300, "{error}");
        }
    }
}
