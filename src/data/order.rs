//! The order of rows: a pure function of (seed, epoch, index), the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for: streams for different purposes never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Epoch,
    Split,
    Rows,
    Tokens,
}

/// The generator of (seed, index) for one purpose.
pub fn generator(purpose: Purpose, seed: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&index.to_le_bytes());
    key[16..24].copy_from_slice(&(purpose as u64 + 1).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number below `bound`, each as likely as any other: numbers from the biased tail are drawn again.
pub fn below(generator: &mut ChaCha8Rng, bound: u64) -> u64 {
    let tail = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(generator.next_u64()) * u128::from(bound);
        if product as u64 >= tail {
            return (product >> 64) as u64;
        }
    }
}

/// Fisher–Yates, written here so that no library's next version changes an order.
pub fn shuffle<T>(items: &mut [T], generator: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let other = below(generator, last as u64 + 1) as usize;
        items.swap(last, other);
    }
}

/// The numbers from 0 to `count` - 1 in the order of (purpose, seed, index).
pub fn permutation(purpose: Purpose, seed: u64, index: u64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    shuffle(&mut order, &mut generator(purpose, seed, index));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_order_never_changes_between_versions() {
        assert_eq!(permutation(Purpose::Epoch, 42, 0, 8), [0, 4, 6, 3, 1, 2, 5, 7]);
    }

    #[test]
    fn epochs_seeds_and_purposes_have_their_own_orders() {
        let order = |purpose, seed, epoch| permutation(purpose, seed, epoch, 50);
        assert_ne!(order(Purpose::Epoch, 1, 0), order(Purpose::Epoch, 1, 1));
        assert_ne!(order(Purpose::Epoch, 1, 0), order(Purpose::Epoch, 2, 0));
        assert_ne!(order(Purpose::Epoch, 1, 0), order(Purpose::Split, 1, 0));
    }

    #[test]
    fn no_place_is_favoured() {
        let mut counts = [[0_u32; 4]; 4];
        for epoch in 0..8000 {
            for (place, item) in permutation(Purpose::Epoch, 7, epoch, 4).into_iter().enumerate() {
                counts[place][item] += 1;
            }
        }
        assert!(counts.iter().flatten().all(|count| (1800..2200).contains(count)), "{counts:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_item_comes_once_and_the_order_is_pure(seed: u64, epoch in 0_u64..9, count in 0_usize..200) {
            let order = permutation(Purpose::Epoch, seed, epoch, count);
            prop_assert_eq!(&order, &permutation(Purpose::Epoch, seed, epoch, count));
            let mut sorted = order;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..count).collect::<Vec<_>>());
        }
    }
}
