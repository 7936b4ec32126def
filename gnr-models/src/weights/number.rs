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

/// The sum of floating-point or whole numbers, for people who compare files. Whole numbers beyond 2⁵³ are rounded to
/// f64. `None` for other formats.
pub(super) fn sum(dtype: Dtype, bytes: &[u8]) -> Option<f64> {
    // No list of f64 is made: for numbers of one byte it would take eight times the tensor.
    Some(match dtype {
        Dtype::F64 => add(bytes, f64::from_le_bytes),
        Dtype::F32 => add(bytes, |bytes| f32::from_le_bytes(bytes).into()),
        Dtype::BF16 => add(bytes, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16).into()),
        Dtype::F16 => add(bytes, |bytes| half(u16::from_le_bytes(bytes))),
        Dtype::I64 => add(bytes, |bytes| i64::from_le_bytes(bytes) as f64),
        Dtype::U64 => add(bytes, |bytes| u64::from_le_bytes(bytes) as f64),
        Dtype::I32 => add(bytes, |bytes| i32::from_le_bytes(bytes).into()),
        Dtype::U32 => add(bytes, |bytes| u32::from_le_bytes(bytes).into()),
        Dtype::I16 => add(bytes, |bytes| i16::from_le_bytes(bytes).into()),
        Dtype::U16 => add(bytes, |bytes| u16::from_le_bytes(bytes).into()),
        Dtype::I8 => add(bytes, |bytes| i8::from_le_bytes(bytes).into()),
        Dtype::U8 | Dtype::BOOL => add(bytes, |bytes| u8::from_le_bytes(bytes).into()),
        _ => return None,
    })
}

fn add<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> f64 {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| number(chunk)).sum()
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
    fn sums_of_every_format() {
        assert_eq!(sum(Dtype::I64, &[(-3i64).to_le_bytes(), 5i64.to_le_bytes()].concat()), Some(2.0));
        assert_eq!(sum(Dtype::U64, &u64::MAX.to_le_bytes()), Some(2f64.powi(64)));
        assert_eq!(sum(Dtype::U8, &[7, 255]), Some(262.0));
        assert_eq!(sum(Dtype::BOOL, &[0, 1]), Some(1.0));
        assert_eq!(sum(Dtype::I8, &[0xff]), Some(-1.0));
        assert_eq!(sum(Dtype::I16, &[0xff, 0xff]), Some(-1.0));
        assert_eq!(sum(Dtype::U16, &[0xff, 0xff]), Some(65535.0));
        assert_eq!(sum(Dtype::I32, &[0xff; 4]), Some(-1.0));
        assert_eq!(sum(Dtype::U32, &[0xff; 4]), Some(2f64.powi(32) - 1.0));
        assert_eq!(sum(Dtype::F64, &1.5f64.to_le_bytes()), Some(1.5));
        assert_eq!(sum(Dtype::F32, &1.5f32.to_le_bytes()), Some(1.5));
        assert_eq!(sum(Dtype::BF16, &[0xc0, 0x3f]), Some(1.5));
        assert_eq!(sum(Dtype::F16, &[0x00, 0x3e]), Some(1.5));
        assert_eq!(sum(Dtype::F8_E4M3, &[0x3c]), None);
    }
}
