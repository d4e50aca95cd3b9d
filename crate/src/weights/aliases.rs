//! Other names under which the same tensor is stored by other versions of the writing tools.

/// Attention projections of the VAE's mid block: today's name, then the one diffusers wrote before 0.18
/// (`_convert_deprecated_attention_blocks` in `diffusers/models/modeling_utils.py`).
const ATTENTION: [(&str, &str); 4] =
    [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")];

/// Prefix that the text encoder's tensors have in files of most versions of transformers, not in all.
const TEXT_PREFIX: &str = "text_model.";

/// The names to look for when `name` itself is not in the file, likeliest first.
///
/// Model code asks by the names of current diffusers, and for the text encoder with or without
/// `text_model.`.
#[must_use]
pub fn alternatives(name: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(rest) = name.strip_prefix(TEXT_PREFIX) {
        names.push(rest.to_owned());
    } else {
        names.push(format!("{TEXT_PREFIX}{name}"));
    }
    for (current, deprecated) in ATTENTION {
        if name.contains(".attentions.") && name.contains(current) {
            names.push(name.replace(current, deprecated));
        }
    }
    names
}

/// Whether a tensor of shape `found` may stand for one of shape `expected`: equal but for dimensions of 1 at
/// the end. A linear layer `[o, i]` and a 1x1 convolution `[o, i, 1, 1]` hold the same numbers in one order.
#[must_use]
pub fn same_layout(expected: &[usize], found: &[usize]) -> bool {
    trimmed(expected) == trimmed(found)
}

fn trimmed(shape: &[usize]) -> &[usize] {
    let end = shape.iter().rposition(|&size| size != 1).map_or(0, |last| last + 1);
    shape.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let text = "text_model.final_layer_norm.weight";
        assert_eq!(alternatives(text), ["final_layer_norm.weight"]);
        assert_eq!(alternatives("final_layer_norm.weight"), [text]);
        let vae = alternatives("decoder.mid_block.attentions.0.to_out.0.bias");
        assert!(vae.contains(&"decoder.mid_block.attentions.0.proj_attn.bias".to_owned()));
    }

    #[test]
    fn layouts() {
        let equal: [(&[usize], &[usize]); 4] =
            [(&[4, 8], &[4, 8, 1, 1]), (&[4, 8, 1, 1], &[4, 8]), (&[1], &[]), (&[4, 1, 3], &[4, 1, 3])];
        for (a, b) in equal {
            assert!(same_layout(a, b), "{a:?} {b:?}");
        }
        assert!(!same_layout(&[4, 8], &[8, 4]));
        assert!(!same_layout(&[4, 3], &[4, 1, 3]));
    }
}
