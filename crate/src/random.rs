//! PyTorch's CPU random numbers, so that a seed draws the same noise here as in diffusers.

use std::f64::consts::PI;

const STATE_WORDS: usize = 624;
const MIDDLE_WORD: usize = 397;
/// Torch fills tensors of at least this many elements in blocks of this many.
const BLOCK: usize = 16;

/// The 32-bit Mersenne Twister of Matsumoto and Nishimura (1998).
struct Mt19937 {
    state: [u32; STATE_WORDS],
    next: usize,
}

impl Mt19937 {
    fn new(seed: u32) -> Self {
        let mut state = [0; STATE_WORDS];
        let mut word = seed;
        for (i, slot) in (0_u32..).zip(&mut state) {
            if i > 0 {
                word = 1_812_433_253_u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(i);
            }
            *slot = word;
        }
        Self { state, next: STATE_WORDS }
    }

    fn twist(&mut self) {
        for i in 0..STATE_WORDS {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % STATE_WORDS] & 0x7fff_ffff);
            let twisted = (joined >> 1) ^ if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + MIDDLE_WORD) % STATE_WORDS] ^ twisted;
        }
        self.next = 0;
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == STATE_WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }
}

/// Equal to `torch.Generator("cpu")` as far as `torch.randn` in float32 goes.
///
/// The stream goes on from draw to draw: diffusers draws the ancestral noise of a run from the generator that made the
/// run's first latents, and so must we.
pub struct TorchGenerator {
    engine: Mt19937,
    /// Second half of a Box-Muller pair that a scalar draw left over; torch keeps it across calls.
    spare: Option<f64>,
}

impl TorchGenerator {
    /// Starts the stream of `seed`. As in torch, only its low 32 bits matter.
    #[must_use]
    pub fn manual_seed(seed: u64) -> Self {
        Self { engine: Mt19937::new((seed & 0xffff_ffff) as u32), spare: None }
    }

    /// The next `n` standard normal numbers, as `torch.randn(n, generator=self)` gives them.
    ///
    /// The numbers depend on `n`, not only on the position in the stream: draw a tensor at once. They agree with torch
    /// to about 1e-6: torch's vectorised logarithm and cosine differ in the last bits from one CPU to another.
    /// Algorithms: `normal_fill` in `ATen/native/cpu/DistributionTemplates.h` for `n >= 16`,
    /// `normal_distribution<double>` in `ATen/core/DistributionsHelper.h` below.
    #[must_use]
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < BLOCK {
            return (0..n).map(|_| self.scalar_normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| self.uniform_f32()).collect();
        let whole = n - n % BLOCK;
        for block in values[..whole].chunks_exact_mut(BLOCK) {
            box_muller(block);
        }
        if whole != n {
            let last = &mut values[n - BLOCK..];
            last.fill_with(|| self.uniform_f32());
            box_muller(last);
        }
        values
    }

    fn uniform_f32(&mut self) -> f32 {
        (self.engine.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 / 9_007_199_254_740_992.0
    }

    fn scalar_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let angle = 2.0 * PI * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Turns 16 uniform numbers into 16 normal ones: the first half holds the radii, the second the angles.
fn box_muller(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * f64::from(1.0 - *first).ln()).sqrt();
        // Torch rounds the angle to f32 before it takes the cosine; that is the largest of all rounding errors here.
        let angle = f64::from(2.0 * std::f32::consts::PI * *second);
        *first = (radius * angle.cos()) as f32;
        *second = (radius * angle.sin()) as f32;
    }
}
