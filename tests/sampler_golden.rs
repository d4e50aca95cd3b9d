//! Every sampler against tables made by diffusers (`tests/goldens/sampler_tables.py`).

use std::error::Error;

use easel::sampler::{ModelCall, Sampler, SamplerKind, SchedulerConfig, Slot, Span, build};
use serde_json::Value;

const TABLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/samplers.json");
/// Relative to the largest element of the sample, at least 1. The tables hold ten digits and both sides compute steps
/// in double precision from the same float32 schedule, but a run divides by small differences of sigmas.
const TOLERANCE: f64 = 1e-7;
/// The smallest float32 that exceeds 1 exceeds it by this much: diffusers keeps sigmas and input scales as float32.
const F32_TOLERANCE: f64 = 2e-7;

type TestResult = Result<(), Box<dyn Error>>;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn worst(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let scale = expected.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
    let difference = |(found, expected): (&f64, &f64)| (found - expected).abs() / scale;
    // `f64::max` would hide a NaN.
    let greater = |worst: f64, next: f64| if next <= worst { worst } else { next };
    found.iter().zip(expected).map(difference).fold(0.0, greater)
}

/// The formula that stands for the UNet in `sampler_tables.py`.
fn model(input_scale: f64, timestep: f64, sample: &[f64]) -> Vec<f64> {
    let output = |(j, value): (usize, &f64)| 0.5 * value * input_scale + (0.01 * timestep + j as f64).cos();
    sample.iter().enumerate().map(output).collect()
}

fn noise(draw: usize, width: usize) -> Vec<f64> {
    (0..width).map(|j| 1.2 * (1.7 * (width * draw + j) as f64 + 0.3).sin()).collect()
}

/// The slots of a run, as the engine holds them.
struct Slots {
    sample: Vec<f64>,
    output: Vec<f64>,
    noise: Vec<f64>,
    history: Vec<Vec<f64>>,
}

impl Slots {
    fn get(&self, slot: Slot) -> &[f64] {
        match slot {
            Slot::Sample => &self.sample,
            Slot::ModelOutput => &self.output,
            Slot::Noise => &self.noise,
            Slot::History(i) => &self.history[i],
        }
    }

    fn sum(&self, terms: &[(Slot, f64)]) -> Vec<f64> {
        let element = |j: usize| terms.iter().map(|&(slot, factor)| factor * self.get(slot)[j]).sum();
        (0..self.sample.len()).map(element).collect()
    }

    fn apply(&mut self, call: &ModelCall) -> TestResult {
        let results: Vec<_> =
            call.updates.iter().map(|update| (update.target, self.sum(&update.terms))).collect();
        for (target, value) in results {
            match target {
                Slot::Sample => self.sample = value,
                Slot::History(i) => *self.history.get_mut(i).ok_or("history slot out of range")? = value,
                Slot::ModelOutput | Slot::Noise => return Err("writes a slot that is only read".into()),
            }
        }
        Ok(())
    }
}

/// The sample after each call, with the model at the table's timesteps.
fn run(sampler: &Sampler, timesteps: &[f64], width: usize) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let start = (0..width).map(|j| (1.0 + 2.0 * j as f64).sin() * sampler.init_noise_sigma).collect();
    // A slot that is read before it was written shows as NaN.
    let unwritten = vec![f64::NAN; width];
    let history = vec![unwritten.clone(); sampler.history_slots];
    let mut slots = Slots { sample: start, output: unwritten.clone(), noise: unwritten.clone(), history };
    let mut draws = 0;
    let mut samples = Vec::new();
    for (call, timestep) in sampler.calls.iter().zip(timesteps) {
        slots.output = model(call.input_scale, *timestep, &slots.sample);
        slots.noise.clone_from(&unwritten);
        if call.needs_noise() {
            slots.noise = noise(draws, width);
            draws += 1;
        }
        slots.apply(call)?;
        samples.push(slots.sample.clone());
    }
    Ok(samples)
}

/// What is wrong with one case of the tables, if anything.
fn check(case: &Value) -> Result<Option<String>, Box<dyn Error>> {
    let config = SchedulerConfig::from_json(&case["config"].to_string())?;
    let kind = case["sampler"].as_str().map(str::parse::<SamplerKind>).transpose()?;
    let steps = usize::try_from(case["steps"].as_u64().ok_or("no steps")?)?;
    let sampler = build(kind, &config, steps, Span::All)?;

    let timesteps = numbers(&case["timesteps"]);
    let found: Vec<f64> = sampler.calls.iter().map(|call| call.timestep).collect();
    if worst(&found, &timesteps) > F32_TOLERANCE {
        return Ok(Some(format!("timesteps {found:?}")));
    }
    let init = case["init_noise_sigma"].as_f64().ok_or("no init_noise_sigma")?;
    if (sampler.init_noise_sigma / init - 1.0).abs() > F32_TOLERANCE {
        return Ok(Some(format!("init_noise_sigma {}", sampler.init_noise_sigma)));
    }
    let scales = numbers(&case["input_scales"]);
    let found: Vec<f64> = sampler.calls.iter().map(|call| call.input_scale).collect();
    let expected = if scales.is_empty() { vec![1.0; found.len()] } else { scales };
    if worst(&found, &expected) > F32_TOLERANCE {
        return Ok(Some(format!("input scales {found:?}")));
    }
    let expected: Vec<Vec<f64>> = case["samples"].as_array().into_iter().flatten().map(numbers).collect();
    let width = expected.first().ok_or("no samples")?.len();
    let samples = run(&sampler, &timesteps, width)?;
    let skipped = samples.len() - expected.len();
    for (i, (found, expected)) in samples.iter().skip(skipped).zip(&expected).enumerate() {
        let off = worst(found, expected);
        if off > TOLERANCE || off.is_nan() {
            return Ok(Some(format!("sample after call {} is off by {off:e}: {found:?}", i + skipped)));
        }
    }
    Ok(None)
}

#[test]
fn runs_equal_diffusers() -> TestResult {
    let tables: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(TABLES)?)?;
    assert!(tables.len() > 400, "only {} cases", tables.len());
    let mut failures = Vec::new();
    for case in &tables {
        let complaint = check(case).unwrap_or_else(|error| Some(error.to_string()));
        if let Some(complaint) = complaint {
            failures.push(format!("{} {} {}: {complaint}", case["sampler"], case["steps"], case["config"]));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), tables.len(), failures.join("\n"));
    Ok(())
}
