//! LoRAs on a loaded model: added, asked for by prompts, removed; beside packed weights; and files that do not fit. That
//! they compute what diffusers does is in `parity.rs`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

#[path = "support/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use command::{Easel, GOLDENS};
use cubecl::future::block_on;
use easel::error::Error;
use easel::hardware::Hardware;
use easel::pipeline::{LoraReport, Pipeline, Request, Run};
use easel::weights::dump::{NamedTensor, TensorData, write};
use easel::weights::source::FolderSource;
use easel::weights::{Prefer, Weights};
use serde_json::Value;

/// A model of a folder, on the CPU.
fn load(folder: &Path) -> Rc<Pipeline> {
    let source = Box::new(FolderSource::new(folder));
    let loaded = block_on(Pipeline::load(source, Rc::new(Hardware::cpu()), Prefer::Full, |_| {}));
    Rc::new(loaded.expect("a golden model"))
}

fn golden(model: &str) -> Rc<Pipeline> {
    load(&Path::new(GOLDENS).join("models").join(model))
}

fn add(pipeline: &Pipeline, name: &str, folder: &Path, file: &str) -> Result<LoraReport, Error> {
    block_on(pipeline.add_lora(name, Box::new(FolderSource::new(folder)), file))
}

fn add_golden(pipeline: &Pipeline, name: &str) {
    let folder = Path::new(GOLDENS).join("loras");
    let report = add(pipeline, name, &folder, &format!("{name}.safetensors")).expect("a golden LoRA");
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

fn start(pipeline: &Rc<Pipeline>, prompt: &str) -> Result<Run, Error> {
    let request = Request {
        prompt: prompt.to_owned(),
        negative_prompt: "grey".to_owned(),
        steps: 2,
        width: 32,
        height: 32,
        ..pipeline.usual_request()
    };
    block_on(Run::start(Rc::clone(pipeline), request))
}

fn finish(mut run: Run) -> Vec<f32> {
    while block_on(run.step()).expect("a step").is_some() {}
    block_on(run.latents()).expect("latents")
}

fn draw(pipeline: &Rc<Pipeline>, prompt: &str) -> Vec<f32> {
    finish(start(pipeline, prompt).expect("a run"))
}

#[test]
fn loras_come_and_go_without_a_trace() {
    let pipeline = golden("sd1");
    let plain = draw(&pipeline, "a red fox");
    add_golden(&pipeline, "sd1-kohya");
    add_golden(&pipeline, "sd1-old");
    assert_eq!(pipeline.loras(), ["sd1-kohya", "sd1-old"]);
    assert_eq!(draw(&pipeline, "a red fox"), plain, "a LoRA that no prompt asks for");
    assert_eq!(draw(&pipeline, "a red fox<lora:sd1-kohya:0>"), plain, "strength 0");
    assert_eq!(draw(&pipeline, "a red fox<lora:sd1-kohya:1><lora:sd1-kohya:-1>"), plain, "a sum of 0");
    let whole = draw(&pipeline, "a red fox<lora:sd1-kohya>");
    assert_ne!(whole, plain);
    assert_eq!(draw(&pipeline, "<lora:sd1-kohya:0.25>a red fox<lora:sd1-kohya:0.75>"), whole, "a sum of 1");
    let both = draw(&pipeline, "a red fox<lora:sd1-old:0.5><lora:sd1-kohya>");
    assert_ne!(both, whole);
    assert_eq!(draw(&pipeline, "a red fox<lora:sd1-kohya><lora:sd1-old:0.5>"), both, "another order");
    assert_eq!(draw(&pipeline, "a red fox"), plain, "after all that");
    assert!(pipeline.remove_lora("sd1-kohya") && !pipeline.remove_lora("sd1-kohya"));
    let error = start(&pipeline, "<lora:sd1-kohya>").err().expect("an error");
    assert_eq!(error.code(), "bad_prompt");
    assert!(error.to_string().contains("`sd1-old`"), "{error}");
}

/// Runs of one model may take turns, and a LoRA may go while one uses it.
#[test]
fn runs_with_other_loras_take_turns() {
    let pipeline = golden("sd1");
    add_golden(&pipeline, "sd1-kohya");
    let (plain, with) = (draw(&pipeline, "a red fox"), draw(&pipeline, "a red fox<lora:sd1-kohya>"));
    let mut runs =
        ["a red fox", "a red fox<lora:sd1-kohya>"].map(|prompt| start(&pipeline, prompt).expect("a run"));
    runs.iter_mut().for_each(|run| _ = block_on(run.step()).expect("a step"));
    assert!(pipeline.remove_lora("sd1-kohya"));
    assert_eq!(runs.map(finish), [plain, with]);
}

#[test]
fn negative_prompts_take_no_loras() {
    let pipeline = golden("sd1");
    add_golden(&pipeline, "sd1-old");
    let embeds = block_on(pipeline.encode("a fox", Some("grey <lora:sd1-old>"))).expect("embeddings");
    assert!(matches!(embeds.warnings.as_slice(), [warning] if warning.contains("`<lora:sd1-old>`")));
}

/// All numbers of a safetensors file as f32, packed ones unpacked.
fn read(file: &Path) -> Vec<NamedTensor> {
    let source = FolderSource::new(file.parent().expect("a folder"));
    let name = file.file_name().expect("a name").to_string_lossy();
    let weights = block_on(Weights::open_file(&source, &name)).expect("weights");
    let names = weights.names().filter(|name| !name.ends_with("position_ids"));
    let tensor = |name: &str| {
        let shape = weights.shape(name)?.to_vec();
        let data = TensorData::F32(block_on(weights.read_f32(name, &shape)).ok()?);
        Some(NamedTensor { name: name.to_owned(), shape, data })
    };
    names.filter_map(tensor).collect()
}

fn numbers(tensor: &NamedTensor) -> &[f32] {
    match &tensor.data {
        TensorData::F32(numbers) => numbers,
        TensorData::I64(_) => &[],
    }
}

/// `W + scale · B A` for the layers of `part`, of which all are linear.
fn fuse(weights: &mut [NamedTensor], lora: &BTreeMap<String, NamedTensor>, part: &str, scale: f32) {
    let mut fused = 0;
    for NamedTensor { name, data, .. } in weights {
        let layer = name.trim_end_matches(".weight").trim_start_matches("text_model.");
        let factor = |factor: &str| lora.get(&format!("{part}.{layer}.lora_{factor}.weight"));
        let (Some(a), Some(b), TensorData::F32(weight)) = (factor("A"), factor("B"), data) else { continue };
        let (rank, inputs) = (a.shape[0], a.shape[1]);
        for (row, b) in weight.chunks_exact_mut(inputs).zip(numbers(b).chunks_exact(rank)) {
            for (a, b) in numbers(a).chunks_exact(inputs).zip(b) {
                row.iter_mut().zip(a).for_each(|(weight, a)| *weight += scale * b * a);
            }
        }
        fused += 1;
    }
    assert!(fused > 5, "{part}: {fused}");
}

/// Packed weights stay packed beside a LoRA, and give what their unpacked numbers with the LoRA in them do.
#[test]
fn packed_weights_with_a_lora_are_unpacked_ones_with_it_fused() {
    let easel = Easel::with_model("lora-packed", "sd1");
    let place = |name: &str| easel.path(name).to_string_lossy().into_owned();
    let (model, pack) = (place("model"), place("pack"));
    command::run(&["pack", "--model", &model, "--quant", "q8", "--out", &pack]).success();
    let lora = read(&Path::new(GOLDENS).join("loras/sd1-peft.safetensors"));
    let lora: BTreeMap<_, _> = lora.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    for (part, stem) in
        [("unet", "diffusion_pytorch_model"), ("text_encoder", "model"), ("vae", "diffusion_pytorch_model")]
    {
        let file = format!("{part}/{stem}.safetensors");
        let mut weights = read(&easel.path("pack").join(&file));
        if part != "vae" {
            // Strength 0.8, alpha 6 of rank 4.
            fuse(&mut weights, &lora, part, 0.8 * 6.0 / 4.0);
        }
        let bytes = write(&file, &weights).expect("a file");
        fs::write(easel.path("model").join(&file), bytes).expect("a file");
    }
    let packed = load(&easel.path("pack"));
    add_golden(&packed, "sd1-peft");
    let found = draw(&packed, "a red fox<lora:sd1-peft:0.8>");
    let expected = draw(&load(&easel.path("model")), "a red fox");
    let range = expected.iter().fold(0.0f32, |range, value| range.max(value.abs()));
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / range).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst:e}");
}

/// A file in the test's folder with tensors of zeros.
fn zeros(easel: &Easel, tensors: &[(&str, &[usize])]) {
    let tensor = |(name, shape): &(&str, &[usize])| {
        let data = TensorData::F32(vec![0.0; shape.iter().product()]);
        NamedTensor { name: (*name).to_owned(), shape: shape.to_vec(), data }
    };
    let tensors: Vec<_> = tensors.iter().map(tensor).collect();
    fs::write(easel.path("x.safetensors"), write("x", &tensors).expect("a file")).expect("a file");
}

/// Name and shape of a tensor.
type Entry<'a> = (&'a str, &'a [usize]);

#[test]
fn files_that_do_not_fit_are_refused() {
    const Q: &str = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
    const K: &str = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k";
    let easel = Easel::with_model("lora-refused", "sd1");
    let pipeline = golden("sd1");
    let cases: [(&[Entry<'_>], &[&str]); 10] = [
        (&[("conv.weight", &[2, 2])], &["holds no LoRA", "`conv.weight`"]),
        (&[("lora_unet_a.hada_w1_a", &[2, 2])], &["LoHa"]),
        (&[("lora_unet_a.dora_scale", &[2, 2])], &["DoRA"]),
        (&[("lora_unet_a.lora_mid.weight", &[2, 2, 3, 3])], &["lora_mid"]),
        (&[(&format!("{Q}.lora_A.weight"), &[2, 16])], &["lora_A", "not what goes with it"]),
        (
            &[(&format!("{Q}.lora_A.weight"), &[2, 16]), (&format!("{Q}.lora_B.weight"), &[16, 3])],
            &["rank differs"],
        ),
        (
            &[(&format!("{K}.lora_A.weight"), &[2, 2048]), (&format!("{K}.lora_B.weight"), &[16, 2])],
            &["SDXL", "to_k.lora_A"],
        ),
        (
            &[
                ("lora_unet_conv_in.lora_down.weight", &[2, 4, 3, 3]),
                ("lora_unet_conv_in.lora_up.weight", &[16, 2]),
                ("lora_unet_input_blocks_0_0.lora_down.weight", &[2, 4, 3, 3]),
                ("lora_unet_input_blocks_0_0.lora_up.weight", &[16, 2]),
            ],
            &["`conv_in` twice"],
        ),
        (
            &[(&format!("{Q}.lora_A.weight"), &[2, 16, 3, 3]), (&format!("{Q}.lora_B.weight"), &[16, 2])],
            &["another family", "to_q"],
        ),
        (
            &[("lora_te2_x.lora_down.weight", &[2, 16]), ("lora_te2_x.lora_up.weight", &[16, 2])],
            &["no layer that this model has", "lora_te2_x"],
        ),
    ];
    for (tensors, words) in cases {
        zeros(&easel, tensors);
        let error = add(&pipeline, "x", &easel.path(""), "x.safetensors").expect_err("an error");
        assert_eq!(error.code(), "bad_lora", "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word} in: {error}");
        }
    }
    fs::write(easel.path("x.safetensors"), b"<!DOCTYPE html><html></html>").expect("a file");
    let error = add(&pipeline, "x", &easel.path(""), "x.safetensors").expect_err("an error");
    assert_eq!(error.code(), "bad_safetensors", "{error}");
    let error = add(&pipeline, "a:b", &easel.path(""), "x.safetensors").expect_err("an error");
    assert_eq!(error.code(), "bad_parameter", "{error}");
    assert_eq!(pipeline.loras(), [""; 0]);
}

/// Layers that the model lacks are counted and named, numbers that are none are found when they are read.
#[test]
fn what_is_left_out_is_said() {
    const Q: &str = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
    let easel = Easel::with_model("lora-partial", "sd1");
    let pipeline = golden("sd1");
    let (down, up) = (format!("{Q}.lora_A.weight"), format!("{Q}.lora_B.weight"));
    zeros(
        &easel,
        &[
            (&down, &[2, 16]),
            (&up, &[16, 2]),
            ("lora_unet_z.lora_down.weight", &[2, 16]),
            ("lora_unet_z.lora_up.weight", &[16, 2]),
            ("epoch", &[1]),
        ],
    );
    let report = add(&pipeline, "x", &easel.path(""), "x.safetensors").expect("a LoRA");
    assert_eq!((report.layers, report.rank), (1, 2));
    let [layers, others] = report.warnings.as_slice() else { panic!("{:?}", report.warnings) };
    assert!(layers.starts_with("1 of the 2 layers") && layers.contains("lora_unet_z"), "{layers}");
    assert!(others.contains("`epoch`"), "{others}");
    let tensors = [
        NamedTensor { name: down, shape: vec![1, 16], data: TensorData::F32(vec![f32::NAN; 16]) },
        NamedTensor { name: up, shape: vec![16, 1], data: TensorData::F32(vec![1.0; 16]) },
    ];
    fs::write(easel.path("x.safetensors"), write("x", &tensors).expect("a file")).expect("a file");
    add(&pipeline, "x", &easel.path(""), "x.safetensors").expect("a LoRA");
    let error = start(&pipeline, "<lora:x>").err().expect("an error");
    assert!(error.code() == "bad_lora" && error.to_string().contains("not finite"), "{error}");
}

#[test]
fn the_command_takes_loras() {
    let easel = Easel::with_model("lora-command", "sd1");
    let lora = format!("{GOLDENS}/loras/sd1-kohya.safetensors");
    // The files differ anyway: they say what the prompt was.
    let picture = || {
        let file = fs::File::open(easel.path("out.png")).expect("a picture");
        let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG file");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a small picture")];
        reader.next_frame(&mut bytes).expect("pixels");
        bytes
    };
    easel.generate(&[]).success();
    let plain = picture();
    let (named, strong) = (format!("{lora}=style"), format!("{lora}:0.8"));
    easel.generate(&[("--lora", &named)]).success();
    assert!(picture() == plain, "no tag, no effect");
    easel.generate(&[("--lora", &named), ("--prompt", "a red fox<lora:style:0.8>")]).success();
    let with = picture();
    assert!(with != plain);
    easel.generate(&[("--lora", &strong)]).success();
    assert!(picture() == with, "a strength needs no tag");
    easel.generate(&[("--prompt", "<lora:style>")]).failure("bad_prompt", &["`<lora:style>`", "none is"]);
    for (value, names) in
        [("x.txt", ".safetensors"), (&format!("{lora}:x"), "strength"), (&format!("{lora}?"), "=")]
    {
        easel.generate(&[("--lora", value)]).failure("bad_parameter", &[names]);
    }
    easel.generate(&[("--lora", "gone.safetensors")]).failure("file_not_found", &["gone.safetensors"]);
    assert_eq!(easel.names(), ["model", "out.png"], "nothing else is written");
    let report = command::run(&["inspect", "--model", &lora, "--json"]).success();
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["parts"][0]["part"], "text_encoder");
    assert_eq!(report["parts"][1]["ranks"], serde_json::json!([3]));
    assert!(command::run(&["inspect", "--model", &lora]).success().contains("rank 3"));
}
