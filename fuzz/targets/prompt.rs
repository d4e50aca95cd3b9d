//! [`readers::prompt`] under libFuzzer.
#![no_main]

use easel_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| readers::prompt(text));
