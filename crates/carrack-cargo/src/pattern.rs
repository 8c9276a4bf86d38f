//! Matches names against shell patterns: `*`, `?` and `[a-z]`, as cargo's `-p` takes them. Knows no paths.

/// Whether `text` as a whole matches `pattern`. A `[` without its `]` stands for itself.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    // Every variable is matched against every rule whenever nothing has changed: no allocation here.
    let mut after = pattern.chars();
    let Some(first) = after.next() else { return text.is_empty() };
    let rest = after.as_str();
    let mut following = text.chars();
    let head = following.next();
    let tail = following.as_str();
    match first {
        '*' => matches(rest, text) || (head.is_some() && matches(pattern, tail)),
        '?' => head.is_some() && matches(rest, tail),
        '[' => match (rest.char_indices().skip(1).find(|(_, character)| *character == ']'), head) {
            (Some((end, _)), Some(character)) => {
                in_class(&rest[..end], character) && matches(&rest[end + 1..], tail)
            }
            (Some(_), None) => false,
            (None, _) => head == Some('[') && matches(rest, tail),
        },
        literal => head == Some(literal) && matches(rest, tail),
    }
}

/// Whether `text` holds a character that makes it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// `class` is what stands between the brackets.
fn in_class(class: &str, character: char) -> bool {
    let class: Vec<char> = class.chars().collect();
    let (negated, class) = match &class[..] {
        ['!' | '^', class @ ..] if !class.is_empty() => (true, class),
        class => (false, class),
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
