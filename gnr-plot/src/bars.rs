//! Histograms and counts.

use plotters_backend::DrawingBackend;

use crate::{
    Counts, Histogram, Result, Scale, Values,
    axes::{Area, Frame, corner},
    canvas::Canvas,
    colour::palette,
    scale::Span,
};

/// Draws each group as an outline over a pale area, so that all groups can be seen.
pub(crate) fn histogram<B: DrawingBackend>(
    canvas: &mut Canvas<'_, B>,
    area: Area,
    histogram: &Histogram,
) -> Result<()> {
    let values = histogram.groups.iter().flat_map(|group| group.values.iter().copied());
    let x = Span::new(&histogram.x, values, 0.0);
    let counted: Vec<Vec<usize>> =
        histogram.groups.iter().map(|group| counts(&group.values, &x, histogram.bins)).collect();
    let floor = if histogram.y.scale == Scale::Log { 0.5 } else { 0.0 };
    let highest = counted.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    let top = if histogram.y.scale == Scale::Log { 2.0 * highest } else { 1.08 * highest };
    let y = Span::new(&histogram.y, [floor, top], 0.0);
    let frame = Frame::draw(canvas, area, (&histogram.x, &histogram.y), (x, y), true)?;
    let edge = |bin: usize| x.value(bin as f64 / histogram.bins as f64);
    let base = frame.inner.bottom;
    let height =
        |count: usize| if count == 0 { base } else { frame.vertical(count as f64).max(frame.inner.top) };
    for (index, (group, counts)) in histogram.groups.iter().zip(&counted).enumerate() {
        let colour = palette(group.colour.unwrap_or(index));
        for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (from, to) = (frame.horizontal(edge(bin)), frame.horizontal(edge(bin + 1)));
            canvas.rectangle((from, height(count)), (to, base), colour, 0.18)?;
        }
    }
    for (index, (group, counts)) in histogram.groups.iter().zip(&counted).enumerate() {
        let colour = palette(group.colour.unwrap_or(index));
        let mut outline = vec![(frame.inner.left, base)];
        for (bin, &count) in counts.iter().enumerate() {
            outline.push((frame.horizontal(edge(bin)), height(count)));
            outline.push((frame.horizontal(edge(bin + 1)), height(count)));
        }
        outline.push((frame.inner.right, base));
        canvas.line(&outline, colour, 1.0, 1.3)?;
    }
    frame.border(canvas)?;
    corner(canvas, frame.inner, &notes(&histogram.groups))
}

fn notes(groups: &[Values]) -> Vec<(String, crate::colour::Rgb)> {
    let note =
        |(index, group): (usize, &Values)| (group.note.clone(), palette(group.colour.unwrap_or(index)));
    groups.iter().enumerate().map(note).collect()
}

/// Numbers of values in bins of equal width on the scale; the last bin includes its end.
pub(crate) fn counts(values: &[f64], span: &Span, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for value in values {
        let t = span.at(*value);
        if (0.0..=1.0).contains(&t) {
            counts[((t * bins as f64) as usize).min(bins - 1)] += 1;
        }
    }
    counts
}

/// Draws bars for whole numbers, with the groups side by side.
pub(crate) fn tally<B: DrawingBackend>(canvas: &mut Canvas<'_, B>, area: Area, tally: &Counts) -> Result<()> {
    let values = || tally.groups.iter().flat_map(|group| &group.values).map(|value| value.round());
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min).max(0.0),
        values().fold(f64::NEG_INFINITY, f64::max).max(0.0),
    );
    let x = Span::new(&tally.x, [low - 0.5, high + 0.5], 0.0).of_whole_numbers();
    let groups = tally.groups.len().max(1) as f64;
    let numbers: Vec<f64> = (0..=(high - low) as usize).map(|i| low + i as f64).collect();
    let count = |group: &Values, number: f64| {
        group.values.iter().filter(|value| value.round() == number).count() as f64
    };
    let highest = tally.groups.iter().flat_map(|g| numbers.iter().map(move |n| (g, n)));
    let highest = highest.map(|(group, number)| count(group, *number)).fold(1.0, f64::max);
    let y = Span::new(&tally.y, [0.0, 1.08 * highest], 0.0).of_whole_numbers();
    let frame = Frame::draw(canvas, area, (&tally.x, &tally.y), (x, y), true)?;
    for (index, group) in tally.groups.iter().enumerate() {
        let colour = palette(group.colour.unwrap_or(index));
        for &number in &numbers {
            // The bars of a number take four fifths of its room.
            let from = number - 0.4 + 0.8 * index as f64 / groups;
            let to = from + 0.8 / groups;
            let n = count(group, number);
            if n > 0.0 {
                let (a, b) = (frame.point(from, 0.0), frame.point(to, n));
                canvas.rectangle(a, (b.0 - 0.5, b.1.max(frame.inner.top)), colour, 0.85)?;
            }
        }
    }
    frame.border(canvas)?;
    corner(canvas, frame.inner, &notes(&tally.groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Axis;

    #[test]
    fn bins() {
        let span = Span::new(&Axis::linear("").within(0.0, 4.0), [], 0.0);
        assert_eq!(counts(&[0.0, 0.5, 1.0, 3.999, 4.0, 4.1, -0.1, f64::NAN], &span, 4), [2, 1, 0, 2]);
        let log = Span::new(&Axis::log("").within(1.0, 100.0), [], 0.0);
        assert_eq!(counts(&[1.0, 9.0, 11.0, 100.0, 0.0], &log, 2), [2, 2]);
    }
}
