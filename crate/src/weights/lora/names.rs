//! Names of tensors in LoRA files: those of diffusers and PEFT, old and new, and those of kohya's scripts (diffusers
//! `utils/state_dict_utils.py` and `loaders/lora_conversion_utils.py`).

use super::Part;

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `A`, from the inputs to the rank.
    Down,
    /// `B`, from the rank to the outputs.
    Up,
    /// What the product is multiplied by, times the rank.
    Alpha,
}

/// The name of a layer in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerName {
    /// The part of the model.
    pub part: Part,
    /// Name in that part: with dots, or with `_` in their place when [`Self::underscored`].
    pub name: String,
    /// Whether dots are written `_`.
    pub underscored: bool,
}

/// A tensor's name taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A tensor of a layer.
    Of(LayerName, Role),
    /// One of a method that is no LoRA, which this names.
    Refused(&'static str),
    /// Something else.
    Unknown,
}

/// Ends of names. `_lora` belongs to the layer's attention processor: `to_q_lora.down.weight` is of `to_q`.
const ENDS: [(&str, Role); 12] = [
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    (".alpha", Role::Alpha),
    (".lora_alpha", Role::Alpha),
];

/// Pieces of names that show what else a file may be.
const REFUSED: [(&str, &str); 11] = [
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".oft_", "OFT"),
    (".boft_", "BOFT"),
    (".lora_mid.", "LoCon with a third factor, `lora_mid`"),
    (".lora_B.bias", "LoRA with biases"),
    (".lora_up.bias", "LoRA with biases"),
    (".on_input", "IA3"),
    (".glora_", "GLoRA"),
];

/// Ends of names of differences to whole tensors; `.diffusion_model` begins like them.
const REFUSED_ENDS: [&str; 2] = [".diff", ".diff_b"];

/// Beginnings of kohya's names.
const KOHYA: [(&str, Part); 4] = [
    ("lora_unet_", Part::Unet),
    ("lora_te_", Part::TextEncoder),
    ("lora_te1_", Part::TextEncoder),
    ("lora_te2_", Part::TextEncoder2),
];

/// Beginnings of names with dots; the first that fits counts. A UNet's may have none.
const DOTTED: [(&str, Part); 8] = [
    ("text_encoder.", Part::TextEncoder),
    ("text_encoder_2.", Part::TextEncoder2),
    ("unet.", Part::Unet),
    ("base_model.model.", Part::Unet),
    ("model.diffusion_model.", Part::Unet),
    ("diffusion_model.", Part::Unet),
    ("text_model.", Part::TextEncoder),
    ("", Part::Unet),
];

/// Attention projections of text encoders in old files of diffusers.
const TEXT_ATTENTION: [(&str, &str); 4] = [
    (".self_attn.to_q", ".self_attn.q_proj"),
    (".self_attn.to_k", ".self_attn.k_proj"),
    (".self_attn.to_v", ".self_attn.v_proj"),
    (".self_attn.to_out", ".self_attn.out_proj"),
];

/// Takes a tensor's name apart.
pub(super) fn parse(tensor: &str) -> Parsed {
    if let Some((_, method)) = REFUSED.iter().find(|(piece, _)| tensor.contains(piece)) {
        return Parsed::Refused(method);
    }
    if REFUSED_ENDS.iter().any(|end| tensor.ends_with(end)) {
        return Parsed::Refused("a difference of whole weights, `diff`");
    }
    let found = ENDS.iter().find_map(|(end, role)| Some((tensor.strip_suffix(end)?, *role)));
    let Some((layer, role)) = found else { return Parsed::Unknown };
    Parsed::Of(layer_name(layer), role)
}

fn layer_name(layer: &str) -> LayerName {
    if let Some((name, part)) =
        KOHYA.iter().find_map(|(start, part)| Some((layer.strip_prefix(start)?, *part)))
    {
        return LayerName { part, name: name.to_owned(), underscored: true };
    }
    let part = DOTTED.iter().find_map(|(start, part)| Some((layer.strip_prefix(start)?, *part)));
    let (rest, part) = part.unwrap_or((layer, Part::Unet));
    let name = if part == Part::Unet { unet_name(rest) } else { text_name(rest) };
    LayerName { part, name, underscored: false }
}

fn unet_name(rest: &str) -> String {
    let name = rest.replace(".processor.", ".");
    if name.ends_with(".to_out") { name + ".0" } else { name }
}

/// As current models name it: transformers wrote `text_model.` before it in most versions.
fn text_name(rest: &str) -> String {
    let inside = rest.starts_with("text_model.") || rest.starts_with("text_projection");
    let mut name = if inside { rest.to_owned() } else { format!("text_model.{rest}") };
    for (old, new) in TEXT_ATTENTION {
        if name.ends_with(old) {
            name = name.replace(old, new);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let q = "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q";
        let out = "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0";
        let text = "text_model.encoder.layers.3.self_attn.out_proj";
        let cases = [
            (format!("unet.{q}.lora_A.weight"), Part::Unet, q, Role::Down),
            (format!("unet.{q}.lora.up.weight"), Part::Unet, q, Role::Up),
            (format!("{q}.lora_B.weight"), Part::Unet, q, Role::Up),
            (format!("base_model.model.{q}.lora_B.weight"), Part::Unet, q, Role::Up),
            (
                format!("unet.{}_lora.down.weight", q.replace("attn1.", "attn1.processor.")),
                Part::Unet,
                q,
                Role::Down,
            ),
            (
                "mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora.up.weight"
                    .to_owned(),
                Part::Unet,
                out,
                Role::Up,
            ),
            (format!("unet.{out}.lora_A.weight"), Part::Unet, out, Role::Down),
            (
                format!("text_encoder.{text}.lora_linear_layer.down.weight"),
                Part::TextEncoder,
                text,
                Role::Down,
            ),
            (format!("text_encoder_2.{text}.lora_A.weight"), Part::TextEncoder2, text, Role::Down),
            (
                "text_encoder.encoder.layers.3.self_attn.to_out_lora.up.weight".to_owned(),
                Part::TextEncoder,
                text,
                Role::Up,
            ),
            (format!("{text}.lora_A.weight"), Part::TextEncoder, text, Role::Down),
            (
                "text_encoder_2.text_projection.lora_B.weight".to_owned(),
                Part::TextEncoder2,
                "text_projection",
                Role::Up,
            ),
        ];
        for (tensor, part, name, role) in cases {
            let expected = LayerName { part, name: name.to_owned(), underscored: false };
            assert_eq!(parse(&tensor), Parsed::Of(expected, role), "{tensor}");
        }
        let kohya = |part, name: &str| LayerName { part, name: name.to_owned(), underscored: true };
        let cases = [
            ("lora_unet_mid_block_x.lora_down.weight", kohya(Part::Unet, "mid_block_x"), Role::Down),
            ("lora_te_a.lora_up.weight", kohya(Part::TextEncoder, "a"), Role::Up),
            ("lora_te1_a.alpha", kohya(Part::TextEncoder, "a"), Role::Alpha),
            ("lora_te2_a.alpha", kohya(Part::TextEncoder2, "a"), Role::Alpha),
        ];
        for (tensor, layer, role) in cases {
            assert_eq!(parse(tensor), Parsed::Of(layer, role), "{tensor}");
        }
        let refused = [
            ("lora_unet_a.dora_scale", "DoRA"),
            ("unet.a.lora_magnitude_vector", "DoRA"),
            ("lora_unet_a.hada_w1_a", "LoHa"),
            ("lora_unet_a.lokr_w1", "LoKr"),
            ("lora_unet_a.oft_blocks", "OFT"),
        ];
        for (tensor, method) in refused {
            assert_eq!(parse(tensor), Parsed::Refused(method), "{tensor}");
        }
        assert_eq!(parse("conv_in.weight"), Parsed::Unknown);
    }
}
