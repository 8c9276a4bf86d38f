//! `RUN --mount=type=cache,target=/target,…`.

use carrack_base::nearest;

use super::ast::{Mount, MountKind, Sharing};
use super::error::Problem;
use super::lines::Placed;
use super::text::Text;

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "id",
    "sharing",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

impl MountKind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Bind, Self::Cache, Self::Tmpfs, Self::Secret, Self::Ssh]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
    }
}

pub(super) fn read(text: &Text) -> Result<Mount, Placed> {
    read_with(text, &|value| Ok(value))
}

/// The mount once the variables in its values are known; `from` stays as it is.
pub(crate) fn read_expanded<X: std::convert::From<Placed>>(
    mount: &Mount,
    expand: &dyn Fn(&str) -> Result<String, X>,
) -> Result<Mount, X> {
    read_with(&mount.text, &|value: Text| Ok(Text::made_from(expand(&value)?, value.range())))
}

fn read_with<X: std::convert::From<Placed>>(
    text: &Text,
    value_of: &dyn Fn(Text) -> Result<Text, X>,
) -> Result<Mount, X> {
    let mut mount = Mount {
        kind: MountKind::Bind,
        target: None,
        source: None,
        from: None,
        id: None,
        sharing: None,
        readonly: None,
        required: None,
        env: None,
        size: None,
        mode: None,
        uid: None,
        gid: None,
        text: text.clone(),
    };
    for field in fields(text) {
        let (key, value) = match field.find('=') {
            Some(equals) => (field.slice(0..equals), Some(field.slice(equals + 1..field.len()))),
            None => (field.slice(0..field.len()), None),
        };
        let lower = key.to_ascii_lowercase();
        let Some(known) = KEYS.iter().copied().find(|known| *known == lower) else {
            let problem =
                Problem::UnknownMountKey { nearest: nearest(&lower, KEYS.iter().copied()), key: lower };
            return Err((key.range(), problem).into());
        };
        let bad = |found: &Text, expected| -> Placed {
            (found.range(), Problem::BadMountValue { key: known, found: found.to_string(), expected })
        };
        let value = match value {
            Some(value) if !["type", "from"].contains(&known) => Some(value_of(value)?),
            value => value,
        };
        // Switches may stand alone.
        let switch = match (&value, known) {
            (None, "readonly" | "ro" | "readwrite" | "rw" | "required") => true,
            (None, "env") => {
                mount.env = Some(key);
                continue;
            }
            (None, _) => return Err(bad(&key, "a value, as in key=value").into()),
            (Some(value), "readonly" | "ro" | "readwrite" | "rw" | "required") => match boolean(value) {
                Some(switch) => switch,
                None => return Err(bad(value, "true or false").into()),
            },
            _ => false,
        };
        let value = value.unwrap_or_default();
        let has_variable = value.contains('$');
        match known {
            "type" => {
                mount.kind =
                    MountKind::of(&value).ok_or_else(|| bad(&value, "bind, cache, tmpfs, secret or ssh"))?
            }
            "from" => mount.from = Some(value),
            "source" | "src" => mount.source = Some(value),
            "target" | "dst" | "destination" => mount.target = Some(value),
            "readonly" | "ro" => mount.readonly = Some(switch),
            "readwrite" | "rw" => mount.readonly = Some(!switch),
            "required" => mount.required = Some(switch),
            "id" => mount.id = Some(value),
            "sharing" => {
                mount.sharing = match value.to_ascii_lowercase().as_str() {
                    "shared" => Some(Sharing::Shared),
                    "private" => Some(Sharing::Private),
                    "locked" => Some(Sharing::Locked),
                    _ if has_variable => None,
                    _ => return Err(bad(&value, "shared, private or locked").into()),
                }
            }
            "size" => mount.size = Some(value),
            "mode" if !has_variable && u32::from_str_radix(&value, 8).is_err() => {
                return Err(bad(&value, "octal permissions, as in 0755").into());
            }
            "mode" => mount.mode = Some(value),
            "uid" | "gid" if !has_variable && value.parse::<u32>().is_err() => {
                return Err(bad(&value, "a number").into());
            }
            "uid" => mount.uid = Some(value),
            "gid" => mount.gid = Some(value),
            _ => mount.env = Some(value),
        }
    }
    Ok(whole(mount)?)
}

/// The rules between a mount's keys.
fn whole(mount: Mount) -> Result<Mount, Placed> {
    let kind = mount.kind;
    let at = mount.text.range();
    let is_file = matches!(kind, MountKind::Secret | MountKind::Ssh);
    let has_owner = !matches!(kind, MountKind::Bind | MountKind::Tmpfs);
    let misplaced = [
        ("from", mount.from.is_some() && kind == MountKind::Secret),
        ("source", mount.source.is_some() && kind == MountKind::Ssh),
        ("mode", mount.mode.is_some() && !has_owner),
        ("uid", mount.uid.is_some() && !has_owner),
        ("gid", mount.gid.is_some() && !has_owner),
        ("sharing", mount.sharing.is_some() && kind != MountKind::Cache),
        ("size", mount.size.is_some() && kind != MountKind::Tmpfs),
        ("required", mount.required.is_some() && !is_file),
    ];
    if let Some((key, _)) = misplaced.into_iter().find(|(_, misplaced)| *misplaced) {
        return Err((at, Problem::MountKeyMisplaced { kind: kind.name(), key }));
    }
    let no_target = mount.target.as_ref().is_none_or(|target| target.is_empty());
    if !is_file && no_target {
        return Err((at, Problem::MountLacks { kind: kind.name(), key: "target" }));
    }
    let names = |text: &Option<Text>| text.as_ref().is_some_and(|text| !text.is_empty());
    if kind == MountKind::Secret && ![&mount.id, &mount.source, &mount.target].into_iter().any(names) {
        return Err((at, Problem::MountLacks { kind: kind.name(), key: "id" }));
    }
    Ok(mount)
}

/// Commas divide fields, but not within double quotes.
fn fields(text: &Text) -> Vec<Text> {
    let mut fields = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                fields.push(text.slice(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(text.slice(start..text.len()));
    fields
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
