//! Which training timesteps a run visits, highest first.

use super::config::TimestepSpacing;

/// Timesteps of the samplers that end below timestep 0: DDIM, PNDM and both Eulers.
///
/// Under [`TimestepSpacing::Linspace`] they may be fractions.
pub(super) fn spaced(spacing: TimestepSpacing, train: usize, steps: usize, offset: usize) -> Vec<f64> {
    match spacing {
        TimestepSpacing::Linspace => {
            (0..steps).rev().map(|i| linspace((train - 1) as f64, steps, i)).collect()
        }
        TimestepSpacing::Leading => (0..steps).rev().map(|i| (i * (train / steps) + offset) as f64).collect(),
        TimestepSpacing::Trailing => trailing(train, train, steps),
    }
}

/// Timesteps of the solvers that count the end as one more point of the schedule: DPM-Solver++ and `UniPC`.
///
/// `last` is the number of training timesteps that are in use, `train` of all.
pub(super) fn spaced_to_end(
    spacing: TimestepSpacing,
    last: usize,
    train: usize,
    steps: usize,
    offset: usize,
) -> Vec<f64> {
    let points = steps + 1;
    match spacing {
        TimestepSpacing::Linspace => {
            let top = last.saturating_sub(1) as f64;
            (1..points).rev().map(|i| linspace(top, points, i).round_ties_even()).collect()
        }
        TimestepSpacing::Leading => {
            (1..points).rev().map(|i| (i * (last / points) + offset) as f64).collect()
        }
        TimestepSpacing::Trailing => trailing(last, train, steps),
    }
}

/// Element `i` of `numpy.linspace(0, stop, points)`.
fn linspace(stop: f64, points: usize, i: usize) -> f64 {
    if points > 1 && i == points - 1 {
        return stop;
    }
    i as f64 * (stop / (points.max(2) - 1) as f64)
}

/// `numpy.arange(last, 0, -train / steps)`, rounded, less 1.
///
/// Numpy may find one element more, just above 0, by rounding; that one is left out.
fn trailing(last: usize, train: usize, steps: usize) -> Vec<f64> {
    let (last, stride) = (last as f64, train as f64 / steps as f64);
    // Numpy multiplies the difference of the first two elements, not the stride itself.
    let stride_as_numpy = last - (last - stride);
    let count = (last / stride).ceil().clamp(1.0, steps as f64) as usize;
    (0..count).map(|i| (last - i as f64 * stride_as_numpy).round_ties_even() - 1.0).collect()
}
