//! One call of a UNet of Stable Diffusion 1.5's size against diffusers. A command and not one of the tests, for it takes
//! 2 GB that `tests/goldens/full_size.py` makes: `cargo run --release --example full_size -- FOLDER [cpu|gpu]`.
#![allow(clippy::print_stdout, reason = "a command's result")]

use std::error::Error;

use burn::tensor::{Tensor, TensorData};
use cubecl::future::block_on;
use easel::config::{self, UNet2DConditionConfig};
use easel::hardware::{Choice, Faults, Hardware};
use easel::model::unet::UNet2DConditionModel;
use easel::pipeline::planes;
use easel::weights::source::FolderSource;
use easel::weights::{Prefer, Weights};

/// Largest difference, as a part of the range: sums of up to 23,040 products, forty layers deep, in another order than
/// torch's.
const TOLERANCE: f32 = 1e-3;

type TestResult = Result<(), Box<dyn Error>>;

async fn agrees(folder: &str, choice: Choice) -> TestResult {
    let source = FolderSource::new(folder);
    let golden = Weights::open_file(&source, "unet_call.safetensors").await?;
    let read = async |name: &str| -> Result<(Vec<usize>, Vec<f32>), Box<dyn Error>> {
        let shape = golden.shape(name).ok_or(format!("no {name}"))?.to_vec();
        let values = golden.read_f32(name, &shape).await?;
        Ok((shape, values))
    };
    let hardware = Hardware::open(choice, Faults::default()).await?;
    let config = config::load::<UNet2DConditionConfig>(&source, "unet/config.json").await?;
    let unet = UNet2DConditionModel::load(&source, Prefer::Full, config, hardware.device()).await?;

    let (shape, embeds) = read("text_embeddings").await?;
    let embeds = Tensor::<3>::from_data(TensorData::new(embeds, shape), hardware.device());
    let (_, timestep) = read("timestep").await?;
    let inputs = unet.prepare(&embeds, &[f64::from(timestep[0])], None, None);
    let (shape, sample) = read("sample").await?;
    let (channels, height, width) = (shape[1], shape[2], shape[3]);
    let data = TensorData::new(planes(&sample, height * width), [1, height * width, channels]);
    let sample = Tensor::from_data(data, hardware.device());
    let found = hardware.read(unet.forward(sample, height, width, &inputs, 0)).await?;
    let (_, expected) = read("output").await?;

    let range = expected.iter().fold(f32::MIN, |most, value| most.max(*value))
        - expected.iter().fold(f32::MAX, |least, value| least.min(*value));
    let most = planes(&found, channels)
        .iter()
        .zip(&expected)
        .map(|(found, expected)| (found - expected).abs())
        // `f32::max` would hide a NaN.
        .fold(0.0, |most: f32, next| if next <= most { most } else { next });
    println!("{}: largest difference {:.1e} of the range", hardware.name(), most / range);
    if found.len() != expected.len() || most.is_nan() || most > TOLERANCE * range {
        return Err(format!("{} values for {}, off by {most} of {range}", found.len(), expected.len()).into());
    }
    Ok(())
}

fn main() -> TestResult {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: full_size FOLDER [cpu|gpu]")?;
    block_on(agrees(&folder, arguments.next().as_deref().unwrap_or("cpu").parse()?))
}
