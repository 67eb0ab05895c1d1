//! Who makes room when all of it is taken: whoever has most. One network can then fill what nobody else uses, and pushes out its own
//! alone; one provider with many networks, its own customers' at the most.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::sender::Network;

/// Something that takes room.
pub(super) trait Lodger {
    /// Whose it is.
    fn network(&self) -> Network;
    /// When it was last used.
    fn used(&self) -> u64;
}

/// Drops a tenth when it is full: seldom, so that a flood of strangers costs little each.
pub(super) fn make_room<K: Eq + Hash + Clone, V: Lodger>(map: &mut HashMap<K, V>, most: usize) {
    if map.len() < most {
        return;
    }
    let all = map.iter().map(|(key, value)| (key.clone(), value.network(), value.used())).collect();
    let leaving = leaving(all, most - most / 10 - 1, &[Network::provider, |network| network]);
    leaving.iter().for_each(|key| drop(map.remove(key)));
}

/// Who leaves so that `room` are left: each of a kind may keep as many as any other, and within a kind it is the same for the next
/// kind; at last the least recently used.
fn leaving<K>(mut all: Vec<(K, Network, u64)>, room: usize, kinds: &[fn(Network) -> Network]) -> Vec<K> {
    let Some((kind, finer)) = kinds.split_first() else {
        all.sort_by_key(|(_, _, used)| std::cmp::Reverse(*used));
        return all.into_iter().skip(room).map(|(key, ..)| key).collect();
    };
    let mut shares = BTreeMap::<Network, Vec<_>>::new();
    for lodger in all {
        shares.entry(kind(lodger.1)).or_default().push(lodger);
    }
    let share = share(shares.values().map(Vec::len).collect(), room);
    if share == 0 {
        // More kinds than room: nobody has much.
        return leaving(shares.into_values().flatten().collect(), room, &[]);
    }
    let larger = shares.into_values().filter(|lodgers| lodgers.len() > share);
    larger.flat_map(|lodgers| leaving(lodgers, share, finer)).collect()
}

/// How many each may keep, so that all fit.
fn share(mut counts: Vec<usize>, room: usize) -> usize {
    counts.sort_unstable();
    let (mut left, mut others) = (room, counts.len());
    for count in counts {
        if count * others > left {
            return left / others;
        }
        (left, others) = (left - count, others - 1);
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Lodger for (Network, u64) {
        fn network(&self) -> Network {
            self.0
        }

        fn used(&self) -> u64 {
            self.1
        }
    }

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn what_each_may_keep() {
        assert_eq!(share(vec![5, 1, 100], 50), 44);
        assert_eq!(share(vec![10, 10, 10], 29), 9);
        assert_eq!(share(vec![1, 2, 3], 6), usize::MAX);
        assert_eq!(share(vec![1; 10], 5), 0);
    }

    /// However old the others' are.
    #[test]
    fn whoever_has_most_makes_room() {
        let mut map: HashMap<u64, (Network, u64)> = HashMap::new();
        for old in 0..50 {
            map.insert(old, (network(&format!("192.{old}.2.1")), old));
            map.insert(50 + old, (network(&format!("2001:db8:{old}::1")), old));
        }
        for number in 100..20_000u64 {
            make_room(&mut map, 1_000);
            // Of one provider, all of whose networks somebody has.
            let from =
                if number % 2 == 0 { "198.51.100.7".to_owned() } else { format!("2001:bad:{:x}::1", number % 3_000) };
            map.insert(number, (network(&from), number));
            assert!(map.len() <= 1_000);
        }
        assert!((0..100).all(|old| map.contains_key(&old)), "what others have had for long");
        assert!(map.contains_key(&19_999) && map.contains_key(&19_998), "the newest");
    }

    #[test]
    fn among_many_the_oldest_goes() {
        let mut map: HashMap<u64, (Network, u64)> = HashMap::new();
        for number in 0..5_000u64 {
            make_room(&mut map, 100);
            map.insert(number, (network(&format!("{}.{}.1.1", number / 256, number % 256)), number));
        }
        assert!(map.len() > 80 && (4_990..5_000).all(|new| map.contains_key(&new)));
    }
}
