//! [`readers::checkpoint_transcoder`] under libFuzzer.
#![no_main]

use easel_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| readers::checkpoint_transcoder(input));
