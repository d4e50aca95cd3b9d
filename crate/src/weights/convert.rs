//! Numbers of a file to f32.

use super::safetensors::Dtype;

/// Whether a tensor of this name and format is a weight that cannot be read. Other tensors hold what no model reads, such as
/// the numbers of positions.
#[must_use]
pub fn is_unreadable_weight(name: &str, dtype: &Dtype) -> bool {
    (name.ends_with(".weight") || name.ends_with(".bias")) && !readable(dtype)
}

/// Whether weights may be stored in this format.
#[must_use]
pub fn readable(dtype: &Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
}

/// Appends the little-endian numbers `bytes`; appends nothing for a format that is not [`readable`].
pub fn append_f32(dtype: &Dtype, bytes: &[u8], numbers: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => numbers.extend(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes)),
        Dtype::F16 => {
            numbers.extend(bytes.as_chunks().0.iter().map(|&bytes| half(u16::from_le_bytes(bytes))));
        }
        Dtype::Bf16 => numbers.extend(bytes.as_chunks().0.iter().map(|&[low, high]| brain(low, high))),
        _ => {}
    }
}

/// A number in any format that a single one comes in: scripts write alphas as whole numbers too. `None` for others.
#[must_use]
pub fn scalar(dtype: &Dtype, bytes: &[u8]) -> Option<f32> {
    match dtype {
        Dtype::F64 => bytes.first_chunk().map(|bytes| f64::from_le_bytes(*bytes) as f32),
        Dtype::I64 => bytes.first_chunk().map(|bytes| i64::from_le_bytes(*bytes) as f32),
        Dtype::I32 => bytes.first_chunk().map(|bytes| i32::from_le_bytes(*bytes) as f32),
        _ => {
            let mut numbers = Vec::new();
            append_f32(dtype, bytes, &mut numbers);
            numbers.first().copied()
        }
    }
}

/// A number of f16, in operations that vector units have: WebAssembly has no conversion.
#[inline(always)]
fn half(bits: u16) -> f32 {
    let bits = u32::from(bits);
    // The exponent is too small by the difference of the biases; as a product, subnormal numbers come out right too.
    let finite = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 127 - 15) << 23);
    let endless = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(finite.to_bits() | endless | (bits & 0x8000) << 16)
}

#[inline(always)]
fn brain(low: u8, high: u8) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes([low, high])) << 16)
}

#[cfg(test)]
mod tests {
    use half::f16;

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
    fn single_numbers_come_in_more_formats() {
        let four = |dtype: &Dtype, bytes: &[u8]| assert_eq!(scalar(dtype, bytes), Some(4.0), "{dtype:?}");
        four(&Dtype::F64, &4.0_f64.to_le_bytes());
        four(&Dtype::F32, &4.0_f32.to_le_bytes());
        four(&Dtype::F16, &f16::from_f32(4.0).to_le_bytes());
        four(&Dtype::I64, &4_i64.to_le_bytes());
        four(&Dtype::I32, &4_i32.to_le_bytes());
        assert_eq!(scalar(&Dtype::Other("F8_E4M3".into()), &[1]), None);
        assert_eq!(scalar(&Dtype::F64, &[0; 4]), None);
    }

    #[test]
    fn singles_keep_their_bits() {
        let mut numbers = vec![7.0];
        append_f32(&Dtype::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], &mut numbers);
        assert_eq!(numbers, [7.0, 1.0, -2.0]);
    }
}
