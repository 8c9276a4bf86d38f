//! The user that a service runs as: never root unless someone asks for it.

use std::collections::BTreeSet;

use carrack_base::ImagePath;
use carrack_graph::{LayerPart, Owner};

use crate::config::ServiceConfig;

/// The id that distroless images made customary for an account without privileges.
const NONROOT: u32 = 65_532;
const NAME: &str = "nonroot";

/// Root owns what a service must not change.
pub(super) const ROOT: Owner = Owner { uid: 0, gid: 0 };

/// A user as an image has it: one line of `/etc/passwd` besides root's.
pub(crate) struct ImageUser {
    name: String,
    group: String,
    ids: Owner,
}

/// A user or owner that makes no sense in a closure image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// It is empty, or has characters that `/etc/passwd` can't hold.
    #[error("`{0}` is no user: expected a name, a uid, or user:group")]
    Malformed(String),
    /// The image has no such user: it has root and the service's own.
    #[error("the image has no user or group `{0}`: it has root and the service's own")]
    Unknown(String),
}

impl ImageUser {
    /// The user of the key `user`; the customary one without privileges if there is none.
    pub(crate) fn new(setting: Option<&str>) -> Result<Self, UserError> {
        let setting = setting.unwrap_or(NAME);
        let malformed = || UserError::Malformed(setting.to_owned());
        let (user, group) = match setting.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (setting, None),
        };
        let is_name = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        if !is_name(user) || group.is_some_and(|group| !is_name(group)) {
            return Err(malformed());
        }
        let id = |text: &str| match (text, text.parse::<u32>()) {
            (_, Ok(id)) => id,
            ("root", _) => 0,
            _ => NONROOT,
        };
        let uid = id(user);
        let gid = group.map_or(uid, id);
        let name_of = |text: &str| match (text.parse::<u32>(), text) {
            (Ok(0), _) => "root".to_owned(),
            (Ok(_), _) => NAME.to_owned(),
            (Err(_), name) => name.to_owned(),
        };
        let name = name_of(user);
        let group = group.map_or_else(|| name.clone(), name_of);
        Ok(Self { name, group, ids: Owner { uid, gid } })
    }

    pub(crate) fn ids(&self) -> Owner {
        self.ids
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// The folders that the user has to be able to write to, besides those that are added with files.
    pub(crate) fn folders<'a>(&self, config: &'a ServiceConfig) -> BTreeSet<&'a ImagePath> {
        let added: BTreeSet<&ImagePath> = config.files.iter().map(|added| &added.to).collect();
        let own = config.workdir.iter().filter(|folder| **folder != ImagePath::root()).chain(&config.volumes);
        own.filter(|folder| !added.contains(folder)).collect()
    }

    /// As the image's configuration names it: numbers, which every runtime understands.
    pub(crate) fn setting(&self) -> String {
        format!("{}:{}", self.ids.uid, self.ids.gid)
    }

    /// The owner that a file's `owner` means.
    pub(crate) fn owner(&self, text: &str) -> Result<Owner, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let id = |name: &str, own: &str, own_id: u32| match name.parse() {
            Ok(id) => Ok(id),
            Err(_) if name == "root" => Ok(0),
            Err(_) if name == own => Ok(own_id),
            Err(_) => Err(UserError::Unknown(name.to_owned())),
        };
        let uid = id(user, &self.name, self.ids.uid)?;
        let gid = match group {
            Some(group) => id(group, &self.group, self.ids.gid)?,
            None if uid == self.ids.uid => self.ids.gid,
            None => uid,
        };
        Ok(Owner { uid, gid })
    }

    /// Accounts, home folder and `/tmp`.
    pub(super) fn parts(&self) -> Vec<LayerPart> {
        let Owner { uid, gid } = self.ids;
        let home = format!("/home/{}", self.name);
        let mut passwd = "root:x:0:0:root:/root:/sbin/nologin\n".to_owned();
        let mut groups = "root:x:0:\n".to_owned();
        let folder = |to: &str, mode, owner| LayerPart::Folder { to: path(to), mode, owner };
        let mut parts = vec![folder("/root", 0o700, ROOT), folder("/tmp", 0o1777, ROOT)];
        if uid != 0 {
            passwd.push_str(&format!("{}:x:{uid}:{gid}:{}:{home}:/sbin/nologin\n", self.name, self.name));
            parts.push(folder(&home, 0o700, self.ids));
        }
        if gid != 0 {
            groups.push_str(&format!("{}:x:{gid}:\n", self.group));
        }
        let text = |to: &str, text| LayerPart::Text { to: path(to), text, mode: 0o644 };
        parts.extend([text("/etc/passwd", passwd), text("/etc/group", groups)]);
        parts
    }
}

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).expect("names have no slashes, so the path is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_do_not_run_as_root_unless_asked() {
        let setting = |text: Option<&str>| ImageUser::new(text).map(|user| user.setting());
        assert_eq!(setting(None).as_deref(), Ok("65532:65532"));
        assert_eq!(setting(Some("app")).as_deref(), Ok("65532:65532"));
        assert_eq!(setting(Some("1000")).as_deref(), Ok("1000:1000"));
        assert_eq!(setting(Some("1000:100")).as_deref(), Ok("1000:100"));
        assert_eq!(setting(Some("root")).as_deref(), Ok("0:0"));
        for wrong in ["", ":", "a b", "a:", "../x"] {
            assert_eq!(setting(Some(wrong)), Err(UserError::Malformed(wrong.to_owned())));
        }
    }

    #[test]
    fn owners_are_root_or_the_service() {
        let user = ImageUser::new(Some("app:staff")).unwrap();
        assert_eq!(user.owner("app"), Ok(Owner { uid: 65_532, gid: 65_532 }));
        assert_eq!(user.owner("root:staff"), Ok(Owner { uid: 0, gid: 65_532 }));
        assert_eq!(user.owner("7:8"), Ok(Owner { uid: 7, gid: 8 }));
        assert_eq!(user.owner("bob"), Err(UserError::Unknown("bob".to_owned())));
    }
}
