//! What the CPU implementations share: plain slices in, plain vectors out, the matrix product.

use burn::backend::TensorMetadata as _;
use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;

/// A tensor's values, to be changed: copied where something else holds the tensor too.
pub(crate) fn values(tensor: FlexTensor) -> Vec<f32> {
    // Every tensor of this crate is f32, so the conversion has nothing to fail on.
    tensor.into_data().try_into_vec().unwrap_or_default()
}

/// The tensor with its values in row-major order, as [`slice`] reads them.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() && tensor.layout().start_offset() == 0 {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The values of a [`contiguous`] tensor.
pub(crate) fn slice(tensor: &FlexTensor) -> &[f32] {
    &tensor.storage()[..tensor.shape().num_elements()]
}

/// A tensor from its values in row-major order.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A matrix whose rows and columns start so many values apart.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a> Matrix<'a> {
    /// In row-major order, rows `stride` values apart.
    pub(crate) fn rows(values: &'a [f32], stride: usize) -> Self {
        Self { values, row: stride, column: 1 }
    }

    /// Whether the values are all those of `rows` and `columns`.
    fn has(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
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
    assert!(n <= stride && Matrix::rows(y, stride).has(m, n), "{m} rows of {n} in {} values", y.len());
    assert!(left.has(m, k) && right.has(k, n), "[{m}, {k}] times [{k}, {n}]");
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
            left.column as isize,
            left.row as isize,
            right.values.as_ptr(),
            right.column as isize,
            right.row as isize,
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
