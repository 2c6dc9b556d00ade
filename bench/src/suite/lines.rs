//! Lines over an axis, with their names at the end.
//!
//! Must not know what is drawn. Invariant: names do not overlap, and everything is shown on a
//! narrow page as on a wide one.

use super::colours::{colour, dash};
use super::contender::OURS;
use super::numbers::{number, tick};
use super::svg::{AXIS, Anchor, Scale, Svg};

const HEIGHT: f64 = 300.0;
/// A page is one or the other (`page.css`): names are at the lines' ends, or below if there is no
/// room beside them.
const WIDE: Layout = Layout { class: "wide-plot", width: 840.0, beside: 260.0 };
const NARROW: Layout = Layout { class: "narrow-plot", width: 380.0, beside: 0.0 };
const KEY_ROW: f64 = 18.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 18.0;
/// More points than these are no measurements but a curve.
const DOTS: usize = 8;

struct Layout {
    class: &'static str,
    width: f64,
    /// Room for names beside the lines; 0: they are below.
    beside: f64,
}

/// One named line of a picture.
pub struct Line {
    pub name: String,
    pub label: String,
    pub points: Vec<(f64, f64)>,
}

/// The texts around the lines.
pub struct LinePlot<'a> {
    pub title: &'a str,
    pub axis: &'a str,
    pub unit: &'a str,
    pub x_tick: &'a dyn Fn(f64) -> String,
    /// From 0; else logarithmic.
    pub x_linear: bool,
    pub y_linear: bool,
}

fn scale(values: &[f64], linear: bool, from: f64, to: f64) -> Scale {
    let most = values.iter().copied().fold(0.0, f64::max);
    if linear {
        return Scale::linear(most, from, to);
    }
    Scale::logarithmic(values.iter().copied().fold(f64::INFINITY, f64::min), most, from, to)
}

impl LinePlot<'_> {
    /// The picture for wide pages and the one for narrow pages; `None` without lines.
    #[must_use]
    pub fn draw(&self, lines: &[Line]) -> Option<String> {
        Some(self.draw_on(&WIDE, lines)? + &self.draw_on(&NARROW, lines)?)
    }

    fn draw_on(&self, layout: &Layout, lines: &[Line]) -> Option<String> {
        let of = |which: fn(&(f64, f64)) -> f64| -> Vec<f64> {
            lines.iter().flat_map(|line| line.points.iter().map(which)).collect()
        };
        let (xs, ys) = (of(|point| point.0), of(|point| point.1));
        let first = *xs.first()?;
        if xs.iter().all(|x| (x - first).abs() < f64::EPSILON) {
            return None;
        }
        let right = layout.width - layout.beside.max(20.0);
        let foot = HEIGHT - AXIS - 8.0;
        let x = scale(&xs, self.x_linear, LEFT, right);
        let y = scale(&ys, self.y_linear, foot, TOP);
        let drawn = lines.iter().filter(|line| !line.points.is_empty()).count();
        let below = if layout.beside > 0.0 { 0.0 } else { KEY_ROW * drawn as f64 };
        let mut svg = Svg::new(layout.class, layout.width, HEIGHT + below, self.title);
        for at in y.ticks() {
            svg.line("grid", (LEFT, y.place(at)), (right, y.place(at)));
            svg.text("tick", (LEFT - 6.0, y.place(at) + 4.0), Anchor::End, &tick(at));
        }
        for at in x.ticks() {
            svg.line("grid", (x.place(at), TOP), (x.place(at), foot));
            svg.text("tick", (x.place(at), foot + 15.0), Anchor::Middle, &(self.x_tick)(at));
        }
        svg.text("axis", (f64::midpoint(LEFT, right), foot + 32.0), Anchor::Middle, self.axis);
        svg.text("axis", (4.0, 10.0), Anchor::Start, self.unit);
        let mut ends: Vec<(f64, &Line)> = Vec::new();
        for line in lines {
            let places: Vec<(f64, f64)> =
                line.points.iter().map(|(at, value)| (x.place(*at), y.place(*value))).collect();
            let Some(last) = places.last() else { continue };
            ends.push((last.1, line));
            let class = format!("{}{}", colour(&line.name), dash(&line.name));
            svg.path(&format!("curve {class}"), &places);
            if line.points.len() <= DOTS {
                self.dots(&mut svg, &class, line, &places);
            }
        }
        if layout.beside > 0.0 {
            name_ends(&mut svg, ends, right);
        } else {
            name_below(&mut svg, ends);
        }
        Some(svg.finish())
    }

    fn dots(&self, svg: &mut Svg, class: &str, line: &Line, places: &[(f64, f64)]) {
        for (place, (at, value)) in places.iter().zip(&line.points) {
            let (x, y) = ((self.x_tick)(*at), number(*value));
            let told = format!("{}, {x}: {y} {}", line.label, self.unit);
            svg.dot(&format!("fill {class}"), *place, &told);
        }
    }
}

/// Writes the names below the picture, from the highest line's to the lowest's.
fn name_below(svg: &mut Svg, mut ends: Vec<(f64, &Line)>) {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (row, (_, line)) in ends.into_iter().enumerate() {
        name(svg, line, LEFT, HEIGHT + KEY_ROW * (row as f64 + 0.5));
    }
}

fn name(svg: &mut Svg, line: &Line, key: f64, place: f64) {
    let class = format!("curve {}{}", colour(&line.name), dash(&line.name));
    svg.line(&class, (key, place), (key + 16.0, place));
    let weight = if line.name == OURS { "label ours" } else { "label" };
    svg.text(weight, (key + 22.0, place + 4.0), Anchor::Start, &line.label);
}

/// Writes the names at the lines' ends, without overlap.
fn name_ends(svg: &mut Svg, mut ends: Vec<(f64, &Line)>, right: f64) {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let places = apart(&ends.iter().map(|(place, _)| *place).collect::<Vec<f64>>());
    for (place, (_, line)) in places.into_iter().zip(ends) {
        name(svg, line, right + 10.0, place);
    }
}

/// Sorted places moved as little as keeps them a line of text apart and inside.
fn apart(places: &[f64]) -> Vec<f64> {
    const APART: f64 = 15.0;
    let mut moved = places.to_vec();
    let mut lowest = f64::NEG_INFINITY;
    for place in &mut moved {
        *place = place.max(lowest + APART);
        lowest = *place;
    }
    let mut ceiling = HEIGHT - AXIS - 4.0 + APART;
    for place in moved.iter_mut().rev() {
        *place = place.min(ceiling - APART);
        ceiling = *place;
    }
    moved
}

#[test]
fn names_stay_apart_and_inside() {
    let foot = HEIGHT - AXIS - 4.0;
    let cases: [&[f64]; 4] = [&[], &[50.0, 100.0], &[50.0, 51.0, 52.0], &[foot, foot, foot]];
    for places in cases {
        let moved = apart(places);
        assert!(moved.windows(2).all(|pair| pair[1] - pair[0] >= 14.9), "{moved:?}");
        assert!(moved.iter().all(|place| *place <= foot + 0.1), "{moved:?}");
    }
    assert_eq!(apart(&[50.0, 100.0]), [50.0, 100.0], "nobody moves without need");
}
