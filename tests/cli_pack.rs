//! `easel pack` and `easel quality` as a user runs them, and what becomes of packs that are not what they were.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::{Easel, GOLDENS, Output};
use cubecl::future::block_on;
use easel::weights::Weights;
use easel::weights::source::FolderSource;
use serde_json::{Value, json};

/// `easel ACTION` with paths in the test's folder where a value begins with `@`.
fn easel(easel: &Easel, action: &str, options: &[(&str, &str)]) -> Output {
    let mut arguments = vec![action.to_owned()];
    for (option, value) in options {
        let place = |name| easel.path(name).to_string_lossy().into_owned();
        let value = value.strip_prefix('@').map_or_else(|| (*value).to_owned(), place);
        arguments.push(if value.is_empty() { (*option).to_owned() } else { format!("{option}={value}") });
    }
    command::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A folder with the golden model and `pack`, made of it in Q4.
fn with_pack(name: &str) -> Easel {
    let folder = Easel::with_model(name, "sd1");
    easel(&folder, "pack", &[("--model", "@model"), ("--out", "@pack"), ("--quant", "q4")]).success();
    folder
}

fn tensor(file: &Path, name: &str) -> Vec<f32> {
    let source = FolderSource::new(file.parent().expect("a folder"));
    let weights = block_on(Weights::open_file(&source, &file.file_name().expect("a name").to_string_lossy()));
    let weights = weights.expect("a dump");
    let shape = weights.shape(name).expect("the tensor").to_vec();
    block_on(weights.read_f32(name, &shape)).expect("numbers")
}

/// PSNR in decibels between pictures in 0..1.
fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    -10.0 * (squares / a.len() as f64).log10()
}

#[test]
fn a_pack_draws_what_quality_measures() {
    let folder = with_pack("pack");
    let mut pictures = Vec::new();
    for model in ["model", "pack"] {
        let (model, dump) = (folder.path(model), folder.path(&format!("{model}.safetensors")));
        let (model, dump) = (model.to_string_lossy(), dump.to_string_lossy().into_owned());
        folder
            .generate(&[("--model", &model), ("--seed", "2"), ("--sampler", "pndm"), ("--dump", &dump)])
            .success();
        pictures.push(tensor(Path::new(&dump), "image"));
    }
    let found = psnr(&pictures[0], &pictures[1]);
    // Of the second line, and so of the second seed.
    fs::write(folder.path("prompts.txt"), "\na red fox\n").expect("a file");
    let options = [
        ("--model", "@model"),
        ("--quant", "q4"),
        ("--prompts", "@prompts.txt"),
        ("--steps", "2"),
        ("--device", "cpu"),
        ("--json", ""),
    ];
    let report: Value = serde_json::from_str(&easel(&folder, "quality", &options).success()).expect("JSON");
    let measured = report["mean"]["picture_db"].as_f64().expect("a number");
    assert!((measured - found).abs() < 1e-6, "{measured} dB measured, {found} dB drawn");
    // Random weights forgive less than trained ones; noise would be below 10 dB, no packing infinite.
    assert!((15.0..80.0).contains(&found), "{found} dB");
    assert!(report["prompts"][0]["unet_cosine"].as_f64().is_some_and(|cosine| (0.9..1.0).contains(&cosine)));
    assert_eq!(report["prompts"][0]["prompt"], "a red fox");
}

/// On a GPU both are computed in the ways that were measured, which the next call knows.
#[test]
fn quality_is_measured_as_pictures_are_drawn() {
    let folder = Easel::with_model("quality-gpu", "sd1");
    fs::write(folder.path("prompts.txt"), "a red fox\n").expect("a file");
    let [model, prompts, cache] =
        ["model", "prompts.txt", "cache"].map(|name| folder.path(name).to_string_lossy().into_owned());
    let options =
        ["--model", &model, "--quant", "q8", "--prompts", &prompts, "--steps", "1", "--device", "gpu"];
    command::run_with(&[&["quality"], &options[..]].concat(), &[("XDG_CACHE_HOME", &cache)]).success();
    let kept = fs::read_dir(folder.path("cache/easel")).expect("the cache").flatten();
    let tables: Vec<String> = kept.map(|entry| fs::read_to_string(entry.path()).expect("a table")).collect();
    assert!(tables.len() == 1 && tables[0].contains("\"q8\""), "{tables:?}");
}

/// The goals of `docs/quantization.md`; the table there is about 16 and 7 dB better.
#[test]
fn pictures_of_the_bundled_model_stay_what_they_were() {
    let folder = Easel::with_model("quality", "sd1");
    fs::write(folder.path("prompts.txt"), "a red apple\na purple heart on an orange background\n")
        .expect("a file");
    let model = format!("{GOLDENS}/../../models/starter");
    for (quant, goal) in [("q8", 40.0), ("mixed", 32.0)] {
        let options = [
            ("--model", model.as_str()),
            ("--quant", quant),
            ("--prompts", "@prompts.txt"),
            ("--steps", "20"),
            ("--device", "cpu"),
            ("--json", ""),
        ];
        let report: Value =
            serde_json::from_str(&easel(&folder, "quality", &options).success()).expect("JSON");
        for prompt in report["prompts"].as_array().expect("prompts") {
            assert!(prompt["picture_db"].as_f64() >= Some(goal), "{quant}: {prompt}");
        }
    }
}

#[test]
fn sensitivity_knows_every_packed_layer() {
    let folder = with_pack("sensitivity");
    fs::write(folder.path("prompts.txt"), "a red fox\n").expect("a file");
    let options = [
        ("--model", "@model"),
        ("--quant", "q4"),
        ("--prompts", "@prompts.txt"),
        ("--steps", "1"),
        ("--device", "cpu"),
        ("--sensitivity", ""),
        ("--json", ""),
    ];
    let report: Value = serde_json::from_str(&easel(&folder, "quality", &options).success()).expect("JSON");
    let inspected = easel(&folder, "inspect", &[("--model", "@pack"), ("--json", "")]).success();
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    let parts = inspected["parts"].as_array().expect("parts");
    let packed: u64 = parts.iter().filter_map(|part| part["packed"]["q4"].as_u64()).sum();
    let layers = report["layers"].as_array().expect("layers");
    assert_eq!(layers.len() as u64, packed);
    let damage: Vec<f64> = layers.iter().filter_map(|layer| layer["damage"].as_f64()).collect();
    assert!(damage.is_sorted_by(|a, b| a >= b) && damage[0] > 0.0, "{damage:?}");
}

#[test]
fn shards_and_a_manifest_of_the_starter_model() {
    let folder = Easel::with_model("starter", "sd1");
    let model = format!("{GOLDENS}/../../models/starter");
    let options =
        [("--model", model.as_str()), ("--out", "@pack"), ("--quant", "mixed"), ("--shard-mib", "2")];
    easel(&folder, "pack", &options).success();
    assert_eq!(folder.names(), ["model", "pack"]);
    let manifest = fs::read_to_string(folder.path("pack/manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    let files = manifest["files"].as_array().expect("files");
    let shards: Vec<&Value> =
        files.iter().filter(|file| file["path"].as_str().is_some_and(|path| path.contains("-of-"))).collect();
    assert!(shards.len() > 4 && shards.iter().all(|file| file["size"].as_u64() < Some(3 << 20)), "{files:?}");
    for path in ["model_index.json", "unet/config.json", "tokenizer/merges.txt", "vae/config.json"] {
        assert!(files.iter().any(|file| file["path"] == path), "{path}");
    }
    let said = easel(&folder, "inspect", &[("--model", "@pack"), ("--verify", "")]).success();
    assert!(said.contains("in q4") && said.contains("in q8"), "{said}");
}

type Damage = fn(&Path);

fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file");
    change(&mut bytes);
    fs::write(file, bytes).expect("a damaged file");
}

fn edit_manifest(pack: &Path, change: impl FnOnce(&mut Value)) {
    let file = pack.join("manifest.json");
    let mut manifest = serde_json::from_slice(&fs::read(&file).expect("a manifest")).expect("JSON");
    change(&mut manifest);
    fs::write(file, manifest.to_string()).expect("another manifest");
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// Damage to a pack, the code, and what the line must name.
const DAMAGED: &[(Damage, &str, &[&str])] = &[
    // In the numbers, where nothing but the hash can tell.
    (
        |pack| {
            edit(&pack.join(UNET), |bytes| {
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
            });
        },
        "damaged_file",
        &[UNET, "SHA-256"],
    ),
    (
        |pack| edit(&pack.join(UNET), |bytes| bytes.truncate(bytes.len() - 2)),
        "damaged_file",
        &[UNET, "bytes"],
    ),
    (|pack| edit(&pack.join(UNET), |bytes| bytes[8..20].fill(0xff)), "damaged_file", &[UNET]),
    (|pack| fs::remove_file(pack.join(UNET)).expect("a file"), "file_not_found", &[UNET]),
    (|pack| edit(&pack.join("manifest.json"), |bytes| bytes.truncate(9)), "bad_config", &["manifest.json"]),
    (
        |pack| edit_manifest(pack, |manifest| manifest["version"] = json!(2)),
        "bad_config",
        &["manifest.json", "version"],
    ),
    (
        |pack| edit_manifest(pack, |manifest| manifest["files"][0]["path"] = json!("../secret")),
        "bad_config",
        &["manifest.json", "files[0].path"],
    ),
    (
        |pack| edit_manifest(pack, |manifest| manifest["files"][1]["sha256"] = json!("12")),
        "bad_config",
        &["manifest.json", "files[1].sha256"],
    ),
    (
        |pack| edit_manifest(pack, |manifest| manifest["files"][0]["sha256"] = json!("0".repeat(64))),
        "damaged_file",
        &["SHA-256"],
    ),
    // Without a manifest, the scales end before the header says.
    (
        |pack| {
            fs::remove_file(pack.join("manifest.json")).expect("a file");
            edit(&pack.join(UNET), |bytes| bytes.truncate(bytes.len() - 2));
        },
        "bad_safetensors",
        &[UNET],
    ),
];

#[test]
fn damaged_packs_are_refused_with_the_name_of_the_file() {
    for (i, (damage, code, names)) in DAMAGED.iter().enumerate() {
        let folder = with_pack(&format!("damaged-pack-{i}"));
        let pack = folder.path("pack");
        damage(&pack);
        folder.generate(&[("--model", &pack.to_string_lossy())]).failure(code, names);
        assert_eq!(folder.names(), ["model", "pack"]);
        if fs::exists(pack.join("manifest.json")).unwrap_or(false) {
            easel(&folder, "inspect", &[("--model", "@pack"), ("--verify", "")]).failure(code, names);
        }
    }
}

type Changes = &'static [(&'static str, &'static str)];

/// Options of `easel pack` that differ from those that work, the code, and what the line must name.
const IMPOSSIBLE: &[(Changes, &str, &[&str])] = &[
    (&[("--quant", "q5")], "bad_parameter", &["--quant", "q5", "mixed"]),
    (&[("--shard-mib", "0")], "bad_parameter", &["--shard-mib"]),
    (&[("--out", "@model")], "io", &["model", "exists"]),
    (&[("--out", "@nowhere/pack")], "io", &["nowhere"]),
    (&[("--model", "@nowhere")], "file_not_found", &["model_index.json"]),
    (&[("--model", "@pack")], "bad_config", &["packed already"]),
];

#[test]
fn nothing_is_left_of_a_pack_that_cannot_be() {
    let folder = with_pack("impossible-pack");
    for (changes, code, names) in IMPOSSIBLE {
        let mut options = vec![("--model", "@model"), ("--out", "@new"), ("--quant", "q8")];
        for change in *changes {
            options.retain(|option| option.0 != change.0);
            options.push(*change);
        }
        easel(&folder, "pack", &options).failure(code, names);
        assert_eq!(folder.names(), ["model", "pack"], "{changes:?}");
    }
    // The last part that is packed.
    let vae = folder.path("model").join("vae/diffusion_pytorch_model.safetensors");
    edit(&vae, |bytes| bytes.truncate(bytes.len() - 1));
    let options = [("--model", "@model"), ("--out", "@new"), ("--quant", "q8")];
    easel(&folder, "pack", &options).failure("bad_safetensors", &["vae"]);
    assert_eq!(folder.names(), ["model", "pack"]);
}

#[test]
fn quality_needs_prompts() {
    let folder = Easel::with_model("no-prompts", "sd1");
    let options =
        [("--model", "@model"), ("--quant", "q8"), ("--prompts", "@prompts.txt"), ("--device", "cpu")];
    easel(&folder, "quality", &options).failure("io", &["prompts.txt"]);
    fs::write(folder.path("prompts.txt"), "\n \n").expect("a file");
    easel(&folder, "quality", &options).failure("io", &["prompts.txt", "no prompt"]);
}
