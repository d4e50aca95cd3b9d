//! The kernels of `easel bench` at the shapes of Stable Diffusion 1.5 at 512x512, one picture.

use burn::tensor::{Device, Tensor};
use easel::kernel::strategy::{Operation, Product};
use easel::kernel::tune::Operands;
use easel::kernel::{Activation, Attention, GroupNorm, Storage, attention, geglu, group_norm, layer_norm};
use easel::quantization::Quant;

/// A kernel with its operands.
pub(super) type Computation = Box<dyn Fn() -> Tensor<3>>;

/// One kernel at one shape.
pub(super) struct Case {
    pub(super) kernel: &'static str,
    pub(super) shape: String,
    /// Packing of the weight, where there is one.
    pub(super) weight: Option<&'static str>,
    /// Floating-point operations.
    pub(super) operations: f64,
    /// Bytes that have to be read and written at least.
    pub(super) bytes: f64,
    /// Makes the operands.
    pub(super) prepare: Box<dyn Fn(&Device) -> Computation>,
}

/// Side in latents and channels of the UNet's stages.
const STAGES: [(usize, usize); 4] = [(64, 320), (32, 640), (16, 1280), (8, 1280)];
const HEADS: usize = 8;
const TEXT_TOKENS: usize = 77;
const GROUPS: usize = 32;
/// Widest stage of the decoder: side and channels.
const DECODER: (usize, usize) = (512, 128);
/// The decoder's attention: side and channels of its one head.
const DECODER_ATTENTION: (usize, usize) = (64, 512);

/// All cases, with pixels divided by `scale`, and activations in `storage` but for the decoder's.
pub(super) fn cases(scale: usize, storage: Storage) -> Vec<Case> {
    let pixels = |side: usize| (side * side / scale).max(1);
    let mut all = Vec::new();
    for (side, channels) in STAGES {
        let rows = pixels(side);
        for quant in [None, Some(Quant::Q8), Some(Quant::Q6), Some(Quant::Q4)] {
            let linear = |k, n| product(storage, "linear", Operation::Linear, quant, rows, k, n);
            all.push(product(storage, "conv3x3", Operation::Conv2d, quant, rows, 9 * channels, channels));
            all.push(linear(channels, channels));
            all.push(linear(channels, 8 * channels));
            all.push(linear(4 * channels, channels));
        }
        all.push(attention_case(storage, rows, rows, HEADS, channels / HEADS));
        all.push(attention_case(storage, rows, TEXT_TOKENS, HEADS, channels / HEADS));
        all.push(group_norm_case(storage, rows, channels));
        all.push(layer_norm_case(storage, rows, channels));
        all.push(geglu_case(storage, rows, 4 * channels));
    }
    let (side, channels) = DECODER;
    all.push(product(Storage::F32, "conv3x3", Operation::Conv2d, None, pixels(side), 9 * channels, channels));
    all.push(group_norm_case(Storage::F32, pixels(side), channels));
    let (side, channels) = DECODER_ATTENTION;
    all.push(attention_case(Storage::F32, pixels(side), pixels(side), 1, channels));
    all
}

fn product(
    storage: Storage,
    kernel: &'static str,
    operation: Operation,
    quant: Option<Quant>,
    rows: usize,
    k: usize,
    n: usize,
) -> Case {
    let product = Product { operation, quant, storage, rows, k, n };
    let weight_bits = quant.map_or(32.0, |quant| quant.bits() as f64 + 0.5);
    let read = rows * k / product.taps();
    Case {
        kernel,
        shape: format!("{rows}x{k}x{n}"),
        weight: Some(quant.map_or("f32", Quant::name)),
        operations: 2.0 * rows as f64 * k as f64 * n as f64,
        bytes: (read + rows * n) as f64 * storage.dtype().size() as f64 + (k * n) as f64 * weight_bits / 8.0,
        prepare: Box::new(move |device| {
            let operands = Operands::new(&product, device);
            Box::new(move || operands.multiply(None))
        }),
    }
}

fn attention_case(storage: Storage, queries: usize, keys: usize, heads: usize, d: usize) -> Case {
    let channels = heads * d;
    Case {
        kernel: "attention",
        shape: format!("{queries}x{keys} {heads}x{d}"),
        weight: None,
        operations: 4.0 * (queries * keys * channels) as f64,
        bytes: (2 * (queries + keys) * channels) as f64 * storage.dtype().size() as f64,
        prepare: Box::new(move |device| {
            let tensor = |rows| Tensor::zeros([1, rows, channels], (device, storage.dtype()));
            let (q, k, v) = (tensor(queries), tensor(keys), tensor(keys));
            let shape = Attention { heads, causal: false };
            Box::new(move || attention(q.clone(), k.clone(), v.clone(), shape))
        }),
    }
}

fn group_norm_case(storage: Storage, pixels: usize, channels: usize) -> Case {
    Case {
        kernel: "group_norm",
        shape: format!("{pixels}x{channels}"),
        weight: None,
        operations: 0.0,
        // Once for the statistics, once to apply them.
        bytes: 3.0 * (pixels * channels) as f64 * storage.dtype().size() as f64,
        prepare: Box::new(move |device| {
            let x = Tensor::zeros([1, pixels, channels], (device, storage.dtype()));
            let vector: Tensor<1> = Tensor::zeros([channels], device);
            let options = GroupNorm { groups: GROUPS, eps: 1e-5, activation: Activation::Silu };
            Box::new(move || group_norm(x.clone(), &vector, &vector, options))
        }),
    }
}

fn layer_norm_case(storage: Storage, rows: usize, channels: usize) -> Case {
    Case {
        kernel: "layer_norm",
        shape: format!("{rows}x{channels}"),
        weight: None,
        operations: 0.0,
        bytes: 2.0 * (rows * channels) as f64 * storage.dtype().size() as f64,
        prepare: Box::new(move |device| {
            let x = Tensor::zeros([1, rows, channels], (device, storage.dtype()));
            let vector: Tensor<1> = Tensor::zeros([channels], device);
            Box::new(move || layer_norm(x.clone(), &vector, &vector, 1e-5))
        }),
    }
}

fn geglu_case(storage: Storage, rows: usize, width: usize) -> Case {
    Case {
        kernel: "geglu",
        shape: format!("{rows}x{width}"),
        weight: None,
        operations: 0.0,
        bytes: 3.0 * (rows * width) as f64 * storage.dtype().size() as f64,
        prepare: Box::new(move |device| {
            let x = Tensor::zeros([1, rows, 2 * width], (device, storage.dtype()));
            Box::new(move || geglu(x.clone()))
        }),
    }
}
