//! A decoder that panics loses its turn, not the service.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `decode`; `None` where it panicked. The decoders are other people's code on a stranger's pixels, and one is known
/// to panic (scanning notes, "Safety").
///
/// The panic prints nothing: its message may quote the text being decoded, which may be a payment code. Panics elsewhere
/// are reported as before.
pub(super) fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                report(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    // What a panic leaves half done is the decoder's own state, and that is dropped with the stage.
    let outcome = panic::catch_unwind(AssertUnwindSafe(decode));
    QUIET.set(before);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_absent_answer_and_the_next_call_works() {
        assert_eq!(guarded(|| panic!("12345")), None::<()>);
        assert_eq!(guarded(|| 7), Some(7));
        assert!(!QUIET.get());
    }
}
