//! An input whose channels may lie in two tensors.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, TensorMetadata as _};
use burn::tensor::Tensor;

use super::weight::{Maybe, maybe};

/// `[b, rows, channels]` in one tensor, or in two: then every row has the channels of `x` and after them those of `tail`,
/// as if they had been concatenated. Both are of the same numbers.
#[derive(Debug, Clone)]
pub struct Operand {
    /// `[b, rows, channels]`, or the first of them.
    pub x: Tensor<3>,
    /// `[b, rows, other channels]`.
    pub tail: Option<Tensor<3>>,
}

impl Operand {
    /// As one tensor.
    #[must_use]
    pub fn concatenated(self) -> Tensor<3> {
        match self.tail {
            None => self.x,
            Some(tail) => Tensor::cat(vec![self.x, tail], 2),
        }
    }

    pub(super) fn primitive(self) -> OperandPrimitive<Dispatch> {
        OperandPrimitive { x: self.x.into_dispatch(), tail: maybe(self.tail) }
    }
}

impl From<Tensor<3>> for Operand {
    fn from(x: Tensor<3>) -> Self {
        Self { x, tail: None }
    }
}

/// [`Operand`] as a backend sees it.
#[derive(ExtensionType)]
pub struct OperandPrimitive<B: Backend> {
    pub(super) x: FloatTensor<B>,
    #[extension_type]
    pub(super) tail: Maybe<B>,
}

impl<B: Backend> OperandPrimitive<B> {
    pub(super) fn whole(x: FloatTensor<B>) -> Self {
        Self { x, tail: Maybe::None }
    }

    /// `[b, rows, channels]` of both tensors together.
    pub(super) fn dims(&self) -> [usize; 3] {
        let [b, rows, channels] = self.x.shape().dims();
        [b, rows, channels + self.tail().map_or(0, |tail| tail.shape().dims::<3>()[2])]
    }

    pub(super) fn tail(&self) -> Option<&FloatTensor<B>> {
        match &self.tail {
            Maybe::Some(tail) => Some(tail),
            Maybe::None => None,
        }
    }

    /// Channels of `x`.
    pub(super) fn in_x(&self) -> usize {
        self.x.shape().dims::<3>()[2]
    }

    /// Whether kernels can read it `lane` channels at a time.
    pub(super) fn is_in_lanes_of(&self, lane: usize) -> bool {
        [self.dims()[2], self.in_x()].iter().all(|channels| channels.is_multiple_of(lane))
    }

    /// Both tensors.
    pub(super) fn into_parts(self) -> impl Iterator<Item = FloatTensor<B>> {
        std::iter::once(self.x).chain(self.tail.into_option())
    }
}
