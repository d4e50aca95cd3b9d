//! From numbers to blocks and back.

use half::f16;

use super::{BLOCK, Layout, Quant};

/// Scales tried for a block of Q4, as parts of the one that lets the extreme have the largest integer. Clipping the
/// extremes pays where integers are few; with more of them, pictures did not gain by it.
const TRIES: [f32; 5] = [1.05, 0.98, 0.91, 0.84, 0.77];

/// Weights from which on threads are worth their start.
const WEIGHTS_A_THREAD: usize = 1 << 16;

/// A weight in blocks; see the [module](super) for the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Integers.
    pub words: Vec<u32>,
    /// Bits of f16 numbers.
    pub scales: Vec<u16>,
}

/// Packs `values`, `[n, channels, taps]` as files have them, by all cores. Each scale of Q4 is the one of a few with the
/// least squared error.
#[must_use]
pub fn pack(quant: Quant, layout: Layout, values: &[f32]) -> Packed {
    let column = layout.channels * layout.taps;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (values.len() / WEIGHTS_A_THREAD).clamp(1, cores);
    let columns = layout.n.div_ceil(threads).next_multiple_of(4);
    if threads == 1 || columns >= layout.n {
        return pack_columns(quant, layout, values);
    }
    let parts: Vec<Packed> = std::thread::scope(|scope| {
        let pack = |values| {
            let layout = Layout { n: <[f32]>::len(values) / column, ..layout };
            scope.spawn(move || pack_columns(quant, layout, values))
        };
        let threads: Vec<_> = values.chunks(columns * column).map(pack).collect();
        let results = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    side_by_side(quant, layout, &parts)
}

/// Joins weights that follow each other in columns, all but the last one in whole groups of four.
fn side_by_side(quant: Quant, layout: Layout, parts: &[Packed]) -> Packed {
    let mut packed = Packed {
        words: Vec::with_capacity(layout.words(quant)),
        scales: Vec::with_capacity(layout.scales()),
    };
    let (word_rows, scale_rows) = (layout.blocks() * quant.block_words(), layout.blocks());
    for row in 0..word_rows {
        for Packed { words, .. } in parts {
            let width = words.len() / word_rows;
            packed.words.extend_from_slice(&words[row * width..][..width]);
        }
    }
    for row in 0..scale_rows {
        for Packed { scales, .. } in parts {
            let width = scales.len() / scale_rows;
            packed.scales.extend_from_slice(&scales[row * width..][..width]);
        }
    }
    packed
}

fn pack_columns(quant: Quant, layout: Layout, values: &[f32]) -> Packed {
    let n4 = layout.n4();
    let mut packed = Packed { words: vec![0; layout.words(quant)], scales: vec![0; layout.scales()] };
    let mut block = [0.0; BLOCK];
    for (column, column_values) in values.chunks_exact((layout.channels * layout.taps).max(1)).enumerate() {
        for at in 0..layout.blocks() {
            gather(layout, column_values, at, &mut block);
            let (scale, integers) = quantize(quant, &block);
            packed.scales[at * n4 * 4 + column] = scale.to_bits();
            let words = &mut packed.words[at * quant.block_words() * n4 + column / 4..];
            store(quant, &integers, words, n4, column % 4);
        }
    }
    packed
}

/// The numbers that `packed` stands for, `[n, channels, taps]`. `packed` must have the lengths of `layout`.
#[must_use]
pub fn unpack(quant: Quant, layout: Layout, packed: &Packed) -> Vec<f32> {
    let n4 = layout.n4();
    let mut values = Vec::with_capacity(layout.n * layout.channels * layout.taps);
    for column in 0..layout.n {
        for channel in 0..layout.channels {
            for tap in 0..layout.taps {
                let at = tap * layout.tap_blocks() + channel / BLOCK;
                let words = &packed.words[at * quant.block_words() * n4 + column / 4..];
                let integer = load(quant, words, n4, column % 4, channel % BLOCK);
                let scale = f16::from_bits(packed.scales[at * n4 * 4 + column]);
                values.push(integer as f32 * scale.to_f32());
            }
        }
    }
    values
}

/// Block `at` of a column `[channels, taps]`.
fn gather(layout: Layout, column: &[f32], at: usize, block: &mut [f32; BLOCK]) {
    let (tap, first) = (at / layout.tap_blocks(), at % layout.tap_blocks() * BLOCK);
    let channels = column.chunks_exact(layout.taps).skip(first).map(|taps| taps[tap]);
    block.fill(0.0);
    block.iter_mut().zip(channels).for_each(|(to, from)| *to = from);
}

/// A scale and the integers that are nearest to a block with it.
#[derive(Clone, Copy)]
struct Attempt {
    error: f32,
    scale: f16,
    integers: [f32; BLOCK],
}

impl Attempt {
    fn new(quant: Quant, block: &[f32; BLOCK], scale: f32) -> Self {
        let (low, high) = range(quant);
        let scale = f16::from_f32(scale.clamp(-LARGEST, LARGEST));
        let step = scale.to_f32();
        let inverse = if step == 0.0 { 0.0 } else { 1.0 / step };
        // Adding and taking away this rounds to integers, in a form that the compiler makes vector code of.
        let integers =
            block.map(|value| ((value * inverse).clamp(low as f32, high as f32) + ROUNDING) - ROUNDING);
        let mut errors = [0.0; BLOCK];
        for ((error, value), integer) in errors.iter_mut().zip(block).zip(&integers) {
            *error = (value - integer * step).powi(2);
        }
        Self { error: sum(errors), scale, integers }
    }

    /// The scale with the least squared error for these integers.
    fn refined(&self, block: &[f32; BLOCK]) -> f32 {
        let (mut with_values, mut squares) = ([0.0; BLOCK], [0.0; BLOCK]);
        for (i, (value, integer)) in block.iter().zip(&self.integers).enumerate() {
            (with_values[i], squares[i]) = (value * integer, integer * integer);
        }
        let squares = sum(squares);
        if squares == 0.0 { 0.0 } else { sum(with_values) / squares }
    }
}

/// By halves, which vector units add at once.
fn sum(mut values: [f32; BLOCK]) -> f32 {
    let mut half = BLOCK / 2;
    while half > 0 {
        let (front, back) = values.split_at_mut(half);
        front.iter_mut().zip(back.iter()).for_each(|(to, from)| *to += from);
        half /= 2;
    }
    values[0]
}

/// Of f16.
const LARGEST: f32 = 65504.0;

/// 1.5 * 2^23: numbers of this size have no fraction.
const ROUNDING: f32 = 12_582_912.0;

/// The scale and integers that are nearest to `block` in squared error.
fn quantize(quant: Quant, block: &[f32; BLOCK]) -> (f16, [i32; BLOCK]) {
    let extreme =
        block.iter().fold(0.0_f32, |most, value| if value.abs() > most.abs() { *value } else { most });
    // The range has one more negative integer: the extreme is made negative, so that it is reached.
    let full = extreme / range(quant).0 as f32;
    let tries: &[f32] = if quant == Quant::Q4 { &TRIES } else { &[] };
    let mut best = Attempt::new(quant, block, full);
    for part in tries {
        let attempt = Attempt::new(quant, block, full * part);
        let refined = Attempt::new(quant, block, attempt.refined(block));
        for attempt in [attempt, refined] {
            if attempt.error < best.error {
                best = attempt;
            }
        }
    }
    (best.scale, best.integers.map(|integer| integer as i32))
}

fn range(quant: Quant) -> (i32, i32) {
    let half = 1 << (quant.bits() - 1);
    (-half, half - 1)
}

/// Writes a column of a block into words that lie `n4` apart.
fn store(quant: Quant, integers: &[i32; BLOCK], words: &mut [u32], n4: usize, lane: usize) {
    for (row, integer) in integers.iter().enumerate() {
        let biased = (integer - range(quant).0) as u32;
        match quant {
            Quant::Q8 => words[row * n4] |= (*integer as u32 & 0xff) << (8 * lane),
            Quant::Q4 => words[row / 2 * n4] |= biased << nibble(row, lane),
            Quant::Q6 => {
                words[row / 2 * n4] |= (biased & 0xf) << nibble(row, lane);
                words[(HIGH_ROW + row / 4) * n4] |= (biased >> 4) << pair(row, lane);
            }
        }
    }
}

fn load(quant: Quant, words: &[u32], n4: usize, lane: usize, row: usize) -> i32 {
    let low = range(quant).0;
    match quant {
        Quant::Q8 => i32::from((words[row * n4] >> (8 * lane)) as u8 as i8),
        Quant::Q4 => (words[row / 2 * n4] >> nibble(row, lane) & 0xf) as i32 + low,
        Quant::Q6 => {
            let lower = words[row / 2 * n4] >> nibble(row, lane) & 0xf;
            let upper = words[(HIGH_ROW + row / 4) * n4] >> pair(row, lane) & 0x3;
            (lower | upper << 4) as i32 + low
        }
    }
}

/// First word of a Q6 block with upper bits.
const HIGH_ROW: usize = 16;

fn nibble(row: usize, lane: usize) -> usize {
    16 * (row % 2) + 4 * lane
}

fn pair(row: usize, lane: usize) -> usize {
    8 * (row % 4) + 2 * lane
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * i % 97) as f32 / 48.0 - 1.0) * (1.0 + (i / 32 % 5) as f32)).collect()
    }

    #[test]
    fn an_unpacked_weight_is_within_half_a_step() {
        for quant in Quant::ALL {
            for (taps, channels, n) in [(1, 1, 1), (1, 33, 5), (9, 32, 4), (9, 40, 6), (4, 70, 3)] {
                let layout = Layout { taps, channels, n };
                let values = wave(n * channels * taps);
                let packed = pack(quant, layout, &values);
                assert_eq!((packed.words.len(), packed.scales.len()), (layout.words(quant), layout.scales()));
                let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                // A smaller scale clips the extremes, but only where the sum of squares gains by it; a whole step of
                // the least fine format bounds both errors.
                let step = largest / (1 << (quant.bits() - 1)) as f32 * 2.0;
                for (found, expected) in unpack(quant, layout, &packed).iter().zip(&values) {
                    assert!((found - expected).abs() <= step, "{quant:?} {layout:?}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let layout = Layout { taps: 1, channels: 200, n: 1001 };
        let values = wave(200 * 1001);
        for quant in Quant::ALL {
            assert_eq!(pack(quant, layout, &values), pack_columns(quant, layout, &values));
        }
    }

    #[test]
    fn extreme_numbers_pack() {
        let layout = Layout { taps: 1, channels: 32, n: 1 };
        for (value, tolerance) in [(0.0, 0.0), (1e-9, 1e-9), (1e-3, 1e-5), (60000.0, 600.0)] {
            let mut values = vec![value; 32];
            values[3] = -value;
            let found = unpack(Quant::Q8, layout, &pack(Quant::Q8, layout, &values));
            assert!(found.iter().zip(&values).all(|(a, b)| (a - b).abs() <= tolerance), "{value}: {found:?}");
        }
    }

    #[test]
    fn more_bits_are_nearer() {
        let layout = Layout { taps: 9, channels: 64, n: 8 };
        let values = wave(8 * 64 * 9);
        let error = |quant| -> f32 {
            let found = unpack(quant, layout, &pack(quant, layout, &values));
            found.iter().zip(&values).map(|(found, value)| (found - value).powi(2)).sum()
        };
        let [q4, q6, q8] = Quant::ALL.map(error);
        assert!(q8 * 8.0 < q6 && q6 * 8.0 < q4, "{q8} {q6} {q4}");
    }

    #[test]
    fn integers_lie_where_the_kernels_read_them() {
        // The extreme -8 (-32, -128) makes the scale 1.
        let layout = Layout { taps: 1, channels: 32, n: 2 };
        let mut values = vec![0.0; 64];
        (values[0], values[1], values[32], values[35]) = (-8.0, 3.0, -8.0, 1.0);
        let q4 = pack(Quant::Q4, layout, &values);
        assert_eq!(q4.words[0] & 0x00ff_00ff, 0x008b_0000);
        assert_eq!(q4.words[1] >> 20 & 0xf, 9);
        (values[0], values[32]) = (-128.0, -128.0);
        let q8 = pack(Quant::Q8, layout, &values);
        assert_eq!((q8.words[0], q8.words[1], q8.words[3]), (0x8080, 0x0003, 0x0100));
        (values[0], values[32]) = (-32.0, -32.0);
        let q6 = pack(Quant::Q6, layout, &values);
        assert_eq!((q6.words[0] >> 16 & 0xf, q6.words[16] >> 8 & 0x3), (3, 2));
        assert_eq!(q6.scales[..2], [f16::ONE.to_bits(); 2]);
    }
}
