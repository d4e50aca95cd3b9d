//! `ResnetBlock2D` (diffusers `models/resnet.py`), with and without a time embedding.

use burn::tensor::Tensor;

use super::layers::{Conv3x3, Image, Linear, Loader, Norm};
use super::slabs::{Normed, Slabs};
use crate::error::Result;
use crate::kernel::{Activation, Operand};

/// Groups and epsilon of a part's group norms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    pub(crate) count: usize,
    pub(crate) eps: f32,
}

/// Two normalised 3x3 convolutions and a shortcut.
#[derive(Debug)]
pub(crate) struct ResnetBlock {
    groups: Groups,
    norm1: Norm,
    conv1: Conv3x3,
    time_emb_proj: Option<Linear>,
    norm2: Norm,
    conv2: Conv3x3,
    conv_shortcut: Option<Linear>,
}

impl ResnetBlock {
    /// `time_channels` is the width of the time embedding; the VAE's blocks have none.
    pub(crate) async fn load(
        root: &Loader<'_>,
        inputs: usize,
        outputs: usize,
        time_channels: Option<usize>,
        groups: Groups,
    ) -> Result<Self> {
        Ok(Self {
            groups,
            conv1: root.at("conv1").conv3x3(inputs, outputs).await?,
            conv2: root.at("conv2").conv3x3(outputs, outputs).await?,
            conv_shortcut: if inputs == outputs {
                None
            } else {
                Some(root.at("conv_shortcut").linear(inputs, outputs).await?)
            },
            norm1: root.at("norm1").norm(inputs).await?,
            norm2: root.at("norm2").norm(outputs).await?,
            time_emb_proj: match time_channels {
                Some(channels) => Some(root.at("time_emb_proj").linear(channels, outputs).await?),
                None => None,
            },
        })
    }

    /// What this block adds for each of the time embeddings `[b, calls, time_channels]`, SiLU applied: `[b, calls, c]`.
    pub(crate) fn time_shift(&self, activated: &Tensor<3>) -> Option<Tensor<3>> {
        Some(self.time_emb_proj.as_ref()?.forward(activated.clone()))
    }

    /// `skip` has more channels of `x`, a result of the way down; `shift` is a table of [`Self::time_shift`] and the call to
    /// use.
    pub(crate) fn forward(
        &self,
        x: Image,
        skip: Option<Tensor<3>>,
        shift: Option<(&Tensor<3>, usize)>,
    ) -> Image {
        let Groups { count, eps } = self.groups;
        let Image { pixels, height, width } = x;
        let input = Operand { x: pixels, tail: skip };
        // First, so that the norm may take the place of an input that nobody else needs.
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(input.clone()),
            None => input.clone().concatenated(),
        };
        let normed = self.norm1.group(input, count, eps, Activation::Silu);
        let hidden = self.shifted(Image { pixels: normed, height, width }, shift);
        let normed = self.norm2.group(hidden.pixels, count, eps, Activation::Silu);
        let normed = Image { pixels: normed, height, width };
        self.conv2.forward_with(normed, |same| same, None, Some(shortcut))
    }

    /// [`Self::forward`] of a picture in slabs, without a time embedding.
    pub(crate) fn forward_in_slabs(&self, x: Slabs) -> Slabs {
        let normed = Normed::of(&x, &self.norm1, self.groups, Activation::Silu);
        let (hidden, shortcut) = match &self.conv_shortcut {
            Some(shortcut) => x.conv_and_shortcut(&self.conv1, &normed, shortcut),
            None => (x.clone().conv(&self.conv1, |same| same, None, |pieces| normed.pixels(pieces)), x),
        };
        let normed = Normed::of(&hidden, &self.norm2, self.groups, Activation::Silu);
        hidden.conv(&self.conv2, |same| same, Some(shortcut), |pieces| normed.pixels(pieces))
    }

    /// The first convolution. It adds a shift that all images of a batch share by itself; SDXL's, which knows the text,
    /// is added after it.
    fn shifted(&self, normed: Image, shift: Option<(&Tensor<3>, usize)>) -> Image {
        let Some((table, call)) = shift else { return self.conv1.forward(normed, |same| same) };
        let [images, calls, channels] = table.dims();
        if images == 1 {
            let table = table.clone().reshape([calls, channels]);
            return self.conv1.forward_with(normed, |same| same, Some((&table, call)), None);
        }
        let mut hidden = self.conv1.forward(normed, |same| same);
        let shift = table.clone().narrow(1, call, 1).cast(hidden.pixels.dtype());
        hidden.pixels = hidden.pixels + shift;
        hidden
    }
}
