use std::path::Path;

use carrack_cargo::messages::{CargoNews, Status, StderrParser, StdoutParser};

use crate::fixture::{Fixture, package, run};

const VARIABLES: [(&str, &str); 3] = [
    ("CARGO_TERM_PROGRESS_WHEN", "always"),
    ("CARGO_TERM_PROGRESS_WIDTH", "100"),
    ("CARGO_TERM_COLOR", "always"),
];

/// Builds with the real cargo and feeds its output in pieces of `size` bytes.
fn build(folder: &Path, size: usize) -> (Vec<CargoNews>, Vec<CargoNews>, Vec<u8>) {
    let arguments =
        ["build", "--offline", "--message-format=json,json-diagnostic-rendered-ansi"].map(str::to_owned);
    let output = run(folder, &arguments, &VARIABLES);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut parser = StdoutParser::default();
    output.stdout.chunks(size).for_each(|chunk| parser.push(chunk, |news| stdout.push(news)));
    parser.finish(|news| stdout.push(news));
    let mut parser = StderrParser::default();
    output.stderr.chunks(size).for_each(|chunk| parser.push(chunk, |news| stderr.push(news)));
    parser.finish(|news| stderr.push(news));
    (stdout, stderr, output.stderr)
}

fn fixture() -> Fixture {
    Fixture::new(&[
        ("Cargo.toml", &package("app", "[dependencies]\nlibrary = { path = \"library\" }")),
        ("src/main.rs", "fn main() { let unused = 1; }"),
        ("build.rs", "fn main() { println!(\"cargo:warning=from the script\"); }"),
        ("library/Cargo.toml", &package("library", "")),
        ("library/src/lib.rs", ""),
    ])
}

#[test]
fn a_real_build_is_understood() {
    let fixture = fixture();
    let (stdout, stderr, raw) = build(&fixture.path(""), 7);
    let unit = |news: &CargoNews| match news {
        CargoNews::Unit { package, target, fresh } => Some(format!("{package}: {target} {fresh}")),
        _ => None,
    };
    let mut units: Vec<String> = stdout.iter().filter_map(unit).collect();
    units.sort();
    assert_eq!(
        units,
        ["app 1.2.3: app false", "app 1.2.3: build-script-build false", "library 1.2.3: library false"]
    );
    assert!(stdout.iter().any(|news| matches!(news, CargoNews::Executable { package, target, path }
        if package.name == "app" && target == "app" && path.is_file())));
    assert!(stdout.iter().any(|news| matches!(news, CargoNews::Diagnostic { level, rendered, .. }
        if level == "warning" && rendered.contains("unused") && rendered.contains("\u{1b}["))));
    assert_eq!(stdout.last(), Some(&CargoNews::Finished { success: true }));

    assert!(String::from_utf8_lossy(&raw).contains("Building"), "cargo draws its bar");
    let progress = |news: &CargoNews| match news {
        CargoNews::Progress { done, total, current } => Some((*done, *total, current.clone())),
        _ => None,
    };
    let progress: Vec<_> = stderr.iter().filter_map(progress).collect();
    assert!(
        progress.iter().all(|(done, total, current)| done < total && *total == 4 && !current.is_empty()),
        "{progress:?}"
    );
    let mut shown = Vec::new();
    for news in &stderr {
        match news {
            CargoNews::Status { line, .. } | CargoNews::Passthrough(line) => shown.extend_from_slice(line),
            CargoNews::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let shown = String::from_utf8(shown).unwrap();
    assert!(!shown.contains("Building") && !shown.contains('\r') && !shown.contains("\u{1b}[K"), "{shown:?}");
    assert!(shown.contains("\u{1b}[1m\u{1b}[33mwarning\u{1b}[0m: app@1.2.3: from the script\n"), "{shown:?}");
    let statuses = |wanted: Status| {
        stderr
            .iter()
            .filter(|news| matches!(news, CargoNews::Status { status, .. } if *status == wanted))
            .count()
    };
    assert_eq!((statuses(Status::Compiling), statuses(Status::Finished)), (2, 1));

    let (stdout, _, _) = build(&fixture.path(""), 4096);
    assert!(stdout.iter().filter_map(unit).all(|unit| unit.ends_with("true")), "{stdout:?}");
}

#[test]
fn a_failed_build_says_so() {
    let fixture = fixture();
    fixture.write("src/main.rs", "fn main() { nothing }");
    let (stdout, _, _) = build(&fixture.path(""), 1);
    assert!(stdout.iter().any(|news| matches!(news, CargoNews::Diagnostic { package, level, .. }
        if package.to_string() == "app 1.2.3" && level == "error")));
    assert_eq!(stdout.last(), Some(&CargoNews::Finished { success: false }));
}
