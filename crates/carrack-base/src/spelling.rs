//! Which name was meant: what stands behind every "did you mean".

/// The known name that `wanted` was probably meant to be: a third of its letters may be others, upper and lower case are
/// the same.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &wanted), known))
        .filter(|(distance, known)| *distance <= known.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_seen() {
        let near = |wanted| nearest(wanted, ["COPY", "HEALTHCHECK", "rustcare-server", "rustcare-sync"]);
        assert_eq!(near("coppy"), Some("COPY"));
        assert_eq!(near("HEALTCHECK"), Some("HEALTHCHECK"));
        assert_eq!(near("rustcare-serevr"), Some("rustcare-server"));
        assert_eq!(near("frontend"), None);
        assert_eq!(near(""), None);
    }
}
