//! What the CPU implementations share: plain slices in, plain vectors out, burn's matmul for the heavy part.

use burn::backend::ops::FloatTensorOps as _;
use burn::tensor::{Shape, TensorData};
use burn_flex::{Flex, FlexTensor};

/// A contiguous tensor's values.
pub(crate) fn values(tensor: FlexTensor) -> Vec<f32> {
    // Every tensor of this crate is f32, so the conversion has nothing to fail on.
    tensor.into_data().try_into_vec().unwrap_or_default()
}

/// A tensor from its values in row-major order.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// `[m, k] x [k, n] -> [m, n]`.
pub(crate) fn multiply(left: FlexTensor, right: FlexTensor) -> FlexTensor {
    Flex::float_matmul(left, right)
}

/// [`multiply`] of values: `left` `[m, k]`.
pub(crate) fn matmul(left: Vec<f32>, m: usize, right: FlexTensor) -> Vec<f32> {
    let k = left.len() / m.max(1);
    values(multiply(tensor(left, [m, k]), right))
}
