//! The engine as JavaScript sees it: handles and plain data, errors as `Error` with `name` and `code`. The only module
//! that knows JavaScript; it runs in a worker.

mod canvas;
mod constructors;
mod engine;
mod error;
mod log_faults;
mod lora;
mod run;
mod source;
mod transcoder;
mod unet;

pub use engine::Engine;
pub use run::Run;
pub use transcoder::{FileHash, Transcoder};
pub use unet::UNet;
