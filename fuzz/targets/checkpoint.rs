//! Checkpoints: what a predecessor left on disk, or another version, or a failing disk.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supple_recommend::state::State;
use supple_resize::actuate::Actuated;
use supple_resize::allocate::Allocation;
use supple_resize::condition::ResizeConditions;

fuzz_target!(|data: &[u8]| {
    if let Ok(state) = State::load(data) {
        let saved = state.save();
        let again = State::load(&saved).expect("what it saves it loads");
        assert_eq!(again.save(), saved, "loaded and saved, it is another");
    }
    let _ = serde_json::from_slice::<Allocation>(data);
    let _ = serde_json::from_slice::<Actuated>(data);
    let _ = serde_json::from_slice::<ResizeConditions>(data);
});
