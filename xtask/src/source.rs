//! Rust source, reduced to what a textual rule may look at.
//!
//! Not a parser: it knows comments, literals and braces, and that is enough to keep a rule from taking a word in a
//! comment for code. Macro input is code to it.

use std::ops::Range;

/// `text` with comments and the insides of literals blanked. Line ends and byte offsets stay where they are.
pub(crate) fn code(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < text.len() {
        let end = match blank_end(text, at) {
            Some(end) => {
                blank(&mut code, at..end);
                end
            }
            None => at + 1,
        };
        at = end;
    }
    String::from_utf8(code).expect("only whole characters are blanked")
}

/// `code` with the items behind `#[cfg(test)]` blanked, too; and the names of the test modules that are other files.
pub(crate) fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut kept = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    let starts = code.match_indices("#[cfg(test)]").chain(code.match_indices("#[cfg(all(test"));
    for (start, _) in starts {
        let end = item_end(code, start);
        if let Some(name) = module_name(&code[start..end]) {
            modules.push(name.to_owned());
        }
        blank(&mut kept, start..end);
    }
    (String::from_utf8(kept).expect("items begin and end at ASCII characters"), modules)
}

/// Byte offsets of `word` in `code`, where no longer word surrounds it.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part))
}

/// The line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    for byte in &mut bytes[range] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Where the comment or literal that begins at `at` ends; `None` if none begins there.
fn blank_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'/' if bytes.get(at + 1) == Some(&b'/') => Some(
            text.as_bytes()[at..]
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(text.len(), |length| at + length),
        ),
        b'/' if bytes.get(at + 1) == Some(&b'*') => Some(block_comment_end(bytes, at)),
        b'"' => Some(string_end(bytes, at)),
        b'\'' => char_end(text, at),
        b'r' => raw_string_end(text, at),
        _ => None,
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A character literal's end; `None` for a lifetime.
fn char_end(text: &str, start: usize) -> Option<usize> {
    let inside = &text[start + 1..];
    let first = inside.chars().next()?;
    if first == '\\' {
        // The escaped character may itself be a quote.
        let rest = inside.get(2..)?;
        return rest.find('\'').map(|length| start + 3 + length + 1);
    }
    let end = start + 1 + first.len_utf8();
    text[end..].starts_with('\'').then_some(end + 1)
}

/// A raw string's end, from its `r`; `None` for a name and for a raw identifier.
fn raw_string_end(text: &str, start: usize) -> Option<usize> {
    let before = text[..start].trim_end_matches(['b', 'c']);
    if before.ends_with(|character: char| character.is_alphanumeric() || character == '_') {
        return None;
    }
    let hashes = text[start + 1..].bytes().take_while(|&byte| byte == b'#').count();
    let inside = start + 1 + hashes;
    if !text[inside..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    Some(text[inside + 1..].find(&close).map_or(text.len(), |length| inside + 1 + length + close.len()))
}

/// The end of the item whose attributes begin at `start`: its closing brace, or its semicolon.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth <= 0 {
                    return start + offset + 1;
                }
            }
            b';' if depth == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn module_name(item: &str) -> Option<&str> {
    let (before, name) = item.strip_suffix(';')?.rsplit_once(' ')?;
    before.ends_with("mod").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left, with runs of blanks made one.
    fn left(text: &str) -> String {
        code(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        for (text, expected) in [
            ("a // unsafe\nb", "a b"),
            ("a /* x /* unsafe */ y */ b", "a b"),
            ("a \"un\\\"safe // \" b", "a b"),
            ("a r#\"un\"safe\"# b", "a b"),
            ("a br\"unsafe\\\" b", "a b b"),
            ("a r#type b", "a r#type b"),
            ("for<'a> &'a str '\\'' '\"' 'ä' unsafe", "for<'a> &'a str unsafe"),
            ("'\\u{7f}' x", "x"),
            ("// ends without a line end", ""),
        ] {
            assert_eq!(left(text), expected, "{text}");
        }
    }

    #[test]
    fn offsets_and_lines_stay() {
        let text = "/* ä\n */ unsafe {}\n\"\n\" unsafe";
        let code = code(text);
        assert_eq!(code.len(), text.len());
        let lines: Vec<_> = words(&code, "unsafe").map(|at| line_of(&code, at)).collect();
        assert_eq!(lines, [2, 4]);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("unsafe_code unsafe! my_unsafe unsafe", "unsafe").collect::<Vec<_>>(), [12, 30]);
    }

    #[test]
    fn test_items_are_blanked() {
        let (kept, modules) = without_tests(
            "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn b(x: [u8; 2]) { c } }\nfn d() {}\n\
             #[cfg(test)]\nmod oracle;\n#[cfg(all(test, unix))] fn e(x: [u8; 2]) {}\nfn f() {}",
        );
        assert_eq!(kept.split_whitespace().collect::<String>(), "fna(){}fnd(){}fnf(){}");
        assert_eq!(modules, ["oracle"]);
    }
}
