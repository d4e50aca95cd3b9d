//! What an adapter can do at most: the measures that kernels are compared with.

use burn::tensor::{Shape, Tensor};
use burn_wgpu::CubeBackend;

use super::shader::{Shader, Variant, fold, launch, shader};

static FMA_PEAK: Shader = shader!("fma_peak");
static COPY_PEAK: Shader = shader!("copy_peak");

const WORKGROUP: u32 = 64;
const CHAINS: u32 = 8;

/// Invocations of [`multiply_add`].
const INVOCATIONS: usize = 1 << 16;

fn fma_variant() -> Variant {
    Variant::new(&FMA_PEAK, &[("WG_X", WORKGROUP), ("CHAINS", CHAINS)])
}

fn copy_variant() -> Variant {
    Variant::new(&COPY_PEAK, &[("WG_X", WORKGROUP)])
}

pub(super) fn variants() -> Vec<Variant> {
    vec![fma_variant(), copy_variant()]
}

/// Floating-point operations of [`multiply_add`].
#[must_use]
pub fn multiply_add_operations(rounds: u32) -> f64 {
    // A multiplication and an addition on each of four lanes.
    INVOCATIONS as f64 * f64::from(rounds) * f64::from(CHAINS) * 8.0
}

/// Multiplies and adds in registers, `rounds` times over; `start` holds four numbers. `None` where there is no GPU.
#[must_use]
pub fn multiply_add(start: &Tensor<1>, rounds: u32) -> Option<Tensor<1>> {
    let start = start.clone().try_into_primitive::<CubeBackend>().ok()?;
    let groups = [INVOCATIONS as u32 / WORKGROUP, 1, 1];
    let y = launch(fma_variant(), vec![start], Shape::new([INVOCATIONS * 4]), groups, &[rounds]);
    Some(Tensor::from_primitive::<CubeBackend>(y))
}

/// A copy of `x`, whose length is a multiple of four. `None` where there is no GPU.
#[must_use]
pub fn copy(x: &Tensor<1>) -> Option<Tensor<1>> {
    let elements = x.dims()[0];
    let x = x.clone().try_into_primitive::<CubeBackend>().ok()?;
    let (groups, row) = fold(elements / 4, WORKGROUP);
    let info = [elements as u32 / 4, row];
    let y = launch(copy_variant(), vec![x], Shape::new([elements]), groups, &info);
    Some(Tensor::from_primitive::<CubeBackend>(y))
}
