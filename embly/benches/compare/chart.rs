//! Line charts, as SVG without a background.

use std::fmt::Write as _;

/// Around the lines: above, right of, below and left of them.
const MARGINS: (f64, f64, f64, f64) = (34.0, 26.0, 44.0, 56.0);

/// Above the panels.
const LEGEND: f64 = 30.0;

/// Of a letter of the legend, on the average, and of what stands beside its text.
const LETTER: f64 = 6.2;
const BESIDE: f64 = 60.0;

/// Lines over and under nothing, for values from 0 on: about so many.
const LINES: f64 = 4.0;

/// Grey that can be read on white and on black.
const TEXT: &str = "#7d8590";

/// How panels stand beside and below each other.
pub struct Layout {
    /// Of one panel, in pixels, with what stands around its lines.
    pub width: f64,
    pub height: f64,
    /// Of a row.
    pub panels: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From a power of ten to another.
    Logarithmic,
    /// From 0 on.
    Linear,
}

pub struct Axis {
    pub name: &'static str,
    pub scale: Scale,
    /// Values, lowest first, and what they are called.
    pub ticks: Vec<(f64, String)>,
}

pub struct Line {
    pub color: &'static str,
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
}

pub struct Panel {
    pub title: &'static str,
    pub x: Axis,
    /// Of the values.
    pub y: Scale,
    pub lines: Vec<Line>,
}

/// All panels, in rows, below a legend of colours.
pub fn draw(layout: &Layout, legend: &[(&str, String)], panels: &[Panel]) -> String {
    let width = layout.width * layout.panels as f64;
    let height = LEGEND + layout.height * panels.len().div_ceil(layout.panels) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n"
    );
    let mut x = MARGINS.3;
    for (color, name) in legend {
        let (end, text) = (x + 24.0, x + 30.0);
        writeln!(
            svg,
            "<path d=\"M{x} 16H{end}\" stroke=\"{color}\" stroke-width=\"2.5\"/>\
             <text x=\"{text}\" y=\"20\">{name}</text>"
        )
        .unwrap();
        x += BESIDE + LETTER * name.len() as f64;
    }
    for (number, panel) in panels.iter().enumerate() {
        let column = (number % layout.panels) as f64;
        let row = (number / layout.panels) as f64;
        let (x, y) = (column * layout.width, LEGEND + row * layout.height);
        writeln!(svg, "<g transform=\"translate({x} {y})\">").unwrap();
        panel.draw(layout, &mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Values between which a panel lies, lines across it, and where a value is between them, from 0 to 1.
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
    lines: Vec<f64>,
}

impl Range {
    /// In which all of these lie.
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| *value > 0.0);
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        // Where there is nothing, something has to be drawn all the same.
        let (low, high) = if high > 0.0 { (low, high) } else { (0.1, 1.0) };
        match scale {
            Scale::Logarithmic => {
                let low = low.log10().floor();
                let high = high.log10().ceil().max(low + 1.0);
                let count = (high - low) as i32;
                let lines = (0..=count).map(|n| 10_f64.powf(low + f64::from(n)));
                Self {
                    scale,
                    low: 10_f64.powf(low),
                    high: 10_f64.powf(high),
                    lines: lines.collect(),
                }
            }
            Scale::Linear => {
                let power = 10_f64.powf((high / LINES).log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
                let step = steps.into_iter().find(|step| high / step <= LINES);
                let step = step.unwrap_or(high);
                let count = (high / step).ceil();
                Self {
                    scale,
                    low: 0.0,
                    high: step * count,
                    lines: (0..=count as i32).map(|n| step * f64::from(n)).collect(),
                }
            }
        }
    }

    fn part(&self, value: f64) -> f64 {
        part(self.scale, self.low, self.high, value)
    }
}

fn part(scale: Scale, low: f64, high: f64, value: f64) -> f64 {
    match scale {
        Scale::Logarithmic => (value.ln() - low.ln()) / (high.ln() - low.ln()),
        Scale::Linear => (value - low) / (high - low),
    }
}

impl Panel {
    fn draw(&self, layout: &Layout, svg: &mut String) {
        let (top, right, below, left) = MARGINS;
        let (right, bottom) = (layout.width - right, layout.height - below);
        let values = self.lines.iter().flat_map(|line| &line.points);
        let range = Range::of(self.y, values.map(|(_, value)| *value));
        let ticks = &self.x.ticks;
        let (first, last) = (ticks[0].0, ticks[ticks.len() - 1].0);
        let x_of = |value: f64| left + part(self.x.scale, first, last, value) * (right - left);
        let y_of = |value: f64| bottom - range.part(value) * (bottom - top);
        let title = self.title;
        writeln!(
            svg,
            "<text x=\"{left}\" y=\"{}\">{title}</text>",
            top - 14.0
        )
        .unwrap();
        for value in &range.lines {
            let y = y_of(*value);
            // Without the digits that floating point adds.
            let value = (value * 1e6).round() / 1e6;
            writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"{TEXT}\" stroke-opacity=\"0.3\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                left - 6.0,
                y + 4.0
            )
            .unwrap();
        }
        for (value, name) in ticks {
            let (x, y) = (x_of(*value), bottom + 16.0);
            writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{name}</text>"
            )
            .unwrap();
        }
        let (middle, name) = (f64::midpoint(left, right), self.x.name);
        writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            bottom + 34.0
        )
        .unwrap();
        for line in &self.lines {
            let drawn = |value: f64| value > 0.0 || self.y == Scale::Linear;
            let points = line.points.iter().filter(|(_, value)| drawn(*value));
            let points: Vec<_> = points
                .map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), y_of(*y)))
                .collect();
            let dashes = if line.dashed {
                " stroke-dasharray=\"5 4\""
            } else {
                ""
            };
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{dashes}/>",
                points.join(" "),
                line.color
            )
            .unwrap();
        }
    }
}
