//! Numbers of a file to f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::safetensors::Dtype;

/// Numbers converted at once: small enough for the stack, large enough for `half`'s vector paths.
const BLOCK: usize = 1024;

/// Whether weights may be stored in this format.
#[must_use]
pub fn readable(dtype: &Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
}

/// Appends the little-endian numbers `bytes`; appends nothing for a format that is not [`readable`].
pub fn append_f32(dtype: &Dtype, bytes: &[u8], numbers: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => numbers.extend(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes)),
        Dtype::F16 => append_half(bytes, f16::from_le_bytes, numbers),
        Dtype::Bf16 => append_half(bytes, bf16::from_le_bytes, numbers),
        _ => {}
    }
}

fn append_half<H: Copy + Default>(bytes: &[u8], from_le_bytes: fn([u8; 2]) -> H, numbers: &mut Vec<f32>)
where
    [H]: HalfFloatSliceExt,
{
    let mut halves = [H::default(); BLOCK];
    let mut floats = [0.0; BLOCK];
    for block in bytes.as_chunks().0.chunks(BLOCK) {
        for (half, &bytes) in halves.iter_mut().zip(block) {
            *half = from_le_bytes(bytes);
        }
        if let (Some(halves), Some(floats)) = (halves.get(..block.len()), floats.get_mut(..block.len())) {
            halves.convert_to_f32_slice(floats);
            numbers.extend_from_slice(floats);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_converts_exactly() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let (mut halves, mut brains) = (Vec::new(), Vec::new());
        append_f32(&Dtype::F16, &bytes, &mut halves);
        append_f32(&Dtype::Bf16, &bytes, &mut brains);
        assert_eq!((halves.len(), brains.len()), (bits.len(), bits.len()));
        for (&bits, (half, brain)) in bits.iter().zip(halves.iter().zip(&brains)) {
            let exact = f16::from_bits(bits).to_f32_const();
            assert!(*half == exact || (half.is_nan() && exact.is_nan()), "{bits:#x}");
            let exact = f32::from_bits(u32::from(bits) << 16);
            assert!(*brain == exact || (brain.is_nan() && exact.is_nan()), "{bits:#x}");
        }
    }

    #[test]
    fn singles_keep_their_bits() {
        let mut numbers = vec![7.0];
        append_f32(&Dtype::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], &mut numbers);
        assert_eq!(numbers, [7.0, 1.0, -2.0]);
    }
}
