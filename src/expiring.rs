//! What is kept for a while only, bounded in number and in time.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A map whose entries are forgotten a fixed time after they were put in. Time is an argument.
///
/// An expired entry is never given out; its memory is freed by [`Self::forget_expired`], which somebody has to call
/// now and then, and by an insert that finds the map full.
pub struct Expiring<K, V> {
    limit: usize,
    lifetime: Duration,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    expires: Instant,
    value: V,
}

/// The map holds as many entries as it may; the same insert may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl<K: Eq + Hash, V> Expiring<K, V> {
    /// A map of at most `limit` entries, each of which lives for `lifetime`.
    pub fn new(limit: usize, lifetime: Duration) -> Self {
        Self { limit, lifetime, entries: HashMap::new() }
    }

    /// Puts an entry in, in place of one with the same key.
    pub fn insert(&mut self, key: K, value: V, now: Instant) -> Result<(), Full> {
        if self.entries.len() >= self.limit && !self.entries.contains_key(&key) {
            self.forget_expired(now);
            if self.entries.len() >= self.limit {
                return Err(Full);
            }
        }
        self.entries.insert(key, Entry { expires: now + self.lifetime, value });
        Ok(())
    }

    /// An entry that has not expired.
    pub fn get_mut(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        self.entries.get_mut(key).filter(|entry| now < entry.expires).map(|entry| &mut entry.value)
    }

    /// Takes an entry out; nothing if it has expired.
    pub fn remove(&mut self, key: &K, now: Instant) -> Option<V> {
        self.entries.remove(key).filter(|entry| now < entry.expires).map(|entry| entry.value)
    }

    /// Keeps only the entries of which this is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, entry| keep(key, &entry.value));
    }

    /// Frees what has expired.
    pub fn forget_expired(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.expires);
    }
}

/// How many entries, and none of them.
impl<K, V> fmt::Debug for Expiring<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expiring({} of {})", self.entries.len(), self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    #[expect(clippy::disallowed_methods, reason = "some instant is needed to begin with; only differences count")]
    fn map() -> (Expiring<u32, &'static str>, Instant) {
        (Expiring::new(2, LIFETIME), Instant::now())
    }

    #[test]
    fn an_entry_is_there_until_its_time_is_up() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        assert_eq!(map.get_mut(&1, now + LIFETIME / 2), Some(&mut "one"));
        assert_eq!(map.get_mut(&1, now + LIFETIME), None);
        assert_eq!(map.remove(&1, now + LIFETIME), None);
    }

    #[test]
    fn a_full_map_takes_nothing_new_until_something_has_expired() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        map.insert(2, "two", now + LIFETIME / 2).unwrap();
        assert_eq!(map.insert(3, "three", now), Err(Full));
        assert_eq!(map.insert(2, "again", now + LIFETIME / 2), Ok(()));
        assert_eq!(map.insert(3, "three", now + LIFETIME), Ok(()));
        assert_eq!(map.entries.len(), 2);
    }

    #[test]
    fn what_has_expired_is_freed() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        map.forget_expired(now + LIFETIME);
        assert!(map.entries.is_empty());
    }
}
