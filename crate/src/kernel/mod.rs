//! The hot operations, each twice under one name: a WGSL kernel of `shaders/` on burn's `Cube`, and a CPU function on
//! burn's `Flex` that is its reference and runs where there is no GPU.
//!
//! Activations are channels-last, `[n, pixels or tokens, channels]`, everywhere. Callers keep the shapes right: a
//! wrong shape here is a bug in the model code, not bad input.

mod attention;
mod blend;
mod conv2d;
mod cpu_math;
mod cpu_winograd;
mod flex;
mod form;
mod geglu;
mod group_norm;
mod layer_norm;
mod linear;
pub(crate) mod memory;
mod operand;
mod panels;
pub mod peak;
pub mod rehearsal;
mod sampler_step;
pub mod self_test;
mod shader;
mod storage;
pub mod strategy;
mod to_rgb;
pub mod tune;
mod weight;

use burn::backend::backend_extension;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use burn_flex::Flex;
use burn_wgpu::CubeBackend;

pub use attention::{Attention, attention, attention_by};
pub use blend::blend;
pub use conv2d::{Conv2d, conv2d, conv2d_by};
pub use geglu::geglu;
pub use group_norm::{GroupNorm, Place, group_norm, group_norm_apply, group_statistics};
pub use layer_norm::layer_norm;
pub use linear::{linear, linear_by};
pub use operand::{Operand, OperandPrimitive};
pub use sampler_step::{MAX_TERMS, sampler_step};
pub use storage::{Storage, to_storage};
pub use to_rgb::to_rgb;
pub use weight::{
    Maybe, Weight, WeightPrimitive, WeightSlices, columns_of_convolution, columns_of_rows, padded,
};

use sampler_step::Terms;
use strategy::Strategy;

/// What an operation applies to its result before a residual is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * Phi(x)` with the exact error function.
    Gelu,
    /// `x * sigmoid(1.702 * x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// See [`geglu()`]: halves the columns. Only [`linear`] takes it, for a multiple of eight columns and without a
    /// residual.
    Geglu,
}

impl Activation {
    /// Value of the shaders' `ACTIVATION`.
    fn define(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Silu => 1,
            Self::Gelu => 2,
            Self::QuickGelu => 3,
            Self::Relu => 4,
            Self::Geglu => 5,
        }
    }
}

/// The backend extension: one method an operation. The functions of this module are its front door and state the
/// contracts.
#[backend_extension(Cube, Flex)]
pub trait Kernels: burn::backend::Backend {
    /// See [`linear`].
    fn linear(
        #[extension_type] x: OperandPrimitive<Self>,
        #[extension_type] weight: WeightPrimitive<Self>,
        n: usize,
        #[extension_type] bias: Maybe<Self>,
        #[extension_type] residual: Maybe<Self>,
        activation: Activation,
        strategy: Option<Strategy>,
    ) -> FloatTensor<Self>;

    /// See [`conv2d`].
    fn conv2d(
        x: FloatTensor<Self>,
        #[extension_type] weight: WeightPrimitive<Self>,
        shape: Conv2d,
        #[extension_type] bias: Maybe<Self>,
        #[extension_type] shift: Maybe<Self>,
        #[extension_type] residual: Maybe<Self>,
        strategy: Option<Strategy>,
    ) -> FloatTensor<Self>;

    /// See [`attention`].
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: Attention,
        strategy: Option<Strategy>,
    ) -> FloatTensor<Self>;

    /// See [`group_statistics`]: of one slab and those before.
    fn group_statistics(
        #[extension_type] x: OperandPrimitive<Self>,
        #[extension_type] before: Maybe<Self>,
        weight: FloatTensor<Self>,
        options: GroupNorm,
        place: Place,
    ) -> FloatTensor<Self>;

    /// See [`group_norm_apply`]: one piece, into `y` from the pixel `at` on, or into memory of its own.
    fn group_norm_apply(
        #[extension_type] x: OperandPrimitive<Self>,
        statistics: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        #[extension_type] y: Maybe<Self>,
        at: usize,
    ) -> FloatTensor<Self>;

    /// See [`layer_norm`].
    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;

    /// See [`geglu`].
    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`sampler_step`].
    fn sampler_step(
        #[extension_type] terms: Terms<Self>,
        coefficients: Vec<f32>,
        guidance_scale: Option<f32>,
    ) -> FloatTensor<Self>;

    /// See [`blend`].
    fn blend(x: FloatTensor<Self>, kept: FloatTensor<Self>, mask: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`to_rgb`].
    fn to_rgb(x: FloatTensor<Self>, map: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Forwards every method to the two functions of its module.
macro_rules! forward {
    ($backend:ty, $side:ident) => {
        impl Kernels for $backend {
            fn linear(
                x: OperandPrimitive<Self>,
                weight: WeightPrimitive<Self>,
                n: usize,
                bias: Maybe<Self>,
                residual: Maybe<Self>,
                activation: Activation,
                strategy: Option<Strategy>,
            ) -> FloatTensor<Self> {
                let (bias, residual) = (bias.into_option(), residual.into_option());
                linear::$side(x, &weight, n, bias, residual, activation, strategy)
            }

            fn conv2d(
                x: FloatTensor<Self>,
                weight: WeightPrimitive<Self>,
                shape: Conv2d,
                bias: Maybe<Self>,
                shift: Maybe<Self>,
                residual: Maybe<Self>,
                strategy: Option<Strategy>,
            ) -> FloatTensor<Self> {
                let (bias, shift, residual) =
                    (bias.into_option(), shift.into_option(), residual.into_option());
                conv2d::$side(x, &weight, &shape, bias, shift, residual, strategy)
            }

            fn attention(
                q: FloatTensor<Self>,
                k: FloatTensor<Self>,
                v: FloatTensor<Self>,
                shape: Attention,
                strategy: Option<Strategy>,
            ) -> FloatTensor<Self> {
                attention::$side(q, k, v, shape, strategy)
            }

            fn group_statistics(
                x: OperandPrimitive<Self>,
                before: Maybe<Self>,
                weight: FloatTensor<Self>,
                options: GroupNorm,
                place: Place,
            ) -> FloatTensor<Self> {
                group_norm::$side::statistics(x, before.into_option(), weight, options, place)
            }

            fn group_norm_apply(
                x: OperandPrimitive<Self>,
                statistics: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                activation: Activation,
                y: Maybe<Self>,
                at: usize,
            ) -> FloatTensor<Self> {
                group_norm::$side::apply(x, statistics, bias, activation, y.into_option(), at)
            }

            fn layer_norm(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                eps: f32,
            ) -> FloatTensor<Self> {
                layer_norm::$side(x, weight, bias, eps)
            }

            fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
                geglu::$side(x)
            }

            fn sampler_step(
                terms: Terms<Self>,
                coefficients: Vec<f32>,
                guidance_scale: Option<f32>,
            ) -> FloatTensor<Self> {
                sampler_step::$side(terms.into_vec(), &coefficients, guidance_scale)
            }

            fn blend(
                x: FloatTensor<Self>,
                kept: FloatTensor<Self>,
                mask: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                blend::$side(x, kept, mask)
            }

            fn to_rgb(x: FloatTensor<Self>, map: FloatTensor<Self>) -> FloatTensor<Self> {
                to_rgb::$side(x, map)
            }
        }
    };
}

forward!(CubeBackend, cube);
forward!(Flex, flex);

/// Most bytes that one tensor may have beside `tensor`: what the GPU can bind, or what the CPU takes without running
/// out of memory for the few copies that an operation makes.
#[must_use]
pub fn most_bytes<const D: usize>(tensor: &Tensor<D>) -> u64 {
    match tensor.clone().try_into_primitive::<CubeBackend>() {
        Ok(tensor) => tensor.client.properties().memory.max_page_size,
        Err(_) => CPU_MOST_BYTES,
    }
}

/// WebAssembly has 4 GiB in all.
const CPU_MOST_BYTES: u64 = if cfg!(target_family = "wasm") { 512 << 20 } else { 4 << 30 };

/// Every shader module that the operations can ask for, as `(name, WGSL)`: for tests that hand them to a compiler.
#[must_use]
pub fn shader_sources() -> Vec<(String, String)> {
    sources([
        linear::variants(Storage::F32, &Strategy::ALL),
        conv2d::variants(Storage::F32, &Strategy::ALL),
        attention::variants(Storage::F32, |strategy| strategy.lanes() == 0 && !strategy.is_f16()),
        group_norm::variants(Storage::F32),
        layer_norm::variants(Storage::F32),
        geglu::variants(Storage::F32),
        sampler_step::variants(),
        blend::variants(),
        to_rgb::variants(),
        peak::variants(),
    ])
}

/// Those that only adapters with subgroups compile; in a browser, `enable subgroups;` goes before them.
#[must_use]
pub fn subgroup_shader_sources() -> Vec<(String, String)> {
    sources([
        linear::variants(Storage::F32, &Strategy::ALL_SUBGROUP),
        conv2d::variants(Storage::F32, &Strategy::ALL_SUBGROUP),
        attention::variants(Storage::F32, |strategy| strategy.lanes() > 0),
    ])
}

/// Those that only adapters with `shader-f16` and cooperative matrices compile.
#[must_use]
pub fn cooperative_shader_sources() -> Vec<(String, String)> {
    let all = &Strategy::ALL_COOPERATIVE;
    sources([linear::variants(Storage::F16, all), conv2d::variants(Storage::F16, all)])
}

/// Those that only adapters with `shader-f16` compile.
#[must_use]
pub fn f16_shader_sources() -> Vec<(String, String)> {
    let all = [&Strategy::ALL[..], &Strategy::ALL_F16].concat();
    sources([
        linear::variants(Storage::F16, &all),
        conv2d::variants(Storage::F16, &all),
        attention::variants(Storage::F16, |strategy| strategy.lanes() == 0),
        group_norm::variants(Storage::F16),
        layer_norm::variants(Storage::F16),
        geglu::variants(Storage::F16),
    ])
}

fn sources<const N: usize>(variants: [Vec<shader::Variant>; N]) -> Vec<(String, String)> {
    variants.into_iter().flatten().map(|variant| (variant.label(), variant.wgsl())).collect()
}
