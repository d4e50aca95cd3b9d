//! What the `easel` command says to damaged models and impossible requests: one line with a stable code and the name of
//! what is wrong. Nothing is written and nothing is lost.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::Easel;
use serde_json::{Value, json};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// Replaces the header of a safetensors file.
fn edit_header(file: &Path, edit: impl FnOnce(&mut Value)) {
    let bytes = fs::read(file).expect("weights");
    let (length, rest) = bytes.split_first_chunk().expect("a length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).expect("a header");
    edit(&mut header);
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(file, [&length, header.as_bytes(), data].concat()).expect("damaged weights");
}

fn edit_json(file: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(file).expect("JSON")).expect("JSON");
    edit(&mut value);
    fs::write(file, value.to_string()).expect("damaged JSON");
}

fn edit_bytes(file: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file");
    edit(&mut bytes);
    fs::write(file, bytes).expect("a damaged file");
}

/// Makes the first number of an f32 tensor none.
fn spoil(file: &Path, tensor: &str) {
    let mut start = 0;
    edit_header(file, |header| {
        start = header[tensor]["data_offsets"][0].as_u64().expect("an offset") as usize;
    });
    edit_bytes(file, |bytes| {
        let length = u64::from_le_bytes(*bytes.first_chunk().expect("a length")) as usize;
        bytes[8 + length + start..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
}

fn rename(header: &mut Value, from: &str, to: &str) {
    let tensors = header.as_object_mut().expect("tensors");
    let tensor = tensors.remove(from).expect("the tensor");
    tensors.insert(to.to_owned(), tensor);
}

type Damage = fn(&Path);

/// Damage, the file it is done to, the code, and what the line must name beside the file.
const DAMAGED: &[(&str, Damage, &str, &[&str])] = &[
    (
        UNET,
        |file| edit_header(file, |header| rename(header, "conv_in.weight", "conv.weight")),
        "missing_tensor",
        &["conv_in.weight"],
    ),
    (
        UNET,
        |file| edit_header(file, |header| header["conv_in.weight"]["shape"] = json!([4, 16, 3, 3])),
        "tensor_shape",
        &["conv_in.weight", "[16, 4, 3, 3]"],
    ),
    (
        UNET,
        |file| edit_header(file, |header| header["conv_in.weight"]["shape"] = json!([16, 4, 3, 4])),
        "bad_safetensors",
        &["conv_in.weight"],
    ),
    (
        UNET,
        |file| edit_header(file, |header| header["conv_in.weight"]["shape"] = json!([u64::MAX, 4, 3, 3])),
        "bad_safetensors",
        &["conv_in.weight"],
    ),
    (
        UNET,
        |file| edit_header(file, |header| header["conv_in.weight"]["dtype"] = json!("I32")),
        "unsupported_dtype",
        &["conv_in.weight", "I32"],
    ),
    (
        UNET,
        |file| edit_header(file, |header| header["conv_in.bias"]["data_offsets"] = json!([0, 1_u64 << 62])),
        "bad_safetensors",
        &["conv_in.bias"],
    ),
    (
        UNET,
        |file| edit_header(file, |header| header["conv_in.weight"]["data_offsets"] = json!([0, 2304])),
        "bad_safetensors",
        &["overlaps"],
    ),
    (
        UNET,
        |file| edit_header(file, |header| *header = json!(["conv_in.weight"])),
        "bad_safetensors",
        &["header"],
    ),
    (UNET, |file| edit_bytes(file, |bytes| bytes.truncate(bytes.len() - 10)), "bad_safetensors", &[]),
    (UNET, |file| edit_bytes(file, |bytes| bytes.truncate(100)), "bad_safetensors", &[]),
    (UNET, |file| edit_bytes(file, Vec::clear), "bad_safetensors", &[]),
    (UNET, |file| edit_bytes(file, |bytes| bytes[..8].fill(0xff)), "bad_safetensors", &["header"]),
    (UNET, |file| edit_bytes(file, |bytes| bytes[8..20].fill(0xff)), "bad_safetensors", &["header"]),
    (
        "vae/diffusion_pytorch_model.safetensors",
        |file| edit_bytes(file, |bytes| bytes.push(0)),
        "bad_safetensors",
        &[],
    ),
    ("text_encoder/model.safetensors", |file| fs::remove_file(file).expect("a file"), "file_not_found", &[]),
    ("model_index.json", |file| fs::remove_file(file).expect("a file"), "file_not_found", &[]),
    (
        "model_index.json",
        |file| edit_json(file, |index| index["unet"][1] = json!("FluxTransformer2DModel")),
        "unsupported_class",
        &["FluxTransformer2DModel"],
    ),
    (
        "model_index.json",
        |file| edit_json(file, |index| index["_class_name"] = json!("StableVideoDiffusionPipeline")),
        "unsupported_class",
        &["StableVideoDiffusionPipeline"],
    ),
    (
        "unet/config.json",
        |file| edit_json(file, |config| config["norm_num_groups"] = json!(7)),
        "bad_config",
        &["norm_num_groups"],
    ),
    (
        "unet/config.json",
        |file| edit_json(file, |config| config["block_out_channels"] = json!([1_u64 << 40, 32])),
        "bad_config",
        &["block_out_channels"],
    ),
    (
        "unet/config.json",
        |file| edit_json(file, |config| config["cross_attention_dim"] = json!(-1)),
        "bad_config",
        &["cross_attention_dim"],
    ),
    ("unet/config.json", |file| edit_bytes(file, |bytes| bytes.truncate(40)), "bad_config", &[]),
    (
        "text_encoder/config.json",
        |file| edit_json(file, |config| config["num_hidden_layers"] = json!(100_000)),
        "bad_config",
        &["num_hidden_layers"],
    ),
    (
        "vae/config.json",
        |file| edit_json(file, |config| config["latent_channels"] = json!(0)),
        "bad_config",
        &["latent_channels"],
    ),
    (
        "vae/config.json",
        |file| edit_json(file, |config| config["latent_channels"] = json!("four")),
        "bad_config",
        &["latent_channels"],
    ),
    (
        "scheduler/scheduler_config.json",
        |file| edit_json(file, |config| config["beta_schedule"] = json!("cubic")),
        "bad_config",
        &["beta_schedule"],
    ),
    (
        "scheduler/scheduler_config.json",
        |file| edit_json(file, |config| config["num_train_timesteps"] = json!(u64::MAX)),
        "bad_config",
        &["num_train_timesteps"],
    ),
    (
        "tokenizer/vocab.json",
        |file| edit_bytes(file, |bytes| bytes.truncate(bytes.len() / 2)),
        "bad_config",
        &[],
    ),
    (
        "tokenizer/vocab.json",
        |file| edit_json(file, |vocab| vocab["a</w>"] = json!(1_u64 << 40)),
        "bad_config",
        &["a</w>"],
    ),
    ("tokenizer/merges.txt", |file| edit_bytes(file, |bytes| bytes.extend(b"\none\n")), "bad_tokenizer", &[]),
    ("tokenizer/vocab.json", |file| fs::remove_file(file).expect("a file"), "file_not_found", &[]),
];

/// The same, of a model with two text encoders.
const DAMAGED_XL: &[(&str, Damage, &str, &[&str])] = &[
    (
        "model_index.json",
        |file| edit_json(file, |index| index["requires_aesthetics_score"] = json!(true)),
        "bad_config",
        &["requires_aesthetics_score", "refiner"],
    ),
    (
        "model_index.json",
        |file| edit_json(file, |index| index["text_encoder_2"] = json!([null, null])),
        "bad_config",
        &["text_encoder_2"],
    ),
    (
        "model_index.json",
        |file| edit_json(file, |index| index["text_encoder_2"][1] = json!("CLIPTextModel")),
        "unsupported_class",
        &["CLIPTextModel", "CLIPTextModelWithProjection"],
    ),
    (
        "unet/config.json",
        |file| edit_json(file, |config| config["addition_embed_type"] = json!(null)),
        "bad_config",
        &["addition_embed_type", "StableDiffusionXLPipeline"],
    ),
    (
        "unet/config.json",
        |file| edit_json(file, |config| config["projection_class_embeddings_input_dim"] = json!(40)),
        "bad_config",
        &["projection_class_embeddings_input_dim", "40", "46"],
    ),
    (
        "unet/config.json",
        |file| edit_json(file, |config| config["cross_attention_dim"] = json!(12)),
        "bad_config",
        &["cross_attention_dim", "12", "20"],
    ),
    (
        "tokenizer_2/tokenizer_config.json",
        |file| edit_json(file, |config| config["model_max_length"] = json!(24)),
        "bad_config",
        &["model_max_length", "24", "77"],
    ),
    ("tokenizer_2/vocab.json", |file| fs::remove_file(file).expect("a file"), "file_not_found", &[]),
    (
        "text_encoder_2/model.fp16.safetensors",
        |file| edit_header(file, |header| rename(header, "text_projection.weight", "projection.weight")),
        "missing_tensor",
        &["text_projection.weight"],
    ),
    (
        "text_encoder_2/config.json",
        |file| edit_json(file, |config| config["projection_dim"] = json!(0)),
        "bad_config",
        &["projection_dim"],
    ),
];

#[test]
fn damaged_models_are_named() {
    for (model, damaged) in [("sd1", DAMAGED), ("sdxl", DAMAGED_XL)] {
        for (i, (file, damage, code, names)) in damaged.iter().enumerate() {
            let easel = Easel::with_model(&format!("damaged-{model}-{i}"), model);
            damage(&easel.path("model").join(file));
            refused(&easel, &[], code, &[&[*file], *names].concat());
        }
    }
}

/// Weights that are no numbers, and what the line must name.
const NOT_FINITE: [(&str, &str, &str); 3] = [
    (UNET, "conv_in.weight", "UNet"),
    ("text_encoder/model.safetensors", "text_model.final_layer_norm.bias", "text encoder"),
    ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.bias", "VAE"),
];

#[test]
fn numbers_that_make_no_picture_are_refused() {
    for (i, (file, tensor, name)) in NOT_FINITE.into_iter().enumerate() {
        let easel = Easel::with_model(&format!("not-finite-{i}"), "sd1");
        spoil(&easel.path("model").join(file), tensor);
        refused(&easel, &[], "not_finite", &[name]);
    }
}

type Changes = &'static [(&'static str, &'static str)];

/// Changed options, the code, and what the line must name.
const IMPOSSIBLE: &[(Changes, &str, &[&str])] = &[
    (&[("--size", "33x32")], "bad_parameter", &["width", "multiple of 2", "33"]),
    (&[("--size", "32x0")], "bad_parameter", &["height", "0"]),
    (&[("--size", "32x-8")], "bad_parameter", &["--size", "WIDTHxHEIGHT"]),
    (&[("--size", "99999999998x32")], "bad_parameter", &["width"]),
    (&[("--size", "4096x32")], "bad_parameter", &["width", "2048", "4096"]),
    (&[("--size", "large")], "bad_parameter", &["--size", "WIDTHxHEIGHT"]),
    (&[("--steps", "0")], "bad_parameter", &["steps", "0"]),
    (&[("--steps", "2000")], "bad_parameter", &["steps", "2000", "1000"]),
    (&[("--count", "0")], "bad_parameter", &["count"]),
    (&[("--guidance", "NaN")], "bad_parameter", &["guidance", "NaN"]),
    (&[("--guidance", "inf")], "bad_parameter", &["guidance", "inf"]),
    (&[("--sampler", "magic")], "bad_parameter", &["--sampler", "magic", "euler"]),
    (&[("--device", "tpu")], "bad_parameter", &["--device", "tpu"]),
    (&[("--prompt", "a (cat:1.2.3)")], "bad_prompt", &["1.2.3"]),
    (&[("--negative", "a (cat:inf)")], "bad_prompt", &["inf"]),
    (&[("--model", "nowhere")], "file_not_found", &["model_index.json"]),
    (&[("--latents", "nowhere.safetensors")], "file_not_found", &["nowhere.safetensors"]),
    (&[("--out", "nowhere/out.png")], "io", &["nowhere/out.png", "folder"]),
    (&[("--out", "new/")], "io", &["new/", "name a file"]),
    (&[("--out", "out.JPG")], "bad_parameter", &["out", ".png"]),
    (&[("--dump", "nowhere/dump.safetensors")], "io", &["nowhere/dump.safetensors", "folder"]),
];

#[test]
fn impossible_requests_are_named() {
    let easel = Easel::with_model("impossible", "sd1");
    easel.generate(&[]).success();
    for (changes, code, names) in IMPOSSIBLE {
        refused(&easel, changes, code, names);
    }
}

#[test]
fn a_scheduler_that_is_replaced_is_named() {
    let easel = Easel::with_model("replaced", "sd1");
    let config = easel.path("model").join("scheduler/scheduler_config.json");
    edit_json(&config, |config| config["_class_name"] = json!("HeunDiscreteScheduler"));
    let [model, out] = ["model", "out.png"].map(|name| easel.path(name).to_string_lossy().into_owned());
    let options =
        ["generate", "--model", &model, "--out", &out, "--prompt", "x", "--steps", "2", "--device", "cpu"];
    let said = command::run(&options).warnings();
    assert!(said.contains("no HeunDiscreteScheduler; DDIM takes its place"), "{said}");
    let said = command::run(&[&options[..], &["--sampler", "euler"]].concat()).warnings();
    assert!(!said.contains("HeunDiscreteScheduler"), "{said}");
}

/// The run fails as it must, and leaves the picture that was there.
fn refused(easel: &Easel, changes: &[(&str, &str)], code: &str, names: &[&str]) {
    let out = easel.path("out.png");
    fs::write(&out, "an earlier picture").expect("a file");
    easel.generate(changes).failure(code, names);
    assert_eq!(fs::read(&out).expect("the file"), b"an earlier picture", "{changes:?}");
    assert_eq!(easel.names(), ["model", "out.png"], "{changes:?}");
}

#[test]
fn inspect_says_when_a_model_does_not_run() {
    let easel = Easel::with_model("inspect", "sd1");
    let folder = easel.path("model").to_string_lossy().into_owned();
    fs::remove_file(easel.path("model").join("tokenizer/vocab.json")).expect("a file");
    fs::remove_file(easel.path("model").join("tokenizer/tokenizer.json")).ok();
    let found = command::run(&["inspect", "--model", &folder]);
    found.failure("file_not_found", &["tokenizer"]);
    let easel = Easel::with_model("inspect-format", "sd1");
    let folder = easel.path("model").to_string_lossy().into_owned();
    edit_header(&easel.path("model").join(UNET), |header| header["conv_in.weight"]["dtype"] = json!("I32"));
    let found = command::run(&["inspect", "--model", &folder]);
    found.failure("unsupported_dtype", &["conv_in.weight", "I32"]);
}
