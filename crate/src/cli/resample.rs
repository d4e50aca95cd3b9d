//! Pictures in other sizes: cut to the shape from their middle, then filtered.

use std::f32::consts::PI;

/// A filter and how far it reaches, in pixels of the smaller of the two sizes.
#[derive(Clone, Copy)]
pub(super) struct Filter {
    reach: f32,
    weight: fn(f32) -> f32,
}

/// Sharp; its result may overshoot at edges.
pub(super) const LANCZOS3: Filter = Filter { reach: 3.0, weight: |x| sinc(x) * sinc(x / 3.0) };
/// Soft, and between the least and the most of what it is given.
pub(super) const TRIANGLE: Filter = Filter { reach: 1.0, weight: |x| 1.0 - x.abs() };

fn sinc(x: f32) -> f32 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Of `values` `[height, width, channels]`, as much of the middle as has the shape of `to`, in that size. Sizes are
/// `(width, height)` and not 0.
pub(super) fn fill(
    values: &[u8],
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    if from == to {
        return values.to_vec();
    }
    let scale = (from.0 as f32 / to.0 as f32).min(from.1 as f32 / to.1 as f32);
    let columns = taps(from.0, to.0, scale, filter);
    let rows = taps(from.1, to.1, scale, filter);
    let mut narrow = vec![0.0; from.1 * to.0 * channels];
    let lines = values.chunks_exact(from.0 * channels).zip(narrow.chunks_exact_mut(to.0 * channels));
    for (line, narrow) in lines {
        for ((start, weights), sum) in columns.iter().zip(narrow.chunks_exact_mut(channels)) {
            for (pixel, weight) in line[start * channels..].chunks_exact(channels).zip(weights) {
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * f32::from(*value));
            }
        }
    }
    let mut filled = Vec::with_capacity(to.0 * to.1 * channels);
    for (start, weights) in rows {
        let mut sum = vec![0.0; to.0 * channels];
        let lines = narrow.chunks_exact(to.0 * channels).skip(start);
        for (line, weight) in lines.zip(weights) {
            sum.iter_mut().zip(line).for_each(|(sum, value)| *sum += weight * value);
        }
        filled.extend(sum.iter().map(|value| value.round().clamp(0.0, 255.0) as u8));
    }
    filled
}

/// For each of `to` values the first of `from` that it is made of, and their weights; `scale` of these become one.
fn taps(from: usize, to: usize, scale: f32, filter: Filter) -> Vec<(usize, Vec<f32>)> {
    let cut = (from as f32 - to as f32 * scale) / 2.0;
    // Larger pictures are interpolated, smaller ones averaged.
    let stretch = scale.max(1.0);
    let tap = |i: usize| {
        let centre = cut + (i as f32 + 0.5) * scale;
        let start = (centre - filter.reach * stretch).floor().max(0.0) as usize;
        let end = ((centre + filter.reach * stretch).ceil() as usize).clamp(start + 1, from.max(start + 1));
        let at = |j: usize| (j as f32 + 0.5 - centre) / stretch;
        let weight = |j: usize| if at(j).abs() < filter.reach { (filter.weight)(at(j)) } else { 0.0 };
        let weights: Vec<f32> = (start..end).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        (start, weights.iter().map(|weight| weight / sum).collect())
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_stays_flat_and_the_middle_stays_the_middle() {
        for filter in [LANCZOS3, TRIANGLE] {
            for (from, to) in [((7, 5), (14, 10)), ((40, 9), (6, 6)), ((3, 100), (8, 8)), ((1, 1), (4, 2))] {
                assert_eq!(fill(&vec![77; from.0 * from.1], 1, from, to, filter), vec![77; to.0 * to.1]);
            }
            // A third each of black, grey and white: the cut leaves the grey.
            let row: Vec<u8> = (0..30).map(|x| [0, 128, 255][x / 10]).collect();
            let middle = fill(&row.repeat(10), 1, (30, 10), (4, 4), filter);
            assert!(middle.chunks(4).all(|row| row[1..3].iter().all(|value| (100..156).contains(value))));
        }
    }

    #[test]
    fn halves_are_means_of_pairs_by_the_triangle() {
        let values: Vec<u8> = (0..16).map(|i| i * 10).collect();
        let found = fill(&values.repeat(16), 1, (16, 16), (8, 8), TRIANGLE);
        // Slopes stay what they are, but at the ends.
        let inner: Vec<u8> = (1..7).map(|i| i * 20 + 5).collect();
        assert_eq!(found[1..7], inner);
    }
}
