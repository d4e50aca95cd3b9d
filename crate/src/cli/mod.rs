//! Command line of the native engine.
#![allow(clippy::print_stdout, reason = "standard output is where a command's results go")]

mod bench;
mod bench_cases;
mod exif;
mod files;
mod generate;
mod http;
mod import;
mod infotext;
mod init;
mod inspect;
mod lora;
mod model;
mod pack;
mod packed_folder;
mod picture_files;
mod quality;
mod resample;
mod tune;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use easel::error::{Error, Result};
use easel::hardware::{Choice, Faults, Hardware};
use easel::quantization::Policy;
use easel::sampler::SamplerKind;
use init::InitOptions;
use lora::LoraOption;
use model::ModelFiles;

/// Text-to-image models of the Stable-Diffusion family.
#[derive(Parser)]
#[command(name = "easel", version)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Draw pictures from a prompt.
    Generate(Box<Generate>),
    /// Compare what the GPU computes with the CPU, operation by operation.
    SelfTest,
    /// Time every kernel at the shapes of Stable Diffusion 1.5, beside what the adapter can do at most.
    Bench(Bench),
    /// Show how the GPU computes matrix products, by what was measured on it.
    Tune(Tune),
    /// Say what a model is, and whether Easel runs what its configs and the headers of its weights say.
    Inspect {
        #[command(flatten)]
        model: ModelFiles,
        /// Compare every byte with the hashes of the model's manifest.
        #[arg(long)]
        verify: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write a model with packed weights, in a folder that any web server can serve.
    Pack(Pack),
    /// Fetch a model, packing its weights as they arrive, into a folder as `pack` writes it.
    Import(import::Import),
    /// Measure what packing, or f16, does to a model's pictures.
    Quality(Quality),
}

#[derive(Args)]
struct Pack {
    #[command(flatten)]
    model: ModelFiles,
    /// Folder to write; it must not exist.
    #[arg(long)]
    out: PathBuf,
    /// q8, q6, q4, or mixed: q4 with the sensitive layers finer.
    #[arg(long, value_parser = parse::<Policy>)]
    quant: Policy,
    /// Largest size of a weights file, but for single tensors beyond it.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=4096))]
    shard_mib: u64,
}

#[derive(Args)]
struct Quality {
    /// Folder of a model in diffusers layout.
    #[arg(long)]
    model: PathBuf,
    /// q8, q6, q4 or mixed; with --precision f16, weights may stay as they are.
    #[arg(long, value_parser = parse::<Policy>, required_unless_present = "precision")]
    quant: Option<Policy>,
    /// f32, or f16 to be compared with f32.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Text file with a prompt a line; line N is drawn from seed N.
    #[arg(long)]
    prompts: PathBuf,
    /// Sampler steps; the model's usual number by default.
    #[arg(long)]
    steps: Option<usize>,
    /// Pack one layer at a time, and sort the layers by damage for each byte saved.
    #[arg(long, requires = "quant", conflicts_with = "precision")]
    sensitivity: bool,
    /// gpu, cpu, or auto: the GPU unless it is a software one.
    #[arg(long, default_value = "auto", value_parser = parse::<Choice>)]
    device: Choice,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Bench {
    /// Also time a UNet step of the model in this folder, in diffusers layout.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Only say how much GPU memory the model of --model takes at its usual size; nothing is computed.
    #[arg(long, requires = "model")]
    memory: bool,
    /// With --memory: parts follow each other on the GPU.
    #[arg(long, requires = "memory")]
    low_memory: bool,
    /// Only kernels whose name holds this text.
    #[arg(long, default_value = "", hide_default_value = true)]
    only: String,
    /// Divide the pixels of every shape, so that software adapters finish.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    scale: u16,
    /// gpu, cpu, or auto: the GPU unless it is a software one.
    #[arg(long, default_value = "gpu", value_parser = parse::<Choice>)]
    device: Choice,
    /// f32; or f16 on a GPU that has it: half the memory for activations, and products in f16 where that is faster, with sums
    /// in f32. Pictures differ slightly.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Tune {
    /// Folder of a model in diffusers layout whose products to measure, those that are known left out.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Seconds to measure for.
    #[arg(long, default_value_t = 60)]
    budget: u64,
    /// f32, or f16 activations and, where that is faster, products.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What the UNet's activations are stored in, and its products may be computed in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    F16,
}

#[derive(Args)]
struct Generate {
    #[command(flatten)]
    model: ModelFiles,
    /// What to draw; weights as in "a (red:1.2) fox", LoRAs as in "a fox <lora:name:0.8>".
    #[arg(long)]
    prompt: String,
    /// What to keep away from; used with guidance above 1.
    #[arg(long, default_value = "", hide_default_value = true)]
    negative: String,
    /// FILE.safetensors[=NAME][:STRENGTH]: a LoRA that the prompt may ask for, by the file's name or NAME; with STRENGTH it
    /// need not. May be given several times.
    #[arg(long, value_parser = parse::<LoraOption>)]
    lora: Vec<LoraOption>,
    /// Sampler steps; the model's usual number by default.
    #[arg(long)]
    steps: Option<usize>,
    /// Guidance scale; the model's usual one by default, 1 or less turns guidance off.
    #[arg(long, allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// ddim, pndm, euler, euler-a, dpmpp-2m, dpmpp-2m-karras, unipc or lcm; the model's own by default.
    #[arg(long, value_parser = parse::<SamplerKind>)]
    sampler: Option<SamplerKind>,
    /// Seed, as torch's CPU generator takes it; a random one by default.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    init: InitOptions,
    /// WIDTHxHEIGHT in pixels; by default the size of --init as nearly as the model takes it, or the model's own.
    #[arg(long, value_parser = parse_size)]
    size: Option<(usize, usize)>,
    /// Number of pictures, of consecutive seeds.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// gpu, cpu, or auto: the GPU unless it is a software one.
    #[arg(long, default_value = "auto", value_parser = parse::<Choice>)]
    device: Choice,
    /// f32; or f16 on a GPU that has it: half the memory for activations, and products in f16 where that is faster, with sums
    /// in f32. Pictures differ slightly.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Keep one part of the model on the device at a time; slower, as each is read again for every picture. Where memory
    /// runs out, this happens by itself.
    #[arg(long)]
    low_memory: bool,
    /// Safetensors file with first latents `latents` and, if any, noise `noise.0`, `noise.1`, …
    #[arg(long)]
    latents: Option<PathBuf>,
    /// Safetensors file to write with token ids, embeddings, the latents of every step and the picture.
    #[arg(long)]
    dump: Option<PathBuf>,
    /// Print timings and peak GPU memory as one JSON object a picture.
    #[arg(long)]
    json: bool,
    /// PNG file to write; with --count above 1, `-1`, `-2`, … are added to its name.
    #[arg(long)]
    out: PathBuf,
}

fn parse<T: std::str::FromStr<Err = Error>>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

fn parse_size(text: &str) -> std::result::Result<(usize, usize), String> {
    let parts =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    parts.ok_or_else(|| format!("size must be WIDTHxHEIGHT, as in 512x512, not {text:?}"))
}

async fn self_test() -> Result<()> {
    let hardware = Hardware::open(Choice::Gpu, Faults::default()).await?;
    let differences = hardware.self_test().await?;
    if differences.is_empty() {
        println!("{} computes every operation as the CPU does", hardware.name());
        return Ok(());
    }
    Err(Error::Gpu {
        reason: format!("{} computes wrong values: {}", hardware.name(), differences.join("; ")),
    })
}

/// Runs the command of the process's arguments.
pub(crate) fn run() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => return explain(&error),
    };
    let result: Result<()> = cubecl::future::block_on(async {
        match command.action {
            Action::Generate(options) => generate::run(&options).await,
            Action::SelfTest => self_test().await,
            Action::Bench(options) => bench::run(&options).await,
            Action::Tune(options) => tune::run(&options).await,
            Action::Inspect { model, verify, json } => inspect::run(&model, verify, json).await,
            Action::Pack(options) => pack::run(&options).await,
            Action::Import(options) => import::run(&options).await,
            Action::Quality(options) => quality::run(&options).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code());
            ExitCode::FAILURE
        }
    }
}

/// Help and version as they are; a mistake in the arguments as one line, like every other error.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        println!("{}", text.trim_end());
        return ExitCode::SUCCESS;
    }
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("error[bad_parameter]: {}; see easel --help", line.trim_start_matches("error: "));
    ExitCode::FAILURE
}
