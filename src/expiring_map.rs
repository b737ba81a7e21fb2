//! A map of bounded size whose entries expire.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A map whose entries expire a fixed time after they were inserted. The current time is an argument.
///
/// An expired entry is never returned. Its memory is freed by [`Self::remove_expired`], which has to be called
/// regularly, and by an insert into a full map.
pub(crate) struct ExpiringMap<K, V> {
    capacity: usize,
    lifetime: Duration,
    entries: HashMap<K, ExpiringEntry<V>>,
}

struct ExpiringEntry<V> {
    expires: Instant,
    value: V,
}

/// The map is full. The same insert may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiringMapFullError;

impl<K: Eq + Hash, V> ExpiringMap<K, V> {
    /// A map of at most `limit` entries, each of which lives for `lifetime`.
    pub(crate) fn new(limit: usize, lifetime: Duration) -> Self {
        Self { capacity: limit, lifetime, entries: HashMap::new() }
    }

    /// Inserts an entry, replacing one with the same key.
    pub(crate) fn insert(&mut self, key: K, value: V, now: Instant) -> Result<(), ExpiringMapFullError> {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.remove_expired(now);
            if self.entries.len() >= self.capacity {
                return Err(ExpiringMapFullError);
            }
        }
        self.entries.insert(key, ExpiringEntry { expires: now + self.lifetime, value });
        Ok(())
    }

    /// An entry that has not expired.
    pub(crate) fn get_mut(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        self.entries.get_mut(key).filter(|entry| now < entry.expires).map(|entry| &mut entry.value)
    }

    /// Removes and returns an entry; `None` if it has expired.
    pub(crate) fn remove(&mut self, key: &K, now: Instant) -> Option<V> {
        self.entries.remove(key).filter(|entry| now < entry.expires).map(|entry| entry.value)
    }

    /// Keeps only the entries for which `keep` is true.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, entry| keep(key, &entry.value));
    }

    /// Removes all expired entries.
    pub(crate) fn remove_expired(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.expires);
    }
}

/// Prints the number of entries, not the entries.
impl<K, V> fmt::Debug for ExpiringMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expiring({} of {})", self.entries.len(), self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    #[expect(clippy::disallowed_methods, reason = "some instant is needed to begin with; only differences count")]
    fn map() -> (ExpiringMap<u32, &'static str>, Instant) {
        (ExpiringMap::new(2, LIFETIME), Instant::now())
    }

    #[test]
    fn an_entry_is_available_until_it_expires() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        assert_eq!(map.get_mut(&1, now + LIFETIME / 2), Some(&mut "one"));
        assert_eq!(map.get_mut(&1, now + LIFETIME), None);
        assert_eq!(map.remove(&1, now + LIFETIME), None);
    }

    #[test]
    fn a_full_map_accepts_no_new_entry_until_one_has_expired() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        map.insert(2, "two", now + LIFETIME / 2).unwrap();
        assert_eq!(map.insert(3, "three", now), Err(ExpiringMapFullError));
        assert_eq!(map.insert(2, "again", now + LIFETIME / 2), Ok(()));
        assert_eq!(map.insert(3, "three", now + LIFETIME), Ok(()));
        assert_eq!(map.entries.len(), 2);
    }

    #[test]
    fn expired_entries_are_removed() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        map.remove_expired(now + LIFETIME);
        assert!(map.entries.is_empty());
    }
}
