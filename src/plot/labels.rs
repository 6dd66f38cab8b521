//! Names beside the ends of lines, moved apart where they would cover each other.

/// The places nearest to those wanted that stay a distance apart and within `low ..= high`, in the same order
/// as the wanted ones were given.
pub fn spread(wanted: &[f64], distance: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|left, right| wanted[*left].total_cmp(&wanted[*right]));
    // With the distances taken out, "apart" becomes "not falling": neighbours that fall share their mean.
    let mut groups: Vec<(f64, usize)> = vec![];
    for (position, index) in order.iter().enumerate() {
        let mut group = (wanted[*index] - position as f64 * distance, 1);
        while let Some(last) = groups.pop_if(|last| last.0 > group.0) {
            let count = last.1 + group.1;
            group = ((last.0 * last.1 as f64 + group.0 * group.1 as f64) / count as f64, count);
        }
        groups.push(group);
    }
    let room = (high - wanted.len().saturating_sub(1) as f64 * distance).max(low);
    let flat = groups.iter().flat_map(|(place, count)| std::iter::repeat_n(place.clamp(low, room), *count));
    let mut places = vec![0.0; wanted.len()];
    for (position, (index, place)) in order.iter().zip(flat).enumerate() {
        places[*index] = place + position as f64 * distance;
    }
    places
}

/// How many names fit, one under another.
pub fn fitting(distance: f64, height: f64) -> usize {
    (height / distance).floor().max(0.0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_touch_stay_where_they_are() {
        assert_eq!(spread(&[90.0, 10.0, 50.0], 16.0, 0.0, 100.0), [90.0, 10.0, 50.0]);
    }

    #[test]
    fn names_that_touch_move_apart_around_their_middle() {
        assert_eq!(spread(&[50.0, 50.0], 16.0, 0.0, 100.0), [42.0, 58.0]);
        assert_eq!(spread(&[99.0, 100.0, 98.0], 16.0, 0.0, 100.0), [84.0, 100.0, 68.0]);
    }
}
