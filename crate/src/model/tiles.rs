//! Decoding and encoding in overlapping tiles.

use burn::tensor::{Tensor, TensorData};

use super::layers::Image;

/// Smallest side of a tile in latents; less would show more seam than picture.
pub(super) const MIN_SIDE: usize = 8;

/// The part of a tile's side that it shares with its neighbour.
const OVERLAP: f64 = 0.25;

/// How an image is cut into tiles and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    /// Longest side of a tile, in latents.
    pub(super) side: usize,
    /// Pixels per latent of the image that is cut, along a side.
    pub(super) from: usize,
    /// Pixels per latent of the result.
    pub(super) to: usize,
}

/// Computes `image` in tiles and blends the results linearly over their overlap: `[1, pixels, c]` of `to / from` times
/// the height and width, which are multiples of `from`.
pub(super) fn in_tiles(image: Image, tiling: Tiling, compute: impl Fn(Image) -> Image) -> Tensor<3> {
    let Tiling { side, from, to } = tiling;
    let Image { pixels, height, width } = image;
    let channels = pixels.dims()[2];
    let device = pixels.device();
    let grid = pixels.reshape([height, width, channels]);
    let (height, width) = (height / from, width / from);
    let [full_height, full_width] = [height * to, width * to];
    let mut sum: Option<Tensor<3>> = None;
    let mut weight = Tensor::<3>::zeros([full_height, full_width, 1], &device);
    for (top, tile_height) in spans(height, side) {
        for (left, tile_width) in spans(width, side) {
            let [rows, columns] = [top..top + tile_height, left..left + tile_width]
                .map(|span| span.start * from..span.end * from);
            let (rows_long, columns_long) = (rows.len(), columns.len());
            let tile = grid.clone().slice([rows, columns, 0..channels]);
            let pixels = tile.reshape([1, rows_long * columns_long, channels]);
            let computed = compute(Image { pixels, height: rows_long, width: columns_long }).pixels;
            let depth = computed.dims()[2];
            let (rows, columns) = (tile_height * to, tile_width * to);
            let mask = mask(rows, columns, side * to);
            let mask = Tensor::<3>::from_data(TensorData::new(mask, [rows, columns, 1]), &device);
            let weighted = computed.reshape([rows, columns, depth]) * mask.clone();
            let (top, left) = (top * to, left * to);
            let place = |depth| [top..top + rows, left..left + columns, 0..depth];
            let so_far = sum.unwrap_or_else(|| Tensor::zeros([full_height, full_width, depth], &device));
            sum = Some(so_far.clone().slice_assign(place(depth), so_far.slice(place(depth)) + weighted));
            weight = weight.clone().slice_assign(place(1), weight.slice(place(1)) + mask);
        }
    }
    let sum = sum.unwrap_or_else(|| Tensor::zeros([full_height, full_width, 1], &device));
    let depth = sum.dims()[2];
    (sum / weight).reshape([1, full_height * full_width, depth])
}

/// Starts and lengths of tiles of at most `side` that cover `length` and overlap.
fn spans(length: usize, side: usize) -> Vec<(usize, usize)> {
    if length <= side {
        return vec![(0, length)];
    }
    let step = side - (side as f64 * OVERLAP) as usize;
    let count = (length - side).div_ceil(step);
    (0..=count).map(|i| (i * (length - side) / count, side)).collect()
}

/// Weights `[rows, columns]` that rise from the edges over the width of the overlap.
fn mask(rows: usize, columns: usize, side: usize) -> Vec<f32> {
    let ramp = (side as f64 * OVERLAP).max(1.0) as f32;
    let rise = |at: usize, length: usize| ((at.min(length - 1 - at) as f32 + 0.5) / ramp).min(1.0);
    (0..rows).flat_map(|y| (0..columns).map(move |x| rise(y, rows) * rise(x, columns))).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn spans_cover_and_overlap() {
        for (length, side) in [(8, 8), (9, 8), (64, 45), (100, 8), (33, 16)] {
            let spans = spans(length, side);
            assert_eq!(spans[0].0, 0);
            assert_eq!(spans.last().map(|(start, size)| start + size), Some(length));
            for pair in spans.windows(2) {
                assert!(pair[1].0 > pair[0].0 && pair[1].0 < pair[0].0 + pair[0].1, "{length} {side}");
            }
        }
    }

    /// What has no context gives the same in tiles: `from` pixels a side become `to`, each of one colour.
    fn without_context(from: usize, to: usize) {
        let device = Device::flex();
        let value = |y: usize, x: usize, c: usize| ((y * 13 + x * 5 + c) % 17) as f32;
        let image = |scale: usize| {
            let (height, width) = (20 * scale, 13 * scale);
            let pixel = |y: usize, x: usize| (0..3).map(move |c| value(y / scale, x / scale, c));
            let values: Vec<f32> =
                (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(y, x))).collect();
            let pixels = Tensor::<3>::from_data(TensorData::new(values, [1, height * width, 3]), &device);
            Image { pixels, height, width }
        };
        let computed = in_tiles(image(from), Tiling { side: 8, from, to }, |tile| {
            let (height, width) = (tile.height / from * to, tile.width / from * to);
            let grid = tile.pixels.reshape([tile.height, tile.width, 3]);
            let at = |length: usize| {
                let indices: Vec<i32> = (0..length).map(|i| (i / to * from) as i32).collect();
                Tensor::from_data(TensorData::new(indices, [length]), &device)
            };
            let pixels = grid.select(0, at(height)).select(1, at(width)).reshape([1, height * width, 3]);
            Image { pixels, height, width }
        });
        let computed = computed.into_data().try_into_vec::<f32>().expect("f32");
        let expected = image(to).pixels.into_data().try_into_vec::<f32>().expect("f32");
        assert_eq!(computed.len(), expected.len());
        for (computed, expected) in computed.iter().zip(&expected) {
            assert!((computed - expected).abs() < 1e-5, "{computed} {expected}");
        }
    }

    #[test]
    fn tiles_make_the_whole() {
        without_context(1, 1);
        without_context(1, 4);
        without_context(4, 1);
    }
}
