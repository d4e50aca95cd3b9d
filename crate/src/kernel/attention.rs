//! Multi-head attention with a running softmax.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::flex::{self as cpu, Matrix};
use super::shader::{Shader, Variant, launch, shader};
use super::strategy::Adapter;
use super::{Kernels, cpu_math};

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
    Tensor::from_dispatch(<Dispatch as Kernels>::attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        shape,
    ))
}

/// Invocations of a workgroup of the register kernel.
const WORKGROUP: u32 = 64;
/// A query and its sum take twice as many registers as a head has lanes; an invocation has room for so many lanes.
const REGISTER_LANES: u32 = 40;
/// The same in the tiled kernel, where GPUs have fewer.
const TILED_LANES: u32 = 10;
/// Most bytes of workgroup memory for a tile of keys.
const TILE_BYTES: u32 = 8 << 10;

/// How many queries a workgroup computes, and the shader.
struct Kernel {
    queries: u32,
    variant: Variant,
}

/// Lanes of a head of `d` channels, and whether a lane is four channels.
fn lanes(d: usize) -> (u32, bool) {
    let vector = d.is_multiple_of(4);
    (if vector { d / 4 } else { d } as u32, vector)
}

/// A few queries an invocation, which share what it reads.
fn register(d: usize, causal: bool) -> Kernel {
    let (lanes, vector) = lanes(d);
    let queries = (REGISTER_LANES / lanes).clamp(1, 4);
    let defines = [
        ("WG_X", WORKGROUP),
        ("QUERIES", queries),
        ("LANES", lanes),
        ("FOUR", 4),
        ("VECTOR", vector.into()),
        ("CAUSAL", causal.into()),
    ];
    Kernel { queries: WORKGROUP * queries, variant: Variant::new(&REGISTER, &defines) }
}

/// Queries that share keys and values in workgroup memory.
fn tiled(d: usize, causal: bool) -> Kernel {
    let (lanes, vector) = lanes(d);
    let fits = |split: &u32| lanes.is_multiple_of(*split) && lanes / split <= TILED_LANES;
    let split = [1, 2, 4, 8, 16].into_iter().find(fits).unwrap_or(1);
    let invocations = (64 * split).min(256);
    let four_keys = lanes * 4 * if vector { 16 } else { 4 };
    let defines = [
        ("WG_X", invocations),
        ("QUERIES", invocations / split),
        ("SPLIT", split),
        ("OWN", lanes / split),
        ("FOURS", (TILE_BYTES / four_keys).clamp(1, 2)),
        ("VECTOR", vector.into()),
        ("CAUSAL", causal.into()),
    ];
    Kernel { queries: invocations / split, variant: Variant::new(&TILED, &defines) }
}

/// Software adapters hate barriers; other GPUs need workgroup memory. A head that does not fit an invocation's registers
/// is split in any case.
fn kernel(d: usize, causal: bool) -> Kernel {
    if Adapter::current().software && lanes(d).0 <= REGISTER_LANES {
        register(d, causal)
    } else {
        tiled(d, causal)
    }
}

/// Head sizes of the families: SD 1 has 40, 80 and 160, SD 2, SDXL and the text encoders 64, the VAE 512.
pub(super) fn variants() -> Vec<Variant> {
    [2, 4, 5, 16, 32, 40, 64, 80, 160, 512]
        .into_iter()
        .flat_map(|d| [(d, false), (d, true)])
        .flat_map(|(d, causal)| {
            let small = (lanes(d).0 <= REGISTER_LANES).then(|| register(d, causal).variant);
            [Some(tiled(d, causal).variant), small].into_iter().flatten()
        })
        .collect()
}

pub(super) fn cube(q: CubeTensor, k: CubeTensor, v: CubeTensor, shape: Attention) -> CubeTensor {
    let [b, queries, channels] = q.shape().dims();
    let [_, keys, _] = k.shape().dims();
    let d = channels / shape.heads;
    let info = [queries as u32, keys as u32, shape.heads as u32, scale(d).to_bits()];
    let kernel = kernel(d, shape.causal);
    let groups = [(queries as u32).div_ceil(kernel.queries), shape.heads as u32, b as u32];
    let output = q.shape();
    launch(kernel.variant, vec![q, k, v], output, groups, &info)
}

fn scale(d: usize) -> f32 {
    (d as f32).sqrt().recip()
}

/// Queries whose scores exist at one time.
const QUERY_CHUNK: usize = 256;

pub(super) fn flex(q: FlexTensor, k: FlexTensor, v: FlexTensor, shape: Attention) -> FlexTensor {
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
