//! Which of an index's images fits a platform best.

use carrack_base::Platform;

/// How well an image for `offered` fits: the more, the better. `None` if it does not run there.
pub(super) fn fit(wanted: &Platform, offered: &Platform) -> Option<u32> {
    let (architecture, wanted_variant) = normalised(wanted);
    let (offered_architecture, offered_variant) = normalised(offered);
    if !wanted.os.eq_ignore_ascii_case(&offered.os) || architecture != offered_architecture {
        return None;
    }
    match (level(&architecture, wanted_variant), level(&architecture, offered_variant)) {
        (Some(wanted), Some(offered)) => (offered <= wanted).then_some(offered),
        // Variants without an order: the same one, else one that asks for nothing in particular.
        _ if wanted_variant == offered_variant => Some(1),
        _ => offered_variant.is_none().then_some(0),
    }
}

/// Go's name of the processor, whatever it was called, and the variant that was said.
fn normalised(platform: &Platform) -> (String, Option<&str>) {
    let variant = platform.variant.as_deref().filter(|variant| !variant.is_empty());
    let (architecture, implied) = match platform.architecture.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" => ("amd64".to_owned(), None),
        "aarch64" => ("arm64".to_owned(), None),
        "armhf" => ("arm".to_owned(), Some("v7")),
        "armel" => ("arm".to_owned(), Some("v6")),
        "i386" => ("386".to_owned(), None),
        other => (other.to_owned(), None),
    };
    (architecture, variant.or(implied))
}

/// A variant as a number that grows with what the processor can do, where variants are such.
fn level(architecture: &str, variant: Option<&str>) -> Option<u32> {
    let default = match architecture {
        "amd64" => "v1",
        "arm" => "v7",
        "arm64" => "v8",
        _ => return None,
    };
    let variant = variant.unwrap_or(default);
    let number = variant.strip_prefix('v').unwrap_or(variant);
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let (major, minor): (u16, u16) = (major.parse().ok()?, minor.parse().ok()?);
    Some(u32::from(major) << 16 | u32::from(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next();
        Platform { os: next().unwrap(), architecture: next().unwrap(), variant: next() }
    }

    fn best<'o>(wanted: &str, offered: &[&'o str]) -> Option<&'o str> {
        let fits = |offered: &&'o str| fit(&platform(wanted), &platform(offered)).map(|fit| (fit, *offered));
        let mut best = None;
        for (fit, offered) in offered.iter().filter_map(fits) {
            if best.is_none_or(|(best, _)| fit > best) {
                best = Some((fit, offered));
            }
        }
        best.map(|(_, offered)| offered)
    }

    #[test]
    fn variants_fall_back_to_what_the_processor_runs() {
        let many =
            ["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "linux/386", "windows/amd64"];
        for (wanted, expected) in [
            ("linux/amd64", Some("linux/amd64")),
            ("linux/x86_64", Some("linux/amd64")),
            ("linux/arm64", Some("linux/arm64/v8")),
            ("linux/arm64/v9", Some("linux/arm64/v8")),
            ("linux/arm/v7", Some("linux/arm/v7")),
            ("linux/arm", Some("linux/arm/v7")),
            ("linux/arm/v6", Some("linux/arm/v5")),
            ("linux/arm/v8", Some("linux/arm/v7")),
            ("linux/riscv64", None),
            ("windows/amd64", Some("windows/amd64")),
            ("darwin/arm64", None),
        ] {
            assert_eq!(best(wanted, &many), expected, "{wanted}");
        }
        assert_eq!(best("linux/amd64", &["linux/amd64/v2", "linux/amd64/v3"]), None);
        assert_eq!(
            best("linux/amd64/v3", &["linux/amd64", "linux/amd64/v4", "linux/amd64/v2"]),
            Some("linux/amd64/v2")
        );
        assert_eq!(best("linux/arm64", &["linux/arm64/v8.2", "linux/arm64"]), Some("linux/arm64"));
        assert_eq!(
            best("linux/mips/softfloat", &["linux/mips", "linux/mips/softfloat"]),
            Some("linux/mips/softfloat")
        );
        assert_eq!(best("linux/mips", &["linux/mips/softfloat"]), None);
        // Of two that fit alike, the first.
        assert_eq!(best("linux/arm64", &["linux/arm64/", "linux/arm64/v8"]), Some("linux/arm64/"));
    }
}
