//! Single-file checkpoints against the models that they are made of (`tests/goldens/single_files.py`).

#[path = "support/single_file.rs"]
mod single_file;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::rc::Rc;

use cubecl::future::block_on;
use easel::config::{AutoencoderKLConfig, ClipTextConfig, Config, UNet2DConditionConfig};
use easel::hardware::{Choice, Faults, Hardware};
use easel::pipeline::{Given, Pipeline, Request, Run};
use easel::tokenizer::Tokenizer;
use easel::weights::Prefer;
use easel::weights::safetensors::{Dtype, Header, TensorInfo, read_header};
use easel::weights::single_file::{Companions, Prediction, SingleFileSource};
use easel::weights::source::{FolderSource, MemorySource, Source, read_json};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use single_file::{GOLDENS, Hollow, Raw, TestResult, checkpoint, file, model, read};

const FILE: &str = "model.safetensors";
const WEIGHTS: [&str; 4] = [
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
];
const FULL_SIZE: [&str; 4] = ["sd1", "sd1-inpainting", "sd2", "sdxl"];

/// Names of the recipes, which are those of golden models.
fn recipes() -> TestResult<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(format!("{GOLDENS}/single_files"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "recipe") {
            names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    assert!(!names.is_empty(), "there are no recipes");
    Ok(names)
}

fn open(source: impl Source + 'static, companions: Companions) -> easel::error::Result<SingleFileSource> {
    block_on(SingleFileSource::open(Box::new(source), FILE, companions))
}

fn in_memory(tensors: &BTreeMap<String, Raw>, metadata: &Value) -> TestResult<MemorySource> {
    let mut source = MemorySource::default();
    source.insert(FILE, file(tensors, metadata)?);
    Ok(source)
}

fn merges() -> TestResult<String> {
    Ok(fs::read_to_string(format!("{GOLDENS}/../../assets/clip/merges.txt"))?)
}

/// Headers of the parts that a source has.
fn parts(source: &dyn Source) -> TestResult<BTreeMap<&'static str, Header>> {
    let mut headers = BTreeMap::new();
    for path in WEIGHTS {
        if block_on(source.size(path))?.is_some() {
            headers.insert(path, block_on(read_header(source, path))?);
        }
    }
    Ok(headers)
}

/// What a checkpoint shows as tensors, as `part/name`.
fn shown(checkpoint: &BTreeMap<String, Raw>) -> TestResult<BTreeMap<String, Raw>> {
    let source = open(in_memory(checkpoint, &json!({}))?, Companions::default())?;
    let mut found = BTreeMap::new();
    for (path, header) in parts(&source)? {
        let part = path.split('/').next().unwrap_or_default();
        for (tensor, info) in header.tensors {
            found.insert(format!("{part}/{tensor}"), read(&source, path, &info)?);
        }
    }
    Ok(found)
}

/// Layouts that tools have left behind: newer names in the VAE, what training keeps, and rests of LoRAs.
#[test]
fn tools_left_other_names() -> TestResult {
    let plain = checkpoint("sd1")?;
    let mut other = BTreeMap::new();
    for (name, raw) in &plain {
        let name = [("q.", "to_q."), ("k.", "to_k."), ("v.", "to_v."), ("proj_out.", "to_out.0.")]
            .iter()
            .fold(name.clone(), |name, (old, new)| {
                name.replace(&format!(".attn_1.{old}"), &format!(".attn_1.{new}"))
            });
        other.insert(name, raw.clone());
    }
    assert!(other.contains_key("first_stage_model.decoder.mid.attn_1.to_out.0.weight"));
    let number = Raw { dtype: Dtype::I64, shape: vec![], bytes: vec![1; 8] };
    for name in [
        "global_step",
        "model_ema.num_updates",
        "model_ema.diffusion_modeltime_embed0weight",
        "betas",
        "logvar",
        "cond_stage_model.logit_scale",
        "first_stage_model.loss.logvar",
        "lora_unet_mid_block.lora_down.weight",
        "lora_te_text_model.alpha",
    ] {
        other.insert(name.to_owned(), number.clone());
    }
    assert!(shown(&other)? == shown(&plain)?);
    Ok(())
}

#[test]
fn tensors_are_those_of_the_model_byte_for_byte() -> TestResult {
    for name in recipes()? {
        let found = shown(&checkpoint(&name)?)?;
        let expected = model(&name)?;
        assert!(found.keys().eq(expected.keys()), "{name}");
        for (tensor, raw) in &expected {
            assert_eq!(found.get(tensor), Some(raw), "{name}: {tensor}");
        }
    }
    Ok(())
}

/// What shapes tell of a model is what its configs say. Heads and groups are those of published models, which the tiny
/// ones do not have.
#[test]
fn structure_is_read_from_shapes() -> TestResult {
    let fields: [(&str, &[&str]); 4] = [
        (
            "unet/config.json",
            &[
                "in_channels",
                "out_channels",
                "block_out_channels",
                "down_block_types",
                "up_block_types",
                "mid_block_type",
                "layers_per_block",
                "cross_attention_dim",
                "use_linear_projection",
                "time_cond_proj_dim",
                "transformer_layers_per_block",
                "reverse_transformer_layers_per_block",
                "addition_embed_type",
                "addition_time_embed_dim",
                "projection_class_embeddings_input_dim",
            ],
        ),
        (
            "vae/config.json",
            &[
                "block_out_channels",
                "down_block_types",
                "up_block_types",
                "layers_per_block",
                "latent_channels",
            ],
        ),
        ("text_encoder/config.json", &TEXT_ENCODER),
        ("text_encoder_2/config.json", &TEXT_ENCODER),
    ];
    for name in recipes()? {
        let folder = FolderSource::new(format!("{GOLDENS}/models/{name}"));
        let source = open(in_memory(&checkpoint(&name)?, &json!({}))?, Companions::default())?;
        for (path, fields) in fields {
            if block_on(folder.size(path))?.is_none() {
                assert_eq!(block_on(source.size(path))?, None, "{name}: {path}");
                continue;
            }
            let expected: Value = block_on(read_json(&folder, path))?;
            let found: Value = block_on(read_json(&source, path))?;
            for field in fields {
                assert_eq!(found[field], expected[field], "{name}: {path}: {field}");
            }
        }
    }
    Ok(())
}

const TEXT_ENCODER: [&str; 6] = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "max_position_embeddings",
    "hidden_act",
];

fn picture(source: impl Source + 'static, hardware: &Rc<Hardware>) -> TestResult<Vec<f32>> {
    let pipeline =
        Rc::new(block_on(Pipeline::load(Box::new(source), Rc::clone(hardware), Prefer::Full, |_| {}))?);
    let request = Request {
        prompt: "a red fox".into(),
        negative_prompt: "grey".into(),
        steps: 2,
        guidance_scale: 4.0,
        sampler: None,
        seed: 5,
        width: 32,
        height: 32,
        init_image: None,
        given: Given::default(),
    };
    let mut run = block_on(Run::start(pipeline, request))?;
    while block_on(run.step())?.is_some() {}
    Ok(block_on(hardware.read(block_on(run.decode())?))?)
}

#[test]
fn pictures_are_those_of_the_folder() -> TestResult {
    let hardware = Rc::new(block_on(Hardware::open(Choice::Cpu, Faults::default()))?);
    for name in recipes()? {
        let folder = FolderSource::new(format!("{GOLDENS}/models/{name}"));
        let companions = Companions { config: Some(Box::new(folder.clone())), ..Companions::default() };
        let source = open(in_memory(&checkpoint(&name)?, &json!({}))?, companions)?;
        assert_eq!(picture(source, &hardware)?, picture(folder, &hardware)?, "{name}");
    }
    Ok(())
}

fn full_size(name: &str) -> TestResult<(BTreeMap<String, Vec<usize>>, Value)> {
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(format!("{GOLDENS}/single_files/{name}.json"))?)?;
    Ok((serde_json::from_value(golden["tensors"].clone())?, golden))
}

fn digest(header: &Header) -> String {
    let line = |(name, info): (&String, &TensorInfo)| {
        let shape: Vec<String> = info.shape.iter().map(ToString::to_string).collect();
        format!("{name} {}\n", shape.join("x"))
    };
    let lines: BTreeSet<String> = header.tensors.iter().map(line).collect();
    let hash = Sha256::digest(lines.into_iter().collect::<String>());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checkpoints of published shapes have the names and shapes that diffusers' models have, and their configs.
#[test]
fn published_models_are_recognised() -> TestResult {
    for name in FULL_SIZE {
        let (shapes, golden) = full_size(name)?;
        let source = open(Hollow::new(&shapes)?, Companions { merges: merges()?, ..Companions::default() })?;
        for (path, header) in parts(&source)? {
            let part = path.split('/').next().unwrap_or_default();
            assert_eq!(golden["parts"][part], digest(&header), "{name}: {part}");
            let found: Value = block_on(read_json(&source, &format!("{part}/config.json")))?;
            let expected = &golden["configs"][part];
            for (field, value) in found.as_object().ok_or("an object")? {
                let known = field.starts_with('_') || field == "model_type";
                assert!(known || expected[field] == *value, "{name}: {part}: {field}: {value}");
            }
            match part {
                "unet" => same::<UNet2DConditionConfig>(&found, expected, forget_unread)?,
                "vae" => same::<AutoencoderKLConfig>(&found, expected, |_| {})?,
                _ => same::<ClipTextConfig>(&found, expected, |_| {})?,
            }
        }
        let tokenizer = block_on(Tokenizer::load(&source, "tokenizer", 77))?;
        assert_eq!(tokenizer.encode("a photo of a cat")?, [320, 1125, 539, 320, 2368], "{name}");
        assert_eq!(tokenizer.pad(), if name == "sd2" { 0 } else { 49407 }, "{name}");
    }
    Ok(())
}

/// Fields that change nothing in Easel.
fn forget_unread(config: &mut UNet2DConditionConfig) {
    config.class_name = None;
    config.diffusers_version = None;
    config.upcast_attention = None;
}

/// As Easel reads them, both configs are one: what the inferred config leaves out has the default.
fn same<C: Config + PartialEq + std::fmt::Debug>(
    found: &Value,
    expected: &Value,
    forget: fn(&mut C),
) -> TestResult {
    let read = |value: &Value| -> TestResult<C> {
        let mut config = serde_json::from_value(value.clone())?;
        forget(&mut config);
        Ok(config)
    };
    assert_eq!(read(found)?, read(expected)?);
    Ok(())
}

#[test]
fn the_prediction_is_found_out() -> TestResult {
    let scheduler = |tensors: &BTreeMap<String, Raw>, metadata: Value, prediction| -> TestResult<Value> {
        let companions = Companions { prediction, ..Companions::default() };
        let source = open(in_memory(tensors, &metadata)?, companions)?;
        Ok(block_on(read_json(&source, "scheduler/scheduler_config.json"))?)
    };
    let prediction = |tensors: &_, metadata, said| -> TestResult<String> {
        Ok(scheduler(tensors, metadata, said)?["prediction_type"].as_str().unwrap_or_default().to_owned())
    };
    let (epsilon, velocity) = ("epsilon", "v_prediction");
    let empty = Raw { dtype: Dtype::F32, shape: vec![0], bytes: Vec::new() };
    let sd1 = checkpoint("sd1")?;
    assert_eq!(prediction(&sd1, json!({}), None)?, epsilon);
    assert_eq!(prediction(&sd1, json!({}), Some(Prediction::Velocity))?, velocity);
    assert_eq!(prediction(&sd1, json!({ "modelspec.prediction_type": "v" }), None)?, velocity);
    assert_eq!(prediction(&sd1, json!({ "modelspec.predict_key": "v" }), None)?, velocity);
    assert_eq!(
        prediction(&sd1, json!({ "modelspec.prediction_type": "v" }), Some(Prediction::Epsilon))?,
        epsilon
    );
    let mut marked = sd1.clone();
    marked.insert("v_pred".to_owned(), empty.clone());
    assert_eq!(prediction(&marked, json!({}), None)?, velocity);
    assert_eq!(scheduler(&marked, json!({}), None)?["rescale_betas_zero_snr"], Value::Null);
    marked.insert("ztsnr".to_owned(), empty.clone());
    let found = scheduler(&marked, json!({}), None)?;
    assert_eq!(
        (&found["rescale_betas_zero_snr"], &found["timestep_spacing"]),
        (&json!(true), &json!("trailing"))
    );

    let mut sd2 = checkpoint("sd2")?;
    let bias = "model.diffusion_model.output_blocks.5.1.transformer_blocks.0.norm1.bias";
    for (spread, expected) in [(0.08f32, epsilon), (0.1, velocity)] {
        let raw = sd2.get_mut(bias).ok_or("the bias")?;
        let alternating = (0..raw.bytes.len() / 4).map(|i| 1.0 + if i % 2 == 0 { spread } else { -spread });
        raw.bytes = alternating.flat_map(f32::to_le_bytes).collect();
        assert_eq!(prediction(&sd2, json!({}), None)?, expected, "a spread of {spread}");
    }
    assert_eq!(prediction(&sd2, json!({ "modelspec.prediction_type": "epsilon" }), None)?, epsilon);
    Ok(())
}

/// Turbo models begin at pure noise, which diffusers' config of their family does not.
#[test]
fn models_for_few_steps_are_known_by_name() -> TestResult {
    let scheduler = |name: &str, title: &str, prediction| -> TestResult<(Value, Value)> {
        let mut source = MemorySource::default();
        source.insert(name, file(&checkpoint("sd1")?, &json!({ "modelspec.title": title }))?);
        let companions = Companions { prediction, ..Companions::default() };
        let source = block_on(SingleFileSource::open(Box::new(source), name, companions))?;
        let config: Value = block_on(read_json(&source, "scheduler/scheduler_config.json"))?;
        Ok((config["_class_name"].clone(), config["timestep_spacing"].clone()))
    };
    let few = (json!("EulerDiscreteScheduler"), json!("trailing"));
    for name in
        ["sd_xl_turbo_1.0_fp16.safetensors", "dreamX_v21TurboDPM.safetensors", "a/b-Lightning.safetensors"]
    {
        assert_eq!(scheduler(name, "", None)?, few, "{name}");
    }
    assert_eq!(scheduler(FILE, "Stable Diffusion XL Turbo", None)?, few);
    let usual = (json!("PNDMScheduler"), json!("leading"));
    assert_eq!(scheduler("turbo/model.safetensors", "Hyperrealism", None)?, usual);
    let velocity = scheduler("turbo.safetensors", "", Some(Prediction::Velocity))?;
    assert_eq!(velocity, (json!("DDIMScheduler"), json!("leading")));
    Ok(())
}

#[test]
fn what_is_no_whole_model_is_refused_by_name() -> TestResult {
    let whole = checkpoint("sd2")?;
    let four = Raw { dtype: Dtype::F32, shape: vec![4], bytes: vec![0; 16] };
    let without = |prefix: &str| -> BTreeMap<String, Raw> {
        whole
            .iter()
            .filter(|(name, _)| !name.starts_with(prefix))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect()
    };
    let with = |name: &str| {
        let mut tensors = whole.clone();
        tensors.insert(name.to_owned(), four.clone());
        tensors
    };
    let unsupported = [
        (without("model.diffusion_model."), "without a UNet"),
        (without("cond_stage_model."), "without a text encoder"),
        (without("first_stage_model."), "without a VAE"),
        (without("model.diffusion_model.output_blocks.5."), "model.diffusion_model.*"),
        (without("model.diffusion_model.input_blocks.1."), "model.diffusion_model.*"),
        (without("first_stage_model.decoder.up."), "decoder.up.*"),
        (without("cond_stage_model.model.transformer.resblocks.0."), "layer left out"),
        (with("edm_mean"), "edm_mean"),
        (with("model.diffusion_model.input_blocks.1.1.ip_adapter.weight"), "ip_adapter"),
        (with("model.diffusion_model.joint_blocks.0.x_block.mlp.weight"), "joint_blocks"),
        (with("first_stage_model.encoder.attention.weight"), "encoder.attention"),
        (with("cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight"), "in_proj_weight"),
    ];
    for (tensors, names) in unsupported {
        let error = open(in_memory(&tensors, &json!({}))?, Companions::default()).err().ok_or(names)?;
        assert!(error.code() == "unsupported_class" && error.to_string().contains(names), "{names}: {error}");
    }
    let twice = open(
        in_memory(&with("model.diffusion_model.output_blocks.0.0.conv.weight"), &json!({}))?,
        Companions::default(),
    );
    assert!(twice.is_err());
    for pickle in ["model.ckpt", "model.PT", "pytorch_model.bin"] {
        let opened = SingleFileSource::open(Box::new(MemorySource::default()), pickle, Companions::default());
        let error = block_on(opened).err().ok_or(pickle)?;
        assert!(error.code() == "unsupported_class" && error.to_string().contains("run code"), "{error}");
    }
    Ok(())
}

/// Names and numbers of a header changed at random: an error or a folder whose files are whole, no panic.
#[test]
fn damage_never_panics() -> TestResult {
    let (shapes, _) = full_size("sd1")?;
    let good = Hollow::new(&shapes)?;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = move |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % limit
    };
    let mut opened = 0;
    for _ in 0..300 {
        let mut header = good.header.clone();
        for _ in 0..=below(2) {
            let at = 8 + below(header.len() - 8);
            header[at] = b"0123456789.-_ab"[below(15)];
        }
        let source = Hollow { header, size: good.size };
        let Ok(source) = open(source, Companions::default()) else { continue };
        opened += 1;
        for (path, header) in parts(&source)? {
            let size = block_on(source.size(path))?.ok_or("a size")?;
            assert!(header.tensors.values().all(|info| info.range.end <= size));
        }
    }
    assert!(opened > 0, "every change was refused: nothing is tested");
    Ok(())
}
