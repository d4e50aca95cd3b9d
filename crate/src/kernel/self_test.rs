//! Every operation on a device against its CPU implementation: what the tests run, natively and in a browser, and what
//! tells a user whether a driver computes what it should.

use burn::backend::DType;
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;

use super::strategy::{Operation, Product, Strategy};
use super::{
    Activation, Attention, Conv2d, GroupNorm, MAX_TERMS, Storage, Weight, attention_by, blend, conv2d,
    conv2d_by, geglu, group_norm, layer_norm, linear, linear_by, padded, sampler_step, to_rgb,
};
use crate::quantization::{Layout, Packed, Quant, pack};

/// An operation with its operands, made on the device that it is given.
pub struct Case {
    /// Operation and shape.
    pub name: String,
    /// What activations are in on the device; the CPU has the same numbers as f32.
    storage: Storage,
    /// Products are of f16 numbers.
    f16_products: bool,
    operation: Box<dyn Fn(&Place) -> Tensor<3>>,
}

/// Where operands are made, and of which numbers activations are there.
struct Place<'a> {
    device: &'a Device,
    /// Of the values.
    storage: Storage,
    /// Of the tensors.
    dtype: DType,
}

impl Place<'_> {
    /// Activations, which f16 holds exactly where they are stored so.
    fn activations(&self, shape: [usize; 3], salt: u32) -> Tensor<3> {
        self.activations_by(shape, salt, |value| value)
    }

    /// [`Self::activations`] with `change` applied to each.
    fn activations_by(&self, shape: [usize; 3], salt: u32, change: fn(f32) -> f32) -> Tensor<3> {
        let mut values = values(shape.iter().product(), salt);
        for value in &mut values {
            *value = match self.storage {
                Storage::F32 => change(*value),
                Storage::F16 => f16::from_f32(change(*value)).to_f32(),
            };
        }
        Tensor::<3>::from_data(TensorData::new(values, shape), self.device).cast(self.dtype)
    }
}

/// Both sides sum in f32 in different orders, and take their own exponentials.
const ABSOLUTE: f32 = 2e-5;
const RELATIVE: f32 = 1e-4;
/// Of the results' root mean square. Where the terms of a sum cancel, the rounding of its partial sums stays, which are as
/// large as a usual result: after some 400 of them each side is off by about 20 half units in the last place, 1e-6, and
/// the largest of 1e4 differences of two such sides is six times that.
const CANCELLED: f32 = 6e-6;
/// Of a result in f16, which has 11 bits; a driver may round it either way. Half of its smallest numbers is less than
/// [`ABSOLUTE`].
const STORED: f32 = 1.0 / 1024.0;
/// Of the results' root mean square, for products of f16 operands and f16 sums of 16 terms. Their errors are independent;
/// by an estimate their sum is 1e-3 of the root mean square, and the largest of some 1e4 such errors 4 times that.
const MULTIPLIED: f32 = 1e-2;

impl Case {
    fn new(name: String, operation: impl Fn(&Place) -> Tensor<3> + 'static) -> Self {
        Self { name, storage: Storage::F32, f16_products: false, operation: Box::new(operation) }
    }

    /// The same with activations in f16.
    fn stored_in_f16(self) -> Self {
        Self { name: format!("{} of f16", self.name), storage: Storage::F16, ..self }
    }

    /// The CPU's result.
    #[must_use]
    pub fn expected(&self) -> Tensor<3> {
        self.compute(&Device::flex(), DType::F32)
    }

    /// The device's result of `elements` values, written to memory that held NaN before where the allocator reuses it.
    #[must_use]
    pub fn found(&self, device: &Device, elements: usize) -> Tensor<3> {
        let dtype = self.storage.dtype();
        let nan = |_| Tensor::full([elements], f32::NAN, (device, dtype));
        let poison: Vec<Tensor<1>> = (0..3).map(nan).collect();
        drop(poison);
        let found = self.compute(device, dtype);
        debug_assert_eq!(found.dtype(), dtype);
        found.cast(DType::F32)
    }

    fn compute(&self, device: &Device, dtype: DType) -> Tensor<3> {
        (self.operation)(&Place { device, storage: self.storage, dtype })
    }

    /// The first difference beyond rounding, in words.
    #[must_use]
    pub fn difference(&self, found: &[f32], expected: &[f32]) -> Option<String> {
        if found.len() != expected.len() {
            return Some(format!("{}: {} values, the CPU has {}", self.name, found.len(), expected.len()));
        }
        let rms = root_mean_square(expected);
        let absolute = ABSOLUTE.max(if self.f16_products { MULTIPLIED } else { CANCELLED } * rms);
        let relative = match self.storage {
            Storage::F32 => RELATIVE,
            Storage::F16 => RELATIVE + STORED,
        };
        let close =
            |found: f32, expected: f32| (found - expected).abs() <= absolute + relative * expected.abs();
        let (at, (found, expected)) = found
            .iter()
            .zip(expected)
            .enumerate()
            .find(|(_, (found, expected))| !close(**found, **expected))?;
        Some(format!(
            "{}: value {at} is {found}, the CPU says {expected}, the root mean square is {rms}",
            self.name
        ))
    }
}

fn root_mean_square(values: &[f32]) -> f32 {
    (values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32).sqrt()
}

/// Odd shapes of every operation, some with more rows than one dimension of a dispatch has workgroups.
#[must_use]
pub fn cases() -> Vec<Case> {
    let quants: Vec<_> = std::iter::once(None).chain(Quant::ALL.map(Some)).collect();
    let rest = [sampler_step_cases(), blend_cases(), to_rgb_cases()];
    activation_cases(&quants).into_iter().chain(rest.into_iter().flatten()).collect()
}

/// Those of operations that take activations in f16 as well, with weights packed in the ways of `quants`.
fn activation_cases(quants: &[Option<Quant>]) -> Vec<Case> {
    [
        linear_cases(),
        operand_cases(),
        strategy_cases(&Strategy::ALL, quants),
        conv2d_cases(),
        attention_cases(false),
        group_norm_cases(),
        layer_norm_cases(),
        geglu_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Values in -2..2 from a multiplicative hash of the position.
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

/// What is added to a product.
#[derive(Debug, Clone, Copy)]
enum Residual {
    None,
    /// The result may take its memory.
    Given,
    /// It may not: somebody else holds it too.
    Kept,
}

impl Residual {
    /// The tensor, and who else holds it.
    fn tensor(self, shape: [usize; 3], place: &Place) -> (Option<Tensor<3>>, Option<Tensor<3>>) {
        match self {
            Self::None => (None, None),
            Self::Given => (Some(place.activations(shape, 4)), None),
            Self::Kept => {
                let tensor = place.activations(shape, 4);
                (Some(tensor.clone()), Some(tensor))
            }
        }
    }
}

fn linear_cases() -> Vec<Case> {
    let shapes =
        [(1, 1, 1, 1), (1, 5, 3, 3), (2, 7, 5, 6), (1, 33, 31, 17), (1, 300, 40, 72), (2, 130, 64, 260)];
    let epilogues = [
        (false, Residual::None, Activation::None),
        (true, Residual::None, Activation::Silu),
        (true, Residual::Given, Activation::None),
        (true, Residual::Kept, Activation::None),
        (true, Residual::None, Activation::Gelu),
        (true, Residual::None, Activation::QuickGelu),
    ];
    let mut cases = Vec::new();
    for (b, rows, k, n) in shapes {
        for (bias, residual, activation) in epilogues {
            let name = format!("linear {b}x{rows}x{k}x{n} {bias} {residual:?} {activation:?}");
            cases.push(Case::new(name, move |place| {
                let weight = Weight::from_rows(&values(n * k, 2), n, k, place.device);
                let bias = bias.then(|| padded(&values(n, 3), place.device));
                let (residual, _kept) = residual.tensor([b, rows, n], place);
                linear(place.activations([b, rows, k], 1), &weight, bias.as_ref(), residual, activation)
            }));
        }
    }
    cases
}

/// Operands that are views, and more rows than one dimension of a dispatch has workgroups.
fn operand_cases() -> Vec<Case> {
    let product = |x: Tensor<3>, place: &Place| {
        let k = x.dims()[2];
        linear(x, &Weight::from_rows(&values(3 * k, 2), 3, k, place.device), None, None, Activation::None)
    };
    vec![
        Case::new("linear of a part of the rows".into(), move |place| {
            product(place.activations([1, 9, 5], 1).narrow(1, 3, 4), place)
        }),
        Case::new("linear of a part of the channels".into(), move |place| {
            product(place.activations([2, 4, 9], 1).narrow(2, 2, 5), place)
        }),
        Case::new("linear of a million rows".into(), move |place| {
            product(place.activations([1, 1_048_600, 1], 1), place)
        }),
    ]
}

/// Every strategy on every packing of the weight, in shapes that fill no tile, block or vector.
fn strategy_cases(strategies: &[Strategy], quants: &[Option<Quant>]) -> Vec<Case> {
    let with_quants = |strategy| quants.iter().map(move |quant| (strategy, *quant));
    let pairs = strategies.iter().copied().flat_map(with_quants);
    pairs.flat_map(|(strategy, quant)| product_cases(strategy, quant)).collect()
}

/// What `strategy` computes with a weight packed as `quant`.
fn product_cases(strategy: Strategy, quant: Option<Quant>) -> Vec<Case> {
    let linear_shapes = [(1, 1, 1), (70, 31, 17), (70, 36, 130), (9, 100, 72), (130, 132, 260)];
    let conv2d_shapes = [
        (2, 35, Conv2d::same(5, 7, 66)),
        (1, 36, Conv2d { seen: (14, 9), ..Conv2d::same(7, 5, 70) }),
        (1, 32, Conv2d { stride: 2, padding: 0, ..Conv2d::same(11, 12, 33) }),
    ];
    // Where channels are no multiple of four, x is read in another way, whatever the packing: two of them will do.
    let suits = |channels: usize| channels.is_multiple_of(4) || matches!(quant, None | Some(Quant::Q6));
    let mut cases = Vec::new();
    for (rows, k, n) in linear_shapes.into_iter().filter(|(_, k, _)| suits(*k)) {
        let name = format!("linear {strategy} {quant:?} {rows}x{k}x{n}");
        cases.push(Case::new(name, move |place| {
            let weight = weight(quant, Layout { taps: 1, channels: k, n }, place.device);
            let bias = padded(&values(n, 3), place.device);
            let x = place.activations([1, rows, k], 1);
            linear_by(Some(strategy), x, &weight, Some(&bias), None, Activation::None)
        }));
    }
    // Values beside their gates: in fewer columns than a tile has, and in more that fill none.
    for (rows, k, n) in [(9, 40, 24), (70, 36, 136)] {
        let name = format!("linear {strategy} {quant:?} {rows}x{k}x{n} gated");
        cases.push(Case::new(name, move |place| {
            let weight = weight(quant, Layout { taps: 1, channels: k, n }, place.device);
            let bias = (n > 24).then(|| padded(&values(n, 3), place.device));
            let x = place.activations_by([1, rows, k], 1, |value| value * 0.1);
            linear_by(Some(strategy), x, &weight, bias.as_ref(), None, Activation::Geglu)
        }));
    }
    for (b, channels, shape) in conv2d_shapes.into_iter().filter(|(_, channels, _)| suits(*channels)) {
        let name = format!("conv2d {strategy} {quant:?} {b}x{channels} {shape:?}");
        cases.push(Case::new(name, move |place| {
            let n = shape.out_channels;
            let weight = weight(quant, Layout { taps: 9, channels, n }, place.device);
            let bias = padded(&values(n, 3), place.device);
            let x = place.activations([b, shape.height * shape.width, channels], 1);
            conv2d_by(Some(strategy), x, &weight, shape, Some(&bias), None, None)
        }));
    }
    cases
}

/// What only adapters with `shader-f16` compute: activations in f16, and strategies that multiply in f16. How a weight is
/// packed has nothing to do with either: two ways will do.
#[must_use]
pub fn f16_cases() -> Vec<Case> {
    let quants = [None, Some(Quant::Q4)];
    let products = || {
        let products = strategy_cases(&Strategy::ALL_F16, &quants).into_iter().chain(attention_cases(true));
        products.map(|case| Case { f16_products: true, ..case })
    };
    let stored = activation_cases(&quants).into_iter().chain(products()).map(Case::stored_in_f16);
    products().chain(stored).collect()
}

fn weight(quant: Option<Quant>, layout: Layout, device: &Device) -> Weight {
    let values = values(layout.n * layout.channels * layout.taps, 2);
    match quant {
        Some(quant) => {
            let Packed { words, scales } = pack(quant, layout, &values);
            Weight::from_packed(quant, layout, words, scales, device)
        }
        None if layout.taps == 1 => Weight::from_rows(&values, layout.n, layout.channels, device),
        None => Weight::from_convolution(&values, layout.n, layout.channels, 3, device),
    }
}

fn conv2d_cases() -> Vec<Case> {
    let same = Conv2d::same;
    let shapes = [
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
    let epilogues = [
        (true, false, Residual::None, Activation::None),
        (true, true, Residual::None, Activation::None),
        (true, false, Residual::Given, Activation::None),
        (true, false, Residual::Kept, Activation::None),
        (false, false, Residual::None, Activation::Relu),
    ];
    let mut cases = Vec::new();
    for (b, c_in, shape) in shapes {
        for (bias, shift, residual, activation) in epilogues {
            let shape = Conv2d { activation, shift_row: 1, ..shape };
            let name = format!("conv2d {b}x{c_in} {bias} {shift} {residual:?} {shape:?}");
            cases.push(Case::new(name, move |place| {
                let out = shape.out_channels;
                let count = out * c_in * shape.kernel * shape.kernel;
                let weight =
                    Weight::from_convolution(&values(count, 2), out, c_in, shape.kernel, place.device);
                let bias = bias.then(|| padded(&values(out, 3), place.device));
                let shift = shift.then(|| tensor([2, out], 5, place.device));
                let (h, w) = shape.output();
                let (residual, _kept) = residual.tensor([b, h * w, out], place);
                let x = place.activations([b, shape.height * shape.width, c_in], 1);
                conv2d(x, &weight, shape, bias.as_ref(), shift.as_ref(), residual)
            }));
        }
    }
    cases
}

/// Every strategy for a head's size, of those that round to f16 or of the others.
fn attention_cases(f16: bool) -> Vec<Case> {
    let shapes = [
        (1, 1, 1, 1, 4),
        (2, 5, 7, 3, 5),
        (1, 77, 77, 2, 8),
        (1, 130, 18, 2, 64),
        (2, 70, 24, 4, 40),
        (1, 33, 9, 1, 80),
        (1, 65, 130, 1, 160),
        (1, 9, 9, 1, 512),
    ];
    let mut cases = Vec::new();
    for (b, queries, keys, heads, d) in shapes {
        let (operation, storage) = (Operation::Attention, Storage::F32);
        let strategies = Product { operation, quant: None, storage, rows: 1, k: 1, n: d }.strategies();
        let strategies = strategies.into_iter().filter(|strategy| strategy.is_f16() == f16);
        for (i, strategy) in strategies.enumerate() {
            // Every other one, since compiling takes its time.
            let causal = (i + d / 8).is_multiple_of(2);
            let name = format!("attention {strategy} {b}x{queries}x{keys} {heads}x{d} causal {causal}");
            cases.push(Case::new(name, move |place| {
                let channels = heads * d;
                let q = place.activations([b, queries, channels], 1);
                let k = place.activations([b, keys, channels], 2);
                let v = place.activations([b, keys, channels], 3);
                attention_by(Some(strategy), q, k, v, Attention { heads, causal })
            }));
        }
    }
    cases
}

fn group_norm_cases() -> Vec<Case> {
    let shapes = [(1, 1, 4, 1), (2, 5, 6, 3), (1, 100, 64, 32), (2, 257, 40, 8), (1, 63, 5, 5)];
    let mut cases = Vec::new();
    for (b, pixels, channels, groups) in shapes {
        for (activation, kept) in
            [(Activation::None, false), (Activation::Silu, false), (Activation::Silu, true)]
        {
            let name = format!("group_norm {b}x{pixels}x{channels} in {groups} {activation:?}, kept {kept}");
            cases.push(Case::new(name, move |place| {
                // Away from zero, where a variance from sums in f32 would cancel.
                let x = place.activations_by([b, pixels, channels], 1, |value| value + 10.0);
                let options = GroupNorm { groups, eps: 1e-5, activation };
                // Whether the result may take the input's memory.
                let _kept = kept.then(|| x.clone());
                group_norm(
                    x,
                    &tensor([channels], 2, place.device),
                    &tensor([channels], 3, place.device),
                    options,
                )
            }));
        }
    }
    cases
}

fn layer_norm_cases() -> Vec<Case> {
    let shapes = [(1, 1, 3), (2, 5, 64), (1, 77, 130), (1, 3, 1), (1, 32_769, 3)];
    let case = |(b, rows, channels)| {
        Case::new(format!("layer_norm {b}x{rows}x{channels}"), move |place| {
            let x = place.activations([b, rows, channels], 1);
            layer_norm(x, &tensor([channels], 2, place.device), &tensor([channels], 3, place.device), 1e-5)
        })
    };
    shapes.map(case).into_iter().collect()
}

fn geglu_cases() -> Vec<Case> {
    let case = |(b, rows, width): (usize, usize, usize)| {
        Case::new(format!("geglu {b}x{rows}x{width}"), move |place| {
            geglu(place.activations([b, rows, 2 * width], 1))
        })
    };
    [(1, 1, 1), (2, 3, 5), (1, 70, 32)].map(case).into_iter().collect()
}

fn sampler_step_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in 1..=MAX_TERMS {
        for guidance_scale in [None, Some(7.5)] {
            let name = format!("sampler_step {count} {guidance_scale:?}");
            cases.push(Case::new(name, move |place| {
                let term = |t: usize| {
                    let batch = if t == 0 && guidance_scale.is_some() { 2 } else { 1 };
                    (place.activations([batch, 35, 3], t as u32), 0.75 - t as f64 * 0.5)
                };
                let terms: Vec<_> = (0..count).map(term).collect();
                let nothing = || Tensor::zeros([1, 0, 0], place.device);
                sampler_step(&terms, guidance_scale).unwrap_or_else(nothing)
            }));
        }
    }
    cases
}

fn blend_cases() -> Vec<Case> {
    let case = |(pixels, channels)| {
        Case::new(format!("blend {pixels}x{channels}"), move |place| {
            let [x, kept] = [1, 2].map(|salt| place.activations([1, pixels, channels], salt));
            blend(x, kept, &place.activations([1, pixels, 1], 3))
        })
    };
    // A mask of latents and one of a picture; more rows than one dimension of a dispatch has workgroups.
    [(1, 4), (67, 3), (1 << 21, 3)].map(case).into_iter().collect()
}

fn to_rgb_cases() -> Vec<Case> {
    let case = |(pixels, channels)| {
        Case::new(format!("to_rgb {pixels}x{channels}"), move |place| {
            to_rgb(place.activations([1, pixels, channels], 1), &tensor([channels + 1, 3], 2, place.device))
        })
    };
    [(1, 4), (67, 3), (300, 16)].map(case).into_iter().collect()
}
