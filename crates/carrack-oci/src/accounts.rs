//! Who a name means in an image.
//!
//! | said | user | group | further groups |
//! | --- | --- | --- | --- |
//! | `name` | `/etc/passwd` | as there | those of `/etc/group` that name the user |
//! | `1000` | itself | as in `/etc/passwd`, else 0; for owners of files the same number | as above |
//! | `name:group` | as above | `/etc/group`, or a number | none |
//! | nothing, `:group` | 0 | as above | as above |
//!
//! An image without these files has no names. Lines that are not understood are passed over.
//!
//! Source: Docker's `USER` and `--chown`.

/// The users and groups of an image.
#[derive(Debug, Clone)]
pub struct Accounts {
    passwd: String,
    group: String,
}

/// Someone who runs a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
    /// Home folder; `/` if nobody says.
    pub home: String,
}

/// An image does not know a user or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} `{name}`")]
pub struct UnknownAccount {
    /// `user` or `group`.
    pub what: &'static str,
    /// The name.
    pub name: String,
}

struct PasswdLine<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

impl Accounts {
    /// Those that the files of an image name. `file` gives what a file holds, by its path without a slash in front.
    pub fn read(file: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let text = |path: &str| {
            file(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        Self { passwd: text("etc/passwd"), group: text("etc/group") }
    }

    /// Who runs a command: `text` as in `USER`.
    ///
    /// Errors: the image does not know the name.
    pub fn person(&self, text: &str) -> Result<Person, UnknownAccount> {
        let (user, group) = split(text);
        let number: Option<u32> = user.parse().ok();
        let found = self.users().find(|line| line.name == user || Some(line.uid) == number);
        let (uid, default_gid, name, home) = match (found, number) {
            (Some(line), _) => (line.uid, line.gid, line.name, line.home),
            (None, Some(uid)) => (uid, 0, "", "/"),
            (None, None) => return Err(unknown("user", user)),
        };
        let (gid, mut groups): (u32, Vec<u32>) = match group {
            Some(group) => (self.group_id(group)?, Vec::new()),
            None => {
                let theirs = self.groups().filter(|(_, _, members)| {
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
    /// Errors: as [`Accounts::person`].
    pub fn owner(&self, text: &str) -> Result<(u32, u32), UnknownAccount> {
        let (user, group) = split(text);
        let (uid, gid) = match user.parse() {
            Ok(uid) => (uid, uid),
            Err(_) => {
                let found = self.users().find(|line| line.name == user).map(|line| (line.uid, line.gid));
                found.ok_or_else(|| unknown("user", user))?
            }
        };
        Ok((uid, group.map_or(Ok(gid), |group| self.group_id(group))?))
    }

    fn group_id(&self, group: &str) -> Result<u32, UnknownAccount> {
        if let Ok(number) = group.parse() {
            return Ok(number);
        }
        let found = self.groups().find(|(name, ..)| *name == group);
        found.map(|(_, gid, _)| gid).ok_or_else(|| unknown("group", group))
    }

    fn users(&self) -> impl Iterator<Item = PasswdLine<'_>> {
        self.passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
            Some(PasswdLine { name: fields[0], uid, gid, home: fields.get(5).copied().unwrap_or_default() })
        })
    }

    /// Name, number and members.
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((fields[0], fields.get(2)?.parse().ok()?, fields.get(3).copied().unwrap_or_default()))
        })
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    (if user.is_empty() { "0" } else { user }, Some(group).filter(|group| !group.is_empty()))
}

fn unknown(what: &'static str, name: &str) -> UnknownAccount {
    UnknownAccount { what, name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts::read(|path| {
            match path {
            "etc/passwd" => Some(
                b"root:x:0:0::/root:/bin/sh\n\xff\napp:x:1000:100::/home/app:\nsystemd:x:5:6::\nodd:x:y:1::\n".to_vec(),
            ),
            "etc/group" => Some(b"root:x:0:\nstaff:x:50:app,other\nusers:x:100:app\nbad\n".to_vec()),
            other => panic!("{other}"),
        }
        })
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let accounts = accounts();
        let check = |text: &str, (uid, gid): (u32, u32), groups: &[u32], home: &str| {
            let expected = Person { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
            assert_eq!(accounts.person(text), Ok(expected), "{text:?}");
        };
        check("", (0, 0), &[0], "/root");
        check("app", (1000, 100), &[100, 50, 100], "/home/app");
        check("1000", (1000, 100), &[100, 50, 100], "/home/app");
        check("7", (7, 0), &[0], "/");
        check("systemd", (5, 6), &[6], "/");
        check("app:staff", (1000, 50), &[50], "/home/app");
        check("app:", (1000, 100), &[100, 50, 100], "/home/app");
        check("7:8", (7, 8), &[8], "/");
        check(":8", (0, 8), &[8], "/root");
        for (text, expected) in [
            ("bob", unknown("user", "bob")),
            ("odd", unknown("user", "odd")),
            ("app:nogroup", unknown("group", "nogroup")),
        ] {
            assert_eq!(accounts.person(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn owners_are_found_as_docker_finds_them() {
        let accounts = accounts();
        for (text, expected) in [
            ("app", Ok((1000, 100))),
            ("1000", Ok((1000, 1000))),
            ("7", Ok((7, 7))),
            ("app:staff", Ok((1000, 50))),
            ("7:8", Ok((7, 8))),
            ("7:staff", Ok((7, 50))),
            ("bob", Err(unknown("user", "bob"))),
            ("0:nogroup", Err(unknown("group", "nogroup"))),
        ] {
            assert_eq!(accounts.owner(text), expected, "{text}");
        }
    }

    #[test]
    fn an_image_without_names_has_numbers() {
        let accounts = Accounts::read(|_| None);
        assert_eq!(accounts.owner("1:2"), Ok((1, 2)));
        assert_eq!(accounts.person("").map(|person| person.home), Ok("/".to_owned()));
        assert_eq!(accounts.person("root"), Err(unknown("user", "root")));
    }
}
