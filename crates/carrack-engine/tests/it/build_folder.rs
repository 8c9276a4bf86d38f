//! What stays from one run to the next.

use std::fs;

use crate::workshop::{Recipe, Workshop};

#[test]
fn a_result_of_other_sources_does_not_pass_for_that_of_these() {
    let Some(workshop) = Workshop::new() else { return };
    // Works like cargo: compares times only.
    let recipe = Recipe::new("[ /carrack/target/app -nt source ] || cp source /carrack/target/app");
    workshop.build(&recipe).images();
    workshop.project.write("source", "two\n");
    let second = workshop.build(&recipe);
    assert_eq!(workshop.content(&second.images()[0], "/bin/app"), "two\n");
}

#[test]
fn files_written_into_the_sources_stay_for_the_next_run() {
    let Some(workshop) = Workshop::new() else { return };
    let before = workshop.project.inventory();
    let recipe = Recipe::new(
        "[ ! -e sub/made ] || echo again >> source
         mkdir -p sub; echo made > sub/made; cat source sub/made > /carrack/target/app",
    );
    let first = workshop.build(&recipe);
    assert_eq!(workshop.content(&first.images()[0], "/bin/app"), "one\nmade\n");
    assert_eq!(workshop.project.inventory(), before);
    assert_eq!(fs::read_to_string(workshop.build_folder().join("upper/sub/made")).unwrap(), "made\n");

    workshop.project.write("other", "");
    let second = workshop.build(&recipe);
    assert_eq!(workshop.content(&second.images()[0], "/bin/app"), "one\nagain\nmade\n");
    assert_eq!(fs::read_to_string(workshop.path("source")).unwrap(), "one\n");
}

#[test]
fn the_users_version_of_a_written_file_counts() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("own", "mine\n");
    // Changes a file of the user's, makes one, and shows what it found.
    let recipe = Recipe::new(
        "cat source own made 2>/dev/null > /carrack/target/app || true
         [ -e made ] || echo theirs > made
         grep -q theirs own || echo theirs >> own",
    );
    let check = |expected: &str| {
        let outcome = workshop.build(&recipe);
        assert_eq!(workshop.content(&outcome.images()[0], "/bin/app"), expected);
    };
    check("one\nmine\n");
    workshop.project.write("source", "two\n");
    check("two\nmine\ntheirs\ntheirs\n");
    // The user changes the file below, adds the made one, and removes both again.
    workshop.project.write("own", "mine again\n");
    check("two\nmine again\ntheirs\n");
    workshop.project.write("made", "by hand\n");
    check("two\nmine again\ntheirs\nby hand\n");
    workshop.project.remove("made");
    check("two\nmine again\ntheirs\n");
}

#[test]
fn a_folder_that_was_replaced_does_not_hide_what_the_user_adds() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("made/deep/old", "old\n");
    let recipe = Recipe::new(
        "cat source > /carrack/target/app; find made -type f | sort >> /carrack/target/app
         [ -e made/new ] || { rm -r made; mkdir -p made/deep; echo new > made/new; }",
    );
    let check = |expected: &str| {
        let outcome = workshop.build(&recipe);
        assert_eq!(workshop.content(&outcome.images()[0], "/bin/app"), expected);
    };
    check("one\nmade/deep/old\n");
    workshop.project.write("source", "two\n");
    check("two\nmade/new\n");
    workshop.project.write("made/deep/added", "");
    check("two\nmade/deep/added\nmade/deep/old\nmade/new\n");
}

#[test]
fn a_folder_that_was_removed_does_not_hide_what_the_user_changes() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("made/deep/old", "old\n");
    let recipe = Recipe::new(
        "cat source > /carrack/target/app; cat made/deep/old >> /carrack/target/app || true; rm -rf made",
    );
    let check = |expected: &str| {
        let outcome = workshop.build(&recipe);
        assert_eq!(workshop.content(&outcome.images()[0], "/bin/app"), expected);
    };
    check("one\nold\n");
    workshop.project.write("source", "two\n");
    check("two\n");
    workshop.project.write("made/deep/old", "new\n");
    check("two\nnew\n");
}

#[test]
fn a_made_folder_does_not_hide_a_file_of_the_users() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(
        "cat source > /carrack/target/app; [ ! -f made ] || cat made >> /carrack/target/app
         [ -e made ] || { mkdir made; echo theirs > made/file; }",
    );
    workshop.build(&recipe).images();
    workshop.project.write("made", "mine\n");
    let outcome = workshop.build(&recipe);
    assert_eq!(workshop.content(&outcome.images()[0], "/bin/app"), "one\nmine\n");
}

#[test]
fn written_names_need_not_be_utf8() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new("cp source /carrack/target/app; echo x > \"$(printf 'made\\377')\"");
    workshop.build(&recipe).images();
    workshop.project.write("source", "two\n");
    let second = workshop.build(&recipe);
    assert_eq!(workshop.content(&second.images()[0], "/bin/app"), "two\n");
}
