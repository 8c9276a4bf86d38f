use std::fmt;

/// An absolute, normalised path inside an image: `/`, or `/a/b` without `.`, `..`, empty parts or a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(String);

/// A text that can't be a path inside an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImagePathError {
    /// It does not start with `/`.
    #[error("`{0}` is not an absolute path")]
    Relative(String),
    /// It climbs above `/` or holds a NUL byte.
    #[error("`{0}` leaves the image or holds a NUL byte")]
    Outside(String),
}

impl ImagePath {
    /// The root, `/`.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Normalises `text`: `/a//b/./c/../d/` becomes `/a/b/d`.
    ///
    /// Errors: [`ImagePathError::Relative`] without a leading slash; [`ImagePathError::Outside`] if `..` climbs above
    /// the root or a NUL byte is in it.
    pub fn new(text: &str) -> Result<Self, ImagePathError> {
        if !text.starts_with('/') {
            return Err(ImagePathError::Relative(text.to_owned()));
        }
        let outside = || ImagePathError::Outside(text.to_owned());
        if text.contains('\0') {
            return Err(outside());
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(outside)?;
                }
                name => parts.push(name),
            }
        }
        Ok(Self(format!("/{}", parts.join("/"))))
    }

    /// The path of `relative` seen from this folder.
    ///
    /// Errors: as [`ImagePath::new`].
    pub fn join(&self, relative: &str) -> Result<Self, ImagePathError> {
        if relative.starts_with('/') {
            Self::new(relative)
        } else {
            Self::new(&format!("{}/{relative}", self.0))
        }
    }

    /// The text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without the leading slash, as tar archives write it; empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The last part; empty for the root.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0 == "/" {
            return None;
        }
        let end = self.0.rfind('/').expect("the path starts with a slash");
        Some(if end == 0 { Self::root() } else { Self(self.0[..end].to_owned()) })
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_stay_inside() {
        assert_eq!(ImagePath::new("/a//b/./c/../d/").unwrap().as_str(), "/a/b/d");
        assert_eq!(ImagePath::new("/").unwrap(), ImagePath::root());
        assert_eq!(ImagePath::new("/a").unwrap().parent(), Some(ImagePath::root()));
        assert_eq!(ImagePath::root().parent(), None);
        assert!(matches!(ImagePath::new("a"), Err(ImagePathError::Relative(_))));
        assert!(matches!(ImagePath::new("/a/../../b"), Err(ImagePathError::Outside(_))));
        assert_eq!(ImagePath::root().join("etc/passwd").unwrap().as_str(), "/etc/passwd");
    }
}
