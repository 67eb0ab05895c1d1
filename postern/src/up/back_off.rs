//! How long a role that died waits before it is started again.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest: the others keep their sessions while they wait for it ([`wire::control::NEW_EDGE`]).
const LONGEST: Duration = Duration::from_secs(5);
/// A role that lived this long is well again.
const WELL: Duration = Duration::from_secs(60);

/// Doubles from [`FIRST`] to [`LONGEST`]; begins anew after a life of [`WELL`].
#[derive(Debug, Default)]
pub struct BackOff {
    last: Option<Duration>,
}

impl BackOff {
    /// The wait after a life of that length.
    pub fn after(&mut self, life: Duration) -> Duration {
        let wait = match self.last {
            Some(last) if life < WELL => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_forgets() {
        let mut back_off = BackOff::default();
        let waits: Vec<u128> = (0..8).map(|_| back_off.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(back_off.after(WELL).as_millis(), 100);
        assert!(LONGEST + Duration::from_secs(2) < wire::control::NEW_EDGE, "and time to start");
    }
}
