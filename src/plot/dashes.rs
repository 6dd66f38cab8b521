//! Dashed lines, for a second series of the same colour.

use crate::plot::scene::Point;

/// The line cut into dashes of equal length, measured along it.
pub fn dashes(points: &[Point]) -> Vec<Vec<Point>> {
    const DASH: f64 = 7.0;
    const GAP: f64 = 4.0;
    let mut all = vec![];
    let mut current = vec![];
    let mut along = 0.0;
    for pair in points.windows(2) {
        let length = (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
        let mut done = 0.0;
        while done < length {
            let at = |share: f64| {
                (pair[0].0 + (pair[1].0 - pair[0].0) * share, pair[0].1 + (pair[1].1 - pair[0].1) * share)
            };
            let left = if along < DASH { DASH - along } else { DASH + GAP - along };
            let part = left.min(length - done);
            if along < DASH {
                if current.is_empty() {
                    current.push(at(done / length));
                }
                current.push(at((done + part) / length));
            } else if !current.is_empty() {
                all.push(std::mem::take(&mut current));
            }
            done += part;
            along = if part >= left { if along < DASH { DASH } else { 0.0 } } else { along + part };
        }
    }
    all.push(current);
    all.retain(|dash| dash.len() > 1);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_and_gaps_alternate_along_the_line() {
        let all = dashes(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)]);
        assert_eq!(all, [vec![(0.0, 0.0), (7.0, 0.0)], vec![(10.0, 1.0), (10.0, 8.0)]]);
    }
}
