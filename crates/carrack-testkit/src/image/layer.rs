//! Layers, and the one file system that they make.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{FileLine, tar};

const WHITEOUT: &[u8] = b".wh.";
/// Texts that are worth keeping have fewer bytes.
const SHORT: usize = 8 * 1024;
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a layer does.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Paths that are taken away together with all that is below them.
    removed: Vec<Path>,
    /// Folders whose content of the layers below is taken away.
    emptied: Vec<Path>,
    /// In the archive's order.
    added: Vec<(Path, Change)>,
}

/// The names of a path, so that a folder comes directly before what is in it.
type Path = Vec<Vec<u8>>;

#[derive(Debug, Clone)]
enum Change {
    Node(Node),
    HardLink(Path),
}

/// What is at a path.
#[derive(Debug, Clone)]
struct Node {
    kind: u8,
    mode: u64,
    user: u64,
    group: u64,
    /// Of a file: its size and digest. Of a symlink: its text. Of a device: its numbers.
    content: String,
    attributes: String,
    /// The bytes of a file, if they are a short text.
    text: Option<String>,
}

/// The file system of some layers.
#[derive(Default)]
pub(super) struct Tree {
    /// The number is of the file itself: the same at all of its names.
    nodes: BTreeMap<Path, (u64, Node)>,
    next: u64,
}

impl Layer {
    pub(super) fn of(archive: &[u8]) -> Self {
        let mut layer = Self::default();
        for entry in tar::entries(archive) {
            let mut path = names(&entry.path);
            match path.last() {
                Some(name) if name == OPAQUE => {
                    path.pop();
                    layer.emptied.push(path);
                }
                Some(name) if name.starts_with(WHITEOUT) => {
                    let name = name[WHITEOUT.len()..].to_vec();
                    path.pop();
                    path.push(name);
                    layer.removed.push(path);
                }
                _ if entry.kind == b'1' => layer.added.push((path, Change::HardLink(names(&entry.link)))),
                _ => layer.added.push((path, Change::Node(Node::of(&entry)))),
            }
        }
        layer
    }
}

impl Node {
    fn of(entry: &tar::Entry<'_>) -> Self {
        let content = match entry.kind {
            b'0' => format!(" {} {}", entry.content.len(), &sha256(entry.content)[..12]),
            b'2' => format!(" -> {}", printable(&entry.link)),
            b'3' | b'4' => format!(" {},{}", entry.device.0, entry.device.1),
            _ => String::new(),
        };
        let values = entry.attributes.iter().map(|(name, value)| {
            let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!(" {{{}={value}}}", printable(name))
        });
        let attributes = values.collect();
        let is_short = entry.kind == b'0' && entry.content.len() <= SHORT;
        let text = str::from_utf8(entry.content).ok().filter(|_| is_short).map(str::to_owned);
        let tar::Entry { kind, mode, user, group, .. } = *entry;
        Self { kind, mode, user, group, content, attributes, text }
    }

    /// A folder that no layer mentions but for what is in it.
    fn unmentioned() -> Self {
        let (content, attributes) = (String::new(), String::new());
        Self { kind: b'5', mode: 0o755, user: 0, group: 0, content, attributes, text: None }
    }

    fn line(&self) -> String {
        let letter = match self.kind {
            b'0' => '-',
            b'2' => 'l',
            b'3' => 'c',
            b'4' => 'b',
            b'5' => 'd',
            _ => 'p',
        };
        // The permissions of symlinks mean nothing, and some archives have others.
        let mode = if self.kind == b'2' { 0o777 } else { self.mode };
        let mut bits = String::from(letter);
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            bits.push(if mode >> shift & 4 != 0 { 'r' } else { '-' });
            bits.push(if mode >> shift & 2 != 0 { 'w' } else { '-' });
            bits.push(match (mode & special != 0, mode >> shift & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            });
        }
        format!("{bits} {}:{}{}", self.user, self.group, self.content)
    }
}

impl Tree {
    pub(super) fn apply(&mut self, layer: &Layer) {
        for path in &layer.removed {
            self.nodes.retain(|known, _| !known.starts_with(path));
        }
        for path in &layer.emptied {
            self.nodes.retain(|known, _| known == path || !known.starts_with(path));
        }
        for (path, change) in &layer.added {
            let node = match change {
                Change::Node(node) => {
                    self.next += 1;
                    (self.next, node.clone())
                }
                Change::HardLink(target) => {
                    let found = self.nodes.get(target);
                    found.unwrap_or_else(|| panic!("a hard link to nothing: {}", shown(target))).clone()
                }
            };
            if node.1.kind != b'5' {
                self.nodes.retain(|known, _| known == path || !known.starts_with(path));
            }
            for length in 0..path.len() {
                let parent = &path[..length];
                if self.nodes.get(parent).is_none_or(|(_, node)| node.kind != b'5') {
                    self.next += 1;
                    self.nodes.insert(parent.to_vec(), (self.next, Node::unmentioned()));
                }
            }
            self.nodes.insert(path.clone(), node);
        }
    }

    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let texts = self.nodes.iter().filter_map(|(path, (_, node))| Some((shown(path), node.text.clone()?)));
        texts.collect()
    }

    pub(super) fn lines(&self) -> BTreeMap<String, FileLine> {
        let mut first: BTreeMap<u64, &Path> = BTreeMap::new();
        let mut lines = BTreeMap::new();
        for (path, (number, node)) in &self.nodes {
            let mut line = node.line();
            let name = first.entry(*number).or_insert(path);
            if *name != path {
                let _ = write!(line, " = {}", shown(name));
            }
            line.push_str(&node.attributes);
            lines.insert(shown(path), FileLine(line));
        }
        lines
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names(path: &[u8]) -> Path {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

fn shown(path: &Path) -> String {
    format!("/{}", printable(&path.join(&b'/')))
}

fn printable(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if matches!(byte, b' '..=b'~') && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
        text
    })
}
