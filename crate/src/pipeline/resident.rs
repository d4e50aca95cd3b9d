//! The weights of a model's parts: all on the device where memory is plenty, one part's after the other's where it is
//! short.

use std::cell::RefCell;
use std::rc::Rc;

use super::Pipeline;
use crate::error::{Error, Result};
use crate::model::unet::UNet2DConditionModel;
use crate::model::vae::{VaeDecoder, VaeEncoder};

/// A part's weights, while they are on the device.
pub(super) struct Resident<T>(RefCell<Option<Rc<T>>>);

impl<T> Resident<T> {
    /// None yet.
    pub(super) fn absent() -> Self {
        Self(RefCell::new(None))
    }

    pub(super) fn get(&self) -> Option<Rc<T>> {
        self.0.borrow().clone()
    }

    /// Forgets the weights. Their memory is free when whoever computes with them has ended.
    pub(super) fn drop_weights(&self) {
        self.0.replace(None);
    }

    /// The weights, `read` if they are not there.
    pub(super) async fn or_read(&self, read: impl Future<Output = Result<T>>) -> Result<Rc<T>> {
        if let Some(weights) = self.get() {
            return Ok(weights);
        }
        // Boxed: futures this large fill a thread's stack.
        let weights = Rc::new(Box::pin(read).await?);
        self.0.replace(Some(Rc::clone(&weights)));
        Ok(weights)
    }
}

/// What a stage of a run computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Text,
    Unet,
    Decoding,
    Encoding,
}

impl Pipeline {
    /// Computes a stage. Where memory runs out, all weights are given back, and it is computed once more: from then on,
    /// parts follow each other on this device ([`crate::hardware::Hardware::set_low_memory`]).
    pub(super) async fn in_memory<T>(&self, mut stage: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        match stage().await {
            Err(Error::OutOfMemory { .. }) if !self.hardware.low_memory() => {
                self.hardware.set_low_memory(true);
                // Also those of this stage, which may not have arrived.
                self.keep_only(None);
                // What failed leaves further errors behind.
                self.hardware.forget_faults();
                stage().await
            }
            result => result,
        }
    }

    /// Gives back what the stage to come does not need, where memory is short.
    fn begin(&self, stage: Stage) {
        if self.hardware.low_memory() {
            self.keep_only(Some(stage));
        }
    }

    fn keep_only(&self, stage: Option<Stage>) {
        let others = |own| stage != Some(own);
        if others(Stage::Text) {
            self.text_encoders.drop_weights();
        }
        if others(Stage::Unet) {
            self.unet.drop_weights();
        }
        if others(Stage::Decoding) {
            self.vae.drop_weights();
        }
        if others(Stage::Encoding) {
            self.vae_encoder.drop_weights();
        }
        self.hardware.free_unused();
    }

    /// Makes sure that the text encoders' weights are there.
    pub(super) async fn read_text_encoders(&self) -> Result<()> {
        self.begin(Stage::Text);
        self.text_encoders.read(&self.files(), |_| ()).await
    }

    pub(super) async fn unet(&self) -> Result<Rc<UNet2DConditionModel>> {
        self.begin(Stage::Unet);
        let config = self.description.unet.clone();
        let (source, device) = (self.source.as_ref(), self.hardware.device());
        self.unet.or_read(UNet2DConditionModel::load(source, self.prefer, config, device)).await
    }

    /// Latents to pictures.
    pub(super) async fn vae(&self) -> Result<Rc<VaeDecoder>> {
        self.begin(Stage::Decoding);
        let config = self.description.vae.clone();
        let (source, device) = (self.source.as_ref(), self.hardware.device());
        self.vae.or_read(VaeDecoder::load(source, self.prefer, config, device)).await
    }

    /// Pictures to latents; read from the files when the first picture comes.
    pub(super) async fn vae_encoder(&self) -> Result<Rc<VaeEncoder>> {
        self.begin(Stage::Encoding);
        let config = self.description.vae.clone();
        let (source, device) = (self.source.as_ref(), self.hardware.device());
        self.vae_encoder.or_read(VaeEncoder::load(source, self.prefer, config, device)).await
    }
}
