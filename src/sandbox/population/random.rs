//! A small seeded generator. Owns the stream of numbers behind the population: the same seed, stream and index give the same numbers on
//! every machine and in every version of any library, which a published generator crate does not promise across versions.

/// SplitMix64 (Steele, Lea, Flood 2014). Good enough for spreading made-up people; never for secrets.
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The numbers of one resource: `stream` keeps the kinds apart, `index` the resources of a kind.
    pub(super) fn new(seed: u64, stream: u64, index: u64) -> Self {
        let mut random = Self { state: seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93) };
        let start = random.next().wrapping_add(index.wrapping_mul(0xA076_1D64_78BD_642F));
        Self { state: start }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, `bound`; 0 when `bound` is not positive.
    pub(super) fn below(&mut self, bound: i64) -> i64 {
        let wide = u128::from(self.next()) * u128::from(bound.max(0).unsigned_abs());
        i64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low + 1)
    }

    /// True in `per_mille` of a thousand cases.
    pub(super) fn chance(&mut self, per_mille: i64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of the list, each as likely as the others.
    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(i64::try_from(list.len()).unwrap_or(0))).unwrap_or(0);
        list.get(index).expect("every list of the population's tables has members")
    }

    /// One of the words, each as likely as the others.
    pub(super) fn word(&mut self, words: &[&'static str]) -> &'static str {
        self.pick::<&'static str>(words)
    }

    /// One of the list, each as likely as its weight.
    pub(super) fn weighted<'a, T>(&mut self, list: &'a [(i64, T)]) -> &'a T {
        let mut left = self.below(list.iter().map(|(weight, _)| weight).sum());
        for (weight, value) in list {
            if left < *weight {
                return value;
            }
            left -= weight;
        }
        list.last().map(|(_, value)| value).expect("every list of the population's tables has members")
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let mut random = Random { state: 1_234_567 };
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn draws_stay_inside_their_bounds_and_reach_both_ends() {
        let mut random = Random::new(7, 1, 0);
        let drawn: Vec<i64> = (0..2000).map(|_| random.between(-2, 2)).collect();
        assert!(drawn.iter().all(|n| (-2..=2).contains(n)));
        assert!((-2..=2).all(|n| drawn.contains(&n)));
        let weights = [(1, 'a'), (0, 'b'), (9, 'c')];
        let letters: Vec<char> = (0..2000).map(|_| *random.weighted(&weights)).collect();
        assert!(!letters.contains(&'b') && letters.contains(&'a'));
        assert!(letters.iter().filter(|c| **c == 'c').count() > 1600);
    }
}
