//! What a step turned out to read besides its declared inputs.

use std::fs;
use std::path::PathBuf;

use crate::workshop::{Recipe, Workshop};

/// A folder that the sandbox shows: it has temporary folders of its own.
fn visible_folder() -> Option<tempfile::TempDir> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let places = ["/var/lib", "/srv"].map(PathBuf::from).into_iter().chain(home);
    let hidden =
        |place: &PathBuf| ["/tmp", "/var/tmp", "/run"].iter().any(|folder| place.starts_with(folder));
    let found = places.filter(|place| !hidden(place)).find_map(|place| tempfile::tempdir_in(place).ok());
    if found.is_none() {
        carrack_testkit::skipped("files outside of the sources", "there is no folder to put them");
    }
    found
}

#[test]
fn files_outside_of_the_sources_count_once_they_were_read() {
    let Some(workshop) = Workshop::new() else { return };
    let Some(outside) = visible_folder() else { return };
    let path = outside.path().join("data");
    fs::write(&path, "a").unwrap();
    let script =
        format!("cat source {0} > /carrack/target/app; echo file {0}; echo file {0}.more", path.display());
    let recipe = Recipe::new(&script);
    let first = workshop.build(&recipe);
    assert_eq!(workshop.content(&first.images()[0], "/bin/app"), "one\na");
    assert_eq!(workshop.build(&recipe).runs(), 0);

    fs::write(&path, "b").unwrap();
    let changed = workshop.build(&recipe);
    assert_eq!(changed.runs(), 1);
    assert_eq!(changed.reasons()[0], format!("{} changed", path.display()));
    assert_eq!(workshop.content(&changed.images()[0], "/bin/app"), "one\nb");

    fs::write(path.with_extension("more"), "").unwrap();
    assert_eq!(workshop.build(&recipe).runs(), 1, "a file that was missed has come");
    fs::remove_file(path.with_extension("more")).unwrap();
    assert_eq!(workshop.build(&recipe).runs(), 0, "as it was");
    fs::write(&path, "a").unwrap();
    let back = workshop.build(&recipe);
    assert_eq!(back.runs(), 0, "as it was at first");
    assert_eq!(back.images()[0].manifest, first.images()[0].manifest);
}

#[test]
fn folders_count_with_everything_in_them() {
    let Some(workshop) = Workshop::new() else { return };
    let Some(outside) = visible_folder() else { return };
    fs::create_dir(outside.path().join("sub")).unwrap();
    let recipe =
        Recipe::new(&format!("cp source /carrack/target/app; echo file {}", outside.path().display()));
    workshop.build(&recipe).images();
    assert_eq!(workshop.build(&recipe).runs(), 0);
    fs::write(outside.path().join("sub/file"), "").unwrap();
    assert_eq!(workshop.build(&recipe).runs(), 1);
}

#[test]
fn variables_count_once_they_were_read() {
    let Some(workshop) = Workshop::new() else { return };
    let script = "echo \"$READ\" > /carrack/target/app; echo env READ; echo env UNSET";
    let recipe = Recipe::new(script).with_env("READ", "a", false).with_env("OTHER", "a", false);
    workshop.build(&recipe).images();
    assert_eq!(workshop.build(&recipe.clone().with_env("OTHER", "b", false)).runs(), 0);
    let changed = workshop.build(&recipe.clone().with_env("READ", "b", false));
    assert_eq!(changed.runs(), 1);
    assert_eq!(changed.reasons()[0], "READ changed", "its value may be a secret");
    assert_eq!(workshop.content(&changed.images()[0], "/bin/app"), "b\n");
    assert_eq!(workshop.build(&recipe.clone().with_env("UNSET", "", false)).runs(), 1);
    assert_eq!(workshop.build(&recipe).runs(), 0);
}

#[test]
fn what_is_left_out_of_the_sources_counts_once_it_was_read() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write(".git/HEAD", "main\n");
    let recipe = Recipe::new("cat .git/HEAD > /carrack/target/app; echo file /carrack/src/.git/HEAD");
    workshop.build(&recipe).images();
    assert_eq!(workshop.build(&recipe).runs(), 0);
    workshop.project.write(".git/HEAD", "topic\n");
    let changed = workshop.build(&recipe);
    assert_eq!(changed.runs(), 1);
    assert_eq!(changed.reasons()[0], ".git/HEAD changed");
    assert_eq!(workshop.content(&changed.images()[0], "/bin/app"), "topic\n");
}

#[test]
fn each_checkout_has_its_own_learned_files() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write(".git/HEAD", "main\n");
    let recipe = Recipe::new("cat .git/HEAD > /carrack/target/app; echo file /carrack/src/.git/HEAD");
    workshop.build(&recipe).images();
    let copy = workshop.copy();
    assert_eq!(copy.build(&recipe).runs(), 0);
    copy.project.write(".git/HEAD", "topic\n");
    let changed = copy.build(&recipe);
    assert_eq!(changed.runs(), 1);
    assert_eq!(copy.content(&changed.images()[0], "/bin/app"), "topic\n");
}

#[test]
fn a_learned_file_that_changes_during_the_run_is_not_trusted() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write(".git/HEAD", "main\n");
    let recipe = Recipe::new(
        "cat .git/HEAD > /carrack/target/app; echo file /carrack/src/.git/HEAD
         echo read; while grep -q main .git/HEAD; do sleep 0.01; done",
    );
    let outcome = workshop.build_until(&recipe, &Default::default(), |event| {
        if let carrack_base::BuildEvent::StepOutput { bytes, .. } = event
            && bytes.windows(4).any(|window| window == b"read")
        {
            workshop.project.write(".git/HEAD", "topic\n");
        }
    });
    outcome.images();
    let later = workshop.build(&recipe);
    assert_eq!(workshop.content(&later.images()[0], "/bin/app"), "topic\n");
}

#[test]
fn names_that_are_not_utf8_cost_the_cache_and_nothing_else() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new("cp source /carrack/target/app; printf 'file /etc/\\377\\n'");
    workshop.build(&recipe).images();
    assert_eq!(workshop.build(&recipe).runs(), 1);
}
