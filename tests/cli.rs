//! The `easel` command as a user runs it, on copies of the tiny golden models.

#[path = "support/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use command::{Easel, GOLDENS};
use cubecl::future::block_on;
use easel::random::TorchGenerator;
use easel::weights::Weights;
use easel::weights::dump::{NamedTensor, TensorData, write};
use easel::weights::source::FolderSource;
use serde_json::Value;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// Shapes of a safetensors file's tensors, by name.
fn shapes(file: &Path) -> TestResult<BTreeMap<String, Vec<usize>>> {
    let source = FolderSource::new(file.parent().ok_or("a file in a folder")?);
    let name = file.file_name().and_then(|name| name.to_str()).ok_or("a file name")?;
    let weights = block_on(Weights::open_file(&source, name))?;
    Ok(weights.tensors().map(|(name, info)| (name.to_owned(), info.shape.clone())).collect())
}

fn values(file: &Path, tensor: &str) -> TestResult<Vec<f32>> {
    let source = FolderSource::new(file.parent().ok_or("a file in a folder")?);
    let name = file.file_name().and_then(|name| name.to_str()).ok_or("a file name")?;
    let weights = block_on(Weights::open_file(&source, name))?;
    let shape = weights.shape(tensor).ok_or("the tensor is missing")?.to_vec();
    Ok(block_on(weights.read_f32(tensor, &shape))?)
}

/// Width, height and RGB bytes.
fn pixels(file: &Path) -> TestResult<(u32, u32, Vec<u8>)> {
    let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(file)?)).read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("a picture that fits memory")?];
    let info = reader.next_frame(&mut bytes)?;
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    Ok((info.width, info.height, bytes))
}

#[test]
fn generate_writes_a_picture_a_dump_and_timings() -> TestResult {
    let easel = Easel::with_model("generate", "sd1");
    let dump = easel.path("dump.safetensors");
    let output = easel.generate(&[
        ("--size", "32x48"),
        ("--negative", "grey"),
        ("--dump", &dump.to_string_lossy()),
        ("--json", ""),
    ]);
    let report: Value = serde_json::from_str(&output.success())?;
    assert_eq!((&report["width"], &report["height"], &report["seed"]), (&32.into(), &48.into(), &5.into()));
    assert_eq!((report["device"].as_str(), report["sampler"].as_str()), (Some("CPU"), Some("ddim")));
    let timings = &report["timings_ms"];
    let stages =
        ["load", "encode", "decode"].map(|stage| timings[stage].as_f64().is_some_and(|time| time > 0.0));
    assert_eq!((stages, timings["steps"].as_array().map(Vec::len)), ([true; 3], Some(2)), "{timings}");
    assert!(report["peak_gpu_bytes"].is_u64());

    assert_eq!(easel.names(), ["dump.safetensors", "model", "out.png"]);
    let latents = vec![1, 4, 24, 16];
    let expected = [
        ("token_ids", vec![1, 77]),
        ("text_embeddings", vec![1, 77, 16]),
        ("negative_token_ids", vec![1, 77]),
        ("negative_text_embeddings", vec![1, 77, 16]),
        ("latents.0", latents.clone()),
        ("latents.1", latents.clone()),
        ("latents.2", latents),
        ("image", vec![1, 3, 48, 32]),
    ];
    assert_eq!(shapes(&dump)?, expected.map(|(name, shape)| (name.to_owned(), shape)).into());

    let image = values(&dump, "image")?;
    assert!(image.iter().all(|value| (0.0..=1.0).contains(value)));
    let (width, height, bytes) = pixels(&easel.path("out.png"))?;
    assert_eq!((width, height), (32, 48));
    let rounded = |(i, byte): (usize, &u8)| (image[i % 3 * 32 * 48 + i / 3] * 255.0).round() as u8 == *byte;
    assert!(bytes.iter().enumerate().all(rounded), "the picture is not that of the dump");
    Ok(())
}

#[test]
fn a_seed_means_one_picture() -> TestResult {
    let easel = Easel::with_model("seed", "sd1");
    easel.generate(&[("--count", "2")]).success();
    for (seed, file) in [("5", "out-1.png"), ("6", "out-2.png")] {
        easel.generate(&[("--seed", seed)]).success();
        assert_eq!(fs::read(easel.path("out.png"))?, fs::read(easel.path(file))?, "seed {seed}");
    }
    assert_ne!(fs::read(easel.path("out-1.png"))?, fs::read(easel.path("out-2.png"))?);
    Ok(())
}

#[test]
fn a_picture_says_how_it_was_made() -> TestResult {
    let easel = Easel::with_model("texts", "sd1");
    for (prompt, in_latin1) in [("a café", true), ("狐", false)] {
        let options = [("--prompt", prompt), ("--steps", "2"), ("--seed", "7"), ("--size", "16x32")];
        easel.generate(&options).success();
        let file = std::io::BufReader::new(fs::File::open(easel.path("out.png"))?);
        let reader = png::Decoder::new(file).read_info()?;
        let latin1 = &reader.info().uncompressed_latin1_text;
        let text = match latin1.first() {
            Some(chunk) => chunk.text.clone(),
            None => reader.info().utf8_text.first().ok_or("a text")?.get_text()?,
        };
        assert_eq!(!latin1.is_empty(), in_latin1);
        assert!(text.starts_with(&format!("{prompt}\nSteps: 2, Sampler: ")), "{text}");
        assert!(text.contains(", Seed: 7, Size: 16x32, Model: "), "{text}");
    }
    Ok(())
}

#[test]
fn given_latents_and_noise_are_used() -> TestResult {
    let easel = Easel::with_model("latents", "sd1");
    let file = easel.path("latents.safetensors");
    let mut generator = TorchGenerator::manual_seed(5);
    let tensors = ["latents", "noise.0", "noise.1"].map(|name| NamedTensor {
        name: name.to_owned(),
        shape: vec![1, 4, 16, 16],
        data: TensorData::F32(generator.randn(4 * 16 * 16)),
    });
    fs::write(&file, write("latents.safetensors", &tensors)?)?;
    easel.generate(&[("--sampler", "euler-a")]).success();
    let drawn = pixels(&easel.path("out.png"))?;
    let path = file.to_string_lossy();
    easel.generate(&[("--sampler", "euler-a"), ("--seed", "77"), ("--latents", &path)]).success();
    assert_eq!(pixels(&easel.path("out.png"))?, drawn);

    let failed = easel.generate(&[("--size", "48x32"), ("--latents", &path)]);
    failed.failure("tensor_shape", &["latents", "[1, 4, 16, 24]", "[1, 4, 16, 16]"]);
    Ok(())
}

#[test]
fn the_gpu_draws_the_same_picture() -> TestResult {
    let easel = Easel::with_model("gpu", "sd1");
    easel.generate(&[]).success();
    let (_, _, cpu) = pixels(&easel.path("out.png"))?;
    let report: Value =
        serde_json::from_str(&easel.generate(&[("--device", "gpu"), ("--json", "")]).success())?;
    assert!(report["device"].as_str().is_some_and(|name| name != "CPU"), "{report}");
    assert!(report["peak_gpu_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{report}");
    let (_, _, gpu) = pixels(&easel.path("out.png"))?;
    // Rounding in another order may move a value over the edge between two bytes.
    assert!(cpu.iter().zip(&gpu).all(|(cpu, gpu)| cpu.abs_diff(*gpu) <= 1));
    Ok(())
}

#[test]
fn inspect_says_what_a_model_is() -> TestResult {
    for model in fs::read_dir(format!("{GOLDENS}/models"))? {
        let folder = model?.path().to_string_lossy().into_owned();
        let report: Value =
            serde_json::from_str(&command::run(&["inspect", "--model", &folder, "--json"]).success())?;
        assert_eq!(report["runs"], true, "{folder}");
        let xl = report["pipeline"] == "StableDiffusionXLPipeline";
        let parts = if xl { 4 } else { 3 };
        assert_eq!(report["parts"].as_array().map(Vec::len), Some(parts), "{folder}");
        assert!(report["factor"].as_u64().is_some_and(|factor| factor > 0), "{folder}");
    }
    let text = command::run(&["inspect", "--model", &format!("{GOLDENS}/models/sd1")]).success();
    for word in ["StableDiffusionPipeline", "32x32", "pndm", "UNet2DConditionModel", "AutoencoderKL"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    Ok(())
}

/// Distilled models take few steps and no guidance, or their own kind of it.
#[test]
fn inspect_says_what_is_usual() -> TestResult {
    for (model, steps, guidance_scale) in [
        ("sd1", 20, 7.5),
        ("sd2", 4, 1.0),
        ("sd2-v", 20, 7.5),
        ("lcm", 4, 8.5),
        ("sdxl", 20, 5.0),
        ("sdxl-turbo", 4, 1.0),
    ] {
        let folder = format!("{GOLDENS}/models/{model}");
        let report: Value =
            serde_json::from_str(&command::run(&["inspect", "--model", &folder, "--json"]).success())?;
        let usual = (report["steps"].as_u64(), report["guidance_scale"].as_f64());
        assert_eq!(usual, (Some(steps), Some(guidance_scale)), "{model}");
    }
    Ok(())
}

#[test]
fn bench_says_what_memory_a_model_takes() -> TestResult {
    let starter = format!("{GOLDENS}/../../models/starter");
    let all = ["bench", "--model", &starter, "--memory", "--json"];
    let together: Value = serde_json::from_str(&command::run(&all).success())?;
    let apart: Value =
        serde_json::from_str(&command::run(&[&all[..], &["--low-memory"]].concat()).success())?;
    // Each stage has only its own part there.
    for stage in ["loading_bytes", "texts_bytes", "steps_bytes", "decoding_bytes"] {
        let bytes = |report: &Value| report[stage].as_u64().filter(|bytes| *bytes > 0);
        assert!(bytes(&apart).ok_or(stage)? < bytes(&together).ok_or(stage)?, "{stage}: {apart} {together}");
    }
    Ok(())
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(command::run(&["generate", "--help"]).success().contains("--latents"));
    assert!(command::run(&["--version"]).success().starts_with("easel "));
    command::run(&["generate", "--prompt", "x"]).failure("bad_parameter", &["--model", "--out"]);
    command::run(&["paint"]).failure("bad_parameter", &["paint"]);
}
