//! Rules that hold for every scene.
