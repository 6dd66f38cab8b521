//! Many points drawn as few: one column of pixels keeps its first, smallest, largest and last value, so that
//! no spike is lost; a value that is no number leaves a gap.

use crate::plot::axis::Axis;
use crate::plot::scene::Point;

/// Points as places between the ends of both axes, in unbroken stretches, thinned to so many columns.
pub fn stretches(points: &[Point], x: &Axis, y: &Axis, columns: usize) -> Vec<Vec<Point>> {
    let mut all = vec![];
    let mut current = vec![];
    for (across, up) in points {
        match (x.place(*across), y.place(*up)) {
            (Some(across), Some(up)) => current.push((across, up)),
            _ => all.push(std::mem::take(&mut current)),
        }
    }
    all.push(current);
    all.retain(|stretch| !stretch.is_empty());
    all.into_iter().map(|stretch| thinned(stretch, columns)).collect()
}

fn thinned(stretch: Vec<Point>, columns: usize) -> Vec<Point> {
    if stretch.len() <= 2 * columns {
        return stretch;
    }
    let column = |point: &Point| (point.0 * columns as f64).floor();
    stretch.chunk_by(|left, right| column(left) == column(right)).flat_map(outline).collect()
}

/// First, smallest, largest and last point of a column in the order they come, each once.
fn outline(column: &[Point]) -> Vec<Point> {
    let by_height = |left: &usize, right: &usize| column[*left].1.total_cmp(&column[*right].1);
    let smallest = (0..column.len()).min_by(by_height);
    let largest = (0..column.len()).max_by(by_height);
    let mut kept: Vec<usize> =
        [Some(0), smallest, largest, column.len().checked_sub(1)].into_iter().flatten().collect();
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|index| column[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::range::Range;

    fn axis(high: f64) -> Axis {
        Axis { range: Range { low: 0.0, high }, log: false, ticks: vec![] }
    }

    #[test]
    fn a_hundred_thousand_points_keep_their_one_spike() {
        let mut points: Vec<Point> = (0..100_000).map(|index| (f64::from(index), 0.5)).collect();
        points[54_321].1 = 1.0;
        let all = stretches(&points, &axis(100_000.0), &axis(1.0), 700);
        assert_eq!(all.len(), 1);
        assert!(all[0].len() < 4 * 701, "{}", all[0].len());
        assert!(all[0].iter().any(|(x, y)| *y == 1.0 && (x - 0.54321).abs() < 1e-9));
    }

    #[test]
    fn what_is_not_a_number_leaves_a_gap() {
        let points = [(0.0, 0.1), (1.0, 0.2), (2.0, f64::NAN), (3.0, 0.3)];
        let lengths: Vec<usize> =
            stretches(&points, &axis(3.0), &axis(1.0), 100).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1]);
    }
}
