//! Paths of the machine that builds, as texts: nothing is looked up.

use std::path::{Component, Path, PathBuf};

/// `path` without `.` and `..`, decided by its text alone: symbolic links are not followed.
pub fn normalised(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
        normal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_no_parent() {
        assert_eq!(normalised(Path::new("/a/./b/../../../c/")), Path::new("/c"));
        assert_eq!(normalised(Path::new("a/..")), Path::new(""));
    }
}
