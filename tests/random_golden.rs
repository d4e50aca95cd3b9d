//! Seeds against numbers that torch drew (`tests/goldens/randn_tables.py`).

use std::error::Error;

use easel::random::TorchGenerator;
use serde::Deserialize;

const TABLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/randn.json");
/// Torch's vectorised float32 logarithm and cosine are good to a few units in the last place, of numbers up to 6.
const TOLERANCE: f32 = 2e-6;

#[derive(Deserialize)]
struct Stream {
    seed: u64,
    draws: Vec<Draw>,
}

#[derive(Deserialize)]
struct Draw {
    n: usize,
    at: Vec<usize>,
    values: Vec<f32>,
}

#[test]
fn streams_equal_torch() -> Result<(), Box<dyn Error>> {
    let streams: Vec<Stream> = serde_json::from_str(&std::fs::read_to_string(TABLES)?)?;
    assert!(!streams.is_empty());
    for Stream { seed, draws } in streams {
        let mut generator = TorchGenerator::manual_seed(seed);
        for (turn, draw) in draws.iter().enumerate() {
            let found = generator.randn(draw.n);
            assert_eq!(found.len(), draw.n);
            for (&i, &expected) in draw.at.iter().zip(&draw.values) {
                let off = (found[i] - expected).abs();
                assert!(
                    off <= TOLERANCE,
                    "seed {seed}, draw {turn} of {}, element {i} is off by {off:e}",
                    draw.n
                );
            }
        }
    }
    Ok(())
}

#[test]
fn nothing_drawn_changes_nothing() {
    let mut generator = TorchGenerator::manual_seed(1);
    assert!(generator.randn(0).is_empty());
    assert_eq!(generator.randn(20), TorchGenerator::manual_seed(1).randn(20));
}
