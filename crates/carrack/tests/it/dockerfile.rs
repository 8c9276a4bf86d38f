//! The same Dockerfile and context, built by a real Docker and by `carrack build --engine embedded`: both have to make the
//! same image, or both have to refuse.
//!
//! Carrack builds each case as root and once more as an ordinary user with subordinate ids, who has to get the image that root
//! got.
//!
//! Compared with Docker are the configuration and the one file system that the layers make: paths, kinds, modes, owners, sizes,
//! contents, link targets, which names are one file, extended attributes. Not compared: times.
//!
//! A case ([`case::Case`]) also says what it is there to show, and that is looked up in Docker's image first: a case that
//! shows nothing would compare nothing with nothing. What may differ, and why, is in [`exceptions`].
//!
//! `CARRACK_CASES=copy-,add-url` in the environment restricts the run to cases whose names begin so; `CARRACK_CASES_KEEP=DIR`
//! keeps both archives and both logs of failing cases there.

mod calls;
mod case;
mod cases;
mod exceptions;
mod oracle;
mod run;
mod servers;
mod ssh;

/// One test for each area: they run side by side, and all engines and servers are shared.
macro_rules! areas {
    ($($area:ident)*) => {
        $(#[test]
        fn $area() {
            run::all(stringify!($area), cases::$area::cases());
        })*
    };
}

areas! {
    add
    arguments
    configuration
    copying
    copying_from
    expansion
    files
    flags
    heredocs
    ignoring
    mounts
    onbuild
    refusals
    running
    ssh
    stages
    syntax
}

#[test]
fn what_is_asked_of_a_file() {
    calls::all();
}

#[test]
fn names_of_cases_are_unique() {
    let mut names: Vec<&str> = cases::everything().iter().map(|case| case.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count >= 150, "{count} cases");
}
