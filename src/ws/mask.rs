//! Masking of client frames (RFC 6455 section 5.3).
//!
//! Must not know frames. Invariant: a payload unmasked in pieces equals one unmasked at once.

/// Bytes handled at once; a multiple of the key's length, so that the key repeats in each.
const WIDE: usize = 16;

/// XORs `bytes` with `key` repeated. `offset` is how many bytes of the payload came before, which
/// decides the byte of the key to begin with. The same call masks.
#[inline]
pub fn unmask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotate(key, offset);
    let half = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let wide = (u128::from(half) << 64) | u128::from(half);
    let (chunks, rest) = bytes.as_chunks_mut::<WIDE>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    let (words, tail) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

fn rotate(mut key: [u8; 4], offset: usize) -> [u8; 4] {
    key.rotate_left(offset % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 5.3's definition, octet by octet.
    fn naive(bytes: &mut [u8], key: [u8; 4], offset: usize) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[(i + offset) % 4];
        }
    }

    #[test]
    fn equals_the_definition_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let source: Vec<u8> = (0..=255).cycle().take(140).collect();
        for len in 0..source.len() {
            for offset in 0..9 {
                let (mut wide, mut slow) = (source[..len].to_vec(), source[..len].to_vec());
                unmask(&mut wide, key, offset);
                naive(&mut slow, key, offset);
                assert_eq!(wide, slow, "length {len}, offset {offset}");
            }
        }
    }
}
