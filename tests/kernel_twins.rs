//! Every WGSL kernel against its CPU implementation, on whatever adapter the machine has (a software one in CI), over
//! odd shapes, into memory that held NaN before.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};
use easel::kernel::{
    Activation, Attention, Conv2d, GroupNorm, Weight, attention, conv2d, geglu, group_norm, layer_norm, linear,
    padded, sampler_step, to_rgb,
};

/// Both sides sum in f32 in different orders; the longest sums here have some 600 terms of unit variance.
const ABSOLUTE: f32 = 2e-5;
const RELATIVE: f32 = 1e-4;

fn gpu() -> Device {
    static GPU: OnceLock<Device> = OnceLock::new();
    GPU.get_or_init(|| Device::wgpu_options().init().expect("a Vulkan adapter: install mesa-vulkan-drivers")).clone()
}

/// Values in about -2..2 from a multiplicative hash of the position.
fn values(count: usize, salt: u32) -> Vec<f32> {
    (0..count as u32)
        .map(|i| {
            let mixed = (i ^ salt.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
            let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
            (mixed >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}

fn tensor<const D: usize>(shape: [usize; D], salt: u32, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values(shape.iter().product(), salt), shape), device)
}

/// Leaves NaN in the pages that the next allocations of this size get.
fn poison(count: usize, device: &Device) {
    let pages: Vec<Tensor<1>> = (0..3).map(|_| Tensor::full([count], f32::NAN, device)).collect();
    drop(pages);
}

/// Runs `operation` on both devices and compares.
fn compare<const D: usize>(name: &str, operation: impl Fn(&Device) -> Tensor<D>) {
    let expected = operation(&Device::flex()).into_data();
    poison(expected.num_elements(), &gpu());
    let found = operation(&gpu()).into_data();
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let expected: Vec<f32> = expected.try_into_vec().expect("f32");
    let found: Vec<f32> = found.try_into_vec().expect("f32");
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let tolerance = ABSOLUTE + RELATIVE * expected.abs();
        assert!((found - expected).abs() <= tolerance, "{name}: [{i}] is {found}, the CPU says {expected}");
    }
}

#[test]
fn linear_agrees() {
    let cases = [(1, 1, 1, 1), (1, 5, 3, 3), (2, 7, 5, 6), (1, 33, 31, 17), (1, 300, 40, 72), (2, 130, 64, 260)];
    for (b, rows, k, n) in cases {
        for (bias, residual, activation) in [
            (false, false, Activation::None),
            (true, false, Activation::Silu),
            (true, true, Activation::None),
            (true, false, Activation::Gelu),
            (true, false, Activation::QuickGelu),
        ] {
            compare(&format!("linear {b}x{rows}x{k}x{n} {activation:?}"), |device| {
                let weight = Weight::from_rows(&values(n * k, 2), n, k, device);
                let bias = bias.then(|| padded(&values(n, 3), device));
                let residual = residual.then(|| tensor([b, rows, n], 4, device));
                linear(tensor([b, rows, k], 1, device), &weight, bias.as_ref(), residual, activation)
            });
        }
    }
}

#[test]
fn conv2d_agrees() {
    let same = |h, w, out| Conv2d::same(h, w, out);
    let cases = [
        (1, 4, same(1, 1, 4)),
        (2, 3, same(5, 7, 3)),
        (1, 5, Conv2d { stride: 2, ..same(7, 6, 9) }),
        (1, 6, Conv2d { stride: 2, padding: 0, ..same(8, 8, 5) }),
        (2, 4, Conv2d { seen: (10, 6), ..same(5, 3, 8) }),
        (1, 4, Conv2d { seen: (9, 5), ..same(5, 3, 8) }),
        (1, 7, Conv2d { kernel: 1, padding: 0, padding_end: 0, ..same(3, 4, 6) }),
        (1, 33, same(16, 16, 40)),
        (1, 8, same(40, 33, 56)),
    ];
    for (b, c_in, case) in cases {
        for (bias, shift, residual, activation) in [
            (true, false, false, Activation::None),
            (true, true, false, Activation::None),
            (true, false, true, Activation::None),
            (false, false, false, Activation::Relu),
        ] {
            let shape = Conv2d { activation, shift_row: 1, ..case };
            compare(&format!("conv2d {b}x{c_in} {shape:?}"), |device| {
                let out = shape.out_channels;
                let count = out * c_in * shape.kernel * shape.kernel;
                let weight = Weight::from_convolution(&values(count, 2), out, c_in, shape.kernel, device);
                let bias = bias.then(|| padded(&values(out, 3), device));
                let shift = shift.then(|| tensor([2, out], 5, device));
                let (h, w) = shape.output();
                let residual = residual.then(|| tensor([b, h * w, out], 4, device));
                let x = tensor([b, shape.height * shape.width, c_in], 1, device);
                conv2d(x, &weight, shape, bias.as_ref(), shift.as_ref(), residual)
            });
        }
    }
}

#[test]
fn attention_agrees() {
    for (b, queries, keys, heads, d) in
        [(1, 1, 1, 1, 4), (2, 5, 7, 3, 5), (1, 77, 77, 2, 8), (2, 70, 24, 4, 40), (1, 65, 130, 1, 160), (1, 9, 9, 1, 512)]
    {
        for causal in [false, true] {
            compare(&format!("attention {b}x{queries}x{keys} {heads}x{d} {causal}"), |device| {
                let channels = heads * d;
                attention(
                    tensor([b, queries, channels], 1, device),
                    tensor([b, keys, channels], 2, device),
                    tensor([b, keys, channels], 3, device),
                    Attention { heads, causal },
                )
            });
        }
    }
}

#[test]
fn group_norm_agrees() {
    for (b, pixels, channels, groups) in [(1, 1, 4, 1), (2, 5, 6, 3), (1, 100, 64, 32), (2, 257, 40, 8), (1, 63, 5, 5)] {
        for activation in [Activation::None, Activation::Silu] {
            compare(&format!("group_norm {b}x{pixels}x{channels}/{groups}"), |device| {
                // Away from zero, so that a one-pass variance would cancel.
                let x = tensor([b, pixels, channels], 1, device) + 10.0;
                let options = GroupNorm { groups, eps: 1e-5, activation };
                group_norm(x, &tensor([channels], 2, device), &tensor([channels], 3, device), options)
            });
        }
    }
}

#[test]
fn layer_norm_agrees() {
    for (b, rows, channels) in [(1, 1, 3), (2, 5, 64), (1, 77, 130), (1, 3, 1)] {
        compare(&format!("layer_norm {b}x{rows}x{channels}"), |device| {
            let x = tensor([b, rows, channels], 1, device);
            layer_norm(x, &tensor([channels], 2, device), &tensor([channels], 3, device), 1e-5)
        });
    }
}

#[test]
fn geglu_agrees() {
    for (b, rows, width) in [(1, 1, 1), (2, 3, 5), (1, 70, 32)] {
        compare(&format!("geglu {b}x{rows}x{width}"), |device| geglu(tensor([b, rows, 2 * width], 1, device)));
    }
}

#[test]
fn sampler_step_agrees() {
    for count in 1..=easel::kernel::MAX_TERMS {
        for guidance_scale in [None, Some(7.5)] {
            compare(&format!("sampler_step {count} {guidance_scale:?}"), |device| {
                let terms: Vec<_> = (0..count)
                    .map(|t| {
                        let batch = if t == 0 && guidance_scale.is_some() { 2 } else { 1 };
                        (tensor([batch, 35, 3], t as u32, device), 0.75 - t as f64 * 0.5)
                    })
                    .collect();
                sampler_step(&terms, guidance_scale).expect("one to six terms")
            });
        }
    }
    assert!(sampler_step(&[], None).is_none());
}

#[test]
fn to_rgb_agrees() {
    for (pixels, channels) in [(1, 4), (67, 3), (300, 16)] {
        compare(&format!("to_rgb {pixels}x{channels}"), |device| {
            to_rgb(tensor([1, pixels, channels], 1, device), &tensor([channels + 1, 3], 2, device))
        });
    }
}
