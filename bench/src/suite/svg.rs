//! A small writer of SVG, and scales from values to positions. Only numbers and text.
//!
//! Must not know what is drawn. Invariant: every text is escaped; colours come from the page's
//! classes, so that a picture is readable in light and dark.

use std::fmt::Write;

/// The room below a picture for its axis.
pub const AXIS: f64 = 34.0;

/// A picture under construction.
pub struct Svg {
    body: String,
    width: f64,
    height: f64,
    title: String,
    class: &'static str,
}

/// Text made safe for HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Where a text is held.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    #[must_use]
    pub fn new(class: &'static str, width: f64, height: f64, title: &str) -> Svg {
        Svg { body: String::new(), width, height, title: escape(title), class }
    }

    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    /// A point, whose tooltip is `told`.
    pub fn dot(&mut self, class: &str, at: (f64, f64), told: &str) {
        let _ = writeln!(
            self.body,
            r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="4"><title>{}</title></circle>"#,
            at.0,
            at.1,
            escape(told)
        );
    }

    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polyline class="{class}" points="{}"/>"#, points.join(" "));
    }

    pub fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            at.0,
            at.1,
            escape(text)
        );
    }

    /// The picture.
    #[must_use]
    pub fn finish(self) -> String {
        let Svg { body, width, height, title, class } = self;
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n{body}</svg>\n"
        )
    }
}

/// From values to places along one axis.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    /// Interval of ticks; `None` if positions are logarithms.
    step: Option<f64>,
}

impl Scale {
    /// From 0 to a round number above `high`.
    #[must_use]
    pub fn linear(high: f64, from: f64, to: f64) -> Scale {
        let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
        let step = step(high);
        Scale { low: 0.0, high: (high / step).ceil() * step, from, to, step: Some(step) }
    }

    /// Over the orders of magnitude between `low` and `high`, both above 0.
    #[must_use]
    pub fn logarithmic(low: f64, high: f64, from: f64, to: f64) -> Scale {
        let low = low.max(1e-9);
        let high = if high > low { high } else { low * 10.0 };
        Scale { low, high, from, to, step: None }
    }

    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let share = if self.step.is_none() {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values to write at the axis.
    #[must_use]
    pub fn ticks(&self) -> Vec<f64> {
        let Some(step) = self.step else {
            let decades = self.high.log10().floor() as i32 - self.low.log10().floor() as i32;
            let first = self.low.log10().floor() as i32;
            let factors: &[f64] = if decades > 2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let all = (first..=first + decades + 1)
                .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
            let inside = |tick: &f64| *tick >= self.low * 0.999 && *tick <= self.high * 1.001;
            return all.filter(inside).collect();
        };
        let count = (self.high / step).round() as u32;
        (0..=count).map(|number| f64::from(number) * step).collect()
    }
}

/// 1, 2 or 5 times a power of ten, such that four to ten of them make `high`.
fn step(high: f64) -> f64 {
    let power = 10_f64.powf((high / 4.0).log10().floor());
    let fits = |factor: &&f64| high / (**factor * power) >= 4.0;
    [5.0, 2.0, 1.0].iter().find(fits).copied().unwrap_or(1.0) * power
}

#[test]
fn linear_scales_end_at_round_numbers() {
    for (high, last, ticks) in
        [(3.6, 4.0, 9), (10.0, 10.0, 6), (0.87, 1.0, 6), (120_000.0, 120_000.0, 7)]
    {
        let scale = Scale::linear(high, 0.0, 100.0);
        let got = scale.ticks();
        assert_eq!(got.len(), ticks, "{high}: {got:?}");
        assert!((got[got.len() - 1] - last).abs() < 1e-9, "{high}: {got:?}");
        assert!((scale.place(last) - 100.0).abs() < 1e-9 && scale.place(0.0).abs() < 1e-9);
    }
}

#[test]
fn logarithmic_scales_give_each_order_the_same_room() {
    let scale = Scale::logarithmic(10.0, 10_000.0, 0.0, 300.0);
    for (value, place) in [(10.0, 0.0), (100.0, 100.0), (1_000.0, 200.0), (10_000.0, 300.0)] {
        assert!((scale.place(value) - place).abs() < 1e-6);
    }
    assert_eq!(scale.ticks(), [10.0, 100.0, 1_000.0, 10_000.0]);
    assert!(scale.place(0.0).abs() < 1e-9, "nothing is left of the axis");
}

#[test]
fn text_cannot_leave_its_element() {
    let mut svg = Svg::new("wide", 10.0, 10.0, "a \"b\"");
    svg.text("label", (1.0, 2.0), Anchor::End, "<script>&");
    let text = svg.finish();
    assert!(text.contains("&lt;script&gt;&amp;") && text.contains("a &quot;b&quot;"), "{text}");
}
