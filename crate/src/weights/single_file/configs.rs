//! The configs of a checkpoint's parts, as diffusers and transformers write them. What shapes do not tell is what all
//! published models of the family have.

use serde_json::{Value, json};

use super::text_encoder;
use super::unet_blocks::{Layer, Mid, Structure};
use super::vae;

/// `AutoencoderKL.scaling_factor` of Stable Diffusion 1 and 2, and of XL.
const SCALING_FACTOR: f64 = 0.18215;
const XL_SCALING_FACTOR: f64 = 0.13025;

/// Heads of Stable Diffusion 1, in every stage; where projections are linear, heads have this width instead.
const HEADS: usize = 8;
const HEAD_WIDTH: usize = 64;

/// Numbers that SDXL's UNet is told beside the pooled text: two sizes and a place.
const TIME_IDS: usize = 6;

/// Width of the embedding of each, where no second encoder tells.
const ADDITION_TIME_EMBED_DIM: usize = 256;

/// The UNet with what lies outside of its blocks.
pub(super) struct Unet {
    pub(super) structure: Structure,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) cross_attention_dim: usize,
    pub(super) linear_projection: bool,
    pub(super) time_cond_proj_dim: Option<usize>,
    /// Width of what the UNet is told beside the timestep.
    pub(super) addition: Option<usize>,
    /// `projection_dim` of the second text encoder.
    pub(super) pooled: Option<usize>,
    /// Height and width in latents.
    pub(super) sample_size: [usize; 2],
}

pub(super) fn unet(unet: &Unet) -> Value {
    let Structure { down, mid, up } = &unet.structure;
    let channels: Vec<usize> =
        down.iter().map(|layers| layers.first().map_or(0, |layer| layer.channels)).collect();
    let heads = if unet.linear_projection {
        json!(channels.iter().map(|channels| (channels / HEAD_WIDTH).max(1)).collect::<Vec<_>>())
    } else {
        json!(HEADS)
    };
    let layers: Vec<usize> = down.iter().map(Vec::len).collect();
    let [height, width] = unet.sample_size;
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "sample_size": if height == width { json!(height) } else { json!([height, width]) },
        "in_channels": unet.in_channels,
        "out_channels": unet.out_channels,
        "block_out_channels": channels,
        "down_block_types": down.iter().map(|layers| block_type(layers, "Down")).collect::<Vec<_>>(),
        "up_block_types": up.iter().map(|layers| block_type(layers, "Up")).collect::<Vec<_>>(),
        "mid_block_type": mid_block_type(*mid),
        "layers_per_block": one_or_many(layers.iter().map(|layers| json!(layers)).collect()),
        "cross_attention_dim": unet.cross_attention_dim,
        "attention_head_dim": heads,
        "use_linear_projection": unet.linear_projection,
        "time_cond_proj_dim": unet.time_cond_proj_dim,
        "transformer_layers_per_block": transformer_layers(down, *mid),
        "reverse_transformer_layers_per_block": reverse_transformer_layers(down, up),
        "norm_num_groups": 32,
    });
    for (field, value) in addition(unet) {
        config[field] = value;
    }
    config
}

/// A UNet that is told more is SDXL's where a second encoder gives a pooled text; another one takes pictures.
fn addition(unet: &Unet) -> Vec<(&'static str, Value)> {
    let Some(width) = unet.addition else { return Vec::new() };
    let Some(pooled) = unet.pooled else {
        return vec![
            ("class_embed_type", json!("projection")),
            ("projection_class_embeddings_input_dim", json!(width)),
        ];
    };
    let rest = width.saturating_sub(pooled);
    let each = if rest.is_multiple_of(TIME_IDS) { rest / TIME_IDS } else { ADDITION_TIME_EMBED_DIM };
    vec![
        ("addition_embed_type", json!("text_time")),
        ("addition_time_embed_dim", json!(each)),
        ("projection_class_embeddings_input_dim", json!(width)),
    ]
}

fn attends(layers: &[Layer]) -> bool {
    layers.iter().any(|layer| layer.transformer.is_some())
}

fn block_type(layers: &[Layer], direction: &str) -> String {
    let cross = if attends(layers) { "CrossAttn" } else { "" };
    format!("{cross}{direction}Block2D")
}

fn mid_block_type(mid: Mid) -> Option<&'static str> {
    match mid {
        Mid::Absent => None,
        Mid::Resnet => Some("UNetMidBlock2D"),
        Mid::Attention(_) => Some("UNetMidBlock2DCrossAttn"),
    }
}

/// One value where all are equal, as diffusers' configs have it.
fn one_or_many(values: Vec<Value>) -> Value {
    match values.split_first() {
        Some((first, rest)) if rest.iter().all(|value| value == first) => first.clone(),
        _ => Value::Array(values),
    }
}

/// Transformer blocks of a stage; what a stage without has no meaning, and published configs say 1.
fn stage_layers(layers: &[Layer]) -> Value {
    if !attends(layers) {
        return json!(1);
    }
    one_or_many(layers.iter().map(|layer| json!(layer.transformer.unwrap_or(0))).collect())
}

/// By stage, from the input. The middle has the number of the last stage, whether that attends or not.
fn transformer_layers(down: &[Vec<Layer>], mid: Mid) -> Value {
    let mut stages: Vec<Value> = down.iter().map(|layers| stage_layers(layers)).collect();
    if let (Mid::Attention(blocks), Some(last), false) =
        (mid, stages.last_mut(), down.last().is_some_and(|layers| attends(layers)))
    {
        *last = json!(blocks);
    }
    one_or_many(stages)
}

/// By stage, from the middle, where the way up is not the way down in reverse.
fn reverse_transformer_layers(down: &[Vec<Layer>], up: &[Vec<Layer>]) -> Option<Value> {
    let stages: Vec<Value> = up.iter().map(|layers| stage_layers(layers)).collect();
    let mirrored = down.iter().rev().map(|layers| stage_layers(layers));
    let differs = stages.iter().zip(mirrored).any(|(up, down)| *up != down || up.is_array());
    differs.then_some(Value::Array(stages))
}

pub(super) fn vae(vae: &vae::Structure, xl: bool) -> Value {
    let stages = vae.block_out_channels.len();
    json!({
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": vae.block_out_channels,
        "down_block_types": vec!["DownEncoderBlock2D"; stages],
        "up_block_types": vec!["UpDecoderBlock2D"; stages],
        "layers_per_block": vae.layers_per_block,
        "latent_channels": vae.latent_channels,
        "norm_num_groups": 32,
        "use_quant_conv": vae.use_quant_conv,
        "use_post_quant_conv": vae.use_post_quant_conv,
        "mid_block_add_attention": vae.mid_block_add_attention,
        "scaling_factor": if xl { XL_SCALING_FACTOR } else { SCALING_FACTOR },
    })
}

pub(super) fn text_encoder(encoder: &text_encoder::Structure) -> Value {
    let mut config = json!({
        "model_type": "clip_text_model",
        "vocab_size": encoder.vocab_size,
        "hidden_size": encoder.hidden_size,
        "intermediate_size": encoder.intermediate_size,
        "num_hidden_layers": encoder.num_hidden_layers,
        "num_attention_heads": encoder.num_attention_heads,
        "max_position_embeddings": encoder.max_position_embeddings,
        "hidden_act": encoder.hidden_act,
    });
    if let Some(projection_dim) = encoder.projection_dim {
        config["projection_dim"] = json!(projection_dim);
    }
    config
}

/// `model_index.json`; `lcm` is for a UNet that takes the guidance scale.
pub(super) fn model_index(xl: bool, lcm: bool, scheduler: &str) -> Value {
    let pipeline = match (xl, lcm) {
        (true, _) => "StableDiffusionXLPipeline",
        (false, true) => "LatentConsistencyModelPipeline",
        (false, false) => "StableDiffusionPipeline",
    };
    let mut index = json!({
        "_class_name": pipeline,
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    });
    if xl {
        index["text_encoder_2"] = json!(["transformers", "CLIPTextModelWithProjection"]);
        index["tokenizer_2"] = json!(["transformers", "CLIPTokenizer"]);
        index["force_zeros_for_empty_prompt"] = json!(true);
    }
    index
}
