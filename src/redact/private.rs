//! Values that `Debug` does not print.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroize;

/// Data from a caller, or text spoken to a caller. `Debug` prints only `[private]`.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value in clear.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    /// Unwraps the value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Overwrites the value, where it is not needed any more.
impl<T: Zeroize> Zeroize for Private<T> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_print_private_values() {
        assert_eq!(format!("{:?}", Private::new("4242")), "[private]");
    }
}
