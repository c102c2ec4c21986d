//! From a routing key, or from a random number, to one of 10,000 points.
//!
//! The hash is `XXH64` (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>) and not the standard library's,
//! because a key must meet the same point after a restart, in another replica and in the next release. The model's name
//! is the salt: a key that is among the first percent of one model is not among the first percent of every model.
//!
//! Invariant: the point of a pair of name and key never changes; tests pin values computed by another implementation.

use twox_hash::XxHash64;

use super::FULL_WEIGHT;

/// Seed of the hash over the model's name, the bytes `tidegate` as one big-endian number. Part of the contract: another
/// seed sends every key elsewhere.
const SEED: u64 = u64::from_be_bytes(*b"tidegate");

/// The hash of a routing key of a model: `XXH64(key, seed: XXH64(model_name, seed: SEED))`.
#[must_use]
pub fn hash_of_key(model_name: &str, key: &[u8]) -> u64 {
    XxHash64::oneshot(XxHash64::oneshot(SEED, model_name.as_bytes()), key)
}

/// The point, 0 to 9,999, of a routing key of a model: its [hash](hash_of_key), scaled down.
#[must_use]
pub fn point_of_key(model_name: &str, key: &[u8]) -> u16 {
    point_of_draw(hash_of_key(model_name, key))
}

/// The point, 0 to 9,999, of a uniform random number.
///
/// The upper half of a 64 by 64 bit product, as in Lemire, "Fast Random Integer Generation in an Interval" (2019),
/// <https://arxiv.org/abs/1805.10941>, without the rejection step: of the 2^64 numbers some points get one more than
/// others, a bias of one in 10^15.
#[must_use]
pub fn point_of_draw(random: u64) -> u16 {
    ((u128::from(random) * u128::from(FULL_WEIGHT)) >> 64) as u16
}
