//! Work on several things at once, until one of them fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` for each of `items`, for up to `width` at once, and tells it whether another one has failed.
///
/// Errors: the first one. What is under way then may stop; the rest is not begun.
pub(crate) fn side_by_side<T: Sync, E: Send>(
    items: &[T],
    width: usize,
    work: impl Fn(&T, &AtomicBool) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let first_error = Mutex::new(None);
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::SeqCst) {
                return;
            }
            if let Err(error) = work(item, &failed) {
                // In this order: what the others say, once they see that it is over, is not the reason.
                first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                failed.store(true, Ordering::SeqCst);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..items.len().min(width) {
            // Fewer at once are slower, and no failure.
            let _ = thread::Builder::new().name("carrack-blob".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn all_is_done_and_several_at_once() {
        let (done, together) = (AtomicUsize::new(0), Barrier::new(3));
        let work = |number: &usize, _: &AtomicBool| {
            done.fetch_add(*number, Ordering::Relaxed);
            together.wait();
            Ok::<(), ()>(())
        };
        assert_eq!(side_by_side(&[1, 2, 3, 4, 5, 6], 3, work), Ok(()));
        assert_eq!(done.into_inner(), 21);
        assert_eq!(side_by_side(&[] as &[usize], 3, |_, _| Err(())), Ok(()));
    }

    #[test]
    fn the_first_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = |number: &usize, failed: &AtomicBool| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *number == 1 {
                return Err(1);
            }
            while !failed.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            Err(*number)
        };
        assert_eq!(side_by_side(&[0, 1, 2, 3, 4, 5], 2, work), Err(1));
        assert_eq!(begun.into_inner(), 2);
    }
}
