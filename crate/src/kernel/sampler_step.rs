//! The sampler's update of the latents, guidance included.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::shader::{Shader, Variant, fold, launch, shader};
use super::{Kernels, Maybe, flex as cpu};

static SAMPLER_STEP: Shader = shader!("sampler_step");

/// Most terms of one update: with the result and the sizes they fill the 8 storage buffers that every adapter has.
pub const MAX_TERMS: usize = 6;

/// The operands of [`sampler_step`] as a backend sees them.
#[derive(ExtensionType)]
pub struct Terms<B: Backend> {
    first: FloatTensor<B>,
    #[extension_type]
    second: Maybe<B>,
    #[extension_type]
    third: Maybe<B>,
    #[extension_type]
    fourth: Maybe<B>,
    #[extension_type]
    fifth: Maybe<B>,
    #[extension_type]
    sixth: Maybe<B>,
}

impl<B: Backend> Terms<B> {
    pub(super) fn into_vec(self) -> Vec<FloatTensor<B>> {
        let rest = [self.second, self.third, self.fourth, self.fifth, self.sixth];
        std::iter::once(self.first).chain(rest.into_iter().filter_map(Maybe::into_option)).collect()
    }
}

/// `sum(coefficient * term)` over one to [`MAX_TERMS`] terms of one shape `[1, pixels, channels]`.
///
/// With a `guidance_scale`, the first term is the UNet's output for a guided batch, `[2, pixels, channels]` with the
/// unconditional half first, and stands for `unconditional + guidance_scale * (conditional - unconditional)`.
///
/// Returns `None` when there is no term or there are too many.
#[must_use]
pub fn sampler_step(terms: &[(Tensor<3>, f64)], guidance_scale: Option<f64>) -> Option<Tensor<3>> {
    if terms.len() > MAX_TERMS {
        return None;
    }
    let mut tensors = terms.iter().map(|(tensor, _)| tensor.clone().into_dispatch());
    let mut next = || tensors.next();
    let terms_of = Terms::<Dispatch> {
        first: next()?,
        second: next().map_or(Maybe::None, Maybe::Some),
        third: next().map_or(Maybe::None, Maybe::Some),
        fourth: next().map_or(Maybe::None, Maybe::Some),
        fifth: next().map_or(Maybe::None, Maybe::Some),
        sixth: next().map_or(Maybe::None, Maybe::Some),
    };
    let coefficients = terms.iter().map(|(_, coefficient)| *coefficient as f32).collect();
    let scale = guidance_scale.map(|scale| scale as f32);
    Some(Tensor::from_dispatch(<Dispatch as Kernels>::sampler_step(terms_of, coefficients, scale)))
}

const WORKGROUP: u32 = 64;

fn variant(terms: usize, guided: bool) -> Variant {
    Variant::new(&SAMPLER_STEP, &[("WG_X", WORKGROUP), ("TERMS", terms as u32), ("GUIDED", guided.into())])
}

pub(super) fn variants() -> Vec<Variant> {
    (1..=MAX_TERMS).flat_map(|terms| [variant(terms, false), variant(terms, true)]).collect()
}

pub(super) fn cube(terms: Vec<CubeTensor>, coefficients: &[f32], guidance_scale: Option<f32>) -> CubeTensor {
    let [_, pixels, channels] = terms[0].shape().dims();
    let elements = pixels * channels;
    let (groups, row) = fold(elements, WORKGROUP);
    let mut info = vec![elements as u32, row, guidance_scale.unwrap_or(1.0).to_bits()];
    info.extend(coefficients.iter().map(|coefficient| coefficient.to_bits()));
    let variant = variant(terms.len(), guidance_scale.is_some());
    launch(variant, terms, Shape::new([1, pixels, channels]), groups, &info)
}

pub(super) fn flex(terms: Vec<FlexTensor>, coefficients: &[f32], guidance_scale: Option<f32>) -> FlexTensor {
    let [_, pixels, channels] = terms[0].shape().dims();
    let mut sum = vec![0.0; pixels * channels];
    for (i, (term, coefficient)) in terms.into_iter().zip(coefficients).enumerate() {
        let values = cpu::values(term);
        let values = match guidance_scale {
            Some(scale) if i == 0 => guided(&values, scale),
            _ => values,
        };
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += coefficient * value);
    }
    cpu::tensor(sum, [1, pixels, channels])
}

fn guided(batch: &[f32], scale: f32) -> Vec<f32> {
    let (unconditional, conditional) = batch.split_at(batch.len() / 2);
    unconditional.iter().zip(conditional).map(|(u, c)| u + scale * (c - u)).collect()
}
