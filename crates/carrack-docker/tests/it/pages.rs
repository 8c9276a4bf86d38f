//! Every check has a page; what the page calls wrong is found, exactly that, and what it calls right is clean.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use carrack_docker::check::{
    CHECKS, Check, Edit, Finding, Fix, Member, Severity, Surroundings, Workspace, apply,
};
use carrack_docker::dockerfile::parse;
use carrack_docker::dockerignore::Dockerignore;

use crate::dockerfile::source;

fn pages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/checks")
}

/// The workspace of all pages: `server` makes the program `shop`, `core` is a library.
pub(crate) fn shop() -> Workspace {
    let member = |name: &str, binaries: &[&str]| Member {
        name: name.to_owned(),
        folder: name.to_owned(),
        listed: true,
        binaries: binaries.iter().map(|binary| (*binary).to_owned()).collect(),
    };
    Workspace {
        members: vec![member("core", &[]), member("server", &["shop"])],
        manifests: ["", "core", "server"].map(str::to_owned).into(),
        locked: Some(BTreeSet::from(["serde".to_owned()])),
        toolchain: Some("1.95".to_owned()),
        ..Workspace::default()
    }
}

/// The fenced blocks of a section, with their languages.
fn blocks(page: &str, section: &str) -> Vec<(String, String)> {
    let text = page.split("\n## ").find_map(|part| part.strip_prefix(section)).unwrap_or_default();
    let mut blocks = Vec::new();
    let mut parts = text.split("```");
    parts.next();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').unwrap();
        blocks.push((language.to_owned(), text.to_owned()));
    }
    blocks
}

fn findings(check: &Check, page: &str, section: &str) -> Vec<Finding> {
    let blocks = blocks(page, section);
    let text =
        |language: &str| blocks.iter().find(|(other, _)| other == language).map(|(_, text)| text.as_str());
    let mut workspace = shop();
    if let Some(toml) = text("toml") {
        let value = |key: &str| {
            let line = toml.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
            line.map(|value| value.trim().trim_matches('"').to_owned())
        };
        workspace.locked.as_mut().unwrap().extend(value("name"));
        if let Some(version) = value("rust-version") {
            workspace.toolchain = None;
            workspace.rust_version = Some(version);
        }
        assert!(value("channel").is_none_or(|channel| workspace.toolchain.as_ref() == Some(&channel)));
    }
    // A page that is about the file shows it; for all others it is as it should be.
    let ignore = match text("dockerignore") {
        None if check.name == "no-dockerignore" => None,
        text => Some(Dockerignore::parse(text.unwrap_or("target")).unwrap()),
    };
    let ci = text("yaml").filter(|yaml| !yaml.contains("cache-dance"));
    let ci = ci.map(|_| ".github/workflows/images.yml".to_owned()).into_iter().collect();
    let dockerfile = parse(&source(text("dockerfile").expect("a Dockerfile"))).unwrap();
    carrack_docker::check::check(&dockerfile, &Surroundings { workspace: Some(workspace), ignore, ci })
}

fn names(findings: &[Finding]) -> BTreeSet<&str> {
    findings.iter().map(|finding| finding.check.name).collect()
}

#[test]
fn every_check_has_its_page() {
    for check in CHECKS {
        let file = pages().join(format!("{}.md", check.name));
        let page = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let severity = if check.severity == Severity::Error { "Error" } else { "Warning" };
        assert!(
            page.starts_with(&format!("# {}\n\n{severity}: {}.\n", check.name, check.title)),
            "{}",
            check.name
        );
        let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(check.why), "{} does not say why", check.name);
        assert!(words.contains("## Waiving it"), "{} does not say how it is waived", check.name);
        let wrong = findings(check, &page, "Wrong");
        assert_eq!(names(&wrong), BTreeSet::from([check.name]), "{}: {wrong:#?}", check.name);
        let right = findings(check, &page, "Right");
        assert!(right.is_empty(), "{}: {right:#?}", check.name);
    }
}

#[test]
fn every_page_has_its_check() {
    let mut pages: Vec<String> = fs::read_dir(pages())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    pages.sort();
    let mut checks: Vec<String> = CHECKS.iter().map(|check| format!("{}.md", check.name)).collect();
    checks.sort();
    assert_eq!(pages, checks);
}

#[test]
fn the_list_of_pages_is_fresh() {
    let committed = fs::read_to_string(pages().join("README.md")).unwrap_or_default();
    assert!(
        committed == carrack_docker::check::reference(),
        "docs/checks/README.md is stale: cargo run -p carrack-docker --example checks > docs/checks/README.md"
    );
}

#[test]
fn waivers_are_heard() {
    for check in CHECKS.iter().filter(|check| check.name != "unknown-waiver") {
        let page = fs::read_to_string(pages().join(format!("{}.md", check.name))).unwrap();
        let blocks = blocks(&page, "Wrong");
        let (_, text) = blocks.iter().find(|(language, _)| language == "dockerfile").unwrap();
        let skipped = page.replace(text, &format!("# check=skip=Other,{}\n{text}", check.name));
        assert!(findings(check, &skipped, "Wrong").is_empty(), "{}", check.name);
        let waived: String = text
            .split_inclusive('\n')
            .map(|line| match line.split_whitespace().next() {
                Some("FROM" | "RUN" | "COPY" | "ARG" | "ENV") => {
                    format!("# carrack: allow({})\n{line}", check.name)
                }
                _ => line.to_owned(),
            })
            .collect();
        assert!(
            findings(check, &page.replace(text, &waived), "Wrong").is_empty(),
            "{}\n{waived}",
            check.name
        );
    }
}

#[test]
fn fixes_mend_what_they_are_for() {
    let mut mended = 0;
    for check in CHECKS {
        let page = fs::read_to_string(pages().join(format!("{}.md", check.name))).unwrap();
        let found = findings(check, &page, "Wrong");
        let fixes: Vec<&Fix> = found.iter().filter_map(|finding| finding.fix.as_ref()).collect();
        if fixes.is_empty() || fixes.iter().all(|fix| matches!(fix.edit, Edit::Ignore { .. })) {
            continue;
        }
        let text = &found[0].span.source.text;
        let fixed = page.replace(text.as_str(), &apply(text, &fixes));
        assert!(findings(check, &fixed, "Wrong").is_empty(), "{}\n{fixed}", check.name);
        mended += 1;
    }
    assert_eq!(mended, 5);
}
