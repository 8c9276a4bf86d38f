//! The cases, by area.

pub(crate) mod add;
pub(crate) mod arguments;
pub(crate) mod configuration;
pub(crate) mod copying;
pub(crate) mod copying_from;
pub(crate) mod expansion;
pub(crate) mod files;
pub(crate) mod flags;
pub(crate) mod heredocs;
pub(crate) mod ignoring;
pub(crate) mod mounts;
pub(crate) mod onbuild;
pub(crate) mod refusals;
pub(crate) mod running;
pub(crate) mod ssh;
pub(crate) mod stages;
pub(crate) mod syntax;

use super::case::Case;

pub(crate) fn everything() -> Vec<Case> {
    let areas = [
        add::cases(),
        arguments::cases(),
        configuration::cases(),
        copying::cases(),
        copying_from::cases(),
        expansion::cases(),
        files::cases(),
        flags::cases(),
        heredocs::cases(),
        ignoring::cases(),
        mounts::cases(),
        onbuild::cases(),
        refusals::cases(),
        running::cases(),
        ssh::cases(),
        stages::cases(),
        syntax::cases(),
    ];
    areas.into_iter().flatten().collect()
}
