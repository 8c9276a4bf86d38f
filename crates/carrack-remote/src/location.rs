//! Where a shared cache lies, in the words of docker's `--cache-to` and `--cache-from`.
//!
//! ```text
//! type=registry,ref=ghcr.io/acme/cache
//! type=s3,bucket=builds,prefix=carrack/,region=eu-west-1,endpoint_url=https://minio.acme.example,use_path_style=true
//! type=local,dest=/srv/cache        (src= means the same)
//! ```
//!
//! Fields are separated by commas; a field with a comma in it stands in double quotes. Secrets have no place here.
//!
//! Failure: [`LocationError`] names the attribute, and the known one that was probably meant.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use carrack_base::nearest;
use carrack_oci::{Reference, ReferenceError};

const KINDS: [&str; 3] = ["registry", "s3", "local"];
/// Attributes that would hold a secret.
const SECRETS: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];
const DEFAULT_REGION: &str = "us-east-1";

/// Where a shared cache lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A repository of a registry, one tag for each entry.
    Registry {
        /// Its name, without tag and digest.
        reference: Reference,
    },
    /// A bucket that speaks S3.
    S3 {
        /// The bucket.
        bucket: String,
        /// Before each object's key; empty, or with a slash at its end.
        prefix: String,
        /// `https://host`, without the bucket.
        endpoint: String,
        /// The region that requests are signed for.
        region: String,
        /// Whether the bucket is a part of the path, not of the host.
        path_style: bool,
    },
    /// A folder, perhaps on a disk that machines share.
    Folder {
        /// As it was written.
        path: PathBuf,
    },
}

/// A text that is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// A field without `=`.
    #[error("`{field}` is no `attribute=value`")]
    Field {
        /// The field.
        field: String,
    },
    /// A double quote that is not closed, or in the middle of a field.
    #[error("`{text}` has a double quote in a wrong place")]
    Quote {
        /// The whole text.
        text: String,
    },
    /// `type` is missing.
    #[error("a cache needs a `type`: registry, s3 or local")]
    NoType,
    /// A `type` that is not known here.
    #[error("there is no cache of type `{kind}`")]
    Type {
        /// What was written.
        kind: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// An attribute that this type does not have.
    #[error("a cache of type `{kind}` has no attribute `{attribute}`")]
    Attribute {
        /// The type.
        kind: &'static str,
        /// What was written.
        attribute: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// An attribute that appears more than once, or `src` and `dest` with different values.
    #[error("`{attribute}` is given twice")]
    Twice {
        /// The attribute.
        attribute: String,
    },
    /// An attribute that has to be there and to have a value.
    #[error("a cache of type `{kind}` needs `{attribute}`")]
    Missing {
        /// The type.
        kind: &'static str,
        /// The attribute.
        attribute: &'static str,
    },
    /// A secret, which would end up in files and logs.
    #[error("`{attribute}` must not be written into a cache's location")]
    Secret {
        /// The attribute.
        attribute: String,
    },
    /// A value that the attribute can't have.
    #[error("`{attribute}` cannot be `{value}`: {expected}")]
    Value {
        /// The attribute.
        attribute: &'static str,
        /// What was written.
        value: String,
        /// What could be.
        expected: &'static str,
    },
    /// `ref` is no name.
    #[error("`ref` names no repository")]
    Reference(#[source] ReferenceError),
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut attributes = Attributes::read(text)?;
        let kind = attributes.take("type").ok_or(LocationError::NoType)?;
        match kind.as_str() {
            "registry" => registry(attributes),
            "s3" => bucket(attributes),
            "local" => folder(attributes),
            _ => Err(LocationError::Type { nearest: nearest(&kind, KINDS), kind }),
        }
    }
}

fn registry(mut attributes: Attributes) -> Result<Location, LocationError> {
    let text = attributes.required("registry", "ref");
    attributes.nothing_else("registry", &["ref"])?;
    let text = text?;
    let reference: Reference = text.parse().map_err(LocationError::Reference)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        let expected = "a repository without tag and digest: each entry has a tag of its own";
        return Err(LocationError::Value { attribute: "ref", value: text, expected });
    }
    Ok(Location::Registry { reference })
}

fn bucket(mut attributes: Attributes) -> Result<Location, LocationError> {
    const KNOWN: [&str; 5] = ["bucket", "prefix", "region", "endpoint_url", "use_path_style"];
    let bucket = attributes.required("s3", "bucket");
    let mut prefix = attributes.take("prefix").unwrap_or_default();
    let region = attributes.take("region").filter(|region| !region.is_empty());
    let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let endpoint = attributes.take("endpoint_url").filter(|endpoint| !endpoint.is_empty());
    let path_style = attributes.take("use_path_style");
    attributes.nothing_else("s3", &KNOWN)?;
    let path_style = match path_style.as_deref() {
        // Servers of one's own rarely have a name for each bucket.
        None => endpoint.is_some(),
        Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(value) => {
            let (value, expected) = (value.to_owned(), "true or false");
            return Err(LocationError::Value { attribute: "use_path_style", value, expected });
        }
    };
    if !prefix.is_empty() && !prefix.ends_with('/') {
        prefix.push('/');
    }
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    if !prefix.is_empty() && !prefix[..prefix.len() - 1].split('/').all(is_part) {
        let expected = "a path without empty parts, `.` and `..`";
        return Err(LocationError::Value { attribute: "prefix", value: prefix, expected });
    }
    if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| !is_address(endpoint)) {
        let (value, expected) = (endpoint.clone(), "an address like https://host:port");
        return Err(LocationError::Value { attribute: "endpoint_url", value, expected });
    }
    let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    Ok(Location::S3 { bucket: bucket?, prefix, endpoint, region, path_style })
}

fn folder(mut attributes: Attributes) -> Result<Location, LocationError> {
    let (source, destination) = (attributes.take("src"), attributes.take("dest"));
    attributes.nothing_else("local", &["src", "dest"])?;
    match (source, destination) {
        (Some(source), Some(destination)) if source != destination => {
            Err(LocationError::Twice { attribute: "dest".to_owned() })
        }
        (Some(path), _) | (None, Some(path)) if !path.is_empty() => {
            Ok(Location::Folder { path: path.into() })
        }
        _ => Err(LocationError::Missing { kind: "local", attribute: "dest" }),
    }
}

/// With a scheme and a host, and no name and password before it.
fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '?', '#', ' '])
    })
}

struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn read(text: &str) -> Result<Self, LocationError> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        for field in fields(text)? {
            let Some((name, value)) = field.split_once('=') else {
                return Err(LocationError::Field { field });
            };
            let name = name.trim().to_lowercase();
            if SECRETS.contains(&name.as_str()) {
                return Err(LocationError::Secret { attribute: name });
            }
            if attributes.iter().any(|(known, _)| *known == name) {
                return Err(LocationError::Twice { attribute: name });
            }
            attributes.push((name, value.trim().to_owned()));
        }
        Ok(Self(attributes))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    fn required(&mut self, kind: &'static str, attribute: &'static str) -> Result<String, LocationError> {
        let value = self.take(attribute).filter(|value| !value.is_empty());
        value.ok_or(LocationError::Missing { kind, attribute })
    }

    fn nothing_else(self, kind: &'static str, known: &[&'static str]) -> Result<(), LocationError> {
        let Some((attribute, _)) = self.0.into_iter().next() else { return Ok(()) };
        let nearest = nearest(&attribute, known.iter().copied().chain(["type"]));
        let nearest = nearest.and_then(|near| known.iter().find(|known| **known == near).copied());
        Err(LocationError::Attribute { kind, attribute, nearest })
    }
}

/// The fields of one line of comma-separated values; empty ones are left out.
fn fields(text: &str) -> Result<Vec<String>, LocationError> {
    let misplaced = || LocationError::Quote { text: text.to_owned() };
    let mut fields = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let field = match rest.strip_prefix('"') {
            None => {
                let (field, after) = rest.split_once(',').unwrap_or((rest, ""));
                rest = after;
                if field.contains('"') {
                    return Err(misplaced());
                }
                field.to_owned()
            }
            Some(quoted) => {
                let mut field = String::new();
                let mut quoted = quoted;
                loop {
                    let (before, after) = quoted.split_once('"').ok_or_else(misplaced)?;
                    field.push_str(before);
                    // Two double quotes are one.
                    match after.strip_prefix('"') {
                        Some(after) => {
                            field.push('"');
                            quoted = after;
                        }
                        None => {
                            rest = match after.strip_prefix(',') {
                                Some(after) => after,
                                None if after.is_empty() => after,
                                None => return Err(misplaced()),
                            };
                            break;
                        }
                    }
                }
                field
            }
        };
        if !field.trim().is_empty() {
            fields.push(field);
        }
    }
    Ok(fields)
}

/// As it would be written; everything but what is the default.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Vec::new();
        match self {
            Self::Registry { reference } => {
                fields.extend(["type=registry".to_owned(), format!("ref={reference}")]);
            }
            Self::S3 { bucket, prefix, endpoint, region, path_style } => {
                fields.extend(["type=s3".to_owned(), format!("bucket={bucket}")]);
                if !prefix.is_empty() {
                    fields.push(format!("prefix={prefix}"));
                }
                fields.push(format!("region={region}"));
                fields.push(format!("endpoint_url={endpoint}"));
                fields.push(format!("use_path_style={path_style}"));
            }
            Self::Folder { path } => {
                fields.extend(["type=local".to_owned(), format!("dest={}", path.display())]);
            }
        }
        let quoted = fields.into_iter().map(|field| match field.contains([',', '"']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        });
        formatter.write_str(&quoted.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_and_written() {
        let bucket = |prefix: &str, endpoint: &str, region: &str, path_style| Location::S3 {
            bucket: "b".to_owned(),
            prefix: prefix.to_owned(),
            endpoint: endpoint.to_owned(),
            region: region.to_owned(),
            path_style,
        };
        let folder = |path: &str| Location::Folder { path: path.into() };
        let amazon = "https://s3.eu-west-1.amazonaws.com";
        for (text, expected) in [
            (
                "type=registry,ref=ghcr.io/acme/cache",
                Location::Registry { reference: "ghcr.io/acme/cache".parse().unwrap() },
            ),
            (
                " ref=localhost:5000/a , TYPE=registry,",
                Location::Registry { reference: "localhost:5000/a".parse().unwrap() },
            ),
            ("type=s3,bucket=b", bucket("", "https://s3.us-east-1.amazonaws.com", "us-east-1", false)),
            ("type=s3,bucket=b,region=eu-west-1,prefix=x", bucket("x/", amazon, "eu-west-1", false)),
            (
                "type=s3,bucket=b,prefix=x/y/,endpoint_url=http://h:9000",
                bucket("x/y/", "http://h:9000", "us-east-1", true),
            ),
            (
                "type=s3,bucket=b,endpoint_url=http://h,use_path_style=false",
                bucket("", "http://h", "us-east-1", false),
            ),
            ("type=local,dest=/srv/cache", folder("/srv/cache")),
            ("type=local,src=cache", folder("cache")),
            ("type=local,src=/a,dest=/a", folder("/a")),
            ("type=local,\"dest=/srv/a,b \"\"c\"\"\"", folder("/srv/a,b \"c\"")),
        ] {
            let location: Location = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(location, expected, "{text}");
            assert_eq!(location.to_string().parse(), Ok(location), "{text}");
        }
    }

    #[test]
    fn what_is_no_location_says_why() {
        let attribute = |kind, attribute: &str, nearest| LocationError::Attribute {
            kind,
            attribute: attribute.to_owned(),
            nearest,
        };
        let twice = |attribute: &str| LocationError::Twice { attribute: attribute.to_owned() };
        for (text, expected) in [
            ("", LocationError::NoType),
            ("ref=a/b", LocationError::NoType),
            ("ghcr.io/acme/cache", LocationError::Field { field: "ghcr.io/acme/cache".to_owned() }),
            (
                "type=regstry,ref=a",
                LocationError::Type { kind: "regstry".to_owned(), nearest: Some("registry") },
            ),
            ("type=gha", LocationError::Type { kind: "gha".to_owned(), nearest: None }),
            ("type=registry", LocationError::Missing { kind: "registry", attribute: "ref" }),
            ("type=registry,reff=a", attribute("registry", "reff", Some("ref"))),
            ("type=s3,bucket=b,endpoint-url=http://h", attribute("s3", "endpoint-url", Some("endpoint_url"))),
            ("type=s3,bucket=b,blobs_prefix=x", attribute("s3", "blobs_prefix", None)),
            ("type=s3,region=x", LocationError::Missing { kind: "s3", attribute: "bucket" }),
            ("type=local", LocationError::Missing { kind: "local", attribute: "dest" }),
            ("type=local,dest=", LocationError::Missing { kind: "local", attribute: "dest" }),
            ("type=local,src=/a,dest=/b", twice("dest")),
            ("type=local,dest=/a,dest=/a", twice("dest")),
            (
                "type=s3,bucket=b,secret_access_key=x",
                LocationError::Secret { attribute: "secret_access_key".to_owned() },
            ),
            ("type=local,\"dest=/a", LocationError::Quote { text: "type=local,\"dest=/a".to_owned() }),
            ("type=local,de\"st", LocationError::Quote { text: "type=local,de\"st".to_owned() }),
        ] {
            assert_eq!(text.parse::<Location>().unwrap_err(), expected, "{text}");
        }
        for (text, name) in [
            ("type=registry,ref=a/b:tag", "ref"),
            ("type=s3,bucket=b,prefix=../x", "prefix"),
            ("type=s3,bucket=b,prefix=/x", "prefix"),
            ("type=s3,bucket=b,endpoint_url=h:9000", "endpoint_url"),
            ("type=s3,bucket=b,endpoint_url=http://user:pass@h", "endpoint_url"),
            ("type=s3,bucket=b,use_path_style=yes", "use_path_style"),
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(
                matches!(error, LocationError::Value { attribute, .. } if attribute == name),
                "{text}: {error:?}"
            );
        }
        assert!(matches!(
            "type=registry,ref=A/b".parse::<Location>(),
            Err(LocationError::Reference(_)) | Ok(_)
        ));
    }
}
