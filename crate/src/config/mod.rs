//! The `config.json` files of a model in diffusers layout, with the field names and defaults of diffusers and
//! transformers, and refusal of every switch that would change the picture and is not implemented.

mod check;
mod model_index;
mod one_or_many;
mod text_encoder;
mod transformer_layers;
mod unet;
mod unet_check;
mod vae;

use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::weights::source::{Source, read_json};

pub use model_index::ModelIndex;
pub use one_or_many::OneOrMany;
pub use text_encoder::{ClipTextConfig, HiddenAct};
pub use transformer_layers::TransformerLayers;
pub use unet::UNet2DConditionConfig;
pub use vae::{AutoencoderKLConfig, AutoencoderTinyConfig, VaeConfig};

/// A configuration that knows its own limits.
pub trait Config: DeserializeOwned {
    /// Checks that Easel runs this configuration and that its numbers are sane; `file` is for the error.
    ///
    /// # Errors
    /// [`Error::Config`](crate::error::Error::Config) with the field, or
    /// [`Error::UnsupportedClass`](crate::error::Error::UnsupportedClass).
    fn validate(&self, file: &str) -> Result<()>;
}

/// Reads and validates one configuration.
///
/// # Errors
/// Those of [`read_json`] and [`Config::validate`].
pub async fn load<C: Config>(source: &dyn Source, path: &str) -> Result<C> {
    let config: C = read_json(source, path).await?;
    config.validate(path)?;
    Ok(config)
}
