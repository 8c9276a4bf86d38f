//! Turns one TOML value into what its key's [`Shape`] promises, or says at which byte it is something else.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use carrack_base::{ImagePath, SourceText, Span, normalised};
use toml_edit::{Item, TableLike};

use super::keys::{self, CACHE_KEYS, FILE_KEYS, HEALTHCHECK_KEYS, Key, PACKAGES_KEYS, Shape};
use super::wire::{AddedFile, BuildVariable, CacheLimits, DebianPackages, Healthcheck, Port, Protocol};
use super::{ConfigError, Context};

/// What a repository's name may be: OCI distribution-spec "name", without a registry.
pub(super) const IMAGE_NAME_PATTERN: &str =
    "^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*$";

/// A value that fits its key's shape.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    TextMap(BTreeMap<String, String>),
    Variables(BTreeMap<String, BuildVariable>),
    HostPath(PathBuf),
    Path(ImagePath),
    Paths(Vec<ImagePath>),
    Ports(Vec<Port>),
    Files(Vec<AddedFile>),
    Healthcheck(Healthcheck),
    Packages(DebianPackages),
    Duration(Duration),
    Number(u32),
    Size(u64),
    Cache(CacheLimits),
}

/// Reads the values of one file.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Arc<SourceText>,
    /// What relative host paths start from.
    pub(super) folder: &'a Path,
}

impl Reader<'_> {
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        Span { source: Arc::clone(self.source), range }
    }

    /// Reads `item`, the value of `key`; `around` is the place to point at when the value has none of its own.
    pub(super) fn read(&self, key: &Key, item: &Item, around: Range<usize>) -> Result<Value, ConfigError> {
        let place = item.span().unwrap_or(around);
        let wrong = |found: &Item, place: Range<usize>| ConfigError::WrongType {
            key: key.name,
            expected: key.shape.expected(),
            found: found.type_name(),
            span: self.span(place),
        };
        let bad = |why: String| ConfigError::BadValue { key: key.name, why, span: self.span(place.clone()) };
        let text = || item.as_str().ok_or_else(|| wrong(item, place.clone()));
        match key.shape {
            Shape::Flag => item.as_bool().map(Value::Flag).ok_or_else(|| wrong(item, place)),
            Shape::Text => plain_text(text()?).map(Value::Text).map_err(bad),
            Shape::ImageName => image_name(text()?).map(Value::Text).map_err(bad),
            Shape::Registry => registry(text()?).map(Value::Text).map_err(bad),
            Shape::Engine => engine(text()?).map(Value::Text).map_err(bad),
            Shape::User => user(text()?).map(Value::Text).map_err(bad),
            Shape::Mode => mode(text()?).map(Value::Number).map_err(bad),
            Shape::Duration => duration(text()?).map(Value::Duration).map_err(bad),
            Shape::Path => image_path(text()?).map(Value::Path).map_err(bad),
            Shape::HostPath => {
                let path = plain_text(text()?).map_err(bad)?;
                Ok(Value::HostPath(normalised(&self.folder.join(path))))
            }
            Shape::Signal => match item.as_integer() {
                Some(number) => signal(&number.to_string()),
                None => signal(text()?),
            }
            .map(Value::Text)
            .map_err(bad),
            Shape::Count => {
                let number = item.as_integer().ok_or_else(|| wrong(item, place.clone()))?;
                u32::try_from(number)
                    .ok()
                    .filter(|&number| number > 0)
                    .map(Value::Number)
                    .ok_or_else(|| bad(format!("{number} is not a number from 1 up")))
            }
            Shape::TextList => self.list(key, item, place, |text| Ok(text.to_owned())).map(Value::Texts),
            Shape::Tags => self.list(key, item, place, tag).map(Value::Texts),
            Shape::PathList => self.list(key, item, place, image_path).map(Value::Paths),
            Shape::Command => {
                let words = self.list(key, item, place.clone(), |text| Ok(text.to_owned()))?;
                if words.is_empty() {
                    return Err(bad("it names no command".to_owned()));
                }
                Ok(Value::Texts(words))
            }
            Shape::Ports => {
                let mut ports = Vec::new();
                for (item, place) in elements(item, &place).ok_or_else(|| wrong(item, place.clone()))? {
                    let port = match item.as_integer() {
                        Some(number) => port(&number.to_string()),
                        None => port(item.as_str().ok_or_else(|| wrong(&item, place.clone()))?),
                    };
                    ports.push(port.map_err(|why| self.bad(key, why, place))?);
                }
                Ok(Value::Ports(ports))
            }
            Shape::TextMap => Ok(Value::TextMap(self.map(key, item, place, scalar)?)),
            Shape::BuildVariables => {
                Ok(Value::Variables(self.map(key, item, place, |item| match item.as_bool() {
                    Some(true) => Some(BuildVariable::FromCaller),
                    Some(false) => None,
                    None => scalar(item).map(BuildVariable::Value),
                })?))
            }
            Shape::Files => {
                let tables: Vec<(&dyn TableLike, Range<usize>)> =
                    if let Some(tables) = item.as_array_of_tables() {
                        tables
                            .iter()
                            .map(|table| (table as &dyn TableLike, table.span().unwrap_or(place.clone())))
                            .collect()
                    } else {
                        let array = item.as_array().ok_or_else(|| wrong(item, place.clone()))?;
                        let mut tables = Vec::new();
                        for value in array {
                            let place = value.span().unwrap_or(place.clone());
                            let table = value.as_inline_table().ok_or_else(|| ConfigError::WrongType {
                                key: key.name,
                                expected: key.shape.expected(),
                                found: value.type_name(),
                                span: self.span(place.clone()),
                            })?;
                            tables.push((table as &dyn TableLike, place));
                        }
                        tables
                    };
                let files = tables.into_iter().map(|(table, place)| self.added_file(key, table, place));
                Ok(Value::Files(files.collect::<Result<_, _>>()?))
            }
            Shape::Size => {
                let size = carrack_base::parse_size(text()?);
                size.map(Value::Size).ok_or_else(|| bad("it is not a size, as in \"20GB\"".to_owned()))
            }
            Shape::Age => {
                let age = carrack_base::parse_age(text()?);
                age.map(Value::Duration).ok_or_else(|| bad("it is not a time, as in \"30d\"".to_owned()))
            }
            Shape::Cache => {
                let table = item.as_table_like().ok_or_else(|| wrong(item, place.clone()))?;
                let mut values = self.inner_table(CACHE_KEYS, table, place)?;
                let mut limits = CacheLimits::default();
                if let Some(Value::Size(keep)) = values.remove("keep") {
                    limits.keep = keep;
                }
                if let Some(Value::Duration(unused)) = values.remove("unused") {
                    limits.unused = unused.as_secs();
                }
                Ok(Value::Cache(limits))
            }
            Shape::Packages => {
                let table = item.as_table_like().ok_or_else(|| wrong(item, place.clone()))?;
                self.packages(key, table, place)
            }
            Shape::Healthcheck => {
                if let Some(text) = item.as_str() {
                    return match text {
                        "none" => Ok(Value::Healthcheck(Healthcheck::Disabled)),
                        _ => Err(bad(format!("`{text}` is not `none`"))),
                    };
                }
                let table = item.as_table_like().ok_or_else(|| wrong(item, place.clone()))?;
                self.healthcheck(key, table, place)
            }
        }
    }

    /// Reads the entries of a table whose keys are `keys`.
    ///
    /// The errors of all entries are appended to `errors`; what fits is returned.
    pub(super) fn table(
        &self,
        keys: &'static [Key],
        table: &dyn TableLike,
        context: Context,
        around: Range<usize>,
        errors: &mut Vec<ConfigError>,
    ) -> BTreeMap<&'static str, Value> {
        let mut values = BTreeMap::new();
        for (name, item) in table.iter() {
            let place = table
                .get_key_value(name)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span())
                .unwrap_or(around.clone());
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                errors.push(ConfigError::UnknownKey {
                    key: name.to_owned(),
                    nearest: keys::nearest(keys, name),
                    span: self.span(place),
                });
                continue;
            };
            if !context.allows(key.level) {
                errors.push(ConfigError::WrongLevel {
                    key: key.name,
                    belongs: key.level,
                    span: self.span(place),
                });
                continue;
            }
            match self.read(key, item, place) {
                Ok(value) => {
                    values.insert(key.name, value);
                }
                Err(error) => errors.push(error),
            }
        }
        values
    }

    /// As [`Reader::table`], for a table inside a value: its first error is the value's.
    fn inner_table(
        &self,
        keys: &'static [Key],
        table: &dyn TableLike,
        place: Range<usize>,
    ) -> Result<BTreeMap<&'static str, Value>, ConfigError> {
        let mut errors = Vec::new();
        let values = self.table(keys, table, Context::Inner, place, &mut errors);
        match errors.into_iter().next() {
            None => Ok(values),
            Some(error) => Err(error),
        }
    }

    fn bad(&self, key: &Key, why: String, place: Range<usize>) -> ConfigError {
        ConfigError::BadValue { key: key.name, why, span: self.span(place) }
    }

    fn list<T>(
        &self,
        key: &Key,
        item: &Item,
        place: Range<usize>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let wrong = |found: &'static str, place: Range<usize>| ConfigError::WrongType {
            key: key.name,
            expected: key.shape.expected(),
            found,
            span: self.span(place),
        };
        let mut list = Vec::new();
        for (item, place) in elements(item, &place).ok_or_else(|| wrong(item.type_name(), place.clone()))? {
            let text = item.as_str().ok_or_else(|| wrong(item.type_name(), place.clone()))?;
            list.push(read(text).map_err(|why| self.bad(key, why, place))?);
        }
        Ok(list)
    }

    fn map<T>(
        &self,
        key: &Key,
        item: &Item,
        place: Range<usize>,
        read: impl Fn(&Item) -> Option<T>,
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        let wrong = |item: &Item, place: Range<usize>| ConfigError::WrongType {
            key: key.name,
            expected: key.shape.expected(),
            found: item.type_name(),
            span: self.span(place),
        };
        let table = item.as_table_like().ok_or_else(|| wrong(item, place.clone()))?;
        let mut map = BTreeMap::new();
        for (name, item) in table.iter() {
            let place = item.span().unwrap_or(place.clone());
            if name.is_empty() || (key.name != "labels" && name.contains(['=', '\0'])) {
                return Err(self.bad(key, format!("`{name}` can't be a name"), place));
            }
            map.insert(name.to_owned(), read(item).ok_or_else(|| wrong(item, place))?);
        }
        Ok(map)
    }

    fn added_file(
        &self,
        key: &Key,
        table: &dyn TableLike,
        place: Range<usize>,
    ) -> Result<AddedFile, ConfigError> {
        let missing = |name: &'static str| ConfigError::MissingKey {
            key: key.name,
            missing: name,
            span: self.span(place.clone()),
        };
        let mut values = self.inner_table(FILE_KEYS, table, place.clone())?;
        let Some(Value::HostPath(from)) = values.remove("from") else { return Err(missing("from")) };
        let Some(Value::Path(mut to)) = values.remove("to") else { return Err(missing("to")) };
        let into_folder = table.get("to").and_then(Item::as_str).is_some_and(|to| to.ends_with('/'));
        if let Some(name) = from.file_name().filter(|_| into_folder) {
            let name = name.to_string_lossy();
            to = to.join(&name).map_err(|error| self.bad(key, error.to_string(), place.clone()))?;
        }
        let mode = match values.remove("mode") {
            Some(Value::Number(mode)) => Some(mode),
            _ => None,
        };
        Ok(AddedFile { from, to, mode, owner: text(&mut values, "owner") })
    }

    fn packages(&self, key: &Key, table: &dyn TableLike, place: Range<usize>) -> Result<Value, ConfigError> {
        let mut values = self.inner_table(PACKAGES_KEYS, table, place.clone())?;
        let mut names = |name| match values.remove(name) {
            Some(Value::Texts(names)) => names,
            _ => Vec::new(),
        };
        let packages = DebianPackages { build: names("build"), run: names("run") };
        match packages.build.iter().chain(&packages.run).find(|name| !is_debian_package(name)) {
            Some(name) => Err(self.bad(key, format!("`{name}` is no name of a Debian package"), place)),
            None => Ok(Value::Packages(packages)),
        }
    }

    fn healthcheck(
        &self,
        key: &Key,
        table: &dyn TableLike,
        place: Range<usize>,
    ) -> Result<Value, ConfigError> {
        let mut values = self.inner_table(HEALTHCHECK_KEYS, table, place.clone())?;
        let Some(Value::Texts(cmd)) = values.remove("cmd") else {
            return Err(ConfigError::MissingKey { key: key.name, missing: "cmd", span: self.span(place) });
        };
        let mut duration = |name| match values.remove(name) {
            Some(Value::Duration(duration)) => Some(duration),
            _ => None,
        };
        Ok(Value::Healthcheck(Healthcheck::Command {
            cmd,
            interval: duration("interval"),
            timeout: duration("timeout"),
            start_period: duration("start-period"),
            start_interval: duration("start-interval"),
            retries: match values.remove("retries") {
                Some(Value::Number(number)) => Some(number),
                _ => None,
            },
        }))
    }
}

/// Debian policy, 5.6.7 "Package": these letters and no others, so that no shell takes offence.
fn is_debian_package(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    name.len() > 1 && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(is_letter)
}

/// Takes a text out of `values`.
pub(super) fn text(values: &mut BTreeMap<&'static str, Value>, name: &str) -> Option<String> {
    match values.remove(name) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// The elements of an array with their places; `None` if `item` is not an array.
fn elements(item: &Item, place: &Range<usize>) -> Option<Vec<(Item, Range<usize>)>> {
    let array = item.as_array()?;
    let element =
        |value: &toml_edit::Value| (Item::Value(value.clone()), value.span().unwrap_or(place.clone()));
    Some(array.iter().map(element).collect())
}

fn scalar(item: &Item) -> Option<String> {
    if let Some(text) = item.as_str() {
        return Some(text.to_owned());
    }
    item.as_integer().map(|number| number.to_string()).or_else(|| item.as_bool().map(|flag| flag.to_string()))
}

fn plain_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains(|character: char| character.is_control()) {
        return Err("it holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn image_name(text: &str) -> Result<String, String> {
    if text.contains(':') {
        return Err(format!("`{text}` holds a `:`; tags belong into `tags`, a registry into `registry`"));
    }
    if is_image_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not an image's name: lower-case letters, digits and single `.`, `_`, `-` between them"
    ))
}

/// Whether `text` can name a repository; the same rule as [`IMAGE_NAME_PATTERN`].
pub(crate) fn is_image_name(text: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let is_separator =
        |text: &str| matches!(text, "." | "_" | "__") || text.chars().all(|character| character == '-');
    text.split('/').all(|part| {
        part.starts_with(is_plain)
            && part.ends_with(is_plain)
            && part.split(is_plain).all(|between| between.is_empty() || is_separator(between))
    })
}

fn engine(text: &str) -> Result<String, String> {
    let is_known = matches!(text, "embedded" | "docker" | "buildkit");
    if is_known || text.strip_prefix("buildkit=").is_some_and(|address| !address.is_empty()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is none of `embedded`, `docker`, `buildkit` and `buildkit=ADDRESS`"))
}

fn registry(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err(format!("`{text}` has a scheme; a registry is named by its host, as in `ghcr.io/acme`"));
    }
    let (host, folder) =
        text.trim_end_matches('/').split_once('/').unwrap_or((text.trim_end_matches('/'), "x"));
    let host_is_plain = host.starts_with(|first: char| first.is_ascii_alphanumeric())
        && host
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | ':'));
    if host_is_plain && is_image_name(folder) {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(format!("`{text}` is not a registry: expected a host and lower-case folders, as in `ghcr.io/acme`"))
}

fn tag(text: &str) -> Result<String, String> {
    let plain = text.replace("{version}", "0");
    let mut characters = plain.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain.contains(['{', '}']) {
        return Err(format!("`{text}` holds a placeholder other than `{{version}}`"));
    }
    if first
        && plain.len() <= 128
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a tag: at most 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`"
    ))
}

fn user(text: &str) -> Result<String, String> {
    let name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    if text.split(':').count() <= 2 && text.split(':').all(name) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a user: expected `uid`, `uid:gid`, `name` or `name:group`"))
}

fn mode(text: &str) -> Result<u32, String> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits);
    mode.ok_or_else(|| format!("`{text}` is not a mode: expected three or four octal digits"))
}

fn image_path(text: &str) -> Result<ImagePath, String> {
    ImagePath::new(text).map_err(|error| error.to_string())
}

fn port(text: &str) -> Result<Port, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => return Err(format!("`{other}` is not a protocol: expected tcp, udp or sctp")),
    };
    match number.parse() {
        Ok(number) if number > 0 => Ok(Port { number, protocol }),
        _ => Err(format!("`{number}` is not a port: expected a number from 1 to 65535")),
    }
}

fn signal(text: &str) -> Result<String, String> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |prefix| {
        name.strip_prefix(prefix).is_some_and(|offset: &str| {
            let number = offset.strip_prefix(['+', '-']).map(str::parse::<u8>);
            offset.is_empty() || number.is_some_and(|number| number.is_ok_and(|number| number < 32))
        })
    };
    if text.parse().is_ok_and(|number: u8| (1..=64).contains(&number)) {
        return Ok(text.to_owned());
    }
    if NAMES.contains(&name) || real_time("RTMIN") || real_time("RTMAX") {
        return Ok(format!("SIG{name}"));
    }
    Err(format!("`{text}` is not a signal"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration: expected numbers with `ms`, `s`, `m` or `h`");
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let value: f64 = rest[..number].parse().map_err(|_| bad())?;
        rest = &rest[number..];
        let (unit, after) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
            .into_iter()
            .find_map(|(name, seconds)| rest.strip_prefix(name).map(|after| (seconds, after)))
            .ok_or_else(bad)?;
        total += value * unit;
        rest = after;
    }
    if text.is_empty() {
        return Err(bad());
    }
    // Docker counts nanoseconds in 63 bits; microseconds are precise enough to be exact in a float.
    let limit = 9e9;
    if total > limit {
        return Err(format!("`{text}` is longer than an image can say"));
    }
    Ok(Duration::from_micros((total * 1e6).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_docker_reads_them() {
        for (text, milliseconds) in
            [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("1.5s", 1_500), ("2h", 7_200_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "30", "s", "1d", "-1s", "1m 30s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_tags_users_ports_and_signals_are_checked() {
        for good in ["app", "acme/app", "a.b_c--d", "a__b"] {
            assert_eq!(image_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "App", "-a", "a..b", "a:1", "a//b", "a_-b"] {
            assert!(image_name(bad).is_err(), "{bad}");
        }
        assert!(
            tag("v{version}").is_ok() && tag("{revision}").is_err() && tag("-x").is_err() && tag("").is_err()
        );
        assert!(
            user("1000:1000").is_ok() && user("app").is_ok() && user("a:b:c").is_err() && user("").is_err()
        );
        assert_eq!(port("53/udp").map(|port| port.to_string()), Ok("53/udp".to_owned()));
        assert!(port("0").is_err() && port("65536").is_err() && port("80/icmp").is_err());
        assert_eq!(signal("int").as_deref(), Ok("SIGINT"));
        assert_eq!(signal("SIGRTMIN+3").as_deref(), Ok("SIGRTMIN+3"));
        assert!(signal("SIGFOO").is_err() && signal("0").is_err());
        assert!(mode("0644") == Ok(0o644) && mode("9").is_err() && mode("rwx").is_err());
    }
}
