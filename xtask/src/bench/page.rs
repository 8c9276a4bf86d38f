//! The page with the numbers: one section for each part, so that each can be measured anew for itself.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

const HEAD: &str = "\
# Measurements

Written by `just bench`; `just bench no-change` measures one part anew. Wall times of whole processes, the medians of
several rounds in which what is compared takes turns. Where it says processor, it is the time that processors worked.
";

/// What is said about one part.
pub(super) struct Section {
    name: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: Vec<Row>,
    /// What is compared in more than one situation, before the rows. It is drawn too.
    pub(super) scenarios: Vec<Scenario>,
    pub(super) goals: Vec<Goal>,
    pub(super) notes: Vec<String>,
}

/// The same things measured in one situation: in all scenarios of a section the same ones in the same order, and the
/// first is what the others are compared with.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) rows: Vec<Row>,
}

/// The times of one thing, not empty.
pub(super) struct Row {
    pub(super) what: String,
    times: Vec<Duration>,
}

/// What is to be reached, and whether it was.
pub(super) struct Goal {
    limit: String,
    is_met: bool,
}

impl Goal {
    pub(super) fn at_most(words: &str, measured: Duration, limit: Duration) -> Self {
        Self { limit: format!("at most {words} ({})", show(limit)), is_met: measured <= limit }
    }

    /// The same for one of several things that have goals.
    pub(super) fn of(self, what: &str) -> Self {
        Self { limit: format!("{what}: {}", self.limit), ..self }
    }
}

impl Row {
    pub(super) fn new(what: &str, mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "{what} was measured");
        times.sort();
        Self { what: what.to_owned(), times }
    }

    pub(super) fn median(&self) -> Duration {
        self.times[self.times.len() / 2]
    }

    pub(super) fn shortest(&self) -> Duration {
        self.times[0]
    }

    pub(super) fn longest(&self) -> Duration {
        self.times[self.times.len() - 1]
    }
}

impl Scenario {
    /// How often as long as the first row the one at `index` takes.
    pub(super) fn ratio(&self, index: usize) -> f64 {
        self.rows[index].median().as_secs_f64() / self.rows[0].median().as_secs_f64()
    }

    /// `1 round`, `2–5 rounds`: slow things may have fewer.
    fn rounds(&self) -> String {
        let rounds = self.rows.iter().map(|row| row.times.len());
        match (rounds.clone().min().unwrap_or(0), rounds.max().unwrap_or(0)) {
            (1, 1) => "1 round".to_owned(),
            (least, most) if least == most => format!("{most} rounds"),
            (least, most) => format!("{least}–{most} rounds"),
        }
    }

    /// `2.41 s · 0.38 ×`; the first row has its time alone.
    pub(super) fn words(&self, index: usize) -> String {
        let median = show(self.rows[index].median());
        if index == 0 { median } else { format!("{median} · {:.2} ×", self.ratio(index)) }
    }
}

impl Section {
    pub(super) fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, rows: Vec::new(), scenarios: Vec::new(), goals: Vec::new(), notes: Vec::new() }
    }

    /// The file beside the page with the drawing, if there is one.
    pub(super) fn plot_name(&self) -> Option<String> {
        (!self.scenarios.is_empty()).then(|| format!("benchmarks-{}.svg", self.name))
    }

    /// The section with its heading.
    pub(super) fn text(&self, machine: &str) -> String {
        let mut text = format!("## {}\n\n`{}`, {machine}\n\n", self.title, self.name);
        if !self.scenarios.is_empty() {
            text += &self.comparison();
            text.push('\n');
        }
        if !self.rows.is_empty() {
            text += &self.times();
            text.push('\n');
        }
        for goal in &self.goals {
            text += &format!("- Goal: {}: {}\n", goal.limit, if goal.is_met { "met" } else { "**missed**" });
        }
        for note in &self.notes {
            text += &format!("- {note}\n");
        }
        if let Some(plot) = self.plot_name() {
            text += &format!("\n![{}, as bars]({plot})\n", self.title);
        }
        text
    }

    fn times(&self) -> String {
        let mut text =
            "| | median | shortest | longest | rounds |\n| --- | ---: | ---: | ---: | ---: |\n".to_owned();
        for row in &self.rows {
            let [median, shortest, longest] = [row.median(), row.shortest(), row.longest()].map(show);
            text += &format!("| {} | {median} | {shortest} | {longest} | {} |\n", row.what, row.times.len());
        }
        text
    }

    /// Medians with their ratios, one column for each scenario.
    fn comparison(&self) -> String {
        let (mut head, mut rule) = ("| |".to_owned(), "| --- |".to_owned());
        for scenario in &self.scenarios {
            head += &format!(" {}, {} |", scenario.name, scenario.rounds());
            rule += " ---: |";
        }
        let mut text = format!("{head}\n{rule}\n");
        for (index, row) in self.scenarios[0].rows.iter().enumerate() {
            let cells = self.scenarios.iter().map(|scenario| format!(" {} |", scenario.words(index)));
            text += &format!("| {} |{}\n", row.what, cells.collect::<String>());
        }
        text
    }
}

/// The sections of a page by the name in their second line.
pub(super) fn read(page: &str) -> BTreeMap<String, String> {
    let sections = page.split("\n## ").skip(1);
    let named = sections.filter_map(|section| {
        let name = section.lines().find_map(|line| line.strip_prefix('`')?.split_once('`'))?.0;
        Some((name.to_owned(), format!("## {}\n", section.trim_end())))
    });
    named.collect()
}

/// The page with its sections in the order of `names`.
pub(super) fn write(names: &[&str], sections: &BTreeMap<String, String>) -> String {
    let known = names.iter().filter_map(|name| sections.get(*name));
    known.fold(HEAD.to_owned(), |page, section| format!("{page}\n{section}"))
}

/// Where and when: processor, memory, system, versions, day.
pub(super) fn machine() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str, separator: char| {
        let line = text.lines().find(|line| line.starts_with(name))?.split_once(separator)?.1;
        Some(line.trim().trim_matches('"').to_owned())
    };
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&file("/proc/meminfo"), "MemTotal", ':');
    let memory = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let parts = [
        said("date", &["--utc", "+%Y-%m-%d"]),
        field(&file("/proc/cpuinfo"), "model name", ':'),
        Some(format!("{cores} cores")),
        memory.map(|kibibytes| format!("{} GiB", kibibytes.div_ceil(1 << 20))),
        field(&file("/etc/os-release"), "PRETTY_NAME", '='),
        said("uname", &["-r"]).map(|release| format!("Linux {release}")),
        said("rustc", &["--version"]),
        // Of the last five minutes: what others do here at the same time, and the measurement itself, shows in it.
        file("/proc/loadavg").split(' ').nth(1).map(|load| format!("load {load}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// `9.4 ms`, `2.41 s`.
fn show(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// Reads what `Debug` writes for a duration.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_what_was_not_measured_again() {
        let mut section = Section::new("a", "First");
        section.rows.push(Row::new("x", [30, 10, 20].map(Duration::from_millis).into()));
        section.goals.push(Goal::at_most("15 ms", section.rows[0].median(), Duration::from_millis(15)));
        let text = section.text("here");
        assert!(text.contains("| x | 20.0 ms | 10.0 ms | 30.0 ms | 3 |"), "{text}");
        assert!(text.contains("at most 15 ms (15.0 ms): **missed**"), "{text}");
        let sections = BTreeMap::from([
            ("a".to_owned(), text),
            ("b".to_owned(), "## Second\n\n`b`, there\n\n- note\n".to_owned()),
        ]);
        let page = write(&["b", "a"], &sections);
        assert!(page.find("## Second") < page.find("## First"));
        assert_eq!(read(&page), sections);
        assert!(read("").is_empty());
    }

    #[test]
    fn scenarios_are_columns_with_ratios_to_the_first_row() {
        let mut section = Section::new("c", "Compared");
        for (name, times) in [("first build", [100, 90]), ("no change", [10, 1])] {
            let rows = ["theirs", "ours"].into_iter().zip(times);
            let rows = rows.map(|(what, seconds)| Row::new(what, vec![Duration::from_secs(seconds)]));
            section.scenarios.push(Scenario { name, rows: rows.collect() });
        }
        let limit = section.scenarios[0].rows[0].median();
        section.goals.push(Goal::at_most("theirs", Duration::from_secs(90), limit).of("ours"));
        let text = section.text("here");
        for line in [
            "| | first build, 1 round | no change, 1 round |",
            "| --- | ---: | ---: |",
            "| theirs | 100.00 s | 10.00 s |",
            "| ours | 90.00 s · 0.90 × | 1.00 s · 0.10 × |",
            "- Goal: ours: at most theirs (100.00 s): met",
            "![Compared, as bars](benchmarks-c.svg)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let sections = BTreeMap::from([("c".to_owned(), text)]);
        assert_eq!(read(&write(&["c"], &sections)), sections);
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        for time in [Duration::from_micros(1_500), Duration::from_nanos(12), Duration::from_millis(2_250)] {
            assert_eq!(parse_duration(&format!("{time:?}")), Some(time));
        }
        assert_eq!(parse_duration("soon"), None);
    }
}
