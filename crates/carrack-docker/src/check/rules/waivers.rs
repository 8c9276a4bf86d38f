//! Waivers themselves.

use carrack_base::nearest;

use super::super::model::Model;
use super::super::{Found, allowed, named};

/// A waiver has a name that no check has.
pub(crate) fn unknown(model: &Model<'_>) -> Vec<Found> {
    let stages = &model.dockerfile.stages;
    let instructions =
        model.dockerfile.arguments.iter().chain(stages.iter().flat_map(|stage| &stage.instructions));
    let comments = instructions
        .map(|instruction| &instruction.comments)
        .chain(stages.iter().map(|stage| &stage.comments));
    let mut found = Vec::new();
    for comment in comments.flatten() {
        for name in allowed(comment).filter(|name| named(name).is_none()) {
            let found_at = Found::at(comment.text.range(), format!("there is no check `{name}`"));
            let known = super::super::CHECKS.iter().map(|check| check.name);
            found.push(match nearest(name, known) {
                Some(nearest) => found_at.hint(format!("did you mean `{nearest}`?")),
                None => found_at,
            });
        }
    }
    found
}
