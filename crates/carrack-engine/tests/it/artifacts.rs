//! Bytes that are gone: artifacts in the build folder, blobs in the store.

use std::fs;

use carrack_engine::EngineError;

use crate::workshop::{Recipe, Workshop};

const COPY: &str = "cp source /carrack/target/app";

#[test]
fn a_missing_artifact_is_made_again_only_when_its_bytes_are_needed() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(COPY);
    let first = workshop.build(&recipe);
    fs::remove_dir_all(workshop.build_folder()).unwrap();
    assert_eq!(workshop.build(&recipe).runs(), 0, "the layer is there");

    fs::remove_file(&workshop.layers(&first.images()[0])[0]).unwrap();
    let again = workshop.build(&recipe);
    assert_eq!(again.runs(), 1);
    assert_eq!(again.images()[0].manifest, first.images()[0].manifest);
    assert_eq!(workshop.content(&again.images()[0], "/bin/app"), "one\n");
}

#[test]
fn a_missing_layer_is_written_again_from_the_build_folder() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(COPY);
    let first = workshop.build(&recipe);
    let layer = workshop.layers(&first.images()[0]).remove(0);
    fs::remove_file(&layer).unwrap();
    let second = workshop.build(&recipe);
    assert_eq!((second.runs(), layer.is_file()), (0, true));

    for blob in [first.images()[0].manifest.unwrap(), first.images()[0].config] {
        fs::remove_file(workshop.blob(&blob)).unwrap();
        assert_eq!(workshop.build(&recipe).images()[0].manifest, first.images()[0].manifest);
        assert!(workshop.blob(&blob).is_file());
    }
}

#[test]
fn a_damaged_artifact_is_not_taken() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(COPY);
    let first = workshop.build(&recipe);
    fs::write(workshop.build_folder().join("target/app"), "evil").unwrap();
    fs::remove_file(&workshop.layers(&first.images()[0])[0]).unwrap();
    let again = workshop.build(&recipe);
    assert_eq!(again.runs(), 1);
    assert_eq!(workshop.content(&again.images()[0], "/bin/app"), "one\n");
}

#[test]
fn an_artifact_that_comes_out_differently_is_taken_as_it_is_now() {
    let Some(workshop) = Workshop::new() else { return };
    // What no key can know.
    let recipe = Recipe::new("cat source /proc/sys/kernel/random/uuid > /carrack/target/app");
    let first = workshop.build(&recipe);
    fs::remove_file(&workshop.layers(&first.images()[0])[0]).unwrap();
    fs::remove_dir_all(workshop.build_folder()).unwrap();
    let second = workshop.build(&recipe);
    assert_eq!(second.runs(), 1);
    assert_ne!(second.images()[0].manifest, first.images()[0].manifest);
    let third = workshop.build(&recipe);
    assert_eq!((third.runs(), third.images()[0].unchanged), (0, true));
}

#[test]
fn two_checkouts_agree_on_a_result() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(COPY);
    let first = workshop.build(&recipe);
    let copy = workshop.copy();
    let second = copy.build(&recipe);
    assert_eq!(second.runs(), 0);
    assert_eq!(second.images()[0].manifest, first.images()[0].manifest);
}

#[test]
fn the_state_may_lie_in_the_sources() {
    let Some(mut workshop) = Workshop::new() else { return };
    workshop.state = workshop.path("state");
    let built = workshop.build(&Recipe::new(COPY));
    assert_eq!(workshop.content(&built.images()[0], "/bin/app"), "one\n");
    assert_eq!(workshop.build(&Recipe::new(COPY)).runs(), 0);
    // They can only be read then: an overlay could not keep its writes inside of itself.
    let failed = workshop.build(&Recipe::new("echo x > generated"));
    assert!(matches!(failed.error(), EngineError::StepFailed { .. }), "{:?}", failed.error());
}
