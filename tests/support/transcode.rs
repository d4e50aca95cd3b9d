//! Checkpoints as the page packs them.

use easel::quantization::Policy;
use easel::weights::pack::transcoder::Transcoder;

/// The packed form of a whole checkpoint, which comes in pieces of `piece` bytes.
pub(crate) fn packed(checkpoint: &[u8], piece: usize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let length = checkpoint.first_chunk().map_or(0, |length| u64::from_le_bytes(*length)) as usize;
    let header = checkpoint.get(..8 + length).ok_or("a header")?;
    let made = Transcoder::of_checkpoint("x.safetensors", header, checkpoint.len() as u64, &Policy::Mixed)?;
    let mut transcoder = made.ok_or("something to pack")?;
    let mut output = Vec::new();
    let start = transcoder.begin(0, None)?.source as usize;
    for mut rest in checkpoint.get(start..).unwrap_or_default().chunks(piece) {
        while !rest.is_empty() {
            while let Some(bytes) = transcoder.take()? {
                output.extend(bytes);
            }
            rest = rest.get(transcoder.push(rest)?..).unwrap_or_default();
        }
    }
    while let Some(bytes) = transcoder.take()? {
        output.extend(bytes);
    }
    assert_eq!(output.len() as u64, transcoder.output_size());
    Ok(output)
}
