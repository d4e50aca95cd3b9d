//! Cases of matrix products: linear layers, convolutions and attention.

use burn::tensor::{Device, Tensor};

use super::{Case, Place, tensor, values};
use crate::kernel::strategy::{Adapter, Operation, Product, Strategy};
use crate::kernel::{
    Activation, Attention, Conv2d, Operand, Storage, Weight, attention_by, conv2d, conv2d_by, linear,
    linear_by, padded,
};
use crate::quantization::{Layout, Packed, Quant, pack};

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

pub(super) fn linear_cases() -> Vec<Case> {
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
pub(super) fn operand_cases() -> Vec<Case> {
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
pub(super) fn strategy_cases(strategies: &[Strategy], quants: &[Option<Quant>]) -> Vec<Case> {
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
        // Rows of the result that come of rows in the middle, the first of which is half left out.
        (1, 36, Conv2d { seen: (14, 10), ..Conv2d::same(7, 5, 70) }.part(&(2..9), &(0..5))),
        (1, 32, Conv2d { stride: 2, above: 0, left: 0, ..Conv2d::same(11, 12, 33) }),
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
    // Rows that go on in a second tensor, amid a block or a vector, with as many operands as there can be.
    let with_tail = [(70, 40, 100, 130), (9, 13, 31, 17)];
    for (rows, in_x, k, n) in with_tail.into_iter().filter(|_| suits(1)) {
        let name = format!("linear {strategy} {quant:?} {rows}x{k}x{n}, {in_x} of {k} in x");
        cases.push(Case::new(name, move |place| {
            let weight = weight(quant, Layout { taps: 1, channels: k, n }, place.device);
            let bias = padded(&values(n, 3), place.device);
            let (residual, _kept) = Residual::Kept.tensor([1, rows, n], place);
            let [x, tail] = [(in_x, 1), (k - in_x, 5)]
                .map(|(channels, salt)| place.activations([1, rows, channels], salt));
            let x = Operand { x, tail: Some(tail) };
            linear_by(Some(strategy), x, &weight, Some(&bias), residual, Activation::None)
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

pub(super) fn conv2d_cases() -> Vec<Case> {
    let same = Conv2d::same;
    let shapes = [
        (1, 4, same(1, 1, 4)),
        (2, 3, same(5, 7, 3)),
        (1, 5, Conv2d { stride: 2, ..same(7, 6, 9) }),
        (1, 6, Conv2d { stride: 2, above: 0, left: 0, ..same(8, 8, 5) }),
        (2, 4, Conv2d { seen: (10, 6), ..same(5, 3, 8) }),
        (1, 4, Conv2d { seen: (9, 5), ..same(5, 3, 8) }),
        (1, 7, Conv2d { kernel: 1, above: 0, below: 0, left: 0, right: 0, ..same(3, 4, 6) }),
        (1, 4, Conv2d { seen: (10, 6), ..same(5, 3, 8) }.part(&(2..7), &(0..4))),
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

/// Every strategy for a head's size that the adapter has subgroups for, of those that round to f16 or of the others.
pub(super) fn attention_cases(f16: bool) -> Vec<Case> {
    let shapes = [
        (1, 1, 1, 1, 4),
        (2, 5, 7, 3, 5),
        (1, 77, 77, 2, 8),
        (1, 130, 18, 2, 64),
        (2, 70, 24, 4, 40),
        (1, 33, 9, 1, 80),
        (1, 9, 33, 1, 88),
        (1, 65, 130, 1, 160),
        (1, 9, 9, 1, 512),
    ];
    let mut cases = Vec::new();
    for (b, queries, keys, heads, d) in shapes {
        // Which has the strategies of both.
        let (operation, storage) = (Operation::Attention, Storage::F16);
        let strategies = Product { operation, quant: None, storage, rows: 1, k: 1, n: d }.strategies();
        let lanes = Adapter::current().subgroup;
        let strategies =
            strategies.into_iter().filter(|strategy| strategy.is_f16() == f16 && strategy.lanes() <= lanes);
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
