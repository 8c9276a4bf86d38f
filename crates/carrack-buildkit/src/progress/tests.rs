//! Recordings of docker 20.10 (`plain-…`) and of buildx 0.29 with Docker 28.5 (`rawjson-…`), each of the same builds.

use std::sync::Mutex;

use carrack_base::{BuildEvent, StepOutcome};

use super::*;

/// What a person would be told, one line for each event that says something.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn take(&self, event: BuildEvent) {
        let line = match event {
            BuildEvent::StepFinished { outcome, summary, step, .. } if !summary.is_empty() => {
                let outcome = match outcome {
                    StepOutcome::Ran => "ran",
                    StepOutcome::Reused => "reused",
                    StepOutcome::Failed => "failed",
                };
                format!("{} {outcome}: {summary}", step.0)
            }
            BuildEvent::StepOutput { step, bytes, .. } => {
                format!("{} wrote: {}", step.0, String::from_utf8_lossy(&bytes).escape_debug())
            }
            BuildEvent::Warning { message, .. } => format!("warning: {message}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The news of each line of a recording.
fn news(recording: &str) -> Vec<Vec<News>> {
    let mut plain = Plain::default();
    let is_json = recording.starts_with('{');
    recording.lines().map(|line| if is_json { rawjson(line) } else { plain.line(line) }).collect()
}

#[track_caller]
fn check(recording: &str, expected: &[&str]) {
    let told = Told::default();
    let sink = |event| told.take(event);
    let board = Board::new(&sink);
    let mut sheet = Sheet::new(&board, 0, 0, false, String::new());
    news(recording).into_iter().flatten().for_each(|news| sheet.take(news));
    assert_eq!(told.lines(), expected);
    assert_eq!(sheet.ran(), expected.iter().any(|line| line.contains(" ran: ")));
}

#[test]
fn steps_that_run() {
    for (recording, first) in
        [(include_str!("recordings/plain-ran.txt"), 3), (include_str!("recordings/rawjson-ran.txt"), 6)]
    {
        let [copy, builder, own] = [first, first + 1, first + 2];
        let lines = [
            format!("{copy} ran: base 1/1 · rootfs /"),
            format!("{builder} wrote: out\\n"),
            format!("{builder} wrote: err\\n"),
            format!("{builder} wrote: no line end"),
            format!("{builder} ran: builder 1/1 · echo out && echo err >&2 && printf 'no line end'"),
            format!("{own} wrote: first\\n"),
            format!("{own} ran: first 1/1 · echo first"),
        ];
        check(recording, &lines.each_ref().map(String::as_str));
    }
}

#[test]
fn steps_that_are_there() {
    let steps = [
        "base 1/1 · rootfs /",
        "builder 1/1 · echo out && echo err >&2 && printf 'no line end'",
        "first 1/1 · echo first",
    ];
    for (recording, first) in
        [(include_str!("recordings/plain-cached.txt"), 3), (include_str!("recordings/rawjson-cached.txt"), 6)]
    {
        let lines = (first..).zip(steps).map(|(number, step)| format!("{number} reused: {step}"));
        let lines: Vec<String> = lines.collect();
        check(recording, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn a_step_that_fails() {
    for recording in
        [include_str!("recordings/plain-failed.txt"), include_str!("recordings/rawjson-failed.txt")]
    {
        let told = Told::default();
        let sink = |event| told.take(event);
        let board = Board::new(&sink);
        let mut sheet = Sheet::new(&board, 0, 0, false, String::new());
        news(recording).into_iter().flatten().for_each(|news| sheet.take(news));
        let failed = sheet.failed().unwrap();
        assert!(failed.name.starts_with("[bad 1/1] RUN echo one && "), "{}", failed.name);
        assert!(failed.said.ends_with("exit code: 7"), "{}", failed.said);
        assert!(crate::said::message(sheet.words()).ends_with("exit code: 7"), "{:?}", sheet.words());
        let lines = told.lines();
        assert!(lines.iter().any(|line| line.ends_with("wrote: one\\n")), "{lines:?}");
        assert!(lines.last().unwrap().contains(" failed: bad 1/1 · "), "{lines:?}");
    }
}

/// Two clients of which the second hears everything one piece of news later, or before the first does.
#[test]
fn what_two_clients_tell_is_told_once() {
    for recording in [include_str!("recordings/plain-ran.txt"), include_str!("recordings/rawjson-ran.txt")] {
        let alone = {
            let told = Told::default();
            let sink = |event| told.take(event);
            let board = Board::new(&sink);
            let mut sheet = Sheet::new(&board, 0, 0, false, String::new());
            news(recording).into_iter().flatten().for_each(|news| sheet.take(news));
            without_numbers(told.lines())
        };
        for lead in [0, 1, 3, 1000] {
            let told = Told::default();
            let sink = |event| told.take(event);
            let board = Board::new(&sink);
            let mut sheets = [0, 1].map(|client| Sheet::new(&board, client, 0, true, String::new()));
            let [mut ahead, mut behind] = [0, 1].map(|_| news(recording).into_iter());
            for _ in 0..lead {
                ahead.next().into_iter().flatten().for_each(|news| sheets[1].take(news));
            }
            loop {
                let (one, two) = (behind.next(), ahead.next());
                if one.is_none() && two.is_none() {
                    break;
                }
                one.into_iter().flatten().for_each(|news| sheets[0].take(news));
                two.into_iter().flatten().for_each(|news| sheets[1].take(news));
            }
            assert_eq!(without_numbers(told.lines()), alone, "{lead} pieces ahead");
            assert!(sheets.iter().all(Sheet::ran));
        }
    }
}

/// Who is late hears that a step is there, and may be the first to say so.
#[test]
fn a_step_that_ran_for_another_build_ran() {
    let told = Told::default();
    let sink = |event| told.take(event);
    let board = Board::new(&sink);
    let mut sheets = [0, 1].map(|client| Sheet::new(&board, client, 0, true, String::new()));
    let [ran, late] = [include_str!("recordings/plain-ran.txt"), include_str!("recordings/plain-cached.txt")];
    for recording in [(1, late), (0, ran), (1, late)] {
        news(recording.1).into_iter().flatten().for_each(|news| sheets[recording.0].take(news));
    }
    board.settle();
    let lines = without_numbers(told.lines());
    assert_eq!(lines.iter().filter(|line| line.starts_with("ran: ")).count(), 3, "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("reused: ")), "{lines:?}");
    assert!(sheets.iter().all(Sheet::ran), "an image of a step that ran is another image");

    let board = Board::new(&sink);
    let mut sheets = [0, 1].map(|client| Sheet::new(&board, client, 0, true, String::new()));
    for sheet in &mut sheets {
        news(late).into_iter().flatten().for_each(|news| sheet.take(news));
    }
    board.settle();
    let lines = without_numbers(told.lines());
    assert_eq!(lines.iter().filter(|line| line.starts_with("reused: ")).count(), 3, "{lines:?}");
    assert!(!sheets.iter().any(Sheet::ran));
}

#[test]
fn builds_that_have_nothing_in_common_are_told_apart() {
    let told = Told::default();
    let sink = |event| told.take(event);
    let board = Board::new(&sink);
    for (client, prefix) in [(0, "one: "), (1, "two: ")] {
        let mut sheet = Sheet::new(&board, client, client, false, prefix.to_owned());
        let recording = include_str!("recordings/plain-cached.txt");
        news(recording).into_iter().flatten().for_each(|news| sheet.take(news));
    }
    let lines = without_numbers(told.lines());
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(lines[0], "reused: one: base 1/1 · rootfs /");
    assert_eq!(lines[3], "reused: two: base 1/1 · rootfs /");
}

fn without_numbers(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned())
        .collect()
}

#[test]
fn output_that_looks_like_progress_stays_output() {
    let mut plain = Plain::default();
    let mut lines = |line: &str| plain.line(line);
    lines("#7 [1/1] RUN make");
    let output = |text: &str| News::Output {
        vertex: "7".to_owned(),
        stream: OutputStream::Stdout,
        bytes: text.into(),
    };
    assert_eq!(lines("#7 0.100 #7 DONE"), [output("#7 DONE\n")]);
    assert_eq!(lines("#7 0.100 DONE 1.0s"), [output("DONE 1.0s\n")]);
    assert_eq!(lines("#7 0.100 "), [output("\n")]);
    assert_eq!(lines("#7 0.100 0.3 seconds"), [output("0.3 seconds\n")]);
    assert_eq!(lines("#7 [1/1] RUN make"), []);
    assert_eq!(lines("#7 ..."), []);
    let end = State::Failed("executor failed running [/bin/sh]: exit code: 2".to_owned());
    let vertex = |state| News::Vertex { vertex: "7".to_owned(), name: "[1/1] RUN make".to_owned(), state };
    assert_eq!(lines("#7 ERROR: executor failed running [/bin/sh]: exit code: 2"), [vertex(end)]);
}

#[test]
fn options_of_an_instruction_are_not_told() {
    let lines = "#7 [app 1/1] RUN --mount=type=cache,target=/a     --mount=type=secret,id=b     set -eu;     make --all\n\
        #7 DONE 1.5s";
    check(lines, &["0 ran: app 1/1 · set -eu; make --all"]);
}

#[test]
fn warnings_come_once() {
    let line = r#"{"warnings":[{"vertex":"sha256:5d","level":1,"short":"RnJvbUFzQ2FzaW5nOiBsaW5lIDM=","url":"https://docs.docker.com/go/dockerfile/rule/from-as-casing/"}]}"#;
    check(&[line, line].join("\n"), &["warning: FromAsCasing: line 3"]);
}
