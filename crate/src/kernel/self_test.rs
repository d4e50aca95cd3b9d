//! Every operation on a device against its CPU implementation: what the tests run, natively and in a browser, and what
//! tells a user whether a driver computes what it should.

mod products;

use burn::backend::DType;
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;

use self::products::{attention_cases, conv2d_cases, linear_cases, operand_cases, strategy_cases};
use super::strategy::{Adapter, Strategy};
use super::{
    Activation, GroupNorm, MAX_TERMS, Operand, Storage, blend, geglu, group_norm, group_norm_apply,
    group_statistics, layer_norm, sampler_step, to_rgb,
};
use crate::quantization::Quant;

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
    let slabs = on_any_kind(group_norm_slab_cases);
    let rest = [slabs, sampler_step_cases(), blend_cases(), to_rgb_cases()];
    activation_cases(&quants).into_iter().chain(rest.into_iter().flatten()).collect()
}

/// Those of operations that take activations in f16 as well, with weights packed in the ways of `quants`.
fn activation_cases(quants: &[Option<Quant>]) -> Vec<Case> {
    [
        linear_cases(),
        operand_cases(),
        strategy_cases(&Strategy::ALL, quants),
        strategy_cases(&possible(&Strategy::ALL_SUBGROUP), quants),
        conv2d_cases(),
        attention_cases(false),
        on_any_kind(group_norm_cases),
        on_any_kind(group_norm_tail_cases),
        on_any_kind(layer_norm_cases),
        geglu_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The same operations as a GPU computes them and as software does, on whatever the adapter is.
fn on_any_kind(cases: fn() -> Vec<Case>) -> Vec<Case> {
    let on = |kind: Adapter| {
        cases().into_iter().map(move |case| Case {
            name: format!("{} on {}", case.name, if kind.software { "software" } else { "a GPU" }),
            operation: Box::new(move |place| kind.during(|| (case.operation)(place))),
            ..case
        })
    };
    Adapter::KINDS.into_iter().flat_map(on).collect()
}

/// Those of `all` that the adapter computes where its user allows f16.
fn possible(all: &[Strategy]) -> Vec<Strategy> {
    let adapter = Adapter { f16: true, ..Adapter::current() };
    all.iter().copied().filter(|strategy| strategy.runs_on(adapter)).collect()
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

/// What only adapters with `shader-f16` compute: activations in f16, and strategies that multiply in f16. How a weight is
/// packed has nothing to do with either: two ways will do.
#[must_use]
pub fn f16_cases() -> Vec<Case> {
    let quants = [None, Some(Quant::Q4)];
    let strategies = [&Strategy::ALL_F16[..], &possible(&Strategy::ALL_COOPERATIVE)].concat();
    let products = strategy_cases(&strategies, &quants).into_iter().chain(attention_cases(true));
    let products = products.map(|case| Case { f16_products: true, ..case });
    activation_cases(&quants).into_iter().chain(products).map(Case::stored_in_f16).collect()
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

/// Channels that go on in a second tensor: amid a group, between lanes and amid one.
fn group_norm_tail_cases() -> Vec<Case> {
    let case = |(b, pixels, in_x, channels, groups): (usize, usize, usize, usize, usize)| {
        let name = format!("group_norm {b}x{pixels}x{channels} in {groups}, {in_x} channels in x");
        Case::new(name, move |place| {
            let part = |channels, salt| {
                place.activations_by([b, pixels, channels], salt, |value| value * 3.0 + 10.0)
            };
            let x = Operand { x: part(in_x, 1), tail: Some(part(channels - in_x, 4)) };
            let options = GroupNorm { groups, eps: 1e-5, activation: Activation::Silu };
            let [weight, bias] = [2, 3].map(|salt| tensor([channels], salt, place.device));
            group_norm(x, &weight, &bias, options)
        })
    };
    let shapes =
        [(1, 5, 3, 6, 3), (2, 300, 64, 96, 8), (2, 33, 6, 20, 2), (1, 9, 12, 20, 5), (1, 300, 1, 4, 1)];
    shapes.map(case).into_iter().collect()
}

/// Pictures in slabs, whose parts are put together.
fn group_norm_slab_cases() -> Vec<Case> {
    let case = |(slabs, channels, groups): (&'static [usize], usize, usize)| {
        Case::new(format!("group_norm of {slabs:?} pixels of {channels} in {groups}"), move |place| {
            // Each about a mean of its own.
            let slab = |i: usize| tensor([1, slabs[i], channels], i as u32, place.device) + i as f32 * 3.0;
            let slabs: Vec<_> = (0..slabs.len()).map(slab).collect();
            let options = GroupNorm { groups, eps: 1e-5, activation: Activation::Silu };
            let statistics = group_statistics(&slabs, &tensor([channels], 2, place.device), options);
            let bias = tensor([channels], 3, place.device);
            let ends = slabs.iter().flat_map(|slab| {
                let pixels = slab.dims()[1];
                [
                    slab.clone().narrow(1, pixels - 1, 1),
                    slab.clone(),
                    slab.clone().narrow(1, 0, pixels / 2 + 1),
                ]
            });
            group_norm_apply(ends.collect(), &statistics, &bias, options.activation)
        })
    };
    let shapes: [(&[usize], usize, usize); 3] =
        [(&[5, 1, 3], 4, 1), (&[257, 300], 40, 8), (&[9, 8, 7, 6], 6, 3)];
    shapes.map(case).into_iter().collect()
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
