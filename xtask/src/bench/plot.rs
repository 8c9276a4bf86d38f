//! Draws scenarios as bars: one panel for each, with a scale of its own, since a first build and a build of nothing are
//! four powers of ten apart. The drawing is one SVG file with no font, script or style from elsewhere; it follows the
//! reader's light or dark.

use super::page::Scenario;

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 20.0;
/// Where the bars begin; the names end before.
const BARS: f64 = 250.0;
/// The longest time, whose words stand behind it.
const LONGEST: f64 = 370.0;
const BAR: f64 = 18.0;
const LINE: f64 = 26.0;

const HEAD: &str = r#"<style>
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .scenario { font-weight: 600 }
  .name { text-anchor: end }
  .machine { font-size: 11px; fill: #57606a }
  .ground { fill: #ffffff }
  .spread { stroke: #24292f }
  .bar0 { fill: #8c959f } .bar1 { fill: #bf8700 } .bar2 { fill: #2da44e } .bar3 { fill: #218bff }
  .bar4 { fill: #a475f9 } .bar5 { fill: #e16f24 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .machine { fill: #9198a1 }
    .ground { fill: #0d1117 }
    .spread { stroke: #e6edf3 }
  }
</style>
"#;

/// The bars are medians, the thin lines on them go from the shortest to the longest time.
pub(super) fn draw(title: &str, scenarios: &[Scenario], machine: &str) -> String {
    let mut body = String::new();
    let mut y = MARGIN + 16.0;
    body += &text("title", MARGIN, y, title);
    for scenario in scenarios {
        y += 36.0;
        body += &text("scenario", MARGIN, y, scenario.name);
        y += 12.0;
        let longest = scenario.rows.iter().map(|row| row.longest().as_secs_f64()).fold(0.0, f64::max);
        let scale = LONGEST / longest;
        for (index, row) in scenario.rows.iter().enumerate() {
            let [median, shortest, longest] =
                [row.median(), row.shortest(), row.longest()].map(|time| time.as_secs_f64() * scale);
            let (middle, baseline) = (y + BAR / 2.0, y + BAR - 4.5);
            body += &text("name", BARS - 10.0, baseline, &row.what.replace('`', ""));
            body += &format!(
                "<rect class=\"bar{index}\" x=\"{BARS}\" y=\"{y}\" width=\"{median:.1}\" height=\"{BAR}\" rx=\"2\"/>\n"
            );
            if longest > shortest {
                let [from, to] = [BARS + shortest, BARS + longest];
                body += &format!(
                    "<line class=\"spread\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\n"
                );
            }
            body += &text("time", BARS + longest.max(median) + 8.0, baseline, &scenario.words(index));
            y += LINE;
        }
    }
    y += 8.0;
    for line in lines(machine) {
        y += 16.0;
        body += &text("machine", MARGIN, y, &line);
    }
    let height = y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">\n{HEAD}\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n{body}</svg>\n",
        escaped(title)
    )
}

fn text(class: &str, x: f64, y: f64, words: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n", escaped(words))
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// Breaks between the parts of a long line: small text has no line breaks of its own in SVG.
fn lines(machine: &str) -> Vec<String> {
    const LENGTH: usize = 100;
    let mut lines: Vec<String> = Vec::new();
    for part in machine.split(" · ") {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() <= LENGTH => {
                *line += &format!(" · {part}");
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::page::Row;
    use super::*;

    fn row(what: &str, times: &[u64]) -> Row {
        Row::new(what, times.iter().copied().map(Duration::from_millis).collect())
    }

    #[test]
    fn bars_are_as_long_as_their_medians_in_each_panel() {
        let panel = |name, rows: [&[u64]; 2]| Scenario {
            name,
            rows: vec![row("a", rows[0]), row("`b` & <c>", rows[1])],
        };
        let scenarios = [panel("first", [&[100_000], &[50_000]]), panel("none", [&[200, 300, 400], &[3]])];
        let drawing = draw("Title", &scenarios, &["part"; 40].join(" · "));
        let widths: Vec<&str> =
            drawing.split("width=\"").skip(3).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(widths, ["370.0", "185.0", "277.5", "2.8"], "{drawing}");
        assert_eq!(drawing.matches("<line").count(), 1, "one spread: a single time has none");
        for words in [">b &amp; &lt;c></text>", "100.00 s", "50.00 s · 0.50 ×", "3.0 ms · 0.01 ×"] {
            assert!(drawing.contains(words), "{words} in {drawing}");
        }
        assert_eq!(drawing.matches("class=\"machine\"").count(), 3, "{drawing}");
    }
}
