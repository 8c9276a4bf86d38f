//! Image names, configurations, deterministic layers and the carriers that move images.
