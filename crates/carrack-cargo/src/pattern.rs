//! Matches names against shell patterns: `*`, `?` and `[a-z]`, as cargo's `-p` takes them. Knows no paths.

/// Whether `text` as a whole matches `pattern`. A `[` without its `]` stands for itself.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    matches_from(&pattern, &text)
}

/// Whether `text` holds a character that makes it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn matches_from(pattern: &[char], text: &[char]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        '*' => (0..=text.len()).any(|skipped| matches_from(rest, &text[skipped..])),
        '?' => !text.is_empty() && matches_from(rest, &text[1..]),
        '[' => match (rest.iter().skip(1).position(|&character| character == ']'), text.split_first()) {
            (Some(end), Some((&character, text))) => {
                in_class(&rest[..=end], character) && matches_from(&rest[end + 2..], text)
            }
            (Some(_), None) => false,
            (None, _) => text.first() == Some(&'[') && matches_from(rest, &text[1..]),
        },
        literal => text.first() == Some(&literal) && matches_from(rest, &text[1..]),
    }
}

/// `class` is what stands between the brackets.
fn in_class(class: &[char], character: char) -> bool {
    let (negated, class) = match class {
        ['!' | '^', class @ ..] if !class.is_empty() => (true, class),
        _ => (false, class),
    };
    let mut found = false;
    let mut at = 0;
    while at < class.len() {
        if let [low, '-', high, ..] = class[at..] {
            found |= (low..=high).contains(&character);
            at += 3;
        } else {
            found |= class[at] == character;
            at += 1;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn shell_patterns() {
        for (pattern, text, expected) in [
            ("api-*", "api-server", true),
            ("api-*", "my-api-server", false),
            ("*", "", true),
            ("?pi", "api", true),
            ("?pi", "pi", false),
            ("[a-c]pi", "bpi", true),
            ("[!a-c]pi", "bpi", false),
            ("[]a]x", "]x", true),
            ("[ab", "[ab", true),
            ("*_TOKEN", "GH_TOKEN", true),
            ("*_TOKEN", "GH_TOKENS", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
