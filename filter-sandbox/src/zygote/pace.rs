//! Not faster than the kernel can clear away: unused network namespaces are freed in batches, and beyond some 1,400
//! a second they pile up, a fifth of a megabyte each (measured).

use std::time::{Duration, Instant};

/// Workers a second, sustained.
const RATE: u32 = 1000;
/// Workers at once before the rate binds.
const BURST: u32 = 256;

/// A token bucket.
pub(super) struct Pace {
    tokens: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { tokens: f64::from(BURST), at: Instant::now() }
    }

    /// Waits until one more may be made.
    pub(super) fn wait(&mut self) {
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * f64::from(RATE);
        self.at = now;
        self.tokens = (self.tokens + earned).min(f64::from(BURST)) - 1.0;
        if self.tokens < 0.0 {
            std::thread::sleep(Duration::from_secs_f64(-self.tokens / f64::from(RATE)));
        }
    }
}
