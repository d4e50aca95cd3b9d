//! `UniPC` over the clean sample (arXiv:2302.04867, algorithms 5 and 6; diffusers `scheduling_unipc_multistep.py`).
//!
//! Every call first corrects the sample it was made with by the model's new output, then predicts the next. Both are
//! linear, so the correction is substituted into the prediction and never stored apart.

use super::combination::{Combination, Prediction};
use super::config::SolverType;
use super::plan::{ModelCall, Sampler, Slot};
use super::schedule::NoiseSchedule;
use super::settings::Settings;
use super::{sigmas, timesteps};

pub(super) fn plan(settings: &Settings, steps: usize, start: usize) -> Sampler {
    let (timesteps, levels) = levels(settings, steps);
    let count = timesteps.len();
    let order_at = |i: usize| {
        let limit = if settings.lower_order_final { count - i } else { usize::MAX };
        settings.solver_order.min(limit).min(i - start + 1)
    };
    let last_sample = Slot::History(settings.solver_order);
    let call = |(i, timestep): (usize, f64)| {
        let alpha = sigmas::alpha(levels[i]);
        let x0 = Prediction::new(settings.prediction_type, alpha, levels[i] * alpha).x0;
        let solver = Solver { settings, levels: &levels };
        let correct = i > start && !settings.disable_corrector.contains(&(i - 1));
        let sample = if correct {
            solver.correct(i, order_at(i - 1), last_sample, &x0)
        } else {
            Combination::of(Slot::Sample, 1.0)
        };
        let predicted = solver.predict(i, order_at(i), &sample, &x0);
        let mut updates = vec![predicted.into(Slot::Sample)];
        if i + 1 < count {
            updates.push(sample.into(last_sample));
            updates.push(x0.into(solver.output_slot(i)));
        }
        ModelCall { timestep, sigma: levels[i], input_scale: 1.0, updates }
    };
    let calls = timesteps.into_iter().enumerate().skip(start).map(call).collect();
    Sampler { init_noise_sigma: 1.0, history_slots: settings.solver_order + 1, calls }
}

fn levels(settings: &Settings, steps: usize) -> (Vec<f64>, Vec<f64>) {
    let table = NoiseSchedule::with_finite_sigmas(settings).sigmas();
    let train = settings.num_train_timesteps;
    let ends = |sigma: Option<&f32>| sigma.copied().map_or(0.0, f64::from);
    let (min, max) = (ends(table.first()), ends(table.last()));
    let (timesteps, mut levels, lowest): (Vec<f64>, Vec<f64>, f64) = if settings.use_karras_sigmas {
        let levels = sigmas::karras(settings, min, max, steps);
        let whole = |sigma: &f64| sigmas::to_timestep(&table, *sigma).round_ties_even();
        (levels.iter().map(whole).collect(), levels.clone(), levels.last().copied().unwrap_or(min))
    } else {
        let (spacing, offset) = (settings.timestep_spacing, settings.steps_offset);
        let timesteps = timesteps::spaced_to_end(spacing, train, train, steps, offset);
        let levels = timesteps.iter().map(|&timestep| sigmas::interpolate(&table, timestep)).collect();
        (timesteps, levels, min)
    };
    levels.push(sigmas::last(settings, lowest));
    (timesteps, sigmas::rounded(levels))
}

struct Solver<'a> {
    settings: &'a Settings,
    levels: &'a [f64],
}

/// Quantities of a step from `levels[from]` to `levels[from + 1]`; the paper's names.
struct Interval {
    /// Factor of the sample at the start.
    sample: f64,
    /// `alpha * (exp(-h) - 1)`, of the clean sample at the start.
    phi: f64,
    /// `alpha * B(h)`, of the differences between clean samples.
    bh: f64,
    /// `h`, negated.
    hh: f64,
    /// `B(h)`.
    b: f64,
}

impl Solver<'_> {
    fn output_slot(&self, i: usize) -> Slot {
        Slot::History(i % self.settings.solver_order)
    }

    fn interval(&self, from: usize) -> Interval {
        let (sigma, next) = (self.levels[from], self.levels[from + 1]);
        let (alpha, ratio) = (sigmas::alpha(next), next / sigma);
        let hh = (next / sigma).ln();
        let b = if self.settings.solver_type == Some(SolverType::Bh1) { hh } else { ratio - 1.0 };
        let sample = ratio * alpha / sigmas::alpha(sigma);
        Interval { sample, phi: alpha * (ratio - 1.0), bh: alpha * b, hh, b }
    }

    /// UniP of the given order at step `i`: `sample` moved from `levels[i]` to `levels[i + 1]`.
    fn predict(&self, i: usize, order: usize, sample: &Combination, x0: &Combination) -> Combination {
        let interval = self.interval(i);
        let start = sample.clone().scaled(interval.sample).plus_scaled(x0, -interval.phi);
        let nodes = self.nodes(i, order, &interval);
        let weights = match order {
            1 => Vec::new(),
            2 => vec![0.5],
            _ => solve(&nodes, &rhs(&interval, nodes.len())),
        };
        let mut sum = start;
        for (age, (node, weight)) in (1..).zip(nodes.into_iter().zip(weights)) {
            let factor = -interval.bh * weight / node;
            sum = sum.plus(self.output_slot(i - age), factor).plus_scaled(x0, -factor);
        }
        sum
    }

    /// `UniC` of the given order: the sample at `levels[i]`, made again from the one before with `x0` known.
    fn correct(&self, i: usize, order: usize, last_sample: Slot, x0: &Combination) -> Combination {
        let from = i - 1;
        let interval = self.interval(from);
        let start_output = self.output_slot(from);
        let mut nodes = self.nodes(from, order, &interval);
        nodes.push(1.0);
        let weights = if order == 1 { vec![0.5] } else { solve(&nodes, &rhs(&interval, order)) };
        let mut sum = Combination::of(last_sample, interval.sample).plus(start_output, -interval.phi);
        for (age, (node, weight)) in (1..=order).zip(nodes.into_iter().zip(weights)) {
            let factor = -interval.bh * weight / node;
            sum = sum.plus(start_output, -factor);
            sum = if age == order {
                sum.plus_scaled(x0, factor)
            } else {
                sum.plus(self.output_slot(from - age), factor)
            };
        }
        sum
    }

    /// Where the outputs before step `from` lie, in steps of `h`.
    fn nodes(&self, from: usize, order: usize, interval: &Interval) -> Vec<f64> {
        (1..order).map(|age| (self.levels[from] / self.levels[from - age]).ln() / -interval.hh).collect()
    }
}

/// The right-hand sides `phi_(k+1)(h) * k! * h / B(h)` for `k` from 1.
fn rhs(interval: &Interval, count: usize) -> Vec<f64> {
    let mut phi = interval.hh.exp_m1() / interval.hh - 1.0;
    let mut factorial = 1.0;
    (1..=count)
        .map(|k| {
            let value = phi * factorial / interval.b;
            factorial *= (k + 1) as f64;
            phi = phi / interval.hh - 1.0 / factorial;
            value
        })
        .collect()
}

/// Solves `sum_j nodes[j]^k x[j] = rhs[k]`, a Vandermonde system, by the Lagrange polynomials of the nodes.
fn solve(nodes: &[f64], rhs: &[f64]) -> Vec<f64> {
    let weight = |j: usize| {
        let others = nodes.iter().enumerate().filter(|(i, _)| *i != j).map(|(_, node)| node);
        // Coefficients of prod (x - node_i) / (node_j - node_i), lowest power first.
        let polynomial = others.fold(vec![1.0], |polynomial: Vec<f64>, node| {
            let scale = nodes[j] - node;
            let mut product = vec![0.0; polynomial.len() + 1];
            for (power, coefficient) in polynomial.iter().enumerate() {
                product[power] -= coefficient * node / scale;
                product[power + 1] += coefficient / scale;
            }
            product
        });
        polynomial.iter().zip(rhs).map(|(coefficient, value)| coefficient * value).sum()
    };
    (0..nodes.len()).map(weight).collect()
}
