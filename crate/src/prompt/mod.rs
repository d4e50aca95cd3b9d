//! Prompts as people write them for Stable Diffusion web UI (A1111): attention weights, `BREAK`, tags of
//! LoRAs, and texts longer than the text encoder takes at once.

mod attention;
mod chunks;
mod networks;

pub use attention::{ParsedPrompt, Segment, parse};
pub use chunks::{Chunk, chunks, token_count};
pub use networks::{LoraTag, MAX_STRENGTH};
