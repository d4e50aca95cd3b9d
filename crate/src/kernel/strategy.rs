//! The ways to compute a matrix product on a GPU, and which of them a product may use.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::attention;
use super::storage::Storage;
use crate::quantization::Quant;

/// A matrix product `[rows, k] · [k, n]` as far as the choice of a strategy depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Product {
    /// What asks for it.
    pub operation: Operation,
    /// How the weight is packed; `None` for f32.
    pub quant: Option<Quant>,
    /// What the activations are in memory.
    pub storage: Storage,
    /// Rows of the result, of the whole batch.
    pub rows: usize,
    /// Length of the sums, padding left out.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
}

/// Operations that contain a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// [`super::linear`].
    Linear,
    /// [`super::conv2d`].
    Conv2d,
    /// [`super::attention()`], whose two products have as many rows as there are queries in all heads, `k` keys, and `n`
    /// channels a head.
    Attention,
}

/// A way to compute a product, or the two of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// An invocation owns `rows` rows and `columns` groups of four columns and reads all operands from memory itself:
    /// no workgroup memory, no barriers, which software adapters are slow at.
    Register {
        /// Rows of an invocation.
        rows: u32,
        /// Groups of four columns of an invocation.
        columns: u32,
    },
    /// [`Self::Register`] with `lanes` neighbours of a subgroup, 4 or 8, that own the same rows, a multiple of `lanes`: each
    /// reads its part of them and hands on what it read.
    Subgroup {
        /// Neighbours that share.
        lanes: u32,
        /// Rows of an invocation.
        rows: u32,
        /// Groups of four columns of an invocation.
        columns: u32,
    },
    /// A workgroup of 8 x `height` invocations stages its operands in workgroup memory, which GPUs need to come near
    /// their peak: all invocations then share what one of them read.
    Tiled {
        /// Invocations of a workgroup, down the rows.
        height: u32,
        /// Groups of four rows of an invocation.
        rows4: u32,
        /// Groups of four columns of an invocation.
        columns: u32,
        /// Terms of the sums that are staged at a time.
        depth: u32,
        /// Stages and multiplies in f16 and keeps only the sums of tiles in f32.
        f16: bool,
    },
    /// [`Self::Tiled`] in f16, with 64 columns and eight rows for each of `height`, whose subgroups multiply the staged tiles
    /// by cooperative matrices with sums in f32: by tensor cores, or what else a GPU has for them. Browsers have none.
    Cooperative {
        /// Invocations of a workgroup, down the rows.
        height: u32,
        /// Rows and columns of a matrix, 8 or 16.
        side: u32,
        /// Invocations of a subgroup.
        lanes: u32,
    },
    /// Attention whose invocations own `queries` queries of a head and read keys and values from memory themselves.
    AttentionRegister {
        /// Queries of an invocation.
        queries: u32,
    },
    /// [`Self::AttentionRegister`] with four neighbours of a subgroup that share a head: each reads one of four keys and
    /// values and hands it on.
    AttentionSubgroup {
        /// Queries of an invocation.
        queries: u32,
    },
    /// Attention whose workgroups stage keys and values of a head in workgroup memory.
    AttentionTiled {
        /// Invocations that share a query, each with its part of the head's channels.
        split: u32,
        /// Queries of an invocation.
        queries: u32,
        /// Stages in f16; all arithmetic is in f32.
        f16: bool,
    },
}

/// A GPU as far as the choice of a strategy depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adapter {
    /// It computes on the CPU.
    pub software: bool,
    /// It has `shader-f16`, and its user accepts results with that precision.
    pub f16: bool,
    /// Invocations of its smallest subgroups, 0 where shaders may not use them.
    pub subgroup: u32,
    /// Rows and columns of the matrices of f16 that its subgroups multiply with sums in f32, 0 for none.
    pub matrices: u32,
}

thread_local! {
    static ADAPTER: Cell<Adapter> = const { Cell::new(Adapter { software: false, ..SOFTWARE }) };
}

impl Adapter {
    /// A GPU and software that imitates one.
    pub(super) const KINDS: [Self; 2] = [Self { software: false, ..SOFTWARE }, SOFTWARE];

    /// The one that this thread computes on.
    #[must_use]
    pub fn current() -> Self {
        ADAPTER.get()
    }

    /// Makes it the one that this thread computes on.
    pub fn make_current(self) {
        ADAPTER.set(self);
    }

    /// Computes `work` as on this adapter.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        let before = Self::current();
        self.make_current();
        let result = work();
        before.make_current();
        result
    }

    /// Invocations of a workgroup, of which GPUs want `usual` ones. Software runs a workgroup on one thread, and its
    /// invocations by turns from barrier to barrier: as few as a CPU's vector has lanes keep all threads busy, and none
    /// waits for others.
    pub(super) fn workgroup(self, usual: u32) -> u32 {
        if self.software { self.subgroup.max(CPU_LANES) } else { usual }
    }
}

const SOFTWARE: Adapter = Adapter { software: true, f16: false, subgroup: 0, matrices: 0 };

/// Width of a workgroup, over groups of columns.
const WIDTH: u32 = 8;
/// Lanes of a usual CPU's vector.
const CPU_LANES: u32 = 8;

/// Height of a workgroup of the register kernels.
fn register_height() -> u32 {
    Adapter::current().workgroup(64) / WIDTH
}

const MOST_GROUPS: u32 = 32_768;

/// Of the register kernels, whose workgroups are of one dimension: shaders that ask for subgroups have no other.
fn register_defines(lanes: u32, rows: u32, columns: u32) -> Vec<(&'static str, u32)> {
    vec![
        ("WG_X", WIDTH * register_height()),
        ("WIDTH", WIDTH),
        ("HEIGHT", register_height()),
        ("LANES", lanes),
        enabled(lanes > 1),
        ("SHARES", rows / lanes),
        ("COLUMNS", columns),
        ("PAIRS", columns / 2),
        ("GATE_APART", 1),
    ]
}

/// Of the tiled kernels, whose workgroups are of one dimension, too: cooperative matrices, whose `side` is 0 for none, ask
/// for whole subgroups in it.
fn tile_defines([height, rows4, columns, depth]: [u32; 4], f16: bool, side: u32) -> Vec<(&'static str, u32)> {
    vec![
        ("WG_X", WIDTH * height),
        ("WIDTH", WIDTH),
        ("HEIGHT", height),
        ("ROWS4", rows4),
        ("COLUMNS", columns),
        ("PAIRS", columns / 2),
        ("GATE_APART", WIDTH),
        ("TILE_K", depth),
        ("F16", f16.into()),
        ("SIDE", side),
    ]
}

/// The subgroups of a workgroup share each quarter of a tile, four rows and four columns for each invocation: `lanes`
/// invocations have `16 * lanes` of its values, in matrices that lie beside each other first.
fn matrix_defines(height: u32, side: u32, lanes: u32) -> [(&'static str, u32); 3] {
    let matrices = 16 * lanes / (side * side);
    let columns = matrices.min(4 * WIDTH / side);
    [
        ("MATRIX_ROWS", matrices / columns),
        ("MATRIX_COLUMNS", columns),
        // The tallest tile and its quarter fill workgroup memory as they are.
        ("X_PADDING", if height > 8 { 0 } else { 8 }),
    ]
}

/// The shaders' `SUBGROUPS`, which asks for WGSL's extension: browsers want it, and naga does not know its name.
pub(super) fn enabled(subgroups: bool) -> (&'static str, u32) {
    ("SUBGROUPS", (subgroups && cfg!(target_family = "wasm")).into())
}

impl Strategy {
    /// Tiles of 128 x 64 outputs: 43 multiplications for a value read.
    const TILED_128: Self = Self::Tiled { height: 16, rows4: 2, columns: 2, depth: 16, f16: false };
    /// Tiles of 64 x 64 outputs: 32 multiplications for a value read.
    const TILED_64: Self = Self::Tiled { height: 8, rows4: 2, columns: 2, depth: 16, f16: false };
    /// Tiles of 32 x 32 outputs, for products with too few outputs to keep a GPU busy with larger ones.
    const TILED_32: Self = Self::Tiled { height: 8, rows4: 1, columns: 1, depth: 32, f16: false };

    /// All that compute in f32 on every adapter, for tests and tools.
    pub const ALL: [Self; 7] = [
        Self::Register { rows: 8, columns: 4 },
        Self::Register { rows: 8, columns: 2 },
        Self::Register { rows: 4, columns: 1 },
        Self::Register { rows: 1, columns: 1 },
        Self::TILED_128,
        Self::TILED_64,
        Self::TILED_32,
    ];

    /// Those that need an adapter with `shader-f16` and a caller that accepts reduced precision.
    pub const ALL_F16: [Self; 2] = [
        Self::Tiled { height: 16, rows4: 2, columns: 2, depth: 16, f16: true },
        Self::Tiled { height: 8, rows4: 2, columns: 2, depth: 16, f16: true },
    ];

    /// Those that need an adapter with subgroups.
    pub const ALL_SUBGROUP: [Self; 3] = [
        Self::Subgroup { lanes: 8, rows: 16, columns: 1 },
        Self::Subgroup { lanes: 8, rows: 8, columns: 1 },
        Self::Subgroup { lanes: 4, rows: 8, columns: 4 },
    ];

    /// Those that need an adapter with cooperative matrices, and f16 as above: 16x16 ones of NVIDIA and AMD, 8x8 ones of
    /// Mesa's lavapipe.
    pub const ALL_COOPERATIVE: [Self; 6] = [
        Self::Cooperative { height: 16, side: 16, lanes: 32 },
        Self::Cooperative { height: 8, side: 16, lanes: 32 },
        Self::Cooperative { height: 16, side: 16, lanes: 64 },
        Self::Cooperative { height: 8, side: 16, lanes: 64 },
        Self::Cooperative { height: 16, side: 8, lanes: 8 },
        Self::Cooperative { height: 8, side: 8, lanes: 8 },
    ];

    /// Whether it rounds to f16 on the way.
    #[must_use]
    pub fn is_f16(self) -> bool {
        match self {
            Self::Tiled { f16, .. } | Self::AttentionTiled { f16, .. } => f16,
            Self::Cooperative { .. } => true,
            _ => false,
        }
    }

    /// Invocations of a subgroup that work together; 0 where subgroups are not needed.
    #[must_use]
    pub fn lanes(self) -> u32 {
        match self {
            Self::Subgroup { lanes, .. } | Self::Cooperative { lanes, .. } => lanes,
            Self::AttentionSubgroup { .. } => 4,
            _ => 0,
        }
    }

    /// Whether `adapter` has what it takes, and its user accepts its precision.
    pub(super) fn runs_on(self, adapter: Adapter) -> bool {
        let has_matrices = match self {
            Self::Cooperative { side, lanes, .. } => (side, lanes) == (adapter.matrices, adapter.subgroup),
            _ => true,
        };
        has_matrices && self.lanes() <= adapter.subgroup && (adapter.f16 || !self.is_f16())
    }

    /// What its shaders are compiled with.
    pub(super) fn defines(self) -> Vec<(&'static str, u32)> {
        match self {
            Self::Register { rows, columns } => register_defines(1, rows, columns),
            Self::Subgroup { lanes, rows, columns } => register_defines(lanes, rows, columns),
            Self::Tiled { height, rows4, columns, depth, f16 } => {
                tile_defines([height, rows4, columns, depth], f16, 0)
            }
            Self::Cooperative { height, side, lanes } => {
                let mut defines = tile_defines([height, 2, 2, 16], true, side);
                defines.extend(matrix_defines(height, side, lanes));
                defines
            }
            // Those depend on the size of a head: see `attention`.
            Self::AttentionRegister { .. } | Self::AttentionSubgroup { .. } | Self::AttentionTiled { .. } => {
                Vec::new()
            }
        }
    }

    /// The closest strategy whose invocations own an even number of groups of columns.
    pub(super) fn in_pairs(self) -> Self {
        match self {
            Self::Register { rows, columns: 1 } => Self::Register { rows, columns: 2 },
            Self::Subgroup { lanes, rows, columns: 1 } => Self::Subgroup { lanes, rows, columns: 2 },
            Self::TILED_32 => Self::TILED_64,
            other => other,
        }
    }

    /// Rows and columns that a workgroup computes; of attention, that an invocation does.
    fn tile(self) -> [u32; 2] {
        match self {
            Self::Register { rows, columns } | Self::Subgroup { rows, columns, .. } => {
                [register_height() * rows, WIDTH * columns * 4]
            }
            Self::Tiled { height, rows4, columns, .. } => [height * rows4 * 4, WIDTH * columns * 4],
            Self::Cooperative { height, .. } => [height * 8, WIDTH * 8],
            Self::AttentionRegister { queries }
            | Self::AttentionSubgroup { queries }
            | Self::AttentionTiled { queries, .. } => [queries, 1],
        }
    }

    /// Workgroups for a product, attention's left out; rows are folded below the 65535 workgroups of a dimension.
    pub(super) fn groups(self, product: &Product) -> [u32; 3] {
        let [rows, columns] = self.tile();
        let x = (product.n as u32).div_ceil(columns);
        let y = (product.rows as u32).div_ceil(rows);
        [x, y.min(MOST_GROUPS), y.div_ceil(MOST_GROUPS)]
    }
}

/// `register 8x8`, the outputs of an invocation, `subgroup 8x8 / 4`, those and how many invocations share what they read,
/// or `tiled 64x64`, the outputs of a workgroup, or `cooperative 64x64 / 16`, those and the side of matrices; of
/// attention the queries of an invocation, and how many share them.
impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tile_rows, tile_columns] = self.tile();
        f.pad(&match self {
            Self::Register { rows, columns } => format!("register {rows}x{}", 4 * columns),
            Self::Subgroup { lanes, rows, columns } => format!("subgroup {rows}x{} / {lanes}", 4 * columns),
            Self::Tiled { f16: false, .. } => format!("tiled {tile_rows}x{tile_columns}"),
            Self::Tiled { f16: true, .. } => format!("tiled {tile_rows}x{tile_columns} f16"),
            Self::Cooperative { side, .. } => format!("cooperative {tile_rows}x{tile_columns} / {side}"),
            Self::AttentionRegister { queries } => format!("register {queries}"),
            Self::AttentionSubgroup { queries } => format!("subgroup {queries}"),
            Self::AttentionTiled { split, queries, f16: false } => format!("tiled {queries}/{split}"),
            Self::AttentionTiled { split, queries, f16: true } => format!("tiled {queries}/{split} f16"),
        })
    }
}

impl Product {
    /// The strategies that may be the best for it on `adapter`, the usual one first.
    #[must_use]
    pub fn candidates(&self, adapter: Adapter) -> Vec<Strategy> {
        let usual = self.usual_strategy(adapter);
        let others = self.strategies().into_iter().filter(|strategy| {
            *strategy != usual && strategy.runs_on(adapter) && self.suits(*strategy, adapter)
        });
        std::iter::once(usual).chain(others).collect()
    }

    /// All strategies that there are shaders for. Those that round to f16 are for activations that are kept so.
    #[must_use]
    pub fn strategies(&self) -> Vec<Strategy> {
        let mut all = match self.operation {
            Operation::Attention => attention::strategies(self.n),
            Operation::Linear | Operation::Conv2d => {
                let others = [&Strategy::ALL_SUBGROUP[..], &Strategy::ALL_F16, &Strategy::ALL_COOPERATIVE];
                Strategy::ALL.into_iter().chain(others.concat()).collect()
            }
        };
        all.retain(|strategy| self.storage == Storage::F16 || !strategy.is_f16());
        all
    }

    /// Whether it could be worth a measurement.
    fn suits(&self, strategy: Strategy, adapter: Adapter) -> bool {
        let [rows, columns] = strategy.tile().map(|side| side as usize);
        match strategy {
            // One large tile for any adapter: in a browser, software need not say that it is. Where eight neighbours share
            // what they read, large tiles of single invocations are beaten.
            Strategy::Register { rows, columns } => {
                rows < 8 || if adapter.software { adapter.subgroup < 8 } else { columns == 4 }
            }
            // Eight neighbours read less than four do. One large tile for any adapter, as above.
            Strategy::Subgroup { lanes, rows, .. } => {
                (lanes == 8 || adapter.subgroup < 8) && (adapter.software || rows == 16)
            }
            // A tile that reaches far over an edge of the result computes nothing there.
            Strategy::Tiled { .. } | Strategy::Cooperative { .. } => {
                !adapter.software && self.rows * 2 > rows && self.n * 2 > columns
            }
            // Software compiles them for seconds: no beaten ones there.
            Strategy::AttentionRegister { .. } if adapter.software => adapter.subgroup < 4,
            Strategy::AttentionSubgroup { .. } if adapter.software => true,
            Strategy::AttentionRegister { queries } | Strategy::AttentionSubgroup { queries } => {
                let register = Strategy::AttentionRegister { queries };
                register == attention::usual_strategy(self.n, SOFTWARE)
            }
            Strategy::AttentionTiled { .. } => !adapter.software,
        }
    }

    /// `k` is a multiple of it: the taps of a 3x3 convolution, or one.
    #[must_use]
    pub fn taps(&self) -> usize {
        match self.operation {
            Operation::Conv2d if self.k.is_multiple_of(9) => 9,
            Operation::Conv2d | Operation::Linear | Operation::Attention => 1,
        }
    }

    /// The strategy where nothing was measured: big tiles reuse what they load, small ones leave more workgroups to
    /// share a small product.
    #[must_use]
    pub fn usual_strategy(&self, adapter: Adapter) -> Strategy {
        if self.operation == Operation::Attention {
            return attention::usual_strategy(self.n, adapter);
        }
        if adapter.software {
            return self.usual_on_software(adapter.subgroup);
        }
        let outputs = self.rows * self.n;
        match outputs {
            _ if self.rows < 16 || self.n < 16 => match outputs {
                8_192.. => Strategy::Register { rows: 4, columns: 1 },
                _ => Strategy::Register { rows: 1, columns: 1 },
            },
            1_048_576.. => Strategy::TILED_128,
            262_144.. => Strategy::TILED_64,
            _ => Strategy::TILED_32,
        }
    }

    /// Tiles as large as the product: software pays for what it reads, and has few threads to share the work.
    fn usual_on_software(&self, subgroup: u32) -> Strategy {
        match (self.rows, self.n) {
            (65.., 5..) if subgroup >= 8 => Strategy::Subgroup { lanes: 8, rows: 16, columns: 1 },
            (32.., 5..) if subgroup >= 8 => Strategy::Subgroup { lanes: 8, rows: 8, columns: 1 },
            (5.., 65..) if (4..8).contains(&subgroup) => Strategy::Subgroup { lanes: 4, rows: 8, columns: 4 },
            (5.., 65..) => Strategy::Register { rows: 8, columns: 4 },
            (5.., 5..) => Strategy::Register { rows: 8, columns: 2 },
            (3.., _) => Strategy::Register { rows: 4, columns: 1 },
            _ => Strategy::Register { rows: 1, columns: 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// By the sums of `shaders/shared/matrix_products.wgsl`, which adapters at hand run for one size of matrices alone.
    #[test]
    fn subgroups_cover_each_quarter_once() {
        for strategy in Strategy::ALL_COOPERATIVE {
            let defines: BTreeMap<_, _> = strategy.defines().into_iter().collect();
            let [side, rows, columns] =
                ["SIDE", "MATRIX_ROWS", "MATRIX_COLUMNS"].map(|name| defines[name] as usize);
            let (height, width) = (4 * defines["HEIGHT"] as usize, 4 * WIDTH as usize);
            let mut times = vec![0; height * width];
            for subgroup in 0..(defines["WG_X"] / strategy.lanes()) as usize {
                let along = subgroup * side * columns;
                let (top, left) = (along / width * side * rows, along % width);
                for row in top..top + side * rows {
                    times[row * width + left..][..side * columns].iter_mut().for_each(|times| *times += 1);
                }
            }
            assert!(times.iter().all(|times| *times == 1), "{strategy}");
        }
    }
}
