use std::time::Duration;

/// Reads a size as people and docker write it: `10GB`, `1.5 GiB`, `500mb`, `4096`. Units of three letters are powers of
/// 1024, others of 1000. `None` for what is no size.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim().to_ascii_lowercase();
    let (letters, base) = match unit.strip_suffix("ib") {
        Some(letters) => (letters, 1024_f64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000.0),
    };
    let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == letters)?;
    let bytes = number * base.powi(i32::try_from(power).ok()?);
    // Exact up to eight petabytes.
    (bytes < 9e15).then_some(bytes.round() as u64)
}

/// Reads how long something lasts, as docker's `until` has it, and with days and weeks: `72h`, `30d`, `1h30m`. `None` for
/// what is no time.
pub fn parse_age(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            'w' => 7 * 24 * 60 * 60,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(seconds)?)?;
        rest = &rest[end + 1..];
    }
    Some(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10GB", 10_000_000_000),
            ("10g", 10_000_000_000),
            ("1.5 GiB", 1_610_612_736),
            ("512MiB", 536_870_912),
            ("20kB", 20_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "GB", "1.2.3GB", "10XB", "-1", "1e3", "99999999TB", "10 G B"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages() {
        for (text, seconds) in
            [("72h", 259_200), ("30d", 2_592_000), ("1h30m", 5400), ("2w", 1_209_600), ("0s", 0)]
        {
            assert_eq!(parse_age(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "30", "d", "1y", "1.5h", "-1h", "99999999999999999999d", "9999999999999999w", "1é"]
        {
            assert_eq!(parse_age(wrong), None, "{wrong}");
        }
    }
}
