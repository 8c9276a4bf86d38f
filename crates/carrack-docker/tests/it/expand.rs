//! Variables, in every form.

use carrack_docker::dockerfile::{expand, expand_words, variables};

fn value_of(name: &str) -> Option<String> {
    let known = [("v", "foobarbaz"), ("e", ""), ("s", "a b"), ("path", "/a/b/c.tar.gz"), ("1", "one")];
    known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

#[test]
fn forms() {
    for (text, expected) in [
        ("$v-x", "foobarbaz-x"),
        ("${v}x", "foobarbazx"),
        ("$none.", "."),
        ("a$", "a$"),
        ("$.x", "$.x"),
        ("\\$v", "$v"),
        ("'$v'", "$v"),
        ("\"$v\"", "foobarbaz"),
        ("\"\\$v \\x\"", "$v \\x"),
        ("$1", "one"),
        ("${none:-d}", "d"),
        ("${e:-d}", "d"),
        ("${e-d}", ""),
        ("${v:+d}", "d"),
        ("${e:+d}", ""),
        ("${e+d}", "d"),
        ("${v:?no}", "foobarbaz"),
        ("${none:-${v}}", "foobarbaz"),
        ("${none:-\"a}b\"}", "a}b"),
        ("${path##*/}", "c.tar.gz"),
        ("${path#*/}", "a/b/c.tar.gz"),
        ("${path%.*}", "/a/b/c.tar"),
        ("${path%%.*}", "/a/b/c"),
        ("${v#ba?}", "foobarbaz"),
        ("${v/ba?/X}", "fooXbaz"),
        ("${v//ba?/X}", "fooXX"),
        ("${v//\\*/X}", "foobarbaz"),
        ("${v/b*/X}", "fooX"),
    ] {
        assert_eq!(expand(text, '\\', &value_of).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn mistakes() {
    for (text, expected) in [
        ("'a", "`'` is not closed"),
        ("\"a", "`\"` is not closed"),
        ("${v", "`{` is not closed"),
        ("${v:=x}", "`:=` is no way to change a value"),
        ("${}", "`}` is no way to change a value"),
        ("${none:?say it}", "none is not set: say it"),
    ] {
        assert_eq!(expand(text, '\\', &value_of).unwrap_err().to_string(), expected, "{text}");
    }
    assert!(expand(&"${v:-".repeat(5000), '\\', &value_of).is_err());
}

#[test]
fn words_are_cut_outside_of_quotes() {
    assert_eq!(expand_words("$s \"$s\" '' x", '\\', &value_of).unwrap(), ["a", "b", "a b", "", "x"]);
    assert_eq!(variables("$a ${b:-$c} '$d' ${e", '\\'), ["a", "b", "c", "e"]);
}
