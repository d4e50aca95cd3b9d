//! Easel: text-to-image models of the Stable-Diffusion family, natively and in the browser, from the same source.

pub mod config;
pub mod error;
pub mod kernel;
pub mod model;
pub mod random;
pub mod sampler;
pub mod weights;
