//! 2-D convolution as an implicit matrix product over channels-last activations.

use std::ops::Range;

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};
use burn_wgpu::{CubeBackend, CubeTensor};

use super::form::{Form, Residual, Shaders};
use super::linear::Epilogue;
use super::operand::OperandPrimitive;
use super::panels::{self, Left};
use super::shader::{Variant, shader};
use super::storage::Storage;
use super::strategy::{Operation, Product, Strategy};
use super::weight::{Weight, WeightPrimitive, maybe};
use super::{Activation, Kernels, cpu_winograd, flex as cpu, tune};

static SHADERS: Shaders = Shaders { register: shader!("conv2d_register"), tiled: shader!("conv2d_tiled") };

/// Geometry and epilogue of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d {
    /// Height of the input, before upsampling.
    pub height: usize,
    /// Width of the input, before upsampling.
    pub width: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Rows of zeros above; of [`Self::part`], where negative, rows that are left out.
    pub above: isize,
    /// Rows of zeros below, likewise.
    pub below: isize,
    /// Columns of zeros to the left.
    pub left: usize,
    /// Columns of zeros to the right.
    pub right: usize,
    /// Height and width after nearest-neighbour upsampling, which happens as the input is read; the input's own
    /// without it. Otherwise up to twice the input's.
    pub seen: (usize, usize),
    /// Row of `shift` to add.
    pub shift_row: usize,
    /// Applied before the residual.
    pub activation: Activation,
}

impl Conv2d {
    /// A 3x3 convolution that keeps the size of a `height` x `width` input.
    #[must_use]
    pub fn same(height: usize, width: usize, out_channels: usize) -> Self {
        Self {
            height,
            width,
            out_channels,
            kernel: 3,
            stride: 1,
            above: 1,
            below: 1,
            left: 1,
            right: 1,
            seen: (height, width),
            shift_row: 0,
            activation: Activation::None,
        }
    }

    /// Height and width of the result.
    #[must_use]
    pub fn output(&self) -> (usize, usize) {
        let side = |size: usize| size.saturating_sub(self.kernel) / self.stride + 1;
        let rows = self.seen.0.saturating_add_signed(self.above).saturating_add_signed(self.below);
        (side(rows), side(self.seen.1 + self.left + self.right))
    }

    /// The rows of the input that `rows` of the result come of.
    #[must_use]
    pub fn sees(&self, rows: &Range<usize>) -> Range<usize> {
        let (first, end) = self.seen_rows(rows);
        let inside = |row: isize| row.clamp(0, self.seen.0 as isize) as usize;
        inside(first) / self.upsample()..inside(end).div_ceil(self.upsample())
    }

    /// The convolution of `held`, rows of the input with all that `rows` of the result [see](Self::sees), to those.
    #[must_use]
    pub fn part(&self, rows: &Range<usize>, held: &Range<usize>) -> Self {
        let (first, end) = self.seen_rows(rows);
        let seen = held.start * self.upsample()..(held.end * self.upsample()).min(self.seen.0);
        let (above, below) = (seen.start as isize - first, end - seen.end as isize);
        Self { height: held.len(), seen: (seen.len(), self.seen.1), above, below, ..*self }
    }

    /// Where the rows that `rows` of the result see begin and end, after upsampling; in the padding, too.
    fn seen_rows(&self, rows: &Range<usize>) -> (isize, isize) {
        let first = (rows.start * self.stride) as isize - self.above;
        (first, first + (rows.len().saturating_sub(1) * self.stride + self.kernel) as isize)
    }

    /// Positions that share one input value, per side.
    fn upsample(&self) -> usize {
        if self.seen == (self.height, self.width) { 1 } else { 2 }
    }

    /// Which pixel of its image lies at a place that counts from the corner of the padding; `None` in the padding.
    pub(super) fn input_pixel(&self, y: usize, x: usize) -> Option<usize> {
        let (y, x) = (y.checked_add_signed(-self.above)?, x.checked_sub(self.left)?);
        let inside = y < self.seen.0 && x < self.seen.1;
        inside.then(|| y / self.upsample() * self.width + x / self.upsample())
    }
}

/// `activation(x * weight + bias + shift[row]) + residual`: x `[b, height*width, c_in]`, weight of
/// [`Weight::from_convolution`], bias `[c_out]` padded to a multiple of four, shift `[rows, c_out]`, residual and
/// result `[b, out_height*out_width, c_out]`.
#[must_use]
pub fn conv2d(
    x: Tensor<3>,
    weight: &Weight,
    shape: Conv2d,
    bias: Option<&Tensor<1>>,
    shift: Option<&Tensor<2>>,
    residual: Option<Tensor<3>>,
) -> Tensor<3> {
    conv2d_by(None, x, weight, shape, bias, shift, residual)
}

/// [`conv2d`] by a strategy of the caller's choice, for tests and measurements; the CPU has only one.
#[must_use]
pub fn conv2d_by(
    strategy: Option<Strategy>,
    x: Tensor<3>,
    weight: &Weight,
    shape: Conv2d,
    bias: Option<&Tensor<1>>,
    shift: Option<&Tensor<2>>,
    residual: Option<Tensor<3>>,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::conv2d(
        x.into_dispatch(),
        weight.primitive(),
        shape,
        maybe(bias.cloned()),
        maybe(shift.cloned()),
        maybe(residual),
        strategy,
    ))
}

pub(super) fn variants(storage: Storage, strategies: &[Strategy]) -> Vec<Variant> {
    let epilogues = [
        (true, true, Residual::Beside, Activation::None),
        (true, false, Residual::None, Activation::None),
        (false, false, Residual::None, Activation::None),
        (true, true, Residual::None, Activation::None),
        (true, false, Residual::InPlace, Activation::None),
        (true, false, Residual::None, Activation::Relu),
        (false, false, Residual::None, Activation::Relu),
    ];
    SHADERS.variants(strategies, &Form::examples(storage, &epilogues))
}

pub(super) fn cube(
    x: CubeTensor,
    weight: &WeightPrimitive<CubeBackend>,
    shape: &Conv2d,
    bias: Option<CubeTensor>,
    shift: Option<CubeTensor>,
    residual: Option<CubeTensor>,
    strategy: Option<Strategy>,
) -> CubeTensor {
    let [b, _, c_in] = x.shape().dims();
    let (out_h, out_w) = shape.output();
    let c_out = shape.out_channels;
    let x = OperandPrimitive::whole(x);
    let form = Form::of(&x, weight, [&bias, &shift, &residual], shape.activation);
    let product = Product {
        operation: Operation::Conv2d,
        quant: form.quant,
        storage: form.storage,
        rows: b * out_h * out_w,
        k: shape.kernel * shape.kernel * c_in,
        n: c_out,
    };
    let strategy = strategy.unwrap_or_else(|| tune::strategy(&product));
    let [weight, scales] = weight.buffers();
    let inputs = x.into_parts().chain([weight, scales, bias, shift].into_iter().flatten()).collect();
    let info = [
        b,
        shape.height,
        shape.width,
        c_in,
        out_h,
        out_w,
        c_out,
        c_out.div_ceil(4),
        shape.kernel,
        shape.stride,
        // Negative ones wrap, as sums with them do in the shader.
        shape.above as usize,
        shape.upsample(),
        shape.seen.0,
        shape.seen.1,
        shape.shift_row,
        shape.left,
    ]
    .map(|value| value as u32);
    let variant = SHADERS.variant(&form, strategy);
    let output = Shape::new([b, out_h * out_w, c_out]);
    form.launch(variant, inputs, residual, output, strategy.groups(&product), &info)
}

/// Floats of the gathered patches that exist at one time, 4 MiB.
const PATCH_BUDGET: usize = 1 << 20;

pub(super) fn flex(
    x: FlexTensor,
    weight: &WeightPrimitive<Flex>,
    shape: &Conv2d,
    bias: Option<FlexTensor>,
    shift: Option<FlexTensor>,
    residual: Option<FlexTensor>,
    _strategy: Option<Strategy>,
) -> FlexTensor {
    let [b, _, c_in] = x.shape().dims();
    let (out_h, out_w) = shape.output();
    let n = shape.out_channels;
    let x = cpu::contiguous(x);
    let rows = b * out_h * out_w;
    let k = shape.kernel * shape.kernel * c_in;
    let chunk = (PATCH_BUDGET / k.max(1)).clamp(1, rows);
    let bias = add_shift(bias.map(cpu::values), shift, n, shape.shift_row);
    let mut epilogue = Epilogue { n, bias, residual, activation: shape.activation };
    let mut y = epilogue.start(rows);
    if cpu_winograd::pays(shape, c_in, rows) {
        cpu_winograd::conv2d(&mut y, cpu::slice(&x), c_in, weight, shape);
    } else {
        for (i, y) in y.chunks_mut(chunk * n).enumerate() {
            let (start, count) = (i * chunk, y.len() / n);
            let patches = gather_patches(cpu::slice(&x), c_in, shape, start..start + count);
            panels::multiply(y, &Left::of([patches.as_slice()], count), weight, n);
        }
    }
    epilogue.finish(&mut y);
    cpu::tensor(y, [b, out_h * out_w, n])
}

fn add_shift(bias: Option<Vec<f32>>, shift: Option<FlexTensor>, n: usize, row: usize) -> Option<Vec<f32>> {
    let Some(shift) = shift.map(cpu::contiguous) else { return bias };
    let mut sum = bias.unwrap_or_else(|| vec![0.0; n.next_multiple_of(4)]);
    sum.iter_mut().zip(&cpu::slice(&shift)[row * n..(row + 1) * n]).for_each(|(sum, shift)| *sum += shift);
    Some(sum)
}

/// The inputs of output pixels `rows`, `[rows, kernel*kernel*c_in]`.
fn gather_patches(x: &[f32], c_in: usize, shape: &Conv2d, rows: Range<usize>) -> Vec<f32> {
    let (out_h, out_w) = shape.output();
    let mut patches = vec![0.0; rows.len() * shape.kernel * shape.kernel * c_in];
    let mut taps = patches.chunks_exact_mut(c_in);
    for row in rows {
        let image = row / (out_h * out_w) * shape.height * shape.width;
        let top = row % (out_h * out_w) / out_w * shape.stride;
        let left = row % out_w * shape.stride;
        for ky in 0..shape.kernel {
            for kx in 0..shape.kernel {
                let Some(patch) = taps.next() else { return patches };
                if let Some(at) = shape.input_pixel(top + ky, left + kx) {
                    patch.copy_from_slice(&x[(image + at) * c_in..][..c_in]);
                }
            }
        }
    }
    patches
}
