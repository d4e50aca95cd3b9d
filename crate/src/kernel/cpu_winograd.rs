//! 3x3 convolutions on the CPU with 16 multiplications for four outputs of a channel instead of 36: F(2x2, 3x3) of Lavin
//! and Gray (arXiv:1509.09308). A tile is 2x2 output pixels, which see 4x4 input pixels; a point is one of the 16 values
//! that tiles and kernels transform to, and is a matrix product of its own.

use burn_flex::Flex;

use super::conv2d::Conv2d;
use super::flex::{self as cpu, Matrix};
use super::panels;
use super::weight::WeightPrimitive;

const POINTS: usize = 16;
/// Groups of four output channels whose transformed weights exist at one time.
const PANEL_GROUPS: usize = 16;
/// Floats of transformed input that exist at one time, 4 MiB, where these are tiles enough to transform weights for.
const TILE_BUDGET: usize = 1 << 20;
const LEAST_TILES: usize = 64;
/// Floats between the transformed weights of two points: a distance of whole pages would have all points share the
/// same few cache lines.
const GAP: usize = 16;

/// Four neighbouring channels, a vector register.
type Lanes = [f32; 4];

/// Whether a convolution of `rows` output pixels can be computed so, and faster so.
pub(super) fn pays(shape: &Conv2d, c_in: usize, rows: usize) -> bool {
    let n = shape.out_channels;
    let channels = [c_in, n].iter().all(|count| count.is_multiple_of(4) && *count >= 32);
    shape.kernel == 3 && shape.stride == 1 && channels && rows >= 32
}

/// Adds the convolution of x `[b, height*width, c_in]` to y `[b, out_height*out_width, c_out]`.
pub(super) fn conv2d(y: &mut [f32], x: &[f32], c_in: usize, weight: &WeightPrimitive<Flex>, shape: &Conv2d) {
    let image = Tiles::of(shape);
    let tiles = y.len() / shape.out_channels / image.pixels() * image.count();
    let most = (TILE_BUDGET / (POINTS * c_in)).max(LEAST_TILES);
    let (mut weights, mut sums) = (Vec::new(), Vec::new());
    for start in (0..tiles).step_by(most) {
        let tiles = start..(start + most).min(tiles);
        let inputs = transform_inputs(x, c_in, shape, &image, tiles.clone());
        let groups = shape.out_channels / 4;
        for first in (0..groups).step_by(PANEL_GROUPS) {
            let panel = first..(first + PANEL_GROUPS).min(groups);
            let width = panel.len() * 4;
            panels::with_columns(weight, shape.out_channels, panel, |taps| {
                transform_weights(taps, width, c_in, &mut weights);
            });
            sums.resize(tiles.len() * POINTS * width, 0.0);
            for point in 0..POINTS {
                let left = Matrix::rows(&inputs[point * c_in..], POINTS * c_in);
                let right = Matrix::rows(&weights[point * (c_in * width + GAP)..], width);
                let sums = &mut sums[point * width..];
                cpu::multiply(sums, POINTS * width, true, left, right, [tiles.len(), c_in, width]);
            }
            for (tile, sums) in tiles.clone().zip(sums.chunks_exact(POINTS * width)) {
                add_outputs(y, shape.out_channels, first * 4, sums, image.at(tile));
            }
        }
    }
}

/// The tiles of an output image.
struct Tiles {
    height: usize,
    width: usize,
}

/// Where a tile's first output pixel is.
#[derive(Clone, Copy)]
struct Corner {
    image: usize,
    top: usize,
    left: usize,
    /// Of the image, in pixels.
    size: (usize, usize),
}

impl Tiles {
    fn of(shape: &Conv2d) -> Self {
        let (height, width) = shape.output();
        Self { height, width }
    }

    fn pixels(&self) -> usize {
        self.height * self.width
    }

    fn count(&self) -> usize {
        self.height.div_ceil(2) * self.width.div_ceil(2)
    }

    fn at(&self, tile: usize) -> Corner {
        let (image, tile, across) = (tile / self.count(), tile % self.count(), self.width.div_ceil(2));
        let (top, left) = (tile / across * 2, tile % across * 2);
        Corner { image, top, left, size: (self.height, self.width) }
    }
}

/// `[tiles, points, c_in]`.
fn transform_inputs(
    x: &[f32],
    c_in: usize,
    shape: &Conv2d,
    image: &Tiles,
    tiles: std::ops::Range<usize>,
) -> Vec<f32> {
    let mut inputs = vec![0.0; tiles.len() * POINTS * c_in];
    let zeros = vec![0.0; c_in];
    for (tile, to) in tiles.zip(inputs.chunks_exact_mut(POINTS * c_in)) {
        let corner = image.at(tile);
        let pixels: [[&[Lanes]; 4]; 4] = from_grid(|y, x_| {
            let at = shape.input_pixel(corner.top + y, corner.left + x_);
            let pixel = match at {
                Some(at) => &x[(corner.image * shape.height * shape.width + at) * c_in..][..c_in],
                None => &zeros,
            };
            pixel.as_chunks().0
        });
        for i in 0..c_in / 4 {
            let tile = from_grid(|y, x| pixels[y][x][i]);
            let points = both_ways(tile, |[a, b, c, d]| [sub(a, c), add(b, c), sub(c, b), sub(b, d)]);
            for (point, lanes) in points.as_flattened().iter().enumerate() {
                to[point * c_in + i * 4..][..4].copy_from_slice(lanes);
            }
        }
    }
    inputs
}

/// `[points, c_in, width]`, with a gap behind each point, of the first columns of `taps` `[9 * c_in, ..]`.
fn transform_weights(taps: Matrix<'_>, width: usize, c_in: usize, weights: &mut Vec<f32>) {
    weights.resize(POINTS * (c_in * width + GAP), 0.0);
    for channel in 0..c_in {
        let rows: [[&[Lanes]; 3]; 3] = from_grid(|y, x| {
            let row = (y * 3 + x) * c_in + channel;
            taps.values[row * taps.row..][..width].as_chunks().0
        });
        let kernel = |i: usize| from_grid(|y, x| rows[y][x][i]);
        for i in 0..width / 4 {
            let points = both_ways(kernel(i), |[a, b, c]| {
                let (even, odd) = (half(add(a, c)), half(b));
                [a, add(even, odd), sub(even, odd), c]
            });
            for (point, lanes) in points.as_flattened().iter().enumerate() {
                let at = point * (c_in * width + GAP) + channel * width + i * 4;
                weights[at..at + 4].copy_from_slice(lanes);
            }
        }
    }
}

/// Adds a tile's sums `[points, width]` to the channels of y `[.., n]` from `first` on.
fn add_outputs(y: &mut [f32], n: usize, first: usize, sums: &[f32], corner: Corner) {
    let width = sums.len() / POINTS;
    let points: [[&[Lanes]; 4]; 4] = from_grid(|y, x| sums[(y * 4 + x) * width..][..width].as_chunks().0);
    let (height, across) = corner.size;
    for i in 0..width / 4 {
        let pixels = both_ways(from_grid(|y, x| points[y][x][i]), |[a, b, c, d]| {
            [add(add(a, b), c), sub(sub(b, c), d)]
        });
        for (down, row) in pixels.iter().enumerate().take(height - corner.top) {
            for (right, lanes) in row.iter().enumerate().take(across - corner.left) {
                let pixel = (corner.image * height + corner.top + down) * across + corner.left + right;
                let y = &mut y[pixel * n + first + i * 4..][..4];
                y.iter_mut().zip(lanes).for_each(|(y, value)| *y += value);
            }
        }
    }
}

/// `one` along the rows, then along the columns. Arrays here come of `from_fn`, which the compiler unrolls into registers
/// in WebAssembly; `map` it leaves a loop over memory.
#[inline(always)]
fn both_ways<const FROM: usize, const TO: usize>(
    values: [[Lanes; FROM]; FROM],
    one: impl Fn([Lanes; FROM]) -> [Lanes; TO],
) -> [[Lanes; TO]; TO] {
    let rows: [[Lanes; TO]; FROM] = std::array::from_fn(|y| one(values[y]));
    let columns: [[Lanes; TO]; TO] = std::array::from_fn(|x| one(std::array::from_fn(|y| rows[y][x])));
    from_grid(|y, x| columns[x][y])
}

#[inline(always)]
fn from_grid<T, const SIDE: usize>(value: impl Fn(usize, usize) -> T) -> [[T; SIDE]; SIDE] {
    std::array::from_fn(|y| std::array::from_fn(|x| value(y, x)))
}

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

#[inline(always)]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] - b[lane])
}

#[inline(always)]
fn half(a: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] * 0.5)
}
