//! Which keys are too weak to be used, whatever form they came in.

use crate::token::algorithm::Algorithm;
use crate::token::crypto::MAX_RSA_BITS;

/// A text of fewer different characters was typed by somebody. Even sixteen random bytes in hexadecimal have more.
const MIN_DISTINCT_CHARACTERS: usize = 8;

pub(super) fn check_secret(secret: &[u8], algorithm: Algorithm) -> Result<(), &'static str> {
    if secret.len() < algorithm.min_secret_bytes() {
        return Err(match algorithm {
            Algorithm::Hs384 => "an HS384 key needs at least 48 random bytes (RFC 7518, section 3.2)",
            Algorithm::Hs512 => "an HS512 key needs at least 64 random bytes (RFC 7518, section 3.2)",
            _ => "an HS256 key needs at least 32 random bytes (RFC 7518, section 3.2)",
        });
    }
    let is_text = secret.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    let distinct = (0..=b'~').filter(|character| secret.contains(character)).count();
    if is_text && distinct < MIN_DISTINCT_CHARACTERS {
        return Err("the HMAC key is a text that repeats a few characters: use random bytes, not a password");
    }
    Ok(())
}

pub(super) fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), &'static str> {
    let bits =
        |number: &[u8]| number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize);
    if !(2048..=MAX_RSA_BITS).contains(&bits(n)) {
        return Err(if MAX_RSA_BITS == 4096 {
            "an RSA key must have 2048 bits (RFC 7518, section 3.3) to 4096, the most that `rust-crypto` takes"
        } else {
            "an RSA key must have 2048 to 8192 bits (RFC 7518, section 3.3)"
        });
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err("the RSA modulus is even");
    }
    // 3 is the least exponent there is; beyond 33 bits a verification would take long.
    if !(2..=33).contains(&bits(e)) || e.last().is_none_or(|last| last % 2 == 0) {
        return Err("the RSA exponent must be odd, at least 3, and of at most 33 bits");
    }
    if is_roca(n) {
        return Err(
            "the RSA key was made by a chip with the fault ROCA (CVE-2017-15361), so that it can be factored",
        );
    }
    Ok(())
}

/// Whether a modulus has the form of those that Infineon's library made: modulo each of the first primes it is a power
/// of 65537. From 1984 bits on these are the primes up to 701. Another modulus has it once in 2^167.
fn is_roca(n: &[u8]) -> bool {
    let is_prime = |number: &u32| {
        (2..*number)
            .take_while(|divisor| divisor * divisor <= *number)
            .all(|divisor| !number.is_multiple_of(divisor))
    };
    (3..=701).filter(is_prime).all(|prime| {
        let residue = n.iter().fold(0, |residue, byte| (residue * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        loop {
            if power == residue {
                return true;
            }
            power = power * (65537 % prime) % prime;
            if power <= 1 {
                return false;
            }
        }
    })
}

/// Whether the bytes encode one of the eight points whose order divides the cofactor, in any spelling: the sign bit
/// and coordinates at or above the prime p = 2^255 - 19 included.
pub(super) fn is_small_order(public: &[u8; 32]) -> bool {
    /// The y-coordinate of two of the four points of order 8, little-endian; the other two have p - y.
    const ORDER_8: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const ORDER_8_NEGATED: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    let mut y = *public;
    y[31] &= 0x7f;
    let near_prime = y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    let near_zero = y[1..].iter().all(|byte| *byte == 0);
    // y = 0 (order 4), 1 (order 1), p - 1 (order 2), and p, p + 1 as second spellings of 0 and 1.
    (near_zero && y[0] <= 1)
        || (near_prime && matches!(y[0], 0xec..=0xee))
        || y == ORDER_8
        || y == ORDER_8_NEGATED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_43_an_hmac_key_is_as_long_as_its_hash() {
        for (algorithm, least) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
            let secret: Vec<u8> = (0..=255).collect();
            for bytes in [0, 1, least / 2, least - 1] {
                let why = check_secret(&secret[..bytes], algorithm).unwrap_err();
                assert!(why.contains(algorithm.as_str()) && why.contains(&least.to_string()), "{why}");
            }
            for bytes in [least, least + 1, 256] {
                assert_eq!(check_secret(&secret[..bytes], algorithm), Ok(()), "{bytes} bytes");
            }
        }
    }

    #[test]
    fn row_43_a_text_of_few_characters_is_no_key() {
        for (row, secret, good) in [
            ("one character", "a".repeat(64), false),
            ("one character and a line end", format!("{}\n", "a".repeat(63)), false),
            ("seven characters", "abcdefg".repeat(8), false),
            ("seven characters in lines", "abcdef\n".repeat(8), false),
            ("eight characters", "abcdefgh".repeat(8), true),
            ("hexadecimal digits", "0123456789abcdef".repeat(4), true),
            // Not a text: whether bytes are random cannot be seen.
            ("zero bytes", "\0".repeat(64), true),
        ] {
            assert_eq!(check_secret(secret.as_bytes(), Algorithm::Hs256).is_ok(), good, "{row}");
        }
    }

    /// An odd number of this many bits.
    fn odd(bits: usize) -> Vec<u8> {
        let mut number = vec![0xff; bits.div_ceil(8)];
        number[0] >>= (8 - bits % 8) % 8;
        number
    }

    #[test]
    fn row_44_bounds_of_an_rsa_key() {
        const E: &[u8] = &[1, 0, 1];
        let even = |bits| {
            let mut number = odd(bits);
            *number.last_mut().unwrap() &= 0xfe;
            number
        };
        for (row, n, e, why) in [
            ("2048 bits", odd(2048), E, None),
            ("the most bits", odd(MAX_RSA_BITS), E, None),
            ("e = 3", odd(2048), &[3], None),
            ("e of 33 bits", odd(2048), &[1, 0xff, 0xff, 0xff, 0xff], None),
            ("n missing", vec![], E, Some("bits")),
            ("512 bits", odd(512), E, Some("bits")),
            ("1024 bits", odd(1024), E, Some("bits")),
            ("2047 bits", odd(2047), E, Some("bits")),
            ("a bit too many", odd(MAX_RSA_BITS + 1), E, Some("bits")),
            ("16384 bits", odd(16384), E, Some("bits")),
            ("n even", even(2048), E, Some("even")),
            ("e missing", odd(2048), &[], Some("exponent")),
            ("e = 1", odd(2048), &[1], Some("exponent")),
            ("e = 2", odd(2048), &[2], Some("exponent")),
            ("e even", odd(2048), &[1, 0, 0], Some("exponent")),
            ("e of 34 bits", odd(2048), &[2, 0, 0, 0, 1], Some("exponent")),
            ("e as long as n", odd(2048), &[0xff; 256], Some("exponent")),
        ] {
            match (check_rsa(&n, e), why) {
                (Ok(()), None) => {}
                (Err(told), Some(word)) => assert!(told.contains(word), "{row}: {told}"),
                (other, _) => panic!("{row}: {other:?}"),
            }
        }
    }

    #[test]
    fn j7_a_modulus_of_the_fault_roca() {
        // Of two primes k * M + 65537^a mod M, where M is the product of the primes up to 701.
        const N: &str = "64W6meHBEEtznd2SjrIeW0koyL6SOi2uI9Nnc5Eq1e_G2JikhXvp2g8oO0Vs6CApqueQ0VuV05dGxv5nOtH1aui3F3Z-yXxG6GJAn-KdyBDnjkEmV-aBQrWc-_Dyjm0F5iXpY70UtJQfS-kcSUGwPshpW3nSTYciON2fpScANW6HnHhntI5Sjy25-i3baZJ18_uiVOMr2slLlAMWsIXmflRP2fWSH9hUCCOq1km7tS3fCZpjJ3vV5jwFkTNTtIrDS7Y0PAl-QqEbyoCXGbmMh9sOVJyYoAQiLEYIMhVzaZqAvk2YHSK3c6NoALaklP9kankYxBVVVZY8QFO7APKKtQ";
        let n = crate::secret::from_base64url(N).unwrap();
        assert!(check_rsa(&n, &[1, 0, 1]).unwrap_err().contains("ROCA"));
        let mut other = n;
        other[255] ^= 2;
        assert_eq!(check_rsa(&other, &[1, 0, 1]), Ok(()), "a bit changed");
    }

    fn point(hex: &str) -> [u8; 32] {
        let bytes: Vec<u8> =
            (0..64).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }

    /// `first` and 30 times `middle`, then `last`.
    fn spread(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    }

    #[test]
    fn j9_points_of_small_order_in_all_spellings() {
        for (row, y) in [
            ("order 4, y = 0", spread(0, 0, 0)),
            ("order 1, y = 1", spread(1, 0, 0)),
            ("order 2, y = p - 1", spread(0xec, 0xff, 0x7f)),
            ("order 4, y = 0 as p", spread(0xed, 0xff, 0x7f)),
            ("order 1, y = 1 as p + 1", spread(0xee, 0xff, 0x7f)),
            ("order 8", point("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")),
            ("order 8, -y", point("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")),
        ] {
            assert!(is_small_order(&y), "{row}");
            let mut with_sign = y;
            with_sign[31] |= 0x80;
            assert!(is_small_order(&with_sign), "{row}, with the sign bit");
            // A neighbour is no such point: not all keys are refused.
            let mut other = y;
            other[15] ^= 1;
            assert!(!is_small_order(&other), "{row}, a bit changed");
        }
        for (row, y) in [
            ("y = 2", spread(2, 0, 0)),
            ("y = p - 2", spread(0xeb, 0xff, 0x7f)),
            ("y = 2 as p + 2", spread(0xef, 0xff, 0x7f)),
            ("the base point", spread(0x58, 0x66, 0x66)),
            // RFC 8032, section 7.1, test 1.
            ("a key", point("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")),
        ] {
            assert!(!is_small_order(&y), "{row}");
        }
    }
}
