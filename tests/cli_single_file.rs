//! The `easel` command on single-file checkpoints.

#[path = "support/command.rs"]
mod command;
#[path = "support/single_file.rs"]
mod single_file;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;

use command::Easel;
use serde_json::{Value, json};
use single_file::{GOLDENS, Hollow, TestResult, checkpoint, file};

/// A folder with the model and the checkpoint `model.safetensors` made of it.
fn with_checkpoint(name: &str, model: &str) -> TestResult<Easel> {
    let easel = Easel::with_model(name, model);
    fs::write(easel.path("model.safetensors"), file(&checkpoint(model)?, &json!({}))?)?;
    Ok(easel)
}

#[test]
fn generate_draws_what_the_folder_draws() -> TestResult {
    let easel = with_checkpoint("single-generate", "sd1")?;
    easel.generate(&[]).success();
    let drawn = fs::read(easel.path("out.png"))?;
    let [single, folder, out] = ["model.safetensors", "model", "single.png"]
        .map(|name| easel.path(name).to_string_lossy().into_owned());
    let options = [("--model", single.as_str()), ("--config", &folder), ("--out", &out)];
    easel.generate(&options).success();
    assert_eq!(fs::read(easel.path("single.png"))?, drawn);
    Ok(())
}

#[test]
fn a_packed_checkpoint_is_a_folder_that_draws() -> TestResult {
    let easel = with_checkpoint("single-pack", "sd2")?;
    let [single, folder, packed] =
        ["model.safetensors", "model", "packed"].map(|name| easel.path(name).to_string_lossy().into_owned());
    let arguments = ["pack", "--model", &single, "--config", &folder, "--quant", "q8", "--out", &packed];
    command::run(&arguments).success();
    assert_eq!(easel.names(), ["model", "model.safetensors", "packed"]);
    easel.generate(&[("--model", &packed)]).success();
    Ok(())
}

/// The published shape of Stable Diffusion 1.5, in a file whose numbers are a hole.
#[test]
fn inspect_recognises_a_published_model() -> TestResult {
    let easel = Easel::with_model("single-inspect", "sd1");
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(format!("{GOLDENS}/single_files/sd1.json"))?)?;
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_value(golden["tensors"].clone())?;
    let hollow = Hollow::new(&shapes)?;
    let path = easel.path("sd1.safetensors");
    let mut file = File::create(&path)?;
    file.write_all(&hollow.header)?;
    file.set_len(hollow.size)?;
    let model = path.to_string_lossy();
    let report = |arguments: &[&str]| -> TestResult<Value> {
        let all = [&["inspect", "--json", "--model", &model], arguments].concat();
        Ok(serde_json::from_str(&command::run(&all).success())?)
    };
    let found = report(&[])?;
    assert_eq!((&found["runs"], &found["width"], &found["tokens"]), (&json!(true), &json!(512), &json!(77)));
    assert_eq!((&found["sampler"], &found["factor"]), (&json!("pndm"), &json!(8)));
    let bytes = found["parts"].as_array().ok_or("parts")?.iter().filter_map(|part| part["bytes"].as_u64());
    assert_eq!(bytes.sum::<u64>() + hollow.header.len() as u64, hollow.size);
    let found = report(&["--prediction-type", "v_prediction"])?;
    assert_eq!((&found["sampler"], &found["width"]), (&json!("ddim"), &json!(768)));
    Ok(())
}

#[test]
fn what_cannot_be_opened_is_said() -> TestResult {
    let easel = Easel::with_model("single-bad", "sd1");
    for (name, code, word) in
        [("model.ckpt", "unsupported_class", "run code"), ("notes.safetensors", "bad_safetensors", "header")]
    {
        fs::write(easel.path(name), b"PK\x03\x04 and so on")?;
        let model = easel.path(name).to_string_lossy().into_owned();
        command::run(&["inspect", "--model", &model]).failure(code, &[name, word]);
    }
    let folder = easel.path("model").to_string_lossy().into_owned();
    for option in [["--config", &folder], ["--prediction-type", "epsilon"]] {
        let arguments = [&["inspect", "--model", &folder], option.as_slice()].concat();
        command::run(&arguments)
            .failure("bad_parameter", &[option[0].trim_start_matches("--"), "single-file"]);
    }
    command::run(&["inspect", "--model", &folder, "--prediction-type", "x"])
        .failure("bad_parameter", &["epsilon"]);
    Ok(())
}
