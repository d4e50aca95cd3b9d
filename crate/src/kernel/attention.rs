//! Multi-head attention with a running softmax.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::flex::{self as cpu, Matrix};
use super::shader::{Shader, Variant, launch, shader};
use super::storage::Storage;
use super::strategy::{Adapter, Operation, Product, Strategy, enabled};
use super::{Kernels, cpu_math, tune};

static REGISTER: Shader = shader!("attention_register");
static TILED: Shader = shader!("attention_tiled");

/// How to read the operands of [`attention`].
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Number of heads; the channels are `heads * d`.
    pub heads: usize,
    /// Query `i` sees keys `0..=i` only.
    pub causal: bool,
}

/// `softmax(q · kᵀ / sqrt(d)) · v` for every head: q and result `[b, queries, heads*d]`, k and v `[b, keys, heads*d]`.
#[must_use]
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, shape: Attention) -> Tensor<3> {
    attention_by(None, q, k, v, shape)
}

/// [`attention`] by a strategy of the caller's choice, for tests and measurements; the CPU has only one.
#[must_use]
pub fn attention_by(
    strategy: Option<Strategy>,
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    shape: Attention,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        shape,
        strategy,
    ))
}

/// Invocations of a workgroup of the register kernel, and queries of one of the tiled kernel.
const WORKGROUP: u32 = 64;
const MOST_INVOCATIONS: u32 = 256;
/// A query and its sum take twice as many registers as a head has lanes; an invocation has room for so many lanes.
const REGISTER_LANES: u32 = 40;
/// The same in the tiled kernel, where GPUs have fewer.
const TILED_LANES: u32 = 10;
/// With fewer lanes in all, its invocations read more from a tile than they compute.
const LEAST_TILED_LANES: u32 = 8;
/// Most bytes of workgroup memory for a tile of keys, but for one of four keys.
const TILE_BYTES: u32 = 8 << 10;
/// Workgroup memory that every adapter has.
const MOST_BYTES: u32 = 16 << 10;
/// Invocations that a query may be split over.
const SPLITS: [u32; 5] = [1, 2, 4, 8, 16];

/// Lanes of a head of `d` channels, and whether a lane is four channels.
fn lanes(d: usize) -> (u32, bool) {
    let vector = d.is_multiple_of(4);
    (if vector { d / 4 } else { d } as u32, vector)
}

/// All strategies for heads of `d` channels.
pub(super) fn strategies(d: usize) -> Vec<Strategy> {
    let (lanes, _) = lanes(d);
    let fitting = |queries: &u32| queries * lanes <= REGISTER_LANES;
    let mut all: Vec<_> = [4, 2, 1]
        .into_iter()
        .filter(fitting)
        .map(|queries| Strategy::AttentionRegister { queries })
        .collect();
    // With fewer queries than fit, they were slower wherever they were measured.
    if lanes <= REGISTER_LANES {
        all.push(Strategy::AttentionSubgroup { queries: register_queries(lanes) });
    }
    for split in SPLITS.into_iter().filter(|split| lanes.is_multiple_of(*split)) {
        for queries in [1, 2] {
            if (LEAST_TILED_LANES..=TILED_LANES).contains(&(lanes / split * queries)) {
                all.push(Strategy::AttentionTiled { split, queries, f16: false });
                all.push(Strategy::AttentionTiled { split, queries, f16: true });
            }
        }
    }
    let usual = usual_tiles(d);
    if !all.contains(&usual) {
        all.push(usual);
    }
    all
}

/// Software adapters hate barriers; other GPUs need workgroup memory. A head that does not fit an invocation's registers
/// is split in any case.
pub(super) fn usual_strategy(d: usize, adapter: Adapter) -> Strategy {
    let (lanes, _) = lanes(d);
    if adapter.software && lanes <= REGISTER_LANES {
        let queries = register_queries(lanes);
        let shared = Strategy::AttentionSubgroup { queries };
        if shared.runs_on(adapter) { shared } else { Strategy::AttentionRegister { queries } }
    } else {
        usual_tiles(d)
    }
}

/// Tiles that fit in workgroup memory, for heads of up to 1024 channels: the fewest invocations to a query that have room
/// for its lanes, or else the most that there can be.
fn usual_tiles(d: usize) -> Strategy {
    let (lanes, _) = lanes(d);
    let possible =
        |split: &u32| lanes.is_multiple_of(*split) && Tiles::new(d, [*split, 1], false).bytes <= MOST_BYTES;
    let mut splits = SPLITS.into_iter().filter(possible);
    let fitting = splits.clone().find(|split| lanes / split <= TILED_LANES);
    let split = fitting.or_else(|| splits.next_back()).unwrap_or(1);
    Strategy::AttentionTiled { split, queries: 1, f16: false }
}

/// Queries that fit an invocation's registers, four at most.
fn register_queries(lanes: u32) -> u32 {
    largest_power_of_two(REGISTER_LANES / lanes).min(4)
}

/// The largest that is not above `n`, which is not 0.
fn largest_power_of_two(n: u32) -> u32 {
    1 << n.max(1).ilog2()
}

/// Sizes of a workgroup of the tiled kernel.
struct Tiles {
    invocations: u32,
    /// Groups of four keys of a tile.
    fours: u32,
    /// Of workgroup memory.
    bytes: u32,
}

impl Tiles {
    fn new(d: usize, [split, queries]: [u32; 2], f16: bool) -> Self {
        let (lanes, vector) = lanes(d);
        // Those of one query each, over the queries: the scores that invocations exchange then fit beside a tile.
        let invocations = ((WORKGROUP * split).min(MOST_INVOCATIONS) / queries).max(split);
        let value_bytes = if f16 { 2 } else { 4 };
        let four_keys = 4 * lanes * value_bytes * if vector { 4 } else { 1 };
        let fours = (TILE_BYTES / four_keys).clamp(1, 2);
        let score_bytes = if split > 1 { 16 * queries * fours * invocations } else { 0 };
        Self { invocations, fours, bytes: fours * four_keys + score_bytes }
    }
}

/// How many queries a workgroup computes, and the shader.
struct Kernel {
    queries: u32,
    variant: Variant,
}

impl Kernel {
    /// For heads of `d` channels; `strategy` is one of theirs.
    fn new(storage: Storage, strategy: Strategy, d: usize, causal: bool) -> Self {
        match strategy {
            Strategy::AttentionRegister { queries } => Self::register(storage, queries, d, causal, false),
            Strategy::AttentionSubgroup { queries } => Self::register(storage, queries, d, causal, true),
            Strategy::AttentionTiled { split, queries, f16 } => {
                Self::tiled(storage, [split, queries], f16, d, causal)
            }
            Strategy::Register { .. }
            | Strategy::Subgroup { .. }
            | Strategy::Tiled { .. }
            | Strategy::Cooperative { .. } => Self::new(storage, usual_tiles(d), d, causal),
        }
    }

    fn register(storage: Storage, queries: u32, d: usize, causal: bool, shared: bool) -> Self {
        let (lanes, vector) = lanes(d);
        let invocations = Adapter::current().workgroup(WORKGROUP);
        let defines = [
            ("WG_X", invocations),
            ("QUERIES", queries),
            ("LANES", lanes),
            ("FOUR", 4),
            ("SHARED", shared.into()),
            enabled(shared),
            ("VECTOR", vector.into()),
            ("CAUSAL", causal.into()),
            storage.define(),
        ];
        Self { queries: invocations * queries, variant: Variant::new(&REGISTER, &defines) }
    }

    fn tiled(storage: Storage, [split, queries]: [u32; 2], f16: bool, d: usize, causal: bool) -> Self {
        let (lanes, vector) = lanes(d);
        let Tiles { invocations, fours, .. } = Tiles::new(d, [split, queries], f16);
        let defines = [
            ("WG_X", invocations),
            ("ROWS", queries),
            ("SPLIT", split),
            ("OWN", lanes / split),
            ("FOURS", fours),
            ("VECTOR", vector.into()),
            ("CAUSAL", causal.into()),
            ("F16", f16.into()),
            storage.define(),
        ];
        Self { queries: invocations / split * queries, variant: Variant::new(&TILED, &defines) }
    }
}

/// Head sizes of the families, and odd ones: SD 1 has 40, 80 and 160, SD 2, SDXL and the text encoders 64, the VAE 512.
const HEADS: [usize; 10] = [2, 4, 5, 16, 32, 40, 64, 80, 160, 512];

/// Of the strategies that `chosen` holds for.
pub(super) fn variants(storage: Storage, chosen: fn(&Strategy) -> bool) -> Vec<Variant> {
    let of_head = |d: usize| {
        let strategies = strategies(d).into_iter().filter(chosen);
        let both = strategies.flat_map(move |strategy| [(strategy, d, false), (strategy, d, true)]);
        // Text encoders are causal, and they are small: what is usual does for them, unless it was measured.
        let adapters = [(true, 0), (true, 4), (false, 0)];
        let usual = adapters.map(|(software, subgroup)| {
            usual_strategy(d, Adapter { software, subgroup, ..Adapter::default() })
        });
        both.filter(move |(strategy, _, causal)| strategy.is_f16() || !causal || usual.contains(strategy))
    };
    let all = HEADS.into_iter().flat_map(of_head);
    all.map(|(strategy, d, causal)| Kernel::new(storage, strategy, d, causal).variant).collect()
}

pub(super) fn cube(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    shape: Attention,
    strategy: Option<Strategy>,
) -> CubeTensor {
    let [b, queries, channels] = q.shape().dims();
    let [_, keys, _] = k.shape().dims();
    let d = channels / shape.heads;
    let product = Product {
        operation: Operation::Attention,
        quant: None,
        storage: Storage::of(&q),
        rows: b * shape.heads * queries,
        k: keys,
        n: d,
    };
    let strategy = strategy.unwrap_or_else(|| tune::strategy(&product));
    let info = [queries as u32, keys as u32, shape.heads as u32, scale(d).to_bits()];
    let kernel = Kernel::new(product.storage, strategy, d, shape.causal);
    let groups = [(queries as u32).div_ceil(kernel.queries), shape.heads as u32, b as u32];
    let output = q.shape();
    launch(kernel.variant, vec![q, k, v], output, groups, &info)
}

fn scale(d: usize) -> f32 {
    (d as f32).sqrt().recip()
}

/// Queries whose scores exist at one time.
const QUERY_CHUNK: usize = 256;

pub(super) fn flex(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    shape: Attention,
    _strategy: Option<Strategy>,
) -> FlexTensor {
    let [b, queries, channels] = q.shape().dims();
    let [_, keys, _] = k.shape().dims();
    let d = channels / shape.heads;
    let [q, k, v] = [q, k, v].map(cpu::contiguous);
    let [q, k, v] = [&q, &k, &v].map(cpu::slice);
    let mut y = vec![0.0; q.len()];
    let mut scores = vec![0.0; queries.min(QUERY_CHUNK) * keys];
    for head in 0..b * shape.heads {
        let (batch, first) = (head / shape.heads, head % shape.heads * d);
        let from = batch * keys * channels + first;
        let k_transposed = Matrix { values: &k[from..], row: 1, column: channels };
        for start in (0..queries).step_by(QUERY_CHUNK) {
            let count = QUERY_CHUNK.min(queries - start);
            let at = (batch * queries + start) * channels + first;
            let (scores, y) = (&mut scores[..count * keys], &mut y[at..]);
            cpu::multiply(
                scores,
                keys,
                true,
                Matrix::rows(&q[at..], channels),
                k_transposed,
                [count, d, keys],
            );
            let softmax = |(i, row): (usize, &mut [f32])| {
                let seen = if shape.causal { (start + i + 1).min(keys) } else { keys };
                row[seen..].fill(0.0);
                cpu_math::softmax(&mut row[..seen], scale(d))
            };
            let totals: Vec<f32> = scores.chunks_exact_mut(keys).enumerate().map(softmax).collect();
            let v = Matrix::rows(&v[from..], channels);
            cpu::multiply(y, channels, true, Matrix::rows(scores, keys), v, [count, keys, d]);
            for (row, total) in y.chunks_mut(channels).zip(totals) {
                row[..d].iter_mut().for_each(|value| *value /= total);
            }
        }
    }
    cpu::tensor(y, [b, queries, channels])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_every_head_fit_in_workgroup_memory() {
        for d in 1..=1024 {
            for strategy in strategies(d) {
                let Strategy::AttentionTiled { split, queries, f16 } = strategy else { continue };
                assert!(lanes(d).0.is_multiple_of(split));
                let bytes = Tiles::new(d, [split, queries], f16).bytes;
                assert!(bytes <= MOST_BYTES, "{strategy} for heads of {d} takes {bytes} bytes");
            }
        }
        assert!(Tiles::new(1028, [1, 1], false).bytes > MOST_BYTES);
    }

    #[test]
    fn a_head_is_split_as_far_as_it_can_be() {
        let split = |d| match usual_tiles(d) {
            Strategy::AttentionTiled { split, .. } => split,
            other => panic!("{other}"),
        };
        // 22, 26 and 192 lanes, which no split makes ten of; of the widest head only a tile fits.
        let heads = [40, 64, 512, 88, 104, 768, 1024];
        assert_eq!(heads.map(split), [1, 2, 16, 2, 2, 16, 1]);
    }
}
