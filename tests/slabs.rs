//! Autoencoders compute large pictures in slabs of rows: the same picture and latents as in one piece, on the CPU and on
//! the GPU.
#![allow(clippy::expect_used, reason = "a test that cannot load its model has failed")]

use burn::tensor::{Tensor, TensorData};
use cubecl::future::block_on;
use easel::config::VaeConfig;
use easel::hardware::{Choice, Faults, Hardware};
use easel::model::vae::{VaeDecoder, VaeEncoder};
use easel::weights::Prefer;
use easel::weights::source::FolderSource;

/// Of three stages, of two with fewer channels, and one without norms.
const MODELS: [&str; 3] = ["sd2-v", "sdxl", "taesd"];
/// Slabs of one row; of some rows, which divide no height here; and of several rows in small activations only.
const SLAB_BYTES: [usize; 3] = [1, 3_000, 9_000];
/// In latents.
const SIZES: [(usize, usize); 2] = [(5, 7), (6, 3)];

#[test]
fn slabs_give_what_the_whole_gives() {
    let gpu = block_on(Hardware::open(Choice::Gpu, Faults::default()));
    let gpu = gpu.expect("a Vulkan adapter; on Debian: apt-get install mesa-vulkan-drivers");
    for hardware in [Hardware::cpu(), gpu] {
        for model in MODELS {
            block_on(both_ways(model, &hardware));
        }
    }
}

async fn both_ways(model: &str, hardware: &Hardware) {
    let source = FolderSource::new(format!("{}/../tests/goldens/models/{model}", env!("CARGO_MANIFEST_DIR")));
    let config = VaeConfig::load(&source, "vae/config.json", "AutoencoderKL")
        .await
        .expect("the config of the goldens");
    let device = hardware.device();
    let decoder = VaeDecoder::load(&source, Prefer::Full, config.clone(), device).await.expect("a decoder");
    let encoder = VaeEncoder::load(&source, Prefer::Full, config.clone(), device).await.expect("an encoder");
    for (height, width) in SIZES {
        let latents = numbers([1, height * width, config.latent_channels()], hardware);
        let name = format!("{model} decodes {height}x{width} on {}", hardware.name());
        compare(&name, hardware, |bytes| decoder.forward_by(bytes, latents.clone(), height, width)).await;
        let (height, width) = (height * config.factor(), width * config.factor());
        let picture = numbers([1, height * width, 3], hardware);
        let name = format!("{model} encodes {height}x{width} on {}", hardware.name());
        compare(&name, hardware, |bytes| encoder.forward_by(bytes, picture.clone(), height, width)).await;
    }
}

/// `compute` takes the most bytes of a slab.
async fn compare(name: &str, hardware: &Hardware, compute: impl Fn(usize) -> Tensor<3>) {
    let whole = hardware.read(compute(usize::MAX)).await.expect("the whole");
    let scale = whole.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for bytes in SLAB_BYTES {
        // Memory that results may come to lie in, in sizes between a row's and the whole's.
        let poison = (4..16).map(|i| Tensor::<1>::full([1 << i], f32::NAN, hardware.device()));
        drop(poison.collect::<Vec<_>>());
        let found = hardware.read(compute(bytes)).await.expect("the slabs");
        assert_eq!(found.len(), whole.len(), "{name}");
        // Sums are taken in another order where slabs have other strategies, and in group norms: a few dozen roundings,
        // of which norms over few values may make ten times as much.
        let worst = found.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 2e-5 * scale, "{name} in slabs of {bytes} bytes: {worst} of {scale}");
        assert!(found.iter().all(|value| value.is_finite()), "{name}");
    }
}

/// Between -1 and 1, without a pattern that a mistake could fit.
fn numbers(shape: [usize; 3], hardware: &Hardware) -> Tensor<3> {
    let hash =
        |i: usize| (i as u32).wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(2_246_822_519) >> 16;
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| hash(i) as f32 / 32_768.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, shape), hardware.device())
}
