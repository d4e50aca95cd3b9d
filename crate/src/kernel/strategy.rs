//! The ways to compute a matrix product on a GPU, and which of them a product may use.

use crate::quantization::Quant;

/// A matrix product `[rows, k] · [k, n]` as far as the choice of a strategy depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Product {
    /// What asks for it.
    pub operation: Operation,
    /// How the weight is packed; `None` for f32.
    pub quant: Option<Quant>,
    /// Rows of the result, of the whole batch.
    pub rows: usize,
    /// Length of the sums, padding left out.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
}

/// Operations that contain a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`super::linear`].
    Linear,
    /// [`super::conv2d`].
    Conv2d,
}

/// A way to compute a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// An invocation owns `rows` rows and `columns` groups of four columns and reads all operands from memory itself:
    /// no workgroup memory, no barriers, which software adapters are slow at.
    Register {
        /// Rows of an invocation.
        rows: u32,
        /// Groups of four columns of an invocation.
        columns: u32,
    },
}

/// Workgroup of the register kernels: 64 invocations, more across columns, which share loads of x.
const WORKGROUP: [u32; 2] = [8, 8];

const MOST_GROUPS: u32 = 32_768;

impl Strategy {
    /// All of them, for tests and tools.
    pub const ALL: [Self; 3] = [
        Self::Register { rows: 8, columns: 2 },
        Self::Register { rows: 4, columns: 1 },
        Self::Register { rows: 1, columns: 1 },
    ];

    /// What its shaders are compiled with.
    pub(super) fn defines(self) -> Vec<(&'static str, u32)> {
        let Self::Register { rows, columns } = self;
        vec![("WG_X", WORKGROUP[0]), ("WG_Y", WORKGROUP[1]), ("ROWS", rows), ("COLUMNS", columns)]
    }

    /// Workgroups for a product; rows are folded below the 65535 workgroups of a dimension.
    pub(super) fn groups(self, product: &Product) -> [u32; 3] {
        let Self::Register { rows, columns } = self;
        let x = (product.n.div_ceil(4) as u32).div_ceil(columns * WORKGROUP[0]);
        let y = (product.rows as u32).div_ceil(rows * WORKGROUP[1]);
        [x, y.min(MOST_GROUPS), y.div_ceil(MOST_GROUPS)]
    }
}

impl Product {
    /// The strategy where nothing was measured: big tiles reuse what they load, small ones leave more invocations to
    /// share a small product.
    #[must_use]
    pub fn usual_strategy(&self) -> Strategy {
        match self.rows * self.n {
            65_536.. if self.n > 4 => Strategy::Register { rows: 8, columns: 2 },
            8_192.. => Strategy::Register { rows: 4, columns: 1 },
            _ => Strategy::Register { rows: 1, columns: 1 },
        }
    }
}
