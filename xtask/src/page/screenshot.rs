//! Check that a screenshot is not empty: it must have ink on a ground, from top to bottom.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result};

/// A picture, three bytes a pixel.
struct Picture {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

/// Number of horizontal strips of a picture, none of which may be empty.
const STRIPS: usize = 6;

/// Smallest and largest share of the picture that ink may cover.
const INK: [f64; 2] = [0.005, 0.6];

/// The faults of a screenshot.
pub(super) fn problems(path: &Path, dark: bool) -> Result<Vec<String>> {
    let picture = read(path).with_context(|| format!("cannot read the screenshot {}", path.display()))?;
    Ok(picture.problems(dark))
}

fn read(path: &Path) -> Result<Picture> {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path)?));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size().context("larger than the memory")?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes)?;
    let samples = info.color_type.samples();
    let pixel = |bytes: &[u8]| match *bytes {
        [r, g, b, ..] => [r, g, b],
        [grey, ..] => [grey; 3],
        [] => [0; 3],
    };
    let pixels = bytes[..info.buffer_size()].chunks_exact(samples).map(pixel).collect();
    Ok(Picture { width: info.width as usize, pixels })
}

impl Picture {
    fn problems(&self, dark: bool) -> Vec<String> {
        let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
        for pixel in &self.pixels {
            *counts.entry(*pixel).or_default() += 1;
        }
        let ground = counts.iter().max_by_key(|(_, count)| **count).map_or([0; 3], |(colour, _)| *colour);
        // The threshold excludes the faint lines between rows of tables.
        let is_ink = |pixel: &[u8; 3]| pixel.iter().zip(ground).any(|(a, b)| a.abs_diff(b) > 60);
        let ink =
            self.pixels.iter().filter(|pixel| is_ink(pixel)).count() as f64 / self.pixels.len().max(1) as f64;
        let mut problems = Vec::new();
        if !(INK[0]..=INK[1]).contains(&ink) {
            problems.push(format!(
                "ink on {:.2} % of the picture, expected {} to {} %",
                100.0 * ink,
                100.0 * INK[0],
                100.0 * INK[1]
            ));
        }
        if counts.len() < 16 {
            problems.push(format!("{} colours, expected letters with soft edges", counts.len()));
        }
        if dark != (ground.iter().map(|part| u32::from(*part)).sum::<u32>() < 3 * 128) {
            problems.push(format!(
                "a ground of {ground:?}, and the dark is {}preferred",
                if dark { "" } else { "not " }
            ));
        }
        let rows = self.pixels.len() / self.width.max(1);
        let strip = rows.div_ceil(STRIPS).max(1) * self.width;
        let empty = self.pixels.chunks(strip.max(1)).position(|strip| !strip.iter().any(is_ink));
        if let Some(empty) = empty {
            problems.push(format!("part {} of {STRIPS}, from the top, is empty", empty + 1));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 60 × 60 pixels of a ground with shaded letters in every third row, down to a row.
    fn page(ground: u8, to: usize) -> Picture {
        let pixel = |index: usize| {
            let (row, column) = (index / 60, index % 60);
            let letter = row % 3 == 0 && row < to && column % 4 == 0;
            if letter { [ground ^ (128 + (column as u8)); 3] } else { [ground; 3] }
        };
        Picture { width: 60, pixels: (0..3600).map(pixel).collect() }
    }

    #[test]
    fn a_page_with_letters_is_good_and_an_empty_one_is_not() {
        assert_eq!(page(250, 60).problems(false), Vec::<String>::new());
        assert_eq!(page(20, 60).problems(true), Vec::<String>::new());
        let told = |picture: Picture, dark: bool| picture.problems(dark).join("; ");
        assert!(told(page(250, 0), false).contains("ink on 0.00 %"));
        assert!(told(page(250, 0), false).contains("1 colours"));
        assert!(told(page(250, 30), false).contains("part 4 of 6"));
        assert!(told(page(250, 60), true).contains("the dark is preferred"));
        // Three tenths of ground, and the rest is ink.
        let pixel = |index: usize| if index < 30 { [0; 3] } else { [100 + index as u8; 3] };
        let full = Picture { width: 10, pixels: (0..100).map(pixel).collect() };
        assert!(told(full, true).contains("ink on 70.00 %"));
    }
}
