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

/// A matrix in row-major order whose rows start `stride` values apart.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
}

/// `y += left [m, k] · right [k, n]`, or `y =` where `first`; rows of y start `stride` values apart.
///
/// # Panics
/// When a slice is too short for its matrix.
pub(crate) fn multiply(
    y: &mut [f32],
    stride: usize,
    first: bool,
    left: Matrix<'_>,
    right: Matrix<'_>,
    [m, k, n]: [usize; 3],
) {
    let fits = |len: usize, rows: usize, columns: usize, stride: usize| {
        columns <= stride && (rows == 0 || (rows - 1) * stride + columns <= len)
    };
    assert!(fits(y.len(), m, n, stride), "{m} rows of {n} in {} values", y.len());
    assert!(fits(left.values.len(), m, k, left.stride) && fits(right.values.len(), k, n, right.stride));
    let parallel = m * k * n >= PARALLEL;
    // SAFETY: the assertions above keep every element of the three matrices inside its slice, and y is borrowed
    // mutably, so that it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            stride as isize,
            !first,
            left.values.as_ptr(),
            1,
            left.stride as isize,
            right.values.as_ptr(),
            1,
            right.stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            threads(parallel),
        );
    }
}

/// Multiplications above which handing work to other threads pays.
const PARALLEL: usize = 1 << 21;

#[cfg(not(target_family = "wasm"))]
fn threads(parallel: bool) -> gemm::Parallelism {
    if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None }
}

#[cfg(target_family = "wasm")]
fn threads(_parallel: bool) -> gemm::Parallelism {
    gemm::Parallelism::None
}

/// `[m, k] x [k, n] -> [m, n]`.
pub(crate) fn matmul(left: Vec<f32>, m: usize, right: FlexTensor) -> Vec<f32> {
    let k = left.len() / m.max(1);
    values(Flex::float_matmul(tensor(left, [m, k]), right))
}
