use super::{CHECKS, Severity};

/// The page `docs/checks/README.md`: Markdown, with a final newline.
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for (severity, title) in [(Severity::Error, "Errors"), (Severity::Warning, "Warnings")] {
        page.push_str(&format!("\n## {title}\n\n| check | what is wrong |\n| --- | --- |\n"));
        for check in CHECKS.iter().filter(|check| check.severity == severity) {
            page.push_str(&format!("| [{name}]({name}.md) | {} |\n", check.title, name = check.name));
        }
    }
    page
}

const HEAD: &str = "\
# Checks

`carrack check [FILE…]` finds what is wrong with a Dockerfile that builds Rust. It looks at the files it is given, or at
`Dockerfile`, `Dockerfile.*` and `*.Dockerfile` of the folders it is given, and at the workspace, the `.dockerignore` and
the CI's files around them. What it can't know it does not guess.

| | |
| --- | --- |
| `carrack check --fix` | makes the changes that can't make a build worse, and says which |
| `carrack check --format json` | one object a line; `sarif` for code scanning |
| `carrack check --strict` | warnings fail too |
| `carrack check --list` | this list |
| `# carrack: allow(name)` | above an instruction: not here |
| `# check=skip=name` | at the top of the file: not in this file |

Exit codes: 0 nothing that fails, 1 errors (with `--strict` warnings too), 2 a file can't be read or understood.

This page is made from the table of checks: `cargo run -p carrack-docker --example checks > docs/checks/README.md`.
";
