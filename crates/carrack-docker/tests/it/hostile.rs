//! Texts that nobody writes: nothing panics, and every place lies in the text.

use carrack_docker::dockerfile::{Kind, expand, expand_words, parse, variables};
use carrack_docker::dockerignore::Dockerignore;
use proptest::prelude::*;

use crate::dockerfile::source;
use crate::grammar::config;

/// Pieces that lead deep into the parser.
fn pieces() -> impl Strategy<Value = String> {
    let known = [
        "FROM x\n",
        "FROM x AS b\n",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "CMD ",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\\\n",
        "\\",
        "`\n",
        "# escape=`\n",
        "# c\n",
        "<<E",
        "<<-\"E\"",
        "E\n",
        "--mount=",
        "type=cache",
        ",target=/a",
        "--from=",
        "--",
        "[\"a\", \"b\\\"\"]",
        "[",
        "]",
        "\"",
        "'",
        "=",
        "${v:-",
        "}",
        "$v",
        "é",
        "\u{feff}",
        "\u{0}",
    ];
    let piece =
        prop_oneof![9 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn nothing_panics(text in prop_oneof![pieces(), pieces().prop_map(|text| format!("FROM x\n{text}")), ".{0,200}"]) {
        match parse(&source(&text)) {
            Ok(dockerfile) => {
                let mut last = 0;
                for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
                    prop_assert!(text.get(instruction.range.clone()).is_some());
                    prop_assert!(instruction.range.start >= last);
                    last = instruction.range.end;
                    prop_assert_eq!(&text[instruction.keyword.range()], instruction.keyword.as_str());
                    if let Kind::Copy(copy) = &instruction.kind {
                        prop_assert!(text.get(copy.destination.range()).is_some());
                    }
                }
            }
            Err(error) => prop_assert!(text.get(error.span.range.clone()).is_some()),
        }
        let _ = (expand(&text, '\\', &|name| Some(name.to_owned())), expand_words(&text, '`', &|_| None));
        let _ = (variables(&text, '\\'), Dockerignore::parse(&text).map(|ignore| ignore.ignores("a/b")));
    }
}
