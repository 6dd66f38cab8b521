//! Which rows are for training, validation and test.

use crate::data::dataset::PartName;
use crate::data::error::DataError;
use crate::data::order::{Purpose, permutation};

/// How many of `count` rows each share gets: rounded, at least one where a share is asked for, the rest to the first.
pub fn sizes(shares: &[f64], count: usize) -> Result<Vec<usize>, DataError> {
    let sound = |share: &f64| share.is_finite() && *share > 0.0;
    if shares.is_empty() || shares.len() > PartName::ALL.len() || !shares.iter().all(sound) {
        return Err(DataError::Split { shares: shares.to_vec() });
    }
    if count < shares.len() {
        return Err(DataError::TooFewRows { rows: count, parts: shares.len() });
    }
    let whole: f64 = shares.iter().sum();
    let mut sizes: Vec<usize> =
        shares.iter().map(|share| ((share / whole * count as f64).round() as usize).max(1)).collect();
    while sizes.iter().sum::<usize>() > count {
        // Many small shares may round up past the whole: the largest gives way.
        let largest = (0..sizes.len()).max_by_key(|part| sizes[*part]).unwrap_or(0);
        sizes[largest] -= 1;
    }
    sizes[0] += count - sizes.iter().sum::<usize>();
    Ok(sizes)
}

/// The part of each row: drawn with `seed`, or consecutive without one.
pub fn assign(shares: &[f64], count: usize, seed: Option<u64>) -> Result<Vec<PartName>, DataError> {
    let sizes = sizes(shares, count)?;
    let order = match seed {
        Some(seed) => permutation(Purpose::Split, seed, 0, count),
        None => (0..count).collect(),
    };
    let mut parts = vec![PartName::Train; count];
    let names = PartName::ALL.into_iter().zip(sizes).flat_map(|(name, size)| std::iter::repeat_n(name, size));
    for (row, name) in order.into_iter().zip(names) {
        parts[row] = name;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_rounded_and_none_is_left_out() {
        assert_eq!(sizes(&[0.9, 0.05, 0.05], 100).expect("sizes"), [90, 5, 5]);
        assert_eq!(sizes(&[95.0, 5.0], 10).expect("sizes"), [9, 1]);
        assert_eq!(sizes(&[0.9, 0.05, 0.05], 3).expect("sizes"), [1, 1, 1]);
        let error = sizes(&[0.9, 0.1], 1).expect_err("too few").to_string();
        assert_eq!(error, "1 row cannot be split into 2 parts; write `split = none`, or give more rows");
        assert!(sizes(&[0.5, -0.5], 10).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_row_has_one_part_and_the_seed_decides(count in 3_usize..300, seed: u64, share in 0.01_f64..0.98) {
            let shares = [share, 1.0 - share];
            let parts = assign(&shares, count, Some(seed)).expect("assigned");
            prop_assert_eq!(&parts, &assign(&shares, count, Some(seed)).expect("assigned"));
            let sizes = sizes(&shares, count).expect("sizes");
            prop_assert_eq!(sizes.iter().sum::<usize>(), count);
            prop_assert_eq!(parts.iter().filter(|part| **part == PartName::Validation).count(), sizes[1]);
        }
    }
}
