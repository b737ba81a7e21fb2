//! A map of bounded size whose entries expire.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A map whose entries expire a fixed time after they were inserted, or up to a second later. The current time is an argument.
/// Entries are small: some maps remember each call of a day.
///
/// An expired entry is never returned. Its memory is freed by [`Self::remove_expired`], which has to be called
/// regularly, and by an insert into a full map.
pub(crate) struct ExpiringMap<K, V> {
    capacity: usize,
    max_bytes: usize,
    lifetime: Duration,
    /// When the first entry was inserted.
    began: Option<Instant>,
    entries: HashMap<K, ExpiringEntry<V>>,
    /// The size of all entries, in bytes.
    bytes: usize,
}

struct ExpiringEntry<V> {
    /// In seconds since the map began.
    expires: u32,
    bytes: u32,
    value: V,
}

impl<V> ExpiringEntry<V> {
    /// Whether it has not expired so many seconds after the map began.
    fn is_alive(&self, elapsed: u64) -> bool {
        elapsed < self.expires.into()
    }
}

/// The map is full. The same insert may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiringMapFullError;

impl<K: Eq + Hash, V> ExpiringMap<K, V> {
    /// A map of at most `limit` entries, each of which lives for `lifetime`.
    pub(crate) fn new(limit: usize, lifetime: Duration) -> Self {
        Self { capacity: limit, max_bytes: usize::MAX, lifetime, began: None, entries: HashMap::new(), bytes: 0 }
    }

    /// The whole seconds since the map began.
    fn elapsed(&self, now: Instant) -> u64 {
        self.began.map_or(0, |began| now.saturating_duration_since(began).as_secs())
    }

    /// The map with a limit on the size of all entries, as given to [`Self::insert_sized`].
    pub(crate) fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Inserts an entry, replacing one with the same key.
    pub(crate) fn insert(&mut self, key: K, value: V, now: Instant) -> Result<(), ExpiringMapFullError> {
        self.insert_sized(key, value, 0, now)
    }

    /// Inserts an entry of this size, replacing one with the same key.
    pub(crate) fn insert_sized(
        &mut self,
        key: K,
        value: V,
        bytes: usize,
        now: Instant,
    ) -> Result<(), ExpiringMapFullError> {
        if !self.has_room(&key, bytes) {
            self.remove_expired(now);
            if !self.has_room(&key, bytes) {
                return Err(ExpiringMapFullError);
            }
        }
        let lived = now.saturating_duration_since(*self.began.get_or_insert(now));
        let end = lived + self.lifetime;
        let expires = end.as_secs() + u64::from(end.subsec_nanos() > 0);
        let [expires, bytes] = [expires, bytes as u64].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let entry = ExpiringEntry { expires, bytes, value };
        self.bytes += entry.bytes as usize;
        self.bytes -= self.entries.insert(key, entry).map_or(0, |replaced| replaced.bytes as usize);
        Ok(())
    }

    /// Whether an entry of this size can be inserted.
    fn has_room(&self, key: &K, bytes: usize) -> bool {
        let replaced = self.entries.get(key);
        let count = self.entries.len() - usize::from(replaced.is_some());
        let kept = self.bytes - replaced.map_or(0, |replaced| replaced.bytes as usize);
        count < self.capacity && kept.saturating_add(bytes) <= self.max_bytes
    }

    /// An entry that has not expired.
    pub(crate) fn get_mut(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        let elapsed = self.elapsed(now);
        self.entries.get_mut(key).filter(|entry| entry.is_alive(elapsed)).map(|entry| &mut entry.value)
    }

    /// Finds a value that has not expired.
    pub(crate) fn find_value(&self, now: Instant, is: impl Fn(&V) -> bool) -> Option<&V> {
        let elapsed = self.elapsed(now);
        self.entries.values().filter(|entry| entry.is_alive(elapsed)).map(|entry| &entry.value).find(|value| is(value))
    }

    /// Removes and returns an entry; `None` if it has expired.
    pub(crate) fn remove(&mut self, key: &K, now: Instant) -> Option<V> {
        let removed = self.entries.remove(key)?;
        self.bytes -= removed.bytes as usize;
        removed.is_alive(self.elapsed(now)).then_some(removed.value)
    }

    /// Keeps only the entries for which `keep` is true.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.retain_entries(|key, entry| keep(key, &entry.value));
    }

    /// Removes all expired entries.
    pub(crate) fn remove_expired(&mut self, now: Instant) {
        let elapsed = self.elapsed(now);
        self.retain_entries(|_, entry| entry.is_alive(elapsed));
    }

    fn retain_entries(&mut self, mut keep: impl FnMut(&K, &ExpiringEntry<V>) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let is_kept = keep(key, entry);
            *bytes -= if is_kept { 0 } else { entry.bytes as usize };
            is_kept
        });
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
    fn an_entry_lives_no_shorter_than_its_lifetime_and_at_most_a_second_longer() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        let later = now + Duration::from_millis(300);
        map.insert(2, "two", later).unwrap();
        assert_eq!(map.get_mut(&2, now + LIFETIME), Some(&mut "two"));
        assert_eq!(map.get_mut(&2, later + LIFETIME + Duration::from_secs(1)), None);
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
    fn the_bytes_of_all_entries_are_limited() {
        let (map, now) = map();
        let mut map = map.with_max_bytes(10);
        map.insert_sized(1, "one", 6, now).unwrap();
        assert_eq!(map.insert_sized(2, "two", 5, now), Err(ExpiringMapFullError));
        assert_eq!(map.insert_sized(1, "one", 5, now), Ok(()), "it replaces the first");
        assert_eq!(map.insert_sized(2, "two", 5, now), Ok(()));
        assert_eq!(map.remove(&2, now), Some("two"));
        map.retain(|key, _| *key != 1);
        assert_eq!(map.insert_sized(3, "three", 10, now), Ok(()));
        assert_eq!(map.insert_sized(4, "four", 1, now), Err(ExpiringMapFullError));
        assert_eq!(map.insert_sized(4, "four", 11, now + LIFETIME), Err(ExpiringMapFullError), "larger than all");
        assert_eq!((map.entries.len(), map.bytes), (0, 0));
    }

    #[test]
    fn expired_entries_are_removed() {
        let (mut map, now) = map();
        map.insert(1, "one", now).unwrap();
        map.remove_expired(now + LIFETIME);
        assert!(map.entries.is_empty());
    }

    #[test]
    fn the_size_of_all_entries_is_limited() {
        let (map, now) = map();
        let mut map = map.with_max_bytes(100);
        map.insert_sized(1, "one", 60, now).unwrap();
        assert_eq!(map.insert_sized(2, "two", 41, now), Err(ExpiringMapFullError));
        assert_eq!(map.insert_sized(1, "one again", 100, now), Ok(()), "it replaces the other");
        assert_eq!(map.insert_sized(2, "two", 1, now), Err(ExpiringMapFullError));
        map.remove(&1, now);
        map.insert_sized(2, "two", 100, now).unwrap();
        map.retain(|_, _| false);
        map.insert_sized(3, "three", 100, now).unwrap();
        assert_eq!(map.insert_sized(4, "four", 100, now + LIFETIME), Ok(()), "the other has expired");
        assert_eq!(map.bytes, 100);
    }
}
