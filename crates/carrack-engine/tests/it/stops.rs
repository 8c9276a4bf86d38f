//! Builds that are stopped, and what they leave.

use std::sync::atomic::{AtomicBool, Ordering};

use carrack_base::{BuildEvent, Cancel};
use carrack_engine::EngineError;
use carrack_store::Store;

use crate::workshop::{Recipe, Workshop};

fn says(event: &BuildEvent, word: &[u8]) -> bool {
    matches!(event, BuildEvent::StepOutput { bytes, .. } if bytes.windows(word.len()).any(|window| window == word))
}

#[test]
fn a_running_step_is_stopped() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new("cp source /carrack/target/app; echo started; sleep 1000");
    let cancel = Cancel::default();
    let stopped = workshop.build_until(&recipe, &cancel, |event| {
        if says(event, b"started") {
            cancel.cancel(15);
        }
    });
    assert!(matches!(stopped.error(), EngineError::Cancelled { signal: 15 }), "{:?}", stopped.error());

    // Nothing of it is left, whatever the times say.
    workshop.project.write("source", "two\n");
    let next = workshop.build(&Recipe::new("cp source /carrack/target/app"));
    assert_eq!(workshop.content(&next.images()[0], "/bin/app"), "two\n");
}

#[test]
fn what_a_stopped_step_wrote_into_the_sources_is_thrown_away() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("own", "mine\n");
    let recipe = |end: &str| {
        Recipe::new(&format!(
            "cat source own > /carrack/target/app; [ ! -e made ] || echo found >> /carrack/target/app
             echo made > made; echo theirs >> own; echo started; {end}"
        ))
    };
    let cancel = Cancel::default();
    let stopped = workshop.build_until(&recipe("sleep 1000"), &cancel, |event| {
        if says(event, b"started") {
            cancel.cancel(2);
        }
    });
    assert!(matches!(stopped.error(), EngineError::Cancelled { signal: 2 }));
    let next = workshop.build(&recipe("true"));
    assert_eq!(workshop.content(&next.images()[0], "/bin/app"), "one\nmine\n");
}

#[test]
fn every_way_to_stop_is_the_same_error() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new("cp source /carrack/target/app");
    let before_anything = Cancel::default();
    before_anything.cancel(2);
    let store = Store::open(&workshop.state).unwrap();
    let stopped = workshop.build_until(&recipe, &before_anything, |_| {});
    assert!(matches!(stopped.error(), EngineError::Cancelled { signal: 2 }), "{:?}", stopped.error());

    // Another build holds the folder.
    workshop.build(&recipe).images();
    let id = workshop.build_folder().file_name().unwrap().to_str().unwrap().to_owned();
    let held = store.target(&id, &Cancel::default(), |_| {}).unwrap();
    workshop.project.write("source", "two\n");
    let cancel = Cancel::default();
    let waited = AtomicBool::new(false);
    let stopped = workshop.build_until(&recipe, &cancel, |event| {
        if let BuildEvent::Warning { message, .. } = event
            && message.starts_with("waiting for another build")
        {
            waited.store(true, Ordering::SeqCst);
            cancel.cancel(15);
        }
    });
    assert!(waited.load(Ordering::SeqCst));
    assert!(matches!(stopped.error(), EngineError::Cancelled { signal: 15 }), "{:?}", stopped.error());
    drop(held);
    assert_eq!(workshop.build(&recipe).runs(), 1);
}
