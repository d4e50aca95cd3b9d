//! Decoding in overlapping tiles.

use burn::tensor::{Tensor, TensorData};

use super::layers::Image;

/// Smallest side of a tile in latents; less would show more seam than picture.
pub(super) const MIN_SIDE: usize = 8;

/// The part of a tile's side that it shares with its neighbour.
const OVERLAP: f64 = 0.25;

/// Decodes `latents` in tiles of at most `side` latents and blends them linearly over their overlap into a picture
/// `[1, pixels, 3]` of `factor` times the size.
pub(super) fn decode(
    latents: Image,
    side: usize,
    factor: usize,
    decoder: impl Fn(Image) -> Image,
) -> Tensor<3> {
    let Image { pixels, height, width } = latents;
    let channels = pixels.dims()[2];
    let device = pixels.device();
    let grid = pixels.reshape([height, width, channels]);
    let (full_height, full_width) = (height * factor, width * factor);
    let mut sum = Tensor::<3>::zeros([full_height, full_width, 3], &device);
    let mut weight = Tensor::<3>::zeros([full_height, full_width, 1], &device);
    for (top, tile_height) in spans(height, side) {
        for (left, tile_width) in spans(width, side) {
            let tile = grid.clone().slice([top..top + tile_height, left..left + tile_width, 0..channels]);
            let pixels = tile.reshape([1, tile_height * tile_width, channels]);
            let decoded = decoder(Image { pixels, height: tile_height, width: tile_width });
            let (rows, columns) = (tile_height * factor, tile_width * factor);
            let mask = mask(rows, columns, side * factor);
            let mask = Tensor::<3>::from_data(TensorData::new(mask, [rows, columns, 1]), &device);
            let picture = decoded.pixels.reshape([rows, columns, 3]) * mask.clone();
            let (top, left) = (top * factor, left * factor);
            let place = |depth| [top..top + rows, left..left + columns, 0..depth];
            sum = sum.clone().slice_assign(place(3), sum.slice(place(3)) + picture);
            weight = weight.clone().slice_assign(place(1), weight.slice(place(1)) + mask);
        }
    }
    (sum / weight).reshape([1, full_height * full_width, 3])
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

    #[test]
    fn a_decoder_without_context_gives_the_same_in_tiles() {
        let device = Device::flex();
        let values: Vec<f32> = (0..20 * 13 * 3).map(|i| (i % 17) as f32).collect();
        let pixels = Tensor::<3>::from_data(TensorData::new(values.clone(), [1, 20 * 13, 3]), &device);
        let whole = Image { pixels, height: 20, width: 13 };
        let tiled = decode(whole, 8, 1, |tile| tile).into_data().try_into_vec::<f32>().expect("f32");
        for (tiled, whole) in tiled.iter().zip(&values) {
            assert!((tiled - whole).abs() < 1e-5, "{tiled} {whole}");
        }
    }
}
