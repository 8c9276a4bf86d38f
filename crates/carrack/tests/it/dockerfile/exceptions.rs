//! Where Carrack may differ from Docker, each with its reason. Nothing else may.
//!
//! An entry that is no longer needed is a failure too where that can be told: what Carrack [cannot](CANNOT) do has to fail,
//! and so has what an ordinary user [cannot](CANNOT_WITHOUT_ROOT).

use carrack_testkit::Difference;

/// A difference that is known and meant.
struct Exception {
    /// The beginning of the names of the cases that it is about; empty for all.
    cases: &'static str,
    /// The beginning of the place that differs.
    place: &'static str,
    /// The beginning of what Docker has there; empty for anything.
    docker: &'static str,
    /// Why it is meant.
    #[expect(dead_code, reason = "it is for whoever reads the list")]
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        cases: "",
        place: "history[",
        docker: "\"HEALTHCHECK &{",
        why: "Docker prints the inside of a Go structure: its last number comes as a character in quotes",
    },
    Exception {
        cases: "add-git-submodules",
        place: "/src/lib/.git",
        docker: "-rw-r--r-- 0:0",
        why: "the path in it leads into a folder of BuildKit's that has a number, another one each time",
    },
    Exception {
        cases: "running-in-an-empty-root",
        place: "/",
        docker: "drwxr-xr-x 0:0",
        why: "Docker leaves the mount points /dev, /proc and /sys behind where the image had none",
    },
    Exception {
        cases: "add-archive-over-what-is-there",
        place: "/x/",
        docker: "",
        why: "Docker follows a link that stands where the archive has a folder, as if the destination were the root",
    },
    Exception {
        cases: "expansion-no-path-in-scratch",
        place: "/",
        docker: "drwxr-xr-x 0:0",
        why: "as above",
    },
    Exception {
        cases: "files-hard-linked-symlinks",
        place: "/b",
        docker: "lrwxrwxrwx 0:0 -> nowhere = /a",
        why: "two names of one symbolic link are two links: nothing can tell them apart but their number",
    },
    Exception {
        cases: "files-fifos",
        place: "/fifo",
        docker: "prw------- 5:6 = /again",
        why: "two names of one fifo are two fifos",
    },
    Exception {
        cases: "files-attributes",
        place: "/",
        docker: "",
        why: "Docker's layers have `security.capability` only, and lose `user.*`",
    },
    Exception {
        cases: "files-hard-link-to-a-file-of-the-base",
        place: "/linked",
        docker: "-rw-r--r-- 0:0",
        why: "Docker loses the link in the image, though the next step still sees it: the first name has not changed",
    },
    Exception {
        cases: "running-host-name",
        place: "/out",
        docker: "-rw-r--r-- 0:0 16",
        why: "the sandbox has a name of its own",
    },
    Exception {
        cases: "running-processes-are-its-own",
        place: "/out",
        docker: "-rw-r--r-- 0:0 2",
        why: "the first process is one that collects the others",
    },
];

/// What Carrack refuses though Docker builds it: case and reason.
const CANNOT: &[(&str, &str)] = &[
    (
        "flags-chown-unknown-name",
        "Docker takes root for a user that is not there, which nobody can have meant",
    ),
    ("files-devices", "a user namespace may not make devices, and every step runs in one"),
    ("from-devices", "as above"),
    ("running-makes-devices", "as above"),
];

/// What Carrack refuses to an ordinary user though root may have it: case and reason.
const CANNOT_WITHOUT_ROOT: &[(&str, &str)] = &[
    ("files-large-owners", "the user has 65536 subordinate ids, and no file can belong to one beyond them"),
    ("flags-chown-large-number", "as above"),
];

pub(crate) fn is_excepted(case: &str, difference: &Difference) -> bool {
    EXCEPTIONS.iter().any(|exception| {
        case.starts_with(exception.cases)
            && difference.place.starts_with(exception.place)
            && difference.first.as_deref().unwrap_or_default().starts_with(exception.docker)
    })
}

/// Why Carrack refuses a case that Docker builds.
pub(crate) fn cannot(case: &str) -> Option<&'static str> {
    reason(CANNOT, case)
}

/// Why Carrack refuses to an ordinary user a case that it builds for root.
pub(crate) fn cannot_without_root(case: &str) -> Option<&'static str> {
    reason(CANNOT_WITHOUT_ROOT, case)
}

fn reason(list: &[(&str, &'static str)], case: &str) -> Option<&'static str> {
    list.iter().find(|(name, _)| *name == case).map(|(_, why)| *why)
}

#[test]
fn a_difference_is_excepted_only_in_its_place_and_case() {
    let check = |case: &str, place: &str, first: Option<&str>, expected: bool| {
        let difference =
            Difference { place: place.to_owned(), first: first.map(str::to_owned), second: None };
        assert_eq!(is_excepted(case, &difference), expected, "{case} {place} {first:?}");
    };
    check("any", "history[3].created_by", Some("\"HEALTHCHECK &{[\"NONE\"]"), true);
    check("any", "history[3].created_by", Some("\"RUN x"), false);
    check("any", "config.Healthcheck.Test[0]", Some("\"HEALTHCHECK &{"), false);
    check("running-host-name", "/out", Some("-rw-r--r-- 0:0 16 0123"), true);
    check("running-host-name", "/out", None, false);
    check("running-input-is-empty", "/out", Some("-rw-r--r-- 0:0 16 0123"), false);
}
