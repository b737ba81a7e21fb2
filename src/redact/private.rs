//! Values that print nothing.

use std::fmt;

use serde::Deserialize;

/// Something a caller said or entered, or that was said to a caller. `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one who has to use it.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    /// The value, given up.
    pub fn into_inner(self) -> T {
        self.0
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
    fn private_values_print_nothing() {
        assert_eq!(format!("{:?}", Private::new("4242")), "[private]");
    }
}
