//! Where in a Dockerfile something went wrong.
//!
//! New clients print the lines with the error; old ones name a line (errors of syntax) or only the step
//! (`[builder 3/7] RUN cargo build`): that one is found by counting the instructions of its stage. This reads just enough
//! of a Dockerfile to count (comments, continued lines, here-documents) and gives no place at all when in doubt.

use std::ops::Range;

/// The bytes of what `words`, the client's own, say about a place in `text`, else of the step with this name.
pub(crate) fn find(text: &str, words: &[String], step: Option<&str>) -> Option<Range<usize>> {
    let lines = marked(words).or_else(|| named(words));
    let lines = lines.or_else(|| counted(text, step?)).or_else(|| base(text, step?))?;
    bytes(text, lines)
}

/// The lines (from 1) that the client marks: `  13 | >>> RUN false`.
fn marked(words: &[String]) -> Option<Range<usize>> {
    let mut numbers = words.iter().filter_map(|line| {
        let (number, rest) = line.split_once(" | ")?;
        rest.starts_with(">>>").then(|| number.trim().parse::<usize>().ok())?
    });
    let first = numbers.next()?;
    Some(first..numbers.next_back().unwrap_or(first) + 1)
}

/// The line that the client names: `parse error on line 3: …`.
fn named(words: &[String]) -> Option<Range<usize>> {
    words.iter().find_map(|words| {
        let (_, rest) = words.split_once("parse error ")?;
        let rest = rest.strip_prefix("on ").unwrap_or(rest).strip_prefix("line ")?;
        let number: usize = rest.split(':').next()?.parse().ok()?;
        Some(number..number + 1)
    })
}

/// The lines of the instruction that is called `[stage 3/7] RUN …`.
fn counted(text: &str, step: &str) -> Option<Range<usize>> {
    let (place, instruction) = step.strip_prefix('[')?.split_once("] ")?;
    let verb = instruction.split(' ').next()?;
    let (stage, count) = place.rsplit_once(' ').unwrap_or(("", place));
    // A platform stands before the stage.
    let stage = stage.rsplit(' ').next()?;
    let (number, total) = count.split_once('/')?;
    let (number, total): (usize, usize) = (number.parse().ok()?, total.parse().ok()?);

    let instructions = instructions(text);
    let mut stages = Vec::new();
    for instruction in &instructions {
        match instruction.verb.as_str() {
            "FROM" => stages.push((instruction.stage(), Vec::new())),
            "RUN" | "COPY" | "ADD" | "WORKDIR" => stages.last_mut()?.1.push(instruction),
            _ => {}
        }
    }
    let unnamed = stage.strip_prefix("stage-").and_then(|number| number.parse::<usize>().ok());
    let (_, steps) = match stages.iter().find(|(name, _)| name.as_deref() == Some(stage)) {
        Some(found) => found,
        None => stages.get(unnamed.unwrap_or(0)).filter(|_| unnamed.is_some() || stages.len() == 1)?,
    };
    // The base image counts, if there is one.
    let before = total.checked_sub(steps.len()).filter(|before| *before <= 1)?;
    let found = steps.get(number.checked_sub(before + 1)?)?;
    (found.verb == verb).then(|| found.lines.clone())
}

/// The lines of the stage that starts from the image of `[internal] load metadata for IMAGE`.
fn base(text: &str, step: &str) -> Option<Range<usize>> {
    let image = step.strip_prefix("[internal] load metadata for ")?;
    // The name is told in full.
    let short = image.strip_prefix("docker.io/").unwrap_or(image);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let is_it = |word: &str| [image, short].contains(&word) || short.strip_suffix(":latest") == Some(word);
    let mut instructions = instructions(text).into_iter();
    let from = instructions.find(|from| from.verb == "FROM" && from.rest.split_whitespace().any(is_it))?;
    Some(from.lines)
}

/// An instruction and its lines, from 1.
struct Instruction {
    verb: String,
    /// Its first line behind the verb.
    rest: String,
    lines: Range<usize>,
}

impl Instruction {
    /// What `FROM … AS name` calls the stage.
    fn stage(&self) -> Option<String> {
        let mut words = self.rest.split_whitespace();
        words.find(|word| word.eq_ignore_ascii_case("as"))?;
        words.next().map(str::to_lowercase)
    }
}

fn instructions(text: &str) -> Vec<Instruction> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((line, first)) = lines.next() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (verb, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let mut last = first;
        let mut whole = line.to_owned();
        while whole.trim_end().ends_with('\\') {
            let Some((line, number)) = lines.next() else { break };
            let comment = line.trim().is_empty() || line.trim().starts_with('#');
            last = number;
            if !comment {
                whole = line.to_owned();
            }
        }
        for mark in here_documents(&whole) {
            let mut closed = false;
            while let Some((line, number)) = lines.next_if(|_| !closed) {
                closed = line.trim_start_matches('\t') == mark;
                last = number;
            }
        }
        found.push(Instruction {
            verb: verb.to_ascii_uppercase(),
            rest: rest.to_owned(),
            lines: first..last + 1,
        });
    }
    found
}

/// The words that end the here-documents which begin on this line.
fn here_documents(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("<<").filter_map(|(start, _)| {
        let rest = &line[start + 2..];
        let word = rest.strip_prefix('-').unwrap_or(rest).split_whitespace().next()?;
        let word = word.trim_matches(['"', '\'']);
        let is_name = word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        (is_name && word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_'))
            .then_some(word)
    })
}

/// The bytes of these lines, from their first character to the end of the last one.
fn bytes(text: &str, lines: Range<usize>) -> Option<Range<usize>> {
    let mut start = None;
    let mut end = None;
    let mut offset = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if lines.contains(&number) {
            start.get_or_insert(offset + (line.len() - line.trim_start().len()));
            end = Some(offset + line.trim_end().len());
        }
        offset += line.len();
    }
    let (start, end) = (start?, end?);
    (start <= end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\nFROM debian AS builder\nWORKDIR /app\nRUN <<EOF\n\
        RUN no instruction\nEOF\nENV a=b\nCOPY . \\\n  # why\n  /app\nRUN false\nFROM scratch\nCOPY --from=builder /a /a\n";

    #[track_caller]
    fn check(words: &[&str], step: Option<&str>, expected: Option<&str>) {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let found = find(TEXT, &words, step).map(|range| &TEXT[range]);
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_that_the_client_marks() {
        let words = [
            "Dockerfile:8",
            "----",
            "   7 |     ENV a=b",
            "   8 | >>> COPY . \\",
            "   9 | >>>   # why",
            "  10 | >>>   /app",
            "  11 |     RUN false",
            "----",
        ];
        check(&words, None, Some("COPY . \\\n  # why\n  /app"));
    }

    #[test]
    fn the_line_of_a_syntax_error() {
        check(&["dockerfile parse error line 3: unknown"], None, Some("WORKDIR /app"));
        check(&["dockerfile parse error on line 7: unknown"], None, Some("ENV a=b"));
        check(&["dockerfile parse error on line 99: unknown"], None, None);
    }

    #[test]
    fn steps_are_counted() {
        check(&[], Some("[builder 5/5] RUN false"), Some("RUN false"));
        check(&[], Some("[builder 4/5] COPY . /app"), Some("COPY . \\\n  # why\n  /app"));
        check(&[], Some("[builder 3/5] RUN <<EOF"), Some("RUN <<EOF\nRUN no instruction\nEOF"));
        check(
            &[],
            Some("[linux/arm64 stage-1 1/1] COPY --from=builder /a /a"),
            Some("COPY --from=builder /a /a"),
        );
        // The base image is nobody's line here, and what does not fit is not guessed.
        check(&[], Some("[builder 1/5] FROM debian"), None);
        check(&[], Some("[builder 3/5] COPY . /app"), None);
        check(&[], Some("[builder 2/9] RUN false"), None);
        check(&[], Some("[other 1/1] RUN false"), None);
        check(&[], Some("exporting to image"), None);
    }

    #[test]
    fn base_images_are_found_by_their_names() {
        for name in ["docker.io/library/debian:latest", "debian"] {
            check(&[], Some(&format!("[internal] load metadata for {name}")), Some("FROM debian AS builder"));
        }
        check(&[], Some("[internal] load metadata for docker.io/library/alpine:latest"), None);
    }
}
