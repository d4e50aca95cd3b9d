//! The parts of a text-to-image model, each shaped by its config and named as diffusers and transformers name it.

pub(crate) mod adapters;
mod autoencoder_kl;
mod autoencoder_tiny;
pub mod clip;
pub mod embeddings;
mod layers;
mod resnet;
mod slabs;
mod time_embedding;
mod transformer;
pub mod unet;
mod unet_stage;
pub mod vae;

pub use adapters::LayerShape;
pub use time_embedding::AddedCond;
