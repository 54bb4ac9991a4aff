//! Pictures as inline SVG: lines over a common axis, and ranges of quantiles beside their bound.
//!
//! Colours are the page's, so that they follow its light or dark scheme. Nothing is interactive.

use std::fmt::Write as _;

use crate::html::escape;
use crate::report::{Axis, Line, Plot, Range};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const HEIGHT: f64 = 320.0;
const BOTTOM: f64 = 44.0;
const ROW: f64 = 22.0;
const NAME_WIDTH: f64 = 230.0;
const COLOURS: usize = 8;

/// The picture of a plot.
pub(crate) fn picture(plot: &Plot) -> String {
    match plot {
        Plot::Lines { title, x, y, lines } => chart(title, x, y, lines),
        Plot::Ranges { title, x, rows } => ranges(title, x, rows),
    }
}

/// Maps a figure to a place on the paper.
#[derive(Debug, Clone, Copy)]
struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    fn at(&self, figure: f64) -> f64 {
        let share = (figure - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

/// The next round number from this one on: 1, 2 or 5 times a power of ten.
fn round_up(figure: f64) -> f64 {
    if figure <= 0.0 || !figure.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(figure.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= figure * 0.999_999).unwrap_or(figure)
}

/// The end of an axis from 0 that holds `most`, and the places of its ticks.
fn axis_to(most: f64) -> (f64, Vec<f64>) {
    let step = round_up(most.max(1e-9) / 5.0);
    let steps = (most / step).ceil().max(1.0);
    let ticks = std::iter::successors(Some(0.0), |tick| Some(tick + step));
    (step * steps, ticks.take(steps as usize + 1).collect())
}

/// A figure on an axis, without digits that say nothing.
fn short(figure: f64) -> String {
    let text = format!("{figure:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Paper {
    text: String,
}

impl Paper {
    fn new(title: &str, height: f64) -> Self {
        let head = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\">");
        let mut paper = Self { text: head };
        let title = escape(title);
        paper.draw(format_args!(
            "<title>{title}</title><text class=\"title\" x=\"0\" y=\"16\">{title}</text>"
        ));
        paper
    }

    fn draw(&mut self, what: std::fmt::Arguments<'_>) {
        self.text.write_fmt(what).expect("a text takes any text");
        self.text.push('\n');
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), looks: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.draw(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {looks}/>"
        ));
    }

    fn word(&mut self, at: (f64, f64), anchor: &str, word: &str) {
        let ((x, y), word) = (at, escape(word));
        self.draw(format_args!(
            "<text class=\"dim\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{word}</text>"
        ));
    }

    fn dot(&mut self, at: (f64, f64), radius: f64, colour: &str) {
        let (x, y) = at;
        self.draw(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"));
    }

    fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

fn colour(number: usize) -> String {
    format!("var(--c{})", number % COLOURS)
}

fn most(figures: impl Iterator<Item = f64>) -> f64 {
    figures.filter(|figure| figure.is_finite()).fold(0.0, f64::max)
}

fn chart(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let legend = 18.0 * lines.len().div_ceil(3) as f64;
    let mut paper = Paper::new(title, HEIGHT + legend);
    let points = || lines.iter().flat_map(|line| &line.points);
    let (y_end, y_ticks) = axis_to(most(points().map(|point| point.1)));
    let (x_end, x_ticks) = axis_to(most(points().map(|point| point.0)));
    let across = Scale { from: (0.0, x_end), to: (LEFT, WIDTH - RIGHT) };
    let up = Scale { from: (0.0, y_end), to: (HEIGHT - BOTTOM, TOP) };
    for tick in y_ticks {
        paper.line((LEFT, up.at(tick)), (WIDTH - RIGHT, up.at(tick)), "class=\"grid\"");
        paper.word((LEFT - 6.0, up.at(tick) + 4.0), "end", &short(tick));
    }
    let words = x_ticks.iter().map(|tick| (*tick, short(*tick)));
    let words: Vec<_> = if x.ticks.is_empty() { words.collect() } else { x.ticks.clone() };
    for (tick, word) in words.iter().filter(|(tick, _)| *tick <= x_end) {
        paper.line(
            (across.at(*tick), HEIGHT - BOTTOM),
            (across.at(*tick), HEIGHT - BOTTOM + 4.0),
            "class=\"grid\"",
        );
        paper.word((across.at(*tick), HEIGHT - BOTTOM + 18.0), "middle", word);
    }
    paper.word((WIDTH - RIGHT, HEIGHT - 8.0), "end", &x.label);
    paper.word((LEFT, TOP - 6.0), "start", &y.label);
    for (number, line) in lines.iter().enumerate() {
        let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", across.at(*x), up.at(*y));
        let places: Vec<String> = line.points.iter().map(place).collect();
        let (places, colour) = (places.join(" "), colour(number));
        paper.draw(format_args!(
            "<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        ));
        let (column, row) = ((number % 3) as f64, (number / 3) as f64);
        let (at_x, at_y) = (LEFT + column * 265.0, HEIGHT + 10.0 + row * 18.0);
        paper.line(
            (at_x, at_y - 4.0),
            (at_x + 18.0, at_y - 4.0),
            &format!("stroke=\"{colour}\" stroke-width=\"3\""),
        );
        paper.word((at_x + 24.0, at_y), "start", &line.name);
    }
    paper.finish()
}

fn ranges(title: &str, x: &Axis, rows: &[Range]) -> String {
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let mut paper = Paper::new(title, height);
    let ends = rows.iter().flat_map(|row| [row.summary.p999_ms, row.bound.unwrap_or(0.0)]);
    let (end, ticks) = axis_to(most(ends));
    let across = Scale { from: (0.0, end), to: (NAME_WIDTH, WIDTH - RIGHT) };
    let floor = height - BOTTOM;
    for tick in ticks {
        paper.line((across.at(tick), TOP - 4.0), (across.at(tick), floor), "class=\"grid\"");
        paper.word((across.at(tick), floor + 16.0), "middle", &short(tick));
    }
    paper.word((WIDTH - RIGHT, height - 8.0), "end", &x.label);
    paper.word((0.0, height - 8.0), "start", "| bound   ● p50, p90, p99   – to p99.9");
    for (number, row) in rows.iter().enumerate() {
        let middle = TOP + ROW * (number as f64 + 0.5);
        paper.word((NAME_WIDTH - 10.0, middle + 4.0), "end", &row.name);
        let quantiles = &row.summary;
        if quantiles.count > 0 {
            let (from, to) = (across.at(quantiles.p50_ms), across.at(quantiles.p999_ms));
            paper.line((from, middle), (to, middle), "stroke=\"var(--c0)\" stroke-width=\"1.5\"");
            for (figure, radius) in
                [(quantiles.p50_ms, 4.5), (quantiles.p90_ms, 3.5), (quantiles.p99_ms, 3.5)]
            {
                paper.dot((across.at(figure), middle), radius, "var(--c0)");
            }
        }
        if let Some(bound) = row.bound {
            let (from, to) = ((across.at(bound), middle - 8.0), (across.at(bound), middle + 8.0));
            paper.line(from, to, "stroke=\"var(--c1)\" stroke-width=\"2.5\"");
        }
    }
    paper.finish()
}

#[cfg(test)]
mod tests {
    use super::{Scale, axis_to, picture, round_up, short};
    use crate::quantiles::Summary;
    use crate::report::{Axis, Line, Plot, Range};

    #[test]
    fn ticks_are_round_and_hold_the_largest_figure() {
        assert_eq!(round_up(3.2), 5.0);
        assert_eq!(round_up(0.2), 0.2);
        assert_eq!(round_up(-1.0), 1.0);
        let (end, ticks) = axis_to(213.0);
        assert_eq!((end, ticks.len()), (250.0, 6));
        assert_eq!(axis_to(0.0).1.len(), 2, "an axis of nothing has two ends still");
        assert_eq!(short(0.25), "0.25");
        assert_eq!(short(100.0), "100");
    }

    #[test]
    fn a_scale_maps_ends_to_ends() {
        let scale = Scale { from: (0.0, 10.0), to: (300.0, 100.0) };
        assert_eq!((scale.at(0.0), scale.at(5.0), scale.at(10.0)), (300.0, 200.0, 100.0));
    }

    #[test]
    fn pictures_show_every_line_and_row_by_name() {
        let line = Line { name: "no <loss>".to_owned(), points: vec![(0.0, 1.0), (300.0, 25.0)] };
        let lines =
            Plot::Lines { title: "t".to_owned(), x: Axis::of("ms"), y: Axis::of("MB/s"), lines: vec![line] };
        let drawn = picture(&lines);
        assert!(drawn.contains("<polyline") && drawn.contains("no &lt;loss&gt;"), "{drawn}");
        let summary = Summary { count: 9, p50_ms: 1.0, p90_ms: 2.0, p99_ms: 3.0, p999_ms: 4.0, max_ms: 5.0 };
        let row = Range { name: "a → b".to_owned(), bound: Some(2.0), summary };
        let drawn = picture(&Plot::Ranges { title: "t".to_owned(), x: Axis::of("ms"), rows: vec![row] });
        assert_eq!(drawn.matches("<circle").count(), 3);
        assert!(drawn.contains("a → b") && drawn.ends_with("</svg>\n"));
    }
}
