//! What activations are in memory, whatever they are computed in.

use burn::backend::DType;
use burn::tensor::Tensor;
use burn_wgpu::{CubeBackend, CubeTensor};
use serde::{Deserialize, Serialize};

use super::strategy::Adapter;

/// Numbers of activations in memory. Kernels read it off their input, and give residuals and results the same; sums,
/// statistics and softmax are f32 in both, as are the weights and tables that kernels read beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Of four bytes.
    F32,
    /// Of two bytes, up to 65504 and of 11 bits.
    F16,
}

impl Storage {
    /// What activations of `x`'s model are in.
    pub(super) fn of(x: &CubeTensor) -> Self {
        if x.dtype == DType::F16 { Self::F16 } else { Self::F32 }
    }

    /// For models that can do with either, where `tensor` is: f16 on a GPU whose user accepts that, see [`Adapter`].
    #[must_use]
    pub fn beside<const D: usize>(tensor: &Tensor<D>) -> Self {
        let on_gpu = tensor.clone().try_into_primitive::<CubeBackend>().is_ok();
        if on_gpu && Adapter::current().f16 { Self::F16 } else { Self::F32 }
    }

    /// The shaders' `HALF`.
    pub(super) fn define(self) -> (&'static str, u32) {
        ("HALF", (self == Self::F16).into())
    }

    /// burn's name for it.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
        }
    }
}

/// `x` as [`Storage::beside`] says.
#[must_use]
pub fn to_storage<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = Storage::beside(&x).dtype();
    x.cast(dtype)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_cpu_computes_in_f32_whatever_its_thread_allowed_a_gpu() {
        Adapter { f16: true, ..Adapter::default() }.make_current();
        let x = Tensor::<1>::zeros([3], &Device::flex());
        assert_eq!(Storage::beside(&x), Storage::F32);
        assert_eq!(to_storage(x).dtype(), DType::F32);
    }
}
