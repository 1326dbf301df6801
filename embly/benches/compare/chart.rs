//! Line charts with logarithmic axes, as SVG without a background.

use std::fmt::Write as _;

/// Of one panel, in pixels, with what stands around its lines.
const WIDTH: f64 = 450.0;
const HEIGHT: f64 = 270.0;

/// Around the lines: above, right of, below and left of them.
const MARGINS: (f64, f64, f64, f64) = (34.0, 26.0, 44.0, 56.0);

/// Above the panels.
const LEGEND: f64 = 30.0;

/// Of a row.
const PANELS: usize = 2;

/// Grey that can be read on white and on black.
const TEXT: &str = "#7d8590";

pub struct Axis {
    pub name: &'static str,
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
    pub lines: Vec<Line>,
}

/// All panels, in rows, below a legend of colours.
pub fn draw(legend: &[(&str, String)], panels: &[Panel]) -> String {
    let width = WIDTH * PANELS as f64;
    let height = LEGEND + HEIGHT * panels.len().div_ceil(PANELS) as f64;
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
        x += 190.0;
    }
    for (number, panel) in panels.iter().enumerate() {
        let column = (number % PANELS) as f64;
        let row = (number / PANELS) as f64;
        let (x, y) = (column * WIDTH, LEGEND + row * HEIGHT);
        writeln!(svg, "<g transform=\"translate({x} {y})\">").unwrap();
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let (top, right, below, left) = MARGINS;
        let (right, bottom) = (WIDTH - right, HEIGHT - below);
        let values = self.lines.iter().flat_map(|line| &line.points);
        let values = values.map(|(_, value)| *value).filter(|value| *value > 0.0);
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        // Whole powers of ten.
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        let ticks = &self.x.ticks;
        let (first, last) = (ticks[0].0.ln(), ticks[ticks.len() - 1].0.ln());
        let x_of = |value: f64| left + (value.ln() - first) / (last - first) * (right - left);
        let y_of = |value: f64| bottom - (value.log10() - low) / (high - low) * (bottom - top);
        let title = self.title;
        writeln!(
            svg,
            "<text x=\"{left}\" y=\"{}\">{title}</text>",
            top - 14.0
        )
        .unwrap();
        let mut exponent = low;
        while exponent <= high {
            let value = 10_f64.powf(exponent);
            let y = y_of(value);
            writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"{TEXT}\" stroke-opacity=\"0.3\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                left - 6.0,
                y + 4.0
            )
            .unwrap();
            exponent += 1.0;
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
            let points = line.points.iter().filter(|(_, value)| *value > 0.0);
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
