//! From a strategy and a form of operands to the shader of a product.

use burn::tensor::Shape;
use burn_wgpu::{CubeBackend, CubeTensor};

use super::Activation;
use super::operand::OperandPrimitive;
use super::shader::{Shader, Variant, can_overwrite, launch, launch_onto};
use super::storage::Storage;
use super::strategy::Strategy;
use super::weight::WeightPrimitive;
use crate::quantization::Quant;

/// The files of an operation, one for each kind of strategy.
pub(super) struct Shaders {
    pub(super) register: Shader,
    pub(super) tiled: Shader,
}

impl Shaders {
    /// The shader of `strategy`, which is none of attention's, for a form of operands.
    pub(super) fn variant(&'static self, form: &Form, strategy: Strategy) -> Variant {
        let shader = match strategy {
            Strategy::Tiled { .. } | Strategy::Cooperative { .. } => &self.tiled,
            _ => &self.register,
        };
        Variant::new(shader, &[strategy.defines(), form.defines()].concat())
    }

    /// Those of all `strategies` for `forms`, for tests.
    pub(super) fn variants(&'static self, strategies: &[Strategy], forms: &[Form]) -> Vec<Variant> {
        let mut variants: Vec<Variant> = Vec::new();
        for (strategy, form) in
            strategies.iter().flat_map(|strategy| forms.iter().map(move |form| (strategy, form)))
        {
            let variant = self.variant(form, form.strategy(*strategy));
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        }
        variants
    }
}

/// A tensor that is added to a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Residual {
    /// None is.
    None,
    /// In memory of its own.
    Beside,
    /// Where the result goes.
    InPlace,
}

impl Residual {
    /// Value of the shaders' `RESIDUAL`.
    fn define(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Beside => 1,
            Self::InPlace => 2,
        }
    }

    /// A tensor that nobody else needs gives its memory to the result.
    fn of(tensor: Option<&CubeTensor>) -> Self {
        match tensor {
            None => Self::None,
            Some(tensor) if can_overwrite(tensor) => Self::InPlace,
            Some(_) => Self::Beside,
        }
    }
}

/// What a product's kernel is compiled for beside its strategy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Packing of the weight; `None` for f32.
    pub(super) quant: Option<Quant>,
    /// The input can be read four channels at a time.
    pub(super) vec4: bool,
    /// Its last channels lie in a second tensor, as only linear layers take it.
    pub(super) tail: bool,
    /// A vector is added.
    pub(super) bias: bool,
    /// A row of a matrix is added, as only convolutions do.
    pub(super) shift: bool,
    /// Where a tensor is that is added to the result.
    pub(super) residual: Residual,
    /// Applied before the residual.
    pub(super) activation: Activation,
    /// Of the input, the residual and the result.
    pub(super) storage: Storage,
}

impl Form {
    /// Of operands.
    pub(super) fn of(
        x: &OperandPrimitive<CubeBackend>,
        weight: &WeightPrimitive<CubeBackend>,
        [bias, shift, residual]: [&Option<CubeTensor>; 3],
        activation: Activation,
    ) -> Self {
        Self {
            quant: weight.quant(),
            vec4: x.is_in_lanes_of(4),
            tail: x.tail().is_some(),
            bias: bias.is_some(),
            shift: shift.is_some(),
            residual: Residual::of(residual.as_ref()),
            activation,
            storage: Storage::of(&x.x),
        }
    }

    fn defines(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("PACKING", self.quant.map_or(0, |quant| quant.bits() as u32)),
            ("VEC4", self.vec4.into()),
            ("TAIL", self.tail.into()),
            ("BIAS", self.bias.into()),
            ("SHIFT", self.shift.into()),
            ("RESIDUAL", self.residual.define()),
            ("ACTIVATION", self.activation.define()),
            self.storage.define(),
        ]
    }

    /// `strategy`, or the next larger one where its invocations own too few columns for values beside their gates.
    pub(super) fn strategy(&self, strategy: Strategy) -> Strategy {
        if self.activation == Activation::Geglu { strategy.in_pairs() } else { strategy }
    }

    /// Runs `variant` on `inputs`, and on `residual`, whose memory the result takes if it can.
    pub(super) fn launch(
        &self,
        variant: Variant,
        mut inputs: Vec<CubeTensor>,
        residual: Option<CubeTensor>,
        shape: Shape,
        groups: [u32; 3],
        info: &[u32],
    ) -> CubeTensor {
        match residual {
            Some(residual) if self.residual == Residual::InPlace => {
                launch_onto(variant, inputs, residual, groups, info)
            }
            residual => {
                inputs.extend(residual);
                launch(variant, inputs, shape, groups, info)
            }
        }
    }

    /// For tests of shaders: every kind of operands in one tensor, each with the next of `epilogues` (bias, shift,
    /// residual, activation), which are no more than those.
    pub(super) fn examples(storage: Storage, epilogues: &[(bool, bool, Residual, Activation)]) -> Vec<Self> {
        let quants = std::iter::once(None).chain(Quant::ALL.map(Some));
        let operands = quants.flat_map(|quant| [(quant, true), (quant, false)]);
        let with_epilogues = operands.zip(epilogues.iter().cycle());
        with_epilogues
            .map(|((quant, vec4), &(bias, shift, residual, activation))| Self {
                quant,
                vec4,
                tail: false,
                bias,
                shift,
                residual,
                activation,
                storage,
            })
            .collect()
    }
}

impl WeightPrimitive<CubeBackend> {
    pub(super) fn quant(&self) -> Option<Quant> {
        match self {
            Self::F32(_) => None,
            Self::Packed { quant, .. } => Some(*quant),
        }
    }

    /// As the shaders bind it.
    pub(super) fn buffers(&self) -> [Option<CubeTensor>; 2] {
        match self {
            Self::F32(values) => [Some(values.clone()), None],
            Self::Packed { words, scales, .. } => [Some(words.clone()), Some(scales.clone())],
        }
    }
}
