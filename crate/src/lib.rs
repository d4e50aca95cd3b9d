//! Easel: text-to-image models of the Stable-Diffusion family, natively and in the browser, from the same source.
//!
//! Data flow one way. [`weights`] reads files of a source, [`model`] builds the networks that [`config`] describes out
//! of the [`kernel`]s, [`pipeline`] joins them with the [`prompt`], the [`tokenizer`] and the [`sampler`]s, and the
//! page or the command line pulls one step after the other from a [`pipeline::Run`].

pub mod config;
pub mod error;
pub mod hardware;
pub mod kernel;
pub mod model;
pub mod pipeline;
pub mod prompt;
pub mod quantization;
pub mod random;
pub mod sampler;
pub mod tokenizer;
#[cfg(target_family = "wasm")]
pub mod web;
pub mod weights;
