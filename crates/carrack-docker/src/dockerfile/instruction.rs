//! One joined line → one instruction.

use carrack_base::nearest;

use super::ast::{
    Add, Argument, CommandLine, Copy, Expose, From, Healthcheck, Heredoc, Instruction, Kind, Pair, Probe,
    Run, Source,
};
use super::error::Problem;
use super::heredoc::{self, Opening};
use super::lines::{Line, Placed};
use super::mount;
use super::text::Text;
use super::words::{self, Flag, Json};

const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What is known while an instruction is read.
struct Reading {
    /// The instruction, in capitals.
    name: &'static str,
    keyword: Text,
    rest: Text,
    escape: char,
    heredocs: std::vec::IntoIter<(Opening, Text)>,
}

pub(super) fn read(line: Line, escape: char) -> Result<Instruction, Placed> {
    let Line { text, comments, heredocs, range } = line;
    let (keyword, kind) = read_text(&text, escape, heredocs.into_iter())?;
    Ok(Instruction { keyword, comments, range, text, kind })
}

fn read_text(
    text: &Text,
    escape: char,
    heredocs: std::vec::IntoIter<(Opening, Text)>,
) -> Result<(Text, Kind), Placed> {
    let (keyword, rest) = words::first_word(text);
    let Some(name) = NAMES.iter().copied().find(|name| keyword.eq_ignore_ascii_case(name)) else {
        let problem = Problem::UnknownInstruction {
            name: keyword.to_string(),
            nearest: nearest(&keyword, NAMES.iter().copied()),
        };
        return Err((keyword.range(), problem));
    };
    let reading = Reading { name, keyword: keyword.clone(), rest, escape, heredocs };
    Ok((keyword, reading.kind()?))
}

impl Reading {
    fn kind(mut self) -> Result<Kind, Placed> {
        if self.rest.is_empty() && !self.may_be_empty() {
            return Err(self.too_few("arguments"));
        }
        match self.name {
            "ADD" => self.add(),
            "COPY" => self.copy(),
            "RUN" => self.run(),
            "FROM" => self.from(),
            "HEALTHCHECK" => self.healthcheck(),
            _ => {
                let (flags, rest) = words::flags(&self.rest, self.escape);
                self.only(&flags, &[])?;
                // A list may start with dashes; nothing else takes flags.
                self.rest = rest;
                if self.rest.is_empty() && !self.may_be_empty() {
                    return Err(self.too_few("arguments"));
                }
                self.without_flags()
            }
        }
    }

    fn without_flags(mut self) -> Result<Kind, Placed> {
        match self.name {
            "ARG" => self.arguments().map(Kind::Arg),
            "ENV" => self.pairs().map(Kind::Env),
            "LABEL" => self.pairs().map(Kind::Label),
            "CMD" => self.command_line().map(Kind::Cmd),
            "ENTRYPOINT" => self.command_line().map(Kind::Entrypoint),
            "EXPOSE" => {
                let ports = words::plain_words(&self.rest).into_iter();
                Ok(Kind::Expose(ports.map(|ports| Expose { ports }).collect()))
            }
            "SHELL" => match words::json(&self.rest) {
                Json::Strings(list) if !list.is_empty() => Ok(Kind::Shell(list)),
                Json::OtherThings => Err((self.rest.range(), Problem::NotStrings)),
                _ => Err((self.rest.range(), Problem::NotAList { name: self.name.to_owned() })),
            },
            "VOLUME" => match words::json(&self.rest) {
                Json::Strings(list) if list.is_empty() => Err(self.too_few("a folder")),
                Json::Strings(list) => match list.iter().find(|folder| folder.trim().is_empty()) {
                    Some(_) => Err(self.too_few("a folder that is not empty")),
                    None => Ok(Kind::Volume(list)),
                },
                Json::OtherThings => Err((self.rest.range(), Problem::NotStrings)),
                Json::No => Ok(Kind::Volume(words::plain_words(&self.rest))),
            },
            "ONBUILD" => {
                let (keyword, kind) = read_text(&self.rest, self.escape, std::mem::take(&mut self.heredocs))?;
                if matches!(kind, Kind::Onbuild(_) | Kind::From(_) | Kind::Maintainer(_)) {
                    let name = keyword.to_ascii_uppercase();
                    return Err((keyword.range(), Problem::BadTrigger { name }));
                }
                let (range, text) = (self.rest.range(), self.rest);
                Ok(Kind::Onbuild(Box::new(Instruction { keyword, comments: Vec::new(), range, text, kind })))
            }
            "MAINTAINER" => Ok(Kind::Maintainer(self.rest)),
            "STOPSIGNAL" => Ok(Kind::Stopsignal(self.rest)),
            "USER" => Ok(Kind::User(self.rest)),
            _ => Ok(Kind::Workdir(self.rest)),
        }
    }

    fn from(self) -> Result<Kind, Placed> {
        let (flags, rest) = words::flags(&self.rest, self.escape);
        self.only(&flags, &["platform"])?;
        let platform = self.one(&flags, "platform")?;
        let words = words::plain_words(&rest);
        match &words[..] {
            [image] => Ok(Kind::From(From { image: image.clone(), platform, name: None })),
            [image, word, name] if word.eq_ignore_ascii_case("as") => {
                let mut bytes = name.bytes();
                let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
                let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
                if !starts || !goes_on {
                    return Err((name.range(), Problem::BadStageName { name: name.to_string() }));
                }
                Ok(Kind::From(From { image: image.clone(), platform, name: Some(name.clone()) }))
            }
            [] => Err(self.too_few("an image")),
            [_, second, ..] => {
                let end = words.last().map_or(second.range().end, |last| last.range().end);
                let problem =
                    Problem::TooManyArguments { name: self.name.to_owned(), takes: "IMAGE or IMAGE AS NAME" };
                Err((second.range().start..end, problem))
            }
        }
    }

    fn run(mut self) -> Result<Kind, Placed> {
        let (flags, rest) = words::flags(&self.rest, self.escape);
        self.only(&flags, &["mount", "network", "security", "device"])?;
        let network = self.valid(&flags, "network", "default, none or host", |value| {
            ["default", "none", "host"].contains(&value)
        })?;
        let security = self.valid(&flags, "security", "sandbox or insecure", |value| {
            ["sandbox", "insecure"].contains(&value)
        })?;
        let is_empty = |flag: &&Flag| {
            flag.name.as_str() == "mount" && flag.value.as_ref().is_some_and(|value| value.is_empty())
        };
        if let Some(flag) = flags.iter().find(is_empty) {
            return Err((flag.range.clone(), Problem::FlagWithoutValue { flag: "mount" }));
        }
        let mounts = self.all(&flags, "mount")?.iter().map(mount::read).collect::<Result<_, _>>()?;
        let devices = self.all(&flags, "device")?;
        self.rest = rest;
        let command = self.command_line()?;
        let heredocs = std::mem::take(&mut self.heredocs).map(document).collect();
        Ok(Kind::Run(Run { mounts, network, security, devices, command, heredocs }))
    }

    fn copy(mut self) -> Result<Kind, Placed> {
        let (flags, rest) = words::flags(&self.rest, self.escape);
        self.only(&flags, &["from", "chown", "chmod", "link", "parents", "exclude"])?;
        let (sources, destination) = self.files(&rest)?;
        Ok(Kind::Copy(Copy {
            from: self.one(&flags, "from")?,
            chown: self.one(&flags, "chown")?,
            chmod: self.one(&flags, "chmod")?,
            link: self.switch(&flags, "link")?.unwrap_or(false),
            parents: self.switch(&flags, "parents")?.unwrap_or(false),
            exclude: self.all(&flags, "exclude")?,
            sources,
            destination,
        }))
    }

    fn add(mut self) -> Result<Kind, Placed> {
        let (flags, rest) = words::flags(&self.rest, self.escape);
        self.only(&flags, &["chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude"])?;
        let (sources, destination) = self.files(&rest)?;
        Ok(Kind::Add(Add {
            chown: self.one(&flags, "chown")?,
            chmod: self.one(&flags, "chmod")?,
            link: self.switch(&flags, "link")?.unwrap_or(false),
            keep_git_dir: self.switch(&flags, "keep-git-dir")?.unwrap_or(false),
            unpack: self.switch(&flags, "unpack")?,
            checksum: self.one(&flags, "checksum")?,
            exclude: self.all(&flags, "exclude")?,
            sources,
            destination,
        }))
    }

    fn healthcheck(mut self) -> Result<Kind, Placed> {
        let (flags, rest) = words::flags(&self.rest, self.escape);
        self.only(&flags, &["interval", "timeout", "start-period", "start-interval", "retries"])?;
        let (kind, rest) = words::first_word(&rest);
        if kind.eq_ignore_ascii_case("NONE") {
            return match rest.is_empty() {
                true => Ok(Kind::Healthcheck(Healthcheck::None)),
                false => Err((
                    rest.range(),
                    Problem::TooManyArguments { name: self.name.to_owned(), takes: "NONE alone" },
                )),
            };
        }
        if !kind.eq_ignore_ascii_case("CMD") {
            return Err(self.too_few("CMD or NONE"));
        }
        if rest.is_empty() {
            return Err(self.too_few("a command behind CMD"));
        }
        let duration = |name| self.valid(&flags, name, "a duration, as in 1m30s", is_duration);
        let mut probe = Probe {
            command: CommandLine::Exec(Vec::new()),
            interval: duration("interval")?,
            timeout: duration("timeout")?,
            start_period: duration("start-period")?,
            start_interval: duration("start-interval")?,
            retries: self.valid(&flags, "retries", "a number", |value| value.parse::<u32>().is_ok())?,
        };
        self.rest = rest;
        probe.command = self.command_line()?;
        if matches!(&probe.command, CommandLine::Exec(words) if words.is_empty()) {
            return Err(self.too_few("a command behind CMD"));
        }
        Ok(Kind::Healthcheck(Healthcheck::Probe(Box::new(probe))))
    }

    fn command_line(&self) -> Result<CommandLine, Placed> {
        match words::json(&self.rest) {
            Json::Strings(list) => Ok(CommandLine::Exec(list)),
            Json::OtherThings => Err((self.rest.range(), Problem::NotStrings)),
            Json::No => Ok(CommandLine::Shell(self.rest.clone())),
        }
    }

    /// Sources and destination, as a JSON list or as words.
    fn files(&mut self, rest: &Text) -> Result<(Vec<Source>, Text), Placed> {
        let mut words = match words::json(rest) {
            Json::Strings(list) => list,
            Json::OtherThings => return Err((rest.range(), Problem::NotStrings)),
            // A source with spaces has to be in a list: quotes mean nothing here.
            Json::No => words::plain_words(rest),
        };
        let Some(destination) = words.pop().filter(|_| !words.is_empty()) else {
            return Err(self.too_few("a source and a destination"));
        };
        if heredoc::opening(destination.clone()).is_some() && self.heredocs.len() > 0 {
            return Err((destination.range(), Problem::HeredocDestination));
        }
        let mut documents = std::mem::take(&mut self.heredocs);
        let sources = words.into_iter().map(|word| match heredoc::opening(word.clone()) {
            Some(_) => documents.next().map_or(Source::Path(word), |found| Source::Heredoc(document(found))),
            None => Source::Path(word),
        });
        Ok((sources.collect(), destination))
    }

    fn arguments(&self) -> Result<Vec<Argument>, Placed> {
        let words = words::words(&self.rest, self.escape).into_iter();
        words
            .map(|word| {
                let (name, value) = match word.find('=') {
                    Some(equals) => (word.slice(0..equals), Some(word.slice(equals + 1..word.len()))),
                    None => (word.clone(), None),
                };
                match name.is_empty() {
                    true => Err((word.range(), Problem::EmptyName { name: self.name.to_owned() })),
                    false => Ok(Argument { name, value }),
                }
            })
            .collect()
    }

    fn pairs(&self) -> Result<Vec<Pair>, Placed> {
        let words = words::words(&self.rest, self.escape);
        // `ENV name the whole rest`, as it was written long ago.
        if words.first().is_none_or(|first| !first.contains('=')) {
            let (name, value) = words::first_word(&self.rest);
            return match value.is_empty() {
                true => Err(self.too_few("name=value")),
                false => Ok(vec![Pair { name, value }]),
            };
        }
        let pair = |word: Text| {
            let Some(equals) = word.find('=') else {
                return Err((word.range(), Problem::NoEquals { word: word.to_string() }));
            };
            match equals {
                0 => Err((word.range(), Problem::EmptyName { name: self.name.to_owned() })),
                _ => Ok(Pair { name: word.slice(0..equals), value: word.slice(equals + 1..word.len()) }),
            }
        };
        words.into_iter().map(pair).collect()
    }

    /// An empty command is one: it takes away that of the base image.
    fn may_be_empty(&self) -> bool {
        ["CMD", "ENTRYPOINT", "RUN"].contains(&self.name)
    }

    /// Refuses flags that the instruction does not have.
    fn only(&self, flags: &[Flag], known: &[&'static str]) -> Result<(), Placed> {
        let Some(flag) = flags.iter().find(|flag| !known.contains(&flag.name.as_str())) else {
            return Ok(());
        };
        let problem = Problem::UnknownFlag {
            name: self.name.to_owned(),
            flag: flag.name.to_string(),
            nearest: nearest(&flag.name, known.iter().copied()),
        };
        Err((flag.range.clone(), problem))
    }

    /// The values of a flag that may be there several times.
    fn all(&self, flags: &[Flag], name: &'static str) -> Result<Vec<Text>, Placed> {
        let same = flags.iter().filter(|flag| flag.name.as_str() == name);
        let values: Result<Vec<Text>, Placed> = same
            .map(|flag| {
                let problem = || (flag.range.clone(), Problem::FlagWithoutValue { flag: name });
                flag.value.clone().ok_or_else(problem)
            })
            .collect();
        // An empty value is none.
        Ok(values?.into_iter().filter(|value| !value.is_empty()).collect())
    }

    fn one(&self, flags: &[Flag], name: &'static str) -> Result<Option<Text>, Placed> {
        let mut values = self.all(flags, name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err((values[1].range(), Problem::FlagTwice { flag: name })),
        }
    }

    /// The value of a flag that takes some values only.
    fn valid(
        &self,
        flags: &[Flag],
        name: &'static str,
        expected: &'static str,
        is_valid: impl Fn(&str) -> bool,
    ) -> Result<Option<Text>, Placed> {
        match self.one(flags, name)? {
            Some(value) if !is_valid(&value) => {
                Err((value.range(), Problem::BadFlagValue { flag: name, found: value.to_string(), expected }))
            }
            value => Ok(value),
        }
    }

    fn switch(&self, flags: &[Flag], name: &'static str) -> Result<Option<bool>, Placed> {
        let mut same = flags.iter().filter(|flag| flag.name.as_str() == name);
        let Some(flag) = same.next() else { return Ok(None) };
        if let Some(second) = same.next() {
            return Err((second.range.clone(), Problem::FlagTwice { flag: name }));
        }
        match flag.value.as_ref().map(|value| value.to_ascii_lowercase()) {
            None => Ok(Some(true)),
            Some(value) if value.is_empty() => {
                Err((flag.range.clone(), Problem::FlagWithoutValue { flag: name }))
            }
            Some(value) if value == "true" => Ok(Some(true)),
            Some(value) if value == "false" => Ok(Some(false)),
            Some(found) => {
                let expected = "true or false";
                Err((flag.range.clone(), Problem::BadFlagValue { flag: name, found, expected }))
            }
        }
    }

    fn too_few(&self, needs: &'static str) -> Placed {
        (self.keyword.range(), Problem::TooFewArguments { name: self.name.to_owned(), needs })
    }
}

/// Numbers with units, one behind the other: `1m30s`, `1.5h`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() && rest != "0" {
        let number = rest.len()
            - rest.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.').len();
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"].iter().find(|unit| {
            let behind = rest[number..].strip_prefix(**unit);
            behind.is_some_and(|behind| !behind.starts_with(|character: char| character.is_alphabetic()))
        });
        let Some(unit) = unit.filter(|_| rest[..number].parse::<f64>().is_ok()) else { return false };
        rest = &rest[number + unit.len()..];
    }
    !text.is_empty()
}

fn document((opening, text): (Opening, Text)) -> Heredoc {
    Heredoc {
        word: opening.word,
        name: opening.name,
        descriptor: opening.descriptor,
        text,
        expands: opening.expands,
    }
}
