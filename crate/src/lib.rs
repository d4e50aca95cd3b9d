//! Easel: text-to-image models of the Stable-Diffusion family, natively and in the browser, from the same source.

pub mod error;
pub mod kernel;
