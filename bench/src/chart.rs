//! A chart of ratios: one bar for each figure that has a floor, which is the line at 1.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Figure, Wanted, digits};

/// The size of the drawing, in pixels: its width, and the height of a bar and of everything else.
const WIDTH: u32 = 900;
const BAR: u32 = 26;
const MARGINS: u32 = 70;

/// The part of the width in which the names stand.
const NAMES: f64 = 0.45;

/// Draws the figures of a row into an SVG file; a row without ratios has no chart.
pub fn draw(path: &Path, row: &str, figures: &[Figure]) {
    let bars: Vec<(&Figure, f64)> = figures
        .iter()
        .filter_map(|figure| Some((figure, figure.ratio?)))
        .filter(|(_, ratio)| ratio.is_finite())
        .collect();
    if bars.is_empty() {
        return;
    }
    let count = u32::try_from(bars.len()).unwrap();
    let longest = bars.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    // Names stand to the left of 0; the text beside the longest bar needs room as well.
    let (left, right) = (-longest * NAMES / (1.0 - NAMES) * 1.1, longest * 1.1);

    let area = SVGBackend::new(path, (WIDTH, MARGINS + BAR * count)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{row}: times the floor"), ("sans-serif", 18))
        .margin(10)
        .build_cartesian_2d(left..right, f64::from(count)..0.0)
        .unwrap();
    let text = |horizontal| {
        let position = Pos::new(horizontal, VPos::Center);
        ("sans-serif", 13).into_font().color(&BLACK).pos(position)
    };
    let gap = (right - left) / 100.0;
    for (index, (figure, ratio)) in bars.into_iter().enumerate() {
        let top = f64::from(u32::try_from(index).unwrap());
        let middle = top + 0.5;
        let colour = match figure.reached {
            None => RGBColor(120, 140, 170),
            Some(true) => RGBColor(80, 150, 90),
            Some(false) => RGBColor(200, 90, 70),
        };
        let bar = Rectangle::new([(0.0, top + 0.15), (ratio, top + 0.85)], colour.filled());
        chart.draw_series([bar]).unwrap();
        let name = Text::new(figure.what.clone(), (-gap, middle), text(HPos::Right));
        let value = Text::new(digits(ratio), (ratio + gap, middle), text(HPos::Left));
        chart.draw_series([name, value]).unwrap();
        if let Some(Wanted::RatioAtMost(limit) | Wanted::RatioAtLeast(limit)) = figure.wanted {
            let mark = PathElement::new([(limit, top), (limit, top + 1.0)], BLACK.stroke_width(2));
            chart.draw_series([mark]).unwrap();
        }
    }
    let floor = PathElement::new([(1.0, 0.0), (1.0, f64::from(count))], BLACK.mix(0.4));
    chart.draw_series([floor]).unwrap();
    area.present().unwrap();
}
