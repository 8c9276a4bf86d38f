//! What goes into the context.

use super::super::model::{Copied, Model, Origin};
use super::super::{Edit, Found};

/// Copies of the context that take a file along, if it is not left out.
fn taking<'a>(model: &'a Model<'_>, path: &str) -> Option<&'a Copied<'a>> {
    let copied = model.stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| step.copied.as_ref());
    let mut from_context = copied.filter(|copied| copied.origin == Origin::Context);
    from_context.find(|copied| !model.takes_results() && copied.takes(path))
}

fn target(model: &Model<'_>) -> (String, String) {
    let workspace = model.workspace();
    let folder = workspace.map_or("", |workspace| workspace.folder.as_str());
    let name = workspace
        .and_then(|workspace| workspace.target_folder.clone())
        .unwrap_or_else(|| "target".to_owned());
    let target = super::in_folder(folder, &name);
    let file = format!("{target}/release/deps/x");
    (target, file)
}

fn place(copied: &Copied<'_>) -> std::ops::Range<usize> {
    copied.paths.first().map_or(0..0, |path| path.range.clone())
}

/// Nothing is left out of the context.
pub(crate) fn no_ignore(model: &Model<'_>) -> Vec<Found> {
    if model.surroundings.ignore.is_some() {
        return Vec::new();
    }
    let (target, file) = target(model);
    let copied = taking(model, &file);
    let found = copied.map(|copied| {
        Found::at(place(copied), format!("{target}/ goes into the image, and each build here changes it"))
            .fix(format!("write .dockerignore with {target}"), Edit::Ignore { pattern: target })
    });
    found.into_iter().collect()
}

/// Something is left out, and cargo's results are not.
pub(crate) fn target_in_context(model: &Model<'_>) -> Vec<Found> {
    let (target, file) = target(model);
    if model.surroundings.ignore.as_ref().is_none_or(|ignore| ignore.ignores(&file)) {
        return Vec::new();
    }
    let found = taking(model, &file).map(|copied| {
        Found::at(place(copied), format!("{target}/ goes into the image: .dockerignore does not name it"))
            .fix(format!("add {target} to .dockerignore"), Edit::Ignore { pattern: target })
    });
    found.into_iter().collect()
}

/// The lock file does not arrive.
pub(crate) fn lock_ignored(model: &Model<'_>) -> Vec<Found> {
    let Some(workspace) = model.workspace().filter(|workspace| workspace.locked.is_some()) else {
        return Vec::new();
    };
    let path = super::in_folder(&workspace.folder, "Cargo.lock");
    let ignored = model.surroundings.ignore.as_ref().is_some_and(|ignore| ignore.ignores(&path));
    if !ignored {
        return Vec::new();
    }
    let mut copied =
        model.stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| step.copied.as_ref());
    let found = copied.find(|copied| copied.takes(&path)).map(|copied| {
        Found::at(place(copied), "Cargo.lock is not among these files: .dockerignore leaves it out")
    });
    found.into_iter().collect()
}
