//! How variables in an instruction become text.
//!
//! ```text
//! $name  ${name}                the value, or nothing
//! ${name:-word} ${name-word}    the word if there is no value (`:` or it is empty)
//! ${name:+word} ${name+word}    the word if there is one
//! ${name:?word} ${name?word}    an error if there is none
//! ${name#pattern} ${name##…}    without the shortest, longest match at the beginning
//! ${name%pattern} ${name%%…}    … at the end
//! ${name/pattern/word}          the first match replaced; `//` every match
//! ```
//!
//! Patterns know `*` and `?`. Single quotes keep everything; double quotes keep white space.

/// Why a text can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote or a brace is open at the end.
    #[error("`{open}` is not closed")]
    Unclosed {
        /// What opens.
        open: char,
    },
    /// There is no such form of substitution.
    #[error("`{form}` is no way to change a value")]
    UnknownForm {
        /// What follows the name.
        form: String,
    },
    /// `${name:?word}`, and there is no value.
    #[error("{name} is not set: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The word.
        message: String,
    },
    /// Values within values within values: variables can double a text with every line.
    #[error("the text is longer than 16 MiB with its variables")]
    TooLong,
    /// Words within words within words.
    #[error("the substitution is nested too deeply")]
    TooDeep,
}

/// Expands variables and takes quotes and escapes away. `value_of` is asked for each variable.
pub fn expand(
    text: &str,
    escape: char,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    Ok(Expansion::new(text, escape, value_of).run()?.concat_words())
}

/// The same, and cuts into words at white space outside of quotes, also at that of values.
pub fn expand_words(
    text: &str,
    escape: char,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ExpandError> {
    Ok(Expansion::new(text, escape, value_of).run()?.words)
}

/// The same for the text of a here-document: quotes are ordinary characters.
pub(crate) fn expand_document(
    text: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut expansion = Expansion::new(text, '\\', value_of);
    expansion.quotes = Quotes::Ordinary;
    Ok(expansion.run()?.concat_words())
}

/// The same for a line that is shown to people: quotes stay, and so does a variable without a value.
pub(crate) fn expand_known(
    text: &str,
    escape: char,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut expansion = Expansion::new(text, escape, value_of);
    expansion.quotes = Quotes::Kept;
    Ok(expansion.run()?.concat_words())
}

/// The names of all variables that a text asks for, whatever becomes of them.
pub fn variables(text: &str, escape: char) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    let note = |name: &str| {
        names.borrow_mut().push(name.to_owned());
        None
    };
    // A text that can't be expanded has asked for what stands before the mistake.
    let _ = expand(text, escape, &note);
    names.into_inner()
}

const DEEPEST: usize = 32;
const LONGEST: usize = 16 << 20;

/// What quotes do.
#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    /// They decide, and are taken away.
    Removed,
    /// They decide, and stay; variables without a value stay too.
    Kept,
    /// Nothing.
    Ordinary,
}

struct Expansion<'e> {
    characters: std::iter::Peekable<std::str::Chars<'e>>,
    escape: char,
    value_of: &'e dyn Fn(&str) -> Option<String>,
    quotes: Quotes,
    depth: usize,
    /// Bytes that variables have brought so far.
    brought: usize,
    whole: String,
    words: Vec<String>,
    in_word: bool,
}

impl<'e> Expansion<'e> {
    fn new(text: &'e str, escape: char, value_of: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            characters: text.chars().peekable(),
            escape,
            value_of,
            quotes: Quotes::Removed,
            depth: 0,
            brought: 0,
            whole: String::new(),
            words: Vec::new(),
            in_word: false,
        }
    }

    fn concat_words(self) -> String {
        self.whole
    }

    fn run(mut self) -> Result<Self, ExpandError> {
        while let Some(character) = self.characters.next() {
            match character {
                '\'' if self.quotes != Quotes::Ordinary => {
                    self.begin();
                    self.keep_quote('\'');
                    loop {
                        match self.characters.next() {
                            Some('\'') => {
                                self.keep_quote('\'');
                                break;
                            }
                            Some(inner) => self.push(inner),
                            None => return Err(ExpandError::Unclosed { open: '\'' }),
                        }
                    }
                }
                '"' if self.quotes != Quotes::Ordinary => self.double_quoted()?,
                '$' => {
                    let value = self.dollar()?;
                    self.push_splitting(&value);
                }
                _ if character == self.escape => match self.characters.next() {
                    Some(escaped) => self.push(escaped),
                    None => self.push(character),
                },
                _ if character.is_whitespace() => {
                    self.whole.push(character);
                    self.in_word = false;
                }
                _ => self.push(character),
            }
        }
        Ok(self)
    }

    fn double_quoted(&mut self) -> Result<(), ExpandError> {
        self.begin();
        self.keep_quote('"');
        loop {
            match self.characters.next() {
                Some('"') => {
                    self.keep_quote('"');
                    return Ok(());
                }
                Some('$') => {
                    let value = self.dollar()?;
                    value.chars().for_each(|character| self.push(character));
                }
                Some(character) if character == self.escape => match self.characters.next() {
                    Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.escape => {
                        self.push(escaped)
                    }
                    Some(other) => {
                        self.push(character);
                        self.push(other);
                    }
                    None => return Err(ExpandError::Unclosed { open: '"' }),
                },
                Some(character) => self.push(character),
                None => return Err(ExpandError::Unclosed { open: '"' }),
            }
        }
    }

    fn keep_quote(&mut self, quote: char) {
        if self.quotes == Quotes::Kept {
            self.push(quote);
        }
    }

    /// Quotes make a word even if nothing is in them.
    fn begin(&mut self) {
        if !self.in_word {
            self.words.push(String::new());
            self.in_word = true;
        }
    }

    fn push(&mut self, character: char) {
        self.begin();
        self.whole.push(character);
        if let Some(word) = self.words.last_mut() {
            word.push(character);
        }
    }

    fn push_splitting(&mut self, value: &str) {
        for character in value.chars() {
            if character.is_whitespace() {
                self.whole.push(character);
                self.in_word = false;
            } else {
                self.push(character);
            }
        }
    }

    /// What follows a `$`.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        let value = self.value()?;
        self.brought = self.brought.saturating_add(value.len());
        if self.brought > LONGEST { Err(ExpandError::TooLong) } else { Ok(value) }
    }

    fn value(&mut self) -> Result<String, ExpandError> {
        match self.characters.peek() {
            Some('{') => {
                self.characters.next();
                self.braces()
            }
            _ => {
                let name = self.name();
                if name.is_empty() {
                    return Ok("$".to_owned());
                }
                Ok(match (self.value_of)(&name) {
                    Some(value) => value,
                    None if self.quotes == Quotes::Kept => format!("${name}"),
                    None => String::new(),
                })
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.characters.peek() {
            Some(special @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                name.push(*special);
                self.characters.next();
            }
            Some(digit) if digit.is_ascii_digit() => {
                while let Some(digit) = self.characters.next_if(char::is_ascii_digit) {
                    name.push(digit);
                }
            }
            _ => {
                let is_part = |character: &char| character.is_ascii_alphanumeric() || *character == '_';
                while let Some(character) = self.characters.next_if(is_part) {
                    name.push(character);
                }
            }
        }
        name
    }

    fn braces(&mut self) -> Result<String, ExpandError> {
        let before = self.characters.clone();
        let name = self.name();
        let value = (self.value_of)(&name);
        let stays = self.quotes == Quotes::Kept && value.is_none();
        let result = self.form(&name, value)?;
        if !stays {
            return Ok(result);
        }
        let length = before.clone().count() - self.characters.clone().count();
        Ok(format!("${{{}", before.take(length).collect::<String>()))
    }

    /// What follows the name within braces, with the brace that ends it.
    fn form(&mut self, name: &str, value: Option<String>) -> Result<String, ExpandError> {
        let unclosed = ExpandError::Unclosed { open: '{' };
        if name.is_empty() {
            return Err(ExpandError::UnknownForm { form: self.characters.clone().collect() });
        }
        match self.characters.next().ok_or(unclosed.clone())? {
            '}' => Ok(value.unwrap_or_default()),
            ':' => {
                let form = self.characters.next().ok_or(unclosed)?;
                self.default(form, name, value.filter(|value| !value.is_empty()), true)
            }
            form @ ('-' | '+' | '?') => self.default(form, name, value, false),
            form @ ('#' | '%') => {
                let longest = self.characters.next_if_eq(&form).is_some();
                let pattern = self.word('}')?;
                let value = value.unwrap_or_default();
                Ok(strip(&value, &pattern, form == '#', longest).to_owned())
            }
            '/' => {
                let all = self.characters.next_if_eq(&'/').is_some();
                let pattern = self.word('/')?;
                let with = self.word('}')?;
                replace(&value.unwrap_or_default(), &pattern, &with, all)
            }
            other => Err(ExpandError::UnknownForm { form: other.to_string() }),
        }
    }

    fn default(
        &mut self,
        form: char,
        name: &str,
        value: Option<String>,
        colon: bool,
    ) -> Result<String, ExpandError> {
        let word = self.word('}')?;
        match (form, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map_or_else(String::new, |_| word)),
            ('?', Some(value)) => Ok(value),
            ('?', None) => Err(ExpandError::Required { name: name.to_owned(), message: word }),
            _ => Err(ExpandError::UnknownForm { form: format!("{}{form}", if colon { ":" } else { "" }) }),
        }
    }

    /// An expanded word up to `end`, which is eaten.
    fn word(&mut self, end: char) -> Result<String, ExpandError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ExpandError::TooDeep);
        }
        let mut word = String::new();
        loop {
            match self.characters.next() {
                None => return Err(ExpandError::Unclosed { open: '{' }),
                Some(character) if character == end => break,
                Some('$') => word.push_str(&self.dollar()?),
                Some(quote @ ('"' | '\'')) if self.quotes != Quotes::Ordinary => loop {
                    match self.characters.next() {
                        None => return Err(ExpandError::Unclosed { open: quote }),
                        Some(character) if character == quote => break,
                        Some('$') if quote == '"' => word.push_str(&self.dollar()?),
                        Some(character) => word.push(character),
                    }
                },
                Some(character) if character == self.escape => match self.characters.next() {
                    // A pattern needs to know which stars mean themselves.
                    Some(star @ ('*' | '?')) => word.extend(['\\', star]),
                    Some(escaped) => word.push(escaped),
                    None => return Err(ExpandError::Unclosed { open: '{' }),
                },
                Some(character) => word.push(character),
            }
        }
        self.depth -= 1;
        Ok(word)
    }
}

/// `value` without what `pattern` matches at one end.
fn strip<'v>(value: &'v str, pattern: &str, at_start: bool, longest: bool) -> &'v str {
    let pattern = glob(pattern);
    let mut cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    // The first cut that fits is the wanted one.
    if at_start == longest {
        cuts.reverse();
    }
    let part = |cut: usize| if at_start { &value[..cut] } else { &value[cut..] };
    match cuts.into_iter().find(|cut| matches(&pattern, part(*cut))) {
        Some(cut) if at_start => &value[cut..],
        Some(cut) => &value[..cut],
        None => value,
    }
}

fn replace(value: &str, pattern: &str, with: &str, all: bool) -> Result<String, ExpandError> {
    let pattern = glob(pattern);
    let mut result = String::new();
    let mut from = 0;
    let mut replaced = false;
    while from < value.len() {
        if result.len() > LONGEST {
            return Err(ExpandError::TooLong);
        }
        let rest = &value[from..];
        let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).filter(|end| *end > 0);
        let longest =
            if replaced && !all { None } else { ends.rev_find(|end| matches(&pattern, &rest[..*end])) };
        match longest {
            Some(end) => {
                result.push_str(with);
                from += end;
                replaced = true;
            }
            None => {
                let character = rest.chars().next().map_or(1, char::len_utf8);
                result.push_str(&rest[..character]);
                from += character;
            }
        }
    }
    Ok(result)
}

trait ReverseFind: Iterator + Sized {
    fn rev_find(self, wanted: impl Fn(&Self::Item) -> bool) -> Option<Self::Item> {
        self.filter(|item| wanted(item)).last()
    }
}

impl<I: Iterator> ReverseFind for I {}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Glob {
    Star,
    One,
    Literal(char),
}

fn glob(pattern: &str) -> Vec<Glob> {
    let mut characters = pattern.chars();
    let mut glob = Vec::new();
    while let Some(character) = characters.next() {
        glob.push(match character {
            '*' => Glob::Star,
            '?' => Glob::One,
            '\\' => Glob::Literal(characters.next().unwrap_or('\\')),
            _ => Glob::Literal(character),
        });
    }
    glob
}

/// Whether the whole text fits; linear in memory, quadratic in time at worst.
fn matches(glob: &[Glob], text: &str) -> bool {
    let mut reached = vec![false; glob.len() + 1];
    reached[0] = true;
    let stars = |reached: &mut Vec<bool>| {
        for (index, part) in glob.iter().enumerate() {
            reached[index + 1] |= *part == Glob::Star && reached[index];
        }
    };
    stars(&mut reached);
    for character in text.chars() {
        let mut next = vec![false; glob.len() + 1];
        for (index, part) in glob.iter().enumerate() {
            match part {
                Glob::Star => next[index] |= reached[index],
                Glob::One => next[index + 1] |= reached[index],
                Glob::Literal(literal) => next[index + 1] |= reached[index] && *literal == character,
            }
        }
        stars(&mut next);
        reached = next;
    }
    reached[glob.len()]
}
