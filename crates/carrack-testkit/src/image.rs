//! An image as whoever runs it sees it: its configuration and one file system, whatever its layers are like. For tests
//! that compare what two builders made of the same sources.
//!
//! Reads what `docker save` writes and OCI layouts, both as tar archives. Everything here is apart from the code that
//! writes images, and so a second opinion about it. What does not hold together is a panic, as everything in a fixture.

mod compare;
mod layer;
mod tar;

pub use compare::{Difference, compare};

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use layer::Layer;
use serde_json::Value;

/// An image, whole.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The configuration as it is in the archive.
    pub configuration: Value,
    /// What is where, by absolute path. Bytes of names that are no printable ASCII are written as `\xff`.
    pub files: BTreeMap<String, FileLine>,
    /// The contents of files that are texts of up to 8 KiB, by path.
    pub texts: BTreeMap<String, String>,
    /// Number of layers.
    pub layers: usize,
}

/// All that a comparison knows of one path, as `ls` would say it.
///
/// ```text
/// -rw-r--r-- 0:0 5 2cf24dba5fb0         a file: size in bytes, beginning of the SHA-256 of its bytes
/// -rw-r--r-- 0:0 5 2cf24dba5fb0 = /a    the same file as `/a`, which is the first of its names
/// drwxr-xr-x 0:0                        a folder
/// lrwxrwxrwx 0:0 -> ../lib              a symlink
/// crw-rw-rw- 0:0 1,3                    a device
/// -rwxr-xr-x 0:0 … {security.capability=0100000200040000…}
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine(pub String);

/// Layers that were read already, by the names of their blobs: all images of a test begin with the same few.
static KNOWN: LazyLock<Mutex<BTreeMap<String, Arc<Layer>>>> = LazyLock::new(Mutex::default);

impl Image {
    /// Reads an archive.
    pub fn read(archive: &Path) -> Self {
        let bytes = fs::read(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
        Self::parse(&bytes)
    }

    /// Reads an archive's bytes.
    pub fn parse(archive: &[u8]) -> Self {
        let text = |path: &[u8]| String::from_utf8_lossy(path).trim_start_matches("./").to_owned();
        let entries = tar::entries(archive);
        let members: BTreeMap<String, &[u8]> =
            entries.iter().map(|entry| (text(&entry.path), entry.content)).collect();
        // Older engines write a layer that comes twice as a link from one folder to another: `../ID/layer.tar`.
        let links: BTreeMap<String, String> = entries
            .iter()
            .filter(|entry| entry.kind == b'2')
            .map(|entry| (text(&entry.path), text(&entry.link).trim_start_matches("../").to_owned()))
            .collect();
        let member = |name: &str| {
            let name = links.get(name).map_or(name, String::as_str);
            *members.get(name).unwrap_or_else(|| panic!("no {name} in the archive"))
        };
        let json = |name: &str| -> Value {
            serde_json::from_slice(member(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let (configuration, layers) = match members.get("manifest.json") {
            Some(_) => names_of_docker(&json("manifest.json")),
            None => names_of_layout(&json),
        };
        let configuration = json(&configuration);
        let diff_ids = configuration["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        assert_eq!(diff_ids.len(), layers.len(), "as many digests as layers: {configuration:#}");
        let mut tree = layer::Tree::default();
        for (name, diff_id) in layers.iter().zip(diff_ids) {
            let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
            let layer = known.unwrap_or_else(|| {
                let bytes = unpacked(member(name));
                assert_eq!(diff_id, format!("sha256:{}", layer::sha256(&bytes)), "the digest of {name}");
                let layer = Arc::new(Layer::of(&bytes));
                KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Arc::clone(&layer));
                layer
            });
            tree.apply(&layer);
        }
        Self { configuration, files: tree.lines(), texts: tree.texts(), layers: layers.len() }
    }

    /// Every file, one line each: path, then what is known of it.
    pub fn listing(&self) -> String {
        self.files.iter().map(|(path, FileLine(line))| format!("{path} {line}\n")).collect()
    }
}

/// The members with the configuration and the layers.
fn names_of_docker(manifest: &Value) -> (String, Vec<String>) {
    let text = |value: &Value| value.as_str().expect("a name is a text").to_owned();
    let layers = manifest[0]["Layers"].as_array().map_or(&[][..], Vec::as_slice);
    (text(&manifest[0]["Config"]), layers.iter().map(text).collect())
}

fn names_of_layout(json: &dyn Fn(&str) -> Value) -> (String, Vec<String>) {
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
        format!("blobs/{}", digest.replace(':', "/"))
    };
    let mut document = json("index.json");
    while let Some(manifests) = document["manifests"].as_array() {
        // Attestations come as further manifests, of no platform.
        let platform = |manifest: &&Value| manifest["platform"]["architecture"] != "unknown";
        let manifest = manifests.iter().find(platform).expect("an index names a manifest");
        document = json(&blob(manifest));
    }
    let layers = document["layers"].as_array().map_or(&[][..], Vec::as_slice);
    (blob(&document["config"]), layers.iter().map(blob).collect())
}

fn unpacked(blob: &[u8]) -> Vec<u8> {
    if !blob.starts_with(&[0x1f, 0x8b]) {
        return blob.to_vec();
    }
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut bytes).expect("a layer is whole");
    bytes
}
