//! Block formats of packed weights: 32 inputs of one output share a scale.
//!
//! A weight is a matrix `[k, n]`, `k` being the taps of a convolution (1 for a linear layer) times its input channels.
//! A block is [`BLOCK`] channels of one tap and one column; the last block of a tap is filled with zeros. Words are
//! `[blocks, words a block, n4]`, `n4` being groups of four columns, so that a kernel that multiplies four columns
//! reads neighbouring words:
//!
//! | format | words a block | what a word holds |
//! |---|---|---|
//! | [`Quant::Q8`] | 32 | one row: four columns, 8 bits each, two's complement |
//! | [`Quant::Q4`] | 16 | two rows: the even one below, four columns each, 4 bits that stand for -8..=7 |
//! | [`Quant::Q6`] | 24 | 16 words as in Q4 with the lower 4 bits, then 8 words of four rows with the upper 2 bits; together -32..=31 |
//!
//! Scales are f16, `[blocks, 4 * n4]`. The value of a weight is its integer times its scale.

mod pack;
mod packer;
mod policy;
mod quantize;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use pack::{Packed, pack, unpack};
pub use packer::Packer;
pub use policy::Policy;

use crate::error::{Error, Result};

/// Weights that share a scale.
pub const BLOCK: usize = 32;

/// Columns that share words.
pub const GROUP: usize = 4;

/// How the weights of a layer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quant {
    /// 4.5 bits a weight.
    Q4,
    /// 6.5 bits a weight.
    Q6,
    /// 8.5 bits a weight.
    Q8,
}

impl Quant {
    /// All of them, smallest first.
    pub const ALL: [Self; 3] = [Self::Q4, Self::Q6, Self::Q8];

    /// Bits of an integer.
    #[must_use]
    pub fn bits(self) -> usize {
        match self {
            Self::Q4 => 4,
            Self::Q6 => 6,
            Self::Q8 => 8,
        }
    }

    /// Words of a block of four columns.
    #[must_use]
    pub fn block_words(self) -> usize {
        self.bits() * 4 * BLOCK / 32
    }

    /// As files and options spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4 => "q4",
            Self::Q6 => "q6",
            Self::Q8 => "q8",
        }
    }
}

impl FromStr for Quant {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|quant| quant.name() == name).ok_or_else(|| Error::Parameter {
            name: "quant".into(),
            reason: format!("must be q8, q6 or q4, not {name:?}"),
        })
    }
}

/// Size of a packed weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Positions of a convolution's kernel, 1 for a linear layer.
    pub taps: usize,
    /// Inputs.
    pub channels: usize,
    /// Outputs.
    pub n: usize,
}

impl Layout {
    /// Of a tensor `[n, channels]` or `[n, channels, height, width]`, as files have it; `None` for other ranks, for
    /// no numbers at all, and for more than memory could hold: what the others give does not overflow.
    #[must_use]
    pub fn of_shape(shape: &[usize]) -> Option<Self> {
        let layout = match *shape {
            [n, channels] => Self { taps: 1, channels, n },
            [n, channels, height, width] => Self { taps: height.checked_mul(width)?, channels, n },
            _ => return None,
        };
        let filled = layout.channels.checked_next_multiple_of(BLOCK)?.checked_mul(layout.taps)?;
        let bytes =
            filled.checked_mul(layout.n.checked_next_multiple_of(4)?)?.checked_mul(size_of::<f32>())?;
        (0 < bytes && isize::try_from(bytes).is_ok()).then_some(layout)
    }

    /// Blocks of a tap.
    #[must_use]
    pub fn tap_blocks(&self) -> usize {
        self.channels.div_ceil(BLOCK)
    }

    /// Blocks of a column.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.taps * self.tap_blocks()
    }

    /// Groups of four columns.
    #[must_use]
    pub fn n4(&self) -> usize {
        self.n.div_ceil(4)
    }

    /// Words of the whole weight.
    #[must_use]
    pub fn words(&self, quant: Quant) -> usize {
        self.blocks() * quant.block_words() * self.n4()
    }

    /// Scales of the whole weight.
    #[must_use]
    pub fn scales(&self) -> usize {
        self.blocks() * self.n4() * 4
    }

    /// Bytes of words and scales.
    #[must_use]
    pub fn bytes(&self, quant: Quant) -> usize {
        self.words(quant) * size_of::<u32>() + self.scales() * size_of::<u16>()
    }
}
