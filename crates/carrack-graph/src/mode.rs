//! How permission bits are said: `0644`, or `u=rwX,go=rX` as chmod knows it.

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeChange {
    /// These bits, whatever was there: the lowest 12.
    Bits(u32),
    /// Clauses, one after the other.
    Clauses(Vec<ModeClause>),
}

/// One clause of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeClause {
    /// Whose bits are meant: any of 0o4700 (`u`), 0o2070 (`g`), 0o1007 (`o`), or all of them.
    who: u32,
    operator: Operator,
    /// The bits named by `rwxst`, for everybody.
    bits: u32,
    /// `X`: to be executed if it is a folder or somebody may execute it already.
    conditional: bool,
    /// Whose `rwx` bits are taken over, by how far they are shifted: 6 (`u`), 3 (`g`), 0 (`o`).
    like: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

impl ModeChange {
    /// Reads an octal number or clauses with commas between them; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).ok()?;
            return (bits <= 0o7777).then_some(Self::Bits(bits));
        }
        text.split(',').map(clauses).collect::<Option<Vec<_>>>().map(|all| Self::Clauses(all.concat()))
    }

    /// The permission bits that something with these gets.
    pub fn apply(&self, mode: u32, is_folder: bool) -> u32 {
        match self {
            Self::Bits(bits) => *bits,
            Self::Clauses(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_folder)),
        }
    }
}

impl ModeClause {
    fn apply(self, mode: u32, is_folder: bool) -> u32 {
        let execute = if self.conditional && (is_folder || mode & 0o111 != 0) { 0o111 } else { 0 };
        let like = self.like.map_or(0, |shift| (mode >> shift & 0o7) * 0o111);
        let bits = (self.bits | execute | like) & self.who;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            // Set-user-ID and set-group-ID go too, of folders as well, unless somebody's bits are taken over; a
            // sticky bit stays.
            Operator::Set => {
                let replaced = if self.like.is_some() { 0o777 } else { 0o6777 };
                (mode & !(self.who & replaced)) | bits
            }
        }
    }
}

/// `ug+rx-w`: one set of people, any number of changes.
fn clauses(text: &str) -> Option<Vec<ModeClause>> {
    let start = text.find(['+', '-', '='])?;
    let mut who = 0;
    for letter in text[..start].chars() {
        who |= match letter {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let who = if who == 0 { 0o7777 } else { who };
    let mut clauses: Vec<ModeClause> = Vec::new();
    for letter in text[start..].chars() {
        let operator = match letter {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Set,
            _ => {
                let clause = clauses.last_mut()?;
                match letter {
                    'r' => clause.bits |= 0o444,
                    'w' => clause.bits |= 0o222,
                    'x' => clause.bits |= 0o111,
                    's' => clause.bits |= 0o6000,
                    't' => clause.bits |= 0o1000,
                    'X' => clause.conditional = true,
                    'u' => clause.like = Some(6),
                    'g' => clause.like = Some(3),
                    'o' => clause.like = Some(0),
                    _ => return None,
                }
                continue;
            }
        };
        clauses.push(ModeClause { who, operator, bits: 0, conditional: false, like: None });
    }
    Some(clauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_applied() {
        for (text, mode, is_folder, expected) in [
            ("0644", 0o777, false, 0o644),
            ("4755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("go-rwx", 0o755, true, 0o700),
            ("u+s,g+s,o+t", 0o755, false, 0o7755),
            ("ug+rx-w", 0o200, false, 0o550),
            ("o=", 0o777, false, 0o770),
            ("u=rwX,go=rX", 0o2755, true, 0o755),
            ("g=u", 0o750, false, 0o770),
            ("g=u", 0o2755, true, 0o2775),
            ("go=u,o-w", 0o640, false, 0o664),
            ("o+g", 0o750, false, 0o755),
        ] {
            let change = ModeChange::parse(text).unwrap_or_else(|| panic!("{text} is a mode"));
            assert_eq!(change.apply(mode, is_folder), expected, "{text} on {mode:o}");
        }
        for text in ["", "8", "17777", "rwx", "u", "z+x", "u+y", "u=rw,"] {
            assert_eq!(ModeChange::parse(text), None, "{text:?}");
        }
    }
}
