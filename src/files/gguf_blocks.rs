//! The element kinds of GGUF, and how each block of quantised weights becomes floats.
//!
//! The arithmetic and its order are those of ggml's reference code: first the product, then the sum, in fp32.

use half::{bf16, f16};
use rayon::prelude::*;

/// How the elements of a tensor are stored; `Other` is a kind that ltune does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4K,
    Q5K,
    Q6K,
    Other(u32),
}

pub const KNOWN: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K";

/// Names of the kinds that are recognised only to be refused by name.
const REFUSED: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];

impl Kind {
    /// The kind of a ggml type number.
    pub fn from_number(number: u32) -> Kind {
        match number {
            0 => Kind::F32,
            1 => Kind::F16,
            2 => Kind::Q4_0,
            3 => Kind::Q4_1,
            6 => Kind::Q5_0,
            7 => Kind::Q5_1,
            8 => Kind::Q8_0,
            12 => Kind::Q4K,
            13 => Kind::Q5K,
            14 => Kind::Q6K,
            30 => Kind::BF16,
            other => Kind::Other(other),
        }
    }

    pub fn name(self) -> String {
        let name = match self {
            Kind::F32 => "F32",
            Kind::F16 => "F16",
            Kind::BF16 => "BF16",
            Kind::Q8_0 => "Q8_0",
            Kind::Q4_0 => "Q4_0",
            Kind::Q4_1 => "Q4_1",
            Kind::Q5_0 => "Q5_0",
            Kind::Q5_1 => "Q5_1",
            Kind::Q4K => "Q4_K",
            Kind::Q5K => "Q5_K",
            Kind::Q6K => "Q6_K",
            Kind::Other(number) => match REFUSED.iter().find(|(known, _)| *known == number) {
                Some((_, name)) => name,
                None => return format!("of the unknown kind {number}"),
            },
        };
        name.to_string()
    }

    /// Elements and bytes of one block; `None` for a kind that is not read.
    pub fn block(self) -> Option<(usize, usize)> {
        Some(match self {
            Kind::F32 => (1, 4),
            Kind::F16 | Kind::BF16 => (1, 2),
            Kind::Q8_0 => (32, 34),
            Kind::Q4_0 => (32, 18),
            Kind::Q4_1 => (32, 20),
            Kind::Q5_0 => (32, 22),
            Kind::Q5_1 => (32, 24),
            Kind::Q4K => (256, 144),
            Kind::Q5K => (256, 176),
            Kind::Q6K => (256, 210),
            Kind::Other(_) => return None,
        })
    }
}

/// Writes the floats of whole blocks, on all cores. `bytes` must be whole blocks of a kind that is read.
pub fn dequantize(kind: Kind, bytes: &[u8], floats: &mut [f32]) {
    let (elements, size) = kind.block().expect("callers refuse kinds that are not read");
    assert_eq!(floats.len() * size, bytes.len() * elements, "callers pass whole blocks and room for them");
    // Pieces of 4 Ki elements: large enough to be worth a task, small enough to share out.
    let together = 4096 / elements;
    floats.par_chunks_mut(together * elements).zip(bytes.par_chunks(together * size)).for_each(
        |(floats, bytes)| {
            let pairs = bytes.chunks_exact(size).zip(floats.chunks_exact_mut(elements));
            match kind {
                Kind::F32 => pairs.for_each(|(b, y)| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                Kind::F16 => pairs.for_each(|(b, y)| y[0] = half_at(b, 0)),
                Kind::BF16 => pairs.for_each(|(b, y)| y[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32()),
                Kind::Q8_0 => pairs.for_each(|(b, y)| q8_0(b, y)),
                Kind::Q4_0 => pairs.for_each(|(b, y)| q4_0(b, y)),
                Kind::Q4_1 => pairs.for_each(|(b, y)| q4_1(b, y)),
                Kind::Q5_0 => pairs.for_each(|(b, y)| q5_0(b, y)),
                Kind::Q5_1 => pairs.for_each(|(b, y)| q5_1(b, y)),
                Kind::Q4K => pairs.for_each(|(b, y)| q4_k(b, y)),
                Kind::Q5K => pairs.for_each(|(b, y)| q5_k(b, y)),
                Kind::Q6K => pairs.for_each(|(b, y)| q6_k(b, y)),
                Kind::Other(_) => unreachable!("refused above"),
            }
        },
    );
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// scale, 32 signed bytes
fn q8_0(block: &[u8], y: &mut [f32]) {
    let scale = half_at(block, 0);
    for (y, q) in y.iter_mut().zip(&block[2..34]) {
        *y = scale * f32::from(*q as i8);
    }
}

/// scale, 16 bytes of two nibbles: the low ones are the first half
fn q4_0(block: &[u8], y: &mut [f32]) {
    let scale = half_at(block, 0);
    for (index, q) in block[2..18].iter().enumerate() {
        y[index] = scale * (f32::from(q & 15) - 8.0);
        y[index + 16] = scale * (f32::from(q >> 4) - 8.0);
    }
}

/// scale, minimum, 16 bytes of two nibbles
fn q4_1(block: &[u8], y: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (index, q) in block[4..20].iter().enumerate() {
        y[index] = scale * f32::from(q & 15) + minimum;
        y[index + 16] = scale * f32::from(q >> 4) + minimum;
    }
}

/// The 32 five-bit numbers of a block: nibbles, and one high bit each.
fn five_bits(high: &[u8], nibbles: &[u8], index: usize) -> f32 {
    let low = if index < 16 { nibbles[index] & 15 } else { nibbles[index - 16] >> 4 };
    f32::from(low | (high[index / 8] >> (index % 8) & 1) << 4)
}

/// scale, 4 bytes of high bits, 16 bytes of two nibbles
fn q5_0(block: &[u8], y: &mut [f32]) {
    let scale = half_at(block, 0);
    for (index, y) in y.iter_mut().enumerate() {
        *y = scale * (five_bits(&block[2..6], &block[6..22], index) - 16.0);
    }
}

/// scale, minimum, 4 bytes of high bits, 16 bytes of two nibbles
fn q5_1(block: &[u8], y: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (index, y) in y.iter_mut().enumerate() {
        *y = scale * five_bits(&block[4..8], &block[8..24], index) + minimum;
    }
}

/// The six-bit scale and minimum of one of the eight groups of a K block, packed in 12 bytes.
fn scale_and_minimum(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, minimum) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        (
            packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
            packed[group + 4] >> 4 | packed[group] >> 6 << 4,
        )
    };
    (f32::from(scale), f32::from(minimum))
}

/// scale, scale of minima, 12 bytes of six-bit pairs, 128 bytes: each 32 hold a group low and the next one high
fn q4_k(block: &[u8], y: &mut [f32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (own_scale, own_least) = scale_and_minimum(&block[4..16], group);
        let (step, minimum) = (scale * own_scale, least * own_least);
        let packed = &block[16 + group / 2 * 32..][..32];
        for (y, q) in y.iter_mut().zip(packed) {
            *y = step * f32::from(q >> (group % 2 * 4) & 15) - minimum;
        }
    }
}

/// as Q4_K, with 32 bytes before the nibbles whose bit `group` is the fifth bit
fn q5_k(block: &[u8], y: &mut [f32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    let high = &block[16..48];
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (own_scale, own_least) = scale_and_minimum(&block[4..16], group);
        let (step, minimum) = (scale * own_scale, least * own_least);
        let packed = &block[48 + group / 2 * 32..][..32];
        for (index, y) in y.iter_mut().enumerate() {
            let q = packed[index] >> (group % 2 * 4) & 15 | (high[index] >> group & 1) << 4;
            *y = step * f32::from(q) - minimum;
        }
    }
}

/// 128 bytes of nibbles, 64 of two high bits, 16 signed scales of 16 elements each, scale
fn q6_k(block: &[u8], y: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half_at(block, 208);
    for (index, y) in y.iter_mut().enumerate() {
        let (half, quarter, place) = (index / 128, index / 32 % 4, index % 32);
        let nibble = low[half * 64 + quarter % 2 * 32 + place] >> (quarter / 2 * 4) & 15;
        let bits = high[half * 32 + place] >> (quarter * 2) & 3;
        let q = f32::from(nibble | bits << 4) - 32.0;
        *y = scale * f32::from(scales[index / 16] as i8) * q;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::hash::sha256;

    /// Kind, places of fp16 scales in a block, blocks, first float, hash of all floats: what the Python package
    /// `gguf` 0.19.0 (and numpy for F16 and BF16) makes of the same pseudo-random bytes.
    const TRUTH: &[(Kind, &[usize], usize, f32, &str)] = &[
        (Kind::F16, &[0], 40, 1.6933594, "95d5428d2a10d2900d4142251858f5325b2d7267ddc1cba8750737420b821e28"),
        (
            Kind::BF16,
            &[0],
            40,
            0.38671875,
            "c1bbb695694a85176c41b49f451d02338da73238fcf8e1a61d2f724ddb9f632a",
        ),
        (
            Kind::Q8_0,
            &[0],
            40,
            -215.05664,
            "c7a53f06014e7b7cb1119380f38f120355e978972ac02a4f250c0b3472826ad4",
        ),
        (
            Kind::Q4_0,
            &[0],
            40,
            -11.853516,
            "6e0a1a2aeaf099bbdee4a36a19c7924cc75ae2b207e5c2abe578939ff91cf695",
        ),
        (
            Kind::Q4_1,
            &[0, 2],
            40,
            18.685577,
            "1ae07203796c48fd98d87669752cfbde62540c864870e444ecbb7df4f9f24c2e",
        ),
        (Kind::Q5_0, &[0], 40, 3.3867188, "52ccaad090c3117d9e3053a861d69059d7f7d798929ff80a301bc08b2fe84919"),
        (
            Kind::Q5_1,
            &[0, 2],
            40,
            33.92581,
            "e29222257ff37076e5ab71c9a3a7e351fba08c86c154cbac6185d9d591058d16",
        ),
        (
            Kind::Q4K,
            &[0, 2],
            20,
            17.454468,
            "16ed59f5b2502c19161979d3cee7add05ed286fa8eb591244f0ea29bb603dcd0",
        ),
        (
            Kind::Q5K,
            &[0, 2],
            20,
            483.1283,
            "9c715ccf28ab87f5e0024669da5af32931d9764080d24ccb6d0b7671579fe396",
        ),
        (
            Kind::Q6K,
            &[208],
            20,
            24.416016,
            "3d335912346b8b23855d88cac6f429a1b2a2219d16b2c425955fdc699d1d3db3",
        ),
    ];

    /// Blocks of pseudo-random bytes whose scales are finite.
    fn blocks(size: usize, scales: &[usize], count: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut bytes = Vec::new();
        for _ in 0..count {
            let start = bytes.len();
            for _ in 0..size {
                state = (state * 1103515245 + 12345) % (1 << 31);
                bytes.push((state >> 16) as u8);
            }
            scales.iter().for_each(|scale| bytes[start + scale + 1] &= 0xbf);
        }
        bytes
    }

    fn dequantized(kind: Kind, bytes: &[u8]) -> Vec<f32> {
        let (elements, size) = kind.block().unwrap();
        let mut floats = vec![0.0; bytes.len() / size * elements];
        dequantize(kind, bytes, &mut floats);
        floats
    }

    #[test]
    fn every_kind_becomes_the_floats_of_the_reference_bit_for_bit() {
        for (kind, scales, count, first, hash) in TRUTH {
            let (elements, size) = kind.block().unwrap();
            let floats = dequantized(*kind, &blocks(size, scales, *count));
            assert_eq!(floats.len(), count * elements);
            assert_eq!(floats[0], *first, "{kind:?}");
            let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
            assert_eq!(sha256(bytes), *hash, "{kind:?}");
        }
    }

    #[test]
    fn a_large_tensor_is_shared_out_without_seams() {
        let one = blocks(18, &[0], 1);
        let floats = dequantized(Kind::Q4_0, &one.repeat(1000));
        assert!(floats.chunks(32).all(|block| block == dequantized(Kind::Q4_0, &one)));
    }

    #[test]
    fn a_kind_is_known_by_number_and_name() {
        assert_eq!(Kind::from_number(14).name(), "Q6_K");
        assert_eq!(Kind::from_number(23).name(), "IQ4_XS");
        assert_eq!(Kind::from_number(99).name(), "of the unknown kind 99");
        assert!(Kind::from_number(23).block().is_none());
    }
}
