//! Which packages use a procedural macro that may read files without declaring them (`sqlx::migrate!`, templates,
//! embedded assets). Cargo does not see such files: whoever keeps results across their changes has to.
//!
//! When in doubt, a macro reads. Two kinds are beyond doubt: well-known macros that only look at their tokens
//! ([`PURE`]), and macros of the user's own whose sources never mention files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::metadata::{Metadata, Package};

/// Macro packages that read nothing but their input.
const PURE: &[&str] = &[
    "async-recursion",
    "async-stream-impl",
    "async-trait",
    "auto_impl",
    "axum-macros",
    "bitflags-attr",
    "bon-macros",
    "bytemuck_derive",
    "clap_derive",
    "const_format_proc_macros",
    "ctor",
    "ctor-proc-macro",
    "darling_macro",
    "data-encoding-macro-internal",
    "delegate",
    "derivative",
    "derive-new",
    "derive_arbitrary",
    "derive_builder_macro",
    "derive_more",
    "derive_more-impl",
    "diesel_derives",
    "displaydoc",
    "document-features",
    "educe",
    "enum-as-inner",
    "enum-iterator-derive",
    "enum-map-derive",
    "enum_dispatch",
    "enumflags2_derive",
    "env_logger-macros",
    "futures-macro",
    "garde_derive",
    "getset",
    "indoc",
    "inventory",
    "lazy_static",
    "linkme-impl",
    "macro_rules_attribute-proc_macro",
    "maplit",
    "miette-derive",
    "mockall_derive",
    "monostate-impl",
    "num-derive",
    "num_enum_derive",
    "once_cell",
    "opentelemetry-proc-macros",
    "ouroboros_macro",
    "paste",
    "pin-project-internal",
    "prost-derive",
    "ref-cast-impl",
    "rstest_macros",
    "salsa-macros",
    "schemars_derive",
    "scroll_derive",
    "sea-orm-macros",
    "seq-macro",
    "serde_derive",
    "serde_repr",
    "serde_with_macros",
    "serial_test_derive",
    "smart-default",
    "snafu-derive",
    "strum_macros",
    "test-case",
    "test-case-core",
    "test-case-macros",
    "thiserror-impl",
    "time-macros",
    "tokio-macros",
    "tracing-attributes",
    "typed-builder-macro",
    "typenum",
    "utoipa-gen",
    "validator_derive",
    "wasm-bindgen-macro",
    "yoke-derive",
    "zerocopy-derive",
    "zerofrom-derive",
    "zeroize_derive",
    "zerovec-derive",
];

/// Without one of these words, Rust code opens no file and starts no program.
const SUSPICIOUS: &[&str] =
    &["fs", "File", "Command", "unsafe", "extern", "OpenOptions", "net", "dotenvy", "dotenv"];

/// The ids of packages that use a macro which may read files without declaring them, among those of the user's.
pub(super) fn reading_packages(metadata: &Metadata) -> BTreeSet<&str> {
    let by_id: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let reading: BTreeSet<&str> = metadata
        .packages
        .iter()
        .filter(|package| package.is_macro() && may_read(package))
        .map(|package| package.id.as_str())
        .collect();
    let local = metadata.packages.iter().filter(|package| package.source.is_none());
    local.map(|package| package.id.as_str()).filter(|id| reaches(id, &reading, metadata, &by_id)).collect()
}

/// Whether `from` depends on one of `wanted`, directly or through libraries that may re-export it.
fn reaches(
    from: &str,
    wanted: &BTreeSet<&str>,
    metadata: &Metadata,
    by_id: &BTreeMap<&str, &Package>,
) -> bool {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let dependencies: BTreeMap<&str, &[String]> =
        nodes.map(|node| (node.id.as_str(), &node.dependencies[..])).collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for dependency in dependencies.get(id).copied().unwrap_or_default() {
            if wanted.contains(dependency.as_str()) {
                return true;
            }
            // What a macro depends on runs inside of it.
            let is_macro = by_id.get(dependency.as_str()).is_some_and(|package| package.is_macro());
            if !is_macro && seen.insert(dependency.as_str()) {
                open.push(dependency);
            }
        }
    }
    false
}

fn may_read(package: &Package) -> bool {
    match package.source {
        Some(_) => !PURE.contains(&package.name.as_str()),
        None => mentions_files(package.folder()),
    }
}

/// Whether a Rust file below `folder` has a suspicious word, or can't be read.
fn mentions_files(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return true };
    entries.into_iter().any(|entry| {
        let Ok(entry) = entry else { return true };
        let path = entry.path();
        if path.is_dir() {
            return !path.ends_with("target") && mentions_files(&path);
        }
        path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).map_or(true, |text| {
                text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .any(|word| SUSPICIOUS.contains(&word))
            })
    })
}
