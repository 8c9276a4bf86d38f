//! What differs between two images, but for what may: times, and the spelling of nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::{FileLine, Image};

/// One thing that is not the same in two images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// An absolute path, or a place in the configuration: `config.Env[0]`, `history[2].created_by`.
    pub place: String,
    /// What the first image has there.
    pub first: Option<String>,
    /// What the second image has there.
    pub second: Option<String>,
}

/// Parts of a configuration that tell when and by whom an image was made, not what it is.
const PASSING: [&str; 6] =
    ["created", "docker_version", "container", "container_config", "comment", "moby.buildkit.buildinfo.v1"];

/// What differs: the configurations first, then paths, in order.
///
/// Not compared: the times of files and of the history, the digests of layers (they have times in them; their number is
/// compared). `null`, `false`, empty texts, lists and objects are the same as nothing.
pub fn compare(first: &Image, second: &Image) -> Vec<Difference> {
    let mut differences = between(&places(first), &places(second));
    let lines = |image: &Image| -> BTreeMap<String, String> {
        image.files.iter().map(|(path, FileLine(line))| (path.clone(), line.clone())).collect()
    };
    differences.extend(between(&lines(first), &lines(second)));
    differences
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(formatter, "{}: {} ≠ {}", self.place, side(&self.first), side(&self.second))
    }
}

fn between(first: &BTreeMap<String, String>, second: &BTreeMap<String, String>) -> Vec<Difference> {
    let mut places: Vec<&String> = first.keys().chain(second.keys()).collect();
    places.sort();
    places.dedup();
    let differences = places.into_iter().map(|place| Difference {
        place: place.clone(),
        first: first.get(place).cloned(),
        second: second.get(place).cloned(),
    });
    differences.filter(|difference| difference.first != difference.second).collect()
}

/// The values of a configuration that count, by their places in it.
fn places(image: &Image) -> BTreeMap<String, String> {
    let mut places = BTreeMap::new();
    collect("", &image.configuration, &mut places);
    places.insert("rootfs.diff_ids".to_owned(), format!("{} layers", image.layers));
    places
}

fn collect(place: &str, value: &Value, places: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if PASSING.contains(&name.as_str()) {
                    continue;
                }
                let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                collect(&inner, member, places);
            }
        }
        Value::Array(_) if place == "rootfs.diff_ids" => {}
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                collect(&format!("{place}[{index}]"), member, places);
            }
        }
        Value::Null | Value::Bool(false) => {}
        Value::String(text) if text.is_empty() => {}
        value => drop(places.insert(place.to_owned(), value.to_string())),
    }
}
