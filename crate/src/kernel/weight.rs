//! Weights in the forms that the kernels read.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType};
use burn::tensor::{Device, Tensor, TensorData};

use crate::quantization::Quant;

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
    F32(Tensor<2>),
}

/// [`Weight`] as a backend sees it.
#[derive(ExtensionType)]
pub enum WeightPrimitive<B: Backend> {
    /// `[k, n rounded up to 4]`, zero-padded.
    F32(FloatTensor<B>),
}

impl Weight {
    /// Of zeros, to measure kernels with: for a convolution of `taps` taps of `k / taps` channels, or with one tap for a
    /// linear layer.
    #[must_use]
    pub fn zeros(quant: Option<Quant>, taps: usize, k: usize, n: usize, device: &Device) -> Self {
        let _ = (quant, taps);
        Self { packing: Packing::F32(Tensor::zeros([k, n.next_multiple_of(4)], device)), n }
    }

    /// From a matrix `[n, k]`, as frameworks store linear layers.
    #[must_use]
    pub fn from_rows(rows: &[f32], n: usize, k: usize, device: &Device) -> Self {
        let identity: Vec<usize> = (0..k).collect();
        Self::transposed(rows, n, &identity, device)
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
        let taps = kernel * kernel;
        let order: Vec<usize> =
            (0..taps).flat_map(|tap| (0..c_in).map(move |channel| channel * taps + tap)).collect();
        Self::transposed(values, c_out, &order, device)
    }

    /// Row `i` of the result is column `order[i]` of `rows` `[n, order.len()]`.
    fn transposed(rows: &[f32], n: usize, order: &[usize], device: &Device) -> Self {
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
        Self { packing: Packing::F32(Tensor::from_data(TensorData::new(columns, [k, n4]), device)), n }
    }

    /// Columns of the product.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    pub(crate) fn primitive(&self) -> WeightPrimitive<Dispatch> {
        match &self.packing {
            Packing::F32(values) => WeightPrimitive::F32(values.clone().into_dispatch()),
        }
    }
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
