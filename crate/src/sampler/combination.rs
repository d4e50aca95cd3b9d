//! Linear combinations of slots, built up term by term.

use super::config::PredictionType;
use super::plan::{Slot, Update};

/// A sum of slots with coefficients, each slot once.
#[derive(Clone)]
pub(super) struct Combination(Vec<(Slot, f64)>);

impl Combination {
    pub(super) fn of(slot: Slot, coefficient: f64) -> Self {
        Self(vec![(slot, coefficient)])
    }

    pub(super) fn plus(mut self, slot: Slot, coefficient: f64) -> Self {
        match self.0.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, sum)) => *sum += coefficient,
            None => self.0.push((slot, coefficient)),
        }
        self
    }

    pub(super) fn plus_scaled(self, other: &Self, factor: f64) -> Self {
        other.0.iter().fold(self, |sum, &(slot, coefficient)| sum.plus(slot, coefficient * factor))
    }

    pub(super) fn scaled(mut self, factor: f64) -> Self {
        for (_, coefficient) in &mut self.0 {
            *coefficient *= factor;
        }
        self
    }

    /// The update that stores this sum in `target`. Terms that vanish go, so that the slots they name need not exist.
    pub(super) fn into(self, target: Slot) -> Update {
        let terms = self.0.into_iter().filter(|&(_, coefficient)| coefficient != 0.0).collect();
        Update { target, terms }
    }
}

/// Clean sample and noise in terms of the sample and the model's output.
pub(super) struct Prediction {
    /// The clean sample.
    pub(super) x0: Combination,
    /// The noise.
    pub(super) epsilon: Combination,
}

impl Prediction {
    /// For a sample that is `alpha * x0 + sigma * epsilon`.
    pub(super) fn new(kind: PredictionType, alpha: f64, sigma: f64) -> Self {
        let pair = |sample, output| Combination::of(Slot::Sample, sample).plus(Slot::ModelOutput, output);
        match kind {
            PredictionType::Epsilon => {
                Self { x0: pair(1.0 / alpha, -sigma / alpha), epsilon: pair(0.0, 1.0) }
            }
            PredictionType::Sample => Self { x0: pair(0.0, 1.0), epsilon: pair(1.0 / sigma, -alpha / sigma) },
            PredictionType::VPrediction => Self { x0: pair(alpha, -sigma), epsilon: pair(sigma, alpha) },
        }
    }
}
