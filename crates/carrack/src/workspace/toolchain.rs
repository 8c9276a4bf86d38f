//! Which compiler builds, and how to recognise it again without asking it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_base::ContentDigest;
use carrack_cargo::toolchain::{self, RustcVersion, Toolchain};
use carrack_engine::Inputs;
use carrack_store::{Bucket, Store};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::failure::Failure;

/// The tools of a build.
pub(crate) struct Builder {
    pub(crate) toolchain: Toolchain,
    pub(crate) rustc: RustcVersion,
    /// Name → what people call the version; everything here enters the key.
    pub(crate) identity: BTreeMap<String, String>,
}

/// What `rustc -vV` said, and which files it depends on.
#[derive(Serialize, Deserialize)]
struct Kept {
    files: BTreeMap<PathBuf, Option<ContentDigest>>,
    said: String,
}

/// Programs and files of the host that cargo uses and does not watch.
const LINKING: [&str; 3] = ["cc", "ld", "ar"];
const C_LIBRARY: [&str; 2] = ["libc.so.6", "crt1.o"];

/// Finds the toolchain of the workspace in `root`.
///
/// Errors: there is none, or it does not work.
pub(crate) fn find(
    caller: &Caller,
    root: &Path,
    store: &Store,
    inputs: &Inputs<'_>,
) -> Result<Builder, Failure> {
    let toolchain = toolchain::locate(|name| caller.variable(name), root)?;
    let key = format!("rustc {}", toolchain.rustc.display()).into_bytes();
    let mut files = BTreeMap::new();
    for path in toolchain.inputs.iter().chain([&toolchain.cargo, &toolchain.rustc]) {
        // Of a folder it only matters that it is there: a toolchain has tens of thousands of files.
        let is_folder = path.is_dir();
        let digest = if is_folder { Some(ContentDigest::of(b"folder")) } else { inputs.digest(path)? };
        files.insert(path.clone(), digest);
    }
    let kept = store.get(Bucket::Toolchain, &key)?;
    let kept = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    let said = match kept.filter(|kept| kept.files == files) {
        Some(kept) => kept.said,
        None => {
            let said = ask(&toolchain.rustc)?;
            let kept = Kept { files: files.clone(), said: said.clone() };
            let bytes = serde_json::to_vec(&kept).map_err(|error| Failure::bug(&error))?;
            store.put(Bucket::Toolchain, &key, bytes)?;
            said
        }
    };
    let rustc = toolchain::parse_verbose_version(&said)
        .ok_or_else(|| Failure::ToolchainBroken { program: toolchain.rustc.clone(), said: said.clone() })?;
    let commit = rustc.commit_hash.as_deref().map_or("", |hash| hash.get(..9).unwrap_or(hash));
    let digest_of = |path: &Path| files.get(path).copied().flatten().map(short).unwrap_or_default();
    let identity = BTreeMap::from([
        (
            "rustc".to_owned(),
            format!("{} {commit} {}", rustc.release, digest_of(&toolchain.rustc)).trim().to_owned(),
        ),
        ("cargo".to_owned(), digest_of(&toolchain.cargo)),
        ("host".to_owned(), rustc.host.clone()),
        ("linker".to_owned(), linking(caller, inputs)?),
    ]);
    Ok(Builder { toolchain, rustc, identity })
}

/// One short word for linker, C compiler and C library: cargo would not notice that they changed.
fn linking(caller: &Caller, inputs: &Inputs<'_>) -> Result<String, Failure> {
    let multiarch = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let programs = LINKING.iter().filter_map(|name| caller.program(name));
    let libraries = C_LIBRARY.iter().map(|name| multiarch.join(name));
    let mut whole = Vec::new();
    for path in programs.chain(libraries) {
        let digest = inputs.digest(&path)?;
        whole.extend_from_slice(digest.as_ref().map_or(&[][..], |digest| digest.as_bytes()));
        whole.push(0);
    }
    Ok(short(ContentDigest::of(&whole)))
}

fn short(digest: ContentDigest) -> String {
    digest.to_string()[..12].to_owned()
}

fn ask(rustc: &Path) -> Result<String, Failure> {
    let broken = |said: String| Failure::ToolchainBroken { program: rustc.to_owned(), said };
    let output = Command::new(rustc).arg("-vV").output().map_err(|error| broken(error.to_string()))?;
    if !output.status.success() {
        return Err(broken(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
