//! Weights in the forms that the kernels read.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, DType, Dispatch, ExtensionType};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::quantization::{Layout, Quant};

const TRANSPOSE_BLOCK: usize = 64;

/// The right side of a matrix product, `[k, n]`, in one of the packings that kernels unpack while they multiply.
#[derive(Debug, Clone)]
pub struct Weight {
    packing: Packing,
    n: usize,
}

#[derive(Debug, Clone)]
enum Packing {
    /// `[k, n rounded up to 4]`, zero-padded.
    F32(Box<Tensor<2>>),
    Packed(Box<Packed>),
}

/// Blocks in the order of [`crate::quantization`].
#[derive(Debug, Clone)]
struct Packed {
    quant: Quant,
    layout: Layout,
    words: Tensor<1, Int>,
    scales: Tensor<1, Int>,
}

/// [`Weight`] as a backend sees it.
#[derive(ExtensionType)]
pub enum WeightPrimitive<B: Backend> {
    /// `[k, n rounded up to 4]`, zero-padded.
    F32(FloatTensor<B>),
    /// Blocks in the order of [`crate::quantization`].
    Packed {
        /// Format of the blocks.
        quant: Quant,
        /// Size of the whole.
        layout: Layout,
        /// Integers, as u32.
        words: IntTensor<B>,
        /// f16 numbers, two in a u32, the first below.
        scales: IntTensor<B>,
    },
}

impl Weight {
    /// Of zeros, to measure kernels with: for a convolution of `taps` taps of `k / taps` channels, or with one tap for a
    /// linear layer.
    #[must_use]
    pub fn zeros(quant: Option<Quant>, taps: usize, k: usize, n: usize, device: &Device) -> Self {
        let Some(quant) = quant else {
            let values = Tensor::zeros([k, n.next_multiple_of(4)], device);
            return Self { packing: Packing::F32(Box::new(values)), n };
        };
        let layout = Layout { taps, channels: k / taps.max(1), n };
        let zeros = |count: usize| Tensor::zeros([count], (device, DType::U32));
        let (words, scales) = (zeros(layout.words(quant)), zeros(layout.scales().div_ceil(2)));
        Self { packing: Packing::Packed(Box::new(Packed { quant, layout, words, scales })), n }
    }

    /// From the columns of [`columns_of_rows`] or [`columns_of_convolution`], of which the first `n` count.
    #[must_use]
    pub fn from_columns(columns: Tensor<2>, n: usize) -> Self {
        Self { packing: Packing::F32(Box::new(columns)), n }
    }

    /// From a matrix `[n, k]`, as frameworks store linear layers.
    #[must_use]
    pub fn from_rows(rows: &[f32], n: usize, k: usize, device: &Device) -> Self {
        Self::from_convolution(rows, n, k, 1, device)
    }

    /// From a convolution's `[c_out, c_in, kernel, kernel]`; `k` becomes taps of channels, `kernel * kernel * c_in`.
    #[must_use]
    pub fn from_convolution(
        values: &[f32],
        c_out: usize,
        c_in: usize,
        kernel: usize,
        device: &Device,
    ) -> Self {
        let mut slices = WeightSlices::new(c_out, c_in, kernel, device);
        slices.push(values);
        slices.finish()
    }

    /// From blocks in the order of [`crate::quantization`]: the words and the bits of the f16 scales, which must have
    /// the lengths that `layout` says. A convolution's `layout` has `kernel * kernel` taps.
    #[must_use]
    pub fn from_packed(
        quant: Quant,
        layout: Layout,
        words: Vec<u32>,
        scales: Vec<u16>,
        device: &Device,
    ) -> Self {
        debug_assert_eq!((words.len(), scales.len()), (layout.words(quant), layout.scales()));
        let mut halves = scales.into_iter().map(u32::from);
        let pairs = std::iter::from_fn(|| Some(halves.next()? | halves.next()? << 16)).collect();
        let (words, scales) = (integers(words, device), integers(pairs, device));
        Self { packing: Packing::Packed(Box::new(Packed { quant, layout, words, scales })), n: layout.n }
    }

    /// Columns of the product.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    pub(crate) fn primitive(&self) -> WeightPrimitive<Dispatch> {
        match &self.packing {
            Packing::F32(values) => WeightPrimitive::F32(values.as_ref().clone().into_dispatch()),
            Packing::Packed(packed) => WeightPrimitive::Packed {
                quant: packed.quant,
                layout: packed.layout,
                words: packed.words.clone().into_dispatch(),
                scales: packed.scales.clone().into_dispatch(),
            },
        }
    }
}

/// A weight that arrives in slices of its outputs, so that it is never whole in the memory of the host.
pub struct WeightSlices<'a> {
    n: usize,
    /// Where an output's numbers go.
    order: Vec<usize>,
    device: &'a Device,
    /// Outputs that have arrived.
    arrived: usize,
    columns: Option<Tensor<2>>,
}

impl<'a> WeightSlices<'a> {
    /// Outputs of a slice are a multiple of it, but for the last.
    pub const STEP: usize = 4;

    /// For a convolution of `n` outputs, or with a `kernel` of 1 a matrix `[n, c_in]`.
    #[must_use]
    pub fn new(n: usize, c_in: usize, kernel: usize, device: &'a Device) -> Self {
        Self { n, order: taps_first(c_in, kernel), device, arrived: 0, columns: None }
    }

    /// Takes the next outputs, `[outputs, c_in, kernel, kernel]`, and puts them on the device.
    pub fn push(&mut self, values: &[f32]) {
        let outputs = values.len() / self.order.len().max(1);
        let slice = transposed(values, outputs, &self.order, self.device);
        let (k, n4) = (self.order.len(), self.n.next_multiple_of(Self::STEP));
        let columns = if outputs == self.n {
            slice
        } else {
            let [_, width] = slice.dims();
            let whole = self.columns.take().unwrap_or_else(|| Tensor::empty([k, n4], self.device));
            whole.slice_assign([0..k, self.arrived..self.arrived + width], slice)
        };
        self.columns = Some(columns);
        self.arrived += outputs;
    }

    /// The weight, when all outputs have arrived.
    #[must_use]
    pub fn finish(self) -> Weight {
        debug_assert_eq!(self.arrived, self.n);
        let (k, n4) = (self.order.len(), self.n.next_multiple_of(Self::STEP));
        let columns = self.columns.unwrap_or_else(|| Tensor::zeros([k, n4], self.device));
        Weight::from_columns(columns, self.n)
    }
}

/// Where the numbers `[c_in, kernel, kernel]` of an output come from, taps of channels.
fn taps_first(c_in: usize, kernel: usize) -> Vec<usize> {
    let taps = kernel * kernel;
    (0..taps).flat_map(|tap| (0..c_in).map(move |channel| channel * taps + tap)).collect()
}

/// A matrix `[n, k]` turned into columns, `[k, n rounded up to 4]`, zero-padded.
#[must_use]
pub fn columns_of_rows(rows: &[f32], n: usize, k: usize, device: &Device) -> Tensor<2> {
    transposed(rows, n, &taps_first(k, 1), device)
}

/// A convolution's `[c_out, c_in, kernel, kernel]` turned into columns, `[kernel * kernel * c_in, c_out rounded up to 4]`,
/// zero-padded.
#[must_use]
pub fn columns_of_convolution(
    values: &[f32],
    c_out: usize,
    c_in: usize,
    kernel: usize,
    device: &Device,
) -> Tensor<2> {
    transposed(values, c_out, &taps_first(c_in, kernel), device)
}

/// Row `i` of the result is column `order[i]` of `rows` `[n, order.len()]`.
fn transposed(rows: &[f32], n: usize, order: &[usize], device: &Device) -> Tensor<2> {
    let (k, n4) = (order.len(), n.next_multiple_of(4));
    let mut columns = vec![0.0; k * n4];
    // In blocks of rows of the result, so that the cache lines written are used up before they leave.
    for (block, columns) in order.chunks(TRANSPOSE_BLOCK).zip(columns.chunks_mut(TRANSPOSE_BLOCK * n4)) {
        for (o, row) in rows.chunks_exact(k.max(1)).enumerate() {
            for (i, from) in block.iter().enumerate() {
                columns[i * n4 + o] = row[*from];
            }
        }
    }
    Tensor::from_data(TensorData::new(columns, [k, n4]), device)
}

fn integers(values: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), (device, DType::U32))
}

/// A vector `[n]` padded with zeros to a multiple of four, as kernels read a bias.
#[must_use]
pub fn padded(values: &[f32], device: &Device) -> Tensor<1> {
    let mut values = values.to_vec();
    values.resize(values.len().next_multiple_of(4), 0.0);
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// An operand that an operation can do without.
#[derive(ExtensionType)]
pub enum Maybe<B: Backend> {
    /// It is there.
    Some(FloatTensor<B>),
    /// It is not.
    None,
}

impl<B: Backend> Maybe<B> {
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Some(tensor) => Some(tensor),
            Self::None => None,
        }
    }
}

/// The operand for a backend.
pub(crate) fn maybe<const D: usize>(tensor: Option<Tensor<D>>) -> Maybe<Dispatch> {
    tensor.map_or(Maybe::None, |tensor| Maybe::Some(tensor.into_dispatch()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(weight: &Weight) -> Vec<f32> {
        let Packing::F32(columns) = &weight.packing else { return Vec::new() };
        columns.as_ref().clone().into_data().try_into_vec().unwrap_or_default()
    }

    #[test]
    fn slices_make_the_whole() {
        let device = Device::flex();
        let (n, c_in) = (10, 3);
        for kernel in [1, 3] {
            let each = c_in * kernel * kernel;
            let values: Vec<f32> = (1..=n * each).map(|i| i as f32).collect();
            let mut slices = WeightSlices::new(n, c_in, kernel, &device);
            values.chunks(WeightSlices::STEP * each).for_each(|slice| slices.push(slice));
            let expected = numbers(&Weight::from_convolution(&values, n, c_in, kernel, &device));
            assert_eq!(expected.len(), each * n.next_multiple_of(4));
            assert_eq!(numbers(&slices.finish()), expected);
        }
    }
}
