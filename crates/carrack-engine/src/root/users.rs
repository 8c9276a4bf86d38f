//! Who a name means in a root file system.
//!
//! | said | user | group | further groups |
//! | --- | --- | --- | --- |
//! | `name` | `/etc/passwd` | as there | those of `/etc/group` that name the user |
//! | `1000` | itself | as in `/etc/passwd`, else 0; for owners of files the same number | as above |
//! | `name:group` | as above | `/etc/group`, or a number | none |
//!
//! Source: Docker's `USER` and `--chown`.

use super::stack::Stack;
use crate::error::EngineError;

/// Someone who runs a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct PasswdLine<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

/// Who runs a command: `text` as in `USER`.
///
/// Errors: the root does not know the name.
pub(crate) fn person(stack: &Stack, text: &str) -> Result<Person, EngineError> {
    let text = if text.is_empty() { "0" } else { text };
    let passwd = file(stack, b"etc/passwd");
    let group_file = file(stack, b"etc/group");
    let (user, group) = split(text);
    let number: Option<u32> = user.parse().ok();
    let found = lines(&passwd).find(|line| line.name == user || Some(line.uid) == number);
    let (uid, default_gid, name, home) = match (found, number) {
        (Some(line), _) => (line.uid, line.gid, line.name, line.home),
        (None, Some(uid)) => (uid, 0, "", "/"),
        (None, None) => return Err(unknown("user", user)),
    };
    let (gid, mut groups): (u32, Vec<u32>) = match group {
        Some(group) => (group_id(&group_file, group)?, Vec::new()),
        None => {
            let theirs = group_lines(&group_file).filter(|(_, _, members)| {
                !name.is_empty() && members.split(',').any(|member| member == name)
            });
            (default_gid, theirs.map(|(_, gid, _)| gid).collect())
        }
    };
    // The primary one is among them, as with Docker.
    groups.insert(0, gid);
    groups.dedup();
    let home = if home.is_empty() { "/" } else { home };
    Ok(Person { uid, gid, groups, home: home.to_owned() })
}

/// Who owns a file: `text` as in `--chown`.
///
/// Errors: as [`person`].
pub(crate) fn owner(stack: &Stack, text: &str) -> Result<(u32, u32), EngineError> {
    let (user, group) = split(text);
    let number: Option<u32> = user.parse().ok();
    let (uid, gid) = match number {
        Some(uid) => (uid, uid),
        None => {
            let passwd = file(stack, b"etc/passwd");
            let found = lines(&passwd).find(|line| line.name == user).map(|line| (line.uid, line.gid));
            found.ok_or_else(|| unknown("user", user))?
        }
    };
    match group {
        None => Ok((uid, gid)),
        Some(group) => Ok((uid, group_id(&file(stack, b"etc/group"), group)?)),
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    }
}

fn group_id(file: &str, group: &str) -> Result<u32, EngineError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = group_lines(file).find(|(name, ..)| *name == group);
    found.map(|(_, gid, _)| gid).ok_or_else(|| unknown("group", group))
}

fn unknown(what: &'static str, name: &str) -> EngineError {
    EngineError::UnknownUser { what, name: name.to_owned() }
}

fn file(stack: &Stack, path: &[u8]) -> String {
    stack.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn lines(passwd: &str) -> impl Iterator<Item = PasswdLine<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        Some(PasswdLine { name: fields[0], uid, gid, home: fields.get(5).copied().unwrap_or_default() })
    })
}

fn group_lines(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields[0], fields.get(2)?.parse().ok()?, fields.get(3).copied().unwrap_or_default()))
    })
}
