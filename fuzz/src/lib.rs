//! What the fuzz targets call: every reader of files, each on one file of unknown contents. An input must end in an error
//! or in what it holds, never in a panic, and never take more memory than a factor of its size; see [`memory`].

// libFuzzer's counters, for every program of this package.
use libfuzzer_sys as _;

pub mod files;
pub mod memory;
pub mod readers;
