//! Patterns of paths as `COPY` takes them: `*` and `?` within one name, `[a-z]`, `[^a-z]`, `\` before a character that is meant
//! as it is; `**` as a whole name for any number of folders.
//!
//! Source: Go's `path/filepath.Match`.

use super::files::{Files, join, parts};

/// Whether a text has a meaning beyond itself.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// The paths that match, sorted. Links on the way are followed by whoever resolves them later.
pub(crate) fn matches(files: &dyn Files, pattern: &str) -> Vec<Vec<u8>> {
    let names: Vec<&[u8]> = parts(pattern.as_bytes()).collect();
    let mut found = Vec::new();
    walk(files, Vec::new(), &names, &mut found);
    found.sort();
    found.dedup();
    found
}

fn walk(files: &dyn Files, place: Vec<u8>, names: &[&[u8]], found: &mut Vec<Vec<u8>>) {
    let Some((first, rest)) = names.split_first() else {
        if !place.is_empty() {
            found.push(place);
        }
        return;
    };
    if *first == b"**" {
        walk(files, place.clone(), rest, found);
    }
    let Some(folder) = super::files::resolve(files, &place, true) else { return };
    for name in files.names(&folder) {
        if *first == b"**" {
            let below = join(&place, &name);
            if files.item(&join(&folder, &name)).is_some_and(|item| item.is_folder()) {
                walk(files, below, names, found);
            }
        } else if matches_name(first, &name) {
            walk(files, join(&place, &name), rest, found);
        }
    }
}

/// Whether a name matches. A pattern that is malformed matches nothing.
pub(crate) fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        b'*' => (0..=name.len()).any(|length| matches_name(rest, &name[length..])),
        b'?' => name.split_first().is_some_and(|(_, tail)| matches_name(rest, character_tail(name, tail))),
        b'[' => class(rest, name),
        b'\\' => match (rest.split_first(), name.split_first()) {
            (Some((meant, rest)), Some((found, tail))) => meant == found && matches_name(rest, tail),
            _ => false,
        },
        _ => name.split_first().is_some_and(|(found, tail)| found == first && matches_name(rest, tail)),
    }
}

/// What follows the first character, which may have several bytes.
fn character_tail<'n>(name: &'n [u8], tail: &'n [u8]) -> &'n [u8] {
    let more = tail.iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
    if name[0] >= 0xc0 { &tail[more..] } else { tail }
}

fn class(pattern: &[u8], name: &[u8]) -> bool {
    let Some((found, tail)) = name.split_first() else { return false };
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut is_in = false;
    let mut first = true;
    loop {
        let Some((low, after)) = one(rest) else { return false };
        if low == b']' && !first && rest[0] == b']' {
            return is_in != negated && matches_name(after, tail);
        }
        first = false;
        rest = after;
        let mut high = low;
        if rest.first() == Some(&b'-') {
            let Some((last, after)) = one(&rest[1..]) else { return false };
            (high, rest) = (last, after);
        }
        is_in |= (low..=high).contains(found);
    }
}

/// A character of a class, with the meaning taken away if there is a backslash.
fn one(pattern: &[u8]) -> Option<(u8, &[u8])> {
    let (first, rest) = pattern.split_first()?;
    if *first != b'\\' {
        return Some((*first, rest));
    }
    let (meant, rest) = rest.split_first()?;
    Some((*meant, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_go() {
        for (pattern, name, expected) in [
            ("*", "abc", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("*b", "abc", false),
            ("a?c", "abc", true),
            ("a?c", "aüc", true),
            ("a??c", "aüc", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[", "[", false),
            ("[a", "a", false),
            ("", "", true),
            ("", "a", false),
            ("[]a]", "]", true),
        ] {
            assert_eq!(matches_name(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} on {name}");
        }
    }
}
