use super::{CHECKS, DOCKER_CHECKS, Severity};

/// The page `docs/checks/README.md`: Markdown, with a final newline.
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for (severity, title) in [(Severity::Error, "Errors"), (Severity::Warning, "Warnings")] {
        page.push_str(&format!("\n## {title}\n\n| check | what is wrong |\n| --- | --- |\n"));
        for check in CHECKS.iter().filter(|check| check.severity == severity) {
            page.push_str(&format!("| [{name}]({name}.md) | {} |\n", check.title, name = check.name));
        }
    }
    page.push_str(DOCKERS);
    for check in DOCKER_CHECKS {
        let experimental = if check.experimental { " (experimental)" } else { "" };
        page.push_str(&format!("| [{}]({}) | {}{experimental} |\n", check.name, check.url(), check.title));
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

`carrack build --check` does the same for one build with its arguments, without building; an ordinary build prints in a line each
what Docker's checks find, and builds.

Exit codes: 0 nothing that fails, 1 errors (with `--strict` warnings too), 2 a file can't be read or understood.

This page is made from the table of checks: `cargo run -p carrack-docker --example checks > docs/checks/README.md`.
";

const DOCKERS: &str = "
## Docker's own checks

The checks of Docker's builder are made too, under Docker's names and with Docker's rules: `# check=skip=NAME` at the top of the
file, or above an instruction, leaves some out, `skip=all` all of them; `error=true` makes any finding an error, which fails
a build too, unless it is in a stage that is not built; those that are experimental are made if `experimental=NAME` says so.

| check | what is wrong |
| --- | --- |
";
