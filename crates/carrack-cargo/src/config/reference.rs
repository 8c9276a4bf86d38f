//! The reference page of the configuration, made from the table of keys.

use super::keys::{CACHE_KEYS, FILE_KEYS, HEALTHCHECK_KEYS, KEYS, Key, Level, PACKAGES_KEYS};

const HEAD: &str = "\
# Configuration

Nothing has to be configured. What is, stands in one of four places; per key, the most specific place wins:

1. `[workspace.metadata.carrack]` in the workspace's `Cargo.toml`
2. `carrack.toml` beside it
3. `[package.metadata.carrack]` in a package's `Cargo.toml`
4. `carrack.toml` beside that

The tables `env`, `labels` and `build-env` merge entry by entry, lists replace each other, `features` add up. Relative
paths start from the folder of the file that names them. A key that is not in this table, or stands at the wrong level, is
an error that shows the line.

A Dockerfile is built under the configuration of the workspace around its context, else under a `carrack.toml` in the
context's folder. Of that, `engine`, `cache`, `cache-from`, `cache-to` and `cache-trust` count.
";

/// The page `docs/configuration.md`: Markdown, with a final newline.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    let sections = [
        ("Keys", KEYS, true),
        ("An entry of `files`", FILE_KEYS, false),
        ("The table `healthcheck`", HEALTHCHECK_KEYS, false),
        ("The table `packages`", PACKAGES_KEYS, false),
        ("The table `cache`", CACHE_KEYS, false),
    ];
    for (title, keys, levels) in sections {
        page.push_str(&format!("\n## {title}\n\n"));
        page.push_str(if levels {
            "| key | takes | stands in | |\n| --- | --- | --- | --- |\n"
        } else {
            "| key | takes | |\n| --- | --- | --- |\n"
        });
        keys.iter().for_each(|key| page.push_str(&row(key, levels)));
    }
    page
}

fn row(key: &Key, levels: bool) -> String {
    let level = match key.level {
        _ if !levels => "",
        Level::Workspace => "workspace | ",
        Level::Package => "package | ",
        Level::Both => "both | ",
    };
    format!("| `{}` | {} | {level}{} |\n", key.name, key.shape.expected().replace('|', "\\|"), key.doc)
}
