//! Number formats of weight files.

use safetensors::Dtype;

/// Little-endian numbers as f64; `None` for a format that is not a floating-point one we read.
pub(super) fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    Some(match dtype {
        Dtype::F64 => chunks(bytes, f64::from_le_bytes),
        Dtype::F32 => chunks(bytes, |bytes| f32::from_le_bytes(bytes).into()),
        Dtype::BF16 => {
            chunks(bytes, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16).into())
        }
        Dtype::F16 => chunks(bytes, |bytes| half(u16::from_le_bytes(bytes))),
        _ => return None,
    })
}

/// As [`decode`], and whole numbers too (beyond 2⁵³ to the nearest f64): to look at a file, not to load a model.
pub(super) fn decode_any(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    decode(dtype, bytes).or_else(|| {
        Some(match dtype {
            Dtype::I64 => chunks(bytes, |bytes| i64::from_le_bytes(bytes) as f64),
            Dtype::U64 => chunks(bytes, |bytes| u64::from_le_bytes(bytes) as f64),
            Dtype::I32 => chunks(bytes, |bytes| i32::from_le_bytes(bytes).into()),
            Dtype::U32 => chunks(bytes, |bytes| u32::from_le_bytes(bytes).into()),
            Dtype::I16 => chunks(bytes, |bytes| i16::from_le_bytes(bytes).into()),
            Dtype::U16 => chunks(bytes, |bytes| u16::from_le_bytes(bytes).into()),
            Dtype::I8 => chunks(bytes, |bytes| i8::from_le_bytes(bytes).into()),
            Dtype::U8 | Dtype::BOOL => chunks(bytes, |bytes| u8::from_le_bytes(bytes).into()),
            _ => return None,
        })
    })
}

fn chunks<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| number(chunk)).collect()
}

/// IEEE 754 binary16: 1 sign, 5 exponent (bias 15) and 10 fraction bits.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers() {
        let cases: [(u16, f64); 7] = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),        // largest
            (0x0400, 2f64.powi(-14)), // smallest normal
            (0x0001, 2f64.powi(-24)), // smallest subnormal
            (0x3555, 0.333251953125), // nearest to a third
            (0xfc00, f64::NEG_INFINITY),
        ];
        for (bits, expected) in cases {
            assert_eq!(half(bits), expected, "{bits:#06x}");
        }
        assert!(half(0x7e00).is_nan());
        assert!(half(0x8000).is_sign_negative());
    }

    #[test]
    fn every_format_reads_one_and_a_half() {
        assert_eq!(decode(Dtype::F64, &1.5f64.to_le_bytes()), Some(vec![1.5]));
        assert_eq!(decode(Dtype::F32, &1.5f32.to_le_bytes()), Some(vec![1.5]));
        assert_eq!(decode(Dtype::BF16, &[0xc0, 0x3f]), Some(vec![1.5]));
        assert_eq!(decode(Dtype::F16, &[0x00, 0x3e]), Some(vec![1.5]));
        assert_eq!(decode(Dtype::I64, &[0; 8]), None);
    }

    #[test]
    fn whole_numbers_are_read_to_be_shown() {
        assert_eq!(decode_any(Dtype::I64, &(-3i64).to_le_bytes()), Some(vec![-3.0]));
        assert_eq!(decode_any(Dtype::U8, &[7, 255]), Some(vec![7.0, 255.0]));
        assert_eq!(decode_any(Dtype::BOOL, &[0, 1]), Some(vec![0.0, 1.0]));
        assert_eq!(decode_any(Dtype::I16, &[0xff, 0xff]), Some(vec![-1.0]));
        assert_eq!(decode_any(Dtype::F32, &1.5f32.to_le_bytes()), Some(vec![1.5]));
    }
}
