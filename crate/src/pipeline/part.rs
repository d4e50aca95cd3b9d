//! The parts of a model, as loading goes through them.

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Vocabulary and merges.
    Tokenizer,
    /// Those of the second text encoder, in the SDXL family.
    Tokenizer2,
    /// The text encoder.
    TextEncoder,
    /// The second one, in the SDXL family.
    TextEncoder2,
    /// The denoiser.
    Unet,
    /// The picture decoder.
    Vae,
}

impl Part {
    /// Every part in the order of loading.
    pub const ALL: [Self; 6] =
        [Self::Tokenizer, Self::Tokenizer2, Self::TextEncoder, Self::TextEncoder2, Self::Unet, Self::Vae];

    /// Name of its folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Tokenizer => "tokenizer",
            Self::Tokenizer2 => "tokenizer_2",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
            Self::Unet => "unet",
            Self::Vae => "vae",
        }
    }

    /// Whether it holds weights.
    #[must_use]
    pub fn has_weights(self) -> bool {
        !matches!(self, Self::Tokenizer | Self::Tokenizer2)
    }

    /// Whether only models with two text encoders have it.
    pub(super) fn is_second(self) -> bool {
        matches!(self, Self::Tokenizer2 | Self::TextEncoder2)
    }
}

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// The part that is read next.
    pub part: Part,
    /// Parts that are read.
    pub done: usize,
    /// Parts of the model.
    pub total: usize,
}
