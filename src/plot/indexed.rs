//! Pixels as places in a palette: a chart has few colours, and its file is a quarter as long.

use std::collections::HashMap;

type Color = [u8; 3];

/// The most colours that a byte can name.
const MOST: usize = 256;

/// A picture as the colours it has, red, green and blue, and for each pixel which it is.
pub struct Indexed {
    pub palette: Vec<u8>,
    pub pixels: Vec<u8>,
}

/// Where there are more than 256 colours, those close to each other become the one of them that is most frequent: grounds
/// and lines keep theirs, the rare ones between them at the edges give way.
pub fn indexed(pixels: &[u8]) -> Indexed {
    let colors = || pixels.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    let places = places(by_frequency(colors()));
    let mut palette = vec![0; 3 * MOST];
    for (color, place) in places.iter().rev() {
        palette[3 * usize::from(*place)..][..3].copy_from_slice(color);
    }
    palette.truncate(3 * (places.iter().map(|(_, place)| usize::from(*place)).max().unwrap_or(0) + 1));
    let places: HashMap<Color, u8> = places.into_iter().collect();
    let mut last = None;
    let pixels = colors().map(|color| match last {
        Some((same, place)) if same == color => place,
        _ => {
            let place = places[&color];
            last = Some((color, place));
            place
        }
    });
    Indexed { palette, pixels: pixels.collect() }
}

/// Each colour once, the most frequent first.
fn by_frequency(colors: impl Iterator<Item = Color>) -> Vec<Color> {
    let mut counts: HashMap<Color, usize> = HashMap::new();
    let mut run: Option<(Color, usize)> = None;
    for color in colors {
        match &mut run {
            Some((same, count)) if *same == color => *count += 1,
            _ => {
                run.take().into_iter().for_each(|(color, count)| *counts.entry(color).or_default() += count);
                run = Some((color, 1));
            }
        }
    }
    run.into_iter().for_each(|(color, count)| *counts.entry(color).or_default() += count);
    let mut colors: Vec<Color> = counts.keys().copied().collect();
    colors.sort_unstable_by_key(|color| (std::cmp::Reverse(counts[color]), *color));
    colors
}

/// Each colour with its place: as exact as 256 places allow.
fn places(colors: Vec<Color>) -> Vec<(Color, u8)> {
    for coarse in 0.. {
        let mut taken: HashMap<Color, usize> = HashMap::new();
        let place = |color: &Color| {
            let next = taken.len();
            (*color, *taken.entry(color.map(|channel| channel >> coarse)).or_insert(next))
        };
        let found: Vec<(Color, usize)> = colors.iter().map(place).collect();
        if taken.len() <= MOST {
            return found.into_iter().map(|(color, place)| (color, place as u8)).collect();
        }
    }
    unreachable!("at seven bits off, eight colours are left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_colours_are_kept_to_the_bit() {
        let pixels = [255, 255, 255, 1, 2, 3, 255, 255, 255];
        let found = indexed(&pixels);
        assert_eq!((found.palette, found.pixels), (vec![255, 255, 255, 1, 2, 3], vec![0, 1, 0]));
    }

    #[test]
    fn of_many_colours_the_frequent_ones_are_kept() {
        let rare = (0..=255u8).flat_map(|red| (0..4u8).flat_map(move |green| [red, green, 7]));
        let frequent = [250, 251, 252].repeat(2000);
        let pixels: Vec<u8> = frequent.into_iter().chain(rare).collect();
        let found = indexed(&pixels);
        assert_eq!(found.palette[..3], [250, 251, 252]);
        assert_eq!(found.pixels.len() * 3, pixels.len());
        assert!(found.palette.len() <= 3 * MOST);
        for (place, exact) in found.pixels.iter().zip(pixels.chunks(3)) {
            let shown = &found.palette[3 * usize::from(*place)..][..3];
            assert!(shown.iter().zip(exact).all(|(a, b)| a.abs_diff(*b) < 8), "{shown:?} {exact:?}");
        }
    }
}
